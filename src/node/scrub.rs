//! The scrub: reads the whole log over and over, slowly, so that what a disk damages is found and
//! mended while there are peers that have it.

use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use super::reading::Reading;
use super::sync::watch;
use crate::store::ranges::{Stretch, stretch};
use crate::store::{Reader, StoreError};
use crate::words::Offset;

/// How often a piece of the log is read.
const PAUSE: Duration = Duration::from_secs(1);
/// How many bytes of changes a piece has, about.
const PIECE: usize = 1 << 20;
/// How often the tip is synced. It costs the disk nothing while nothing is committed.
const SYNC: Duration = Duration::from_secs(5);

/// Scrubs until the node closes. What is found damaged is noted by the reader itself.
pub async fn run(reading: Reading, mut closing: watch::Receiver<bool>) {
    let mut at = Offset(0);
    loop {
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            _ = closing.wait_for(|closing| *closing) => return,
        }
        match reading.run(move |reader| piece(reader, at)).await {
            Ok(next) => at = next,
            Err(error) => tracing::warn!(%error, "the log can't be scrubbed at offset {at}"),
        }
    }
}

/// Syncs the tip's file now and then until the node closes, so that it is not old after a power cut.
pub async fn sync(tip: Arc<File>, mut closing: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(SYNC) => {}
            _ = closing.wait_for(|closing| *closing) => return,
        }
        let tip = tip.clone();
        let synced = tokio::task::spawn_blocking(move || tip.sync_data()).await;
        if let Ok(Err(error)) = synced {
            return tracing::error!(%error, "the tip can't be synced: it is not tried again");
        }
    }
}

/// Reads a piece of the log, and returns where the next one begins.
fn piece(reader: &mut dyn Reader, at: Offset) -> Result<Offset, StoreError> {
    let Stretch { next, lost, .. } = stretch(reader, at, PIECE)?;
    if let Some(lost) = lost {
        tracing::error!(%lost, "damaged on disk: asking the peers for them");
    }
    Ok(if next == at { Offset(0) } else { next })
}

#[cfg(test)]
mod tests;
