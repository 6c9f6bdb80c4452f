//! A disk without room, at each of the places where SQLite needs some.

use towline::Node;
use towline::node::{AppendError, State};
use towline::store::sqlite::SqliteReader;

use crate::disk::{Call, Fault, On, Trouble};
use crate::seed::{Sweep, Trying, sweep};
use crate::watched_node::Watched;

/// Large entries, so that a few fill the write-ahead log.
const LARGE: usize = 200_000;

fn no_room(call: Call, on: On, nth: usize) -> Fault {
    Fault { call, on, nth, times: usize::MAX, trouble: Trouble::Full }
}

/// Appends entries of this size until one is refused, for want of room and nothing else.
async fn fill(watched: &mut Watched, node: &Node, bytes: usize) {
    loop {
        match watched.append(node, bytes).await {
            Ok(()) => {}
            Err(AppendError::DiskFull(_)) => break,
            Err(error) => panic!("{error}"),
        }
    }
    assert!(watched.disk.failed() > 0);
    assert_eq!(node.status().await.unwrap().state, State::ReadOnly);
}

/// A disk without room refuses appends, and nothing else: what was acknowledged is shown, and is
/// there after a power cut, after a restart, and after a restart with room, where appends go on.
async fn loses_nothing(mut watched: Watched, node: Node) {
    watched.assert_shown_by(&node).await;
    watched.assert_outlives_a_power_cut();
    drop(node.shutdown().await);
    drop(node);
    watched.assert_outlives_a_power_cut();
    watched.disk.heal();
    watched.assert_outlives_a_restart();
    let node = watched.open().await.unwrap();
    watched.append(&node, 10).await.unwrap();
    watched.assert_outlives_a_power_cut();
    node.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_append_without_room_in_the_log_is_refused_and_loses_nothing() {
    let step = if sweep() == Sweep::Full { 1 } else { 3 };
    for nth in (0..40).step_by(step) {
        let _trying = Trying(format!("no room from write {nth} on"));
        let mut watched = Watched::new();
        let node = watched.open().await.unwrap();
        watched.append(&node, 5_000).await.unwrap();
        watched.disk.fail(no_room(Call::Write, On::Wal, nth));
        fill(&mut watched, &node, 5_000).await;
        loses_nothing(watched, node).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_append_without_room_for_the_logs_index_is_refused_and_loses_nothing() {
    let mut watched = Watched::new();
    let node = watched.open().await.unwrap();
    watched.append(&node, 10).await.unwrap();
    // A reader that holds on to its snapshot lets the log grow, and its index with it.
    let snapshot = SqliteReader::open(&watched.path()).unwrap().snapshot().unwrap();
    watched.disk.fail(no_room(Call::ExtendShm, On::Any, 0));
    fill(&mut watched, &node, LARGE).await;
    drop(snapshot);
    loses_nothing(watched, node).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_without_room_in_the_file_loses_nothing() {
    let mut watched = Watched::new();
    let node = watched.open().await.unwrap();
    watched.disk.fail(no_room(Call::Write, On::Database, 0));
    // The log takes what the file has no room for.
    while watched.disk.failed() < 3 {
        watched.append(&node, LARGE).await.unwrap();
    }
    node.shutdown().await.unwrap();
    drop(node);
    let node = watched.open().await.unwrap();
    watched.append(&node, LARGE).await.unwrap();
    loses_nothing(watched, node).await;
}
