//! Emit, the recorder and its gaps: what is emitted is recorded, or stated as dropped.

mod support;

use support::gated::{SECRET, gated, store};
use support::{merged, note, until};
use towline::node::{Delivery, EmitError, Heard, Storage};
use towline::store::Store;
use towline::words::{EmitNumber, Gap, GapReason, Kind};
use towline::{Config, Draft, Entry, Node};

async fn open(store: impl Store + 'static, ring: usize) -> Node {
    let storage = Storage::Opened { secret: SECRET, store: Box::new(store) };
    Node::open(Config::with_storage(storage).emit_ring(ring)).await.unwrap()
}

fn event(n: u64) -> Draft {
    note("events", &n.to_string())
}

fn emit_each(node: &Node, numbers: impl IntoIterator<Item = u64>) {
    for n in numbers {
        node.emit(event(n)).unwrap();
    }
}

/// The emit numbers that a log accounts for, in its order: recorded events by their payload, gaps
/// by their range.
fn accounted(log: &[Entry]) -> Vec<(u64, u64)> {
    log.iter()
        .map(|entry| match Gap::from_entry(entry) {
            Some(gap) => {
                assert_eq!(gap.count, gap.to.0 - gap.from.0 + 1);
                (gap.from.0, gap.to.0)
            }
            None => {
                let number = String::from_utf8_lossy(&entry.body.data).parse().unwrap();
                (number, number)
            }
        })
        .collect()
}

fn tiles(log: &[Entry], emitted: u64) {
    let mut next = 0;
    for (from, to) in accounted(log) {
        assert_eq!(from, next, "hole or overlap");
        next = to + 1;
    }
    assert_eq!(next, emitted);
}

fn gaps(log: &[Entry]) -> Vec<Gap> {
    log.iter().filter_map(Gap::from_entry).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recorder_that_keeps_up_drops_nothing() {
    let node = open(store(), 1_024).await;
    for n in 0..500 {
        assert_eq!(node.emit(event(n)), Ok(Some(EmitNumber(n))));
    }
    until(&[&node], |s| s[0].recorded == 500).await;
    let log = merged(&node).await;
    tiles(&log, 500);
    assert!(gaps(&log).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_recorder_leaves_one_gap_with_the_exact_range() {
    let (store, gate) = gated(store());
    let opening = tokio::spawn(open(store, 16));
    gate.until_waiting(); // the reservation of emit numbers
    gate.pass();
    let node = opening.await.unwrap();
    node.emit(event(0)).unwrap();
    gate.until_waiting(); // the recorder's first commit hangs, and it hears nothing more
    for n in 1..=100 {
        node.emit(event(n)).unwrap();
    }
    drop(gate);
    until(&[&node], |s| s[0].recorded + s[0].dropped == 101).await;
    let log = merged(&node).await;
    tiles(&log, 101);
    // The ring holds the newest 16, so 1..=84 are gone.
    let gap = Gap::new(EmitNumber(1), EmitNumber(84), GapReason::Lag);
    assert_eq!(gaps(&log), [gap]);
    let status = node.status().await.unwrap();
    assert_eq!((status.emitted, status.recorded, status.dropped, status.gaps), (101, 17, 84, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gap_stands_ahead_of_the_next_event_in_the_same_change() {
    let (store, gate) = gated(store());
    let opening = tokio::spawn(open(store, 4));
    gate.until_waiting();
    gate.pass();
    let node = opening.await.unwrap();
    node.emit(event(0)).unwrap();
    gate.until_waiting();
    emit_each(&node, 1..=9);
    drop(gate);
    until(&[&node], |s| s[0].recorded + s[0].dropped == 10).await;
    let log = merged(&node).await;
    let at = log.iter().position(|entry| Gap::from_entry(entry).is_some()).unwrap();
    assert_eq!(log[at].change, log[at + 1].change);
    assert_eq!(accounted(&log[at..=at + 1]), [(1, 5), (6, 6)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_tiles_whatever_is_dropped() {
    let node = open(store(), 64).await;
    let emitting = {
        let node = node.clone();
        tokio::task::spawn_blocking(move || {
            emit_each(&node, 0..50_000);
        })
    };
    emitting.await.unwrap();
    until(&[&node], |s| s[0].recorded + s[0].dropped == 50_000).await;
    tiles(&merged(&node).await, 50_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn emitters_at_the_same_time_share_the_numbers() {
    let node = open(store(), 1 << 16).await;
    let emit = |_| {
        let node = node.clone();
        tokio::task::spawn_blocking(move || {
            (0..1_000).map(|_| node.emit(note("t", "x")).unwrap().unwrap().0).collect::<Vec<_>>()
        })
    };
    let mut numbers = Vec::new();
    for emitting in (0..4).map(emit).collect::<Vec<_>>() {
        numbers.extend(emitting.await.unwrap());
    }
    numbers.sort_unstable();
    assert_eq!(numbers, (0..4_000).collect::<Vec<_>>());
    until(&[&node], |s| s[0].recorded + s[0].dropped == 4_000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_leaves_an_inexact_gap_and_the_numbers_go_on_above_it() {
    let kept = store();
    let (store, gate) = gated(kept.clone());
    let opening = tokio::spawn(open(store, 64));
    gate.until_waiting();
    gate.pass();
    let node = opening.await.unwrap();
    node.emit(event(0)).unwrap();
    gate.until_waiting();
    gate.pass();
    until(&[&node], |s| s[0].recorded == 1).await;
    emit_each(&node, 1..5);
    gate.until_waiting();
    std::mem::forget(node); // never committed, never shut down: as if the process had died
    std::mem::forget(gate);

    let node = open(kept, 64).await;
    until(&[&node], |s| s[0].gaps == 1).await;
    let log = merged(&node).await;
    let [gap] = gaps(&log)[..] else { panic!("{log:?}") };
    assert_eq!((gap.from, gap.reason, gap.exact), (EmitNumber(1), GapReason::Crash, false));
    let first = node.emit(note("t", "x")).unwrap().unwrap();
    assert_eq!(first.0, gap.to.0 + 1);
    let status = node.status().await.unwrap();
    assert_eq!(status.emitted, first.0 + 1);
    until(&[&node], |s| s[0].recorded + s[0].dropped == s[0].emitted).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_after_all_was_recorded_leaves_no_gap_in_a_data_directory() {
    let directory = tempfile::tempdir().unwrap();
    let kept = tempfile::tempdir().unwrap();
    let node = Node::open(Config::new(directory.path())).await.unwrap();
    emit_each(&node, 0..10);
    until(&[&node], |s| s[0].recorded == 10).await;
    // What a killed process leaves behind: its files, without a shutdown.
    for file in std::fs::read_dir(directory.path()).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), kept.path().join(file.file_name())).unwrap();
    }
    let again = Node::open(Config::new(kept.path())).await.unwrap();
    assert_eq!(again.emit(event(10)), Ok(Some(EmitNumber(10))));
    until(&[&again], |s| s[0].recorded == 11).await;
    tiles(&merged(&again).await, 11);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_writes_what_is_in_the_ring() {
    let kept = store();
    let node = open(kept.clone(), 1_024).await;
    emit_each(&node, 0..200);
    node.shutdown().await.unwrap();
    assert!(matches!(node.emit(event(200)), Err(EmitError::Closed(_))));
    let node = open(kept, 64).await;
    let log = merged(&node).await;
    tiles(&log, 200);
    assert!(gaps(&log).is_empty());
    assert_eq!(node.emit(event(200)), Ok(Some(EmitNumber(200))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_that_finds_the_ring_overrun_states_it_exactly() {
    let kept = store();
    let (store, gate) = gated(kept.clone());
    let opening = tokio::spawn(open(store, 8));
    gate.until_waiting();
    gate.pass();
    let node = opening.await.unwrap();
    node.emit(event(0)).unwrap();
    gate.until_waiting();
    emit_each(&node, 1..=50);
    let ending = tokio::spawn({
        let node = node.clone();
        async move { node.shutdown().await }
    });
    drop(gate);
    ending.await.unwrap().unwrap();
    let node = open(kept, 8).await;
    let log = merged(&node).await;
    tiles(&log, 51);
    assert!(gaps(&log).iter().all(|gap| gap.exact));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kind_decides_how_its_events_are_delivered() {
    let kind = |name: &str| Kind::parse(name).unwrap();
    let config = Config::in_memory()
        .delivery(kind("noise"), Delivery::BroadcastOnly)
        .delivery(kind("quiet"), Delivery::RecordOnly);
    let node = Node::open(config).await.unwrap();
    let mut listener = node.listen().unwrap();
    let of_kind = |kind: &str| Draft::text("t", kind, kind).unwrap();
    assert_eq!(node.emit(of_kind("quiet")), Ok(Some(EmitNumber(0))));
    assert_eq!(node.emit(of_kind("noise")), Ok(None));
    assert_eq!(node.emit(of_kind("plain")), Ok(Some(EmitNumber(1))));
    let mut heard = Vec::new();
    while heard.len() < 2 {
        match listener.next().await.unwrap() {
            Heard::Event(event) => heard.push(event.kind.to_string()),
            Heard::Missed(_) => panic!("the listener kept up"),
        }
    }
    assert_eq!(heard, ["noise", "plain"]);
    until(&[&node], |s| s[0].recorded == 2).await;
    let recorded: Vec<String> =
        merged(&node).await.iter().map(|entry| entry.body.kind.to_string()).collect();
    assert_eq!(recorded, ["quiet", "plain"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loss_is_stated_even_if_no_recorded_event_follows_it() {
    let (store, gate) = gated(store());
    let storage = Storage::Opened { secret: SECRET, store: Box::new(store) };
    let noise = Kind::parse("noise").unwrap();
    let config =
        Config::with_storage(storage).emit_ring(8).delivery(noise, Delivery::BroadcastOnly);
    let opening = tokio::spawn(Node::open(config));
    gate.until_waiting();
    gate.pass();
    let node = opening.await.unwrap().unwrap();
    node.emit(event(0)).unwrap();
    gate.until_waiting();
    emit_each(&node, 1..4);
    for _ in 0..20 {
        node.emit(Draft::text("t", "noise", "x").unwrap()).unwrap();
    }
    drop(gate);
    until(&[&node], |s| s[0].recorded + s[0].dropped == 4).await;
    let gap = Gap::new(EmitNumber(1), EmitNumber(3), GapReason::Lag);
    assert_eq!(gaps(&merged(&node).await), [gap]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_that_lags_is_told_how_many_it_missed() {
    let node = open(store(), 4).await;
    let mut listener = node.listen().unwrap();
    emit_each(&node, 0..10);
    assert!(matches!(listener.next().await, Some(Heard::Missed(6))));
    assert!(matches!(listener.next().await, Some(Heard::Event(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_over_64_kib_is_refused_and_takes_no_number() {
    let node = open(store(), 4).await;
    let large = Draft::bytes("t", "k", "text/plain", vec![b'x'; (64 << 10) + 1]).unwrap();
    assert!(matches!(node.emit(large), Err(EmitError::Draft(_))));
    assert_eq!(node.emit(event(0)), Ok(Some(EmitNumber(0))));
}
