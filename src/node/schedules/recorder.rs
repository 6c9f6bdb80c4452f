//! Emitters, the recorder and listeners.

use std::time::Duration;

use shuttle::future::{self, JoinHandle, block_on};
use shuttle::rand::{Rng, thread_rng};

use super::explore::{in_every_schedule, in_schedules};
use super::parts::{HASTY, NOISE, PATIENT, Parts, Setting, empty_store, entries, note};
use super::turning_store::{breaks_after, fills_at_times};
use crate::node::recorder::{EmitError, Heard};
use crate::store::memory::MemoryStore;
use crate::store::{EmitMark, Reader};
use crate::words::limits::{CHANGE_BYTES, EMIT_PAYLOAD_BYTES};
use crate::words::{Draft, EmitNumber, Gap, GapReason};

/// Emits events until `count` have their numbers, some at once and with noise between them. What an
/// event says is the number that it got.
fn emitter(parts: &Parts, count: u64) -> JoinHandle<Vec<(u64, String)>> {
    let parts = parts.clone();
    future::spawn(async move {
        let mut emitted = Vec::new();
        for n in 0..count {
            let me = format!("{:?} {n}", shuttle::thread::current().id());
            let events = match n % 3 {
                0 => vec![note(&me)],
                1 => vec![note(&me), note(&format!("{me} too")), noise(), noise()],
                _ => vec![noise(), note(&me)],
            };
            let texts: Vec<String> = events.iter().filter(|e| !is_noise(e)).map(said).collect();
            let numbers = loop {
                match parts.emitter.emit_all(events.clone()) {
                    Err(EmitError::Exhausted) => future::yield_now().await,
                    answer => break answer,
                }
            };
            match numbers {
                Ok((first, numbered)) => {
                    assert_eq!(numbered, texts.len() as u64);
                    let reserved = parts.mark().reserved;
                    assert!(first.plus(numbered) <= reserved, "not reserved on disk");
                    emitted.extend((first.0..).zip(texts));
                }
                Err(EmitError::Closed(_)) => break,
                Err(error) => panic!("{error}"),
            }
        }
        emitted
    })
}

fn noise() -> Draft {
    Draft::text("topic", NOISE, "noise").expect("a draft within bounds")
}

fn is_noise(event: &Draft) -> bool {
    event.kind.as_str() == NOISE
}

fn said(event: &Draft) -> String {
    String::from_utf8_lossy(&event.data).into_owned()
}

/// Checks that what is recorded and what gaps state tile the numbers below `emitted`, that every
/// recorded event stands at its own number, and that the mark counts the same.
fn tiles(kept: &MemoryStore, emitted: EmitNumber, mut events: Vec<(u64, String)>) -> Vec<Gap> {
    events.sort();
    let (mut next, mut recorded, mut gaps) = (0, 0, Vec::new());
    for entry in entries(kept) {
        match Gap::from_entry(&entry) {
            Some(gap) => {
                assert_eq!(gap.from.0, next, "a hole or an overlap: {gap:?}");
                assert_eq!(gap.count, gap.to.0 - gap.from.0 + 1);
                next = gap.to.0 + 1;
                gaps.push(gap);
            }
            None => {
                let event = events.iter().find(|(_, text)| *text == said(&entry.body));
                assert_eq!(event.map(|(number, _)| *number), Some(next), "{entry:?}");
                (next, recorded) = (next + 1, recorded + 1);
            }
        }
    }
    assert_eq!(next, emitted.0, "all numbers are accounted for");
    let mark = kept.clone().emits().expect("a memory store reads");
    let dropped = gaps.iter().map(|gap| gap.count).sum();
    let counted = EmitMark { next: emitted, recorded, dropped, gaps: gaps.len() as u64, ..mark };
    assert_eq!(mark, counted);
    assert_eq!(recorded + dropped, emitted.0, "emitted = recorded + dropped");
    gaps
}

async fn all(emitting: Vec<JoinHandle<Vec<(u64, String)>>>) -> Vec<(u64, String)> {
    let mut events = Vec::new();
    for emitter in emitting {
        events.extend(emitter.await.expect("emitting never waits"));
    }
    events
}

/// Waits until the recorder has accounted for all that was emitted: nothing more is emitted.
async fn at_rest(parts: &Parts) {
    let mut bell = parts.writer.watermark();
    loop {
        bell.borrow_and_update();
        if parts.mark().next == parts.emitter.emitted() {
            return;
        }
        bell.changed().await.expect("the writer lives");
    }
}

#[test]
fn at_rest_events_and_gaps_tile_the_numbers() {
    in_every_schedule(|| {
        block_on(async {
            let kept = empty_store();
            let (parts, running) = Parts::open(Setting::default(), &kept);
            let events = all(vec![emitter(&parts, 4), emitter(&parts, 2)]).await;
            at_rest(&parts).await;
            let gaps = tiles(&kept, parts.emitter.emitted(), events);
            assert!(gaps.iter().all(|gap| gap.exact && gap.reason == GapReason::Lag));
            parts.shut_down(running).await.expect("a sound disk");
        });
    });
}

/// A shutdown in the middle of emitting, with `grace` for the recorder.
fn shut_down_while_emitting(grace: Duration) {
    block_on(async {
        let kept = empty_store();
        let (parts, running) = Parts::open(Setting { grace, ..Setting::default() }, &kept);
        let emitting = vec![emitter(&parts, 4), emitter(&parts, 2)];
        parts.shut_down(running).await.expect("a sound disk");
        let events = all(emitting).await;
        let gaps = tiles(&kept, parts.emitter.emitted(), events);
        assert!(gaps.iter().all(|gap| gap.exact));
        let mark = parts.mark();
        assert_eq!(mark.reserved, mark.next, "no number is outstanding");
    });
}

#[test]
fn a_patient_shutdown_leaves_no_number_unaccounted_for() {
    in_every_schedule(|| shut_down_while_emitting(PATIENT));
}

#[test]
fn a_hasty_shutdown_leaves_no_number_unaccounted_for() {
    in_every_schedule(|| shut_down_while_emitting(HASTY));
}

/// An event so large that few of them are recorded at once.
fn large() -> Draft {
    let data = vec![b'x'; EMIT_PAYLOAD_BYTES];
    Draft::bytes("topic", "large", "text/plain", data).expect("a draft within bounds")
}

#[test]
fn a_hasty_shutdown_states_what_is_in_the_ring() {
    in_schedules(5, || {
        block_on(async {
            const EVENTS: u64 = 150;
            let kept = empty_store();
            let setting = Setting { ring: 256, grace: HASTY, ..Setting::default() };
            let (parts, running) = Parts::open(setting, &kept);
            let events = (0..EVENTS).map(|_| large()).collect();
            parts.emitter.emit_all(events).expect("the node is open");
            parts.emitter.close();
            let before = parts.mark().recorded;
            parts.shut_down(running).await.expect("a sound disk");
            let mark = parts.mark();
            assert_eq!((mark.next.0, mark.recorded + mark.dropped), (EVENTS, EVENTS));
            // What was being written, and what was heard meanwhile.
            let at_once = (CHANGE_BYTES / EMIT_PAYLOAD_BYTES + 1) as u64;
            assert!(mark.recorded - before <= 2 * at_once, "{mark:?}, {before} before");
        });
    });
}

#[test]
fn a_patient_shutdown_loses_only_what_the_ring_has_lost() {
    in_every_schedule(|| {
        block_on(async {
            let kept = empty_store();
            let setting = Setting { ring: 16, ..Setting::default() };
            let (parts, running) = Parts::open(setting, &kept);
            let emitting = vec![emitter(&parts, 4), emitter(&parts, 2)];
            parts.shut_down(running).await.expect("a sound disk");
            let gaps = tiles(&kept, parts.emitter.emitted(), all(emitting).await);
            assert_eq!(gaps, []);
        });
    });
}

#[test]
fn what_a_crash_took_is_stated_by_the_next_life() {
    in_every_schedule(|| {
        block_on(async {
            let kept = empty_store();
            let disk = match thread_rng().gen_range(0..7) {
                commits @ 0..6 => breaks_after(commits),
                _ => fills_at_times(),
            };
            let (parts, running) = Parts::open(Setting { disk, ..Setting::default() }, &kept);
            let mut events = all(vec![emitter(&parts, 3), emitter(&parts, 2)]).await;
            let emitted = parts.emitter.emitted();
            parts.crash(running).await;
            let mark = kept.clone().emits().expect("a memory store reads");
            assert!(emitted <= mark.reserved, "a number that was not reserved");
            let (parts, running) = Parts::open(Setting::default(), &kept);
            events.extend(all(vec![emitter(&parts, 2)]).await);
            parts.shut_down(running).await.expect("a sound disk");
            let gaps = tiles(&kept, parts.emitter.emitted(), events);
            let lost = mark.next < mark.reserved;
            assert_eq!(gaps.iter().any(|gap| gap.reason == GapReason::Crash && !gap.exact), lost);
        });
    });
}

#[test]
fn a_full_disk_loses_no_number() {
    in_every_schedule(|| {
        block_on(async {
            let kept = empty_store();
            let disk = fills_at_times();
            let (parts, running) = Parts::open(Setting { disk, ..Setting::default() }, &kept);
            let events = all(vec![emitter(&parts, 4), emitter(&parts, 2)]).await;
            at_rest(&parts).await;
            let gaps = tiles(&kept, parts.emitter.emitted(), events);
            assert!(gaps.iter().all(|gap| gap.exact && gap.reason != GapReason::Crash));
            parts.shut_down(running).await.expect("a disk with room");
        });
    });
}

#[test]
fn a_listener_hears_of_every_event_or_how_many_it_missed() {
    in_every_schedule(|| {
        block_on(async {
            let kept = empty_store();
            let (parts, running) = Parts::open(Setting::default(), &kept);
            let mut listener = parts.emitter.listen().expect("the node is open");
            let listening = future::spawn(async move {
                let (mut heard, mut missed) = (Vec::new(), 0);
                while let Some(next) = listener.next().await {
                    match next {
                        Heard::Event(event) if is_noise(&event) => missed += 1,
                        Heard::Event(event) => heard.push(said(&event)),
                        Heard::Missed(count) => missed += count,
                    }
                }
                (heard, missed)
            });
            let mut events = all(vec![emitter(&parts, 4)]).await;
            parts.shut_down(running).await.expect("a sound disk");
            let (heard, missed) = listening.await.expect("it ends with the node");
            const NOISES: u64 = 3; // of four times of emitting
            assert_eq!(heard.len() as u64 + missed, events.len() as u64 + NOISES);
            events.sort();
            let mut order = events.iter().map(|(_, text)| text);
            assert!(heard.iter().all(|text| order.any(|next| next == text)), "in order: {heard:?}");
        });
    });
}
