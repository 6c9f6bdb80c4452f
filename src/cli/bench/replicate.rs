//! Several nodes over loopback: from one to the other, to both others, and catching up.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

use super::append::CROWD;
use super::figure::{Figure, Samples, rate};
use super::ground::{APPENDERS, CALLERS, GROUP, Ground, Member, connected, holds, settle};
use super::limit::Tables;
use super::trouble::BenchError;
use crate::node::measure::OneTable;
use crate::node::{Filter, Followed, From, Node};
use crate::words::Seq;

/// How many entries are timed from one node to the other.
const LATENCIES: u64 = 1_000;
/// How long lies between two of them: 200 a second, whether or not the last one has arrived.
const PACE: Duration = Duration::from_millis(5);
/// How long the other nodes may take for everything.
const PATIENCE: Duration = Duration::from_secs(600);

/// From the call of an append on one node until a follower of the other has the entry.
///
/// # Errors
/// See [`BenchError`]; so for every step.
pub async fn latency(ground: &Ground) -> Result<Vec<Figure>, BenchError> {
    let room = ground.room("latency")?;
    let members = [Member::make(&room.path().join("a"))?, Member::make(&room.path().join("b"))?];
    let nodes = [members[0].open(&members).await?, members[1].open(&members).await?];
    connected(&nodes).await?;
    let mut tables = [
        OneTable::open(&room.path().join("a.sqlite"))?,
        OneTable::open(&room.path().join("b.sqlite"))?,
    ];
    let mut commits = Samples::default();
    for number in 0..LATENCIES / 5 {
        let row = [ground.payloads.payload(number)];
        commits.push_time(tables[0].commit(&row)? + tables[1].commit(&row)?);
        tokio::time::sleep(PACE / 2).await;
    }
    let times = one_way(ground, &nodes[0], &nodes[1]).await?;
    for node in nodes {
        node.shutdown().await?;
    }
    Ok(vec![
        Figure::new("append on A until readable on B, 200/s, median", times.median(), "ms")
            .beside("two SQLite commits", commits.median()),
        Figure::new("  the same, 99 of 100", times.at(0.99), "ms")
            .beside("two SQLite commits", commits.at(0.99)),
    ])
}

async fn one_way(ground: &Ground, a: &Node, b: &Node) -> Result<Samples, BenchError> {
    // The first append waits until the nodes have told each other what they hold.
    a.append(ground.payloads.draft(0, 1)?).await?;
    holds(b, 1).await?;
    let mut follow = b.follow(Filter::all(), From::End).await?;
    let seeing = tokio::spawn(async move {
        let mut seen = HashMap::new();
        while seen.len() < LATENCIES as usize {
            match follow.next().await? {
                Some(Followed::Entry { entry, .. }) => {
                    seen.insert(entry.seq, Instant::now());
                }
                Some(Followed::CaughtUp | Followed::Reset) => {}
                None => break,
            }
        }
        Ok::<_, BenchError>(seen)
    });
    let (a, payloads, runtime) = (a.clone(), ground.payloads.clone(), Handle::current());
    // A thread of its own, for the runtime's timers go off at whole milliseconds.
    let pacing = tokio::task::spawn_blocking(move || {
        let (began, mut appends) = (Instant::now(), Vec::new());
        for (number, pace) in (1..=LATENCIES).zip(1..) {
            let draft = payloads.draft(number, 1)?;
            let due = began + PACE * pace;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            let a = a.clone();
            appends.push((due, runtime.spawn(async move { a.append(draft).await })));
        }
        Ok::<_, BenchError>(appends)
    });
    let mut called: HashMap<Seq, Instant> = HashMap::new();
    for (due, append) in pacing.await?? {
        called.insert(append.await??.id.seq, due);
    }
    let mut times = Samples::default();
    for (seq, seen) in seeing.await?? {
        let due = called.get(&seq).copied().unwrap_or(seen);
        times.push_time(seen.saturating_duration_since(due));
    }
    Ok(times)
}

/// Several nodes: one appends until all others have said that they hold everything.
///
/// # Errors
/// See [`latency`].
pub async fn cluster(ground: &Ground) -> Result<Vec<Figure>, BenchError> {
    let room = ground.room("cluster")?;
    let member = |number: u64| Member::make(&room.path().join(format!("node-{number}")));
    let members =
        (0..ground.scale.nodes).map(member).collect::<Result<Vec<Member>, BenchError>>()?;
    let mut nodes = Vec::new();
    for member in &members {
        nodes.push(member.open(&members).await?);
    }
    connected(&nodes).await?;
    let mut bulk_limit = Tables::make(room.path(), &ground.payloads, nodes.len(), GROUP)?;
    let mut crowd_limit = Tables::make(room.path(), &ground.payloads, nodes.len(), APPENDERS)?;
    let crowd = ground.scale.entries.min(CROWD);
    bulk_limit.sample_half(crowd)?;
    crowd_limit.sample_half(crowd / 4)?;

    let started = Instant::now();
    ground.fill(&nodes[0], 0..ground.scale.entries, ground.few_topics(), CALLERS).await?;
    let others = nodes.len() - 1;
    nodes[0].wait_replicated(Seq(ground.scale.entries), others, PATIENCE).await?;
    let bulk = rate(ground.scale.entries, started.elapsed());
    let started = Instant::now();
    ground.crowd(&nodes[0], crowd).await?;
    nodes[0].wait_replicated(Seq(ground.scale.entries + crowd), others, PATIENCE).await?;
    let crowded = rate(crowd, started.elapsed());

    bulk_limit.sample_half(crowd)?;
    crowd_limit.sample_half(crowd / 4)?;
    for node in nodes {
        node.shutdown().await?;
    }
    let (count, s) = (ground.scale.nodes, if ground.scale.nodes == 1 { "" } else { "s" });
    Ok(vec![
        Figure::new(format!("{count} node{s}, bulk on one until all hold all"), bulk, "entries/s")
            .beside(format!("{count} SQLite table{s}"), bulk_limit.rate()),
        Figure::new(format!("{count} node{s}, 64 appenders on one"), crowded, "entries/s")
            .beside(format!("{count} table{s}, 64 rows a commit"), crowd_limit.rate()),
    ])
}

/// An empty node gets everything from one peer, which holds it already.
///
/// # Errors
/// See [`latency`].
pub async fn catch_up(ground: &Ground) -> Result<Vec<Figure>, BenchError> {
    let full = Member::make(&ground.log().await?)?;
    let room = ground.room("catch-up")?;
    let empty = Member::make(&room.path().join("b"))?;
    let mut tables = Tables::make(room.path(), &ground.payloads, 1, GROUP)?;
    tables.sample_half(ground.scale.entries.min(CROWD))?;
    let members = [full, empty];
    let a = members[0].open(&members).await?;
    let started = Instant::now();
    let b = members[1].open(&members).await?;
    holds(&b, ground.scale.entries).await?;
    let held = rate(ground.scale.entries, started.elapsed());
    settle(&b).await?;
    let settled = rate(ground.scale.entries, started.elapsed());
    tables.sample_half(ground.scale.entries.min(CROWD))?;
    a.shutdown().await?;
    b.shutdown().await?;
    let limit = ("one-table SQLite", tables.rate());
    Ok(vec![
        Figure::new("an empty node catches up with one peer", held, "entries/s")
            .beside(limit.0, limit.1),
        Figure::new("  until all of it is sealed", settled, "entries/s").beside(limit.0, limit.1),
    ])
}
