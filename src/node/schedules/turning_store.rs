//! A memory store of which every call is a turn: others may go on before it and after it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::core::frontier::{Extent, Frontier, Head};
use crate::core::log::{Arrival, Past, Sides, Standing};
use crate::core::merge::Direction;
use crate::core::segment::{Parent, Strand};
use crate::core::session::Passed;
use crate::node::sync::turn;
use crate::store::memory::MemoryStore;
use crate::store::{
    Batch, EmitMark, KeyRecord, Opener, Owner, Reader, Resume, Span, Store, StoreError, StoreId,
};
use crate::words::{ChangeHash, NodeId, Offset, SegmentId, Seq, Time};

/// Takes a turn, does it, and takes another.
fn turning<T>(call: impl FnOnce() -> T) -> T {
    turn();
    let result = call();
    turn();
    result
}

/// The writing half: its commits fail once as many have passed as `left` says.
pub struct TurningStore {
    pub kept: MemoryStore,
    pub left: Arc<AtomicU64>,
}

impl Store for TurningStore {
    fn resume(&mut self) -> Result<Resume, StoreError> {
        self.kept.resume()
    }

    fn commit(&mut self, batch: &Batch) -> Result<(), StoreError> {
        turning(|| {
            let left = self.left.load(Ordering::SeqCst).checked_sub(1);
            self.left.store(left.ok_or(StoreError::Failed("it broke".into()))?, Ordering::SeqCst);
            self.kept.commit(batch)
        })
    }

    fn opener(&self) -> Opener {
        let kept = self.kept.clone();
        Box::new(move || Ok(Box::new(TurningReader(kept.clone()))))
    }
}

/// The reading half.
struct TurningReader(MemoryStore);

impl Reader for TurningReader {
    fn id(&self) -> StoreId {
        self.0.id()
    }

    fn owner(&self) -> Owner {
        self.0.owner()
    }

    fn watermark(&mut self) -> Result<Offset, StoreError> {
        turning(|| self.0.watermark())
    }

    fn frontier(&mut self) -> Result<Frontier, StoreError> {
        turning(|| self.0.frontier())
    }

    fn emits(&mut self) -> Result<EmitMark, StoreError> {
        turning(|| self.0.emits())
    }

    fn extents(&mut self, author: NodeId) -> Result<Vec<Extent>, StoreError> {
        turning(|| self.0.extents(author))
    }

    fn spans(&mut self, author: Option<NodeId>) -> Result<Vec<Span>, StoreError> {
        turning(|| self.0.spans(author))
    }

    fn scan(&mut self, from: Offset, limit: usize) -> Result<(Vec<Passed>, Offset), StoreError> {
        turning(|| self.0.scan(from, limit))
    }

    fn arrivals(
        &mut self,
        from: Offset,
        direction: Direction,
        max_bytes: usize,
    ) -> Result<Vec<Arrival>, StoreError> {
        turning(|| self.0.arrivals(from, direction, max_bytes))
    }

    fn of_strand(
        &mut self,
        strand: Strand,
        from: Seq,
        direction: Direction,
        max_bytes: usize,
    ) -> Result<Vec<Arrival>, StoreError> {
        turning(|| self.0.of_strand(strand, from, direction, max_bytes))
    }

    fn seek_time(&mut self, strand: Strand, time: Time) -> Result<Seq, StoreError> {
        turning(|| self.0.seek_time(strand, time))
    }

    fn find(&mut self, author: NodeId, seq: Seq) -> Result<Vec<Arrival>, StoreError> {
        turning(|| self.0.find(author, seq))
    }

    fn locate(&mut self, head: &Head) -> Result<Option<Strand>, StoreError> {
        turning(|| self.0.locate(head))
    }

    fn branched(&mut self) -> Result<Vec<NodeId>, StoreError> {
        turning(|| self.0.branched())
    }

    fn strands_around(
        &mut self,
        author: NodeId,
        from: Seq,
        to: Seq,
    ) -> Result<Vec<(Seq, Seq)>, StoreError> {
        turning(|| self.0.strands_around(author, from, to))
    }

    fn key(&mut self, key: &str) -> Result<Option<KeyRecord>, StoreError> {
        turning(|| self.0.key(key))
    }

    fn bytes(&mut self) -> Result<u64, StoreError> {
        turning(|| self.0.bytes())
    }
}

impl Past for TurningReader {
    type Error = StoreError;

    fn sides(&mut self, author: NodeId, segment: SegmentId) -> Result<Option<Sides>, StoreError> {
        turning(|| self.0.sides(author, segment))
    }

    fn begins(
        &mut self,
        segment: SegmentId,
        seq: Seq,
        hash: ChangeHash,
    ) -> Result<bool, StoreError> {
        turning(|| self.0.begins(segment, seq, hash))
    }

    fn standing(
        &mut self,
        author: NodeId,
        parent: &Parent,
    ) -> Result<Option<Standing>, StoreError> {
        turning(|| self.0.standing(author, parent))
    }
}
