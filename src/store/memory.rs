//! The store in memory: for tests, the simulator and short-lived nodes.
//!
//! It keeps the same promises as the SQLite store but outliving the process, and is written to be
//! obviously right rather than fast: the suite compares the two.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::ops::Range;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use super::block::worth;
use super::damage::{Damages, Lost};
use super::{
    Batch, EmitMark, IDEMPOTENCY_KEYS, KeyRecord, Opener, Owner, Reader, Resume, Span, Store,
    StoreError, StoreId,
};
use crate::core::change::{Change, Link, SignedBlock};
use crate::core::frontier::{Extent, Frontier, Head};
use crate::core::log::{Arrival, Past, Sides, Standing, Tip};
use crate::core::merge::Direction;
use crate::core::pruned::Pruned;
use crate::core::segment::{Opening, Parent, Strand};
use crate::core::series::Series;
use crate::core::session::Passed;
use crate::words::{ChangeHash, NodeId, Offset, SegmentId, Seq, Time};

mod blocks;
mod pruning;
mod series;
mod zones;

use blocks::HeldBlock;
use series::HeldSeries;

/// What is held of one strand.
#[derive(Clone, Debug)]
struct Held {
    author: NodeId,
    /// What opened its segment, if it starts that.
    opening: Option<Opening>,
    parents: Vec<Parent>,
    forks_off: Option<u32>,
    tip: Tip,
    first_seq: Seq,
    first_time: Time,
    /// Whether it is the end of a branch.
    is_tip: bool,
    /// Its changes by first seq: their offsets.
    changes: BTreeMap<Seq, Offset>,
    /// What stays of it once its entries are gone.
    pruned: Option<Pruned>,
}

#[derive(Debug, Default)]
struct Contents {
    arrivals: BTreeMap<Offset, Arrival>,
    /// The records that hold some of them, by strand and first seq.
    blocks: BTreeMap<(Strand, Seq), HeldBlock>,
    strands: BTreeMap<Strand, Held>,
    branched: BTreeSet<NodeId>,
    series: BTreeMap<Series, HeldSeries>,
    emits: EmitMark,
    keys: HashMap<String, KeyRecord>,
    keys_by_age: VecDeque<String>,
    /// From this offset on changes are not in the index.
    indexed: Option<Offset>,
    /// Where entries were that were removed; in order and apart.
    holes: Vec<Range<Offset>>,
    /// How far the log was at a running time.
    marks: BTreeMap<u64, Offset>,
}

/// A store that lives as long as the process.
#[derive(Clone, Debug)]
pub struct MemoryStore {
    id: StoreId,
    owner: Owner,
    contents: Arc<RwLock<Contents>>,
    damages: Damages,
}

impl MemoryStore {
    /// An empty store.
    pub fn new(id: StoreId, owner: Owner) -> Self {
        Self { id, owner, contents: Arc::default(), damages: Damages::default() }
    }

    fn read(&self) -> RwLockReadGuard<'_, Contents> {
        self.contents.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on no change comes into the index of series, as where that is written later: for tests.
    pub fn stop_indexing(&self) {
        let mut contents = self.contents.write().unwrap_or_else(PoisonError::into_inner);
        contents.indexed = Some(contents.watermark());
    }

    /// Damages the change that holds an offset, or its block, as a disk would that flips a bit: for
    /// tests. What is damaged already stays as it is.
    ///
    /// # Errors
    /// There is no memory for it.
    pub fn damage(&self, at: Offset) -> Result<(), StoreError> {
        let mut contents = self.contents.write().unwrap_or_else(PoisonError::into_inner);
        let Some((_, arrival)) = contents.arrivals.range(..=at).next_back() else {
            return Ok(());
        };
        let (strand, offset, seq) = (arrival.strand(), arrival.offset, arrival.change.first_seq);
        if contents.damage_block(strand, seq)? {
            return Ok(());
        }
        if let Some(arrival) = contents.arrivals.get_mut(&offset)
            && arrival.change.check().is_ok()
        {
            let mut bytes = arrival.change.bytes.to_vec();
            if let Some(last) = bytes.last_mut() {
                *last ^= 1;
            }
            arrival.change.bytes = bytes.into();
        }
        Ok(())
    }

    /// What is lost when the change that holds an offset is damaged, and the changes that are: all
    /// that are in a block with it.
    pub fn kept_with(&self, at: Offset) -> Option<(Lost, Vec<ChangeHash>)> {
        let contents = self.read();
        let (_, arrival) = contents.arrivals.range(..=at).next_back()?;
        Some(contents.kept_with(arrival))
    }
}

impl Contents {
    fn watermark(&self) -> Offset {
        let newest = self.arrivals.last_key_value().map(|(_, arrival)| arrival.end());
        newest.max(self.holes.last().map(|hole| hole.end)).unwrap_or_default()
    }

    fn insert(&mut self, arrival: &Arrival) -> Result<(), StoreError> {
        let (change, strand) = (&arrival.change, arrival.strand());
        if !self.strands.contains_key(&strand) {
            self.open(arrival)?;
        }
        if !self.strands.get(&strand).is_some_and(|held| held.is_tip) {
            self.note_branch(change.author);
        }
        if let Some(held) = self.strands.get_mut(&strand) {
            held.tip = tip_after(&held.tip, arrival);
            held.is_tip = true;
            held.changes.insert(change.first_seq, arrival.offset);
        }
        if self.indexed.is_none() {
            self.index(arrival)?;
        }
        self.arrivals.insert(arrival.offset, arrival.clone());
        Ok(())
    }

    /// Makes the place of a strand that begins; its changes come to it afterwards.
    fn open(&mut self, arrival: &Arrival) -> Result<(), StoreError> {
        let Arrival { change, side, .. } = arrival;
        let link = change.link().map_err(|e| StoreError::Damaged(e.to_string()))?;
        let (opening, parents, forks_off, before) = match link {
            Link::Opening(opening) => {
                self.join_tips(change.author, &opening.parents);
                let parents = opening.parents.clone();
                (Some(opening), parents, None, None)
            }
            Link::Previous(hash) => {
                let parent = Parent { next_seq: change.first_seq, hash };
                let off = match self.arrival_ending(change.author, &parent) {
                    Some(off) => Some(self.tip_at(off)),
                    None => self.standing_pruned(change.author, &parent).map(|it| it.tip),
                };
                let off =
                    off.ok_or(StoreError::Failed("a fork off nothing that is held".into()))?;
                let parents = self.strands[&off.strand()].parents.clone();
                (None, parents, Some(off.side), Some(off))
            }
        };
        let nothing = Tip {
            head: Head { next_seq: change.first_seq, hash: change.hash, segment: change.segment },
            side: *side,
            segment_seq: change.segment_seq,
            changes: before.as_ref().map_or(0, |tip| tip.changes),
            bytes: before.as_ref().map_or(0, |tip| tip.bytes),
            last_time: change.first_time,
        };
        let held = Held {
            author: change.author,
            opening,
            parents,
            forks_off,
            tip: nothing,
            first_seq: change.first_seq,
            first_time: change.first_time,
            is_tip: false,
            changes: BTreeMap::new(),
            pruned: None,
        };
        self.strands.insert(arrival.strand(), held);
        Ok(())
    }

    /// What an opening names as parents is no tip any more.
    fn join_tips(&mut self, author: NodeId, parents: &[Parent]) {
        for other in self.strands.values_mut().filter(|held| held.author == author) {
            let Head { next_seq, hash, .. } = other.tip.head;
            if parents.contains(&Parent { next_seq, hash }) {
                other.is_tip = false;
            }
        }
    }

    /// An author that is about to get a tip is branched if it has one.
    fn note_branch(&mut self, author: NodeId) {
        if self.strands.values().any(|held| held.author == author && held.is_tip) {
            self.branched.insert(author);
        }
    }

    fn arrival_ending(&self, author: NodeId, parent: &Parent) -> Option<&Arrival> {
        let last = Seq(parent.next_seq.0.checked_sub(1)?);
        let of_author = self.strands.iter().filter(|(_, held)| held.author == author);
        let mut around = of_author.filter_map(|(strand, _)| self.on_strand(*strand, last));
        around.find(|a| a.change.hash == parent.hash && a.change.next_seq() == parent.next_seq)
    }

    /// The tip that the strand of an arrival had when that was its newest.
    fn tip_at(&self, arrival: &Arrival) -> Tip {
        let mut bytes = 0;
        let mut at = Some(arrival);
        while let Some(arrival) = at {
            bytes += arrival.change.bytes.len() as u64;
            at = match arrival.change.link() {
                Ok(Link::Previous(hash)) => {
                    let parent = Parent { next_seq: arrival.change.first_seq, hash };
                    self.arrival_ending(arrival.change.author, &parent)
                }
                _ => None,
            };
        }
        let Change { segment, segment_seq, index, hash, last_time, .. } = arrival.change;
        Tip {
            head: Head { next_seq: arrival.change.next_seq(), hash, segment },
            side: arrival.side,
            segment_seq,
            changes: index + 1,
            bytes,
            last_time,
        }
    }

    fn remember(&mut self, record: &KeyRecord) {
        self.keys.insert(record.key.clone(), record.clone());
        self.keys_by_age.push_back(record.key.clone());
        while self.keys_by_age.len() as u64 > IDEMPOTENCY_KEYS {
            self.keys_by_age.pop_front().map(|oldest| self.keys.remove(&oldest));
        }
    }

    /// The change of a strand that begins at or before a seq, the newest of them.
    fn on_strand(&self, strand: Strand, seq: Seq) -> Option<&Arrival> {
        let (_, offset) = self.strands.get(&strand)?.changes.range(..=seq).next_back()?;
        self.arrivals.get(offset)
    }
}

fn tip_after(before: &Tip, arrival: &Arrival) -> Tip {
    let Change { segment, segment_seq, hash, last_time, ref bytes, .. } = arrival.change;
    Tip {
        head: Head { next_seq: arrival.change.next_seq(), hash, segment },
        side: arrival.side,
        segment_seq,
        changes: before.changes + 1,
        bytes: before.bytes + bytes.len() as u64,
        last_time,
    }
}

impl Store for MemoryStore {
    fn resume(&mut self) -> Result<Resume, StoreError> {
        let contents = self.contents.read().unwrap_or_else(PoisonError::into_inner);
        let tips = contents.strands.values().filter(|held| held.is_tip);
        Ok(Resume {
            tips: tips.map(|held| (held.author, held.tip.clone())).collect(),
            next_offset: contents.watermark(),
            emits: contents.emits,
            id: self.id,
        })
    }

    fn commit(&mut self, batch: &Batch) -> Result<(), StoreError> {
        let mut contents = self.contents.write().unwrap_or_else(PoisonError::into_inner);
        batch.adopted.iter().for_each(|pruned| contents.adopt(pruned));
        let mut rest = &batch.arrivals[..];
        while let [first, ..] = rest {
            let packed = batch.packed.iter().find(|packed| packed.offset == first.offset);
            let direct = packed.map(|packed| packed.changes).or_else(|| worth::direct(rest));
            let (together, later) = rest.split_at(direct.unwrap_or(1));
            together.iter().try_for_each(|arrival| contents.insert(arrival))?;
            if direct.is_some() {
                contents.pack(together, packed.map(|packed| packed.record.clone()))?;
            }
            rest = later;
        }
        if let Some(emits) = batch.emits {
            contents.emits = emits;
        }
        batch.keys.iter().for_each(|record| contents.remember(record));
        for (lost, changes) in &batch.mended {
            self.damages.mended(lost.offset);
            if contents.mend_block(lost, changes)? {
                continue;
            }
            let mut offset = lost.offset;
            for change in changes {
                if let Some(arrival) = contents.arrivals.get_mut(&offset) {
                    let signature = change.signature.or(arrival.change.signature);
                    arrival.change = Change { signature, ..change.clone() };
                }
                offset = offset.plus(u64::from(change.count));
            }
        }
        for sealed in &batch.sealed {
            contents.replace(sealed)?;
            self.damages.sealed(sealed);
        }
        for strand in &batch.pruned {
            contents.prune(*strand).iter().for_each(|gone| self.damages.removed(gone));
        }
        batch.trimmed.iter().for_each(|series| contents.trim(series));
        contents.marks.extend(batch.mark.map(|mark| (mark.running, mark.offset)));
        Ok(())
    }

    fn opener(&self) -> Opener {
        let store = self.clone();
        Box::new(move || Ok(Box::new(store.clone())))
    }

    fn damages(&self) -> Damages {
        self.damages.clone()
    }
}

/// Takes arrivals until their bytes are enough, at least one.
fn up_to<'a>(
    arrivals: impl Iterator<Item = &'a Arrival>,
    max_bytes: usize,
    (contents, damages): (&Contents, &Damages),
) -> Result<Vec<Arrival>, StoreError> {
    let mut taken = Vec::new();
    let mut bytes = 0;
    for arrival in arrivals {
        contents.check(arrival, damages)?;
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
        for held in contents.strands.values().filter(|held| held.is_tip) {
            frontier.insert(held.author, held.tip.head);
        }
        Ok(frontier)
    }

    fn emits(&mut self) -> Result<EmitMark, StoreError> {
        Ok(self.contents.read().unwrap_or_else(PoisonError::into_inner).emits)
    }

    fn extents(&mut self, author: NodeId) -> Result<Vec<Extent>, StoreError> {
        let contents = self.contents.read().unwrap_or_else(PoisonError::into_inner);
        let of_author = contents.strands.iter().filter(|(_, held)| held.author == author);
        let mut extents: Vec<Extent> = of_author
            .map(|(strand, held)| Extent {
                strand: *strand,
                first_seq: held.first_seq,
                next_seq: held.tip.head.next_seq,
                hash: held.tip.head.hash,
                forks_off: held.forks_off,
                parents: held.parents.clone(),
            })
            .collect();
        extents.sort_by_key(|extent| (extent.first_seq, extent.strand));
        Ok(extents)
    }

    fn spans(&mut self, author: Option<NodeId>) -> Result<Vec<Span>, StoreError> {
        let contents = self.contents.read().unwrap_or_else(PoisonError::into_inner);
        let wanted = |(_, held): &(&Strand, &Held)| author.is_none_or(|it| held.author == it);
        let span = |(strand, held): (&Strand, &Held)| contents.span_of(*strand, held);
        Ok(contents.strands.iter().filter(wanted).filter_map(span).collect())
    }

    fn scan(&mut self, from: Offset, limit: usize) -> Result<(Vec<Passed>, Offset), StoreError> {
        let contents = self.contents.read().unwrap_or_else(PoisonError::into_inner);
        let start = contents.arrivals.range(..=from).next_back().map_or(from, |(at, _)| *at);
        let mut next = from;
        let mut passed = Vec::new();
        for arrival in contents.arrivals.range(start..).map(|(_, arrival)| arrival) {
            let end = arrival.end();
            if end <= from {
                continue;
            }
            if passed.len() == limit {
                break;
            }
            passed.push(Passed::of(arrival));
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
        match direction {
            Direction::Forward => {
                let at = contents.arrivals.range(..=from).next_back().map_or(from, |(at, _)| *at);
                let ahead = contents.arrivals.range(at..).map(|(_, arrival)| arrival);
                up_to(
                    ahead.filter(|arrival| arrival.end() > from),
                    max_bytes,
                    (&contents, &self.damages),
                )
            }
            Direction::Backward => {
                let below = contents.arrivals.range(..from).rev().map(|(_, arrival)| arrival);
                up_to(
                    below.filter(|arrival| arrival.end() <= from),
                    max_bytes,
                    (&contents, &self.damages),
                )
            }
        }
    }

    fn of_strand(
        &mut self,
        strand: Strand,
        from: Seq,
        direction: Direction,
        max_bytes: usize,
    ) -> Result<Vec<Arrival>, StoreError> {
        let contents = self.contents.read().unwrap_or_else(PoisonError::into_inner);
        let Some(held) = contents.strands.get(&strand) else {
            return Ok(Vec::new());
        };
        let arrival = |(_, offset): (&Seq, &Offset)| contents.arrivals.get(offset);
        match direction {
            Direction::Forward => {
                let at = held.changes.range(..=from).next_back().map_or(from, |(seq, _)| *seq);
                let ahead = held.changes.range(at..).filter_map(arrival);
                up_to(
                    ahead.filter(|arrival| arrival.change.next_seq() > from),
                    max_bytes,
                    (&contents, &self.damages),
                )
            }
            Direction::Backward => up_to(
                held.changes.range(..from).rev().filter_map(arrival),
                max_bytes,
                (&contents, &self.damages),
            ),
        }
    }

    fn find(&mut self, author: NodeId, seq: Seq) -> Result<Vec<Arrival>, StoreError> {
        let contents = self.contents.read().unwrap_or_else(PoisonError::into_inner);
        let mut found = Vec::new();
        for (strand, held) in contents.strands.iter().filter(|(_, held)| held.author == author) {
            if held.first_seq <= seq && seq < held.tip.head.next_seq {
                let around = contents.on_strand(*strand, seq);
                found.extend(up_to(around.into_iter(), 1, (&contents, &self.damages))?);
            }
        }
        Ok(found)
    }

    fn locate(&mut self, head: &Head) -> Result<Option<Strand>, StoreError> {
        let contents = self.contents.read().unwrap_or_else(PoisonError::into_inner);
        let ends = |arrival: &&Arrival| {
            let Change { segment, hash, .. } = arrival.change;
            *head == Head { next_seq: arrival.change.next_seq(), hash, segment }
        };
        let sides = contents.strands.keys().filter(|strand| strand.segment == head.segment);
        let last = Seq(head.next_seq.0.saturating_sub(1));
        let mut around = sides.clone().filter_map(|strand| contents.on_strand(*strand, last));
        if let Some(found) = around.find(ends) {
            return Ok(Some(found.strand()));
        }
        let pruned = |strand: &&Strand| contents.is_pruned_at(**strand, head);
        Ok(sides.clone().find(pruned).copied())
    }

    fn branched(&mut self) -> Result<Vec<NodeId>, StoreError> {
        let contents = self.contents.read().unwrap_or_else(PoisonError::into_inner);
        Ok(contents.branched.iter().copied().collect())
    }

    fn strands_around(
        &mut self,
        author: NodeId,
        from: Seq,
        to: Seq,
    ) -> Result<Vec<(Seq, Seq)>, StoreError> {
        let contents = self.contents.read().unwrap_or_else(PoisonError::into_inner);
        if !contents.branched.contains(&author) {
            return Ok(Vec::new());
        }
        let of_author = contents.strands.values().filter(|held| held.author == author);
        let bounds = of_author.map(|held| (held.first_seq, held.tip.head.next_seq));
        let mut around: Vec<_> =
            bounds.filter(|(first, next)| *first < to && *next > from).collect();
        around.sort();
        Ok(around)
    }

    fn end_at(&mut self, at: Offset) -> Result<Offset, StoreError> {
        let contents = self.contents.read().unwrap_or_else(PoisonError::into_inner);
        let holds = contents.arrivals.range(..=at).next_back();
        let end = holds.map(|(_, arrival)| arrival.end()).filter(|end| *end > at);
        let hole = || contents.hole_at(at).map(|hole| hole.end);
        Ok(end.or_else(hole).unwrap_or(at.plus(1)))
    }

    fn sealable(&mut self, old: Offset) -> Result<Vec<Vec<Arrival>>, StoreError> {
        Ok(self.read().worth_sealing(old, &self.damages))
    }

    fn packed(&mut self, strand: Strand, from: Seq) -> Result<Option<SignedBlock>, StoreError> {
        Ok(self.read().travelling(strand, from))
    }

    fn key(&mut self, key: &str) -> Result<Option<KeyRecord>, StoreError> {
        let contents = self.contents.read().unwrap_or_else(PoisonError::into_inner);
        Ok(contents.keys.get(key).cloned())
    }

    fn bytes(&mut self) -> Result<u64, StoreError> {
        Ok(0)
    }
}

impl Past for MemoryStore {
    type Error = StoreError;

    fn sides(&mut self, author: NodeId, segment: SegmentId) -> Result<Option<Sides>, StoreError> {
        let contents = self.contents.read().unwrap_or_else(PoisonError::into_inner);
        let of_segment =
            |(strand, held): &(&Strand, &Held)| strand.segment == segment && held.author == author;
        let mut sides = contents.strands.iter().filter(of_segment);
        Ok(sides.next().map(|(_, first)| Sides {
            count: 1 + sides.count() as u32,
            segment_seq: first.tip.segment_seq,
            pruned: first.pruned.as_ref().map(|pruned| pruned.next_seq),
        }))
    }

    fn begins(
        &mut self,
        segment: SegmentId,
        seq: Seq,
        hash: ChangeHash,
    ) -> Result<bool, StoreError> {
        let contents = self.contents.read().unwrap_or_else(PoisonError::into_inner);
        let mut sides = contents.strands.keys().filter(|strand| strand.segment == segment);
        let begins =
            |arrival: &Arrival| arrival.change.first_seq == seq && arrival.change.hash == hash;
        Ok(sides.any(|strand| contents.on_strand(*strand, seq).is_some_and(begins)))
    }

    fn reach(&mut self, strand: Strand) -> Result<Option<(Seq, u32)>, StoreError> {
        let contents = self.contents.read().unwrap_or_else(PoisonError::into_inner);
        let tip = contents.strands.get(&strand).map(|held| &held.tip);
        Ok(tip.map(|tip| (tip.head.next_seq, tip.changes)))
    }

    fn standing(
        &mut self,
        author: NodeId,
        parent: &Parent,
    ) -> Result<Option<Standing>, StoreError> {
        let contents = self.contents.read().unwrap_or_else(PoisonError::into_inner);
        let Some(arrival) = contents.arrival_ending(author, parent) else {
            return Ok(contents.standing_pruned(author, parent));
        };
        let tip = contents.tip_at(arrival);
        let newest = contents.strands[&arrival.strand()].tip.head;
        Ok(Some(Standing { followed: newest != tip.head, tip }))
    }
}
