//! The store in memory: for tests, the simulator and short-lived nodes.
//!
//! It keeps the same promises as the SQLite store but outliving the process, and is written to be
//! obviously right rather than fast: the suite compares the two.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, PoisonError, RwLock};

use super::{
    Batch, EmitMark, IDEMPOTENCY_KEYS, KeyRecord, Opener, Owner, Reader, Resume, Span, Store,
    StoreError, StoreId, whole,
};
use crate::core::change::Link;
use crate::core::frontier::{Extent, Frontier, Head};
use crate::core::log::{Arrival, Tip};
use crate::core::merge::Direction;
use crate::core::segment::Parent;
use crate::core::session::Passed;
use crate::words::{ChangeHash, NodeId, Offset, SegmentId, Seq, Time};

/// What is held of one segment.
#[derive(Clone, Debug)]
struct Segment {
    author: NodeId,
    parents: Vec<Parent>,
    tip: Tip,
    first_time: Time,
    /// Whether it is the end of a branch.
    is_tip: bool,
    /// Its changes by first seq: their offsets.
    changes: BTreeMap<Seq, Offset>,
}

#[derive(Debug, Default)]
struct Contents {
    arrivals: BTreeMap<Offset, Arrival>,
    segments: BTreeMap<SegmentId, Segment>,
    emits: EmitMark,
    keys: HashMap<String, KeyRecord>,
    keys_by_age: VecDeque<String>,
}

/// A store that lives as long as the process.
#[derive(Clone, Debug)]
pub struct MemoryStore {
    id: StoreId,
    owner: Owner,
    contents: Arc<RwLock<Contents>>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new(id: StoreId, owner: Owner) -> Self {
        Self { id, owner, contents: Arc::default() }
    }
}

impl Contents {
    fn watermark(&self) -> Offset {
        let newest = self.arrivals.last_key_value();
        newest.map_or(Offset(0), |(offset, arrival)| offset.plus(u64::from(arrival.change.count)))
    }

    fn insert(&mut self, arrival: &Arrival) -> Result<(), StoreError> {
        let change = &arrival.change;
        let link = change.link().map_err(|e| StoreError::Damaged(e.to_string()))?;
        if let Link::Opening(opening) = &link {
            for other in self.segments.values_mut().filter(|s| s.author == change.author) {
                let Head { next_seq, hash, .. } = other.tip.head;
                if opening.parents.contains(&Parent { next_seq, hash }) {
                    other.is_tip = false;
                }
            }
        }
        let before = self.segments.remove(&change.segment);
        let head = Head { next_seq: change.next_seq(), hash: change.hash, segment: change.segment };
        let (changes, bytes) = before.as_ref().map_or((0, 0), |s| (s.tip.changes, s.tip.bytes));
        let tip = Tip {
            head,
            segment_seq: change.segment_seq,
            changes: changes + 1,
            bytes: bytes + change.bytes.len() as u64,
            last_time: change.last_time,
        };
        let mut segment = match (before, link) {
            (Some(segment), _) => Segment { tip, is_tip: true, ..segment },
            (None, Link::Opening(opening)) => Segment {
                author: change.author,
                parents: opening.parents,
                tip,
                first_time: change.first_time,
                is_tip: true,
                changes: BTreeMap::new(),
            },
            (None, Link::Previous(_)) => {
                return Err(StoreError::Failed("a change of a segment that isn't open".into()));
            }
        };
        segment.changes.insert(change.first_seq, arrival.offset);
        self.segments.insert(change.segment, segment);
        self.arrivals.insert(arrival.offset, arrival.clone());
        Ok(())
    }

    fn remember(&mut self, record: &KeyRecord) {
        self.keys.insert(record.key.clone(), record.clone());
        self.keys_by_age.push_back(record.key.clone());
        while self.keys_by_age.len() as u64 > IDEMPOTENCY_KEYS {
            self.keys_by_age.pop_front().map(|oldest| self.keys.remove(&oldest));
        }
    }

    fn in_segment(&self, segment: SegmentId, holding: Seq) -> Option<&Arrival> {
        let segment = self.segments.get(&segment)?;
        let (_, offset) = segment.changes.range(..=holding).next_back()?;
        self.arrivals.get(offset)
    }
}

impl Store for MemoryStore {
    fn resume(&mut self) -> Result<Resume, StoreError> {
        let contents = self.contents.read().unwrap_or_else(PoisonError::into_inner);
        let tips = contents.segments.values().filter(|segment| segment.is_tip);
        Ok(Resume {
            tips: tips.map(|segment| (segment.author, segment.tip.clone())).collect(),
            next_offset: contents.watermark(),
            emits: contents.emits,
            id: self.id,
        })
    }

    fn commit(&mut self, batch: &Batch) -> Result<(), StoreError> {
        let mut contents = self.contents.write().unwrap_or_else(PoisonError::into_inner);
        for arrival in &batch.arrivals {
            contents.insert(arrival)?;
        }
        if let Some(emits) = batch.emits {
            contents.emits = emits;
        }
        batch.keys.iter().for_each(|record| contents.remember(record));
        Ok(())
    }

    fn opener(&self) -> Opener {
        let store = self.clone();
        Box::new(move || Ok(Box::new(store.clone())))
    }
}

/// Takes arrivals until their bytes are enough, at least one.
fn up_to<'a>(
    arrivals: impl Iterator<Item = &'a Arrival>,
    max_bytes: usize,
) -> Result<Vec<Arrival>, StoreError> {
    let mut taken = Vec::new();
    let mut bytes = 0;
    for arrival in arrivals {
        whole(&arrival.change)?;
        bytes += arrival.change.bytes.len();
        taken.push(arrival.clone());
        if bytes >= max_bytes {
            break;
        }
    }
    Ok(taken)
}

impl Reader for MemoryStore {
    fn id(&self) -> StoreId {
        self.id
    }

    fn owner(&self) -> Owner {
        self.owner
    }

    fn watermark(&mut self) -> Result<Offset, StoreError> {
        Ok(self.contents.read().unwrap_or_else(PoisonError::into_inner).watermark())
    }

    fn frontier(&mut self) -> Result<Frontier, StoreError> {
        let contents = self.contents.read().unwrap_or_else(PoisonError::into_inner);
        let mut frontier = Frontier::default();
        for segment in contents.segments.values().filter(|segment| segment.is_tip) {
            frontier.insert(segment.author, segment.tip.head);
        }
        Ok(frontier)
    }

    fn emits(&mut self) -> Result<EmitMark, StoreError> {
        Ok(self.contents.read().unwrap_or_else(PoisonError::into_inner).emits)
    }

    fn extents(&mut self, author: NodeId) -> Result<Vec<Extent>, StoreError> {
        let contents = self.contents.read().unwrap_or_else(PoisonError::into_inner);
        let of_author = contents.segments.values().filter(|segment| segment.author == author);
        let mut extents: Vec<Extent> = of_author
            .map(|segment| Extent {
                segment: segment.tip.head.segment,
                first_seq: segment.tip.segment_seq,
                next_seq: segment.tip.head.next_seq,
                hash: segment.tip.head.hash,
                parents: segment.parents.clone(),
            })
            .collect();
        extents.sort_by_key(|extent| (extent.first_seq, extent.segment));
        Ok(extents)
    }

    fn spans(&mut self, author: Option<NodeId>) -> Result<Vec<Span>, StoreError> {
        let contents = self.contents.read().unwrap_or_else(PoisonError::into_inner);
        let wanted = |segment: &&Segment| author.is_none_or(|author| segment.author == author);
        let span = |segment: &Segment| Span {
            author: segment.author,
            segment: segment.tip.head.segment,
            first_seq: segment.tip.segment_seq,
            next_seq: segment.tip.head.next_seq,
            first_time: segment.first_time,
            last_time: segment.tip.last_time,
        };
        Ok(contents.segments.values().filter(wanted).map(span).collect())
    }

    fn scan(&mut self, from: Offset, limit: usize) -> Result<(Vec<Passed>, Offset), StoreError> {
        let contents = self.contents.read().unwrap_or_else(PoisonError::into_inner);
        let start = contents.arrivals.range(..=from).next_back().map_or(from, |(at, _)| *at);
        let mut next = from;
        let mut passed = Vec::new();
        for (offset, Arrival { change, .. }) in contents.arrivals.range(start..) {
            let end = offset.plus(u64::from(change.count));
            if end <= from {
                continue;
            }
            if passed.len() == limit {
                break;
            }
            let Tip { head, .. } = contents.segments[&change.segment].tip;
            let head = Head { next_seq: change.next_seq(), hash: change.hash, ..head };
            passed.push(Passed { author: change.author, first_seq: change.first_seq, head });
            next = end;
        }
        Ok((passed, next))
    }

    fn arrivals(
        &mut self,
        from: Offset,
        direction: Direction,
        max_bytes: usize,
    ) -> Result<Vec<Arrival>, StoreError> {
        let contents = self.contents.read().unwrap_or_else(PoisonError::into_inner);
        let end = |arrival: &Arrival| arrival.offset.plus(u64::from(arrival.change.count));
        match direction {
            Direction::Forward => {
                let at = contents.arrivals.range(..=from).next_back().map_or(from, |(at, _)| *at);
                let ahead = contents.arrivals.range(at..).map(|(_, arrival)| arrival);
                up_to(ahead.filter(|arrival| end(arrival) > from), max_bytes)
            }
            Direction::Backward => {
                let below = contents.arrivals.range(..from).rev().map(|(_, arrival)| arrival);
                up_to(below.filter(|arrival| end(arrival) <= from), max_bytes)
            }
        }
    }

    fn of_segment(
        &mut self,
        segment: SegmentId,
        from: Seq,
        direction: Direction,
        max_bytes: usize,
    ) -> Result<Vec<Arrival>, StoreError> {
        let contents = self.contents.read().unwrap_or_else(PoisonError::into_inner);
        let Some(held) = contents.segments.get(&segment) else {
            return Ok(Vec::new());
        };
        let arrival = |(_, offset): (&Seq, &Offset)| contents.arrivals.get(offset);
        match direction {
            Direction::Forward => {
                let at = held.changes.range(..=from).next_back().map_or(from, |(seq, _)| *seq);
                let ahead = held.changes.range(at..).filter_map(arrival);
                up_to(ahead.filter(|arrival| arrival.change.next_seq() > from), max_bytes)
            }
            Direction::Backward => {
                up_to(held.changes.range(..from).rev().filter_map(arrival), max_bytes)
            }
        }
    }

    fn seek_time(&mut self, segment: SegmentId, time: Time) -> Result<Seq, StoreError> {
        let contents = self.contents.read().unwrap_or_else(PoisonError::into_inner);
        let Some(held) = contents.segments.get(&segment) else {
            return Ok(Seq(0));
        };
        let mut changes = held.changes.values().filter_map(|at| contents.arrivals.get(at));
        let found = changes.find(|arrival| arrival.change.last_time >= time);
        Ok(found.map_or(held.tip.head.next_seq, |arrival| arrival.change.first_seq))
    }

    fn find(&mut self, author: NodeId, seq: Seq) -> Result<Vec<Arrival>, StoreError> {
        let contents = self.contents.read().unwrap_or_else(PoisonError::into_inner);
        let mut found = Vec::new();
        for (id, segment) in contents.segments.iter().filter(|(_, s)| s.author == author) {
            if segment.tip.segment_seq <= seq && seq < segment.tip.head.next_seq {
                found.extend(contents.in_segment(*id, seq).cloned());
            }
        }
        Ok(found)
    }

    fn change_at(
        &mut self,
        segment: SegmentId,
        seq: Seq,
    ) -> Result<Option<ChangeHash>, StoreError> {
        let contents = self.contents.read().unwrap_or_else(PoisonError::into_inner);
        let arrival = contents.in_segment(segment, seq);
        Ok(arrival.filter(|a| a.change.first_seq == seq).map(|a| a.change.hash))
    }

    fn segment_end(
        &mut self,
        author: NodeId,
        segment: SegmentId,
    ) -> Result<Option<Tip>, StoreError> {
        let contents = self.contents.read().unwrap_or_else(PoisonError::into_inner);
        let held = contents.segments.get(&segment).filter(|held| held.author == author);
        Ok(held.map(|held| held.tip.clone()))
    }

    fn ends_with(
        &mut self,
        segment: SegmentId,
        next_seq: Seq,
        hash: ChangeHash,
    ) -> Result<bool, StoreError> {
        let contents = self.contents.read().unwrap_or_else(PoisonError::into_inner);
        let Some(last) = next_seq.0.checked_sub(1) else {
            return Ok(false);
        };
        let arrival = contents.in_segment(segment, Seq(last));
        Ok(arrival.is_some_and(|a| a.change.hash == hash && a.change.next_seq() == next_seq))
    }

    fn key(&mut self, key: &str) -> Result<Option<KeyRecord>, StoreError> {
        let contents = self.contents.read().unwrap_or_else(PoisonError::into_inner);
        Ok(contents.keys.get(key).cloned())
    }

    fn bytes(&mut self) -> Result<u64, StoreError> {
        Ok(0)
    }
}
