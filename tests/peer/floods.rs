//! Floods: whatever a member or a stranger sends, and however fast, memory is bounded and others go
//! on.

use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use quinn::{Connection, Endpoint, RecvStream, TransportConfig, VarInt};
use towline::core::frame::Frame;
use towline::core::frontier::Head;
use towline::node::PeerAddress;
use towline::words::limits::FRAME_BYTES;
use towline::words::{ChangeHash, NodeId, SegmentId, Seq};
use towline::{Draft, Node};

use crate::initial;
use crate::liar::{Liar, Line, dial, length, packed};
use crate::papers::Papers;
use crate::scribe::{Scribe, frame};
use crate::support::PATIENCE;
use crate::support::process::Process;
use crate::victim::{CLUSTER, identity, joining, nowhere};

/// The honest member's identity, and the first liar's.
const HONEST: u8 = 2;
const LIAR: u8 = 100;

/// A node in a process of its own that admits an honest member and so many liars.
fn process(liars: u8) -> (Process, Vec<Liar>) {
    let liars = LIAR..LIAR + liars;
    let members = std::iter::once(HONEST).chain(liars.clone());
    let mut arguments = vec![format!("--cluster={CLUSTER}")];
    arguments.extend(members.map(|n| format!("--peer={}", nowhere(&identity(n)))));
    let process = Process::run(&arguments);
    process.append();
    let liar = |n| Liar { identity: identity(n), cluster: CLUSTER, target: process.quic };
    let liars = liars.map(liar).collect();
    (process, liars)
}

fn address(process: &Process) -> PeerAddress {
    PeerAddress { node: process.node, address: process.quic }
}

/// Waits until an honest member has all that the node has appended.
async fn until_held(honest: &Node, process: &Process) {
    let appended = process.metric("appended_entries_total");
    let wait = async {
        loop {
            let frontier = honest.frontier().await.unwrap().frontier;
            if frontier.next_seq(&process.node).0 >= appended {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    let patience = 2 * PATIENCE;
    tokio::time::timeout(patience, wait).await.expect("the honest member gets nothing");
}

/// Reads whatever comes, and lets it go.
fn read_all(mut stream: RecvStream) {
    tokio::spawn(async move {
        let mut buffer = vec![0; 1 << 16];
        while let Ok(Some(_)) = stream.read(&mut buffer).await {}
    });
}

/// A line that says hello and then listens to nothing that matters.
async fn shouting(liar: &Liar) -> Line {
    let mut line = liar.greet().await;
    let (_, unused) = line.connection.open_bi().await.unwrap();
    read_all(std::mem::replace(&mut line.receive, unused));
    line
}

#[tokio::test(flavor = "multi_thread")]
async fn members_that_flood_with_changes_starve_nobody() {
    let (mut process, liars) = process(3);
    let honest = joining(HONEST, address(&process)).await;
    let text: String = (0..1_000_000_u64).map(letter).collect();
    let draft = Draft::text("t", "k", text).unwrap();
    let floods = liars.into_iter().map(|liar| {
        let draft = draft.clone();
        tokio::spawn(async move {
            let mut line = shouting(&liar).await;
            for segment in 0..4 {
                let mut scribe = Scribe::new(liar.identity.clone(), CLUSTER, segment);
                for _ in 0..6 {
                    let place = scribe.place.clone();
                    let (change, entries) = scribe.write_drafts(std::slice::from_ref(&draft));
                    line.say(&frame(scribe.signed(place, change.hash, vec![entries]))).await;
                }
            }
            line
        })
    });
    let floods: Vec<_> = floods.collect();
    while floods.iter().any(|flood| !flood.is_finished()) {
        tokio::task::block_in_place(|| process.append());
    }
    for flood in floods {
        assert!(flood.await.unwrap().stands(), "what was sent is well-formed");
    }
    until_held(&honest, &process).await;
    process.assert_sound();
}

/// Letters without a pattern that compresses.
fn letter(at: u64) -> char {
    char::from(b'a' + (at.wrapping_mul(at).wrapping_mul(2_654_435_761) >> 13) as u8 % 26)
}

#[tokio::test(flavor = "multi_thread")]
async fn members_that_flood_with_huge_frontiers_starve_nobody() {
    let (mut process, liars) = process(5);
    let honest = joining(HONEST, address(&process)).await;
    let author = |n: u32| {
        let mut id = [5; 32];
        id[..4].copy_from_slice(&n.to_be_bytes());
        NodeId(id)
    };
    let head = |n: u8| Head {
        segment: SegmentId([n; 16]),
        next_seq: Seq(u64::MAX),
        hash: ChangeHash([7; 32]),
    };
    // Just under 16 MiB unpacked, and 25 KiB as it travels.
    let heads: Vec<_> = (0..10_000).map(|n| (author(n), (0..25).map(head).collect())).collect();
    let (frontier, ack) = (Frame::Frontier(heads.clone()), Frame::Ack(heads));
    let said = Arc::new([packed(&frontier.encode()), packed(&ack.encode())]);
    let floods = liars.into_iter().map(|liar| {
        let said = said.clone();
        tokio::spawn(async move {
            let mut line = shouting(&liar).await;
            for n in 0..30 {
                line.throw(&said[n % 2]).await;
            }
            line
        })
    });
    let floods: Vec<_> = floods.collect();
    for _ in 0..20 {
        tokio::task::block_in_place(|| process.append());
    }
    until_held(&honest, &process).await;
    process.assert_sound();
    for flood in floods {
        assert!(flood.await.unwrap().stands());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_members_send_and_nobody_reads_fits_into_memory() {
    let (mut process, liars) = process(4);
    let honest = joining(HONEST, address(&process)).await;
    let mut lines = Vec::new();
    for liar in &liars {
        let mut greeted = liar.greet().await;
        // A payload as large as one may be is promised, and never comes.
        greeted.throw(&[&length(FRAME_BYTES)[..], &[0]].concat()).await;
        lines.push(greeted);
        for _ in 0..4 {
            lines.push(liar.connect_with(TransportConfig::default()).await);
        }
    }
    for line in &lines {
        for _ in 0..8 {
            tokio::spawn(fill(line.connection.clone()));
        }
    }
    // Each session takes 8 MiB, and so does who hasn't said hello, for as long as that may stay.
    let sent = || lines.iter().map(|line| line.connection.stats().udp_tx.bytes).sum::<u64>();
    let began = std::time::Instant::now();
    while sent() < (liars.len() as u64 * 2) * (8 << 20) {
        assert!(began.elapsed() < PATIENCE, "{} bytes were sent", sent());
        tokio::task::block_in_place(|| process.append());
    }
    // They would send on if they could.
    tokio::task::block_in_place(|| (0..200).for_each(|_| process.append()));
    until_held(&honest, &process).await;
    process.assert_sound();
}

/// They lack far more than there is memory for, taken together, and read nothing of it.
#[tokio::test(flavor = "multi_thread")]
async fn what_members_are_sent_and_do_not_read_fits_into_memory() {
    let (mut process, liars) = process(16);
    tokio::task::block_in_place(|| {
        for n in 0..64 {
            let text: String = (n..n + 1_000_000).map(letter).collect();
            process.append_text(&text);
        }
    });
    let mut lines = Vec::new();
    for liar in &liars {
        let mut narrow = TransportConfig::default();
        narrow.stream_receive_window(VarInt::from_u32(1 << 10));
        let mut line = liar.greet_with(narrow).await;
        line.say(&Frame::Frontier(Vec::new())).await;
        lines.push(line);
    }
    let honest = joining(HONEST, address(&process)).await;
    until_held(&honest, &process).await;
    process.assert_sound();
    assert!(lines.iter().all(Line::stands), "they have some time to begin to read");
}

/// Sends on a stream of its own what nobody reads.
async fn fill(connection: Connection) {
    let Ok(mut stream) = connection.open_uni().await else { return };
    while stream.write_all(&[7; 1 << 14]).await.is_ok() {}
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_joins_while_forged_addresses_flood() {
    let (mut process, _) = process(0);
    let flood = Flood::begin(&process, "127.0.0.1:0", Answering::Never);
    let honest = joining(HONEST, address(&process)).await;
    tokio::task::block_in_place(|| process.append());
    until_held(&honest, &process).await;
    assert!(flood.end() > 1_000, "it was no flood");
    process.assert_sound();
    assert!(process.peak_memory() < 128 << 10, "{} KiB", process.peak_memory());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_joins_while_one_real_address_takes_all_that_it_can() {
    let (mut process, _) = process(0);
    let flood = Flood::begin(&process, "127.0.1.1:0", Answering::Retries);
    let crowded = || process.metric("crowded_handshakes_total") > 0;
    let began = std::time::Instant::now();
    while !tokio::task::block_in_place(crowded) {
        assert!(began.elapsed() < PATIENCE, "nothing was refused");
    }
    let honest = joining(HONEST, address(&process)).await;
    tokio::task::block_in_place(|| process.append());
    until_held(&honest, &process).await;
    flood.end();
    process.assert_sound();
    assert!(process.peak_memory() < 128 << 10, "{} KiB", process.peak_memory());
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_fill_no_log() {
    let (mut process, _) = process(0);
    let stranger = Papers::of(&identity(50));
    let knocking = (0..100).map(|_| knock(stranger.clone(), &process));
    for (_endpoint, refused) in futures_util::future::join_all(knocking).await {
        assert!(refused);
    }
    let began = std::time::Instant::now();
    while tokio::task::block_in_place(|| process.metric("violations_total")) < 100 {
        assert!(began.elapsed() < PATIENCE);
    }
    let lines = process.said().matches("refused a handshake").count();
    assert!((1..=20).contains(&lines), "{lines} lines");
    process.assert_sound();
}

async fn knock(papers: Papers, process: &Process) -> (Option<Endpoint>, bool) {
    match dial(&papers, TransportConfig::default(), process.quic).await {
        Err(_) => (None, true),
        Ok((endpoint, connection)) => {
            connection.closed().await;
            (Some(endpoint), true)
        }
    }
}

/// Whether a flood's sender answers what comes back.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Answering {
    /// It can't: its addresses are forged.
    Never,
    /// It proves its address, and then says no more.
    Retries,
}

/// Handshakes that are begun as fast as can be.
struct Flood {
    thread: JoinHandle<u64>,
    is_over: Arc<AtomicBool>,
}

impl Flood {
    fn begin(process: &Process, from: &str, answering: Answering) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let (over, target) = (is_over.clone(), process.quic);
        let sockets: Vec<UdpSocket> = (0..50).map(|_| UdpSocket::bind(from).unwrap()).collect();
        for socket in &sockets {
            socket.set_nonblocking(true).unwrap();
        }
        let source = *b"floodfld";
        let hello = initial::client_hello(Papers::none().tls(), source);
        let thread = std::thread::spawn(move || {
            let mut begun = 0_u64;
            let mut answer = [0; 2_048];
            while !over.load(Ordering::Relaxed) {
                let socket = &sockets[begun as usize % sockets.len()];
                let packet = initial::packet(&hello, &[], &begun.to_be_bytes(), source);
                drop(socket.send_to(&packet, target));
                begun += 1;
                while answering == Answering::Retries
                    && let Ok(length) = socket.recv(&mut answer)
                {
                    let Some((id, token)) = initial::retry(&answer[..length]) else { continue };
                    drop(socket.send_to(&initial::packet(&hello, &token, &id, source), target));
                }
            }
            begun
        });
        Self { thread, is_over }
    }

    /// Ends the flood, and says how many handshakes it has begun.
    fn end(self) -> u64 {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}
