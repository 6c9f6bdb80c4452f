//! Sealing: packs small changes into blocks in the background.
//!
//! What stands in rows of its own is read, packed, opened again and compared, and only then handed to
//! the writer, which puts the block in the place of the rows in one transaction. One step waits for
//! the one before, so that a busy writer is asked for one block at a time.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use super::metrics::Metrics;
use super::reading::Reading;
use super::sync::watch;
use super::writer::{AppendError, Writer};
use crate::store::StoreError;
use crate::store::block::{PackError, pack};
use crate::words::Offset;

/// How often it is looked for what can be sealed.
const PAUSE: Duration = Duration::from_millis(250);
/// How many entries that arrive between two looks mean that the node is busy. Then both cores are
/// the appenders', and sealing waits, ...
const BUSY: u64 = 8_192;
/// ... until so many entries have arrived since it last looked.
const BACKLOG: u64 = 128 << 10;
/// How long the next block waits while entries arrive: whoever appends waits for the one that is written,
/// and for the disk, which has more to sync.
const BREATH: Duration = Duration::from_millis(16);
/// What arrived so long ago is sealed however little it is.
const OLD: Duration = Duration::from_secs(60);

/// Why a step did not seal what it should.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The store can't be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What it holds can't be packed.
    #[error(transparent)]
    Pack(#[from] PackError),
    /// The writer takes nothing at the moment.
    #[error(transparent)]
    Writer(#[from] AppendError),
}

/// What the background work needs. Cloning it shares it.
#[derive(Clone)]
pub struct Sealing {
    reading: Reading,
    writer: Writer,
    metrics: Arc<Metrics>,
    /// Whoever seals has it: two at a time would pack the same, and leave no core to those who append.
    turn: Arc<Mutex<()>>,
}

impl Sealing {
    /// The background work of a node.
    pub fn new(reading: Reading, writer: Writer, metrics: Arc<Metrics>) -> Self {
        Self { reading, writer, metrics, turn: Arc::default() }
    }

    /// Seals until the node closes.
    pub async fn run(self, mut closing: watch::Receiver<bool>) {
        let watermark = self.writer.watermark();
        let (mut looked, mut before) = (Offset(0), *watermark.borrow());
        let (mut old, mut marked, mut marked_at) = (Offset(0), *watermark.borrow(), Instant::now());
        loop {
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => {}
                _ = closing.wait_for(|closing| *closing) => return,
            }
            let now = *watermark.borrow();
            let mut aged = false;
            if marked_at.elapsed() >= OLD {
                aged = marked > old;
                (old, marked, marked_at) = (marked, now, Instant::now());
            }
            let busy = now.0 - before.0 > BUSY && now.0 - looked.0 < BACKLOG;
            before = now;
            if busy || (now == looked && !aged) {
                continue;
            }
            looked = now;
            if let Err(error) = self.seal_below(old).await {
                tracing::debug!(%error, "nothing is sealed for now");
                looked = Offset(0);
            }
        }
    }

    /// Seals all that is worth it, and all that arrived below an offset. Returns how many blocks.
    ///
    /// # Errors
    /// See [`SealError`]. What is sealed already stays sealed.
    pub async fn seal_below(&self, old: Offset) -> Result<usize, SealError> {
        let _turn = self.turn.lock().await;
        let watermark = self.writer.watermark();
        let began = *watermark.borrow();
        let (mut sealed, mut before) = (0, began);
        loop {
            let blocks = self.reading.run(move |reader| reader.sealable(old)).await?;
            if blocks.is_empty() {
                return Ok(sealed);
            }
            sealed += blocks.len();
            for arrivals in blocks {
                let packed = tokio::task::spawn_blocking(move || pack(&arrivals));
                let packed = packed.await.map_err(|e| StoreError::Failed(e.to_string()))??;
                self.writer.seal(packed).await?;
                self.metrics.sealed.inc();
                let now = *watermark.borrow();
                if now != before && now.0 - began.0 < BACKLOG {
                    tokio::time::sleep(BREATH).await;
                }
                before = now;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::node::{Config, Node};
    use crate::words::Draft;

    #[tokio::test]
    async fn what_two_seal_at_a_time_is_packed_once() {
        let directory = tempfile::tempdir().unwrap();
        let node = Node::open(Config::new(directory.path())).await.unwrap();
        for n in 0..300 {
            node.append(Draft::text("t", "k", n.to_string()).unwrap()).await.unwrap();
        }
        // So few are left by the background for a minute.
        let (one, other) = tokio::join!(node.seal(), node.seal());
        one.and(other).unwrap();
        assert_eq!(node.metrics().sealed.get(), 1);
        node.shutdown().await.unwrap();
    }
}
