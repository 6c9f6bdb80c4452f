//! Forks: where an author has signed two histories, and whether it has joined them since.
//!
//! Two strands of an author that hold the same seq are two histories: neither descends from the
//! other. Honest authors get there by restoring a disk (a *branch*, which their next segment joins);
//! two changes at one place of one segment, or branches that nothing joins, are a copied key or a
//! lie. The strands themselves are the proof: both are signed by the author.

use std::collections::HashMap;

use serde::Serialize;

use super::frontier::{Extent, Head, Reach, covered};
use super::segment::Strand;
use crate::words::name::{NameError, TOWLINE_TENANT};
use crate::words::{ChangeHash, Draft, Kind, Seq, Tenant, Topic};

/// What sort of fork it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ForkKind {
    /// Two segments continue after one change: a restored disk, or a copied key.
    Branch,
    /// Two changes at one place of one segment: no honest node signs them.
    Segment,
}

/// Strands of one author that hold the same seqs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fork {
    /// What sort of fork it is.
    pub kind: ForkKind,
    /// The first seq that more than one strand holds.
    pub seq: Seq,
    /// The strands that hold it.
    pub sides: Vec<Side>,
    /// Whether a later segment of the author continues after all of them.
    pub joined: bool,
}

/// One strand of a fork.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Side {
    /// The strand.
    pub strand: Strand,
    /// The seq after its last entry held.
    pub next_seq: Seq,
    /// Its last change held.
    pub head: ChangeHash,
}

/// The topic of the entries that say so when an author joins branches, in the tenant `towline`.
const FORK_TOPIC: &str = "forks";
/// Their kind.
const ROLLBACK_KIND: &str = "towline.rollback";

/// The entry by which an author says that its next segment joins branches of its own history.
///
/// # Errors
/// None in practice: the names are constants that parse, which a test shows.
pub fn rollback(heads: &[Head]) -> Result<Draft, NameError> {
    let tenant = Tenant::parse(TOWLINE_TENANT)?;
    let (topic, kind) = (Topic::parse(FORK_TOPIC)?, Kind::parse(ROLLBACK_KIND)?);
    let branches = serde_json::json!({ "branches": heads });
    Ok(Draft::of_towline(tenant, topic, kind, branches.to_string().into_bytes()))
}

/// The forks of an author, in the order of their seqs. `extents` are all strands held of it, in the
/// order of their first seq.
pub fn forks(extents: &[Extent]) -> Vec<Fork> {
    let joins = joins(extents);
    let mut forks = Vec::new();
    for (at, new) in extents.iter().enumerate() {
        let seq = new.first_seq;
        let beside = |e: &&Extent| e.first_seq <= seq && seq < e.next_seq;
        let around: Vec<&Extent> = extents[..=at].iter().filter(beside).collect();
        if around.len() < 2 {
            continue;
        }
        let same_segment = around.iter().filter(|e| e.strand.segment == new.strand.segment).count();
        let reached = |covered: &HashMap<Strand, Seq>| {
            around.iter().all(|e| covered.get(&e.strand).is_some_and(|to| *to > seq))
        };
        let side = |e: &&Extent| Side { strand: e.strand, next_seq: e.next_seq, head: e.hash };
        forks.push(Fork {
            kind: if same_segment > 1 { ForkKind::Segment } else { ForkKind::Branch },
            seq,
            sides: around.iter().map(side).collect(),
            joined: joins.iter().any(reached),
        });
    }
    forks
}

/// What each segment that joins branches descends from.
fn joins(extents: &[Extent]) -> Vec<HashMap<Strand, Seq>> {
    let joining = extents.iter().filter(|e| e.forks_off.is_none() && e.parents.len() > 1);
    let reach = |e: &Extent| -> Reach { (e.strand, e.first_seq) };
    joining.map(|extent| covered(extents, &[reach(extent)])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::segment::Parent;
    use crate::words::SegmentId;

    fn extent(n: u8, first: u64, next: u64, parents: &[(u64, u8)]) -> Extent {
        let parent =
            |&(next, n): &(u64, u8)| Parent { next_seq: Seq(next), hash: ChangeHash([n; 32]) };
        Extent {
            strand: Strand::first(SegmentId([n; 16])),
            first_seq: Seq(first),
            next_seq: Seq(next),
            hash: ChangeHash([n; 32]),
            forks_off: None,
            parents: parents.iter().map(parent).collect(),
        }
    }

    fn told(extents: &[Extent]) -> Vec<(ForkKind, u64, usize, bool)> {
        let forks = forks(extents);
        forks.iter().map(|f| (f.kind, f.seq.0, f.sides.len(), f.joined)).collect()
    }

    #[test]
    fn a_rollback_names_the_branches_that_it_joins() {
        let head = |n: u8| Head {
            next_seq: Seq(u64::from(n)),
            hash: ChangeHash([n; 32]),
            segment: SegmentId([n; 16]),
        };
        let draft = rollback(&[head(1), head(2)]).unwrap();
        assert_eq!(draft.kind.as_str(), "towline.rollback");
        let said: serde_json::Value = serde_json::from_slice(&draft.data).unwrap();
        assert_eq!(said["branches"][1]["next_seq"], 2);
        assert_eq!(draft.check(), Ok(()));
    }

    #[test]
    fn segments_one_after_the_other_are_no_fork() {
        assert_eq!(told(&[extent(1, 0, 5, &[]), extent(2, 5, 9, &[(5, 1)])]), []);
    }

    #[test]
    fn a_branch_is_a_fork_until_it_is_joined() {
        let mut held =
            vec![extent(1, 0, 5, &[]), extent(2, 5, 9, &[(5, 1)]), extent(3, 5, 7, &[(5, 1)])];
        assert_eq!(told(&held), [(ForkKind::Branch, 5, 2, false)]);
        held.push(extent(4, 9, 10, &[(7, 3), (9, 2)]));
        assert_eq!(told(&held), [(ForkKind::Branch, 5, 2, true)]);
    }

    #[test]
    fn a_branch_that_goes_on_after_it_was_joined_is_told_as_what_it_shares() {
        let held = [
            extent(1, 0, 5, &[]),
            extent(2, 5, 9, &[(5, 1)]),
            extent(3, 5, 7, &[(5, 1)]),
            extent(4, 9, 12, &[(7, 3), (9, 2)]),
            extent(5, 9, 11, &[(9, 2)]),
        ];
        let found = [(ForkKind::Branch, 5, 2, true), (ForkKind::Branch, 9, 2, false)];
        assert_eq!(told(&held), found);
    }

    #[test]
    fn two_sides_of_one_segment_are_a_fork_that_only_the_author_can_join() {
        let mut side = extent(1, 3, 4, &[]);
        side.strand.side = 1;
        side.forks_off = Some(0);
        let held = [extent(1, 0, 5, &[]), side];
        assert_eq!(told(&held), [(ForkKind::Segment, 3, 2, false)]);
    }
}
