//! Reading the store from async code: off the runtime's threads, and not too many at once.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::sync::spawn_blocking;
use super::tail::Tail;
use crate::store::pool::Pool;
use crate::store::{Reader, StoreError};

/// How many readings run at the same time; others wait.
const READINGS: usize = 16; // full: a reader waits

/// A handle by which async code reads the store. Cloning it is cheap.
#[derive(Clone)]
pub struct Reading {
    pool: Arc<Pool>,
    places: Arc<Semaphore>,
    tail: Arc<Tail>,
}

impl Reading {
    /// A handle to this pool.
    pub fn new(pool: Pool) -> Self {
        Self {
            pool: Arc::new(pool),
            places: Arc::new(Semaphore::new(READINGS)),
            tail: Arc::default(),
        }
    }

    /// The newest entries, which readers that keep up share.
    pub fn tail(&self) -> &Tail {
        &self.tail
    }

    /// Closes the readers that nobody uses.
    pub fn close_idle(&self) {
        self.pool.close_idle();
    }

    /// Runs a reading on a thread that may block.
    ///
    /// # Errors
    /// What the reading returns, or that the store can't be read.
    pub async fn run<T, E>(
        &self,
        reading: impl FnOnce(&mut dyn Reader) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let place = self.places.clone().acquire_owned().await.ok();
        let pool = self.pool.clone();
        let result = spawn_blocking(move || {
            let _place = place;
            pool.read(reading)
        });
        match result.await {
            Ok(result) => result,
            Err(error) => Err(StoreError::Failed(format!("a reading ended: {error}")).into()),
        }
    }
}
