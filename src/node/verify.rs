//! Verification of a whole store, without any secret: every signature, chain, seq and encoding.

use std::collections::{HashMap, HashSet};

use crate::core::change::{Change, Link, Place, encode};
use crate::core::frontier::{Frontier, Head};
use crate::core::log::Standing;
use crate::core::merge::Direction;
use crate::core::pruned::Pruned;
use crate::core::segment::{Parent, Strand};
use crate::store::tip::Missing;
use crate::store::{Reader, Span, StoreError};
use crate::words::{ClusterId, NodeId, Offset, Seq, Time};

/// How many bytes of changes are read at once.
const READ_BYTES: usize = 4 << 20;

/// The first bad place of a store.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {what}")]
pub struct BadPlace {
    /// Which entry, change or segment.
    pub place: String,
    /// What is wrong with it.
    pub what: String,
}

/// Says why a store was not verified.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// Something in it is not as its authors signed it.
    #[error(transparent)]
    Bad(#[from] BadPlace),
    /// All that it holds is as it was signed, but it held more once.
    #[error("the newest commits: {0}")]
    Missing(Missing),
    /// It can't be read.
    #[error(transparent)]
    Store(StoreError),
}

impl From<StoreError> for VerifyError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Damaged(what) => Self::Bad(BadPlace { place: "the store".into(), what }),
            StoreError::Lost(lost) => Self::Bad(BadPlace {
                place: format!("entry {}:{}", lost.author, lost.first_seq),
                what: format!("{lost} are not as they were written"),
            }),
            other => Self::Store(other),
        }
    }
}

/// What was verified.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Verified {
    /// Entries.
    pub entries: u64,
    /// Changes.
    pub changes: u64,
    /// Segments.
    pub segments: u64,
    /// Authors.
    pub authors: u64,
    /// Signatures that were checked: each vouches for all changes before it.
    pub signatures: u64,
    /// Segments whose entries were removed, and of which what stays was checked.
    pub pruned: u64,
    /// Entries that these had.
    pub gone: u64,
}

/// Verifies a store from its first entry to its last. `progress` is told how many entries of how
/// many are done.
///
/// # Errors
/// The first bad place, or that the store can't be read.
pub fn verify(
    reader: &mut dyn Reader,
    mut progress: impl FnMut(u64, u64),
) -> Result<Verified, VerifyError> {
    let cluster = reader.owner().cluster;
    let watermark = reader.watermark()?;
    let mut spans = reader.spans(None)?;
    spans.sort_by_key(|span| (span.author, span.first_seq, span.strand));
    let mut verified = Verified::default();
    let mut heads = Frontier::default();
    let mut joined: HashSet<(NodeId, Parent)> = HashSet::new();
    // Where what was removed ends, as long as nothing is held that comes after it.
    let mut ends: HashMap<Strand, Head> = HashMap::new();
    let pruned = reader.pruned(None)?;
    for gone in &pruned {
        check_pruned(gone, cluster, reader)?;
        joined.extend(gone.opening.parents.iter().map(|parent| (gone.author(), *parent)));
        ends.insert(gone.strand(), gone.head());
        verified.pruned += 1;
        verified.gone += gone.entries();
    }
    for span in &spans {
        let mut walk = Walk { cluster, span: *span, before: None, unsigned: 0 };
        let mut at = span.first_seq;
        let gone = reader.gone_of(span.strand)?.filter(|gone| !gone.is_empty());
        while at < span.next_seq {
            let arrivals = reader.of_strand(span.strand, at, Direction::Forward, READ_BYTES)?;
            if arrivals.is_empty() {
                return Err(bad(span, at, "the change is missing").into());
            }
            for arrival in arrivals {
                let change = arrival.change;
                if let Some(gone) = gone.as_ref().filter(|gone| gone.start == at) {
                    at = gone.end;
                    walk.before = None;
                }
                let parents = walk.step(&change, at, reader)?;
                joined.extend(parents.into_iter().map(|parent| (span.author, parent)));
                at = change.next_seq();
                verified.entries += u64::from(change.count);
                verified.changes += 1;
                verified.signatures += u64::from(change.signature.is_some());
            }
            progress(verified.entries, watermark.0);
        }
        let head = walk.finish()?;
        if gone.is_none_or(|gone| gone.end < head.next_seq) {
            ends.remove(&span.strand);
            heads.insert(span.author, head);
        }
        verified.segments += 1;
    }
    for gone in &pruned {
        if let Some(end) = ends.remove(&gone.strand()) {
            heads.insert(gone.author(), end);
        }
    }
    verified.authors = heads.len() as u64;
    check_offsets(reader, watermark, verified.entries)?;
    check_frontier(reader, &heads, &joined)?;
    reader.check_structure()?;
    Ok(verified)
}

/// Checks what stays of a pruned segment: who signed its end, and that it follows what came before.
fn check_pruned(
    pruned: &Pruned,
    cluster: ClusterId,
    reader: &mut dyn Reader,
) -> Result<(), VerifyError> {
    let segment = pruned.opening.segment();
    let place = || format!("the pruned segment {segment} of {}", pruned.author());
    let bad = |what: String| BadPlace { place: place(), what };
    pruned.check(cluster).map_err(|error| bad(error.to_string()))?;
    for parent in &pruned.opening.parents {
        if reader.standing(pruned.author(), parent)?.is_none() {
            return Err(bad("the segment before it is missing".into()).into());
        }
    }
    Ok(())
}

fn bad(span: &Span, seq: Seq, what: impl Into<String>) -> BadPlace {
    BadPlace {
        place: format!("entry {}:{seq} in segment {}", span.author, span.strand.segment),
        what: what.into(),
    }
}

/// A segment that is walked from its first change to its last.
struct Walk {
    cluster: ClusterId,
    span: Span,
    before: Option<Change>,
    /// How many changes wait for a signature that vouches for them.
    unsigned: u64,
}

impl Walk {
    fn step(
        &mut self,
        change: &Change,
        expected: Seq,
        reader: &mut dyn Reader,
    ) -> Result<Vec<Parent>, VerifyError> {
        let bad = |what: String| bad(&self.span, change.first_seq, what);
        if change.first_seq != expected {
            return Err(bad(format!("the seq should be {expected}")).into());
        }
        let chunk = change.open().map_err(|e| bad(e.to_string()))?;
        let link = chunk.link().map_err(|e| bad(e.to_string()))?;
        let place = Place {
            author: change.author,
            segment: change.segment,
            segment_seq: change.segment_seq,
            index: change.index,
            first_seq: change.first_seq,
            link,
        };
        // Built once more from nothing but the entries and the place, it must be the same change.
        let again = encode(&place, &chunk.shared_entries()).map_err(|e| bad(e.to_string()))?;
        if again.hash != change.hash || again.bytes != change.bytes {
            return Err(bad("its encoding is not the one of its entries".into()).into());
        }
        if (again.first_time, again.last_time, again.count)
            != (change.first_time, change.last_time, change.count)
        {
            return Err(bad("its row and its entries differ".into()).into());
        }
        let parents = match &place.link {
            Link::Opening(opening) => opening.parents.clone(),
            Link::Previous(_) => Vec::new(),
        };
        let last_time = self.last_time_before(change, &place.link, reader)?;
        if last_time.is_some_and(|last| change.first_time <= last) {
            return Err(bad("its time doesn't rise".into()).into());
        }
        if let Some(signature) = &change.signature {
            if !change.author.is_sound()
                || !change.author.verify(self.cluster, change.hash, signature)
            {
                return Err(bad("its signature is not its author's".into()).into());
            }
            self.unsigned = 0;
        } else {
            self.unsigned += 1;
        }
        self.before = Some(change.clone());
        Ok(parents)
    }

    /// The newest time of what a change hangs on; none for an author's very first one.
    fn last_time_before(
        &self,
        change: &Change,
        link: &Link,
        reader: &mut dyn Reader,
    ) -> Result<Option<Time>, VerifyError> {
        let bad = |what: &str| bad(&self.span, change.first_seq, what);
        match (link, &self.before) {
            (Link::Previous(hash), Some(before)) => {
                if *hash != before.hash || change.index != before.index + 1 {
                    return Err(bad("it doesn't follow the change before it").into());
                }
                Ok(Some(before.last_time))
            }
            (Link::Opening(opening), None) => {
                if opening.cluster != self.cluster {
                    return Err(bad("it was opened for another cluster").into());
                }
                let mut newest = None;
                for parent in &opening.parents {
                    let parent = reader.standing(change.author, parent)?;
                    let parent = parent.ok_or_else(|| bad("a parent of its segment is missing"))?;
                    newest = newest.max(Some(parent.tip.last_time));
                }
                Ok(newest)
            }
            (Link::Previous(hash), None) => {
                let parent = Parent { next_seq: change.first_seq, hash: *hash };
                match reader.standing(change.author, &parent)? {
                    Some(Standing { tip, .. }) if tip.changes == change.index => {
                        Ok(Some(tip.last_time))
                    }
                    _ => Err(bad("what it follows is missing").into()),
                }
            }
            _ => Err(bad("its segment has no opening, or two").into()),
        }
    }

    fn finish(self) -> Result<Head, BadPlace> {
        let Span { strand: Strand { segment, .. }, first_seq, .. } = self.span;
        let Some(last) = self.before else {
            return Err(bad(&self.span, first_seq, "the segment is empty"));
        };
        if self.unsigned > 0 {
            return Err(bad(&self.span, last.first_seq, "no signature vouches for it"));
        }
        Ok(Head { segment, next_seq: last.next_seq(), hash: last.hash })
    }
}

/// The order of arrival has no hole but where entries were removed, and holds every entry of the segments. The changes are read once
/// more: what the store finds by offset is not read from the same places as what it finds by seq.
fn check_offsets(
    reader: &mut dyn Reader,
    watermark: Offset,
    entries: u64,
) -> Result<(), VerifyError> {
    let mut at = Offset(0);
    while at < watermark {
        let arrivals = reader.arrivals(at, Direction::Forward, READ_BYTES)?;
        for arrival in &arrivals {
            if arrival.offset != at
                && let Some(hole) = reader.hole_at(at)?
            {
                at = hole.end;
            }
            if arrival.offset != at {
                let (place, what) = (format!("offset {at}"), "no change begins here".into());
                return Err(BadPlace { place, what }.into());
            }
            at = arrival.end();
        }
        if arrivals.is_empty() {
            let (place, what) = (format!("offset {at}"), "the change is missing".into());
            return Err(BadPlace { place, what }.into());
        }
    }
    let held = watermark.0.saturating_sub(reader.gone()?.entries);
    if at == watermark && held == entries {
        return Ok(());
    }
    let what = format!("{held} entries by arrival, {entries} by segment");
    Err(BadPlace { place: "the order of arrival".into(), what }.into())
}

/// The heads that the store names are the ends of segments that no other one continues.
fn check_frontier(
    reader: &mut dyn Reader,
    heads: &Frontier,
    joined: &HashSet<(NodeId, Parent)>,
) -> Result<(), VerifyError> {
    let mut expected = Frontier::default();
    for (author, heads) in heads.iter() {
        for head in heads {
            let end = Parent { next_seq: head.next_seq, hash: head.hash };
            if !joined.contains(&(*author, end)) {
                expected.insert(*author, *head);
            }
        }
    }
    if reader.frontier()? == expected {
        return Ok(());
    }
    let what = "the heads it names are not the ends of its segments".into();
    Err(BadPlace { place: "the frontier".into(), what }.into())
}
