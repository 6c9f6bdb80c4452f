//! Processes that are held, killed, ended and started again, while others write.

use std::sync::Arc;

use serde_json::Value;

use crate::cluster::Cluster;
use crate::load::{Ledger, Load, Pace};
use crate::patience::until;
use crate::reckoning::assert_kept;

/// How often some node is killed.
const KILLS: usize = 16;

#[test]
fn a_node_that_was_held_for_a_while_loses_nothing() {
    let mut cluster = Cluster::start(3);
    let ledger = Arc::new(Ledger::default());
    let load = Load::start(&mut cluster, &ledger, Pace::BUSY);
    until("much was written", || ledger.count() >= 500);
    cluster.nodes[1].hold();
    let before = cluster.status(0).entries;
    until("the others go on without it", || {
        let [first, third] = [0, 2].map(|node| cluster.status(node));
        first.entries > before + 2_000 && third.entries > before + 2_000
    });
    cluster.nodes[1].release();
    load.end();
    assert_kept(&cluster, &ledger);
}

#[test]
fn nodes_killed_and_started_in_any_order_lose_nothing_that_was_acknowledged() {
    let mut cluster = Cluster::start(4);
    let ledger = Arc::new(Ledger::default());
    let load = Load::start(&mut cluster, &ledger, Pace::BUSY);
    for kill in 1..=KILLS {
        until("something was written", || ledger.count() >= kill * 200);
        let dead = (0..4).filter(|node| cluster.nodes[*node].pid().is_none());
        let dead: Vec<usize> = dead.collect();
        // Two are dead at most, so that somebody always writes.
        if let [one, other] = dead[..] {
            let back = if cluster.random.bool() { one } else { other };
            cluster.start_node(back);
        }
        let victim = cluster.random.usize(..4);
        if cluster.nodes[victim].pid().is_some() {
            cluster.kill(victim);
        }
    }
    cluster.start_all();
    load.end();
    assert_kept(&cluster, &ledger);
}

#[test]
fn nodes_stopped_one_by_one_and_let_go_in_another_order_are_equal() {
    let mut cluster = Cluster::start(5);
    let ledger = Arc::new(Ledger::default());
    let mut order = [0, 1, 2, 3, 4];
    cluster.random.shuffle(&mut order);
    for (at, node) in order.into_iter().enumerate() {
        for writer in &order[at..] {
            let texts = [format!("n{writer}-while-{at}-are-stopped")];
            assert!(ledger.append(&cluster.nodes[*writer].door, &texts));
        }
        match node % 3 {
            0 => cluster.nodes[node].hold(),
            1 => cluster.terminate(node),
            _ => cluster.kill(node),
        }
    }
    cluster.random.shuffle(&mut order);
    for node in order {
        match node % 3 {
            0 => cluster.nodes[node].release(),
            _ => cluster.start_node(node),
        }
        let texts = [format!("n{node}-is-back")];
        assert!(ledger.append(&cluster.nodes[node].door, &texts));
    }
    assert_kept(&cluster, &ledger);
}

#[test]
fn a_node_that_is_told_to_end_under_load_ends_well_and_has_all_it_acknowledged() {
    let mut cluster = Cluster::start(3);
    let ledger = Arc::new(Ledger::default());
    let load = Load::start(&mut cluster, &ledger, Pace::BUSY);
    for (round, node) in [2, 0, 2].into_iter().enumerate() {
        until("much was written", || ledger.count() >= (round + 1) * 500);
        cluster.terminate(node);
        cluster.start_node(node);
    }
    load.end();
    assert_kept(&cluster, &ledger);
    let gaps: Value =
        serde_json::from_str(&cluster.nodes[0].door.get("/v1/gaps").unwrap()).unwrap();
    let crashes = gaps["gaps"].as_array().unwrap().iter();
    assert_eq!(crashes.filter(|gap| gap["data"]["reason"] == "crash").count(), 0, "{gaps}");
}
