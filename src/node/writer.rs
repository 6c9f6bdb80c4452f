//! The writer: the one thread that owns the log's state and the store's writing half.
//!
//! It drains what has queued up, makes one batch of it, commits that with one sync, and only then
//! tells anybody: the callers, and through the doorbell peers and followers. There is no timer: a
//! group is what came while the last one was synced.
//!
//! A commit for which the disk has no room writes nothing: its callers are told, and the writer
//! looks for room again and again. Any other commit that fails poisons the writer: what is on disk
//! is known again only after a restart.

use std::num::NonZero;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Semaphore, oneshot};

use crate::core::change::Change;
use crate::core::log::{Applied, Log};
use crate::core::pruned::Pruned;
use crate::core::recording::Recording;
use crate::store::mending::Mender;
use crate::store::pruning::Removal;
use crate::store::{Batch, EmitMark, Resume, Sealed, Store, StoreError};
use crate::words::{ChangeHash, Draft, DraftError, EmitNumber, EntryId, Offset};

use super::metrics::Metrics;
use super::newest::Newest;
use super::sync::{AtomicU64, OnceLock, mpsc, watch};

mod answers;
mod group;
mod keys;
mod room;
mod thread;

pub(super) use group::Queued;
use group::{Command, Reply};
use room::{Full, PAUSE, Room};
pub(super) use thread::Wait;
use thread::{State, WAIT};

/// How many requests may wait for the writer.
const QUEUE: usize = 1_024; // full: append waits
/// How many bytes of drafts and changes may wait for the writer, in KiB.
const QUEUE_KIB: u32 = 64 << 10; // full: append waits
const BOUNDS: Bounds = Bounds { requests: QUEUE, kib: QUEUE_KIB, pause: PAUSE };
/// How many emit numbers are reserved at a time.
pub(super) const EMIT_BLOCK: u64 = 1 << 20;

/// What an append returns: where the entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The entry's name.
    pub id: EntryId,
    /// Its place in this node's order of arrival.
    pub offset: Offset,
    /// The change that holds it.
    pub hash: ChangeHash,
}

/// Says why nothing was appended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// There is nothing to append.
    #[error("nothing to append")]
    Nothing,
    /// A draft is out of bounds. Nothing of the request was written.
    #[error(transparent)]
    Draft(#[from] DraftError),
    /// The idempotency key was used for something else. Nothing was written.
    #[error("the idempotency key {0:?} was used for other entries")]
    KeyReused(String),
    /// The idempotency key was used, and what it appended has been removed since. Nothing was written.
    #[error("the idempotency key {0:?} was used, and its entries have been removed since")]
    KeyRemoved(String),
    /// The log refuses. Nothing was written.
    #[error(transparent)]
    Log(#[from] crate::core::log::AppendError),
    /// The disk has no room. Nothing of the request was written; the node goes on when there is room.
    #[error("the disk is full, and nothing was written: {0}")]
    DiskFull(String),
    /// The store failed; the node must be restarted. Whether the request was written is not known.
    #[error("the node can't write any more: {0}")]
    Poisoned(String),
    /// The node is shutting down. Nothing was written.
    #[error("the node is shutting down")]
    Closed,
}

/// What became of what the recorder heard.
#[derive(Debug)]
pub enum Recorded {
    /// It is on disk.
    Written,
    /// The disk is full. Nothing was written, and here it is back.
    NoRoom(Recording),
}

/// The end of the emit numbers that are reserved on disk: the writer raises it, and emit stays
/// below.
#[derive(Clone)]
pub struct Reserved(Arc<AtomicU64>);

impl Default for Reserved {
    fn default() -> Self {
        Self(Arc::new(AtomicU64::new(0)))
    }
}

impl Reserved {
    /// No number at or above may be given out.
    pub fn end(&self) -> EmitNumber {
        EmitNumber(self.0.load(Ordering::Acquire))
    }

    /// More numbers are reserved on disk.
    pub fn rise_to(&self, end: EmitNumber) {
        self.0.fetch_max(end.0, Ordering::AcqRel);
    }
}

/// An idempotency key, with the digest of what it is used for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyKey {
    /// As the caller gave it.
    pub key: String,
    /// SHA-256 of the drafts.
    pub digest: [u8; 32],
}

/// How much may wait for the writer, and how long it waits between two looks at a full disk.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    pub(super) requests: usize,
    pub(super) kib: u32,
    pub(super) pause: Duration,
}

/// What the writer's thread does, given how it waits for a command; it gives its store back.
pub(super) type Work = Box<dyn FnOnce(Wait) -> Box<dyn Store> + Send>;

/// The handle to the writer. Cloning it is cheap.
#[derive(Clone)]
pub struct Writer {
    queue: mpsc::Sender<Queued>,
    room: Arc<Semaphore>,
    bounds: Bounds,
    watermark: watch::Receiver<Offset>,
    poison: Arc<OnceLock<String>>,
    full: watch::Receiver<Full>,
    newest: Arc<Newest>,
}

impl Writer {
    /// Starts the writer thread on a store, which it gives back when it ends. `numbers` are the first
    /// one that this lifetime gives out, and where their end is told; a block above the first is
    /// reserved before this returns, unless the disk is full.
    ///
    /// # Errors
    /// The store can't be written or read.
    pub fn start(
        store: Box<dyn Store>,
        log: Log,
        resume: &Resume,
        numbers: (EmitNumber, Reserved),
        metrics: Arc<Metrics>,
    ) -> Result<(Self, JoinHandle<Box<dyn Store>>), StoreError> {
        let (writer, run) = Self::prepare(store, log, resume, numbers, metrics, BOUNDS)?;
        let thread = std::thread::Builder::new().name("towline-writer".into());
        let handle = thread
            .spawn(move || {
                // What it waits for a moment is over in less than the system's usual slack of 50 µs.
                rustix::thread::set_current_timer_slack(NonZero::new(1_000)).ok();
                run(WAIT)
            })
            .map_err(|error| StoreError::Failed(format!("no thread for the writer: {error}")))?;
        Ok((writer, handle))
    }

    /// The handle, and what the writer's thread runs, given how it waits for the next command.
    pub(super) fn prepare(
        mut store: Box<dyn Store>,
        log: Log,
        resume: &Resume,
        (first, reserved): (EmitNumber, Reserved),
        metrics: Arc<Metrics>,
        bounds: Bounds,
    ) -> Result<(Self, Work), StoreError> {
        let (past, damages) = (store.reader()?, store.damages());
        let mut room = Room::new(metrics.clone(), bounds.pause);
        let mut emits = EmitMark { reserved: first.plus(EMIT_BLOCK), ..resume.emits };
        match store.commit(&Batch { emits: Some(emits), ..Batch::default() }) {
            Ok(()) => {}
            Err(StoreError::Full(why)) => {
                emits = resume.emits;
                room.fill(&why);
            }
            Err(error) => return Err(error),
        }
        reserved.rise_to(emits.reserved);
        let (queue, commands) = mpsc::channel(bounds.requests);
        let (doorbell, watermark) = watch::channel(resume.next_offset);
        let poison = Arc::new(OnceLock::new());
        let full = room.watch();
        let newest = Arc::new(Newest::default());
        let mut state = State {
            store,
            past,
            damages,
            mender: Mender::default(),
            log,
            emits,
            reserved,
            room,
            doorbell,
            poison: poison.clone(),
            metrics,
            newest: newest.clone(),
            together: 0,
        };
        let room = Arc::new(Semaphore::new(bounds.kib as usize));
        let writer = Self { queue, room, bounds, watermark, poison, full, newest };
        let work = move |wait| {
            state.run(commands, wait);
            state.store
        };
        Ok((writer, Box::new(work)))
    }

    /// The doorbell: the offset that the next entry takes. It rises after a commit.
    pub fn watermark(&self) -> watch::Receiver<Offset> {
        self.watermark.clone()
    }

    /// What was committed last, for those who keep up.
    pub fn newest(&self) -> &Newest {
        &self.newest
    }

    /// Why the writer stopped, if it did.
    pub fn poison(&self) -> Option<&str> {
        self.poison.get().map(String::as_str)
    }

    /// Why the disk takes nothing at the moment, if so.
    pub fn full(&self) -> Option<Arc<str>> {
        self.full.borrow().clone()
    }

    /// Waits until the disk has room, as far as is known.
    ///
    /// # Errors
    /// The writer has ended.
    pub async fn wait_for_room(&self) -> Result<(), AppendError> {
        let mut full = self.full.clone();
        full.wait_for(Option::is_none).await.map(drop).map_err(|_| AppendError::Closed)
    }

    /// Whether a request may be queued.
    ///
    /// # Errors
    /// The writer is poisoned, or the disk is full.
    pub fn check(&self) -> Result<(), AppendError> {
        self.check_poison()?;
        self.full().map_or(Ok(()), |why| Err(AppendError::DiskFull(why.to_string())))
    }

    /// Appends drafts in one commit: all of them or none.
    ///
    /// # Errors
    /// See [`AppendError`]. # Cancel safety: a call that is dropped may still append.
    pub async fn append(
        &self,
        drafts: Vec<Draft>,
        key: Option<IdempotencyKey>,
    ) -> Result<Vec<Receipt>, AppendError> {
        if drafts.is_empty() {
            return Err(AppendError::Nothing);
        }
        drafts.iter().try_for_each(Draft::check)?;
        self.check()?;
        let bytes = drafts.iter().map(Draft::size).sum();
        let appended = self.send(bytes, |reply| Command::Append { drafts, key, reply }).await?;
        Ok(appended.receipts)
    }

    /// Appends what the recorder heard, and moves its mark in the same commit.
    ///
    /// # Errors
    /// The writer is poisoned or closed.
    pub async fn record(&self, recording: Recording) -> Result<Recorded, AppendError> {
        let bytes = recording.drafts.iter().map(Draft::size).sum();
        self.send(bytes, |reply| Command::Record { recording, reply }).await
    }

    /// Queues changes that were verified, with the block that they came packed in, and returns what will tell what became of them.
    ///
    /// # Errors
    /// The writer is poisoned or closed, or the disk is full.
    pub async fn queue_changes(
        &self,
        changes: Vec<Change>,
        packed: Option<Bytes>,
    ) -> Result<oneshot::Receiver<Result<Applied, AppendError>>, AppendError> {
        self.check()?;
        let bytes = changes.iter().map(|change| change.bytes.len()).sum();
        self.queue(bytes, |reply| Command::Apply { changes, packed, reply }).await
    }

    /// Puts a block in the place of the changes that it was packed of.
    ///
    /// # Errors
    /// The writer is poisoned or closed, or the disk is full: the changes stay as they are.
    pub async fn seal(&self, sealed: Sealed) -> Result<(), AppendError> {
        self.check()?;
        self.send(sealed.record.len(), |reply| Command::Seal { sealed, reply }).await
    }

    /// Takes what stays of pruned segments, see [`Log::adopt`]. Returns how many were taken; none where
    /// they can't be, or not yet.
    ///
    /// # Errors
    /// The writer is poisoned or closed, or the disk is full.
    pub async fn adopt(&self, chain: Vec<Pruned>) -> Result<Option<usize>, AppendError> {
        self.check()?;
        self.send(0, |reply| Command::Adopt { chain, reply }).await
    }

    /// Removes entries. A full disk doesn't stand in the way of being asked: it may have room for that.
    ///
    /// # Errors
    /// The writer is poisoned or closed, or the disk is full: nothing was removed.
    pub async fn prune(&self, removal: Removal) -> Result<(), AppendError> {
        self.send(0, |reply| Command::Prune { removal, reply }).await
    }

    /// Gives some of the room back that removed entries took, if there is much. Returns whether there
    /// is more.
    ///
    /// # Errors
    /// The writer is poisoned or closed, or the disk is full.
    pub async fn reclaim(&self) -> Result<bool, AppendError> {
        self.check()?;
        self.send(0, |reply| Command::Reclaim { reply }).await
    }

    /// Writes that no emit number from `end` on was given out, and ends the writer.
    ///
    /// # Errors
    /// The writer is poisoned or closed already.
    pub async fn close(&self, end: EmitNumber) -> Result<(), AppendError> {
        // Not `send`: a poisoned writer must end, too.
        let answer = self.queue(0, |reply| Command::Close { end, reply }).await?;
        answer.await.unwrap_or(Err(AppendError::Closed))
    }

    async fn send<T>(
        &self,
        bytes: usize,
        command: impl FnOnce(Reply<T>) -> Command,
    ) -> Result<T, AppendError> {
        self.check_poison()?;
        let answer = self.queue(bytes, command).await?;
        answer.await.unwrap_or(Err(AppendError::Closed))
    }

    fn check_poison(&self) -> Result<(), AppendError> {
        self.poison().map_or(Ok(()), |why| Err(AppendError::Poisoned(why.to_owned())))
    }

    /// Waits for room in the queue, and takes a place in it.
    async fn queue<T>(
        &self,
        bytes: usize,
        command: impl FnOnce(Reply<T>) -> Command,
    ) -> Result<oneshot::Receiver<Result<T, AppendError>>, AppendError> {
        let most = self.bounds.kib;
        let kib = u32::try_from(bytes >> 10).unwrap_or(most).clamp(1, most);
        let room = self.room.clone().acquire_many_owned(kib).await.ok();
        let (reply, answer) = oneshot::channel();
        let queued = Queued { command: command(reply), room };
        self.queue.send(queued).await.map_err(|_| AppendError::Closed)?;
        Ok(answer)
    }
}
