//! Peers that are slow or silent, and peers that take more than their share of a connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::FutureExt;
use quinn::{SendStream, TransportConfig, VarInt};
use towline::Draft;
use towline::core::frame::Frame;
use towline::core::frontier::Head;
use towline::words::{ChangeHash, NodeId, SegmentId, Seq};

use crate::liar::{Line, length};
use crate::support::until;
use crate::victim::Victim;

/// How many streams of each sort a peer may open.
const STREAMS: usize = 16;
/// How many bytes a peer may send that nobody reads.
const CONNECTION_WINDOW: usize = 8 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn whoever_never_says_hello_is_let_go_without_blame() {
    let (victim, liars) = Victim::and_liars(3).await;
    let silent = liars[0].connect().await;
    let mut begun = liars[1].connect().await;
    begun.throw(&length(100)).await;
    let mut hears_only = liars[2].connect().await;
    hears_only.throw(&[0]).await;
    for line in [silent, begun, hears_only] {
        line.closed().await;
    }
    assert_eq!(victim.violations(), 0);
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

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_reads_stops_at_the_window() {
    let (victim, liars) = Victim::and_liars(1).await;
    let mut transport = TransportConfig::default();
    transport.send_window(u64::from(u32::MAX));
    let line = liars[0].greet_with(transport).await;
    let written = Arc::new(AtomicUsize::new(0));
    let mut floods = Vec::new();
    for _ in 0..STREAMS {
        let mut stream: SendStream = line.connection.open_uni().await.unwrap();
        let written = written.clone();
        floods.push(tokio::spawn(async move {
            while let Ok(bytes) = stream.write(&[7; 4_096]).await {
                written.fetch_add(bytes, Ordering::SeqCst);
            }
        }));
    }
    let written = || written.load(Ordering::SeqCst);
    until(&[&victim.node], |_| written() > CONNECTION_WINDOW / 8 * 7).await;
    victim.still_serves().await;
    assert!(written() <= CONNECTION_WINDOW, "{} bytes were taken", written());
    assert!(line.stands());
    floods.iter().for_each(|flood| flood.abort());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_reads_nothing_is_noticed_by_nobody_else() {
    let (victim, liars) = Victim::and_liars(2).await;
    let mut narrow = TransportConfig::default();
    narrow.stream_receive_window(VarInt::from_u32(1 << 10));
    let reads_nothing = liars[0].greet_with(narrow).await;
    let mut drips = liars[1].greet().await;
    let dripping = tokio::spawn(async move {
        let mut byte = [0];
        while drips.receive.read_exact(&mut byte).await.is_ok() {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    });
    for n in 0..64 {
        // Text that doesn't compress to nothing.
        let text: String =
            (0..16_384).map(|at| char::from(b'a' + ((at * 7 + n) % 23) as u8)).collect();
        victim.node.append(Draft::text("t", "k", text).unwrap()).await.unwrap();
    }
    victim.still_serves().await;
    drop(reads_nothing);
    dripping.abort();
}
