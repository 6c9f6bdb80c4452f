//! Whether the disk has room: what the writer's thread knows of it, and when it looks again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::node::metrics::Metrics;
use crate::node::sync::watch;

/// How long lies between two looks at a full disk.
pub(super) const PAUSE: Duration = Duration::from_secs(1);
/// So many bytes must be free before a commit is tried again: with less it would soon be full again.
const ENOUGH: u64 = 1 << 20;
/// A disk that fills up again and again is logged once in this time.
const LOUD: Duration = Duration::from_secs(60);

/// Why the disk takes nothing at the moment; none when it does.
pub(super) type Full = Option<Arc<str>>;

/// What is known of the room on the disk.
pub(super) struct Room {
    full: watch::Sender<Full>,
    pause: Duration,
    next_look: Instant,
    /// When it was last logged that the disk is full.
    logged: Option<Instant>,
    /// Whether it was logged this time.
    told: bool,
    metrics: Arc<Metrics>,
}

impl Room {
    /// There is room, as far as is known; `pause` lies between two looks when there is none.
    pub fn new(metrics: Arc<Metrics>, pause: Duration) -> Self {
        let ((full, _), next_look) = (watch::channel(None), Instant::now());
        Self { full, pause, next_look, logged: None, told: false, metrics }
    }

    /// What tells others.
    pub fn watch(&self) -> watch::Receiver<Full> {
        self.full.subscribe()
    }

    /// Why the disk takes nothing, if so.
    pub fn full(&self) -> Full {
        self.full.borrow().clone()
    }

    /// Whether the disk is full, and it is time to look again.
    pub fn is_look_due(&self) -> bool {
        Instant::now() >= self.next_look
    }

    /// Whether a commit is worth trying when so many bytes are free; where that isn't known, it is.
    pub fn is_enough(free: Option<u64>) -> bool {
        free.is_none_or(|free| free >= ENOUGH)
    }

    /// A commit found the disk full, or a look did.
    pub fn fill(&mut self, why: &str) {
        let now = Instant::now();
        self.next_look = now + self.pause;
        if self.full.borrow().is_some() {
            return;
        }
        self.full.send_replace(Some(why.into()));
        self.metrics.disk_full.set(1);
        self.told = self.logged.is_none_or(|logged| now.duration_since(logged) >= LOUD);
        if self.told {
            self.logged = Some(now);
            tracing::error!(
                why,
                "the disk is full: this node only reads and sends until it has room again"
            );
        }
    }

    /// A commit has found room.
    pub fn clear(&mut self) {
        if self.full.send_replace(None).is_none() {
            return;
        }
        self.metrics.disk_full.set(0);
        if self.told {
            tracing::warn!("the disk has room again: this node appends again");
        }
    }
}
