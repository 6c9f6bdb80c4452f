//! The primitives by which the threads and tasks of a node meet: the standard library's and tokio's.
//!
//! In unit tests the same primitives lie in wrappers, and whatever is done with one of them is a
//! point at which another task may go on: see `turns` and, for what is tested so, `schedules`.

#[cfg(not(test))]
pub use std::sync::{Mutex, OnceLock, atomic::AtomicU64};

#[cfg(not(test))]
pub use tokio::sync::{broadcast, mpsc, watch};
#[cfg(not(test))]
pub use tokio::task::spawn_blocking;

#[cfg(test)]
mod turns;

#[cfg(test)]
pub use turns::{AtomicU64, Mutex, OnceLock, broadcast, mpsc, spawn_blocking, turn, watch};
