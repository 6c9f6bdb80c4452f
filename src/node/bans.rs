//! Bans: a peer that goes on breaking the rules is not listened to for a while.
//!
//! Each violation closes the connection. The third within ten minutes bans the node for ten
//! minutes: its connections are closed before anything of them is read, and it is not dialed.

use std::collections::HashMap;
use std::time::Duration;

use crate::words::NodeId;
use crate::words::limits::AUTHORS;

/// How many violations ban a node.
pub const VIOLATIONS: usize = 3;
/// How long a violation counts, and how long a ban lasts.
pub const BAN: Duration = Duration::from_secs(600);
/// How many nodes are remembered. Only members are, and a cluster has no more.
const NODES: usize = AUTHORS; // full: the one that was accused longest ago is forgotten

/// What every node has done that no honest one does.
///
/// Moments are told by a clock that only rises, from wherever it began.
#[derive(Debug, Default)]
pub struct Bans {
    nodes: HashMap<NodeId, Record>,
}

#[derive(Debug)]
struct Record {
    /// The moments of the violations that still count, oldest first.
    violations: Vec<Duration>,
    banned_until: Option<Duration>,
}

/// What follows from a violation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is remembered.
    Noted,
    /// It was one too many: the node is banned.
    Banned,
}

impl Bans {
    /// Notes a violation of a node.
    pub fn accuse(&mut self, node: NodeId, now: Duration) -> Verdict {
        self.forget_old(now);
        if self.nodes.len() >= NODES && !self.nodes.contains_key(&node) {
            self.forget_one();
        }
        let fresh = || Record { violations: Vec::with_capacity(VIOLATIONS), banned_until: None };
        let record = self.nodes.entry(node).or_insert_with(fresh);
        if record.banned_until.is_some() {
            return Verdict::Banned;
        }
        record.violations.push(now);
        if record.violations.len() < VIOLATIONS {
            return Verdict::Noted;
        }
        record.banned_until = Some(now.saturating_add(BAN));
        Verdict::Banned
    }

    /// How long a node is still banned, if it is.
    pub fn left(&self, node: &NodeId, now: Duration) -> Option<Duration> {
        let until = self.nodes.get(node)?.banned_until?;
        until.checked_sub(now).filter(|left| !left.is_zero())
    }

    /// How many nodes are banned.
    pub fn banned(&self, now: Duration) -> usize {
        self.nodes.keys().filter(|node| self.left(node, now).is_some()).count()
    }

    fn forget_old(&mut self, now: Duration) {
        self.nodes.retain(|_, record| {
            record.violations.retain(|at| now.saturating_sub(*at) < BAN);
            record.banned_until = record.banned_until.filter(|until| *until > now);
            record.banned_until.is_some() || !record.violations.is_empty()
        });
    }

    fn forget_one(&mut self) {
        let newest = |(_, record): &(&NodeId, &Record)| record.violations.last().copied();
        let oldest = self.nodes.iter().min_by_key(newest).map(|(node, _)| *node);
        if let Some(node) = oldest {
            self.nodes.remove(&node);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn node(n: usize) -> NodeId {
        let mut id = [0; 32];
        id[..8].copy_from_slice(&n.to_be_bytes());
        NodeId(id)
    }

    fn ban(bans: &mut Bans, node: NodeId) {
        let verdicts = [(); VIOLATIONS].map(|()| bans.accuse(node, MINUTE));
        assert_eq!(verdicts, [Verdict::Noted, Verdict::Noted, Verdict::Banned]);
    }

    #[test]
    fn the_third_violation_bans_for_ten_minutes() {
        let mut bans = Bans::default();
        assert_eq!(bans.accuse(node(1), MINUTE), Verdict::Noted);
        assert_eq!(bans.accuse(node(1), MINUTE), Verdict::Noted);
        assert_eq!((bans.left(&node(1), MINUTE), bans.banned(MINUTE)), (None, 0));
        assert_eq!(bans.accuse(node(1), 2 * MINUTE), Verdict::Banned);
        assert_eq!(bans.left(&node(1), 2 * MINUTE), Some(10 * MINUTE));
        assert_eq!(bans.left(&node(1), 7 * MINUTE), Some(5 * MINUTE));
        assert_eq!((bans.banned(7 * MINUTE), bans.banned(12 * MINUTE)), (1, 0));
        assert_eq!(bans.left(&node(1), 12 * MINUTE), None);
    }

    #[test]
    fn a_ban_is_the_nodes_own() {
        let mut bans = Bans::default();
        ban(&mut bans, node(1));
        assert_eq!(bans.accuse(node(2), MINUTE), Verdict::Noted);
        assert_eq!(bans.left(&node(2), MINUTE), None);
    }

    #[test]
    fn violations_far_apart_ban_nobody() {
        let mut bans = Bans::default();
        for minute in (0..600).step_by(6) {
            assert_eq!(bans.accuse(node(1), minute * MINUTE), Verdict::Noted);
        }
    }

    #[test]
    fn after_a_ban_a_node_begins_anew() {
        let mut bans = Bans::default();
        ban(&mut bans, node(1));
        assert_eq!(bans.accuse(node(1), 5 * MINUTE), Verdict::Banned);
        assert_eq!(bans.left(&node(1), 5 * MINUTE), Some(6 * MINUTE), "a ban is not prolonged");
        assert_eq!(bans.accuse(node(1), 11 * MINUTE), Verdict::Noted);
    }

    #[test]
    fn the_book_is_bounded() {
        let mut bans = Bans::default();
        for n in 0..NODES + 5 {
            bans.accuse(node(n), MINUTE + Duration::from_micros(n as u64));
        }
        assert_eq!(bans.nodes.len(), NODES);
        assert!(!bans.nodes.contains_key(&node(4)) && bans.nodes.contains_key(&node(5)));
        assert_eq!(bans.accuse(node(0), 20 * MINUTE), Verdict::Noted);
        assert_eq!(bans.nodes.len(), 1, "what no longer counts is forgotten");
    }
}
