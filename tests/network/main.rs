//! Real processes on a hostile network.
//!
//! Three to five nodes run as processes of their own, with data directories of their own, and reach
//! each other through relays of ours (`wire`) that lose, delay, repeat, damage and cut by a seed
//! (`weather`). Clients write at all of them (`load`) while they are held, killed, ended and started
//! again (`node`, `cluster`). Afterwards all that was promised is held against what they print
//! (`reckoning`).
//!
//! Every test prints its seed, and `NETWORK_SEED` repeats it. The order in which datagrams and
//! requests come is the machine's, so a seed repeats the faults and not the run.

// The surroundings.
mod cluster;
mod door;
mod faults;
mod load;
mod merged;
mod node;
#[path = "../support/noise.rs"]
mod noise;
mod patience;
mod reckoning;
mod vitals;
mod weather;
mod wire;

// The tests.
mod bad_weather;
mod partitions;
mod slow_readers;
mod soak;
mod stops;
