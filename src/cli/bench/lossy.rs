//! The lossy path: emitting as fast as a thread can.

use std::time::Instant;

use super::figure::{Figure, rate};
use super::ground::{Ground, cluster};
use super::trouble::BenchError;
use crate::node::{Config, EmitError, Node};

/// How many drafts are made ahead, and emitted again and again.
const DRAFTS: u64 = 4_096;

/// Emits flat out; what is dropped must be stated to the last event.
///
/// # Errors
/// See [`BenchError`].
pub async fn emit(ground: &Ground) -> Result<Vec<Figure>, BenchError> {
    let room = ground.room("emit")?;
    let open = || Node::open(Config::new(room.path()).cluster(cluster()));
    let node = open().await?;
    let count = ground.scale.entries;
    let drafts = ground.payloads.drafts(0, DRAFTS.min(count), ground.few_topics())?;
    let emitter = node.clone();
    let emitting = tokio::task::spawn_blocking(move || {
        let started = Instant::now();
        for draft in drafts.iter().cycle().take(count as usize) {
            emitter.emit(draft.clone())?;
        }
        Ok::<_, EmitError>(started.elapsed())
    });
    let took = emitting.await??;
    node.shutdown().await?;
    let node = open().await?;
    let status = node.status().await?;
    node.shutdown().await?;
    if status.recorded + status.dropped != count {
        let (recorded, dropped) = (status.recorded, status.dropped);
        let what = format!("{count} emitted, {recorded} recorded, {dropped} stated as dropped");
        return Err(BenchError::Wrong(what));
    }
    let recorded = status.recorded as f64 / count as f64 * 100.0;
    Ok(vec![
        Figure::new("emit, one thread, flat out", rate(count, took), "events/s"),
        Figure::new("  recorded (the rest is stated as gaps)", recorded, "%"),
    ])
}
