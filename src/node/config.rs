//! What a node is told when it is opened.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use super::retention::Retention;
use crate::store::Store;
use crate::words::limits::EMIT_RING;
use crate::words::{ClusterId, Kind, NodeId, ParseIdError};

/// Where a node keeps its log.
pub enum Storage {
    /// In a data directory: key, lock and SQLite file.
    Directory(PathBuf),
    /// In memory, with a key made for this lifetime.
    Memory,
    /// In a store that the caller has opened, for the node that `secret` names.
    Opened {
        /// The secret key of the node.
        secret: [u8; 32],
        /// The store.
        store: Box<dyn Store>,
    },
}

/// What becomes of emitted events of a kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Delivery {
    /// Live listeners hear it and the recorder appends it.
    #[default]
    RecordAndBroadcast,
    /// The recorder appends it; live listeners don't hear it.
    RecordOnly,
    /// Live listeners hear it, and it never becomes an entry: it takes no emit number.
    BroadcastOnly,
}

/// Another node, and where to reach it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PeerAddress {
    /// Its id, which is admitted to connect.
    pub node: NodeId,
    /// Where it listens.
    pub address: SocketAddr,
}

/// Says why a text names no peer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParsePeerError {
    /// There is no `@`.
    #[error("a peer is ID@ADDRESS:PORT, and {0:?} has no '@'")]
    Form(String),
    /// The id can't be read.
    #[error("a peer is ID@ADDRESS:PORT: {0}")]
    Id(#[from] ParseIdError),
    /// The id is a key that can't vouch for anything.
    #[error("the peer's id is no sound Ed25519 key")]
    WeakKey,
    /// The address can't be read.
    #[error("a peer is ID@ADDRESS:PORT, and {0:?} is no IP address with a port")]
    Address(String),
}

impl FromStr for PeerAddress {
    type Err = ParsePeerError;

    fn from_str(text: &str) -> Result<Self, ParsePeerError> {
        let form = || ParsePeerError::Form(text.to_owned());
        let (node, address) = text.split_once('@').ok_or_else(form)?;
        let node: NodeId = node.parse()?;
        if !node.is_sound() {
            return Err(ParsePeerError::WeakKey);
        }
        let address = address.parse().map_err(|_| ParsePeerError::Address(address.to_owned()))?;
        Ok(Self { node, address })
    }
}

impl std::fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}@{}", self.node, self.address)
    }
}

/// How a node is opened. Everything but the place has a working default.
pub struct Config {
    /// Where the log is kept.
    pub storage: Storage,
    /// The name that people gave the node; at most 64 bytes, may be empty.
    pub name: String,
    /// The cluster to be in. None: the one that the data directory names, or one of its own.
    pub cluster: Option<ClusterId>,
    /// Where to listen for peers. None: the node has no network, and appends alone.
    pub listen: Option<SocketAddr>,
    /// Whom to connect with, and to admit.
    pub peers: Vec<PeerAddress>,
    /// How often the digest of the frontier is repeated to each peer.
    pub interval: Duration,
    /// How long the node waits for entries that a peer has removed, as another one may bring them.
    pub patience: Duration,
    /// What is kept, of a node in a data directory or in a store that was opened.
    pub retention: Retention,
    /// How many emitted events the ring holds; rounded up to a power of two.
    pub emit_ring: usize,
    /// What becomes of emitted events, by kind.
    pub deliveries: BTreeMap<Kind, Delivery>,
}

impl Config {
    /// A node that keeps its log in a data directory, which is made when it is missing.
    pub fn new(directory: impl AsRef<Path>) -> Self {
        Self::with_storage(Storage::Directory(directory.as_ref().to_owned()))
    }

    /// A node that keeps its log in memory.
    pub fn in_memory() -> Self {
        Self::with_storage(Storage::Memory)
    }

    /// A node that keeps its log so.
    pub fn with_storage(storage: Storage) -> Self {
        Self {
            storage,
            name: String::new(),
            cluster: None,
            listen: None,
            peers: Vec::new(),
            interval: Duration::from_secs(1),
            patience: Duration::from_secs(15),
            retention: Retention::default(),
            emit_ring: EMIT_RING,
            deliveries: BTreeMap::new(),
        }
    }

    /// Gives the node a name for people.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Puts the node into a cluster.
    pub fn cluster(mut self, cluster: ClusterId) -> Self {
        self.cluster = Some(cluster);
        self
    }

    /// Lets the node listen for peers; port 0 picks one.
    pub fn listen(mut self, address: SocketAddr) -> Self {
        self.listen = Some(address);
        self
    }

    /// Names and admits a peer.
    pub fn peer(mut self, peer: PeerAddress) -> Self {
        self.peers.push(peer);
        self
    }

    /// Sets what is kept.
    pub fn retention(mut self, retention: Retention) -> Self {
        self.retention = retention;
        self
    }

    /// Sets the size of the emit ring.
    pub fn emit_ring(mut self, events: usize) -> Self {
        self.emit_ring = events.max(1);
        self
    }

    /// Sets what becomes of emitted events of a kind.
    pub fn delivery(mut self, kind: Kind, delivery: Delivery) -> Self {
        self.deliveries.insert(kind, delivery);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_an_id_and_an_address() {
        let id = crate::words::Identity::from_secret(&[1; 32]).node_id();
        let peer: PeerAddress = format!("{id}@127.0.0.1:4001").parse().unwrap();
        assert_eq!(peer.node, id);
        assert_eq!(peer.to_string(), format!("{id}@127.0.0.1:4001"));
    }

    #[test]
    fn a_peer_that_is_none_says_why() {
        let id = crate::words::Identity::from_secret(&[1; 32]).node_id();
        let why = |text: &str| text.parse::<PeerAddress>().unwrap_err();
        assert!(matches!(why("here"), ParsePeerError::Form(_)));
        assert!(matches!(why("12@127.0.0.1:1"), ParsePeerError::Id(_)));
        assert!(matches!(why(&format!("{id}@nowhere")), ParsePeerError::Address(_)));
        let zero = NodeId([0; 32]);
        assert!(matches!(why(&format!("{zero}@127.0.0.1:1")), ParsePeerError::WeakKey));
    }
}
