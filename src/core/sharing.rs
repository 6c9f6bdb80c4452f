//! Sharing: which peer a node that is far behind asks for which authors, so that nothing is sent twice.
//!
//! The history of an author is a chain and can only be taken in order, so an author is what is shared
//! out: each one of whom much is lacking is asked of one peer that has it, and the other peers are told
//! to keep it. A peer that goes away, or brings nothing for a while, loses its part to another one.
//! What is lacking is known by the peers' own word, and so is when it will be here.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::Serialize;

use super::frontier::Frontier;
use crate::words::{NodeId, Seq};

/// How many authors are shared out at the same time; the others come from whoever has them. Members may
/// claim to hold thousands.
const PARTS: usize = 64;
/// Of an author of whom so many entries lack, one peer only is asked.
pub const FAR: u64 = 4_096;
/// When so few are left, all peers may send them again, as they come.
const NEAR: u64 = 1_024;
/// A peer that brings nothing of its part for so long loses it.
const STALLED_MILLIS: u64 = 5_000;
/// It doesn't get it back for so long, as long as others have it.
const AVOIDED_MILLIS: u64 = 60_000;
/// Over how long the rate is measured.
const RATE_MILLIS: u64 = 10_000;
/// How many looks are remembered for it.
const LOOKS: usize = 64; // full: the oldest is forgotten, and the rate is one of a shorter time

/// How far peers hold authors, by their own word.
pub type Holds = BTreeMap<NodeId, Seq>;

/// How a node comes closer to what its peers hold.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Progress {
    /// How many entries the connected peers say they hold that are not here.
    pub lacking: u64,
    /// How many entries of others came here a second, lately.
    pub per_second: u64,
    /// In how many seconds all will be here at this rate; none while nothing comes.
    pub eta_seconds: Option<u64>,
}

/// An author who is asked of one peer.
#[derive(Clone, Copy, Debug)]
struct Part {
    peer: NodeId,
    /// How far the author is held here, and since when.
    held: Seq,
    since: u64,
}

/// Which peer is asked for what.
#[derive(Debug, Default)]
pub struct Sharing {
    parts: BTreeMap<NodeId, Part>,
    /// Who is not asked for an author, and until when.
    avoided: BTreeMap<(NodeId, NodeId), u64>,
    lacking: u64,
    /// When how many entries of others were held here.
    looks: VecDeque<(u64, u64)>,
}

impl Sharing {
    /// Looks at what is held here and what the connected peers hold. Returns whether another peer is
    /// asked for something than before. `now` is in milliseconds of any clock that doesn't step.
    pub fn look(
        &mut self,
        now: u64,
        me: NodeId,
        own: &Frontier,
        peers: &[(NodeId, &Holds)],
    ) -> bool {
        let lacking = lacking(own, peers);
        self.lacking = total(lacking.values().copied());
        self.measure(now, me, own);
        self.avoided.retain(|_, until| *until > now);
        let before: BTreeMap<NodeId, NodeId> = self.asked();
        self.keep_parts(now, own, peers, &lacking);
        let mut far: Vec<(u64, NodeId)> = lacking
            .iter()
            .filter(|(author, lacking)| **lacking >= FAR && !self.parts.contains_key(*author))
            .map(|(author, lacking)| (*lacking, *author))
            .collect();
        far.sort_unstable_by(|a, b| b.cmp(a)); // the largest first, so that the rest evens out
        far.truncate(PARTS.saturating_sub(self.parts.len()));
        for (_, author) in far {
            if let Some(peer) = self.choose(author, own, peers, &lacking) {
                let held = own.next_seq(&author);
                self.parts.insert(author, Part { peer, held, since: now });
            }
        }
        self.asked() != before
    }

    fn asked(&self) -> BTreeMap<NodeId, NodeId> {
        self.parts.iter().map(|(author, part)| (*author, part.peer)).collect()
    }

    /// Ends the parts that are done, and takes them from peers that are gone or stand still.
    fn keep_parts(
        &mut self,
        now: u64,
        own: &Frontier,
        peers: &[(NodeId, &Holds)],
        lacking: &BTreeMap<NodeId, u64>,
    ) {
        let connected: BTreeSet<NodeId> = peers.iter().map(|(peer, _)| *peer).collect();
        let avoided = &mut self.avoided;
        self.parts.retain(|author, part| {
            if lacking.get(author).is_none_or(|lacking| *lacking < NEAR) {
                return false;
            }
            let held = own.next_seq(author);
            if held > part.held {
                (part.held, part.since) = (held, now);
            }
            let stalled = now.saturating_sub(part.since) >= STALLED_MILLIS;
            if stalled {
                avoided.insert((*author, part.peer), now + AVOIDED_MILLIS);
            }
            connected.contains(&part.peer) && !stalled
        });
    }

    /// The peer that is asked for an author: of those that have the most of it, the one that is asked
    /// for least. None where fewer than two have it.
    fn choose(
        &self,
        author: NodeId,
        own: &Frontier,
        peers: &[(NodeId, &Holds)],
        lacking: &BTreeMap<NodeId, u64>,
    ) -> Option<NodeId> {
        let enough = own.next_seq(&author).plus(lacking.get(&author)?.saturating_sub(NEAR));
        // The author has all that it wrote, also where it has not said so yet.
        let has = |(peer, holds): &&(NodeId, &Holds)| {
            *peer == author || holds.get(&author).is_some_and(|held| *held >= enough)
        };
        let having: Vec<NodeId> = peers.iter().filter(has).map(|(peer, _)| *peer).collect();
        if having.len() < 2 {
            return None;
        }
        let load = |peer: &NodeId| -> u64 {
            let of_peer = self.parts.iter().filter(|(_, part)| part.peer == *peer);
            total(of_peer.filter_map(|(author, _)| lacking.get(author)).copied())
        };
        let asked = |peer: &&NodeId| !self.avoided.contains_key(&(author, **peer));
        having
            .iter()
            .filter(asked)
            .min_by_key(|peer| (load(peer), **peer != author, **peer))
            .copied()
    }

    fn measure(&mut self, now: u64, me: NodeId, own: &Frontier) {
        let others = own.iter().filter(|(author, _)| **author != me);
        let held = total(others.map(|(author, _)| own.next_seq(author).0));
        if self.looks.len() == LOOKS {
            self.looks.pop_front();
        }
        self.looks.push_back((now, held));
        while self.looks.len() > 2
            && self.looks.get(1).is_some_and(|(at, _)| now.saturating_sub(*at) >= RATE_MILLIS)
        {
            self.looks.pop_front();
        }
    }

    /// The authors that a peer is told to keep, since another one is asked for them.
    pub fn elsewhere(&self, peer: &NodeId) -> Vec<NodeId> {
        let others = self.parts.iter().filter(|(_, part)| part.peer != *peer);
        others.map(|(author, _)| *author).collect()
    }

    /// How it goes, by the last look; none while nothing is lacking.
    pub fn progress(&self) -> Option<Progress> {
        if self.lacking == 0 {
            return None;
        }
        let (first, last) = (self.looks.front()?, self.looks.back()?);
        let millis = last.0.saturating_sub(first.0).max(1);
        let per_second = last.1.saturating_sub(first.1).saturating_mul(1_000) / millis;
        let eta_seconds = self.lacking.checked_div(per_second);
        Some(Progress { lacking: self.lacking, per_second, eta_seconds })
    }
}

/// The sum of what peers claim, who may claim anything.
fn total(counts: impl Iterator<Item = u64>) -> u64 {
    counts.fold(0, u64::saturating_add)
}

/// How many entries of each author the peers hold beyond what is held here.
fn lacking(own: &Frontier, peers: &[(NodeId, &Holds)]) -> BTreeMap<NodeId, u64> {
    let mut most: BTreeMap<NodeId, Seq> = BTreeMap::new();
    for (author, held) in peers.iter().flat_map(|(_, holds)| *holds) {
        let known = most.entry(*author).or_default();
        *known = (*held).max(*known);
    }
    let beyond = |(author, held): (NodeId, Seq)| {
        let lacking = held.0.saturating_sub(own.next_seq(&author).0);
        (lacking > 0).then_some((author, lacking))
    };
    most.into_iter().filter_map(beyond).collect()
}

#[cfg(test)]
mod tests;
