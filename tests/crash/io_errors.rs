//! A disk that fails once, and then works again: the writer stops, and asks no sync twice.

use towline::node::{AppendError, State};

use crate::disk::{Call, Fault, On, Trouble};
use crate::seed::{Sweep, Trying, sweep};
use crate::watched_node::Watched;

/// A node that has a past opens, and one of its calls to the disk fails with EIO. Returns whether
/// there were enough calls for that.
async fn fails_once(call: Call, nth: usize) -> bool {
    let _trying = Trying(format!("{call:?} number {nth} fails once"));
    let mut watched = Watched::new();
    let node = watched.open().await.unwrap();
    watched.append(&node, 10).await.unwrap();
    watched.append(&node, 5_000).await.unwrap();
    node.shutdown().await.unwrap();
    drop(node);
    watched.disk.fail(Fault { call, on: On::Any, nth, times: 1, trouble: Trouble::Io });
    if let Ok(node) = watched.open().await {
        for bytes in [10, 5_000, 10] {
            let appended = watched.append(&node, bytes).await;
            assert_eq!(appended.is_ok(), watched.disk.failed() == 0, "{appended:?}");
        }
        if watched.disk.failed() > 0 {
            is_stopped(&mut watched, &node).await;
        }
        watched.assert_outlives_a_power_cut();
        drop(node.shutdown().await);
    }
    let failed = watched.disk.heal() > 0;
    watched.assert_outlives_a_power_cut();
    watched.assert_outlives_a_restart();
    failed
}

/// The disk works again, and the node writes nothing more, but goes on reading.
async fn is_stopped(watched: &mut Watched, node: &towline::Node) {
    let calls = |watched: &Watched| {
        (watched.disk.calls(Call::Sync, On::Any), watched.disk.calls(Call::Write, On::Any))
    };
    let before = calls(watched);
    let refused = watched.append(node, 10).await;
    assert!(matches!(refused, Err(AppendError::Poisoned(_))), "{refused:?}");
    assert_eq!(node.status().await.unwrap().state, State::Poisoned);
    watched.assert_shown_by(node).await;
    assert_eq!(calls(watched), before, "a stopped writer leaves the disk alone");
}

/// Tries the first call, and then every so many-th, until there are no more.
async fn sweep_over(call: Call, step: usize) {
    let step = if sweep() == Sweep::Full { 1 } else { step };
    let mut nth = 0;
    while fails_once(call, nth).await {
        nth += step;
    }
    assert!(nth > 3 * step, "the sweep ended at call {nth}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_fails_once_stops_the_writer_and_loses_nothing() {
    sweep_over(Call::Write, 4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_that_fails_once_stops_the_writer_and_is_not_retried() {
    sweep_over(Call::Sync, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_whose_sync_fails_is_made_again_from_its_first_page() {
    let mut watched = Watched::new();
    let node = watched.open().await.unwrap();
    let fault =
        Fault { call: Call::Sync, on: On::Database, nth: 0, times: 2, trouble: Trouble::Io };
    watched.disk.fail(fault);
    while watched.disk.failed() < 2 {
        watched.append(&node, 200_000).await.unwrap();
    }
    watched.assert_outlives_a_power_cut();
    watched.append(&node, 10).await.unwrap();
    node.shutdown().await.unwrap();
    watched.assert_outlives_a_restart();
}
