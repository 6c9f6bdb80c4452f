//! Salvage: carries over into a fresh store what can still be read of one that SQLite has given up.
//!
//! A change is carried over when it is one that a peer could have sent: rebuilt from its entries it
//! has the hash that its author signed, and it joins the log. So nothing is taken on trust that a
//! damaged file says; what is not found, the peers have.

use std::collections::HashMap;
use std::io;
use std::path::Path;

use bytes::Bytes;

use super::block::{self, BlockOpener};
use super::ranges::{Stretch, stretch};
use super::sqlite::SqliteReader;
use super::{Batch, EmitMark, Reader, Store, StoreError};
use crate::core::change::{Change, Chunk, Link, Place, SignedBlock, SignedRun};
use crate::core::frame::RUN_CHANGES;
use crate::core::log::{Arrival, Log};
use crate::core::segment::Opening;
use crate::words::{ChangeHash, ClusterId, NodeId, Offset, SegmentId, Seq, Signature};

mod pages;

use pages::{Pages, RowPlace, Value};

/// How many bytes of changes are read, or committed, at once.
const BATCH_BYTES: usize = 4 << 20;
/// The first bytes of a change.
const CHANGE_MAGIC: [u8; 4] = [0x85, 0x6f, 0x4a, 0x83];

/// What was carried over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Salvaged {
    /// Entries.
    pub entries: u64,
    /// Changes.
    pub changes: u64,
}

/// Says why nothing was salvaged.
#[derive(Debug, thiserror::Error)]
pub enum SalvageError {
    /// The fresh store can't be written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The damaged files can't be read at all.
    #[error("the damaged files can't be read: {0}")]
    Io(#[from] io::Error),
}

/// Carries over what can be read of a database and its write-ahead log into an empty store, in the
/// order of arrival as far as that is known. `log` is the empty log of the node.
///
/// # Errors
/// See [`SalvageError`]. The damaged files are only read.
pub fn salvage(
    (file, wal): (&Path, &Path),
    store: &mut dyn Store,
    log: Log,
    (cluster, now): (ClusterId, u64),
) -> Result<Salvaged, SalvageError> {
    let past = store.reader()?;
    let mut carrier = Carrier {
        store,
        past,
        log,
        cluster,
        now,
        runs: HashMap::new(),
        opener: BlockOpener::new()?,
        salvaged: Salvaged::default(),
    };
    if let Ok(mut reader) = SqliteReader::open(file) {
        carrier.carry_rows(&mut reader)?;
    }
    carrier.runs.clear();
    let pages = Pages::open(file, wal)?;
    // A block may lie behind one that continues after it: what waited too long comes once more.
    loop {
        let before = carrier.salvaged.changes;
        carrier.carry_pages(&pages)?;
        if carrier.salvaged.changes == before {
            return Ok(carrier.salvaged);
        }
    }
}

/// A change that was found, with nothing to vouch for it.
struct Found {
    bytes: Bytes,
    hash: ChangeHash,
    signature: Option<Signature>,
}

/// Changes of one segment that wait for a signed one.
struct Run {
    author: NodeId,
    segment_seq: Seq,
    place: Option<Place>,
    next_index: u32,
    changes: Vec<Vec<Bytes>>,
    bytes: usize,
    /// The bytes of its last change.
    last: Bytes,
}

impl Run {
    fn of(opening: &Opening) -> Self {
        let Opening { author, first_seq, .. } = *opening;
        let (place, last, changes) = (None, Bytes::new(), Vec::new());
        Self { author, segment_seq: first_seq, place, next_index: 0, changes, bytes: 0, last }
    }

    fn is_full(&self) -> bool {
        self.changes.len() >= RUN_CHANGES || self.bytes > BATCH_BYTES
    }
}

struct Carrier<'a> {
    store: &'a mut dyn Store,
    past: Box<dyn Reader>,
    log: Log,
    cluster: ClusterId,
    now: u64,
    runs: HashMap<SegmentId, Run>,
    opener: BlockOpener,
    salvaged: Salvaged,
}

impl Carrier<'_> {
    /// What SQLite still reads, up to what it can't; changes that are damaged are stepped over.
    fn carry_rows(&mut self, reader: &mut SqliteReader) -> Result<(), StoreError> {
        if let Ok(EmitMark { reserved, recorded, dropped, gaps, next }) = reader.emits() {
            let emits = Some(EmitMark { next, reserved, recorded, dropped, gaps });
            self.store.commit(&Batch { emits, ..Batch::default() })?;
        }
        let mut at = Offset(0);
        loop {
            let Ok(Stretch { arrivals, next, .. }) = stretch(reader, at, BATCH_BYTES) else {
                return Ok(());
            };
            if next == at {
                return Ok(());
            }
            at = next;
            let mut verified = Vec::new();
            for arrival in arrivals {
                let Change { bytes, hash, signature, .. } = arrival.change;
                verified.extend(self.verify(Found { bytes, hash, signature }));
            }
            self.apply(verified)?;
        }
    }

    /// What lies on pages that look like ours.
    fn carry_pages(&mut self, pages: &Pages) -> Result<(), SalvageError> {
        let (mut verified, mut bytes) = (Vec::new(), 0);
        let places = pages.rows()?;
        let openings = openings(pages, &places)?;
        for opening in openings.values() {
            // The change that says it may stand in a block, and others of its segment in rows.
            self.runs.entry(opening.segment()).or_insert_with(|| Run::of(opening));
        }
        for place in places {
            if let Some(found) = find(pages, place, change_of)? {
                bytes += found.bytes.len();
                verified.extend(self.verify(found));
            } else if let Some(block) = find(pages, place, |row| block_of(row, &openings))? {
                let changes = self.opener.verify(&block, self.cluster).unwrap_or_default();
                bytes += changes.iter().map(|change| change.bytes.len()).sum::<usize>();
                verified.extend(changes);
            }
            if bytes >= BATCH_BYTES {
                bytes = 0;
                self.apply(std::mem::take(&mut verified))?;
            }
        }
        Ok(self.apply(verified)?)
    }

    /// The changes that a found one completes: up to a signed one, they are checked as a peer's are.
    fn verify(&mut self, found: Found) -> Vec<Change> {
        let segment = self.gather(&found).and_then(|segment| Some((segment, found.signature?)));
        let Some((segment, signature)) = segment else { return Vec::new() };
        let Some(run) = self.runs.get_mut(&segment) else { return Vec::new() };
        let changes = std::mem::take(&mut run.changes);
        run.bytes = 0;
        let Some(place) = run.place.take() else { return Vec::new() };
        SignedRun { place, changes, signature }.verify(self.cluster).unwrap_or_default()
    }

    /// Puts a found change into the run of its segment, and names that; none for what is held.
    fn gather(&mut self, found: &Found) -> Option<SegmentId> {
        let chunk = Chunk::trusted(&found.bytes).ok()?;
        let (segment, index, before) = chunk.place()?;
        let link = chunk.link().ok()?;
        if self.runs.get(&segment).is_some_and(|run| run.last == found.bytes) {
            return None; // another copy of the same page
        }
        if let Link::Opening(opening) = &link {
            self.runs.insert(segment, Run::of(opening));
        }
        let run = self.runs.get_mut(&segment)?;
        let first_seq = run.segment_seq.plus(before);
        let held = self.past.begins(segment, first_seq, found.hash) == Ok(true);
        if held || run.next_index != index || run.is_full() {
            run.changes.clear();
            run.bytes = 0;
        }
        run.next_index = index.saturating_add(1);
        run.last = found.bytes.clone();
        if held {
            return None;
        }
        if run.changes.is_empty() {
            let (author, segment_seq) = (run.author, run.segment_seq);
            run.place = Some(Place { author, segment, segment_seq, index, first_seq, link });
        }
        run.bytes += found.bytes.len();
        run.changes.push(chunk.shared_entries());
        Some(segment)
    }

    fn apply(&mut self, verified: Vec<Change>) -> Result<(), StoreError> {
        let arrivals = self.log.apply(verified, self.now, &mut *self.past)?.arrivals;
        let batch = Batch { arrivals, ..Batch::default() };
        if batch.is_empty() {
            return Ok(());
        }
        self.store.commit(&batch)?;
        self.log.committed();
        self.salvaged.changes += batch.arrivals.len() as u64;
        let count = |arrival: &Arrival| u64::from(arrival.change.count);
        self.salvaged.entries += batch.arrivals.iter().map(count).sum::<u64>();
        Ok(())
    }
}

/// What a row is, if it is one of this sort.
fn find<T>(
    pages: &Pages,
    place: RowPlace,
    sort: impl Fn(Vec<Value>) -> Option<T>,
) -> io::Result<Option<T>> {
    for newest in [true, false] {
        let Some(row) = pages.row(place, newest)? else { continue };
        if let Some(found) = sort(row) {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// The opening statements of segments, by the row of their strands. A statement is the one that its
/// segment is named for, or it is none.
fn openings(pages: &Pages, places: &[RowPlace]) -> io::Result<HashMap<i64, Opening>> {
    let mut openings = HashMap::new();
    for place in places {
        let opening = find(pages, *place, |row| {
            let [_, Value::Blob(name), Value::Number(_), Value::Number(_), Value::Text(text), ..] =
                &row[..]
            else {
                return None;
            };
            let opening = Opening::parse(text).ok()?;
            (opening.segment().0[..] == name[..]).then_some(opening)
        })?;
        openings.extend(opening.map(|opening| (place.id, opening)));
    }
    Ok(openings)
}

/// The block in a row, as it would travel: whoever verifies it trusts nothing of it.
fn block_of(row: Vec<Value>, openings: &HashMap<i64, Opening>) -> Option<SignedBlock> {
    let [
        _,
        Value::Number(strand),
        Value::Number(first_seq),
        Value::Number(next_seq),
        Value::Number(position),
        Value::Number(_),
        Value::Number(_),
        Value::Number(_),
        Value::Blob(_),
        Value::Blob(signature),
        Value::Number(_),
        Value::Blob(_),
        Value::Blob(record),
    ] = &row[..]
    else {
        return None;
    };
    let opening = openings.get(strand)?;
    let place = Place {
        author: opening.author,
        segment: opening.segment(),
        segment_seq: opening.first_seq,
        index: u32::try_from(*position).ok()?,
        first_seq: Seq(u64::try_from(*first_seq).ok()?),
        link: block::link(record, &opening.text())?,
    };
    let signature = Signature(signature[..].try_into().ok()?);
    let next_seq = Seq(u64::try_from(*next_seq).ok()?);
    Some(SignedBlock { place, next_seq, signature, record: record.clone().into() })
}

fn change_of(row: Vec<Value>) -> Option<Found> {
    let (mut bytes, mut hash, mut signature) = (None, None, None);
    for value in row {
        match value {
            Value::Blob(blob) if blob.starts_with(&CHANGE_MAGIC) => bytes = Some(Bytes::from(blob)),
            Value::Blob(blob) if blob.len() == 32 => hash = Some(ChangeHash(blob.try_into().ok()?)),
            Value::Blob(blob) if blob.len() == 64 => {
                signature = Some(Signature(blob.try_into().ok()?));
            }
            _ => {}
        }
    }
    let (bytes, hash) = (bytes?, hash?);
    Chunk::open(&bytes, hash).ok()?;
    Some(Found { bytes, hash, signature })
}
