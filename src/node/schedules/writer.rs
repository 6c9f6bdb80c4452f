//! The writer and its callers.

use std::time::Duration;

use shuttle::future::{self, JoinHandle, block_on};
use shuttle::rand::{Rng, thread_rng};

use super::explore::in_every_schedule;
use super::parts::{Parts, Setting, empty_store, entries, note};
use super::turning_store::{breaks_after, fills_at_times};
use crate::node::writer::{AppendError, Bounds, IdempotencyKey, Receipt};
use crate::store::memory::MemoryStore;
use crate::words::Offset;

type Appended = Result<Vec<Receipt>, AppendError>;

/// Callers that append twice each: one entry, then two.
fn callers(parts: &Parts, count: usize) -> Vec<JoinHandle<Vec<Appended>>> {
    let call = |_| {
        let parts = parts.clone();
        future::spawn(async move {
            vec![parts.append(&["one"]).await, parts.append(&["two", "three"]).await]
        })
    };
    (0..count).map(call).collect()
}

async fn answers(calls: Vec<JoinHandle<Vec<Appended>>>) -> Vec<Appended> {
    let mut answers = Vec::new();
    for call in calls {
        answers.extend(call.await.expect("every call returns"));
    }
    answers
}

/// Checks that the store holds what was acknowledged and nothing else, without hole or repetition.
fn holds_what_was_told(kept: &MemoryStore, answers: &[Appended]) {
    let receipts = answers.iter().flatten().flatten();
    let mut told: Vec<_> = receipts.map(|r| (r.offset.0, r.id.seq.0, r.hash)).collect();
    told.sort_by_key(|(offset, ..)| *offset);
    let held = entries(kept);
    let held: Vec<_> = held.iter().map(|e| (e.offset.0, e.seq.0, e.change)).collect();
    assert_eq!(told, held, "told, and held");
    let places: Vec<_> = held.iter().map(|(offset, seq, _)| (*offset, *seq)).collect();
    assert_eq!(places, (0..held.len() as u64).map(|at| (at, at)).collect::<Vec<_>>());
}

#[test]
fn nobody_is_told_before_the_commit() {
    in_every_schedule(|| {
        block_on(async {
            let kept = empty_store();
            let (parts, running) = Parts::open(Setting::default(), &kept);
            let watching = future::spawn({
                let parts = parts.clone();
                async move {
                    let mut bell = parts.writer.watermark();
                    while *bell.borrow() < Offset(6) {
                        bell.changed().await.expect("the writer lives");
                        let rung = *bell.borrow_and_update();
                        assert!(rung <= parts.committed(), "rung before the commit");
                    }
                }
            });
            let calling = |_| {
                let parts = parts.clone();
                future::spawn(async move {
                    let mut told = Vec::new();
                    for texts in [&["one"][..], &["two", "three"]] {
                        let answer = parts.append(texts).await;
                        let last = answer.iter().flatten().last().expect("it is appended");
                        assert!(last.offset < parts.committed(), "told before the commit");
                        told.push(answer);
                    }
                    told
                })
            };
            let told = answers((0..2).map(calling).collect()).await;
            watching.await.expect("it hears of the last entry");
            parts.shut_down(running).await.expect("a sound disk");
            holds_what_was_told(&kept, &told);
        });
    });
}

#[test]
fn a_full_queue_makes_callers_wait_and_stops_none() {
    in_every_schedule(|| {
        block_on(async {
            let kept = empty_store();
            let queue = Bounds { requests: 1, kib: 2, pause: Duration::ZERO };
            let (parts, running) = Parts::open(Setting { queue, ..Setting::default() }, &kept);
            let large = "x".repeat(3 << 10); // more than there ever is room for: it waits for all
            let calling = |n: usize| {
                let (parts, large) = (parts.clone(), large.clone());
                future::spawn(async move {
                    let text = if n.is_multiple_of(2) { "small" } else { &large };
                    vec![parts.append(&[text]).await, parts.append(&[text]).await]
                })
            };
            let calls: Vec<_> = (0..3).map(calling).collect();
            let given_up = calling(3);
            given_up.abort(); // wherever it waits by now
            let told = answers(calls).await;
            drop(given_up.await);
            parts.shut_down(running).await.expect("a sound disk");
            assert!(told.iter().all(Result::is_ok), "{told:?}");
            // What was given up may have been appended all the same.
            assert!((6..=8).contains(&entries(&kept).len()));
        });
    });
}

#[test]
fn a_call_that_meets_the_shutdown_is_told_what_became_of_it() {
    in_every_schedule(|| {
        block_on(async {
            let kept = empty_store();
            let queue = Bounds { requests: 1, kib: 2, pause: Duration::ZERO };
            let (parts, running) = Parts::open(Setting { queue, ..Setting::default() }, &kept);
            let calls = callers(&parts, 3);
            parts.shut_down(running).await.expect("a sound disk");
            let told = answers(calls).await;
            let known = |answer: &Appended| matches!(answer, Ok(_) | Err(AppendError::Closed));
            assert!(told.iter().all(known), "{told:?}");
            holds_what_was_told(&kept, &told);
        });
    });
}

#[test]
fn a_failed_commit_is_told_to_every_caller_and_to_no_reader() {
    in_every_schedule(|| {
        block_on(async {
            let kept = empty_store();
            let disk = breaks_after(thread_rng().gen_range(0..4));
            let (parts, running) = Parts::open(Setting { disk, ..Setting::default() }, &kept);
            let told = answers(callers(&parts, 3)).await;
            let known = |answer: &Appended| matches!(answer, Ok(_) | Err(AppendError::Poisoned(_)));
            assert!(told.iter().all(known), "{told:?}");
            holds_what_was_told(&kept, &told);
            assert_eq!(*parts.writer.watermark().borrow(), parts.committed());
            if told.iter().any(Result::is_err) {
                assert!(parts.writer.poison().is_some());
                assert!(matches!(parts.append(&["late"]).await, Err(AppendError::Poisoned(_))));
                let closed = parts.shut_down(running).await;
                assert!(matches!(closed, Err(AppendError::Poisoned(_))), "{closed:?}");
            } else {
                drop(parts.shut_down(running).await); // its own commit may be the one that fails
            }
        });
    });
}

#[test]
fn a_full_disk_refuses_callers_and_takes_them_again() {
    in_every_schedule(|| {
        block_on(async {
            let kept = empty_store();
            let disk = fills_at_times();
            let (parts, running) = Parts::open(Setting { disk, ..Setting::default() }, &kept);
            let mut told = answers(callers(&parts, 3)).await;
            let known = |answer: &Appended| matches!(answer, Ok(_) | Err(AppendError::DiskFull(_)));
            assert!(told.iter().all(known), "{told:?}");
            while !matches!(told.last(), Some(Ok(_))) {
                parts.writer.wait_for_room().await.expect("the writer lives");
                told.push(parts.append(&["again"]).await);
            }
            parts.shut_down(running).await.expect("a disk with room");
            holds_what_was_told(&kept, &told);
        });
    });
}

#[test]
fn one_key_appends_once_whoever_comes_first() {
    in_every_schedule(|| {
        block_on(async {
            let kept = empty_store();
            let (parts, running) = Parts::open(Setting::default(), &kept);
            let calling = |digest: u8| {
                let parts = parts.clone();
                let key = IdempotencyKey { key: "k".into(), digest: [digest; 32] };
                let drafts = vec![note("one"), note("two")];
                future::spawn(async move { parts.writer.append(drafts, Some(key)).await })
            };
            let calls: Vec<_> = [1, 1, 2].map(calling).into_iter().collect();
            let beside = callers(&parts, 1);
            let mut told = Vec::new();
            for call in calls {
                told.push(call.await.expect("every call returns"));
            }
            let reused = Err(AppendError::KeyReused("k".into()));
            match &told[0] {
                Ok(_) => assert_eq!((&told[1], &told[2]), (&told[0], &reused)),
                Err(_) => assert!(told[1] == reused && told[0] == reused && told[2].is_ok()),
            }
            told.dedup();
            told.extend(answers(beside).await);
            parts.shut_down(running).await.expect("a sound disk");
            holds_what_was_told(&kept, &told);
        });
    });
}
