//! A cluster of real processes, each of which reaches every other one through a wire of its own.

use std::path::PathBuf;

use fastrand::Rng;
use tempfile::TempDir;

use crate::door::Status;
use crate::node::Node;
use crate::patience::{until, until_some};
use crate::vitals::Vitals;
use crate::wire::Wires;

/// The environment variable that replays a run.
const SEED: &str = "NETWORK_SEED";
/// So short a ring is overrun by a busy client now and then, and its losses are gaps.
const EMIT_RING: &str = "256";

/// Nodes, and the wires between them.
pub struct Cluster {
    pub nodes: Vec<Node>,
    pub wires: Wires,
    pub vitals: Vitals,
    /// All that is random in a test comes from here.
    pub random: Rng,
    directory: TempDir,
}

impl Cluster {
    /// Makes so many nodes and wires, in fair weather; none is started. The seed is printed, and
    /// taken from the environment when it is there.
    pub fn make(nodes: usize) -> Self {
        let given = std::env::var(SEED).ok();
        let seed = given.map_or_else(|| fastrand::u64(..), |seed| seed.parse().unwrap());
        println!("{SEED}={seed}");
        Self::with_seed(nodes, seed)
    }

    /// As [`Cluster::make`], with this seed.
    pub fn with_seed(count: usize, seed: u64) -> Self {
        let mut random = Rng::with_seed(seed);
        let directory = tempfile::tempdir().unwrap();
        let mut nodes: Vec<Node> = Vec::new();
        for at in 0..count {
            let name = format!("n{at}");
            let cluster = nodes.first().map(|first| first.cluster.clone());
            nodes.push(Node::make(&directory.path().join(&name), &name, cluster.as_deref()));
        }
        let wires = Wires::lay(count, random.u64(..));
        Self { nodes, wires, vitals: Vitals::watch(count), random, directory }
    }

    /// A cluster whose nodes all run and are connected with each other.
    pub fn start(nodes: usize) -> Self {
        let mut cluster = Self::make(nodes);
        cluster.start_all();
        cluster.until_connected();
        cluster
    }

    /// Starts every node that doesn't run.
    pub fn start_all(&mut self) {
        for node in 0..self.nodes.len() {
            if self.nodes[node].pid().is_none() {
                self.start_node(node);
            }
        }
    }

    /// Starts a node that names all others.
    pub fn start_node(&mut self, node: usize) {
        let others = (0..self.nodes.len()).filter(|other| *other != node);
        self.start_node_naming(node, &others.collect::<Vec<_>>());
    }

    /// Starts a node that names and admits these others.
    pub fn start_node_naming(&mut self, node: usize, others: &[usize]) {
        let mut arguments = vec!["--emit-ring".to_owned(), EMIT_RING.to_owned()];
        for other in others {
            let address = self.wires.address(node, *other);
            arguments.push("--peer".to_owned());
            arguments.push(format!("{}@{address}", self.nodes[*other].id));
        }
        let listens = self.nodes[node].start(&arguments);
        self.wires.place(node, Some(listens));
        self.vitals.follow(node, self.nodes[node].pid());
    }

    /// Ends a node as a supervisor does; it must end well.
    pub fn terminate(&mut self, node: usize) {
        self.unfollow(node);
        let status = self.nodes[node].terminate();
        assert!(status.success(), "{}: {status}", self.nodes[node].name);
    }

    /// Ends a node without a warning.
    pub fn kill(&mut self, node: usize) {
        self.unfollow(node);
        self.nodes[node].kill();
    }

    fn unfollow(&self, node: usize) {
        self.vitals.peaks();
        self.vitals.follow(node, None);
        self.wires.place(node, None);
    }

    /// Waits until every node says that it is connected with every other one.
    pub fn until_connected(&self) {
        until("every node is connected with every other one", || {
            self.nodes.iter().all(|node| {
                let status = node.door.status();
                status.is_some_and(|status| status.peers.connected == self.nodes.len() - 1)
            })
        });
    }

    /// Waits until a node knows that it is not connected with another one.
    pub fn until_lost(&self, node: usize, other: usize) {
        until(&format!("n{node} has lost n{other}"), || {
            let contact = self.nodes[node].door.contact(&self.nodes[other].id);
            contact.is_some_and(|contact| contact != "connected")
        });
    }

    /// Waits until these nodes hold the same, and nothing that they emitted is under way.
    pub fn until_same(&self, side: &[usize]) {
        until(&format!("{side:?} hold the same"), || {
            let statuses = side.iter().map(|node| self.nodes[*node].door.status());
            let Some(statuses) = statuses.collect::<Option<Vec<_>>>() else { return false };
            let same = |status: &Status| status.frontier == statuses[0].frontier;
            statuses.iter().all(|status| same(status) && status.is_at_rest())
        });
    }

    /// What a node says of itself.
    pub fn status(&self, node: usize) -> Status {
        let name = &self.nodes[node].name;
        until_some(&format!("{name} answers"), || self.nodes[node].door.status())
    }

    /// A file of one node, outside of its data directory.
    pub fn file(&self, node: usize, name: &str) -> PathBuf {
        self.directory.path().join(&self.nodes[node].name).join(name)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for node in &self.nodes {
                println!("{} {} said:\n{}\n", node.name, node.id, node.last_lines());
            }
        }
    }
}
