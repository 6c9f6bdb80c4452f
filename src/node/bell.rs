//! The doorbell of a node: it says that there is more to read, and never what.

use super::reading::Reading;
use super::sync::watch;
use crate::store::StoreError;
use crate::words::{Entry, Offset};

/// Rings when something has arrived since it was last heard, and when the node shuts down.
#[derive(Clone)]
pub struct Bell {
    watermark: watch::Receiver<Offset>,
    closing: watch::Receiver<bool>,
    reading: Reading,
    /// Everything below was heard of.
    heard: Offset,
}

impl Bell {
    pub(super) fn new(
        watermark: watch::Receiver<Offset>,
        closing: watch::Receiver<bool>,
        reading: Reading,
    ) -> Self {
        let heard = *watermark.borrow();
        Self { watermark, closing, reading, heard }
    }

    /// Waits until an entry arrives that is wanted and had not arrived when this was called last, or
    /// when the bell was taken. It may ring for nothing where much has arrived at once. None: the node
    /// shuts down.
    ///
    /// Whoever keeps up hears from the newest entries in memory, which all share: thousands that wait
    /// for other topics cost no reading of the store.
    ///
    /// # Errors
    /// The store can't be read.
    ///
    /// # Cancel safety
    /// A call that is dropped loses nothing.
    pub async fn ring(
        &mut self,
        wanted: impl Fn(&Entry) -> bool,
    ) -> Result<Option<Offset>, StoreError> {
        loop {
            if *self.closing.borrow() {
                return Ok(None);
            }
            let end = *self.watermark.borrow_and_update();
            while self.heard < end {
                let tail = self.reading.tail();
                let Some((entries, next)) = tail.from(self.heard, end, &self.reading).await? else {
                    self.heard = end;
                    return Ok(Some(end));
                };
                self.heard = next;
                if entries.iter().any(|entry| wanted(entry)) {
                    return Ok(Some(next));
                }
            }
            tokio::select! {
                rung = self.watermark.changed() => if rung.is_err() { return Ok(None) },
                _ = self.closing.changed() => return Ok(None),
            }
        }
    }
}
