//! A peer that goes on breaking the rules is not listened to for a while.

use std::time::Duration;

use towline::node::{NodeReport, PeerAddress};

use crate::liar::{self, Liar, plain};
use crate::papers::Papers;
use crate::support::{PATIENCE, until};
use crate::victim::{Victim, identity};

/// Breaks the rules once, and waits until that has been noticed.
async fn lie(victim: &Victim, liar: &Liar) {
    let violations = victim.violations();
    let mut line = liar.greet().await;
    line.throw(&plain(b"no frame")).await;
    assert!(line.closed().await.contains("not a frame"));
    victim.until_violations(violations + 1).await;
}

async fn report(victim: &Victim, liar: &Liar) -> NodeReport {
    let reports = victim.node.nodes().await.unwrap();
    reports.into_iter().find(|report| report.node == liar.identity.node_id()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_third_violation_bans_and_is_shown() {
    let (victim, liars) = Victim::and_liars(2).await;
    for _ in 0..2 {
        lie(&victim, &liars[0]).await;
    }
    assert!(liars[0].greet().await.stands(), "two violations ban nobody");
    lie(&victim, &liars[0]).await;
    let banned = liars[0].turned_away().await;
    assert!(
        banned.starts_with("banned for ") && banned.ends_with("after 3 violations"),
        "{banned}"
    );
    let status = victim.node.status().await.unwrap();
    assert_eq!(status.peers.banned, 1);
    assert!(report(&victim, &liars[0]).await.banned_seconds.is_some_and(|left| left <= 600));
    assert_eq!(report(&victim, &liars[1]).await.banned_seconds, None);
    let metrics = victim.node.metrics().classic();
    assert!(metrics.contains("\ntowline_peers_banned 1\n"), "{metrics}");
    assert_eq!(victim.violations(), 3, "a banned peer is not accused again");
    assert!(liars[1].greet().await.stands(), "others are listened to");
    victim.still_serves().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ban_closes_the_session_that_stands() {
    let (victim, liars) = Victim::and_liars(1).await;
    let standing = liars[0].greet().await;
    until(&[&victim.node], |statuses| statuses[0].peers.connected == 2).await;
    for _ in 0..3 {
        let mut line = liars[0].connect().await;
        line.throw(&plain(b"no hello")).await;
        line.closed().await;
    }
    assert_eq!(standing.closed().await, "banned");
    victim.still_serves().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_banned_peer_is_not_dialed() {
    let listening = identity(60);
    let endpoint = liar::listen(&Papers::of(&listening));
    let address = endpoint.local_addr().unwrap();
    let victim = Victim::naming(&[PeerAddress { node: listening.node_id(), address }]).await;
    for round in 1..=3 {
        let dialed = tokio::time::timeout(PATIENCE, endpoint.accept()).await;
        let connection = dialed.unwrap().unwrap().await.unwrap();
        let (mut send, _receive) = connection.accept_bi().await.unwrap();
        drop(send.write_all(&plain(b"no hello")).await);
        victim.until_violations(round).await;
        connection.closed().await;
    }
    assert_eq!(victim.node.status().await.unwrap().peers.banned, 1);
    // By now it would have been dialed several times.
    let dialed = tokio::time::timeout(Duration::from_secs(3), endpoint.accept()).await;
    assert!(dialed.is_err(), "a banned peer is dialed");
    victim.still_serves().await;
}
