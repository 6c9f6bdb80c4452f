//! Sealing many small changes, and what those notice who append meanwhile.

use std::time::{Duration, Instant};

use super::figure::{Figure, Samples, rate};
use super::ground::{Ground, cluster, settle};
use super::trouble::BenchError;
use crate::node::{Config, Node};

/// How many entries are appended alone beforehand, for comparison.
const BEFORE: u64 = 2_000;
/// How many entries there are to seal: as long as no more arrive, and fast, sealing waits.
const BACKLOG: u64 = 120_000;
/// One appender that is not in a hurry: what it notices is the sealing, and not itself.
const PAUSE: Duration = Duration::from_millis(1);

/// Seals what many appenders have left behind while one appender goes on.
///
/// # Errors
/// See [`BenchError`].
pub async fn sealing(ground: &Ground) -> Result<Vec<Figure>, BenchError> {
    let room = ground.room("sealing")?;
    let node = Node::open(Config::new(room.path()).cluster(cluster())).await?;
    let mut before = Samples::default();
    for number in 0..BEFORE {
        before.push_time(timed_append(ground, &node, number).await?);
    }
    settle(&node).await?;
    let backlog = ground.scale.entries.min(BACKLOG);
    ground.crowd(&node, backlog).await?;
    let sealing = {
        let node = node.clone();
        tokio::spawn(async move {
            let started = Instant::now();
            settle(&node).await.map(|()| started.elapsed())
        })
    };
    let (mut during, mut number) = (Samples::default(), BEFORE);
    while !sealing.is_finished() {
        during.push_time(timed_append(ground, &node, number).await?);
        number += 1;
    }
    let took = sealing.await??;
    node.shutdown().await?;
    let limit = |share| ("one appender before", before.at(share));
    Ok(vec![
        Figure::new("small changes sealed", rate(backlog, took), "entries/s"),
        Figure::new("  one appender meanwhile, median", during.median(), "ms")
            .beside(limit(0.5).0, limit(0.5).1),
        Figure::new("  the same, 99 of 100", during.at(0.99), "ms")
            .beside(limit(0.99).0, limit(0.99).1),
    ])
}

/// Appends one entry, and pauses. Returns how long the append took.
///
/// # Errors
/// See [`BenchError`].
pub async fn timed_append(
    ground: &Ground,
    node: &Node,
    number: u64,
) -> Result<Duration, BenchError> {
    let draft = ground.payloads.draft(number, ground.few_topics())?;
    let started = Instant::now();
    node.append(draft).await?;
    let took = started.elapsed();
    tokio::time::sleep(PAUSE).await;
    Ok(took)
}
