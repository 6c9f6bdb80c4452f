//! Frontiers: what a node holds of every author, and what another lacks of it.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::segment::Parent;
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

/// What a store holds of one segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extent {
    /// The segment.
    pub segment: SegmentId,
    /// The seq of its first entry.
    pub first_seq: Seq,
    /// The seq that follows its last entry held.
    pub next_seq: Seq,
    /// The hash of its last change held.
    pub hash: ChangeHash,
    /// What its opening names as parents.
    pub parents: Vec<Parent>,
}

/// A run of entries of one segment, named by seq.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The author of the segment.
    pub author: NodeId,
    /// The segment.
    pub segment: SegmentId,
    /// The first seq.
    pub from: Seq,
    /// The seq after the last one.
    pub to: Seq,
}

/// Says which entries of an author are held here and lack there.
///
/// `extents` are all segments held of the author, in order of their first seq; `theirs` are the
/// other's heads as far as they lie on changes that are held here, or are [further](is_further) in
/// a segment of them. Of another head it isn't known here what it descends from, and it covers
/// nothing.
pub fn missing(author: NodeId, extents: &[Extent], theirs: &[Head]) -> Vec<Range> {
    let covered = ancestry(extents, theirs);
    let lacking = |extent: &Extent| {
        let from = covered.get(&extent.segment).copied().unwrap_or(extent.first_seq);
        let Extent { segment, next_seq: to, .. } = *extent;
        (from < to).then_some(Range { author, segment, from, to })
    };
    extents.iter().filter_map(lacking).collect()
}

/// Whether a head lies further on in a segment than what is held of it here. It covers all of that.
pub fn is_further(extents: &[Extent], head: &Head) -> bool {
    extents.iter().any(|e| e.segment == head.segment && e.next_seq < head.next_seq)
}

/// How far each segment is covered by the heads and all that they descend from.
fn ancestry(extents: &[Extent], heads: &[Head]) -> HashMap<SegmentId, Seq> {
    let by_id: HashMap<SegmentId, &Extent> = extents.iter().map(|e| (e.segment, e)).collect();
    let by_end: HashMap<Parent, &Extent> =
        extents.iter().map(|e| (Parent { next_seq: e.next_seq, hash: e.hash }, e)).collect();
    let mut covered: HashMap<SegmentId, Seq> = HashMap::new();
    let mut open: Vec<(SegmentId, Seq)> =
        heads.iter().map(|head| (head.segment, head.next_seq)).collect();
    while let Some((segment, to)) = open.pop() {
        let Some(extent) = by_id.get(&segment) else {
            continue;
        };
        let known = covered.get(&segment).copied();
        if known.is_some_and(|known| known >= to) {
            continue;
        }
        covered.insert(segment, to);
        if known.is_none() {
            let inside = |parent: &Parent| {
                by_end.get(parent).copied().or_else(|| only_extent_around(extents, parent))
            };
            let parents = extent.parents.iter();
            open.extend(parents.filter_map(|p| Some((inside(p)?.segment, p.next_seq))));
        }
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
            segment: segment(n),
            first_seq: Seq(first),
            next_seq: Seq(next),
            hash: ChangeHash([n; 32]),
            parents: parents.iter().map(parent).collect(),
        }
    }

    fn head(n: u8, next: u64) -> Head {
        Head { segment: segment(n), next_seq: Seq(next), hash: ChangeHash([n; 32]) }
    }

    fn ranges(extents: &[Extent], theirs: &[Head]) -> Vec<(u8, u64, u64)> {
        let missing = missing(ALICE, extents, theirs);
        missing.iter().map(|r| (r.segment.0[0], r.from.0, r.to.0)).collect()
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
