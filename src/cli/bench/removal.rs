//! Removing half of the log, and what those notice who append meanwhile.

use std::time::Instant;

use super::figure::{Figure, Samples, rate};
use super::ground::{CALLERS, Ground, cluster, settle};
use super::sealing::timed_append;
use super::trouble::BenchError;
use crate::node::{Config, Node};
use crate::words::Offset;

/// How many entries are appended alone beforehand, for comparison.
const BEFORE: u64 = 2_000;

/// Lets go half of a log while one appender goes on.
///
/// # Errors
/// See [`BenchError`].
pub async fn removal(ground: &Ground) -> Result<Vec<Figure>, BenchError> {
    let room = ground.room("removal")?;
    let node = Node::open(Config::new(room.path()).cluster(cluster())).await?;
    ground.fill(&node, 0..ground.scale.entries, ground.few_topics(), CALLERS).await?;
    settle(&node).await?;
    let mut before = Samples::default();
    for number in 0..BEFORE {
        before.push_time(timed_append(ground, &node, number).await?);
    }
    let removing = {
        let (node, half) = (node.clone(), Offset(ground.scale.entries / 2));
        tokio::spawn(async move {
            let started = Instant::now();
            node.let_go(Some(half)).await.map(|removed| (removed, started.elapsed()))
        })
    };
    let (mut during, mut number) = (Samples::default(), BEFORE);
    while !removing.is_finished() {
        during.push_time(timed_append(ground, &node, number).await?);
        number += 1;
    }
    let (removed, took) = removing.await??;
    node.shutdown().await?;
    let limit = |share| ("one appender before", before.at(share));
    Ok(vec![
        Figure::new("half the log removed", rate(removed.entries, took), "entries/s"),
        Figure::new("  one appender meanwhile, median", during.median(), "ms")
            .beside(limit(0.5).0, limit(0.5).1),
        Figure::new("  the same, 99 of 100", during.at(0.99), "ms")
            .beside(limit(0.99).0, limit(0.99).1),
        Figure::new("  the same, the longest", during.at(1.0), "ms")
            .beside(limit(1.0).0, limit(1.0).1),
    ])
}
