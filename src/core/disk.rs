//! What a node has committed, as the tests of the core keep it: written to be obviously right.

#![cfg(test)]

use std::collections::{BTreeSet, HashSet};
use std::convert::Infallible;

use super::change::{Change, Link};
use super::frontier::{Extent, Frontier, Head, Range, Reach, missing, reach_of_unknown};
use super::log::{Arrival, Past, Sides, Standing, Tip};
use super::segment::{Parent, Strand};
use crate::words::{ChangeHash, NodeId, Offset, SegmentId, Seq};

/// All arrivals, in order.
#[derive(Clone, Debug, Default)]
pub struct Disk(pub Vec<Arrival>);

pub fn head_of(change: &Change) -> Head {
    Head { next_seq: change.next_seq(), hash: change.hash, segment: change.segment }
}

pub fn parents_of(change: &Change) -> Vec<Parent> {
    match change.link().unwrap() {
        Link::Opening(opening) => opening.parents,
        Link::Previous(_) => Vec::new(),
    }
}

/// A change as another one names it as a parent.
pub fn end(change: &Change) -> Parent {
    Parent { next_seq: change.next_seq(), hash: change.hash }
}

impl Disk {
    pub fn changes(&self) -> impl DoubleEndedIterator<Item = &Change> {
        self.0.iter().map(|arrival| &arrival.change)
    }

    pub fn commit(&mut self, arrivals: &[Arrival]) {
        for arrival in arrivals {
            assert_eq!(arrival.offset, self.watermark(), "offsets are contiguous");
            assert!(self.changes().all(|held| held.hash != arrival.change.hash), "held twice");
            self.0.push(arrival.clone());
        }
    }

    pub fn watermark(&self) -> Offset {
        self.0.last().map_or(Offset(0), Arrival::end)
    }

    pub fn of_strand(&self, strand: Strand) -> impl DoubleEndedIterator<Item = &Change> {
        let on_it = move |arrival: &&Arrival| arrival.strand() == strand;
        self.0.iter().filter(on_it).map(|arrival| &arrival.change)
    }

    pub fn authors(&self) -> BTreeSet<NodeId> {
        self.changes().map(|change| change.author).collect()
    }

    fn strands(&self) -> BTreeSet<(NodeId, Strand)> {
        self.0.iter().map(|arrival| (arrival.change.author, arrival.strand())).collect()
    }

    /// The tip that a strand had when this change was its newest.
    fn tip_at(&self, strand: Strand, last: &Change) -> Tip {
        // The bytes of a segment up to a change are those of all changes that it follows.
        let mut bytes = 0;
        let mut at = Some(last);
        while let Some(change) = at {
            bytes += change.bytes.len() as u64;
            at = match change.link().unwrap() {
                Link::Previous(hash) => self.changes().find(|other| other.hash == hash),
                Link::Opening(_) => None,
            };
        }
        Tip {
            head: head_of(last),
            side: strand.side,
            segment_seq: last.segment_seq,
            changes: last.index + 1,
            bytes,
            last_time: last.last_time,
        }
    }

    pub fn tip(&self, strand: Strand) -> Option<Tip> {
        let last = self.of_strand(strand).next_back()?;
        Some(self.tip_at(strand, last))
    }

    /// The ends of all strands that no segment continues after: what the log should hold.
    pub fn tips(&self) -> Vec<(NodeId, Tip)> {
        let parents: HashSet<Parent> = self.changes().flat_map(parents_of).collect();
        let ends = self.strands().into_iter();
        let ends = ends.filter_map(|(author, strand)| Some((author, self.tip(strand)?)));
        let open = |(_, tip): &(NodeId, Tip)| {
            !parents.contains(&Parent { next_seq: tip.head.next_seq, hash: tip.head.hash })
        };
        ends.filter(open).collect()
    }

    pub fn frontier(&self) -> Frontier {
        let mut frontier = Frontier::default();
        self.tips().into_iter().for_each(|(author, tip)| frontier.insert(author, tip.head));
        frontier
    }

    pub fn extents(&self, author: NodeId) -> Vec<Extent> {
        let of_author = self.strands().into_iter().filter(|(node, _)| *node == author);
        let extent = |(_, strand): (NodeId, Strand)| {
            let first = self.of_strand(strand).next()?;
            let last = self.of_strand(strand).next_back()?;
            let forks_off = match first.link().unwrap() {
                Link::Previous(hash) => {
                    self.0.iter().find(|other| other.change.hash == hash).map(|other| other.side)
                }
                Link::Opening(_) => None,
            };
            let opening = self.changes().find(|c| c.segment == strand.segment && c.index == 0)?;
            Some(Extent {
                strand,
                first_seq: first.first_seq,
                next_seq: last.next_seq(),
                hash: last.hash,
                forks_off,
                parents: parents_of(opening),
            })
        };
        let mut extents: Vec<Extent> = of_author.filter_map(extent).collect();
        extents.sort_by_key(|extent| (extent.first_seq, extent.strand));
        extents
    }

    pub fn hashes(&self) -> HashSet<ChangeHash> {
        self.changes().map(|change| change.hash).collect()
    }

    pub fn locate(&self, head: &Head) -> Option<Strand> {
        self.0.iter().find(|arrival| head_of(&arrival.change) == *head).map(Arrival::strand)
    }

    /// What another lacks of an author by its heads, and whether all of them are held here or are
    /// simply further on.
    pub fn compare(&self, author: NodeId, heads: &[Head]) -> (Vec<Range>, bool) {
        let extents = self.extents(author);
        let mut reached: Vec<Reach> = Vec::new();
        let mut clear = true;
        for head in heads {
            match self.locate(head) {
                Some(strand) => reached.push((strand, head.next_seq)),
                None => {
                    let reach = reach_of_unknown(&extents, head);
                    clear &= reach.is_some_and(|(_, seq)| seq > Seq(0));
                    reached.extend(reach);
                }
            }
        }
        (missing(author, &extents, &reached), clear)
    }
}

impl Past for Disk {
    type Error = Infallible;

    fn sides(&mut self, author: NodeId, segment: SegmentId) -> Result<Option<Sides>, Infallible> {
        let of_segment = || {
            let on_it = |c: &&Change| c.author == author && c.segment == segment;
            self.changes().filter(on_it)
        };
        let strands = self.strands().into_iter();
        let count = strands.filter(|(node, s)| *node == author && s.segment == segment).count();
        let segment_seq = of_segment().next().map(|first| first.segment_seq);
        Ok(segment_seq.map(|segment_seq| Sides { count: count as u32, segment_seq, pruned: None }))
    }

    fn begins(
        &mut self,
        segment: SegmentId,
        seq: Seq,
        hash: ChangeHash,
    ) -> Result<bool, Infallible> {
        let mut changes = self.changes();
        Ok(changes.any(|c| c.segment == segment && c.first_seq == seq && c.hash == hash))
    }

    fn reach(&mut self, strand: Strand) -> Result<Option<(Seq, u32)>, Infallible> {
        Ok(self.tip(strand).map(|tip| (tip.head.next_seq, tip.changes)))
    }

    fn standing(
        &mut self,
        author: NodeId,
        parent: &Parent,
    ) -> Result<Option<Standing>, Infallible> {
        let is_parent =
            |held: &&Arrival| held.change.author == author && end(&held.change) == *parent;
        let found = self.0.iter().find(is_parent);
        Ok(found.map(|held| {
            let tip = self.tip_at(held.strand(), &held.change);
            let followed = self.tip(held.strand()).is_some_and(|newest| newest.head != tip.head);
            Standing { tip, followed }
        }))
    }
}
