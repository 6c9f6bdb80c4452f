//! A full disk: the node refuses appends, goes on reading and sending, states what it couldn't
//! record, and takes appends again by itself.

mod support;

use std::cell::Cell;
use std::path::Path;
use std::time::Duration;

use support::gated::{Disk, Filling, SECRET, store, store_of};
use support::{LOOPBACK, members, merged, note, texts, tmpfs, until, until_equal};
use towline::node::verify::verify;
use towline::node::{AppendError, NodeError, OpenError, State, Storage, StoreError};
use towline::words::{EmitNumber, Gap, GapReason};
use towline::{Config, Draft, Entry, Node};

async fn open(disk: &Disk, ring: usize) -> Node {
    let store = Box::new(Filling::new(store(), disk));
    let storage = Storage::Opened { secret: SECRET, store };
    Node::open(Config::with_storage(storage).emit_ring(ring)).await.unwrap()
}

fn is_full<T>(result: &Result<T, AppendError>) -> bool {
    matches!(result, Err(AppendError::DiskFull(_)))
}

async fn until_state(node: &Node, state: State) {
    until(&[node], |statuses| statuses[0].state == state).await;
}

async fn verified(node: &Node) -> u64 {
    let verified = node.read(|reader| Ok(verify(reader, |_, _| {}))).await.unwrap();
    verified.unwrap().entries
}

fn gaps(log: &[Entry]) -> Vec<Gap> {
    log.iter().filter_map(Gap::from_entry).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_appends_until_it_has_room_again() {
    let disk = Disk::default();
    let node = open(&disk, 16).await;
    node.append(note("t", "before")).await.unwrap();
    disk.fill();
    for _ in 0..3 {
        assert!(is_full(&node.append(note("t", "refused")).await));
    }
    let status = node.status().await.unwrap();
    assert_eq!(status.state, State::ReadOnly);
    assert_eq!(status.trouble.as_deref(), Some("the disk is full: the test filled it"));
    assert_eq!(node.metrics().disk_full.get(), 1);
    assert_eq!(texts(&merged(&node).await), ["before"]);
    disk.empty();
    until_state(&node, State::Ok).await;
    assert_eq!(node.metrics().disk_full.get(), 0);
    let receipt = node.append(note("t", "after")).await.unwrap();
    assert_eq!((receipt.id.seq.0, receipt.offset.0), (1, 1));
    assert_eq!(texts(&merged(&node).await), ["before", "after"]);
    assert_eq!(verified(&node).await, 2);
    node.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_full_disk_refused_leaves_no_trace() {
    let disk = Disk::default();
    let node = open(&disk, 16).await;
    disk.fill();
    let drafts = || vec![note("t", "a"), note("t", "b")];
    assert!(is_full(&node.append_once("key", drafts()).await));
    disk.empty();
    until_state(&node, State::Ok).await;
    let large = (0..9_000).map(|n| note("t", &n.to_string())).collect();
    disk.fill(); // another segment would have been opened
    assert!(is_full(&node.append_all(large).await));
    disk.empty();
    until_state(&node, State::Ok).await;
    let receipts = node.append_once("key", drafts()).await.unwrap();
    assert_eq!(node.append_once("key", drafts()).await.unwrap(), receipts);
    assert_eq!(receipts[0].id.seq.0, 0);
    assert_eq!(texts(&merged(&node).await), ["a", "b"]);
    assert_eq!(verified(&node).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_a_full_disk_wait_and_what_the_ring_cant_hold_is_one_exact_gap() {
    let disk = Disk::default();
    let node = open(&disk, 16).await;
    disk.fill();
    node.emit(note("events", "0")).unwrap();
    until_state(&node, State::ReadOnly).await; // the recorder has heard it, and keeps it
    for n in 1..=100 {
        node.emit(note("events", &n.to_string())).unwrap();
    }
    disk.empty();
    until(&[&node], |s| s[0].recorded + s[0].dropped == 101).await;
    let log = merged(&node).await;
    let gap = Gap::new(EmitNumber(1), EmitNumber(84), GapReason::DiskFull);
    assert_eq!(gaps(&log), [gap]);
    let kept: Vec<String> = [0].into_iter().chain(85..=100).map(|n: u64| n.to_string()).collect();
    let events: Vec<Entry> =
        log.into_iter().filter(|entry| Gap::from_entry(entry).is_none()).collect();
    assert_eq!(texts(&events), kept);
    node.emit(note("events", "101")).unwrap();
    until(&[&node], |s| s[0].recorded == 18).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_ends_on_a_full_disk_ends_in_order() {
    let disk = Disk::default();
    let node = open(&disk, 16).await;
    disk.fill();
    node.emit(note("events", "0")).unwrap();
    until_state(&node, State::ReadOnly).await;
    assert_eq!(node.shutdown().await, Ok(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_starts_on_a_full_disk_reads_and_goes_on_when_there_is_room() {
    let disk = Disk::default();
    let kept = store();
    let storage = |store| Storage::Opened { secret: SECRET, store: Box::new(store) };
    let node = Node::open(Config::with_storage(storage(Filling::new(kept.clone(), &disk)))).await;
    node.unwrap().append(note("t", "before")).await.unwrap();
    disk.fill();
    let node = Node::open(Config::with_storage(storage(Filling::new(kept, &disk)))).await.unwrap();
    assert_eq!(node.status().await.unwrap().state, State::ReadOnly);
    assert_eq!(texts(&merged(&node).await), ["before"]);
    assert!(is_full(&node.append(note("t", "refused")).await));
    disk.empty();
    until_state(&node, State::Ok).await;
    node.append(note("t", "after")).await.unwrap();
    let number = node.emit(note("events", "e")).unwrap().unwrap();
    until(&[&node], |s| s[0].recorded == 1).await;
    assert!(number > EmitNumber(0), "the block of the first life was given up");
}

/// A draft that hardly compresses.
fn noise(n: u64) -> Draft {
    let word = |k: u64| format!("{:016x}", (4 * n + k).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    note("t", &[0, 1, 2, 3].map(word).concat())
}

/// The bytes that a node has received from its peers.
fn received(node: &Node) -> u64 {
    node.metrics().received_bytes.get()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_node_serves_its_peers_and_catches_up_when_there_is_room() {
    let members = members(3);
    let (disk, roomy) = (Disk::default(), Disk::default());
    let config = |own: usize, others: &[usize]| {
        let store = store_of(&members[own].secret);
        let store = Box::new(Filling::new(store, if own == 1 { &disk } else { &roomy }));
        let storage = Storage::Opened { secret: members[own].secret, store };
        let mut config = Config::with_storage(storage).listen(members[own].peer.address);
        config.interval = Duration::from_millis(20);
        others.iter().fold(config, |config, other| config.peer(members[*other].peer))
    };
    let a = Node::open(config(0, &[1])).await.unwrap();
    let b = Node::open(config(1, &[0, 2])).await.unwrap();
    a.append_all((0..20).map(|n| note("t", &n.to_string())).collect()).await.unwrap();
    until_equal(&[&a, &b], 20).await;

    disk.fill();
    let before = received(&b);
    a.append_all((0..2_000).map(noise).collect()).await.unwrap();
    // It is what A appended that finds no room. All of it comes, and is dropped; the session goes on.
    until(&[&b], |statuses| {
        assert_eq!(statuses[0].peers.connected, 1);
        statuses[0].state == State::ReadOnly && received(&b) > before + 60_000
    })
    .await;
    assert!(is_full(&b.append(note("t", "refused")).await));
    // It does not come again at every interval: soon there is nothing but digests.
    let quiet = Cell::new(received(&b));
    until(&[&b], |statuses| {
        assert_eq!(statuses[0].peers.connected, 1);
        if received(&b) > quiet.get() + 20_000 {
            quiet.set(received(&b));
        }
        received(&b) > quiet.get() + 2_000
    })
    .await;
    // B serves what it has to one that comes now.
    let c = Node::open(config(2, &[1])).await.unwrap();
    until_equal(&[&b, &c], 20).await;
    assert_eq!(b.status().await.unwrap().peers.connected, 2);
    for node in [&a, &b, &c] {
        assert_eq!(node.metrics().violations.get(), 0);
    }

    disk.empty();
    until_equal(&[&a, &b, &c], 2_020).await;
    b.append(note("t", "after")).await.unwrap();
    until_equal(&[&a, &b, &c], 2_021).await;
}

fn block(n: u64) -> Draft {
    // Nothing that a file system could make smaller.
    let mut state = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut byte = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    let data: Vec<u8> = (0..4_000).map(|_| byte()).collect();
    Draft::bytes("t", "block", "application/octet-stream", data).unwrap()
}

/// Appends until the disk is full; returns how many were acknowledged.
async fn append_until_full(node: &Node) -> u64 {
    for n in 0.. {
        match node.append(block(n)).await {
            Ok(_) => {}
            Err(AppendError::DiskFull(_)) => return n,
            Err(error) => panic!("{error}"),
        }
    }
    unreachable!("the disk has an end")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_disk_that_fills_up_loses_nothing_and_the_node_recovers() {
    let name = "a_real_disk_that_fills_up_loses_nothing_and_the_node_recovers";
    // Larger than the write-ahead log, so that checkpoints run short of room as well.
    let Some(disk) = tmpfs::of_size(name, "24m") else { return };
    let ballast = disk.join("ballast");
    tmpfs::fill(&ballast, 4 << 20);
    let node = Node::open(Config::new(disk.join("node")).listen(LOOPBACK)).await.unwrap();
    let acknowledged = append_until_full(&node).await;
    assert_eq!(node.status().await.unwrap().state, State::ReadOnly);
    assert_eq!(merged(&node).await.len() as u64, acknowledged);
    node.emit(note("events", "kept in the ring")).unwrap();
    std::fs::remove_file(&ballast).unwrap();
    until_state(&node, State::Ok).await;
    until(&[&node], |s| s[0].recorded == 1).await;
    node.append(note("t", "after")).await.unwrap();
    assert_eq!(verified(&node).await, acknowledged + 2);
    node.shutdown().await.unwrap();
    check_again(&disk.join("node"), acknowledged + 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_ended_on_a_real_full_disk_states_what_it_lost_exactly() {
    let name = "a_node_ended_on_a_real_full_disk_states_what_it_lost_exactly";
    let Some(disk) = tmpfs::of_size(name, "4m") else { return };
    let (ballast, path) = (disk.join("ballast"), disk.join("node"));
    let node = Node::open(Config::new(&path)).await.unwrap();
    tmpfs::fill(&ballast, usize::MAX);
    let acknowledged = append_until_full(&node).await;
    for n in 0..50 {
        node.emit(note("events", &n.to_string())).unwrap();
    }
    node.shutdown().await.unwrap();
    drop(node);
    std::fs::remove_file(&ballast).unwrap();
    let node = Node::open(Config::new(&path)).await.unwrap();
    until(&[&node], |s| s[0].gaps == 1).await;
    let gap = Gap::new(EmitNumber(0), EmitNumber(49), GapReason::DiskFull);
    assert_eq!(gaps(&merged(&node).await), [gap]);
    assert_eq!(node.emit(note("events", "50")), Ok(Some(EmitNumber(50))));
    until(&[&node], |s| s[0].recorded == 1).await;
    assert_eq!(verified(&node).await, acknowledged + 2);
    node.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_finds_no_room_to_start_in_says_so() {
    let name = "a_node_that_finds_no_room_to_start_in_says_so";
    let Some(disk) = tmpfs::of_size(name, "4m") else { return };
    let path = disk.join("node");
    let node = Node::open(Config::new(&path)).await.unwrap();
    node.append(note("t", "before")).await.unwrap();
    node.shutdown().await.unwrap();
    drop(node);
    let ballast = disk.join("ballast");
    tmpfs::fill(&ballast, usize::MAX);
    let refused = Node::open(Config::new(&path)).await.err();
    let full =
        |error: &NodeError| matches!(error, NodeError::Open(OpenError::Store(StoreError::Full(_))));
    assert!(refused.as_ref().is_some_and(full), "{refused:?}");
    std::fs::remove_file(&ballast).unwrap();
    check_again(&path, 1).await;
}

async fn check_again(path: &Path, entries: u64) {
    let node = Node::open(Config::new(path)).await.unwrap();
    assert_eq!(verified(&node).await, entries);
    node.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_cant_be_written_is_refused_untouched() {
    let name = "a_directory_that_cant_be_written_is_refused_untouched";
    let Some(disk) = support::tmpfs::of_size(name, "8m") else { return };
    let home = disk.join("home");
    let node = Node::open(Config::new(&home)).await.unwrap();
    node.append(note("t", "x")).await.unwrap();
    node.shutdown().await.unwrap();
    drop(node);
    let before = std::fs::read(home.join("log.sqlite")).unwrap();
    let mut remount = std::process::Command::new("mount");
    assert!(remount.args(["-o", "remount,ro"]).arg(&disk).status().unwrap().success());
    let refused = Node::open(Config::new(&home)).await.err().unwrap().to_string();
    assert!(refused.contains("Read-only file system"), "{refused}");
    assert_eq!(std::fs::read(home.join("log.sqlite")).unwrap(), before);
}
