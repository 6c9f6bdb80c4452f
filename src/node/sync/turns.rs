//! The node's primitives, in wrappers that let an explorer of schedules decide who goes on.
//!
//! What lies in a [`Turned`] is the real primitive. Every use of it is preceded by a *turn*: a point
//! at which shuttle, when it runs the test, may let another task go on. Since the primitives
//! themselves are atomic, the schedules between turns are all that real threads can do to each
//! other. Outside of an exploration a turn does nothing.

use std::fmt::Display;
use std::ops::{Deref, DerefMut};
use std::sync::{LockResult, MutexGuard, TryLockError};

/// Lets another task go on, if that is what the explorer wants to see.
pub fn turn() {
    if explored() {
        shuttle::sync::atomic::AtomicBool::new(false).load(std::sync::atomic::Ordering::SeqCst);
    }
}

fn explored() -> bool {
    shuttle::current::try_get_current_task().is_some()
}

/// A primitive of which every use is preceded by a turn.
pub struct Turned<T>(T);

impl<T> Deref for Turned<T> {
    type Target = T;

    fn deref(&self) -> &T {
        turn();
        &self.0
    }
}

impl<T> DerefMut for Turned<T> {
    fn deref_mut(&mut self) -> &mut T {
        turn();
        &mut self.0
    }
}

impl<T: Clone> Clone for Turned<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// A number that threads share.
pub type AtomicU64 = Turned<std::sync::atomic::AtomicU64>;

impl AtomicU64 {
    pub fn new(value: u64) -> Self {
        Self(value.into())
    }
}

/// A value that is set once.
pub type OnceLock<T> = Turned<std::sync::OnceLock<T>>;

impl<T> OnceLock<T> {
    pub fn new() -> Self {
        Self(std::sync::OnceLock::new())
    }
}

/// A lock. A task that finds it taken lets others go on rather than stop the one thread on which
/// all of them run.
pub struct Mutex<T>(std::sync::Mutex<T>);

impl<T> Mutex<T> {
    pub fn new(value: T) -> Self {
        Self(std::sync::Mutex::new(value))
    }

    pub fn lock(&self) -> LockResult<MutexGuard<'_, T>> {
        turn();
        loop {
            match self.0.try_lock() {
                Ok(guard) => return Ok(guard),
                Err(TryLockError::Poisoned(poisoned)) => return Err(poisoned),
                Err(TryLockError::WouldBlock) if explored() => shuttle::thread::yield_now(),
                Err(TryLockError::WouldBlock) => return self.0.lock(),
            }
        }
    }
}

/// Runs work that may block: as a task of its own.
pub async fn spawn_blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, impl Display> {
    if explored() {
        return shuttle::future::spawn(async { work() }).await.map_err(|error| error.to_string());
    }
    tokio::task::spawn_blocking(work).await.map_err(|error| error.to_string())
}

/// Many senders, one receiver, bounded.
pub mod mpsc {
    use tokio::sync::mpsc;
    pub use tokio::sync::mpsc::error;

    use super::{Turned, turn};

    pub type Sender<T> = Turned<mpsc::Sender<T>>;
    pub type Receiver<T> = Turned<mpsc::Receiver<T>>;

    pub fn channel<T>(bound: usize) -> (Sender<T>, Receiver<T>) {
        let (sender, receiver) = mpsc::channel(bound);
        (Turned(sender), Turned(receiver))
    }

    impl<T> Sender<T> {
        /// As tokio's own: a place is taken, and filled. Between the two the receiver may close.
        pub async fn send(&self, value: T) -> Result<(), error::SendError<T>> {
            match self.reserve().await {
                Ok(place) => {
                    turn();
                    place.send(value);
                    Ok(())
                }
                Err(_) => Err(error::SendError(value)),
            }
        }
    }
}

/// One value that changes, and many who watch it.
pub mod watch {
    use tokio::sync::watch;

    use super::Turned;

    pub type Sender<T> = Turned<watch::Sender<T>>;
    pub type Receiver<T> = Turned<watch::Receiver<T>>;

    pub fn channel<T>(value: T) -> (Sender<T>, Receiver<T>) {
        let (sender, receiver) = watch::channel(value);
        (Turned(sender), Turned(receiver))
    }

    impl<T> Sender<T> {
        pub fn subscribe(&self) -> Receiver<T> {
            Turned(self.0.subscribe())
        }
    }
}

/// Many senders, many receivers, of which a slow one loses the oldest values.
pub mod broadcast {
    use tokio::sync::broadcast;
    pub use tokio::sync::broadcast::error;

    use super::Turned;

    pub type Sender<T> = Turned<broadcast::Sender<T>>;
    pub type Receiver<T> = Turned<broadcast::Receiver<T>>;

    pub fn channel<T: Clone>(bound: usize) -> (Sender<T>, Receiver<T>) {
        let (sender, receiver) = broadcast::channel(bound);
        (Turned(sender), Turned(receiver))
    }

    impl<T> Sender<T> {
        pub fn subscribe(&self) -> Receiver<T> {
            Turned(self.0.subscribe())
        }
    }
}
