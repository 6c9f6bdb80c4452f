//! A bounded set of readers, shared by all who read.

use std::sync::{Mutex, PoisonError};

use super::{Opener, Reader, StoreError};

/// How many idle readers are kept; more than that are closed after use.
const IDLE_READERS: usize = 4;

/// Lends readers, and opens another when all are lent. The caller bounds how many run at once.
pub struct Pool {
    open: Opener,
    idle: Mutex<Vec<Box<dyn Reader>>>,
}

impl Pool {
    /// A pool that opens its readers so.
    pub fn new(open: Opener) -> Self {
        Self { open, idle: Mutex::new(Vec::new()) }
    }

    /// Closes the readers that are idle: what they hold of the store is let go.
    pub fn close_idle(&self) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Runs a reading with a reader of its own, on the caller's thread.
    ///
    /// # Errors
    /// What the reading returns, or that no reader can be opened. A reader that failed is closed.
    pub fn read<T, E: From<StoreError>>(
        &self,
        reading: impl FnOnce(&mut dyn Reader) -> Result<T, E>,
    ) -> Result<T, E> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut reader = match idle {
            Some(reader) => reader,
            None => (self.open)()?,
        };
        let result = reading(&mut *reader)?;
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_READERS {
            idle.push(reader);
        }
        Ok(result)
    }
}
