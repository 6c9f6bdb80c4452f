//! Everything at once, and the end of it.

use shuttle::future::{self, block_on};

use super::explore::in_every_schedule;
use super::parts::{Parts, Setting, empty_store, entries, note};
use crate::node::follow::{Followed, From};
use crate::node::writer::AppendError;

#[test]
fn a_shutdown_ends_all_and_keeps_what_was_promised() {
    in_every_schedule(|| {
        block_on(async {
            let kept = empty_store();
            let (parts, running) = Parts::open(Setting::default(), &kept);
            let appending = future::spawn({
                let parts = parts.clone();
                async move { [parts.append(&["a"]).await, parts.append(&["b", "c"]).await] }
            });
            let emitting = future::spawn({
                let parts = parts.clone();
                async move { (0..4).filter(|_| parts.emitter.emit(note("e")).is_ok()).count() }
            });
            let following = future::spawn({
                let parts = parts.clone();
                async move {
                    let mut follow = parts.follow(From::Start).await.expect("it reads");
                    let mut seen = Vec::new();
                    while let Some(followed) = follow.next().await.expect("it reads") {
                        if let Followed::Entry { entry, .. } = followed {
                            seen.push((*entry).clone());
                        }
                    }
                    seen
                }
            });
            parts.shut_down(running).await.expect("a sound disk");
            let held = entries(&kept);
            for answer in appending.await.expect("every call returns") {
                let receipts = match answer {
                    Ok(receipts) => receipts,
                    Err(error) => {
                        assert_eq!(error, AppendError::Closed);
                        continue;
                    }
                };
                let is_held = |at: u64| held.iter().any(|entry| entry.offset.0 == at);
                assert!(receipts.iter().all(|receipt| is_held(receipt.offset.0)));
            }
            let emitted = emitting.await.expect("emitting never waits") as u64;
            let mark = parts.mark();
            assert_eq!((mark.next.0, mark.recorded + mark.dropped), (emitted, emitted));
            assert!(held.starts_with(&following.await.expect("it ends with the node")));
            assert_eq!(entries(&kept), held, "nothing is written afterwards");
            let late = parts.append(&["late"]).await;
            assert_eq!(late, Err(AppendError::Closed));
        });
    });
}
