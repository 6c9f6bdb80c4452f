//! The room that answers take in memory while they are made and sent.
//!
//! A page is as long as there is room for it, and shorter while others take it. A client that asks for
//! much and takes little of it is cut off after a while, so that it can't keep the room.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream::unfold;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_util::task::AbortOnDropHandle;

use super::listing::Listing;
use crate::node::query::PAGE_BYTES;
use crate::words::limits::PAYLOAD_BYTES;

/// How many KiB of answers this process makes and sends at once, whatever node they are of.
static ANSWERS_KIB: Semaphore = Semaphore::const_new(96 << 10); // full: a request waits
/// How long a page may be while there is little room, in bytes.
const SHORT_BYTES: usize = 1 << 20;
/// Answers up to here are sent at once, and take no room that counts.
const SMALL_BYTES: usize = 64 << 10;
/// How long a client may take for an answer that takes room.
const PATIENCE: Duration = Duration::from_secs(60);

/// The room of one answer.
pub struct Room {
    permit: Option<SemaphorePermit<'static>>,
}

impl Room {
    /// Finds room for an answer, and says how many bytes of payload end it. Waits while there is
    /// none even for a short one.
    pub async fn find() -> (Self, usize) {
        if let Ok(permit) = ANSWERS_KIB.try_acquire_many(kib(PAGE_BYTES + PAYLOAD_BYTES)) {
            return (Self { permit: Some(permit) }, PAGE_BYTES);
        }
        // It fails only for a semaphore that was closed, which this one never is.
        let permit = ANSWERS_KIB.acquire_many(kib(SHORT_BYTES + PAYLOAD_BYTES)).await.ok();
        (Self { permit }, SHORT_BYTES)
    }

    /// A listing as the body of an answer, which keeps the room that it takes until it is sent, or
    /// until the client has had its time.
    pub fn body(self, listing: Listing) -> Body {
        self.body_within(listing, PATIENCE)
    }

    /// An answer that is made as a whole, on the same terms.
    pub fn bytes(self, bytes: Bytes) -> Body {
        self.hold(bytes, None, PATIENCE)
    }

    fn body_within(self, mut listing: Listing, patience: Duration) -> Body {
        let first = listing.next().unwrap_or_default();
        let listing = (!listing.is_over()).then_some(listing);
        self.hold(first, listing, patience)
    }

    fn hold(mut self, first: Bytes, listing: Option<Listing>, patience: Duration) -> Body {
        if listing.is_none() && first.len() <= SMALL_BYTES {
            return Body::from(first);
        }
        self.shrink(kib(first.len() + listing.as_ref().map_or(0, Listing::bytes)));
        let left = Held::new(Left { first: Some(first), listing, _room: self });
        let late = left.clone();
        let watch = AbortOnDropHandle::new(tokio::spawn(async move {
            tokio::time::sleep(patience).await;
            late.give_up();
        }));
        Body::from_stream(unfold((left, watch), |(left, watch)| async move {
            let next = left.next();
            next.map(|piece| (piece, (left, watch)))
        }))
    }

    fn shrink(&mut self, kib: u32) {
        if let Some(permit) = &mut self.permit {
            let over = permit.num_permits().saturating_sub(kib as usize);
            drop(permit.split(over));
        }
    }
}

/// What is left to send of an answer, and its room.
struct Left {
    first: Option<Bytes>,
    listing: Option<Listing>,
    _room: Room,
}

/// What is left of an answer, until it is sent or its time is over. Cloning it shares it.
#[derive(Clone)]
struct Held(Arc<Mutex<Option<Left>>>);

impl Held {
    fn new(left: Left) -> Self {
        Self(Arc::new(Mutex::new(Some(left))))
    }

    /// The next piece; none at the end.
    ///
    /// # Errors
    /// The time is over: the connection must be cut, so that nobody takes this for the end.
    fn next(&self) -> Option<io::Result<Bytes>> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(left) = held.as_mut() else {
            return Some(Err(io::ErrorKind::TimedOut.into()));
        };
        let next = left.first.take().or_else(|| left.listing.as_mut()?.next());
        if next.is_none() {
            *held = None;
        }
        next.map(Ok)
    }

    fn give_up(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

fn kib(bytes: usize) -> u32 {
    bytes.div_ceil(1 << 10) as u32
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;

    use super::*;
    use crate::http::listing::Form;
    use crate::words::{ChangeHash, Draft, Entry, NodeId, Offset, SegmentId, Seq, Time};

    /// The room is the process's, so one test at a time looks at it.
    static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

    fn listing(bytes: usize) -> Listing {
        let entry = Entry {
            author: NodeId([1; 32]),
            seq: Seq(0),
            time: Time::default(),
            offset: Offset(0),
            change: ChangeHash([2; 32]),
            segment: SegmentId([3; 16]),
            skew: false,
            forked: false,
            body: Draft::text("t", "k", "x".repeat(bytes)).unwrap(),
        };
        Listing::new(vec![entry], None, Form::Lines)
    }

    #[tokio::test]
    async fn an_answer_keeps_the_room_that_it_takes_until_it_is_sent() {
        let _alone = ALONE.lock().await;
        let all = ANSWERS_KIB.available_permits();
        let (room, bytes) = Room::find().await;
        assert_eq!(bytes, PAGE_BYTES);
        let body = room.body(listing(1_000_000));
        let taken = all - ANSWERS_KIB.available_permits();
        assert!((976..1_024).contains(&taken), "{taken} KiB");
        assert!(to_bytes(body, usize::MAX).await.unwrap().len() > 1_000_000);
        assert_eq!(ANSWERS_KIB.available_permits(), all);
        let (room, _) = Room::find().await;
        let _small = room.body(listing(10));
        assert_eq!(ANSWERS_KIB.available_permits(), all);
        let (room, _) = Room::find().await;
        let unread = room.body_within(listing(1_000_000), Duration::ZERO);
        while ANSWERS_KIB.available_permits() < all {
            tokio::task::yield_now().await;
        }
        assert!(to_bytes(unread, usize::MAX).await.is_err(), "what is cut is not taken for whole");
    }

    #[tokio::test]
    async fn a_page_is_short_while_others_take_the_room() {
        let _alone = ALONE.lock().await;
        let mut rooms = Vec::new();
        while let (room, PAGE_BYTES) = Room::find().await {
            rooms.push(room);
        }
        assert!((3..=6).contains(&rooms.len()), "{}", rooms.len());
        rooms.clear();
        assert_eq!(Room::find().await.1, PAGE_BYTES);
    }
}
