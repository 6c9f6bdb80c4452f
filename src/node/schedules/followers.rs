//! Followers beside writers.

use shuttle::future::{self, JoinHandle, block_on};
use shuttle::rand::{Rng, thread_rng};

use super::explore::in_every_schedule;
use super::parts::{Parts, Setting, empty_store, entries};
use super::turning_store::breaks_after;
use crate::node::follow::{Followed, From};
use crate::words::{Entry, Offset};

/// What the writers of a test append, in four calls.
const ENTRIES: u64 = 6;

fn writers(parts: &Parts) -> Vec<JoinHandle<()>> {
    let writer = |_| {
        let parts = parts.clone();
        future::spawn(async move {
            parts.append(&["one"]).await.expect("a sound disk");
            parts.append(&["two", "three"]).await.expect("a sound disk");
        })
    };
    (0..2).map(writer).collect()
}

/// What a follower saw: entries, and after how many of them it was told that it had caught up.
#[derive(Default)]
struct Seen {
    entries: Vec<Entry>,
    caught_up: Vec<usize>,
}

/// Follows until the log's last entry; stops to go on from its cursor after each `rest` entries.
async fn follow(parts: &Parts, from: From, rest: usize) -> Seen {
    let mut seen = Seen::default();
    let mut follow = parts.follow(from).await.expect("a memory store reads");
    let mut until_rest = rest;
    while follow.cursor().offset < Offset(ENTRIES) {
        match follow.next().await.expect("a memory store reads").expect("nobody closes") {
            Followed::CaughtUp => seen.caught_up.push(seen.entries.len()),
            Followed::Reset => unreachable!("nothing is removed here"),
            Followed::Entry { entry, .. } => {
                seen.entries.push(Entry::clone(&entry));
                until_rest -= 1;
            }
        }
        if until_rest == 0 {
            let place = From::Cursor(follow.cursor());
            follow = parts.follow(place).await.expect("a cursor of this store");
            until_rest = rest;
        }
    }
    seen
}

fn offsets(seen: &Seen) -> Vec<u64> {
    seen.entries.iter().map(|entry| entry.offset.0).collect()
}

#[test]
fn a_follower_sees_each_entry_once_and_in_order() {
    in_every_schedule(|| {
        block_on(async {
            let kept = empty_store();
            let (parts, running) = Parts::open(Setting::default(), &kept);
            let writers = writers(&parts);
            let following = |rest| {
                let parts = parts.clone();
                future::spawn(async move { follow(&parts, From::Start, rest).await })
            };
            let one = following(usize::MAX);
            let another = following(2);
            for (follower, stops) in [(one, false), (another, true)] {
                let seen = follower.await.expect("it sees the last entry");
                assert_eq!(seen.entries, entries(&kept), "every one, once");
                assert_eq!(offsets(&seen), (0..ENTRIES).collect::<Vec<_>>());
                assert!(stops || seen.caught_up.len() <= 1, "told once");
            }
            for writer in writers {
                writer.await.expect("it ends");
            }
            parts.shut_down(running).await.expect("a sound disk");
        });
    });
}

#[test]
fn a_follower_that_begins_at_the_end_misses_nothing_from_there() {
    in_every_schedule(|| {
        block_on(async {
            let kept = empty_store();
            let (parts, running) = Parts::open(Setting::default(), &kept);
            let writers = writers(&parts);
            let following = |from| {
                let parts = parts.clone();
                future::spawn(async move {
                    let before = parts.committed().0;
                    (before, follow(&parts, from, usize::MAX).await)
                })
            };
            let from_end = following(From::End);
            let from_last = following(From::Last(1));
            for (follower, back) in [(from_end, 0), (from_last, 1)] {
                let (before, seen) = follower.await.expect("it sees the last entry");
                let seen = offsets(&seen);
                let first = seen.first().copied().unwrap_or(ENTRIES);
                assert_eq!(seen, (first..ENTRIES).collect::<Vec<_>>(), "no hole, no repetition");
                assert!(first >= before.saturating_sub(back), "what was there is not wanted");
            }
            for writer in writers {
                writer.await.expect("it ends");
            }
            parts.shut_down(running).await.expect("a sound disk");
        });
    });
}

#[test]
fn a_follower_is_told_that_it_has_caught_up_between_snapshot_and_live() {
    in_every_schedule(|| {
        block_on(async {
            let kept = empty_store();
            let (parts, running) = Parts::open(Setting::default(), &kept);
            let writers = writers(&parts);
            let before = parts.committed().0;
            let mut follow = parts.follow(From::Start).await.expect("a memory store reads");
            let after = parts.committed().0;
            let mut snapshot = 0;
            loop {
                match follow.next().await.expect("it reads").expect("nobody closes") {
                    Followed::CaughtUp => break,
                    Followed::Reset => unreachable!("nothing is removed here"),
                    Followed::Entry { entry, .. } => {
                        assert_eq!(entry.offset.0, snapshot);
                        snapshot += 1;
                    }
                }
            }
            assert!((before..=after).contains(&snapshot), "{before}..={after}, not {snapshot}");
            assert_eq!(follow.cursor().offset.0, snapshot);
            for writer in writers {
                writer.await.expect("it ends");
            }
            parts.shut_down(running).await.expect("a sound disk");
        });
    });
}

#[test]
fn a_follower_ends_with_the_node_wherever_it_waits() {
    in_every_schedule(|| {
        block_on(async {
            let kept = empty_store();
            let disk = breaks_after(thread_rng().gen_range(0..5));
            let (parts, running) = Parts::open(Setting { disk, ..Setting::default() }, &kept);
            let following = future::spawn({
                let parts = parts.clone();
                async move {
                    let mut follow = parts.follow(From::Start).await.expect("it reads");
                    let mut seen = Vec::new();
                    while let Some(followed) = follow.next().await.expect("it reads") {
                        if let Followed::Entry { entry, .. } = followed {
                            seen.push(Entry::clone(&entry));
                        }
                    }
                    seen
                }
            });
            drop(parts.append(&["one", "two"]).await); // the disk may break on it
            drop(parts.append(&["three"]).await);
            parts.begin_closing();
            let seen = following.await.expect("it ends");
            assert!(entries(&kept).starts_with(&seen));
            drop(parts.shut_down(running).await);
        });
    });
}
