//! The room that streams take for events, while those are made and until clients have taken them.
//!
//! Thousands of streams may wait. What one of them holds beyond a few KiB takes room that all share, and a
//! client that holds it and takes nothing is cut off.

use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_util::task::AbortOnDropHandle;

use super::connection::Connection;

/// How many KiB of larger events the streams of this process hold at once.
static EVENTS_KIB: Semaphore = Semaphore::const_new(64 << 10); // full: a stream waits
/// Events up to here take no room that counts, in bytes.
const SMALL_BYTES: usize = 8 << 10;
/// How long a client may take for an event that takes room.
const PATIENCE: Duration = Duration::from_secs(60);

/// Room for an event.
#[derive(Debug)]
pub struct Space(SemaphorePermit<'static>);

impl Space {
    /// Room for so many bytes, if there is any now.
    pub fn now(bytes: usize) -> Option<Self> {
        EVENTS_KIB.try_acquire_many(kib(bytes)).ok().map(Self)
    }

    /// Room for so many bytes, once there is any. None: it took longer than this.
    ///
    /// # Cancel safety
    /// A call that is dropped takes nothing.
    pub async fn within(patience: Duration, bytes: usize) -> Option<Self> {
        let found = tokio::time::timeout(patience, EVENTS_KIB.acquire_many(kib(bytes)));
        found.await.ok()?.ok().map(Self)
    }

    /// Whether so many bytes fit.
    pub fn holds(&self, bytes: usize) -> bool {
        self.0.num_permits() >= kib(bytes) as usize
    }

    /// Keeps what an event of so many bytes takes until the client has taken it, but not for ever: the
    /// connection is cut then. None: the event takes none that counts.
    pub fn until_taken(mut self, bytes: usize, connection: &Connection) -> Option<Untaken> {
        if bytes <= SMALL_BYTES {
            return None;
        }
        let over = self.0.num_permits().saturating_sub(kib(bytes) as usize);
        drop(self.0.split(over));
        Some(Untaken { _space: self, _patience: connection.cut_after(PATIENCE) })
    }
}

/// The room of an event that the client takes, and the end of the patience with it.
pub struct Untaken {
    _space: Space,
    _patience: AbortOnDropHandle<()>,
}

/// What is to be done with an event.
pub enum Fit {
    /// It is sent, and what it takes is held until it is taken.
    Sent(Option<Untaken>),
    /// There is no room for it: it is let go, and made again.
    Later,
}

impl Fit {
    /// Finds room for an event of so many bytes, in what was found before or elsewhere.
    pub fn find(found: Option<Space>, bytes: usize, connection: &Connection) -> Self {
        if bytes <= SMALL_BYTES {
            return Self::Sent(None);
        }
        let found = found.filter(|space| space.holds(bytes)).or_else(|| Space::now(bytes));
        found.map_or(Self::Later, |space| Self::Sent(space.until_taken(bytes, connection)))
    }
}

fn kib(bytes: usize) -> u32 {
    bytes.div_ceil(1 << 10).min(64 << 10) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_held_is_bounded_and_comes_back() {
        let many = 40 << 20;
        let held = Space::now(many).unwrap();
        assert!(held.holds(many) && !held.holds(many + 1));
        assert!(Space::now(many).is_none());
        assert!(Space::within(Duration::ZERO, many).await.is_none());
        drop(held);
        assert!(Space::within(Duration::ZERO, many).await.is_some());
    }
}
