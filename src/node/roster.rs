//! The roster: which peers there are, and what each has said that it holds.
//!
//! It is the one place that sessions write and status reads; the log's state is not in it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use tokio::sync::watch;

use super::config::PeerAddress;
use crate::core::frontier::Frontier;
use crate::core::sharing::{Holds, Progress, Sharing};
use crate::net::link::Closer;
use crate::words::{NodeId, Seq, Time};

/// How a peer is reached at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Contact {
    /// A connection is being tried, or waited for.
    #[default]
    Connecting,
    /// A session stands.
    Connected,
    /// The last attempt to connect failed.
    Unreachable,
}

/// What is known of a peer.
#[derive(Clone, Debug, Default)]
pub struct Peer {
    /// Where it is dialed, or where it dialed from.
    pub address: Option<SocketAddr>,
    /// The name that people gave it.
    pub name: String,
    /// How it is reached.
    pub contact: Contact,
    /// Why the last attempt or session ended.
    pub trouble: Option<String>,
    /// How far it has persisted each author, by its own word.
    pub holds: BTreeMap<NodeId, Seq>,
    /// When it was last heard.
    pub last_seen: Option<Time>,
    /// Whether all that it holds of this node is held here: then this node may append without
    /// writing a seq twice.
    pub own_settled: bool,
    pub(super) session: Option<Session>,
}

/// The session that stands with a peer.
#[derive(Clone, Debug)]
pub(super) struct Session {
    incarnation: u64,
    /// Whose dialing made the connection.
    dialed_by: NodeId,
    number: u64,
    closer: Closer,
}

/// Names one session of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionNumber(u64);

/// All peers. Every change rings a bell.
pub struct Roster {
    me: NodeId,
    peers: Mutex<BTreeMap<NodeId, Peer>>,
    changed: watch::Sender<()>,
    /// What exchanges go by has changed: every one of them is woken.
    turned: watch::Sender<()>,
    sessions: AtomicU64,
    /// Which of them is asked for what, where much is lacking.
    sharing: Mutex<Sharing>,
    began: Instant,
    /// How many wait until peers hold something.
    awaiting: AtomicUsize,
}

/// Somebody waits until peers hold something, as long as this lasts.
pub struct Awaiting<'r>(&'r Roster);

impl Drop for Awaiting<'_> {
    fn drop(&mut self) {
        self.0.awaiting.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Roster {
    /// A roster of the peers that were named.
    pub fn new(me: NodeId, named: &[PeerAddress]) -> Self {
        let peer = |named: &PeerAddress| {
            (named.node, Peer { address: Some(named.address), ..Peer::default() })
        };
        let peers = Mutex::new(named.iter().map(peer).collect());
        Self {
            me,
            peers,
            changed: watch::Sender::new(()),
            turned: watch::Sender::new(()),
            sessions: AtomicU64::new(0),
            sharing: Mutex::default(),
            began: Instant::now(),
            awaiting: AtomicUsize::new(0),
        }
    }

    /// Somebody waits until peers hold something: from now on they are told at once.
    pub fn await_peers(&self) -> Awaiting<'_> {
        if self.awaiting.fetch_add(1, Ordering::AcqRel) == 0 {
            self.turned.send_replace(());
        }
        Awaiting(self)
    }

    /// Whether somebody does.
    pub fn is_awaited(&self) -> bool {
        self.awaiting.load(Ordering::Acquire) > 0
    }

    /// Changes what is known of a peer.
    pub fn update(&self, node: NodeId, change: impl FnOnce(&mut Peer)) {
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        change(peers.entry(node).or_default());
        drop(peers);
        self.changed.send_replace(());
    }

    /// All peers as they stand.
    pub fn peers(&self) -> BTreeMap<NodeId, Peer> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The peers that have said that they have persisted an author's entries below a seq.
    pub fn holders(&self, author: &NodeId, next_seq: Seq) -> BTreeSet<NodeId> {
        let peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        let holds = |peer: &Peer| peer.holds.get(author).is_some_and(|held| *held >= next_seq);
        peers.iter().filter(|(_, peer)| holds(peer)).map(|(node, _)| *node).collect()
    }

    /// How far a peer has persisted an author, by its own word.
    pub fn held_by(&self, peer: &NodeId, author: &NodeId) -> Seq {
        let peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        peers.get(peer).and_then(|peer| peer.holds.get(author)).copied().unwrap_or_default()
    }

    /// The peers with which a session stands.
    pub fn connected(&self) -> Vec<NodeId> {
        let peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        let connected = peers.iter().filter(|(_, peer)| peer.session.is_some());
        connected.map(|(node, _)| *node).collect()
    }

    /// A bell that rings at every change.
    pub fn bell(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// A bell that rings when exchanges have to look up: other peers are connected, another one is asked
    /// for something, or somebody waits for peers. What peers hold doesn't ring it, which changes with
    /// each of their acks.
    pub fn exchange_bell(&self) -> watch::Receiver<()> {
        self.turned.subscribe()
    }

    /// Enters a session, and ends the one that it replaces. None: the one that stands is kept.
    ///
    /// When both sides dial at once there are two connections; both sides keep the one that the
    /// lower id dialed. A peer that was restarted replaces the session of its former life.
    pub fn enter(
        &self,
        peer: NodeId,
        incarnation: u64,
        dialed: bool,
        closer: Closer,
    ) -> Option<SessionNumber> {
        let dialed_by = if dialed { self.me } else { peer };
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = peers.entry(peer).or_default();
        if let Some(old) = &entry.session {
            let same_life = old.incarnation == incarnation;
            if same_life && old.dialed_by != dialed_by && old.dialed_by < dialed_by {
                return None;
            }
            old.closer.close("replaced by another connection");
        }
        let number = self.sessions.fetch_add(1, Ordering::Relaxed);
        entry.session = Some(Session { incarnation, dialed_by, number, closer });
        entry.contact = Contact::Connected;
        entry.trouble = None;
        drop(peers);
        self.changed.send_replace(());
        self.turned.send_replace(());
        Some(SessionNumber(number))
    }

    /// Takes a session out again, unless it was replaced.
    pub fn leave(&self, peer: NodeId, session: SessionNumber, why: &str) {
        self.update(peer, |entry| {
            if entry.session.as_ref().is_some_and(|stands| stands.number == session.0) {
                entry.session = None;
                entry.contact = Contact::Connecting;
                entry.trouble = Some(why.to_owned());
            }
        });
        self.turned.send_replace(());
    }

    /// Closes the session with a peer, if one stands.
    pub fn expel(&self, peer: &NodeId, why: &str) {
        let peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(session) = peers.get(peer).and_then(|entry| entry.session.as_ref()) {
            session.closer.close(why);
        }
    }

    /// Looks what of the log is lacking here, given what is held, and which peer is asked for it.
    pub fn look(&self, own: &Frontier) -> Option<Progress> {
        let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        // Nobody who has the second lock waits for the first.
        let peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sharing = self.sharing.lock().unwrap_or_else(PoisonError::into_inner);
        let connected = peers.iter().filter(|(_, peer)| peer.session.is_some());
        let holds: Vec<(NodeId, &Holds)> =
            connected.map(|(node, peer)| (*node, &peer.holds)).collect();
        let others = sharing.look(now, self.me, own, &holds);
        let progress = sharing.progress();
        drop((peers, sharing));
        if others {
            self.turned.send_replace(());
        }
        progress
    }

    /// The authors that a peer is told to keep, since another one is asked for them.
    pub fn elsewhere(&self, peer: &NodeId) -> Vec<NodeId> {
        self.sharing.lock().unwrap_or_else(PoisonError::into_inner).elsewhere(peer)
    }

    /// Whether a session stands with a peer.
    pub fn is_connected(&self, peer: &NodeId) -> bool {
        let peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        peers.get(peer).is_some_and(|entry| entry.session.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_peers_hold_wakes_who_waits_for_it_and_no_exchange() {
        let roster = Roster::new(NodeId([1; 32]), &[]);
        let (bell, exchanges) = (roster.bell(), roster.exchange_bell());
        let (peer, author) = (NodeId([2; 32]), NodeId([3; 32]));
        roster.update(peer, |entry| entry.holds.extend([(author, Seq(5))]));
        assert!(bell.has_changed().unwrap() && !exchanges.has_changed().unwrap());
        assert_eq!(
            (roster.held_by(&peer, &author), roster.held_by(&author, &author)),
            (Seq(5), Seq(0))
        );
    }

    #[test]
    fn whoever_waits_for_peers_is_seen_while_it_lasts_and_the_first_rings() {
        let roster = Roster::new(NodeId([1; 32]), &[]);
        let mut bell = roster.exchange_bell();
        assert!(!roster.is_awaited() && !bell.has_changed().unwrap());
        let first = roster.await_peers();
        assert!(roster.is_awaited() && bell.has_changed().unwrap());
        bell.mark_unchanged();
        let second = roster.await_peers();
        assert!(!bell.has_changed().unwrap(), "it is known");
        drop(first);
        assert!(roster.is_awaited());
        drop(second);
        assert!(!roster.is_awaited());
    }
}
