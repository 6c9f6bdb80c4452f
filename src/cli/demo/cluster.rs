//! The cluster of the demo: nodes with their own keys, stores, QUIC and HTTP, in one process.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::task::JoinHandle;

use super::wires::{Wire, Wires};
use crate::cli::failure::Failure;
use crate::http;
use crate::node::{Addresses, Config, DataDirectory, Node, PeerAddress, Status};
use crate::words::{ClusterId, Code};

/// What the nodes are called.
const NAMES: [&str; 16] = [
    "alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel", "india", "juliett",
    "kilo", "lima", "mike", "november", "oscar", "papa",
];
/// How many nodes a demo may have.
pub const NODES_MOST: u8 = NAMES.len() as u8;
/// A ring so small that a burst overruns it.
const RING: usize = 64;
/// How often digests are repeated: soon, for somebody watches.
const INTERVAL: Duration = Duration::from_millis(250);
/// How long the nodes may take to become equal.
const PATIENCE: Duration = Duration::from_secs(60);

/// A node of the demo, and what belongs to it.
pub struct Member {
    /// Its name.
    pub name: &'static str,
    /// Its data directory.
    pub directory: PathBuf,
    /// The wire through which the others reach it.
    pub wire: Wire,
    /// Its handle, while it runs.
    pub node: Node,
    /// Where it answers HTTP.
    pub http: SocketAddr,
    listen: SocketAddr,
    peers: Vec<PeerAddress>,
    server: JoinHandle<std::io::Result<()>>,
}

/// All nodes of the demo.
pub struct Cluster {
    /// In order of their names.
    pub members: Vec<Member>,
    _wires: Wires,
}

fn failed(what: &str) -> impl Fn(std::io::Error) -> Failure {
    move |error| Failure::new(Code::Io, what, error)
}

impl Cluster {
    /// Starts so many nodes in directories below `data`, each connected with all others.
    ///
    /// # Errors
    /// A node can't start.
    pub async fn start(data: &Path, count: u8) -> Result<Self, Failure> {
        let mut wires = Wires::new();
        let mut places = Vec::new();
        let mut cluster: Option<ClusterId> = None;
        for name in NAMES.into_iter().take(usize::from(count)) {
            let directory = data.join(name);
            let made = DataDirectory::open(&directory, cluster);
            let made = made.map_err(|e| Failure::directory("the demo can't start", &e))?;
            cluster = Some(made.cluster());
            let node = made.identity().node_id();
            let listen = free_address().map_err(failed("the demo finds no port"))?;
            let wire = wires.lay(listen).await.map_err(failed("the demo finds no port"))?;
            places.push((name, directory, node, listen, wire));
        }
        let all: Vec<PeerAddress> = places
            .iter()
            .map(|(_, _, node, _, wire)| PeerAddress { node: *node, address: wire.address })
            .collect();
        let mut members = Vec::new();
        for (name, directory, id, listen, wire) in places {
            let peers: Vec<_> = all.iter().filter(|peer| peer.node != id).copied().collect();
            let http = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
            let (node, http, server) = open(name, &directory, listen, http, &peers).await?;
            members.push(Member { name, directory, wire, node, http, listen, peers, server });
        }
        Ok(Self { members, _wires: wires })
    }

    /// Waits until all nodes but those left out are connected with each other.
    ///
    /// # Errors
    /// They aren't in time.
    pub async fn connected(&self) -> Result<(), Failure> {
        let wanted = self.members.len() - 1;
        self.until("connect", |all| all.iter().all(|status| status.peers.connected == wanted)).await
    }

    /// Waits until all nodes hold the same entries, and no event is on its way into the log.
    ///
    /// # Errors
    /// They don't in time.
    pub async fn equal(&self) -> Result<(), Failure> {
        self.until("become equal", |all| {
            let settled = |s: &Status| s.emitted == s.recorded + s.dropped;
            all.iter().all(|s| settled(s) && s.frontier == all[0].frontier)
        })
        .await
    }

    /// What each node says of itself.
    ///
    /// # Errors
    /// A store can't be read.
    pub async fn statuses(&self) -> Result<Vec<Status>, Failure> {
        let mut all = Vec::new();
        for member in &self.members {
            let status = member.node.status().await;
            all.push(status.map_err(|e| Failure::store("a node of the demo failed", &e))?);
        }
        Ok(all)
    }

    async fn until(&self, what: &str, done: impl Fn(&[Status]) -> bool) -> Result<(), Failure> {
        let looking = async {
            while !done(&self.statuses().await?) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Ok(())
        };
        let looked = tokio::time::timeout(PATIENCE, looking).await;
        looked.unwrap_or_else(|_| {
            let why = format_args!("they took over {} s", PATIENCE.as_secs());
            Err(Failure::new(Code::Timeout, format_args!("the nodes did not {what}"), why))
        })
    }

    /// Ends all nodes.
    ///
    /// # Errors
    /// The last commit of a node failed.
    pub async fn end(self) -> Result<(), Failure> {
        for member in self.members {
            member.end().await?;
        }
        Ok(())
    }
}

impl Member {
    async fn end(self) -> Result<(), Failure> {
        let ended = self.node.shutdown().await;
        self.server.abort();
        ended.map_err(|e| Failure::new(Code::Poisoned, "a node of the demo can't end", e))
    }

    /// Ends the node and starts it again, on the same directory and addresses.
    ///
    /// # Errors
    /// It can't end, or can't start.
    pub async fn restart(&mut self) -> Result<(), Failure> {
        let ended = self.node.shutdown().await;
        ended.map_err(|e| Failure::new(Code::Poisoned, "a node of the demo can't end", e))?;
        drop((&mut self.server).await);
        let opened = open(self.name, &self.directory, self.listen, self.http, &self.peers).await?;
        (self.node, self.http, self.server) = opened;
        Ok(())
    }
}

type Opened = (Node, SocketAddr, JoinHandle<std::io::Result<()>>);

async fn open(
    name: &str,
    directory: &Path,
    listen: SocketAddr,
    http: SocketAddr,
    peers: &[PeerAddress],
) -> Result<Opened, Failure> {
    let mut config = Config::new(directory).name(name).listen(listen).emit_ring(RING);
    config.interval = INTERVAL;
    config.peers = peers.to_vec();
    let node = Node::open(config).await.map_err(|error| Failure::start(&error))?;
    let listener = http::bind(http).await;
    let listener = listener.map_err(|e| Failure::new(Code::Address, "no port for HTTP", e))?;
    let http = listener.local_addr().map_err(failed("no port for HTTP"))?;
    let addresses = Addresses { quic: listen.to_string(), http: http.to_string(), node: node.id() };
    if let Some(announced) = node.directory().map(|directory| directory.announce(&addresses)) {
        announced.map_err(|e| Failure::directory("the demo can't say where it is", &e))?;
    }
    let server = tokio::spawn(http::serve(node.clone(), listener, http::Serving::open()));
    Ok((node, http, server))
}

/// A loopback port that is free now.
fn free_address() -> std::io::Result<SocketAddr> {
    UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}
