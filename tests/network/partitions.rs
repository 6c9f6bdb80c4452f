//! Nodes that don't reach each other: wires that are cut between two sides, in one direction, and
//! again and again; and a peer that refuses to connect.

use std::sync::Arc;
use std::time::Duration;

use crate::cluster::Cluster;
use crate::load::{Ledger, Load, Pace};
use crate::patience::until;
use crate::reckoning::assert_kept;
use crate::weather::Weather;

/// How often a flapping wire is cut.
const FLAPS: usize = 10;
/// How often a refused node has to ask until the waits between must have grown.
const DIALS: usize = 6;

#[test]
fn both_sides_of_a_partition_write_and_are_equal_after_it() {
    let mut cluster = Cluster::start(5);
    let ledger = Arc::new(Ledger::default());
    let load = Load::start(&mut cluster, &ledger, Pace::GENTLE);
    until("something was written everywhere", || ledger.count() >= 50);
    cluster.wires.part(&[3, 4]);
    let before = ledger.count();
    until("something was written on both sides", || ledger.count() >= before + 100);
    load.end();
    // Each side becomes equal in itself, and lacks what the other has.
    cluster.until_same(&[0, 1, 2]);
    cluster.until_same(&[3, 4]);
    assert_ne!(cluster.status(0).frontier, cluster.status(3).frontier);
    cluster.wires.set_all(Weather::FAIR);
    assert_kept(&cluster, &ledger);
}

#[test]
fn nodes_that_lose_each_other_go_on_and_find_each_other_again() {
    let mut cluster = Cluster::start(5);
    let ledger = Arc::new(Ledger::default());
    let load = Load::start(&mut cluster, &ledger, Pace::GENTLE);
    // Nobody reaches n3, n4 does nothing, and of n2, n0 hears nothing: neither entries nor acks.
    cluster.wires.part(&[3]);
    cluster.nodes[4].hold();
    cluster.wires.set(2, 0, Weather::CUT);
    cluster.until_lost(0, 2);
    cluster.until_lost(0, 3);
    cluster.until_lost(0, 4);
    cluster.until_lost(3, 1);
    // Those who reach each other don't notice: what comes now still reaches all three.
    let before = ledger.count();
    until("the clients go on", || ledger.count() >= before + 100);
    load.end();
    cluster.until_same(&[0, 1, 2]);
    cluster.wires.set_all(Weather::FAIR);
    cluster.nodes[4].release();
    assert_kept(&cluster, &ledger);
    cluster.until_connected();
}

#[test]
fn a_node_that_is_refused_asks_ever_less_often() {
    let mut cluster = Cluster::make(2);
    cluster.start_node_naming(1, &[]);
    cluster.start_node_naming(0, &[1]);
    until("the stranger has asked often", || cluster.wires.dials(0, 1).len() >= DIALS);
    let dials = cluster.wires.dials(0, 1);
    let last_wait = dials[DIALS - 1] - dials[DIALS - 2];
    // Waits double from 0.1 s on; only a lower bound can be told from a slow machine.
    assert!(last_wait > Duration::from_secs(1), "{last_wait:?}");
}

#[test]
fn a_flapping_wire_settles() {
    let mut cluster = Cluster::start(3);
    let ledger = Arc::new(Ledger::default());
    let load = Load::start(&mut cluster, &ledger, Pace::GENTLE);
    for flap in 0..2 * FLAPS {
        let before = ledger.count();
        let weather = if flap % 2 == 0 { Weather::CUT } else { Weather::FAIR };
        cluster.wires.set_between(0, 1, weather);
        let more = cluster.random.usize(1..50);
        until("something was written meanwhile", || ledger.count() >= before + more);
    }
    load.end();
    assert_kept(&cluster, &ledger);
}
