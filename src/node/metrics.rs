//! The node's metrics. Each node has a registry of its own, so that several in one process don't
//! mix.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use super::gauges::Gauges;
use crate::store::{Batch, EmitMark};
use crate::words::NodeId;

/// The status of an HTTP answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Answered {
    /// As a number; there are few.
    pub status: u16,
}

/// What a node counts.
pub struct Metrics {
    registry: Registry,
    /// Entries of this node that were committed.
    pub appended: Counter,
    /// Entries of other nodes that were committed.
    pub replicated: Counter,
    /// Commits.
    pub commits: Counter,
    /// How long a commit took, its sync included.
    pub commit_seconds: Histogram,
    /// Events that the recorder appended.
    pub recorded: Counter,
    /// Events that were dropped, by the gaps' counts.
    pub dropped: Counter,
    /// Gaps that were written.
    pub gaps: Counter,
    /// Changes that wait for a parent.
    pub pending: Gauge,
    /// Changes that were refused: forged, out of place, or too many.
    pub refused: Counter,
    /// Sides of forked segments that were seen: their authors signed two histories.
    pub forks: Counter,
    /// Changes that came and were in the log already.
    pub duplicates: Counter,
    /// Changes that waited for a parent and found no room; they are asked for again.
    pub crowded_out: Counter,
    /// Peers with which a session stands.
    pub peers: Gauge,
    /// Connections that were refused or closed because of what the other side did.
    pub violations: Counter,
    /// Peers that are banned for violations.
    pub banned: Gauge,
    /// Handshakes that others began and that are not done.
    pub handshakes: Gauge,
    /// Handshakes that were refused because too many were half done.
    pub crowded_handshakes: Counter,
    /// Bytes of frames sent to peers, compressed.
    pub sent_bytes: Counter,
    /// Bytes of frames received from peers, compressed.
    pub received_bytes: Counter,
    /// HTTP connections that are open.
    pub http_connections: Gauge,
    /// HTTP requests that were answered, by the status of the answer.
    pub http_answers: Family<Answered, Counter>,
    /// HTTP requests that bore no token that is known.
    pub http_refused_tokens: Counter,
    /// Streams that are served.
    pub http_streams: Gauge,
    /// 1 once a commit has failed: the node writes no more until it is restarted.
    pub poisoned: Gauge,
    /// 1 while the disk is full: the node only reads and sends.
    pub disk_full: Gauge,
    /// Changes on disk that are damaged and not mended yet.
    pub damaged: Gauge,
    /// Entries that the store lost and that are not back yet, as they were counted at the start.
    pub missing: Gauge,
    /// Entries that connected peers say they hold and that are not here.
    pub lacking: Gauge,
    /// Damaged changes that were written again as a peer sent them.
    pub mended: Counter,
    /// Blocks that small changes were packed into.
    pub sealed: Counter,
    /// Bytes of the changes that wait for a parent.
    pub pending_bytes: Gauge,
    /// What is looked up when it is asked for.
    pub gauges: Gauges,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Metrics that stand at zero.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("towline");
        let mut counter = |name: &str, help: &str| {
            let counter = Counter::default();
            registry.register(name, help, counter.clone());
            counter
        };
        let appended = counter("appended_entries", "Entries of this node that were committed");
        let replicated = counter("replicated_entries", "Entries of others that were committed");
        let commits = counter("commits", "Commits, each with one sync");
        let recorded = counter("recorded_events", "Emitted events that were recorded");
        let dropped = counter("dropped_events", "Emitted events that were dropped, by the gaps");
        let gaps = counter("gaps", "Gaps that were written");
        let refused = counter("refused_changes", "Changes that were refused");
        let sealed = counter("sealed_blocks", "Blocks that small changes were packed into");
        let mended = counter("mended_changes", "Damaged changes that a peer has sent again");
        let forks = counter("forks", "Sides of forked segments that were seen");
        let duplicates = counter("duplicate_changes", "Changes that were in the log already");
        let crowded_out = counter("crowded_out_changes", "Changes that found no room to wait");
        let violations = counter("violations", "Connections closed for what the peer did");
        let crowded_handshakes =
            counter("crowded_handshakes", "Handshakes refused because too many were half done");
        let sent_bytes = counter("sent_bytes", "Bytes of frames sent to peers");
        let received_bytes = counter("received_bytes", "Bytes of frames received from peers");
        let http_refused_tokens =
            counter("http_refused_tokens", "HTTP requests without a token that is known");
        let mut gauge = |name: &str, help: &str| {
            let gauge = Gauge::<i64>::default();
            registry.register(name, help, gauge.clone());
            gauge
        };
        let pending = gauge("pending_changes", "Changes that wait for a parent");
        let pending_bytes = gauge("pending_bytes", "Bytes of changes that wait for a parent");
        let peers = gauge("connected_peers", "Peers with which a session stands");
        let banned = gauge("peers_banned", "Peers that are banned for violations");
        let handshakes = gauge("handshakes", "Handshakes that others began and that are not done");
        let http_connections = gauge("http_connections", "HTTP connections that are open");
        let http_streams = gauge("http_streams", "Streams that are served");
        let poisoned = gauge("poisoned", "1 once a commit has failed");
        let disk_full = gauge("disk_full", "1 while the disk is full");
        let damaged = gauge("damaged_changes", "Changes on disk that are damaged");
        let missing = gauge("missing_entries", "Entries that the store lost and asks for");
        let lacking =
            gauge("lacking_entries", "Entries that connected peers hold and this node not");
        let http_answers = Family::default();
        let help = "HTTP requests that were answered, by status";
        registry.register("http_answers", help, http_answers.clone());
        let commit_seconds = Histogram::new(exponential_buckets(0.000_25, 2.0, 14));
        let help = "How long a commit took, its sync included";
        registry.register("commit_seconds", help, commit_seconds.clone());
        let gauges = Gauges::new(&mut registry);
        Self {
            registry,
            appended,
            replicated,
            commits,
            commit_seconds,
            recorded,
            dropped,
            gaps,
            pending,
            refused,
            forks,
            duplicates,
            crowded_out,
            peers,
            violations,
            banned,
            handshakes,
            crowded_handshakes,
            sent_bytes,
            received_bytes,
            http_connections,
            http_answers,
            http_refused_tokens,
            http_streams,
            poisoned,
            disk_full,
            damaged,
            missing,
            lacking,
            mended,
            sealed,
            pending_bytes,
            gauges,
        }
    }

    /// Counts on from what earlier lifetimes recorded.
    pub fn resume(&self, emits: &EmitMark) {
        self.recorded.inc_by(emits.recorded);
        self.dropped.inc_by(emits.dropped);
        self.gaps.inc_by(emits.gaps);
    }

    /// Counts a commit.
    pub fn committed(&self, batch: &Batch, took: Duration, me: NodeId) {
        self.commits.inc();
        self.commit_seconds.observe(took.as_secs_f64());
        for arrival in &batch.arrivals {
            let count = u64::from(arrival.change.count);
            let whose = if arrival.change.author == me { &self.appended } else { &self.replicated };
            whose.inc_by(count);
        }
        if let Some(mark) = batch.emits {
            self.recorded.inc_by(mark.recorded.saturating_sub(self.recorded.get()));
            self.dropped.inc_by(mark.dropped.saturating_sub(self.dropped.get()));
            self.gaps.inc_by(mark.gaps.saturating_sub(self.gaps.get()));
        }
    }

    /// The metrics in the OpenMetrics text format.
    pub fn open_metrics(&self) -> String {
        let mut text = String::new();
        // Writing to a String can't fail.
        let written = encode(&mut text, &self.registry);
        debug_assert!(written.is_ok());
        text
    }

    /// The metrics in the classic Prometheus text format, in which a counter's name carries
    /// `_total` in its type line, too, and nothing marks the end.
    pub fn classic(&self) -> String {
        classic_counters(self.open_metrics().trim_end_matches("# EOF\n"))
    }
}

/// Renames counters in HELP and TYPE lines as the classic format wants them.
fn classic_counters(text: &str) -> String {
    let counters: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter"))
        .collect();
    let rename = |line: &str| {
        let Some((kind, rest)) = ["# HELP ", "# TYPE "]
            .into_iter()
            .find_map(|kind| Some((kind, line.strip_prefix(kind)?)))
        else {
            return line.to_owned() + "\n";
        };
        match rest.split_once(' ') {
            Some((name, more)) if counters.contains(&name) => {
                format!("{kind}{name}_total {more}\n")
            }
            _ => line.to_owned() + "\n",
        }
    };
    text.lines().map(rename).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_classic_format_names_counters_with_total() {
        let metrics = Metrics::new();
        metrics.commits.inc();
        let text = metrics.classic();
        assert!(text.contains("# TYPE towline_commits_total counter\n"), "{text}");
        assert!(text.contains("\ntowline_commits_total 1\n"), "{text}");
        assert!(text.contains("# TYPE towline_pending_changes gauge\n"));
        assert!(!text.contains("EOF"));
    }
}
