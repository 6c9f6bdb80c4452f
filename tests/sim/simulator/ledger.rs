//! The ledger: what the oracle knows to be on one disk, kept apart from the store that is tested.
//!
//! It follows the links between changes and nothing else, and refuses what breaks P3 or P6: so it is
//! a second opinion on the log's and the store's bookkeeping.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use towline::core::change::{Change, Link};
use towline::core::frontier::{Frontier, Head};
use towline::core::log::Arrival;
use towline::core::pruned::Pruned;
use towline::core::segment::Parent;
use towline::store::EmitMark;
use towline::words::{ChangeHash, NodeId, Offset, SegmentId, Seq, Time};

use super::promise::{Outcome, Promise};

/// What is known of a change on the disk.
#[derive(Clone, Copy, Debug)]
struct Held {
    author: NodeId,
    segment: SegmentId,
    segment_seq: Seq,
    index: u32,
    next_seq: Seq,
    last_time: Time,
}

/// What is on one disk, by the links between changes.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    held: HashMap<ChangeHash, Held>,
    /// Where changes end: what a peer may be told of.
    ends: BTreeSet<(SegmentId, Seq, ChangeHash)>,
    /// The changes on which no other one hangs.
    leaves: BTreeMap<NodeId, BTreeSet<ChangeHash>>,
    next_offset: Offset,
    /// Segments whose entries were removed: from where to where.
    gone: BTreeMap<SegmentId, (Seq, Seq)>,
    /// Segments of which nothing but the end ever came, or not all: whose, and from where to where.
    taken_over: BTreeMap<SegmentId, (NodeId, Seq, Seq)>,
    /// Where the recorder stands on this disk.
    pub mark: EmitMark,
}

impl Ledger {
    /// Whether a change is on the disk.
    pub fn holds(&self, hash: &ChangeHash) -> bool {
        self.held.contains_key(hash)
    }

    /// Whether a head is the end of a change on the disk; or lies inside of what was removed, of which
    /// a store knows nothing better.
    pub fn ends_at(&self, head: &Head) -> bool {
        let inside = |(first, next): (Seq, Seq)| first < head.next_seq && head.next_seq < next;
        let taken_over = self.taken_over.get(&head.segment).map(|(_, first, next)| (*first, *next));
        let gone = self.gone.get(&head.segment).copied();
        self.ends.contains(&(head.segment, head.next_seq, head.hash))
            || taken_over.is_some_and(inside)
            || gone.is_some_and(inside)
    }

    /// Whether a change's entries were removed.
    pub fn is_gone(&self, hash: &ChangeHash) -> bool {
        self.held.get(hash).is_some_and(|held| self.gone.contains_key(&held.segment))
    }

    /// The segment of a change.
    pub fn segment_of(&self, hash: &ChangeHash) -> Option<SegmentId> {
        self.held.get(hash).map(|held| held.segment)
    }

    /// Whether nothing of a segment is taken any more: it was removed, or what stays of it was taken over.
    pub fn is_closed(&self, segment: SegmentId) -> bool {
        self.gone.contains_key(&segment) || self.taken_over.contains_key(&segment)
    }

    /// The changes of a segment.
    pub fn changes_of(&self, segment: SegmentId) -> impl Iterator<Item = ChangeHash> {
        let held = self.held.iter().filter(move |(_, held)| held.segment == segment);
        held.map(|(hash, _)| *hash)
    }

    /// The entries of a segment are removed; what is known of them stays.
    pub fn remove(&mut self, segment: SegmentId) {
        let of_segment = || self.held.values().filter(|held| held.segment == segment);
        let first = of_segment().map(|held| held.segment_seq).min().unwrap_or_default();
        let next = of_segment().map(|held| held.next_seq).max().unwrap_or_default();
        self.gone.insert(segment, (first, next));
    }

    /// What stays of a segment is taken over, in place of what never came.
    ///
    /// # Errors
    /// It doesn't follow what is held.
    pub fn take_over(&mut self, pruned: &Pruned) -> Outcome {
        let (author, segment) = (pruned.author(), pruned.opening.segment());
        let follows = pruned.opening.parents.iter().all(|parent| self.holds(&parent.hash));
        Promise::Contiguous.holds(follows, || {
            format!("what stays of {}:{} hangs in mid-air", author.short(), pruned.first_seq().0)
        })?;
        let of_segment: Vec<ChangeHash> = self.changes_of(segment).collect();
        let leaves = self.leaves.entry(author).or_default();
        let parents = pruned.opening.parents.iter().map(|parent| parent.hash);
        for joined in parents.chain(of_segment) {
            leaves.remove(&joined);
        }
        leaves.insert(pruned.hash);
        let (segment_seq, next_seq) = (pruned.first_seq(), pruned.next_seq);
        let (index, last_time) = (pruned.changes - 1, pruned.last_time);
        let held = Held { author, segment, segment_seq, index, next_seq, last_time };
        self.held.insert(pruned.hash, held);
        self.ends.insert((segment, next_seq, pruned.hash));
        self.taken_over.insert(segment, (author, pruned.first_seq(), next_seq));
        Ok(())
    }

    /// Whether a seq of an author lies in what was taken over.
    fn is_inside(&self, author: NodeId, next_seq: Seq) -> bool {
        let mut all = self.taken_over.values();
        all.any(|(of, first, next)| *of == author && *first < next_seq && next_seq < *next)
    }

    /// Whether a change of a segment ends here.
    pub fn has_end(&self, segment: SegmentId, next_seq: Seq) -> bool {
        let lowest = (segment, next_seq, ChangeHash([0; 32]));
        let next = self.ends.range(lowest..).next();
        next.is_some_and(|(of, seq, _)| (*of, *seq) == (segment, next_seq))
    }

    /// How many entries are on the disk.
    pub fn entries(&self) -> u64 {
        self.next_offset.0
    }

    /// The changes of an author on which no other one hangs.
    pub fn leaves(&self, author: &NodeId) -> Vec<Parent> {
        let leaves = self.leaves.get(author).into_iter().flatten();
        leaves.map(|hash| Parent { next_seq: self.held[hash].next_seq, hash: *hash }).collect()
    }

    /// What the store's frontier has to be.
    pub fn frontier(&self) -> Frontier {
        let mut frontier = Frontier::default();
        for (author, leaves) in &self.leaves {
            for hash in leaves {
                let Held { segment, next_seq, .. } = self.held[hash];
                frontier.insert(*author, Head { segment, next_seq, hash: *hash });
            }
        }
        frontier
    }

    /// Takes a change that is on the disk now.
    ///
    /// # Errors
    /// It leaves a hole, stands there already, or doesn't follow from what it names.
    pub fn admit(&mut self, arrival: &Arrival) -> Outcome {
        let Arrival { offset, change, .. } = arrival;
        let place = || format!("the change at {}:{}", change.author.short(), change.first_seq.0);
        let in_order = *offset == self.next_offset;
        Promise::Contiguous.holds(in_order, || {
            format!("{} has offset {}, after {}", place(), offset.0, self.next_offset.0)
        })?;
        let fresh = !self.held.contains_key(&change.hash);
        Promise::Idempotent.holds(fresh, || format!("{} was written twice", place()))?;
        let parents = self.parents(change)?;
        for (parent, next_seq) in &parents {
            let Some(held) = self.held.get(parent) else {
                if self.is_inside(change.author, *next_seq) {
                    continue; // its author says so, and nobody can know better
                }
                return Promise::Contiguous.broken(format!("{} hangs on nothing held", place()));
            };
            let follows = held.author == change.author
                && held.next_seq == *next_seq
                && held.last_time < change.first_time;
            Promise::Contiguous.holds(follows, || {
                format!("{} doesn't follow its parent, or not in time", place())
            })?;
        }
        let leaves = self.leaves.entry(change.author).or_default();
        for (parent, _) in &parents {
            leaves.remove(parent);
        }
        leaves.insert(change.hash);
        self.note(change);
        Ok(())
    }

    /// The changes that a change hangs on, with their ends.
    fn parents(&self, change: &Change) -> Outcome<Vec<(ChangeHash, Seq)>> {
        let place = || format!("the change at {}:{}", change.author.short(), change.first_seq.0);
        match change.link() {
            Ok(Link::Previous(hash)) => {
                let held = self.held.get(&hash);
                let same = held.is_some_and(|held| {
                    held.segment == change.segment && held.index + 1 == change.index
                });
                Promise::Contiguous.holds(same, || format!("{} breaks its segment", place()))?;
                Ok(vec![(hash, change.first_seq)])
            }
            Ok(Link::Opening(opening)) => {
                let highest = opening.parents.iter().map(|p| p.next_seq).max().unwrap_or_default();
                let opens = change.index == 0
                    && change.first_seq == highest
                    && change.segment_seq == highest
                    && opening.author == change.author;
                Promise::Contiguous.holds(opens, || format!("{} opens in mid-air", place()))?;
                Ok(opening.parents.iter().map(|p| (p.hash, p.next_seq)).collect())
            }
            Err(damaged) => Promise::OnlySigned.broken(format!("{}: {damaged}", place())),
        }
    }

    fn note(&mut self, change: &Change) {
        let Change { author, segment, segment_seq, index, last_time, .. } = *change;
        let next_seq = change.next_seq();
        let held = Held { author, segment, segment_seq, index, next_seq, last_time };
        self.held.insert(change.hash, held);
        self.ends.insert((segment, next_seq, change.hash));
        self.next_offset = self.next_offset.plus(u64::from(change.count));
    }

    /// What this disk holds and the other doesn't.
    pub fn beyond<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = &'a ChangeHash> {
        self.held.keys().filter(|hash| !other.holds(hash))
    }
}
