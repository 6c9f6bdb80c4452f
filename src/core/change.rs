//! Changes: consecutive entries of one author as one Automerge change, and the only function that
//! makes one.
//!
//! [`encode`] turns a place in the log and the entries into the Automerge change that stands for
//! them. The author calls it, and every receiver calls it again on what came off the wire. So the
//! wire can't say anything but «this author appends these entries», no peer's bytes ever reach
//! Automerge's parsers, and the change is admitted only when its hash is the one that was signed.
//!
//! All changes hang on one constant *genesis* change, which makes the list `entries` at the root
//! of the document. Any set of segments merges into one document whose list is their union.

use std::num::NonZeroU64;
use std::sync::LazyLock;

use automerge::legacy::{Key, ObjectId, Op, OpType};
use automerge::{ActorId, ExpandedChange, ObjType};
use bytes::Bytes;

use super::segment::Opening;
use crate::words::entry::{EntryError, View};
use crate::words::limits::{CHANGE_BYTES, CHANGE_ENTRIES, SEGMENT_ENTRIES};
use crate::words::{ChangeHash, ClusterId, NodeId, SegmentId, Seq, Signature, Time};

mod chunk;
mod columns;

pub use chunk::{Chunk, Damaged};

/// The name of the one list at the root of the document.
pub const LIST: &str = "entries";
/// The actor of the genesis change.
const GENESIS_ACTOR: [u8; 16] = *b"towline/1genesis";
/// The operation number of the list that genesis makes.
const LIST_OP: u64 = 1;
/// The operation number of the first entry of every segment.
const FIRST_OP: u64 = 2;

static GENESIS: LazyLock<automerge::Change> = LazyLock::new(|| {
    let list = Op {
        action: OpType::Make(ObjType::List),
        obj: ObjectId::Root,
        key: Key::Map(LIST.into()),
        pred: Vec::new().into(),
        insert: false,
    };
    automerge::Change::from(ExpandedChange {
        operations: vec![list],
        actor_id: ActorId::from(GENESIS_ACTOR),
        author: None,
        hash: None,
        seq: 1,
        start_op: NonZeroU64::MIN,
        time: 0,
        message: None,
        deps: Vec::new(),
        extra_bytes: Vec::new(),
    })
});

/// The change that makes the list: the same bytes and the same hash on every node, for ever.
pub fn genesis() -> &'static automerge::Change {
    &GENESIS
}

/// What a change hangs on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Link {
    /// It is the first of its segment.
    Opening(Opening),
    /// It follows this change of the same segment.
    Previous(ChangeHash),
}

impl Link {
    /// The message of a change that hangs on it: the opening statement of its segment, or nothing.
    pub fn message(&self) -> String {
        match self {
            Self::Opening(opening) => opening.text(),
            Self::Previous(_) => String::new(),
        }
    }
}

/// Where a change stands in the log: all that its hash covers beside the entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Who writes it.
    pub author: NodeId,
    /// The segment that it belongs to.
    pub segment: SegmentId,
    /// The seq of the segment's first entry.
    pub segment_seq: Seq,
    /// How many changes of the segment stand before it.
    pub index: u32,
    /// The seq of its first entry.
    pub first_seq: Seq,
    /// What it hangs on.
    pub link: Link,
}

/// A change as the log keeps it: built by [`encode`], or read back from our own disk and found
/// whole. What a stranger says is never this type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Who wrote it.
    pub author: NodeId,
    /// The segment that it belongs to.
    pub segment: SegmentId,
    /// The seq of the segment's first entry.
    pub segment_seq: Seq,
    /// How many changes of the segment stand before it.
    pub index: u32,
    /// The seq of its first entry.
    pub first_seq: Seq,
    /// How many entries it holds; at least one.
    pub count: u32,
    /// The time of its first entry.
    pub first_time: Time,
    /// The time of its last entry.
    pub last_time: Time,
    /// SHA-256 of its Automerge chunk.
    pub hash: ChangeHash,
    /// The author's signature over (domain, cluster, hash); absent where a later change of the
    /// segment vouches for this one.
    pub signature: Option<Signature>,
    /// The Automerge chunk, uncompressed.
    pub bytes: Bytes,
}

impl Change {
    /// The seq that follows the last entry.
    pub fn next_seq(&self) -> Seq {
        self.first_seq.plus(u64::from(self.count))
    }

    /// Reads the chunk: what the change hangs on, and its entries.
    ///
    /// # Errors
    /// Bytes that don't hash to [`Change::hash`], or are no change of ours: the disk lost them.
    pub fn open(&self) -> Result<Chunk<'_>, Damaged> {
        Chunk::open(&self.bytes, self.hash)
    }

    /// Whether the bytes are the change's, and what stands beside them is what they say.
    ///
    /// Author and segment seq are the segment's, and are not in the bytes of a later change.
    ///
    /// # Errors
    /// Something of it is not as it was written.
    pub fn check(&self) -> Result<(), Damaged> {
        let chunk = self.open()?;
        let mut entries = chunk.entries();
        let first = entries.next().and_then(|entry| View::read(entry).ok());
        let last = entries.next_back().and_then(|entry| View::read(entry).ok());
        let (first, last) = match (first, last) {
            (Some(first), Some(last)) => (first.time, last.time),
            (Some(only), None) if chunk.count() == 1 => (only.time, only.time),
            _ => return Err(Damaged::Shape),
        };
        let before = self.first_seq.0.checked_sub(self.segment_seq.0).ok_or(Damaged::Row)?;
        let as_stored = chunk.stands(self.segment, self.index, before)
            && chunk.count() == self.count as usize
            && (first, last) == (self.first_time, self.last_time);
        if as_stored { Ok(()) } else { Err(Damaged::Row) }
    }

    /// Of a change whose bytes and hash don't agree: whether it is the bytes that were altered. The
    /// checksum at their head is that of the hash, and not their own.
    pub fn lost_bytes(&self) -> bool {
        chunk::is_altered(&self.bytes, self.hash)
    }

    /// Reads the chunk without hashing its bytes again: for a change that was just built, or that
    /// the store has checked as it handed it out.
    ///
    /// # Errors
    /// Bytes that are no change of ours.
    pub fn chunk(&self) -> Result<Chunk<'_>, Damaged> {
        Chunk::trusted(&self.bytes)
    }

    /// What the change hangs on, without hashing its bytes again: for a change that was just
    /// built, or opened.
    ///
    /// # Errors
    /// Bytes that are no change of ours.
    pub fn link(&self) -> Result<Link, Damaged> {
        chunk::link_of(&self.bytes)
    }
}

/// Says why entries can't be a change. Nothing was kept of them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// There is no entry, or more than a change may hold.
    #[error("a change holds 1 to {CHANGE_ENTRIES} entries, and this has {0}")]
    Count(usize),
    /// The entries are too long together.
    #[error("a change holds at most {CHANGE_BYTES} bytes of entries, and this has {0}")]
    Bytes(usize),
    /// The place doesn't fit the segment's bounds, or contradicts itself.
    #[error("the place in the segment is out of bounds")]
    Place,
    /// One of the entries is not well-formed.
    #[error("entry {index} of the change: {error}")]
    Entry {
        /// Which one, from 0.
        index: usize,
        /// What is wrong with it.
        error: EntryError,
    },
    /// An entry's time doesn't rise above the one before it.
    #[error("entry {0} of the change: its time doesn't rise above the one before")]
    Time(usize),
}

/// Builds the one Automerge change that says: at this place, these entries.
///
/// The result depends on nothing but the arguments. It carries no signature yet.
///
/// # Errors
/// Entries or a place that break the rules of the format; they are the same on every node.
pub fn encode<E: AsRef<[u8]>>(place: &Place, entries: &[E]) -> Result<Change, EncodeError> {
    let times = check_entries(entries)?;
    rebuild(place, entries, times)
}

/// Builds the change of entries that are known to be well-formed, and to rise from the first of
/// these times to the last: they were encoded here, or admitted before and found whole.
///
/// # Errors
/// A place that breaks the rules of the format.
pub(crate) fn rebuild<E: AsRef<[u8]>>(
    place: &Place,
    entries: &[E],
    (first_time, last_time): (Time, Time),
) -> Result<Change, EncodeError> {
    let start = check_place(place, entries.len())?;
    let dependency = match &place.link {
        Link::Opening(_) => ChangeHash(genesis().hash().0),
        Link::Previous(hash) => *hash,
    };
    let message = place.link.message();
    let head = columns::Head {
        dependency,
        actor: place.segment,
        index: place.index,
        start,
        time: last_time.millis() / 1_000,
        message: &message,
    };
    let (bytes, hash) = columns::write(&head, entries);
    Ok(Change {
        author: place.author,
        segment: place.segment,
        segment_seq: place.segment_seq,
        index: place.index,
        first_seq: place.first_seq,
        count: entries.len() as u32,
        first_time,
        last_time,
        hash,
        signature: None,
        bytes,
    })
}

/// Entries that lie end to end, by where each of them ends.
pub(crate) fn cut<'b>(bytes: &'b [u8], ends: &[usize]) -> Vec<&'b [u8]> {
    let mut at = 0;
    ends.iter().map(|end| &bytes[std::mem::replace(&mut at, *end)..*end]).collect()
}

fn check_entries<E: AsRef<[u8]>>(entries: &[E]) -> Result<(Time, Time), EncodeError> {
    if entries.is_empty() || entries.len() > CHANGE_ENTRIES {
        return Err(EncodeError::Count(entries.len()));
    }
    let bytes = entries.iter().map(|entry| entry.as_ref().len()).sum();
    if bytes > CHANGE_BYTES {
        return Err(EncodeError::Bytes(bytes));
    }
    let mut times: Option<(Time, Time)> = None;
    for (index, entry) in entries.iter().enumerate() {
        let entry =
            View::check(entry.as_ref()).map_err(|error| EncodeError::Entry { index, error })?;
        times = match times {
            None => Some((entry.time, entry.time)),
            Some((first, last)) if entry.time > last => Some((first, entry.time)),
            Some(_) => return Err(EncodeError::Time(index)),
        };
    }
    times.ok_or(EncodeError::Count(0))
}

/// How many entries of the segment stand before this place.
fn check_place(place: &Place, count: usize) -> Result<u64, EncodeError> {
    let start = place.first_seq.0.checked_sub(place.segment_seq.0).ok_or(EncodeError::Place)?;
    let first = matches!(place.link, Link::Opening(_));
    let fits = start < SEGMENT_ENTRIES
        && start + count as u64 <= SEGMENT_ENTRIES
        && place.first_seq.0.checked_add(count as u64).is_some()
        && u64::from(place.index) <= start
        && first == (start == 0)
        && first == (place.index == 0);
    let own = match &place.link {
        Link::Opening(opening) => {
            opening.author == place.author
                && opening.first_seq == place.first_seq
                && opening.segment() == place.segment
                && opening.check().is_ok()
        }
        Link::Previous(_) => true,
    };
    if fits && own { Ok(start) } else { Err(EncodeError::Place) }
}

/// Consecutive changes of one segment as they came off the wire: claims, and one signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedRun {
    /// Where the first of the changes stands.
    pub place: Place,
    /// The entries of each change, encoded.
    pub changes: Vec<Vec<Bytes>>,
    /// The author's signature over the last change; each change names the one before it, so it
    /// vouches for all of them.
    pub signature: Signature,
}

/// Consecutive changes of one segment as they came off the wire, packed as a store keeps them: claims,
/// one signature, and a record that the core doesn't look into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedBlock {
    /// Where the first of the changes stands.
    pub place: Place,
    /// The seq after the last entry.
    pub next_seq: Seq,
    /// The author's signature over the last change.
    pub signature: Signature,
    /// What the entries and the ends of the changes are packed in.
    pub record: Bytes,
}

/// What travels of a segment in one frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Travelling {
    /// Entries as they are.
    Run(SignedRun),
    /// Entries that were packed before.
    Block(SignedBlock),
}

impl Travelling {
    /// The seq after the last entry, by its own word.
    pub fn next_seq(&self) -> Seq {
        match self {
            Self::Run(run) => run.next_seq(),
            Self::Block(block) => block.next_seq,
        }
    }
}

/// Says why a run was refused. Nothing was kept of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// It holds no change.
    #[error("a run without a change")]
    Empty,
    /// The segment belongs to another cluster.
    #[error("a segment of another cluster")]
    Cluster,
    /// The author's id is a key that can't vouch for anything.
    #[error("the author's key is weak or no key")]
    WeakKey,
    /// The record of a block can't be opened, or holds something else than it claims.
    #[error("a block that can't be opened")]
    Record,
    /// A change of the run can't be rebuilt.
    #[error("change {index} of the run: {error}")]
    Encode {
        /// Which one, from 0.
        index: usize,
        /// What is wrong with it.
        error: EncodeError,
    },
    /// The signature is not the author's over the rebuilt change.
    #[error("the signature is not the author's over these entries")]
    Signature,
}

impl SignedRun {
    /// The seq after the last entry.
    pub fn next_seq(&self) -> Seq {
        let entries: usize = self.changes.iter().map(Vec::len).sum();
        self.place.first_seq.plus(entries as u64)
    }

    /// Rebuilds the changes and checks the signature over the last of them.
    ///
    /// The predicate is the same on every node, and needs nothing but the run and the cluster id:
    /// whether the run fits what the node holds is the log's to say.
    ///
    /// # Errors
    /// A run that its author did not sign in this form for this cluster.
    pub fn verify(self, cluster: ClusterId) -> Result<Vec<Change>, VerifyError> {
        if matches!(&self.place.link, Link::Opening(opening) if opening.cluster != cluster) {
            return Err(VerifyError::Cluster);
        }
        if !self.place.author.is_sound() {
            return Err(VerifyError::WeakKey);
        }
        let mut place = self.place;
        let mut changes = Vec::with_capacity(self.changes.len());
        for (index, entries) in self.changes.iter().enumerate() {
            let refused = |error| VerifyError::Encode { index, error };
            let change = encode(&place, entries).map_err(refused)?;
            let rises = |last: &Change| change.first_time > last.last_time;
            if !changes.last().is_none_or(rises) {
                return Err(refused(EncodeError::Time(0)));
            }
            place.index = place.index.saturating_add(1);
            place.first_seq = change.next_seq();
            place.link = Link::Previous(change.hash);
            changes.push(change);
        }
        let last = changes.last_mut().ok_or(VerifyError::Empty)?;
        if !last.author.verify(cluster, last.hash, &self.signature) {
            return Err(VerifyError::Signature);
        }
        last.signature = Some(self.signature);
        Ok(changes)
    }
}

#[cfg(test)]
mod tests;
