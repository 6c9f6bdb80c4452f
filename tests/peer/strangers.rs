//! Whoever can't prove to be an admitted node is refused before anything of it is read.

use std::net::UdpSocket;

use quinn::{ConnectionError, TransportConfig};
use towline::words::NodeId;

use crate::initial;
use crate::liar::dial;
use crate::papers::Papers;
use crate::support::{LOOPBACK, PATIENCE, until};
use crate::victim::{Victim, identity, nowhere};

/// Asserts that a handshake with these papers fails, is counted, and that nothing was read of it.
async fn refused(victim: &Victim, papers: &Papers) {
    let (violations, peers) = (victim.violations(), victim.node.status().await.unwrap().peers);
    let target = victim.node.address().unwrap();
    let refused = match dial(papers, TransportConfig::default(), target).await {
        Err(refused) => refused,
        // A client may take the handshake for done before the server has looked at its papers.
        Ok((_endpoint, connection)) => {
            let closed = tokio::time::timeout(PATIENCE, connection.closed()).await;
            closed.expect("a stranger's connection stands")
        }
    };
    // 0x100 and above are TLS alerts: it was refused by the handshake itself.
    let by_alert = |code: u64| (0x100..0x200).contains(&code);
    match &refused {
        ConnectionError::ConnectionClosed(closed) => {
            assert!(by_alert(closed.error_code.into()), "{refused}");
        }
        ConnectionError::TransportError(error) => {
            assert!(by_alert(error.code.into()), "{refused}");
        }
        other => panic!("refused otherwise: {other}"),
    }
    victim.until_violations(violations + 1).await;
    assert_eq!(victim.node.status().await.unwrap().peers, peers);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_key_is_refused_in_the_handshake() {
    let (victim, _) = Victim::and_liars(0).await;
    refused(&victim, &Papers::of(&identity(50))).await;
    victim.still_serves().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_without_its_key_is_refused_in_the_handshake() {
    let (victim, liars) = Victim::and_liars(1).await;
    refused(&victim, &Papers::stolen(&liars[0].identity, &identity(50))).await;
    refused(&victim, &Papers::stolen(&identity(2), &identity(50))).await;
    victim.still_serves().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_certificate_and_one_of_another_sort_are_refused_in_the_handshake() {
    let (victim, _) = Victim::and_liars(0).await;
    refused(&victim, &Papers::none()).await;
    refused(&victim, &Papers::of_another_sort()).await;
    victim.still_serves().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_low_order_is_refused_even_where_it_was_admitted() {
    // The neutral element; a point of order 8; and y = -1, of order 2.
    let orders: [[u8; 32]; 3] = [
        "0100000000000000000000000000000000000000000000000000000000000000",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    ]
    .map(|hex| hex::decode(hex).unwrap().try_into().unwrap());
    let (victim, _) = Victim::and_liars(0).await;
    let config =
        orders.into_iter().fold(towline::Config::in_memory().listen(LOOPBACK), |config, order| {
            let address = nowhere(&identity(50)).address;
            config.peer(towline::node::PeerAddress { node: NodeId(order), address })
        });
    let lax = towline::Node::open(config).await.unwrap();
    for order in orders {
        let papers = Papers::weak(NodeId(order), &identity(50));
        refused(&victim, &papers).await;
        let violations = lax.metrics().violations.get();
        let dialed = dial(&papers, TransportConfig::default(), lax.address().unwrap()).await;
        until(&[&lax], |_| lax.metrics().violations.get() > violations).await;
        assert_eq!(lax.metrics().received_bytes.get(), 0);
        drop(dialed);
    }
    victim.still_serves().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_protocol_is_refused_in_the_handshake() {
    let (victim, liars) = Victim::and_liars(1).await;
    let papers = Papers::of(&liars[0].identity);
    for alpn in [&b"towline/2"[..], b"h3", b"towline"] {
        refused(&victim, &papers.clone().asking_for(alpn)).await;
    }
    victim.still_serves().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_1_2_is_refused_in_the_handshake() {
    // CONNECTION_CLOSE with the TLS alert protocol_version (70).
    const TOLD: [u8; 3] = [0x1c, 0x41, 0x46];
    let (victim, liars) = Victim::and_liars(1).await;
    let violations = victim.violations();
    let (source, destination) = (*b"liarliar", *b"somebody");
    let hello = initial::client_hello(Papers::of(&liars[0].identity).tls(), source);
    let socket = UdpSocket::bind(LOOPBACK).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let target = victim.node.address().unwrap();
    let packet = initial::packet(&initial::as_tls_1_2(hello), &[], &destination, source);
    socket.send_to(&packet, target).unwrap();
    let mut answer = [0; 2_048];
    let length = socket.recv(&mut answer).unwrap();
    let frames = initial::open(&answer[..length], destination);
    assert!(frames.windows(TOLD.len()).any(|part| part == TOLD), "{frames:x?}");
    victim.until_violations(violations + 1).await;
    victim.still_serves().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_of_another_cluster_is_told_so_and_not_banned() {
    let (victim, mut liars) = Victim::and_liars(1).await;
    let liar = &mut liars[0];
    let ours = liar.cluster;
    liar.cluster.0[0] ^= 1;
    for round in 1..=4 {
        let violations = victim.violations();
        let mut line = liar.connect().await;
        line.say(&liar.hello()).await;
        assert_eq!(line.closed().await, "the peer belongs to another cluster", "round {round}");
        victim.until_violations(violations + 1).await;
    }
    liar.cluster = ours;
    assert!(liar.greet().await.stands());
    victim.still_serves().await;
}
