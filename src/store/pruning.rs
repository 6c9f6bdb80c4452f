//! Pruning: how a store lets go the entries of whole segments, and what it remembers of them.
//!
//! Of a pruned segment its opening, its counts and its signed last hash stay, so that what follows can
//! still be checked, and a peer be told. In the order of arrival there is a *hole* where its entries
//! were: readers pass over it, and know it from damage. Offsets, seqs and ordinals stay what they were.

use std::ops::Range;

use super::StoreError;
use crate::core::pruned::Pruned;
use crate::core::segment::Strand;
use crate::core::series::Series;
use crate::words::{NodeId, Offset, Seq, Time};

/// How many changes of one series are looked at when it is trimmed; the rest is trimmed the next time.
pub const TRIMMED_AT_ONCE: usize = 16_384;

/// A segment that can be pruned: another one continues after it, and its author never forked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finished {
    /// Who wrote it.
    pub author: NodeId,
    /// It.
    pub strand: Strand,
    /// The seq of its first entry.
    pub first_seq: Seq,
    /// The seq after its last entry.
    pub next_seq: Seq,
    /// The time of its last entry.
    pub last_time: Time,
    /// The offset after its last entry.
    pub end: Offset,
    /// About how many bytes its entries take in the store.
    pub bytes: u64,
}

impl Finished {
    /// How many entries it has.
    pub fn entries(&self) -> u64 {
        self.next_seq.0.saturating_sub(self.first_seq.0)
    }
}

/// How far the log had got when its node had run for so long. A node's running time can't be set
/// forward, as its clock can: so what is old by it is old.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Milliseconds for which the node had run, in all its lifetimes.
    pub running: u64,
    /// The offset that the next entry took.
    pub offset: Offset,
}

/// What a store is told to remove, in one commit.
#[derive(Clone, Debug, Default)]
pub struct Removal {
    /// Segments whose entries go.
    pub strands: Vec<Strand>,
    /// Series of which the index forgets what is gone.
    pub trimmed: Vec<Series>,
    /// How far the log is at a running time.
    pub mark: Option<Mark>,
}

/// What was removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Gone {
    /// Entries that were held here and are not any more.
    pub entries: u64,
    /// Segments of which something stays and no entry.
    pub segments: u64,
    /// The offset after the newest entry that was removed: the log's watermark.
    pub below: Offset,
}

/// What a store answers about what it let go, and may let go.
pub trait PruningReader {
    /// All segments that can be pruned, in the order in which they were finished.
    ///
    /// # Errors
    /// The store can't be read; so for every call here.
    fn finished(&mut self) -> Result<Vec<Finished>, StoreError>;

    /// What stays of the pruned segments of an author, or of all, by author in order of seq.
    fn pruned(&mut self, author: Option<NodeId>) -> Result<Vec<Pruned>, StoreError>;

    /// Of a strand, the seqs whose entries were removed here, or never came before others removed them.
    fn gone_of(&mut self, strand: Strand) -> Result<Option<Range<Seq>>, StoreError>;

    /// The hole in the order of arrival that an offset lies in, if it does.
    fn hole_at(&mut self, at: Offset) -> Result<Option<Range<Offset>>, StoreError>;

    /// What was removed so far.
    fn gone(&mut self) -> Result<Gone, StoreError>;

    /// Whether any entry was removed that arrived within a range of offsets.
    fn removed_within(&mut self, offsets: Range<Offset>) -> Result<bool, StoreError>;

    /// A number that rises whenever more is archived of a series.
    fn archivals(&mut self) -> Result<u64, StoreError>;

    /// How many bytes on disk hold nothing any more, and are used for what comes.
    fn free_bytes(&mut self) -> Result<u64, StoreError> {
        Ok(0)
    }

    /// The marks of running time, the oldest first.
    fn marks(&mut self) -> Result<Vec<Mark>, StoreError>;
}
