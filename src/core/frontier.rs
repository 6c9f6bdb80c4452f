//! Frontiers: what a node holds of every author, and what another lacks of it.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::segment::{Parent, Strand};
use crate::words::{ChangeHash, NodeId, SegmentId, Seq};

/// The newest change that is held of one branch of an author.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Head {
    /// The seq that follows its last entry.
    pub next_seq: Seq,
    /// Its hash.
    pub hash: ChangeHash,
    /// The segment that it belongs to.
    pub segment: SegmentId,
}

/// Author → heads held: a version vector with hashes.
///
/// Two nodes hold the same entries exactly when their frontiers are equal. An honest author has
/// one head; two are two branches of its history.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Frontier {
    authors: BTreeMap<NodeId, Vec<Head>>,
}

impl Frontier {
    /// Adds a head of an author. The heads are kept in order, so equal contents are equal values.
    pub fn insert(&mut self, author: NodeId, head: Head) {
        let heads = self.authors.entry(author).or_default();
        if let Err(at) = heads.binary_search(&head) {
            heads.insert(at, head);
        }
    }

    /// The heads of an author, in rising order; none for a stranger.
    pub fn heads(&self, author: &NodeId) -> &[Head] {
        self.authors.get(author).map_or(&[], Vec::as_slice)
    }

    /// All authors with their heads, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&NodeId, &[Head])> {
        self.authors.iter().map(|(author, heads)| (author, heads.as_slice()))
    }

    /// How many authors there are.
    pub fn len(&self) -> usize {
        self.authors.len()
    }

    /// Whether nothing is held at all.
    pub fn is_empty(&self) -> bool {
        self.authors.is_empty()
    }

    /// How far an author is held: the highest `next_seq` of its heads.
    pub fn next_seq(&self, author: &NodeId) -> Seq {
        self.heads(author).iter().map(|head| head.next_seq).max().unwrap_or_default()
    }

    /// 32 bytes that are equal exactly when the frontiers are.
    pub fn digest(&self) -> [u8; 32] {
        let mut digest = Sha256::new();
        for (author, heads) in &self.authors {
            digest.update(author.0);
            digest.update((heads.len() as u64).to_be_bytes());
            for head in heads {
                digest.update(head.next_seq.0.to_be_bytes());
                digest.update(head.hash.0);
                digest.update(head.segment.0);
            }
        }
        digest.finalize().into()
    }
}

/// What a store holds of one strand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extent {
    /// The strand.
    pub strand: Strand,
    /// The seq of its first entry.
    pub first_seq: Seq,
    /// The seq that follows its last entry held.
    pub next_seq: Seq,
    /// The hash of its last change held.
    pub hash: ChangeHash,
    /// The side of its segment that it forks off, if it doesn't start the segment.
    pub forks_off: Option<u32>,
    /// What the opening of its segment names as parents.
    pub parents: Vec<Parent>,
}

/// A run of entries of one strand, named by seq.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The author of the segment.
    pub author: NodeId,
    /// The strand.
    pub strand: Strand,
    /// The first seq.
    pub from: Seq,
    /// The seq after the last one.
    pub to: Seq,
}

/// A place in a store: a strand, and a seq up to which it is covered.
pub type Reach = (Strand, Seq);

/// Says which entries of an author are held here and lack there.
///
/// `extents` are all strands held of the author, in order of their first seq; `theirs` is how far
/// the other's heads reach: where they lie on changes that are held here, or else what
/// [`reach_of_unknown`] says of them.
pub fn missing(author: NodeId, extents: &[Extent], theirs: &[Reach]) -> Vec<Range> {
    let covered = covered(extents, theirs);
    let lacking = |extent: &Extent| {
        let from = covered.get(&extent.strand).copied().unwrap_or(extent.first_seq);
        let Extent { strand, next_seq: to, .. } = *extent;
        (from < to).then_some(Range { author, strand, from, to })
    };
    extents.iter().filter_map(lacking).collect()
}

/// How far a head reaches that is not held here, and whether it is simply further on.
///
/// In a segment of which one side is known here, a head further on covers all of that side: the
/// other is ahead. In another one the other has a side that is unknown here, and of the segment
/// nothing is sure but what it starts from. Of a head in an unknown segment nothing is known.
pub fn reach_of_unknown(extents: &[Extent], head: &Head) -> Option<Reach> {
    let mut sides = extents.iter().filter(|e| e.strand.segment == head.segment);
    let first = sides.next()?;
    let ahead = sides.next().is_none() && first.next_seq < head.next_seq;
    Some((first.strand, if ahead { first.next_seq } else { Seq(0) }))
}

/// How far each strand is covered by what is reached and all that it descends from.
pub fn covered(extents: &[Extent], reached: &[Reach]) -> HashMap<Strand, Seq> {
    let by_strand: HashMap<Strand, &Extent> = extents.iter().map(|e| (e.strand, e)).collect();
    let by_end: HashMap<Parent, &Extent> =
        extents.iter().map(|e| (Parent { next_seq: e.next_seq, hash: e.hash }, e)).collect();
    let mut covered: HashMap<Strand, Seq> = HashMap::new();
    let mut open: Vec<Reach> = reached.to_vec();
    while let Some((strand, to)) = open.pop() {
        let Some(extent) = by_strand.get(&strand) else {
            continue;
        };
        let known = covered.get(&strand).copied();
        if known.is_some_and(|known| known >= to) {
            continue;
        }
        covered.insert(strand, to.max(extent.first_seq));
        if known.is_some() {
            continue;
        }
        if let Some(side) = extent.forks_off {
            open.push((Strand { side, ..strand }, extent.first_seq));
            continue;
        }
        let inside = |parent: &Parent| {
            by_end.get(parent).copied().or_else(|| only_extent_around(extents, parent))
        };
        let parents = extent.parents.iter();
        open.extend(parents.filter_map(|p| Some((inside(p)?.strand, p.next_seq))));
    }
    covered
}

/// The extent inside which a parent lies, where only one can hold it. With several branches at one
/// seq it isn't known which, and nothing is taken as covered: sending twice does no harm.
fn only_extent_around<'a>(extents: &'a [Extent], parent: &Parent) -> Option<&'a Extent> {
    let around = |e: &&Extent| e.first_seq < parent.next_seq && parent.next_seq < e.next_seq;
    let mut found = extents.iter().filter(around);
    found.next().filter(|_| found.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALICE: NodeId = NodeId([1; 32]);

    fn segment(n: u8) -> SegmentId {
        SegmentId([n; 16])
    }

    fn extent(n: u8, first: u64, next: u64, parents: &[(u64, u8)]) -> Extent {
        let parent = |&(next, hash): &(u64, u8)| Parent {
            next_seq: Seq(next),
            hash: ChangeHash([hash; 32]),
        };
        Extent {
            strand: Strand::first(segment(n)),
            first_seq: Seq(first),
            next_seq: Seq(next),
            hash: ChangeHash([n; 32]),
            forks_off: None,
            parents: parents.iter().map(parent).collect(),
        }
    }

    fn head(n: u8, next: u64) -> Head {
        Head { segment: segment(n), next_seq: Seq(next), hash: ChangeHash([n; 32]) }
    }

    fn ranges(extents: &[Extent], theirs: &[Head]) -> Vec<(u8, u64, u64)> {
        let reach = |head: &Head| (Strand::first(head.segment), head.next_seq);
        let theirs: Vec<Reach> = theirs.iter().map(reach).collect();
        let missing = missing(ALICE, extents, &theirs);
        missing.iter().map(|r| (r.strand.segment.0[0], r.from.0, r.to.0)).collect()
    }

    #[test]
    fn an_empty_peer_needs_everything() {
        let held = [extent(1, 0, 5, &[]), extent(2, 5, 9, &[(5, 1)])];
        assert_eq!(ranges(&held, &[]), [(1, 0, 5), (2, 5, 9)]);
    }

    #[test]
    fn an_equal_peer_needs_nothing() {
        let held = [extent(1, 0, 5, &[]), extent(2, 5, 9, &[(5, 1)])];
        assert_eq!(ranges(&held, &[head(2, 9)]), []);
    }

    #[test]
    fn a_peer_ahead_needs_nothing_that_its_known_head_descends_from() {
        let held = [extent(1, 0, 5, &[])];
        assert_eq!(ranges(&held, &[head(1, 5)]), []);
    }

    #[test]
    fn a_peer_behind_needs_the_rest_of_its_segment_and_all_later_ones() {
        let held = [extent(1, 0, 5, &[]), extent(2, 5, 9, &[(5, 1)]), extent(3, 9, 12, &[(9, 2)])];
        assert_eq!(ranges(&held, &[head(2, 7)]), [(2, 7, 9), (3, 9, 12)]);
    }

    #[test]
    fn an_unknown_head_covers_nothing() {
        let held = [extent(1, 0, 5, &[])];
        assert_eq!(ranges(&held, &[head(7, 90)]), [(1, 0, 5)]);
    }

    #[test]
    fn a_peer_on_one_branch_needs_the_other_branch_only() {
        // Segment 2 and 3 both continue after segment 1; 4 joins them.
        let held = [
            extent(1, 0, 5, &[]),
            extent(2, 5, 9, &[(5, 1)]),
            extent(3, 5, 7, &[(5, 1)]),
            extent(4, 9, 10, &[(7, 3), (9, 2)]),
        ];
        assert_eq!(ranges(&held, &[head(2, 9)]), [(3, 5, 7), (4, 9, 10)]);
        assert_eq!(ranges(&held, &[head(4, 10)]), []);
    }

    /// A segment 1 of 0..9, and beside what follows its entry 5 a side of 5..8; 2 opened it.
    fn forked() -> [Extent; 3] {
        let mut side = extent(1, 5, 8, &[(4, 2)]);
        side.strand.side = 1;
        side.forks_off = Some(0);
        [extent(2, 0, 4, &[]), extent(1, 4, 9, &[(4, 2)]), side]
    }

    #[test]
    fn a_peer_on_one_side_of_a_fork_needs_the_other_side_only() {
        let ranges = |reached: Reach| {
            let missing = missing(ALICE, &forked(), &[reached]);
            missing.iter().map(|r| (r.strand.side, r.from.0, r.to.0)).collect::<Vec<_>>()
        };
        let one = Strand::first(segment(1));
        assert_eq!(ranges((one, Seq(9))), [(1, 5, 8)]);
        assert_eq!(ranges((Strand { side: 1, ..one }, Seq(8))), [(0, 5, 9)]);
    }

    #[test]
    fn a_head_further_on_covers_what_is_held_of_its_segment_unless_that_is_forked() {
        let far = head(1, 20);
        let whole = [extent(1, 4, 9, &[(4, 2)])];
        assert_eq!(reach_of_unknown(&whole, &far), Some((Strand::first(segment(1)), Seq(9))));
        assert_eq!(reach_of_unknown(&forked(), &far), Some((Strand::first(segment(1)), Seq(0))));
        assert_eq!(reach_of_unknown(&whole, &head(7, 20)), None);
    }

    #[test]
    fn an_unknown_head_in_a_known_segment_covers_what_the_segment_starts_from() {
        let reach = reach_of_unknown(&forked(), &head(1, 7)).unwrap();
        let missing = missing(ALICE, &forked(), &[reach]);
        assert!(missing.iter().all(|range| range.strand.segment == segment(1)), "{missing:?}");
        assert_eq!(missing.len(), 2);
    }

    #[test]
    fn a_branch_off_the_middle_of_a_segment_covers_up_to_there() {
        let held = [extent(1, 0, 5, &[]), extent(2, 3, 4, &[(3, 77)])];
        assert_eq!(ranges(&held, &[head(2, 4)]), [(1, 3, 5)]);
    }

    #[test]
    fn equal_contents_have_equal_digests_in_any_order() {
        let mut one = Frontier::default();
        let mut two = Frontier::default();
        for n in [1, 2, 3] {
            one.insert(ALICE, head(n, 5));
        }
        for n in [3, 1, 2, 2] {
            two.insert(ALICE, head(n, 5));
        }
        assert_eq!(one, two);
        assert_eq!(one.digest(), two.digest());
        two.insert(NodeId([2; 32]), head(4, 1));
        assert_ne!(one.digest(), two.digest());
    }
}
