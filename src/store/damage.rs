//! What of a store can't be read back as it was written, until a peer has sent it again.
//!
//! A disk that flips a bit in a change loses that change, and nothing else: its hash tells when it
//! is read. It is then noted here, never handed out, and asked for by its place; what comes is
//! written over it when it is what belongs there. Until then readers that come to it get an error.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::Sealed;
use crate::core::change::Change;
use crate::core::frame::Wanted;
use crate::core::log::Arrival;
use crate::core::segment::Strand;
use crate::words::{NodeId, Offset, Seq};

/// How many lost changes are remembered; further ones are noted when they are read again.
const LOST: usize = 1_024;

/// A change that is in the store, and damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost {
    /// Who wrote it.
    pub author: NodeId,
    /// Its strand.
    pub strand: Strand,
    /// The seq of its first entry.
    pub first_seq: Seq,
    /// The seq that follows its last entry.
    pub next_seq: Seq,
    /// The offset of its first entry.
    pub offset: Offset,
    /// What of it was altered.
    pub part: Part,
}

/// What of a change a disk has altered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Its bytes, or what stands beside them.
    Content,
    /// Its signature alone.
    Signature,
}

impl Lost {
    /// The place of a change that was read and isn't whole.
    pub fn of(arrival: &Arrival) -> Self {
        let Change { author, first_seq, .. } = arrival.change;
        let (strand, next_seq) = (arrival.strand(), arrival.change.next_seq());
        let (offset, part) = (arrival.offset, Part::Content);
        Self { author, strand, first_seq, next_seq, offset, part }
    }

    /// What a peer is asked for.
    pub fn wanted(&self) -> Wanted {
        let Self { author, strand, first_seq, next_seq, .. } = *self;
        Wanted { author, segment: strand.segment, from: first_seq, to: next_seq }
    }
}

impl std::fmt::Display for Lost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (last, segment) = (self.next_seq.0.saturating_sub(1), self.strand.segment);
        write!(f, "the entries {}:{} to {last} of segment {segment}", self.author, self.first_seq)
    }
}

/// The changes of a store that are damaged, by offset. Shared by all its readers and its writer.
#[derive(Clone, Debug, Default)]
pub struct Damages {
    lost: Arc<Mutex<BTreeMap<Offset, Lost>>>,
    /// What lies below was written by former lifetimes.
    aged: Arc<AtomicU64>,
}

impl Damages {
    /// Notes a change. Returns whether it was not known.
    pub fn note(&self, lost: Lost) -> bool {
        let mut all = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        all.len() < LOST && all.insert(lost.offset, lost).is_none()
    }

    /// What lies below an offset has lain on the disk since before this lifetime.
    pub fn age(&self, below: Offset) {
        self.aged.store(below.0, Ordering::Release);
    }

    /// Whether a change has lain on the disk since before this lifetime.
    pub fn is_aged(&self, offset: Offset) -> bool {
        offset.0 < self.aged.load(Ordering::Acquire)
    }

    /// The change at this offset was written again.
    pub fn mended(&self, offset: Offset) {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner).remove(&offset);
    }

    /// The entries at these offsets were removed: nobody is asked for them any more.
    pub fn removed(&self, offsets: &Range<Offset>) {
        let mut all = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|offset, _| !offsets.contains(offset));
    }

    /// Changes in rows have become a block, packed when they were whole.
    pub fn sealed(&self, sealed: &Sealed) {
        let mut all = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, lost| {
            lost.strand != sealed.strand
                || lost.first_seq < sealed.first_seq
                || lost.next_seq > sealed.next_seq
        });
    }

    /// All that are known, in the order of their arrival.
    pub fn all(&self) -> Vec<Lost> {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner).values().copied().collect()
    }
}
