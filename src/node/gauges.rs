//! Metrics that are looked up when they are asked for: what a status says, as numbers.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::metrics::Metrics;
use super::{Node, NodeReport, State, Status, wall_millis};
use crate::store::StoreError;

/// A peer by its id. There are as many as the node was told of.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PeerLabel {
    peer: String,
}

/// What is looked up.
pub struct Gauges {
    readable: Gauge,
    degraded: Gauge,
    authors: Gauge,
    branched: Gauge,
    disk_bytes: Gauge,
    entries: Gauge,
    emitted: Counter,
    removed: Counter,
    configured: Gauge,
    skew: Gauge,
    arriving: Gauge,
    resident: Gauge,
    lag: Family<PeerLabel, Gauge>,
    connected: Family<PeerLabel, Gauge>,
}

impl Gauges {
    /// Gauges that stand at zero, in a registry.
    pub fn new(registry: &mut Registry) -> Self {
        let started = Gauge::<f64, AtomicU64>::default();
        started.set(wall_millis() as f64 / 1e3);
        registry.register("start_time_seconds", "When this lifetime began, since 1970", started);
        let emitted = Counter::default();
        registry.register("emitted_events", "Events that were emitted", emitted.clone());
        let removed = Counter::default();
        let help = "Entries that were held here and were removed";
        registry.register("removed_entries", help, removed.clone());
        let lag = Family::default();
        let help = "Entries held here that the peer has not acknowledged";
        registry.register("peer_lag_entries", help, lag.clone());
        let connected = Family::default();
        registry.register("peer_connected", "1 while a session with it stands", connected.clone());
        let mut gauge = |name: &str, help: &str| {
            let gauge = Gauge::<i64>::default();
            registry.register(name, help, gauge.clone());
            gauge
        };
        Self {
            readable: gauge("store_readable", "1 while the store can be read"),
            degraded: gauge("degraded", "1 while a named peer or an entry is missing"),
            authors: gauge("authors", "Authors in the log"),
            branched: gauge("branched_authors", "Authors that ever branched"),
            disk_bytes: gauge("disk_bytes", "Bytes on disk"),
            configured: gauge("configured_peers", "Peers that were named"),
            skew: gauge("skew_seconds", "How far the newest entry is ahead, if over a minute"),
            arriving: gauge("arriving_entries", "Entries that came in a second, while some lack"),
            resident: gauge("resident_memory_bytes", "Memory of the process that is resident"),
            entries: gauge("entries", "Entries in the log"),
            emitted,
            removed,
            lag,
            connected,
        }
    }

    fn show(&self, status: &Status, nodes: &[NodeReport]) {
        self.degraded.set(i64::from(status.state == State::Degraded));
        self.authors.set(number(status.authors as u64));
        self.branched.set(number(status.branched as u64));
        self.disk_bytes.set(number(status.bytes));
        self.configured.set(number(status.peers.configured as u64));
        self.entries.set(number(status.entries));
        self.removed.inc_by(status.removed.saturating_sub(self.removed.get()));
        self.emitted.inc_by(status.emitted.saturating_sub(self.emitted.get()));
        let rate = status.catching_up.as_ref().map_or(0, |progress| progress.per_second);
        self.arriving.set(number(rate));
        let skew = nodes.iter().map(|node| node.skew_seconds).max();
        self.skew.set(number(skew.unwrap_or_default()));
        for node in nodes.iter().filter(|node| !node.is_self && node.address.is_some()) {
            let label = PeerLabel { peer: node.node.to_string() };
            self.lag.get_or_create(&label).set(number(node.lag));
            let connected = i64::from(node.state == "connected");
            self.connected.get_or_create(&label).set(connected);
        }
    }
}

impl Node {
    /// The node's metrics, with those that have to be looked up. Where the store can't be read they
    /// are as they were, and `store_readable` says so: what else is counted matters then more than ever.
    pub async fn looked_up(&self) -> &Metrics {
        let metrics = self.metrics();
        let gauges = &metrics.gauges;
        let looked = self.look_up().await;
        gauges.readable.set(i64::from(looked.is_ok()));
        if let Ok((status, nodes)) = looked {
            gauges.show(&status, &nodes);
        }
        gauges.resident.set(number(resident_bytes().unwrap_or_default()));
        metrics
    }

    async fn look_up(&self) -> Result<(Status, Vec<NodeReport>), StoreError> {
        Ok((self.status().await?, self.nodes().await?))
    }
}

fn number(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// What is resident of this process, where the system tells.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1_024)
}
