//! The node under attack, with an honest peer beside it.

use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use towline::core::frame::Frame;
use towline::node::{PeerAddress, Storage};
use towline::store::memory::MemoryStore;
use towline::store::{Owner, StoreId};
use towline::words::{ClusterId, Identity};
use towline::{Config, Node};

use crate::liar::Liar;
use crate::support::{LOOPBACK, note, until};

pub const CLUSTER: ClusterId = ClusterId([9; 32]);
/// The last byte of the liars' secrets counts from here.
const LIARS: u8 = 100;

/// Whether a task of a node has panicked. A runtime keeps a task's panic to itself.
static PANICKED: AtomicBool = AtomicBool::new(false);

/// A node, and an honest peer with which it replicates.
pub struct Victim {
    pub node: Node,
    pub honest: Node,
}

pub fn secret(n: u8) -> [u8; 32] {
    let mut secret = [3; 32];
    secret[31] = n;
    secret
}

pub fn identity(n: u8) -> Identity {
    Identity::from_secret(&secret(n))
}

fn config(n: u8) -> Config {
    let owner = Owner { node: identity(n).node_id(), cluster: CLUSTER };
    let store = Box::new(MemoryStore::new(StoreId([n; 8]), owner));
    let storage = Storage::Opened { secret: secret(n), store };
    let mut config = Config::with_storage(storage).listen(LOOPBACK);
    config.interval = Duration::from_millis(100);
    config
}

/// A peer that the node admits, and that it can't dial.
pub fn nowhere(node: &Identity) -> PeerAddress {
    PeerAddress { node: node.node_id(), address: "127.0.0.1:9".parse().unwrap() }
}

/// An honest node that joins a peer.
pub async fn joining(n: u8, peer: PeerAddress) -> Node {
    Node::open(config(n).peer(peer)).await.unwrap()
}

impl Victim {
    /// A node that names an honest peer and these.
    pub async fn naming(peers: &[PeerAddress]) -> Self {
        hear_panics();
        let mut of_victim = config(1).peer(nowhere(&identity(2)));
        of_victim.peers.extend(peers);
        let node = Node::open(of_victim).await.unwrap();
        let address = node.address().unwrap();
        let peer = PeerAddress { node: node.id(), address };
        let honest = joining(2, peer).await;
        let victim = Self { node, honest };
        victim.still_serves().await;
        victim
    }

    /// A node that admits so many liars, and the liars.
    pub async fn and_liars(count: u8) -> (Self, Vec<Liar>) {
        let identities: Vec<Identity> = (0..count).map(|n| identity(LIARS + n)).collect();
        let named: Vec<PeerAddress> = identities.iter().map(nowhere).collect();
        let victim = Self::naming(&named).await;
        let liars = identities.into_iter().map(|identity| victim.liar(identity));
        let liars = liars.collect();
        (victim, liars)
    }

    /// Asserts that each of these frames, said by a liar of its own, closes the connection for its reason
    /// and counts as a violation, and that no author comes into the log by them.
    pub async fn refuses(cases: impl IntoIterator<Item = (Frame, &str)>) {
        let cases: Vec<(Frame, &str)> = cases.into_iter().collect();
        let (victim, liars) = Self::and_liars(cases.len() as u8).await;
        let authors = victim.node.status().await.unwrap().authors;
        for ((frame, why), liar) in cases.iter().zip(&liars) {
            let violations = victim.violations();
            let mut line = liar.greet().await;
            line.say(frame).await;
            let said = line.closed().await;
            assert!(said.contains(why), "{said:?} is not for {why:?}");
            victim.until_violations(violations + 1).await;
        }
        assert_eq!(victim.node.status().await.unwrap().authors, authors);
        victim.still_serves().await;
    }

    pub fn liar(&self, identity: Identity) -> Liar {
        Liar { identity, cluster: CLUSTER, target: self.node.address().unwrap() }
    }

    pub fn violations(&self) -> u64 {
        self.node.metrics().violations.get()
    }

    /// Asserts that both nodes append and come to hold the same.
    pub async fn still_serves(&self) {
        for node in [&self.node, &self.honest] {
            node.append(note("t", "still here")).await.unwrap();
        }
        let own = self.node.frontier().await.unwrap().frontier.next_seq(&self.node.id());
        until(&[&self.node, &self.honest], |statuses| statuses[0].frontier == statuses[1].frontier)
            .await;
        let there = self.honest.frontier().await.unwrap().frontier.next_seq(&self.node.id());
        assert!(there >= own);
        assert!(!PANICKED.load(Ordering::SeqCst), "a task of a node panicked; see above");
    }

    /// Waits until so many violations were counted.
    pub async fn until_violations(&self, count: u64) {
        until(&[&self.node], |_| self.violations() >= count).await;
    }
}

/// Notes panics on threads that run nodes; a test's own are its failure.
fn hear_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let report = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let thread = std::thread::current();
            let of_node = thread
                .name()
                .is_some_and(|name| name.starts_with("tokio") || name.starts_with("towline"));
            PANICKED.fetch_or(of_node, Ordering::SeqCst);
            report(panic);
        }));
    });
}
