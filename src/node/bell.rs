//! The doorbell of a node: it says that there is more to read, and never what.

use super::sync::watch;
use crate::words::Offset;

/// Rings when something has arrived since it was last heard, and when the node shuts down.
#[derive(Clone)]
pub struct Bell {
    watermark: watch::Receiver<Offset>,
    closing: watch::Receiver<bool>,
}

impl Bell {
    pub(super) fn new(watermark: watch::Receiver<Offset>, closing: watch::Receiver<bool>) -> Self {
        let mut bell = Self { watermark, closing };
        bell.watermark.borrow_and_update();
        bell
    }

    /// Waits until something arrives that had not when this was called last, or when the bell was
    /// taken. None: the node shuts down.
    ///
    /// # Cancel safety
    /// A call that is dropped loses nothing.
    pub async fn ring(&mut self) -> Option<Offset> {
        if *self.closing.borrow() {
            return None;
        }
        tokio::select! {
            rung = self.watermark.changed() => rung.ok()?,
            _ = self.closing.changed() => return None,
        }
        Some(*self.watermark.borrow_and_update())
    }
}
