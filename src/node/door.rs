//! The door: who may come in from the network, and what is remembered of those who misbehaved.
//!
//! TLS has shown who a peer is before it stands here. Whoever is banned, or has too many connections
//! that have not said hello, is turned away before anything of the connection is read.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::bans::{BAN, Bans, VIOLATIONS, Verdict};
use super::metrics::Metrics;
use super::ration::Ration;
use crate::net::endpoint::ConnectError;
use crate::words::NodeId;

/// How many connections of one peer may be about to say hello.
const GREETING: usize = 4; // full: a further one is closed

/// Says why a connection of a peer is closed before anything of it is read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Turned {
    /// The peer has broken the rules too often.
    #[error("banned for {} s more after {VIOLATIONS} violations", .0.as_secs())]
    Banned(Duration),
    /// Others of its connections have not said hello.
    #[error("{GREETING} other connections of this peer have not said hello")]
    Crowded,
}

/// Who stands at the door.
pub struct Door {
    began: Instant,
    bans: Mutex<Bans>,
    greeting: Mutex<HashMap<NodeId, usize>>,
    of_strangers: Mutex<Ration>,
    of_peers: Mutex<Ration>,
    metrics: Arc<Metrics>,
}

/// The place of a connection that is about to say hello.
pub struct Greeting {
    door: Arc<Door>,
    peer: NodeId,
}

impl Door {
    /// A door at which nobody was yet.
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self {
            began: Instant::now(),
            bans: Mutex::default(),
            greeting: Mutex::default(),
            of_strangers: Mutex::default(),
            of_peers: Mutex::default(),
            metrics,
        }
    }

    /// Lets a connection of a peer in until it has said hello.
    ///
    /// # Errors
    /// See [`Turned`].
    pub fn admit(self: &Arc<Self>, peer: NodeId) -> Result<Greeting, Turned> {
        if let Some(left) = self.ban_left(&peer) {
            return Err(Turned::Banned(left));
        }
        let mut greeting = lock(&self.greeting);
        let of_peer = greeting.entry(peer).or_default();
        if *of_peer >= GREETING {
            return Err(Turned::Crowded);
        }
        *of_peer += 1;
        Ok(Greeting { door: self.clone(), peer })
    }

    /// How long a node is still banned, if it is.
    pub fn ban_left(&self, node: &NodeId) -> Option<Duration> {
        lock(&self.bans).left(node, self.now())
    }

    /// How many nodes are banned.
    pub fn banned(&self) -> usize {
        lock(&self.bans).banned(self.now())
    }

    /// Notes what a peer did that no honest one does.
    pub fn accuse(&self, peer: NodeId, why: &dyn std::fmt::Display) -> Verdict {
        let verdict = lock(&self.bans).accuse(peer, self.now());
        self.blame(peer, why);
        if verdict == Verdict::Banned {
            let minutes = BAN.as_secs() / 60;
            tracing::warn!(peer = %peer.short(), minutes, "banned after {VIOLATIONS} violations");
        }
        verdict
    }

    /// Counts and tells what a peer did that is nobody's malice: it was set up for something else.
    pub fn blame(&self, peer: NodeId, why: &dyn std::fmt::Display) {
        self.metrics.violations.inc();
        if let Some(withheld) = lock(&self.of_peers).take(self.now()) {
            tracing::warn!(peer = %peer.short(), %why, withheld, "closed the connection");
        }
    }

    /// Counts and tells that a handshake failed: a stranger's, as a rule.
    pub fn refused(&self, from: SocketAddr, error: &ConnectError) {
        self.metrics.violations.inc();
        if let Some(withheld) = lock(&self.of_strangers).take(self.now()) {
            tracing::warn!(%from, %error, withheld, "refused a handshake");
        }
    }

    /// Counts and tells that a handshake found no place.
    pub fn crowded(&self, from: SocketAddr) {
        self.metrics.crowded_handshakes.inc();
        if let Some(withheld) = lock(&self.of_strangers).take(self.now()) {
            tracing::warn!(%from, withheld, "too many handshakes at once: refused one");
        }
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }
}

impl Drop for Greeting {
    fn drop(&mut self) {
        let mut greeting = lock(&self.door.greeting);
        if let Some(of_peer) = greeting.get_mut(&self.peer) {
            *of_peer -= 1;
            if *of_peer == 0 {
                greeting.remove(&self.peer);
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn door() -> Arc<Door> {
        Arc::new(Door::new(Arc::new(Metrics::new())))
    }

    #[test]
    fn a_peer_that_does_not_greet_leaves_the_door_to_others() {
        let (door, peer) = (door(), NodeId([1; 32]));
        let inside: Vec<_> = (0..10).filter_map(|_| door.admit(peer).ok()).collect();
        assert_eq!(inside.len(), GREETING);
        assert_eq!(door.admit(peer).err(), Some(Turned::Crowded));
        assert!(door.admit(NodeId([2; 32])).is_ok());
        drop(inside);
        assert!(door.admit(peer).is_ok());
    }

    #[test]
    fn a_banned_peer_is_turned_away() {
        let (door, peer) = (door(), NodeId([1; 32]));
        let verdicts = [(); VIOLATIONS].map(|()| door.accuse(peer, &"it lied"));
        assert_eq!(verdicts, [Verdict::Noted, Verdict::Noted, Verdict::Banned]);
        assert!(matches!(door.admit(peer), Err(Turned::Banned(left)) if left <= BAN));
        assert_eq!((door.banned(), door.metrics.violations.get()), (1, VIOLATIONS as u64));
        assert!(door.admit(NodeId([2; 32])).is_ok());
    }

    #[test]
    fn whoever_is_set_up_for_something_else_is_not_banned() {
        let (door, peer) = (door(), NodeId([1; 32]));
        (0..10).for_each(|_| door.blame(peer, &"another cluster"));
        assert!(door.admit(peer).is_ok());
        assert_eq!(door.metrics.violations.get(), 10);
    }
}
