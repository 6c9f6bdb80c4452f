//! Where a bench measures: its directories, the payloads, and the two logs that steps share.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::trouble::BenchError;
use crate::node::measure::{OneTable, Payloads};
use crate::node::{Config, DataDirectory, Node, PeerAddress};
use crate::words::{ClusterId, Identity};

/// How many entries a bulk append has.
pub const GROUP: u64 = 1_000;
/// How many callers append groups at the same time where one alone would wait for the disk.
pub const CALLERS: u64 = 4;
/// How many callers append single entries at the same time.
pub const APPENDERS: u64 = 64;
/// How many rows a table gets at once where nobody looks at the time.
const ROWS: u64 = 10_000;
/// How long a node may take for the next entry before the bench gives up on it.
const PATIENCE: Duration = Duration::from_secs(60);

/// What all steps know.
pub struct Ground {
    root: PathBuf,
    /// What is appended.
    pub payloads: Payloads,
    /// How much of it.
    pub scale: Scale,
}

/// How much there is of everything.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    /// How many entries.
    pub entries: u64,
    /// In how many topics, if that was said.
    pub topics: Option<u64>,
    /// How many authors the merged log has.
    pub authors: u64,
    /// How many nodes a cluster has.
    pub nodes: u64,
    /// How many threads there are where threads are measured.
    pub threads: u64,
    /// Of how many tenants those are.
    pub tenants: u64,
}

impl Ground {
    /// An empty ground in a directory that is removed with it, however the bench ends.
    ///
    /// # Errors
    /// The directory can't be made.
    pub fn make(parent: &Path, payloads: Payloads, scale: Scale) -> std::io::Result<Self> {
        let root = parent.join(format!("towline-bench-{}", std::process::id()));
        std::fs::create_dir_all(&root)?;
        Ok(Self { root, payloads, scale })
    }

    /// A directory of one step, which is removed with the value.
    ///
    /// # Errors
    /// It can't be made.
    pub fn room(&self, name: &str) -> Result<Room, BenchError> {
        let path = self.root.join(name);
        std::fs::create_dir_all(&path)?;
        Ok(Room(path))
    }

    /// In how many topics a step writes that isn't about topics.
    pub fn few_topics(&self) -> u64 {
        self.scale.topics.unwrap_or(1)
    }

    /// In how many topics the merged log is.
    pub fn many_topics(&self) -> u64 {
        self.scale.topics.unwrap_or(1_000)
    }

    /// A data directory that holds all entries, written by one author. It is filled once.
    ///
    /// # Errors
    /// See [`BenchError`].
    pub async fn log(&self) -> Result<PathBuf, BenchError> {
        let path = self.log_path();
        if !path.exists() {
            let node = Node::open(Config::new(&path).cluster(cluster())).await?;
            self.fill(&node, 0..self.scale.entries, self.few_topics(), CALLERS).await?;
            settle(&node).await?;
            node.shutdown().await?;
        }
        Ok(path)
    }

    /// Where [`Ground::log`] is, or will be.
    pub fn log_path(&self) -> PathBuf {
        self.root.join("log")
    }

    /// A table that holds all payloads. It is filled once.
    ///
    /// # Errors
    /// See [`BenchError`].
    pub fn table(&self) -> Result<PathBuf, BenchError> {
        let path = self.root.join("table.sqlite");
        let mut table = OneTable::open(&path)?;
        let mut rows = table.rows()?;
        while rows < self.scale.entries {
            let count = ROWS.min(self.scale.entries - rows);
            table.commit(&self.payloads.group(rows, count))?;
            rows += count;
        }
        Ok(path)
    }

    /// A data directory that holds all entries, written by several authors at the same time and
    /// gathered over the network. It is filled once.
    ///
    /// # Errors
    /// See [`BenchError`].
    pub async fn merged_log(&self) -> Result<PathBuf, BenchError> {
        let path = self.root.join("merged");
        if path.exists() {
            return Ok(path);
        }
        let rooms: Result<Vec<Room>, BenchError> =
            (1..self.scale.authors).map(|author| self.room(&format!("author-{author}"))).collect();
        let rooms = rooms?;
        let gathering = Member::make(&path)?;
        let others: Result<Vec<Member>, BenchError> =
            rooms.iter().map(|room| Member::make(room.path())).collect();
        let others = others?;
        let mut nodes = vec![gathering.open(&others).await?];
        for other in &others {
            nodes.push(other.open(std::slice::from_ref(&gathering)).await?);
        }
        let share = self.scale.entries.div_ceil(self.scale.authors);
        let shares = (0..).zip(&nodes).map(|(author, node)| {
            let until = self.scale.entries.min((author + 1) * share);
            self.fill(node, author * share..until, self.many_topics(), 1)
        });
        futures_util::future::try_join_all(shares).await?;
        holds(&nodes[0], self.scale.entries).await?;
        settle(&nodes[0]).await?;
        for node in nodes {
            node.shutdown().await?;
        }
        Ok(path)
    }

    /// Appends the entries with these numbers in groups, and returns how long that took.
    ///
    /// # Errors
    /// An append failed.
    pub async fn fill(
        &self,
        node: &Node,
        numbers: Range<u64>,
        topics: u64,
        callers: u64,
    ) -> Result<Duration, BenchError> {
        let started = Instant::now();
        let mut tasks = JoinSet::new();
        for caller in 0..callers {
            let (node, payloads, end) = (node.clone(), self.payloads.clone(), numbers.end);
            let mut first = numbers.start + caller * GROUP;
            tasks.spawn(async move {
                while first < end {
                    let count = GROUP.min(end - first);
                    node.append_all(payloads.drafts(first, count, topics)?).await?;
                    first += callers * GROUP;
                }
                Ok(())
            });
        }
        all_of(tasks).await?;
        Ok(started.elapsed())
    }

    /// Appends so many entries one by one from [`APPENDERS`] tasks, and returns how long that took.
    ///
    /// # Errors
    /// An append failed.
    pub async fn crowd(&self, node: &Node, count: u64) -> Result<Duration, BenchError> {
        let started = Instant::now();
        let mut tasks = JoinSet::new();
        for appender in 0..APPENDERS {
            let (node, payloads, topics) = (node.clone(), self.payloads.clone(), self.few_topics());
            tasks.spawn(async move {
                let mut number = appender;
                while number < count {
                    node.append(payloads.draft(number, topics)?).await?;
                    number += APPENDERS;
                }
                Ok(())
            });
        }
        all_of(tasks).await?;
        Ok(started.elapsed())
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.root));
    }
}

/// The directory of one step.
pub struct Room(PathBuf);

impl Room {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

/// A node of a measurement over loopback: its directory, and where it will listen.
pub struct Member {
    directory: PathBuf,
    address: PeerAddress,
}

impl Member {
    /// A node that isn't running, in a directory that is made when it is missing.
    ///
    /// # Errors
    /// The directory can't be made, or there is no port.
    pub fn make(directory: &Path) -> Result<Self, BenchError> {
        let node = DataDirectory::open(directory, Some(cluster()))?.identity().node_id();
        let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let address = UdpSocket::bind(loopback)?.local_addr()?;
        Ok(Self { directory: directory.to_owned(), address: PeerAddress { node, address } })
    }

    /// Starts the node.
    ///
    /// # Errors
    /// It can't start.
    pub async fn open(&self, peers: &[Member]) -> Result<Node, BenchError> {
        let mut config = Config::new(&self.directory).listen(self.address.address);
        config.peers = peers.iter().map(|peer| peer.address).collect();
        config.peers.retain(|peer| peer.node != self.address.node);
        Ok(Node::open(config).await?)
    }
}

/// Waits until a node holds so many entries.
///
/// # Errors
/// It stands still.
pub async fn holds(node: &Node, entries: u64) -> Result<(), BenchError> {
    let (mut most, mut since) = (0, Instant::now());
    loop {
        let held = node.read(|reader| reader.watermark()).await?.0;
        if held >= entries {
            return Ok(());
        }
        if held > most {
            (most, since) = (held, Instant::now());
        }
        if since.elapsed() > PATIENCE {
            let what = format!("a node stands still at {held} of {entries} entries");
            return Err(BenchError::Wrong(what));
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Waits until all of these nodes are connected with all others.
///
/// # Errors
/// They aren't in time.
pub async fn connected(nodes: &[Node]) -> Result<(), BenchError> {
    let began = Instant::now();
    for node in nodes {
        while node.status().await?.peers.connected + 1 < nodes.len() {
            if began.elapsed() > PATIENCE {
                return Err(BenchError::Wrong("nodes on loopback don't find each other".into()));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    Ok(())
}

/// Waits until a node has nothing left to do for what was appended so far.
///
/// # Errors
/// The store can't be read or written.
pub async fn settle(node: &Node) -> Result<(), BenchError> {
    Ok(node.seal().await?)
}

/// Waits for all tasks.
///
/// # Errors
/// What one of them returns.
pub async fn all_of(mut tasks: JoinSet<Result<(), BenchError>>) -> Result<(), BenchError> {
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(())
}

/// The cluster of all nodes of a bench.
pub fn cluster() -> ClusterId {
    ClusterId(Identity::from_secret(&[0; 32]).node_id().0)
}
