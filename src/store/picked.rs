//! Entries that were picked out of a large change, which was not built again.

use std::ops::Range;
use std::sync::Arc;

use super::StoreError;
use super::block::Unpacked;
use crate::core::segment::Strand;
use crate::words::entry::{MergedKey, View};
use crate::words::{ChangeHash, Entry, NodeId, Offset, Seq};

/// Whether an entry of a tenant and topic is wanted.
pub type ByNames<'a> = &'a dyn Fn(&str, &str) -> bool;

/// A large change as it was read: its place, and entries of it.
#[derive(Clone)]
pub struct Picked {
    /// Who wrote it.
    pub author: NodeId,
    /// The strand that it belongs to.
    pub strand: Strand,
    /// The seq of the first entry of its segment.
    pub segment_seq: Seq,
    /// The seqs of the change.
    pub seqs: Range<Seq>,
    /// The offset of its first entry.
    pub offset: Offset,
    /// Whether its time was far ahead.
    pub skew: bool,
    /// Its hash.
    pub change: ChangeHash,
    /// The entries, in order of seq.
    pub entries: Arc<Unpacked>,
}

impl Picked {
    /// The offset after its last entry.
    pub fn end(&self) -> Offset {
        self.offset.plus(self.seqs.end.0.saturating_sub(self.seqs.start.0))
    }

    /// Calls with each entry, in order: its place among them, its seq and itself.
    ///
    /// # Errors
    /// What a call returns, and an entry that can't be read.
    pub fn each(
        &self,
        mut call: impl FnMut(usize, Seq, &View<'_>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        (0..self.entries.len()).try_for_each(|at| {
            let (seq, _) = self.entries.place(at);
            call(at, seq, &self.view(at)?)
        })
    }

    /// An entry, by its place among them.
    ///
    /// # Errors
    /// It can't be read.
    pub fn view(&self, at: usize) -> Result<View<'_>, StoreError> {
        self.entries.view(at).ok_or_else(|| self.damaged(at))
    }

    /// An entry, as whoever asked for it gets it, by its place among them.
    ///
    /// # Errors
    /// It can't be read.
    pub fn entry(&self, at: usize) -> Result<Entry, StoreError> {
        let (seq, time) = self.entries.place(at);
        Ok(Entry {
            author: self.author,
            seq,
            time,
            offset: self.offset_of(seq),
            change: self.change,
            segment: self.strand.segment,
            skew: self.skew,
            forked: false,
            body: self.entries.draft(at).ok_or_else(|| self.damaged(at))?,
        })
    }

    /// The place of an entry in merged order, by its place here.
    pub fn merged_key(&self, at: usize) -> MergedKey {
        let (seq, time) = self.entries.place(at);
        (time, self.author, seq, self.strand.segment, self.change)
    }

    /// The offset of the entry with a seq.
    pub fn offset_of(&self, seq: Seq) -> Offset {
        self.offset.plus(seq.0.saturating_sub(self.seqs.start.0))
    }

    fn damaged(&self, at: usize) -> StoreError {
        let (seq, _) = self.entries.place(at);
        StoreError::Damaged(format!("{}:{seq}: the block is not as it was sealed", self.author))
    }
}
