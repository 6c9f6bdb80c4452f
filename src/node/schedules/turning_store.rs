//! A memory store of which every call is a turn: others may go on before it and after it.

use std::collections::VecDeque;
use std::ops::Range;

use shuttle::rand::{Rng, thread_rng};

use crate::core::frontier::{Extent, Frontier, Head};
use crate::core::log::{Arrival, Past, Sides, Standing};
use crate::core::merge::Direction;
use crate::core::pruned::Pruned;
use crate::core::segment::{Parent, Strand};
use crate::core::series::{Series, Stretch};
use crate::core::session::Passed;
use crate::node::sync::turn;
use crate::store::memory::MemoryStore;
use crate::store::pruning::{Finished, Gone, Mark, PruningReader};
use crate::store::series::SeriesReader;
use crate::store::zones::{Zone, ZoneReader};
use crate::store::{
    Batch, EmitMark, KeyRecord, Opener, Owner, Reader, Resume, Span, Store, StoreError, StoreId,
};
use crate::words::{ChangeHash, NodeId, Offset, SegmentId, Seq, Tenant, Time};

/// Takes a turn, does it, and takes another.
fn turning<T>(call: impl FnOnce() -> T) -> T {
    turn();
    let result = call();
    turn();
    result
}

/// What becomes of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is written.
    Written,
    /// The disk has no room for it.
    Full,
    /// The disk breaks on it.
    Broken,
}

/// A disk that breaks once so many commits have followed the reservation.
pub fn breaks_after(commits: usize) -> Vec<Outcome> {
    let mut disk = vec![Outcome::Written; 1 + commits];
    disk.push(Outcome::Broken);
    disk
}

/// A disk that is full now and then, at the start as well, and has room in the end.
pub fn fills_at_times() -> Vec<Outcome> {
    let outcome = |full| if full { Outcome::Full } else { Outcome::Written };
    (0..8).map(|_| outcome(thread_rng().gen_bool(0.5))).collect()
}

/// The writing half.
pub struct TurningStore {
    pub kept: MemoryStore,
    /// What becomes of the next commits; those after them are written.
    pub disk: VecDeque<Outcome>,
}

impl Store for TurningStore {
    fn resume(&mut self) -> Result<Resume, StoreError> {
        self.kept.resume()
    }

    fn commit(&mut self, batch: &Batch) -> Result<(), StoreError> {
        let outcome = self.disk.pop_front().unwrap_or(Outcome::Written);
        turning(|| match outcome {
            Outcome::Written => self.kept.commit(batch),
            Outcome::Full => Err(StoreError::Full("for the test".into())),
            Outcome::Broken => Err(StoreError::Failed("for the test".into())),
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

    fn end_at(&mut self, at: Offset) -> Result<Offset, StoreError> {
        turning(|| self.0.end_at(at))
    }

    fn key(&mut self, key: &str) -> Result<Option<KeyRecord>, StoreError> {
        turning(|| self.0.key(key))
    }

    fn bytes(&mut self) -> Result<u64, StoreError> {
        turning(|| self.0.bytes())
    }
}

impl SeriesReader for TurningReader {
    fn standing_of(
        &mut self,
        series: &Series,
    ) -> Result<Option<crate::core::series::Standing>, StoreError> {
        turning(|| self.0.standing_of(series))
    }

    fn stretches(
        &mut self,
        series: &Series,
        from: u64,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<Stretch>, StoreError> {
        turning(|| self.0.stretches(series, from, direction, limit))
    }

    fn of_series(
        &mut self,
        series: &Series,
        from: u64,
        direction: Direction,
        max_bytes: usize,
    ) -> Result<Vec<(Stretch, Arrival)>, StoreError> {
        turning(|| self.0.of_series(series, from, direction, max_bytes))
    }

    fn entries_before(&mut self, series: &Series, offset: Offset) -> Result<u64, StoreError> {
        turning(|| self.0.entries_before(series, offset))
    }

    fn tenants(&mut self) -> Result<Vec<Tenant>, StoreError> {
        turning(|| self.0.tenants())
    }
}

impl PruningReader for TurningReader {
    fn finished(&mut self) -> Result<Vec<Finished>, StoreError> {
        turning(|| self.0.finished())
    }

    fn pruned(&mut self, author: Option<NodeId>) -> Result<Vec<Pruned>, StoreError> {
        turning(|| self.0.pruned(author))
    }

    fn gone_of(&mut self, strand: Strand) -> Result<Option<Range<Seq>>, StoreError> {
        turning(|| self.0.gone_of(strand))
    }

    fn hole_at(&mut self, at: Offset) -> Result<Option<Range<Offset>>, StoreError> {
        turning(|| self.0.hole_at(at))
    }

    fn gone(&mut self) -> Result<Gone, StoreError> {
        turning(|| self.0.gone())
    }

    fn removed_within(&mut self, offsets: Range<Offset>) -> Result<bool, StoreError> {
        turning(|| self.0.removed_within(offsets))
    }

    fn archivals(&mut self) -> Result<u64, StoreError> {
        turning(|| self.0.archivals())
    }

    fn marks(&mut self) -> Result<Vec<Mark>, StoreError> {
        turning(|| self.0.marks())
    }
}

impl ZoneReader for TurningReader {
    fn zones(
        &mut self,
        strand: Strand,
        from: Seq,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<Zone>, StoreError> {
        turning(|| self.0.zones(strand, from, direction, limit))
    }

    fn zone_at(&mut self, strand: Strand, time: Time) -> Result<Option<Zone>, StoreError> {
        turning(|| self.0.zone_at(strand, time))
    }

    fn zones_by_arrival(
        &mut self,
        from: Offset,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<Zone>, StoreError> {
        turning(|| self.0.zones_by_arrival(from, direction, limit))
    }

    fn within(
        &mut self,
        strand: Strand,
        seqs: Range<Seq>,
        direction: Direction,
        max_bytes: usize,
    ) -> Result<Vec<Arrival>, StoreError> {
        turning(|| self.0.within(strand, seqs, direction, max_bytes))
    }

    fn arrived_within(
        &mut self,
        offsets: Range<Offset>,
        max_bytes: usize,
    ) -> Result<Vec<Arrival>, StoreError> {
        turning(|| self.0.arrived_within(offsets, max_bytes))
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

    fn reach(&mut self, strand: Strand) -> Result<Option<(Seq, u32)>, StoreError> {
        turning(|| self.0.reach(strand))
    }

    fn standing(
        &mut self,
        author: NodeId,
        parent: &Parent,
    ) -> Result<Option<Standing>, StoreError> {
        turning(|| self.0.standing(author, parent))
    }
}
