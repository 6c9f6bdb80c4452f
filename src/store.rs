//! The store: what is persisted, and how it is read back.
//!
//! Two stores keep the same promises, which one suite tests: [`sqlite`] and [`memory`]. A store is
//! written by one thread through [`Store`] and read by any number of [`Reader`]s. Invariant: this
//! layer is synchronous and never sees tokio; it decides nothing about the log.

use bytes::Bytes;

use crate::core::change::{Change, SignedBlock};
use crate::core::frontier::{Extent, Frontier, Head};
use crate::core::log::{Arrival, Past, Tip};
use crate::core::merge::Direction;
use crate::core::pruned::Pruned;
use crate::core::recording::Recording;
use crate::core::segment::Strand;
use crate::core::series::Series;
use crate::core::session::Passed;
use crate::words::planted::{Bug, planted};
use crate::words::{ChangeHash, ClusterId, EmitNumber, NodeId, Offset, Seq, Time};

pub mod baseline;
pub mod block;
pub mod damage;
pub mod memory;
pub mod mending;
pub mod picked;
pub mod pool;
pub mod pruning;
pub mod ranges;
pub mod remembering;
mod rests;
pub mod salvage;
pub mod series;
pub mod sqlite;
pub mod tip;
pub mod zones;

use damage::{Damages, Lost, Part};
use mending::Mended;
use pruning::{Mark, PruningReader};
use series::SeriesReader;
use tip::Shortage;
use zones::ZoneReader;

#[cfg(test)]
mod tests;

/// How many idempotency keys a node remembers; the oldest are forgotten first.
pub const IDEMPOTENCY_KEYS: u64 = 100_000;

/// Whom a store belongs to. It never changes once the store is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The node.
    pub node: NodeId,
    /// Its cluster.
    pub cluster: ClusterId,
}

/// The name of one store: 8 random bytes, made with it. Offsets mean nothing in another store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreId(pub [u8; 8]);

impl std::fmt::Display for StoreId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// Where the recorder of emitted events stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EmitMark {
    /// All numbers below are accounted for: recorded, or stated in a gap.
    pub next: EmitNumber,
    /// No number at or above was given out.
    pub reserved: EmitNumber,
    /// How many events were recorded.
    pub recorded: u64,
    /// How many events were dropped, by the gaps' counts.
    pub dropped: u64,
    /// How many gaps were written.
    pub gaps: u64,
}

impl EmitMark {
    /// Where the recorder stands once this is recorded.
    pub fn after(self, recording: &Recording) -> Self {
        Self {
            next: recording.next,
            reserved: self.reserved,
            recorded: self.recorded + recording.recorded,
            dropped: self.dropped + recording.dropped,
            gaps: self.gaps + recording.gaps,
        }
    }
}

/// What an idempotency key stands for: the entries that its first use appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRecord {
    /// The key as the caller gave it.
    pub key: String,
    /// SHA-256 of what was appended, so that a key isn't used for two things.
    pub digest: [u8; 32],
    /// The seq of the first entry.
    pub first_seq: Seq,
    /// How many entries there were.
    pub count: u64,
}

/// What is written in one transaction.
#[derive(Debug, Default)]
pub struct Batch {
    /// Changes in order of arrival.
    pub arrivals: Vec<Arrival>,
    /// Where the recorder stands after it.
    pub emits: Option<EmitMark>,
    /// Idempotency keys that were used.
    pub keys: Vec<KeyRecord>,
    /// Damaged changes as they were, each for the place where it belongs.
    pub mended: Vec<Mended>,
    /// Blocks of arrivals that came packed: by the offset of their first change.
    pub packed: Vec<Packed>,
    /// Changes that stand in rows of their own, and as one block from now on.
    pub sealed: Vec<Sealed>,
    /// What stays of segments that no peer holds any more. It is written before the arrivals, of which
    /// some may follow it.
    pub adopted: Vec<Pruned>,
    /// Segments whose entries are removed. One that can't be pruned, or is, stays as it is.
    pub pruned: Vec<Strand>,
    /// Series whose oldest entries were removed: what the index says of them goes.
    pub trimmed: Vec<Series>,
    /// How far the log is at a running time.
    pub mark: Option<Mark>,
}

/// Arrivals of a batch that came packed. See [`block`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packed {
    /// The offset of the first change.
    pub offset: Offset,
    /// How many changes there are, one after the other.
    pub changes: usize,
    /// The block's record.
    pub record: Bytes,
}

/// A block that came, before it is known what of it is new here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Came {
    first: ChangeHash,
    last: ChangeHash,
    changes: usize,
    record: Bytes,
}

impl Came {
    /// Changes that were verified, and the record that they came in. None where that packs nothing: they
    /// are packed anew, so that nobody can fill our disk with it.
    pub fn of(changes: &[Change], record: Bytes) -> Option<Self> {
        if record.len() > changes.iter().map(|change| change.bytes.len()).sum() {
            return None;
        }
        let (first, last) = (changes.first()?.hash, changes.last()?.hash);
        Some(Self { first, last, changes: changes.len(), record })
    }

    /// The block of what has arrived, where that is what came, all of it and nothing else: some of it
    /// may have been here before, and what waited for the rest of it may have joined the log with it.
    pub fn kept(self, arrivals: &[Arrival]) -> Option<Packed> {
        let Self { first, last, changes, record } = self;
        let (begins, ends) = (arrivals.first()?, arrivals.last()?);
        let same = (begins.change.hash, ends.change.hash, arrivals.len()) == (first, last, changes);
        let together = arrivals.iter().all(|arrival| arrival.strand() == begins.strand());
        (same && together).then_some(Packed { offset: begins.offset, changes, record })
    }
}

/// Changes that were packed into a block. See [`block`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// The strand.
    pub strand: Strand,
    /// The seq of the first entry.
    pub first_seq: Seq,
    /// The seq after the last entry.
    pub next_seq: Seq,
    /// The hash of the last change, which is signed.
    pub hash: ChangeHash,
    /// The block's record.
    pub record: Vec<u8>,
}

impl Batch {
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.arrivals.is_empty()
            && self.emits.is_none()
            && self.keys.is_empty()
            && self.mended.is_empty()
            && self.sealed.is_empty()
            && self.adopted.is_empty()
            && self.pruned.is_empty()
            && self.trimmed.is_empty()
            && self.mark.is_none()
    }
}

/// What a writer needs to know at its start. Reading it costs nothing that grows with the log.
#[derive(Debug)]
pub struct Resume {
    /// The end of every branch of every author.
    pub tips: Vec<(NodeId, Tip)>,
    /// The offset that the next entry takes.
    pub next_offset: Offset,
    /// Where the recorder stood.
    pub emits: EmitMark,
    /// The store's name.
    pub id: StoreId,
}

/// A strand as a run of entries for merging: what it holds, without what is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Who wrote it.
    pub author: NodeId,
    /// The strand.
    pub strand: Strand,
    /// The seq of its first entry.
    pub first_seq: Seq,
    /// The seq after its last entry held.
    pub next_seq: Seq,
    /// The time of its first entry.
    pub first_time: Time,
    /// The time of its last entry held.
    pub last_time: Time,
}

/// Says why a store did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// There is no room on the disk. Nothing of the batch was written.
    #[error("the disk is full: {0}")]
    Full(String),
    /// Reading or writing failed. What of a batch was written is not known until the store is
    /// opened again.
    #[error("the store failed: {0}")]
    Failed(String),
    /// What was read back is not what was written.
    #[error("the store is damaged: {0}")]
    Damaged(String),
    /// A change was read back damaged. It is asked for again of the peers.
    #[error(
        "the store is damaged: {0} are not as they were written; a peer that has them mends it"
    )]
    Lost(Lost),
}

/// Says why a store could not be opened. It was not touched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// There is no store.
    #[error("there is no store at {0}")]
    Missing(String),
    /// The file is not one of towline's.
    #[error("{0} is not a store of towline")]
    Foreign(String),
    /// A newer towline wrote the file.
    #[error("the store has version {found}, and this towline knows {known}: use a newer towline")]
    Newer {
        /// The version found.
        found: i64,
        /// The newest version known.
        known: i64,
    },
    /// An older towline wrote the file, and it was opened for reading only.
    #[error("the store has version {found}, and this towline reads {known}: start its node once")]
    Older {
        /// The version found.
        found: i64,
        /// The version that is read.
        known: i64,
    },
    /// The store belongs to another node or cluster.
    #[error("the store belongs to {what} {found}, not to {expected}")]
    Owner {
        /// «node» or «cluster».
        what: &'static str,
        /// Whom it belongs to.
        found: String,
        /// Whom it should belong to.
        expected: String,
    },
    /// A setting that durability rests on could not be made.
    #[error("SQLite keeps {pragma} at {found}, and towline needs {wanted}")]
    Pragma {
        /// The PRAGMA.
        pragma: &'static str,
        /// What SQLite says.
        found: String,
        /// What is needed.
        wanted: String,
    },
    /// The store could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The writing half of a store. One thread owns it.
pub trait Store: Send {
    /// What a writer needs to go on.
    ///
    /// # Errors
    /// The store can't be read.
    fn resume(&mut self) -> Result<Resume, StoreError>;

    /// Writes a batch: all of it, durable when this returns, or nothing.
    ///
    /// # Errors
    /// After [`StoreError::Full`] nothing of the batch is there, and a later commit may be tried.
    /// After any other error it is not known what is on disk. The caller must stop writing, and
    /// open the store again; a failed sync is never retried.
    fn commit(&mut self, batch: &Batch) -> Result<(), StoreError>;

    /// How many bytes are free for the store; none where that isn't known.
    fn free(&self) -> Option<u64> {
        None
    }

    /// Gives some of the room back that removed entries took, if there is much of it: so little at a
    /// time that appends hardly wait for it. Returns whether there is more.
    ///
    /// # Errors
    /// As for [`Store::commit`]; what was committed stays as it is in any case.
    fn reclaim(&mut self) -> Result<bool, StoreError> {
        Ok(false)
    }

    /// What opens readers of the same store, for as long as anybody needs them.
    fn opener(&self) -> Opener;

    /// What its readers have found damaged; nothing where nothing can be.
    fn damages(&self) -> Damages {
        Damages::default()
    }

    /// What it should hold and doesn't, where that is remembered outside of it.
    fn shortage(&self) -> Shortage {
        Shortage::default()
    }

    /// Another reader of the same store.
    ///
    /// # Errors
    /// The store can't be opened for reading.
    fn reader(&self) -> Result<Box<dyn Reader>, StoreError> {
        (self.opener())()
    }
}

/// Opens a reader of one store.
pub type Opener = Box<dyn Fn() -> Result<Box<dyn Reader>, StoreError> + Send + Sync>;

/// Runs a reading of many calls in one snapshot, where the store has such: nothing changes between them, and
/// each costs less.
///
/// # Errors
/// What the reading returns, or the store can't be read.
pub fn at_once<R: Reader + ?Sized, T, E: From<StoreError>>(
    reader: &mut R,
    reading: impl FnOnce(&mut R) -> Result<T, E>,
) -> Result<T, E> {
    let held = reader.hold_still()?;
    let read = reading(reader);
    if held {
        reader.let_go()?;
    }
    read
}

/// The reading half of a store: it sees whole commits only. No call reads more than it is told to.
///
/// Every change that is handed out has been checked against its hash. A reader also answers what the
/// log asks of its past.
pub trait Reader:
    Past<Error = StoreError> + SeriesReader + ZoneReader + PruningReader + Send
{
    /// The store's name.
    fn id(&self) -> StoreId;

    /// Whom the store belongs to.
    fn owner(&self) -> Owner;

    /// The offset that the next entry takes: one more than the newest entry's.
    ///
    /// # Errors
    /// The store can't be read; so for every call here.
    fn watermark(&mut self) -> Result<Offset, StoreError>;

    /// From now on this sees no commit that is not there yet, until [`Self::let_go`]. Returns false where it
    /// did so before, or never does.
    fn hold_still(&mut self) -> Result<bool, StoreError> {
        Ok(false)
    }

    /// Sees what has been committed since [`Self::hold_still`].
    fn let_go(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    /// All heads of all authors.
    fn frontier(&mut self) -> Result<Frontier, StoreError>;

    /// Where the recorder stands.
    fn emits(&mut self) -> Result<EmitMark, StoreError>;

    /// The strands of an author, in order of their first seq.
    fn extents(&mut self, author: NodeId) -> Result<Vec<Extent>, StoreError>;

    /// All strands, or those of one author, without what is in them.
    fn spans(&mut self, author: Option<NodeId>) -> Result<Vec<Span>, StoreError>;

    /// At most `limit` changes that end above `from`, in order of arrival, without their bytes;
    /// and the offset after the last of them.
    fn scan(&mut self, from: Offset, limit: usize) -> Result<(Vec<Passed>, Offset), StoreError>;

    /// Changes in order of arrival: forward from the one that holds `from`, or backward from the
    /// one that ends at or below `from`. At least one if there is one, and at most about
    /// `max_bytes`.
    fn arrivals(
        &mut self,
        from: Offset,
        direction: Direction,
        max_bytes: usize,
    ) -> Result<Vec<Arrival>, StoreError>;

    /// Changes of one strand in order of seq: forward from the one that holds `from`, or backward
    /// from the one that holds the entry before `from`. At least one if there is one, and at most
    /// about `max_bytes`.
    fn of_strand(
        &mut self,
        strand: Strand,
        from: Seq,
        direction: Direction,
        max_bytes: usize,
    ) -> Result<Vec<Arrival>, StoreError>;

    /// The changes that hold an author's entry: one, or one for each branch that has this seq.
    fn find(&mut self, author: NodeId, seq: Seq) -> Result<Vec<Arrival>, StoreError>;

    /// The strand on which a change ends at this head, if it is held.
    fn locate(&mut self, head: &Head) -> Result<Option<Strand>, StoreError>;

    /// The authors that ever had two heads at a time: only they can have two entries of one seq.
    fn branched(&mut self) -> Result<Vec<NodeId>, StoreError>;

    /// Of a branched author, the seqs that the strands with an entry in `from..to` hold: first and
    /// next, in order of the first. None of any other author.
    fn strands_around(
        &mut self,
        author: NodeId,
        from: Seq,
        to: Seq,
    ) -> Result<Vec<(Seq, Seq)>, StoreError>;

    /// Where in the order of arrival ends what holds an offset, whether or not it can be read: a
    /// change, or as much of a block as arrived together.
    fn end_at(&mut self, at: Offset) -> Result<Offset, StoreError>;

    /// What an idempotency key stands for.
    fn key(&mut self, key: &str) -> Result<Option<KeyRecord>, StoreError>;

    /// Changes that should be packed into blocks, one list for each block, as many as a step takes:
    /// consecutive ones of one strand that ends in a signed one. What arrived below `old` is packed
    /// however little it is. None where the store has no blocks.
    fn sealable(&mut self, _old: Offset) -> Result<Vec<Vec<Arrival>>, StoreError> {
        Ok(Vec::new())
    }

    /// The block of a strand that begins at a seq, as it is kept. None where no block does, or it is
    /// not as it was sealed.
    fn packed(&mut self, _strand: Strand, _from: Seq) -> Result<Option<SignedBlock>, StoreError> {
        Ok(None)
    }

    /// Bytes on disk, everything counted; 0 in memory.
    fn bytes(&mut self) -> Result<u64, StoreError>;

    /// Checks the signature of a change that is about to leave this node, where a disk may have
    /// altered it since it was written, and notes it when it isn't its author's. What this lifetime
    /// wrote is not checked again.
    ///
    /// # Errors
    /// It is not what was written.
    fn check_signature(&mut self, _: &Arrival) -> Result<(), StoreError> {
        Ok(())
    }

    /// Checks that what the store finds things by (indices, trees of pages) agrees with what it
    /// holds. Reads all of it.
    fn check_structure(&mut self) -> Result<(), StoreError> {
        Ok(())
    }
}

/// Checks a change that was read against its hash, and notes it when it isn't whole.
///
/// # Errors
/// It is not what was written.
fn whole(arrival: &Arrival, damages: &Damages) -> Result<(), StoreError> {
    if planted(Bug::DamageServed) {
        return Ok(());
    }
    arrival.change.check().map_err(|_| {
        let lost = Lost::of(arrival);
        damages.note(lost);
        StoreError::Lost(lost)
    })
}

/// Checks the signature of a change that was read, if it has lain on the disk for long enough to be
/// altered, and notes it when it isn't its author's.
///
/// # Errors
/// It is not what was written.
fn signed(arrival: &Arrival, cluster: ClusterId, damages: &Damages) -> Result<(), StoreError> {
    let Change { author, hash, signature, .. } = &arrival.change;
    let is_good = || signature.is_none_or(|signature| author.verify(cluster, *hash, &signature));
    if planted(Bug::DamageServed) || !damages.is_aged(arrival.offset) || is_good() {
        return Ok(());
    }
    let lost = Lost { part: Part::Signature, ..Lost::of(arrival) };
    damages.note(lost);
    Err(StoreError::Lost(lost))
}
