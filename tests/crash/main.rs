//! Crashes, failing disks and damage: what was acknowledged survives, and what is altered is never
//! taken for good.
//!
//! [`power_cut`], [`io_errors`] and [`disk_full`] run the real store on a [`vfs`] that records and fails what SQLite
//! does, and [`platter`] says what a power cut would leave.

mod damage;
mod disk;
mod disk_full;
mod history;
mod intact;
mod io_errors;
mod kills;
#[path = "../support/noise.rs"]
mod noise;
mod platter;
mod power_cut;
mod process;
mod restart;
mod seed;
mod small_disk;
mod told;
mod vfs;
mod watched_node;
