//! Peers that are slow or silent, and peers that take more than their share of a connection.

use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use quinn::{SendStream, TransportConfig, VarInt};
use towline::Draft;
use towline::core::frame::Frame;
use towline::core::frontier::Head;
use towline::node::PeerAddress;
use towline::words::{ChangeHash, NodeId, SegmentId, Seq};

use crate::initial;
use crate::liar::{Liar, Line, length};
use crate::papers::Papers;
use crate::support::{LOOPBACK, until};
use crate::victim::{CLUSTER, Victim, identity, joining, nowhere};

/// How many streams of each sort a peer may open.
const STREAMS: usize = 16;
/// How many bytes a peer may send that nobody reads, in all and on one stream.
const CONNECTION_WINDOW: usize = 8 << 20;
const STREAM_WINDOW: usize = 2 << 20;
/// A handshake has 5 s. QUIC itself lets go what is silent for 30 s; so it was not that which ended one
/// that ended within this time.
const SOONER_THAN_IDLE: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn whoever_never_says_hello_is_let_go_without_blame() {
    let (victim, liars) = Victim::and_liars(3).await;
    let began = Instant::now();
    let silent = liars[0].connect().await;
    let mut begun = liars[1].connect().await;
    begun.throw(&length(100)).await;
    let mut hears_only = liars[2].connect().await;
    hears_only.throw(&[0]).await;
    for line in [silent, begun, hears_only] {
        line.closed().await;
    }
    assert!(began.elapsed() < SOONER_THAN_IDLE, "{:?}", began.elapsed());
    assert_eq!(victim.violations(), 0);
    victim.still_serves().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_that_is_not_finished_gives_its_place_back() {
    let (victim, _) = Victim::and_liars(0).await;
    let (violations, handshakes) = (victim.violations(), &victim.node.metrics().handshakes);
    let (source, destination) = (*b"beginner", *b"somebody");
    let hello = initial::client_hello(Papers::of(&identity(50)).tls(), source);
    let socket = UdpSocket::bind(LOOPBACK).unwrap();
    let packet = initial::packet(&hello, &[], &destination, source);
    let began = Instant::now();
    socket.send_to(&packet, victim.node.address().unwrap()).unwrap();
    until(&[&victim.node], |_| handshakes.get() == 1).await;
    victim.until_violations(violations + 1).await;
    assert!(began.elapsed() < SOONER_THAN_IDLE, "{:?}", began.elapsed());
    assert_eq!(handshakes.get(), 0);
    victim.still_serves().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_does_not_answer_is_given_up() {
    let silent = UdpSocket::bind(LOOPBACK).unwrap();
    let (node, address) = (identity(60).node_id(), silent.local_addr().unwrap());
    let began = Instant::now();
    let victim = Victim::naming(&[PeerAddress { node, address }]).await;
    let given_up = async {
        loop {
            let nodes = victim.node.nodes().await.unwrap();
            let peer = nodes.into_iter().find(|peer| peer.node == node).unwrap();
            if peer.trouble.is_some_and(|why| why == "no answer within 5 s") {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let given_up = tokio::time::timeout(SOONER_THAN_IDLE, given_up).await;
    assert!(given_up.is_ok(), "it is still waited for after {:?}", began.elapsed());
    victim.still_serves().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_peers_hold_and_do_not_send_is_said_to_be_lacking_and_asked_of_one_of_them() {
    let (victim, liars) = Victim::and_liars(2).await;
    let author = NodeId([7; 32]);
    let head =
        |next| Head { segment: SegmentId([7; 16]), next_seq: Seq(next), hash: ChangeHash([7; 32]) };
    let mut lines = [liars[0].greet().await, liars[1].greet().await];
    lines[0].say(&Frame::Frontier(vec![(author, vec![head(100_000)])])).await;
    until(&[&victim.node], |statuses| {
        statuses[0].catching_up.is_some_and(|progress| progress.lacking == 100_000)
    })
    .await;
    let progress = victim.node.status().await.unwrap().catching_up.unwrap();
    assert_eq!(progress.eta_seconds, None, "nothing of it comes");
    lines[1].say(&Frame::Frontier(vec![(author, vec![head(100_000)])])).await;
    // One of the two is told to keep it.
    let [one, two] = &mut lines;
    let told = async |line: &mut Line| loop {
        if let Frame::Elsewhere(authors) = line.hear().await {
            return authors;
        }
    };
    let authors = tokio::select! {
        authors = told(one) => authors,
        authors = told(two) => authors,
    };
    assert_eq!(authors, [author]);
    victim.still_serves().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_do_not_say_hello_are_few() {
    let (victim, liars) = Victim::and_liars(2).await;
    let mut silent = Vec::new();
    for _ in 0..4 {
        silent.push(liars[0].connect().await);
    }
    let refused = "4 other connections of this peer have not said hello";
    assert_eq!(liars[0].turned_away().await, refused);
    assert!(liars[1].greet().await.stands(), "others come in");
    victim.still_serves().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_opens_no_more_streams_than_agreed() {
    let (victim, liars) = Victim::and_liars(1).await;
    let line = liars[0].greet().await;
    let (mut bidirectional, mut unidirectional) = (vec![], vec![]);
    // One is the line's own.
    for _ in 1..STREAMS {
        bidirectional.push(line.connection.open_bi().await.unwrap());
    }
    for _ in 0..STREAMS {
        unidirectional.push(line.connection.open_uni().await.unwrap());
    }
    assert!(line.connection.open_bi().now_or_never().is_none());
    assert!(line.connection.open_uni().now_or_never().is_none());
    assert!(line.stands());
    victim.still_serves().await;
}

/// Asserts that a liar that sends on so many streams what nobody reads gets rid of so many bytes.
async fn stops_at(window: usize, streams: usize) {
    let (victim, liars) = Victim::and_liars(1).await;
    let mut transport = TransportConfig::default();
    transport.send_window(u64::from(u32::MAX));
    let line = liars[0].greet_with(transport).await;
    let written = Arc::new(AtomicUsize::new(0));
    let mut floods = Vec::new();
    for _ in 0..streams {
        let mut stream: SendStream = line.connection.open_uni().await.unwrap();
        let written = written.clone();
        floods.push(tokio::spawn(async move {
            while let Ok(bytes) = stream.write(&[7; 4_096]).await {
                written.fetch_add(bytes, Ordering::SeqCst);
            }
        }));
    }
    let written = || written.load(Ordering::SeqCst);
    until(&[&victim.node], |_| written() > window / 8 * 7).await;
    victim.still_serves().await;
    assert!(written() <= window, "{} bytes were taken", written());
    assert!(line.stands());
    floods.iter().for_each(|flood| flood.abort());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_reads_stops_at_the_window() {
    stops_at(CONNECTION_WINDOW, STREAMS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_reads_of_one_stream_stops_at_its_window() {
    stops_at(STREAM_WINDOW, 1).await;
}

/// A peer that lets everything come, and is dead as soon as something does: nobody runs its side of the
/// connection any more, so nothing is acknowledged.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_and_not_acknowledged_stops_at_the_window() {
    let liar = identity(100);
    let node = joining(1, nowhere(&liar)).await;
    let liar = Liar { identity: liar, cluster: CLUSTER, target: node.address().unwrap() };
    for _ in 0..32 {
        let noise: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..)).take(1 << 20).collect();
        let draft = Draft::bytes("t", "k", "application/octet-stream", noise).unwrap();
        node.append(draft).await.unwrap();
    }
    let dying = tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let line = runtime.block_on(async {
            let mut wide = TransportConfig::default();
            wide.stream_receive_window(VarInt::MAX).receive_window(VarInt::MAX);
            let mut line = liar.greet_with(wide).await;
            line.say(&Frame::Frontier(Vec::new())).await;
            while !matches!(line.hear().await, Frame::Run(_) | Frame::Block(_)) {}
            line
        });
        (runtime, line)
    });
    let (runtime, _line) = dying.await.unwrap();
    let sent = || node.metrics().sent_bytes.get() as usize;
    until(&[&node], |_| sent() > CONNECTION_WINDOW / 2).await;
    for _ in 0..100 {
        node.append(Draft::text("t", "k", "meanwhile").unwrap()).await.unwrap();
    }
    // What it had read, the window, and the frame that waits for it.
    let most = CONNECTION_WINDOW + (8 << 20);
    assert!(sent() < most, "{} bytes are kept for a dead peer", sent());
    runtime.shutdown_background();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_reads_nothing_is_noticed_by_nobody_else() {
    let (victim, liars) = Victim::and_liars(2).await;
    let mut narrow = TransportConfig::default();
    narrow.stream_receive_window(VarInt::from_u32(1 << 10));
    let mut reads_nothing = liars[0].greet_with(narrow).await;
    let mut drips = liars[1].greet().await;
    // Only who says what it holds is sent what it lacks.
    for line in [&mut reads_nothing, &mut drips] {
        line.say(&Frame::Frontier(Vec::new())).await;
    }
    let dripping = tokio::spawn(async move {
        let mut byte = [0];
        while drips.receive.read_exact(&mut byte).await.is_ok() {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    });
    for _ in 0..64 {
        // Text that hardly compresses.
        let text: String = std::iter::repeat_with(fastrand::alphanumeric).take(16_384).collect();
        victim.node.append(Draft::text("t", "k", text).unwrap()).await.unwrap();
    }
    victim.still_serves().await;
    drop(reads_nothing);
    dripping.abort();
}
