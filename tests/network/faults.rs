//! What can befall a cluster: each fault begins at some moment, and is lifted at a later one.

use std::fmt;

use fastrand::Rng;

use crate::cluster::Cluster;
use crate::weather::Weather;

/// One fault. Nodes are named by their place in the cluster.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// The process is killed, and started again.
    Kill(usize),
    /// The process is told to end, and started again.
    End(usize),
    /// The process is held, and released.
    Hold(usize),
    /// A node reaches nobody, and nobody reaches it.
    Isolate(usize),
    /// The first two nodes, whichever they are, and the rest don't reach each other.
    Part(usize, usize),
    /// What one node sends to another is lost.
    Mute(usize, usize),
    /// The wire between two nodes has this weather.
    Weather(usize, usize, Weather),
    /// All wires have this weather.
    AllWeather(Weather),
}

/// How many faults of each sort there were.
#[derive(Debug, Default)]
pub struct Count {
    pub kills: usize,
    pub ends: usize,
    pub holds: usize,
    pub partitions: usize,
    pub storms: usize,
}

impl Fault {
    /// Any fault, of nodes that differ.
    pub fn any(nodes: usize, random: &mut Rng) -> Self {
        let one = random.usize(..nodes);
        let other = (one + random.usize(1..nodes)) % nodes;
        match random.u8(..16) {
            0..4 => Self::Kill(one),
            4 => Self::End(one),
            5..8 => Self::Hold(one),
            8..10 => Self::Isolate(one),
            10..12 => Self::Part(one, other),
            12..14 => Self::Mute(one, other),
            14 => Self::Weather(one, other, Weather::any(random)),
            _ => Self::AllWeather(Weather::any(random)),
        }
    }

    /// The node whose process it stops, if it does.
    pub fn stops(self) -> Option<usize> {
        match self {
            Self::Kill(node) | Self::End(node) | Self::Hold(node) => Some(node),
            _ => None,
        }
    }

    pub fn begin(self, cluster: &mut Cluster) {
        let wires = &cluster.wires;
        match self {
            Self::Kill(node) => cluster.kill(node),
            Self::End(node) => cluster.terminate(node),
            Self::Hold(node) => cluster.nodes[node].hold(),
            Self::Isolate(node) => wires.part(&[node]),
            Self::Part(one, other) => wires.part(&[one, other]),
            Self::Mute(from, to) => wires.set(from, to, Weather::CUT),
            Self::Weather(one, other, weather) => wires.set_between(one, other, weather),
            Self::AllWeather(weather) => wires.set_all(weather),
        }
    }

    /// Lifts the fault. Whatever befell a wire, all of them are in fair weather afterwards.
    pub fn lift(self, cluster: &mut Cluster) {
        match self {
            Self::Kill(node) | Self::End(node) => cluster.start_node(node),
            Self::Hold(node) => cluster.nodes[node].release(),
            _ => cluster.wires.set_all(Weather::FAIR),
        }
    }
}

impl Count {
    pub fn add(&mut self, fault: Fault) {
        let count = match fault {
            Fault::Kill(_) => &mut self.kills,
            Fault::End(_) => &mut self.ends,
            Fault::Hold(_) => &mut self.holds,
            Fault::Isolate(_) | Fault::Part(..) | Fault::Mute(..) => &mut self.partitions,
            Fault::Weather(..) | Fault::AllWeather(_) => &mut self.storms,
        };
        *count += 1;
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill(node) => write!(f, "kill n{node}"),
            Self::End(node) => write!(f, "end n{node}"),
            Self::Hold(node) => write!(f, "hold n{node}"),
            Self::Isolate(node) => write!(f, "isolate n{node}"),
            Self::Part(one, other) => write!(f, "part n{one} and n{other} from the rest"),
            Self::Mute(from, to) => write!(f, "mute n{from} to n{to}"),
            Self::Weather(one, other, weather) => write!(f, "n{one} to n{other}: {weather}"),
            Self::AllWeather(weather) => write!(f, "everywhere: {weather}"),
        }
    }
}
