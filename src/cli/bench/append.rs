//! Appending as a library: in groups, alone, and in a crowd.

use std::time::{Duration, Instant};

use super::figure::{Figure, Samples, rate};
use super::ground::{APPENDERS, CALLERS, GROUP, Ground, cluster, settle};
use super::limit::Tables;
use super::trouble::BenchError;
use crate::node::measure::{OneTable, PlainFile};
use crate::node::{Config, Node};

/// In how many turns node and limit share the time.
const TURNS: u64 = 10;
/// How many entries one appender appends, and after how many the limit has its turn.
const ALONE: u64 = 2_000;
const TURN: u64 = 50;
/// How many entries a crowd appends at most.
pub const CROWD: u64 = 256_000;

/// Groups of 1,000, one after the other; the log stays for the steps that read.
///
/// # Errors
/// See [`BenchError`]; so for every step.
pub async fn bulk(ground: &Ground) -> Result<Vec<Figure>, BenchError> {
    let room = ground.room("bulk")?;
    let mut tables = Tables::make(room.path(), &ground.payloads, 1, GROUP)?;
    let mut file = PlainFile::create(&room.path().join("limit.bin"))?;
    let (mut ours, mut plain) = (Samples::default(), Samples::default());
    let data = room.path().join("log");
    let node = Node::open(Config::new(&data).cluster(cluster())).await?;
    let per_turn = ground.scale.entries.div_ceil(GROUP).div_ceil(TURNS) * GROUP;
    let mut first = 0;
    while first < ground.scale.entries {
        let end = (first + per_turn).min(ground.scale.entries);
        let groups = (end - first).div_ceil(GROUP);
        tables.sample(groups)?;
        let (mut took, mut synced) = (Duration::ZERO, Duration::ZERO);
        for start in (first..end).step_by(GROUP as usize) {
            let count = GROUP.min(end - start);
            synced += file.commit(&ground.payloads.group(start, count))?;
            let drafts = ground.payloads.drafts(start, count, ground.few_topics())?;
            let started = Instant::now();
            node.append_all(drafts).await?;
            took += started.elapsed();
        }
        ours.push(rate(end - first, took));
        plain.push(rate(end - first, synced));
        first = end;
    }
    settle(&node).await?;
    node.shutdown().await?;
    let crowded = at_once(ground).await?;
    if !ground.log_path().exists() {
        std::fs::rename(&data, ground.log_path())?;
    }
    let limit = ("one-table SQLite", tables.rate());
    Ok(vec![
        Figure::new("bulk append, groups of 1,000", ours.median(), "entries/s")
            .beside(limit.0, limit.1),
        Figure::new("  by four callers", crowded, "entries/s").beside(limit.0, limit.1),
        Figure::new("  one, against a file", ours.median(), "entries/s")
            .beside("file + fdatasync", plain.median()),
    ])
}

/// The same groups from several callers, so that nobody waits while the disk does.
async fn at_once(ground: &Ground) -> Result<f64, BenchError> {
    let room = ground.room("callers")?;
    let node = Node::open(Config::new(room.path()).cluster(cluster())).await?;
    let count = ground.scale.entries.min(500_000);
    let took = ground.fill(&node, 0..count, ground.few_topics(), CALLERS).await?;
    node.shutdown().await?;
    Ok(rate(count, took))
}

/// One appender of one entry after the other.
///
/// # Errors
/// See [`bulk`].
pub async fn alone(ground: &Ground) -> Result<Vec<Figure>, BenchError> {
    let room = ground.room("alone")?;
    let node = Node::open(Config::new(room.path().join("node")).cluster(cluster())).await?;
    let mut table = OneTable::open(&room.path().join("limit.sqlite"))?;
    let (mut times, mut commits) = (Samples::default(), Samples::default());
    for turn in (0..ALONE).step_by(TURN as usize) {
        for number in turn..turn + TURN {
            commits.push_time(table.commit(&[ground.payloads.payload(number)])?);
        }
        for number in turn..turn + TURN {
            let draft = ground.payloads.draft(number, ground.few_topics())?;
            let started = Instant::now();
            node.append(draft).await?;
            times.push_time(started.elapsed());
        }
    }
    node.shutdown().await?;
    Ok(vec![
        Figure::new("one appender, median", times.median(), "ms")
            .beside("one SQLite commit", commits.median()),
        Figure::new("  the same, 99 of 100", times.at(0.99), "ms")
            .beside("one SQLite commit", commits.at(0.99)),
    ])
}

/// 64 appenders of one entry each at the same time.
///
/// # Errors
/// See [`bulk`].
pub async fn appenders(ground: &Ground) -> Result<Vec<Figure>, BenchError> {
    let room = ground.room("appenders")?;
    let node = Node::open(Config::new(room.path().join("node")).cluster(cluster())).await?;
    let mut tables = Tables::make(room.path(), &ground.payloads, 1, APPENDERS)?;
    let groups = (ground.scale.entries.min(CROWD) / APPENDERS / TURNS).max(1);
    let mut ours = Samples::default();
    for _ in 0..TURNS {
        tables.sample(groups)?;
        let took = ground.crowd(&node, groups * APPENDERS).await?;
        ours.push(rate(groups * APPENDERS, took));
    }
    node.shutdown().await?;
    Ok(vec![
        Figure::new("64 appenders", ours.median(), "entries/s")
            .beside("SQLite, 64 rows a commit", tables.rate()),
    ])
}
