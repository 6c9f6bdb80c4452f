//! Wires that lose, delay, repeat, overtake and damage what travels on them, or carry little.

use std::sync::Arc;

use crate::cluster::Cluster;
use crate::load::{Ledger, Load, Pace, filler};
use crate::patience::until;
use crate::reckoning::assert_kept;
use crate::weather::Weather;

#[test]
fn nodes_become_equal_in_foul_weather() {
    let mut cluster = Cluster::make(3);
    cluster.wires.set_all(Weather::FOUL);
    cluster.start_all();
    let ledger = Arc::new(Ledger::default());
    let load = Load::start(&mut cluster, &ledger, Pace::GENTLE);
    until("something was written everywhere", || ledger.count() >= 30);
    load.end();
    assert_kept(&cluster, &ledger);
}

#[test]
fn a_frame_passes_a_wire_on_which_it_takes_long() {
    let mut cluster = Cluster::make(2);
    cluster.wires.set_all(Weather { bytes_per_second: Some(5_000), ..Weather::FAIR });
    let ledger = Arc::new(Ledger::default());
    cluster.start_node(0);
    let long = filler(70_000, &mut cluster.random);
    assert!(ledger.append(&cluster.nodes[0].door, &[format!("long {long}")]));
    cluster.start_node(1);
    assert_kept(&cluster, &ledger);
}
