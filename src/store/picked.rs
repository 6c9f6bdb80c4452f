//! Entries that were picked out of a large change, which was not read as a whole.

use std::ops::Range;

use super::block::PickedEntry;
use crate::core::segment::Strand;
use crate::words::{ChangeHash, NodeId, Offset, Seq};

/// What is wanted of one change, and nothing else of it.
#[derive(Clone, Debug)]
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
    pub entries: Vec<PickedEntry>,
}
