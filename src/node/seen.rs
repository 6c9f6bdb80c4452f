//! What a follower has read, by author and branch: a place that any node understands.
//!
//! A node knows a reader's place by the order in which entries arrived at it, and that order means
//! nothing elsewhere. But every order has each branch in order of seq, so what was read is always a
//! frontier. On another node the reader gets what lies above that frontier, in that node's order.
//!
//! A head that the other node doesn't hold yet may still come. Until then its author's entries below
//! it count as read: they are what the head descends from, unless the author's history has branched.

use std::collections::{BTreeMap, HashMap};

use crate::core::frontier::{self, Extent, Frontier, Head, Reach};
use crate::core::log::Arrival;
use crate::core::segment::Strand;
use crate::store::{Reader, StoreError};
use crate::words::{NodeId, Offset, Seq};

/// How many changes are looked at with one reading.
const SCANNED: usize = 512;

/// What a follower has read.
#[derive(Debug, Default)]
pub struct Seen {
    /// The newest change read of each branch that is known here.
    heads: BTreeMap<NodeId, BTreeMap<Strand, Head>>,
    /// Heads that were read elsewhere and are not held here.
    unknown: BTreeMap<NodeId, Vec<Head>>,
    /// How far strands were read elsewhere.
    covered: HashMap<Strand, Seq>,
    /// The strands of authors, as far as they were needed.
    extents: HashMap<NodeId, Vec<Extent>>,
}

/// A change that is read, as far as its place is concerned.
#[derive(Clone, Copy, Debug)]
pub struct Passing {
    author: NodeId,
    strand: Strand,
    first_seq: Seq,
    offset: Offset,
    /// What is read when all of it is.
    head: Head,
}

impl Passing {
    /// A change as it lies in the store.
    pub fn of(arrival: &Arrival) -> Self {
        let change = &arrival.change;
        let (next_seq, hash, segment) = (change.next_seq(), change.hash, change.segment);
        Self {
            author: change.author,
            strand: arrival.strand(),
            first_seq: change.first_seq,
            offset: arrival.offset,
            head: Head { next_seq, hash, segment },
        }
    }

    /// Whether any of it lies below an offset.
    pub fn starts_before(&self, offset: Offset) -> bool {
        self.offset < offset
    }

    /// The offset after its last entry.
    pub fn end(&self) -> Offset {
        self.offset.plus(self.head.next_seq.0 - self.first_seq.0)
    }
}

/// A reader who goes on at this node.
#[derive(Debug)]
pub struct Resumed {
    /// What it has read.
    pub seen: Seen,
    /// The offset from which there is more for it; the end of the log where there is nothing.
    pub at: Offset,
    /// How many entries are held here that it has not read.
    pub lacking: u64,
}

impl Seen {
    /// What a reader has read that stands at an offset of this store.
    ///
    /// # Errors
    /// The store can't be read; so for every call here.
    pub fn before(reader: &mut dyn Reader, offset: Offset) -> Result<Self, StoreError> {
        let mut seen = Self::default();
        let mut at = Offset(0);
        while at < offset {
            let (passed, _) = reader.scan(at, SCANNED)?;
            if passed.is_empty() {
                break;
            }
            for change in passed {
                let strand = Strand { segment: change.head.segment, side: change.side };
                let (author, first_seq) = (change.author, change.first_seq);
                let passing = Passing { author, strand, first_seq, offset: at, head: change.head };
                if at < offset {
                    seen.pass(&passing, offset);
                }
                at = passing.end();
            }
        }
        let authors: Vec<NodeId> = seen.heads.keys().copied().collect();
        for author in authors {
            let extents = reader.extents(author)?;
            seen.prune(author, &extents);
        }
        Ok(seen)
    }

    /// What a reader has read elsewhere, and what there is more for it.
    pub fn resume(
        reader: &mut dyn Reader,
        place: &Frontier,
        watermark: Offset,
    ) -> Result<Resumed, StoreError> {
        let mut seen = Self::default();
        let (mut at, mut lacking) = (watermark, 0);
        let held = reader.frontier()?;
        for (author, heads) in place.iter() {
            let extents = reader.extents(*author)?;
            let mut reached: Vec<Reach> = Vec::new();
            for head in heads {
                match locate(reader, *author, head)? {
                    Some(strand) => {
                        seen.heads.entry(*author).or_default().insert(strand, *head);
                        reached.push((strand, head.next_seq));
                    }
                    None => {
                        seen.unknown.entry(*author).or_default().push(*head);
                        reached.extend(frontier::reach_of_unknown(&extents, head));
                    }
                }
            }
            seen.cover(&extents, &reached);
            for range in frontier::missing(*author, &extents, &reached) {
                at = at.min(offset_of(reader, *author, range.strand, range.from)?);
                lacking += range.to.0 - range.from.0;
            }
            seen.extents.insert(*author, extents);
        }
        for (author, _) in held.iter().filter(|(author, _)| place.heads(author).is_empty()) {
            for extent in reader.extents(*author)? {
                at = at.min(offset_of(reader, *author, extent.strand, extent.first_seq)?);
                lacking += extent.next_seq.0 - extent.first_seq.0;
            }
        }
        Ok(Resumed { seen, at, lacking })
    }

    /// Takes note of a change before its entries are looked at: a strand that is new may descend
    /// from others, and a head that was unknown may have come.
    pub fn meet(&mut self, reader: &mut dyn Reader, arrival: &Arrival) -> Result<(), StoreError> {
        let (author, strand) = (arrival.change.author, arrival.strand());
        let known = self.extents.get(&author);
        if known.is_none_or(|extents| !extents.iter().any(|extent| extent.strand == strand)) {
            self.extents.insert(author, reader.extents(author)?);
        }
        let Some(unknown) = self.unknown.get_mut(&author) else {
            return Ok(());
        };
        let Some(at) = unknown.iter().position(|head| head.hash == arrival.change.hash) else {
            return Ok(());
        };
        let head = unknown.swap_remove(at);
        if unknown.is_empty() {
            self.unknown.remove(&author);
        }
        let extents = reader.extents(author)?;
        self.cover(&extents, &[(strand, head.next_seq)]);
        self.heads.entry(author).or_default().insert(strand, head);
        self.prune(author, &extents);
        Ok(())
    }

    /// Whether an entry was not read elsewhere.
    pub fn admits(&self, author: NodeId, strand: Strand, seq: Seq) -> bool {
        let above = |head: &Head| seq >= head.next_seq;
        self.covered.get(&strand).is_none_or(|covered| seq >= *covered)
            && self.unknown.get(&author).is_none_or(|heads| heads.iter().all(above))
    }

    /// Moves the place over a change, or over its part below an offset.
    pub fn pass(&mut self, passing: &Passing, offset: Offset) {
        let Passing { author, strand, first_seq, head, .. } = *passing;
        let part = offset.0.saturating_sub(passing.offset.0);
        if part == 0 {
            return;
        }
        let next_seq = first_seq.plus(part).min(head.next_seq);
        let head = Head { next_seq, ..head };
        let heads = self.heads.entry(author).or_default();
        if let Some(known) = heads.get_mut(&strand) {
            if known.next_seq < next_seq {
                *known = head;
            }
            return;
        }
        if self.covered.get(&strand).is_some_and(|covered| *covered >= next_seq) {
            return;
        }
        heads.insert(strand, head);
        if let Some(extents) = self.extents.get(&author) {
            let reach = frontier::covered(extents, &[(strand, next_seq)]);
            heads.retain(|other, head| {
                *other == strand || reach.get(other).is_none_or(|seq| *seq < head.next_seq)
            });
        }
    }

    /// The place.
    pub fn frontier(&self) -> Frontier {
        let mut frontier = Frontier::default();
        for (author, heads) in &self.heads {
            heads.values().for_each(|head| frontier.insert(*author, *head));
        }
        for (author, heads) in &self.unknown {
            heads.iter().for_each(|head| frontier.insert(*author, *head));
        }
        frontier
    }

    fn cover(&mut self, extents: &[Extent], reached: &[Reach]) {
        for (strand, seq) in frontier::covered(extents, reached) {
            let covered = self.covered.entry(strand).or_default();
            *covered = seq.max(*covered);
        }
    }

    /// Drops the heads of an author that others descend from.
    fn prune(&mut self, author: NodeId, extents: &[Extent]) {
        let Some(heads) = self.heads.get_mut(&author) else {
            return;
        };
        let mut newest: Vec<(Strand, Head)> = heads.iter().map(|(s, h)| (*s, *h)).collect();
        newest.sort_by_key(|(_, head)| std::cmp::Reverse(head.next_seq));
        let mut kept: Vec<Reach> = Vec::new();
        for (strand, head) in newest {
            let reach = frontier::covered(extents, &kept);
            if reach.get(&strand).is_some_and(|seq| *seq >= head.next_seq) {
                heads.remove(&strand);
            } else {
                kept.push((strand, head.next_seq));
            }
        }
    }
}

/// The strand on which a head lies, if the change is held in which it stands.
fn locate(
    reader: &mut dyn Reader,
    author: NodeId,
    head: &Head,
) -> Result<Option<Strand>, StoreError> {
    let Some(last) = head.next_seq.0.checked_sub(1) else {
        return Ok(None);
    };
    let held = reader.find(author, Seq(last))?;
    Ok(held.iter().find(|arrival| arrival.change.hash == head.hash).map(Arrival::strand))
}

fn offset_of(
    reader: &mut dyn Reader,
    author: NodeId,
    strand: Strand,
    seq: Seq,
) -> Result<Offset, StoreError> {
    let held = reader.find(author, seq)?;
    let found = held.iter().find(|arrival| arrival.strand() == strand);
    // What is not found was to be read: from the start, then.
    Ok(found.map_or(Offset(0), |a| a.offset.plus(seq.0 - a.change.first_seq.0)))
}
