//! What must hold in every schedule of the writer, the recorder and the followers.
//!
//! These tests run the real parts of a node on shuttle's scheduler, which decides at each use of a
//! primitive of [`sync`](super::sync) and at each call of the store who goes on. A test is run in
//! hundreds of schedules, half of them random and half by probabilistic concurrency testing
//! (Burckhardt, Kothari, Musuvathi, Nagarakatte, ASPLOS 2010), and fails also when all tasks wait
//! for each other.
//!
//! A failing test prints a seed and a schedule. `SHUTTLE_RANDOM_SEED=<seed>` runs the same schedules
//! again, `TOWLINE_SCHEDULE=<schedule>` that one only; name the test, so that others don't run.
//! `TOWLINE_SCHEDULES=<count>` tries so many for each test.

mod explore;
mod followers;
mod parts;
mod recorder;
mod shutdown;
mod turning_store;
mod writer;
