//! Measurements of whole nodes, each beside its limit from the same run.
//!
//! `towline bench` prints them. Every measurement takes a fresh directory, runs real nodes with
//! real syncs, and compares with [`crate::store::baseline`] over the same bytes on the same disk.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::task::JoinSet;

use super::{
    AppendError, Config, EmitError, Filter, Followed, From, Node, NodeError, PeerAddress, Query,
    QueryError,
};
use crate::store::StoreError;
use crate::store::baseline::{self, OneTable};
use crate::words::{ClusterId, Draft, DraftError, Identity};

/// How many entries a bulk append has.
const GROUP: usize = 1_000;
/// How many entries one appender appends, one after the other.
const ALONE: usize = 2_000;
/// How many of them come before the limit has its turn.
const TURN: usize = 50;
/// How many tasks append at the same time.
const APPENDERS: usize = 64;
/// How many entries are timed from one node to the other.
const LATENCIES: usize = 400;
/// How long lies between two of them.
const LATENCY_PACE: Duration = Duration::from_millis(5);

/// Says why a measurement did not come about.
#[derive(Debug, thiserror::Error)]
pub enum MeasureError {
    /// A node can't be opened.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// An append failed.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// An emit failed.
    #[error(transparent)]
    Emit(#[from] EmitError),
    /// A query or a follower failed.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// A store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A payload can't be a draft.
    #[error(transparent)]
    Draft(#[from] DraftError),
    /// A file can't be made or read.
    #[error("can't use the directory: {0}")]
    Io(#[from] std::io::Error),
    /// A task ended.
    #[error("a task ended: {0}")]
    Task(#[from] tokio::task::JoinError),
}

/// One figure beside its limit.
#[derive(Clone, Debug, Serialize)]
pub struct Figure {
    /// What was measured.
    pub what: &'static str,
    /// The figure.
    pub value: f64,
    /// In which unit.
    pub unit: &'static str,
    /// What it is held against.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<Limit>,
}

/// What a figure is held against.
#[derive(Clone, Debug, Serialize)]
pub struct Limit {
    /// What it is.
    pub of: &'static str,
    /// The limit, in the figure's unit.
    pub value: f64,
    /// The figure divided by it.
    pub ratio: f64,
}

impl Figure {
    fn new(what: &'static str, value: f64, unit: &'static str) -> Self {
        Self { what, value, unit, limit: None }
    }

    fn beside(mut self, of: &'static str, value: f64) -> Self {
        self.limit = Some(Limit { of, value, ratio: self.value / value });
        self
    }
}

/// A run of measurements over the same payloads.
pub struct Bench<'a> {
    directory: &'a Path,
    payloads: Vec<Vec<u8>>,
}

impl<'a> Bench<'a> {
    /// Measurements in a directory that can be filled and will not be emptied.
    pub fn new(directory: &'a Path, payloads: Vec<Vec<u8>>) -> Self {
        Self { directory, payloads }
    }

    fn drafts(&self) -> Result<Vec<Draft>, DraftError> {
        let draft =
            |payload: &Vec<u8>| Draft::bytes("bench", "bench.entry", "text/plain", payload.clone());
        self.payloads.iter().map(draft).collect()
    }

    /// Bulk appends in groups of 1,000, one after the other; then what the filled node costs.
    ///
    /// # Errors
    /// See [`MeasureError`].
    pub async fn bulk(&self) -> Result<Vec<Figure>, MeasureError> {
        let count = self.payloads.len() as f64;
        let raw: usize = self.payloads.iter().map(Vec::len).sum();
        let file = baseline::plain_file(&self.directory.join("limit.bin"), &self.payloads, GROUP)?;
        let mut table = OneTable::create(&self.directory.join("bulk.sqlite"))?;
        let table = count / seconds(table.commit_groups(&self.payloads, GROUP)?);
        let data = self.directory.join("bulk");
        let node = Node::open(Config::new(&data)).await?;
        let drafts = self.drafts()?;
        let started = Instant::now();
        for group in drafts.chunks(GROUP) {
            node.append_all(group.to_vec()).await?;
        }
        let rate = count / seconds(started.elapsed());
        let mut figures = vec![
            Figure::new("bulk append, groups of 1,000", rate, "entries/s")
                .beside("one-table SQLite", table),
            Figure::new("  the same, against a plain file", rate, "entries/s")
                .beside("file + fdatasync", count / seconds(file)),
        ];
        figures.push(self.follow(&node).await?);
        figures.push(self.scan(&node).await?);
        node.shutdown().await?;
        drop(node);
        let started = Instant::now();
        let node = Node::open(Config::new(&data)).await?;
        node.query(Query::merged().reverse().limit(1)).await?;
        let opened = seconds(started.elapsed()) * 1e3;
        figures.push(Figure::new("restart until the first answer", opened, "ms"));
        let bytes = node.status().await?.bytes as f64;
        let per_entry = Figure::new("bytes on disk per entry", bytes / count, "bytes");
        figures.push(per_entry.beside("raw payload", raw as f64 / count));
        node.shutdown().await?;
        Ok(figures)
    }

    async fn follow(&self, node: &Node) -> Result<Figure, MeasureError> {
        let started = Instant::now();
        let mut follow = node.follow(Filter::all(), From::Start).await?;
        let mut seen = 0u64;
        while let Some(Followed::Entry { .. }) = follow.next().await? {
            seen += 1;
        }
        let rate = seen as f64 / seconds(started.elapsed());
        Ok(Figure::new("follow from the start", rate, "entries/s"))
    }

    async fn scan(&self, node: &Node) -> Result<Figure, MeasureError> {
        let started = Instant::now();
        let mut query = Query::merged().limit(10_000);
        let mut seen = 0;
        loop {
            let page = node.query(query.clone()).await?;
            seen += page.entries.len();
            match page.next {
                Some(next) => query = query.after(next),
                None => break,
            }
        }
        let rate = seen as f64 / seconds(started.elapsed());
        Ok(Figure::new("query everything in merged order", rate, "entries/s"))
    }

    /// One appender of one entry each, and 64 at the same time.
    ///
    /// # Errors
    /// See [`MeasureError`].
    pub async fn appenders(&self) -> Result<Vec<Figure>, MeasureError> {
        let drafts = self.drafts()?;
        let node = Node::open(Config::new(self.directory.join("appenders"))).await?;
        let mut table = OneTable::create(&self.directory.join("single.sqlite"))?;
        let (mut times, mut commits) = (Vec::new(), Vec::new());
        // They take turns, so that a disk whose speed drifts is the same for both.
        for _ in 0..ALONE / TURN {
            for at in (0..TURN).map(|turn| turn % drafts.len()) {
                commits.push(table.commit(&self.payloads[at..=at])?);
            }
            for at in (0..TURN).map(|turn| turn % drafts.len()) {
                let started = Instant::now();
                node.append(drafts[at].clone()).await?;
                times.push(started.elapsed());
            }
        }
        let (one, commit) = (seconds(median(&mut times)), seconds(median(&mut commits)));

        let crowd: Vec<Draft> = drafts.iter().cycle().take(APPENDERS * 1_000).cloned().collect();
        let payloads: Vec<Vec<u8>> = crowd.iter().map(|draft| draft.data.to_vec()).collect();
        let mut table = OneTable::create(&self.directory.join("crowd.sqlite"))?;
        let grouped = payloads.len() as f64 / seconds(table.commit_groups(&payloads, APPENDERS)?);
        let started = Instant::now();
        let mut tasks = JoinSet::new();
        for share in crowd.chunks(crowd.len() / APPENDERS) {
            tasks.spawn(append_each(node.clone(), share.to_vec()));
        }
        while let Some(done) = tasks.join_next().await {
            done??;
        }
        let rate = crowd.len() as f64 / seconds(started.elapsed());
        node.shutdown().await?;
        Ok(vec![
            Figure::new("one appender, median", one * 1e6, "µs")
                .beside("one SQLite commit", commit * 1e6),
            Figure::new("64 appenders", rate, "entries/s")
                .beside("SQLite, 64 rows a commit", grouped),
            Figure::new("  the same, against one appender", rate, "entries/s")
                .beside("one appender", 1.0 / one),
        ])
    }

    /// Emitting as fast as a thread can.
    ///
    /// # Errors
    /// See [`MeasureError`].
    pub async fn emit(&self) -> Result<Vec<Figure>, MeasureError> {
        let node = Node::open(Config::new(self.directory.join("emit"))).await?;
        let drafts = self.drafts()?;
        let count = drafts.len() as f64;
        let emitter = node.clone();
        let emitting = tokio::task::spawn_blocking(move || {
            let started = Instant::now();
            for draft in drafts {
                emitter.emit(draft)?;
            }
            Ok::<_, EmitError>(started.elapsed())
        });
        let took = emitting.await??;
        node.shutdown().await?;
        let node = Node::open(Config::new(self.directory.join("emit"))).await?;
        let status = node.status().await?;
        let recorded = status.recorded as f64 / count * 100.0;
        node.shutdown().await?;
        Ok(vec![
            Figure::new("emit, one thread, flat out", count / seconds(took), "events/s"),
            Figure::new("  recorded of these (the rest is stated as gaps)", recorded, "%"),
        ])
    }

    /// Two nodes on loopback: catching up from nothing, and from one to the other at light load.
    ///
    /// # Errors
    /// See [`MeasureError`].
    pub async fn replication(&self) -> Result<Vec<Figure>, MeasureError> {
        let (first, second) = (self.member("first")?, self.member("second")?);
        let a = self.open("first", &first, &second).await?;
        for group in self.drafts()?.chunks(GROUP) {
            a.append_all(group.to_vec()).await?;
        }
        let count = self.payloads.len() as u64;
        let started = Instant::now();
        let b = self.open("second", &second, &first).await?;
        let mut follow = b.follow(Filter::all(), From::Start).await?;
        let mut seen = 0;
        while seen < count {
            match follow.next().await? {
                Some(Followed::Entry { .. }) => seen += 1,
                Some(Followed::CaughtUp) => {}
                None => break,
            }
        }
        let caught_up = count as f64 / seconds(started.elapsed());
        let mut times = Vec::with_capacity(LATENCIES);
        let draft = self.drafts()?.swap_remove(0);
        for _ in 0..LATENCIES {
            a.append(draft.clone()).await?;
            let acknowledged = Instant::now();
            while let Some(Followed::CaughtUp) = follow.next().await? {}
            times.push(acknowledged.elapsed());
            tokio::time::sleep(LATENCY_PACE).await;
        }
        let middle = seconds(median(&mut times)) * 1e3;
        let late = seconds(times[times.len() * 99 / 100]) * 1e3;
        a.shutdown().await?;
        b.shutdown().await?;
        Ok(vec![
            Figure::new("an empty node catches up", caught_up, "entries/s"),
            Figure::new("from the ack until readable on the peer, median", middle, "ms"),
            Figure::new("  the same, 99 of 100", late, "ms"),
        ])
    }

    fn member(&self, name: &str) -> Result<PeerAddress, MeasureError> {
        let directory = self.directory.join(name);
        let made = super::DataDirectory::open(&directory, Some(bench_cluster()));
        let node = made.map_err(NodeError::from)?.identity().node_id();
        let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let address = std::net::UdpSocket::bind(loopback)?.local_addr()?;
        Ok(PeerAddress { node, address })
    }

    async fn open(
        &self,
        name: &str,
        own: &PeerAddress,
        other: &PeerAddress,
    ) -> Result<Node, MeasureError> {
        let config = Config::new(self.directory.join(name)).listen(own.address).peer(*other);
        Ok(Node::open(config).await?)
    }
}

async fn append_each(node: Node, drafts: Vec<Draft>) -> Result<(), AppendError> {
    for draft in drafts {
        node.append(draft).await?;
    }
    Ok(())
}

fn bench_cluster() -> ClusterId {
    ClusterId(Identity::from_secret(&[0; 32]).node_id().0)
}

fn seconds(time: Duration) -> f64 {
    time.as_secs_f64()
}

/// Sorts the times, and returns the middle one.
fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// Lines of JSON of about 200 bytes, as an agent host might write them.
pub fn sample_payloads(count: usize) -> Vec<Vec<u8>> {
    const TOOLS: [&str; 5] = ["read_file", "run_tests", "search", "apply_patch", "open_page"];
    const STATES: [&str; 4] = ["queued", "running", "done", "failed"];
    let payload = |n: usize| {
        let (tool, state) = (TOOLS[n % TOOLS.len()], STATES[(n / 7) % STATES.len()]);
        let digest = (n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let text = format!(
            r#"{{"session":"s-{:04}","step":{n},"tool":"{tool}","state":"{state}","took_ms":{},"digest":"{digest:016x}","host":"edge-{:02}","message":"step {n} of the plan is {state} after the tool answered"}}"#,
            n % 997,
            digest % 4_000,
            n % 16,
        );
        text.into_bytes()
    };
    (0..count).map(payload).collect()
}
