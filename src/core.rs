//! The core: what the log is and how nodes agree on it, as pure functions and state machines.
//!
//! Invariant: no IO, no clock, no randomness, no threads and no logging here. Time and random
//! bytes are arguments; what to do is returned. A simulator can therefore run many nodes on one
//! thread and replay any of their histories.

pub mod archive;
pub mod change;
pub mod clock;
#[cfg(test)]
mod disk;
pub mod document;
pub mod forks;
pub mod frame;
pub mod frontier;
pub mod log;
pub mod merge;
pub mod offers;
pub mod pending;
pub mod pruned;
pub mod recording;
pub mod segment;
pub mod series;
pub mod session;
pub mod sharing;
