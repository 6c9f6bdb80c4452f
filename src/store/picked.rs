//! Entries that were picked out of a large change, which was not built again.

use std::ops::Range;
use std::sync::Arc;

use super::StoreError;
use super::block::{PickedEntry, Unpacked};
use crate::core::segment::Strand;
use crate::words::entry::View;
use crate::words::{ChangeHash, NodeId, Offset, Seq};

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
    pub entries: Entries,
}

/// Entries of a change.
#[derive(Clone)]
pub enum Entries {
    /// Those that were wanted.
    Few(Vec<PickedEntry>),
    /// All of them, those that are not wanted, too.
    All(Arc<Unpacked>),
}

impl Picked {
    /// The offset after its last entry.
    pub fn end(&self) -> Offset {
        self.offset.plus(self.seqs.end.0.saturating_sub(self.seqs.start.0))
    }

    /// Says that an entry can't be read.
    pub fn damaged(&self, seq: Seq, what: &dyn std::fmt::Display) -> StoreError {
        StoreError::Damaged(format!("{}:{seq}: {what}", self.author))
    }

    /// How many bytes of it were read.
    pub fn size(&self) -> usize {
        match &self.entries {
            Entries::Few(few) => few.iter().map(|one| one.bytes.len()).sum(),
            Entries::All(all) => all.size(),
        }
    }

    /// Calls with each entry that has one of these seqs, in order.
    ///
    /// # Errors
    /// What a call returns, and an entry that can't be read.
    pub fn each(
        &self,
        seqs: &Range<Seq>,
        mut call: impl FnMut(Seq, &View<'_>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        match &self.entries {
            Entries::Few(few) => {
                few.iter().filter(|one| seqs.contains(&one.seq)).try_for_each(|one| {
                    let view = View::read(&one.bytes);
                    call(one.seq, &view.map_err(|error| self.damaged(one.seq, &error))?)
                })
            }
            Entries::All(all) => {
                let what = "the block is not as it was sealed";
                all.each(seqs, || self.damaged(self.seqs.start, &what), call)
            }
        }
    }
}
