//! The writer: the one thread that owns the log's state and the store's writing half.
//!
//! It drains what has queued up, makes one batch of it, commits that with one sync, and only then
//! tells anybody: the callers, and through the doorbell peers and followers. There is no timer: a
//! group is what came while the last one was synced. A commit that fails poisons the writer: what
//! is on disk is known again only after a restart.

use std::collections::HashMap;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::core::change::Change;
use crate::core::forks::rollback;
use crate::core::log::{Applied, Arrival, Log};
use crate::core::recording::Recording;
use crate::store::{Batch, EmitMark, KeyRecord, Reader, Resume, Store, StoreError};
use crate::words::limits::CHANGE_ENTRIES;
use crate::words::{ChangeHash, Draft, DraftError, EmitNumber, EntryId, Offset, Seq};

use super::metrics::Metrics;
use super::sync::{OnceLock, mpsc, watch};
use super::wall_millis;

/// How many requests may wait for the writer.
const QUEUE: usize = 1_024; // full: append waits
/// How many bytes of drafts and changes may wait for the writer, in KiB.
const QUEUE_KIB: u32 = 64 << 10; // full: append waits
const QUEUE_BOUNDS: QueueBounds = QueueBounds { requests: QUEUE, kib: QUEUE_KIB };
/// How long the writer looks for the next command before it sleeps.
const ALERT: Duration = Duration::from_micros(60);
/// How many entries a group takes before it is committed.
const GROUP_ENTRIES: usize = CHANGE_ENTRIES;
/// How many bytes a group takes before it is committed.
const GROUP_BYTES: usize = 4 << 20;
/// How many emit numbers are reserved at a time.
const EMIT_BLOCK: u64 = 1 << 20;

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
    /// The log refuses. Nothing was written.
    #[error(transparent)]
    Log(#[from] crate::core::log::AppendError),
    /// The store failed; the node must be restarted. Whether the request was written is not known.
    #[error("the node can't write any more: {0}")]
    Poisoned(String),
    /// The node is shutting down. Nothing was written.
    #[error("the node is shutting down")]
    Closed,
}

/// An idempotency key, with the digest of what it is used for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyKey {
    /// As the caller gave it.
    pub key: String,
    /// SHA-256 of the drafts.
    pub digest: [u8; 32],
}

/// The end of the block of emit numbers that a lifetime reserves at its start.
pub fn first_block(emits_from: EmitNumber) -> EmitNumber {
    emits_from.plus(EMIT_BLOCK)
}

enum Command {
    Append {
        drafts: Vec<Draft>,
        key: Option<IdempotencyKey>,
        reply: Reply<Vec<Receipt>>,
    },
    Record {
        recording: Recording,
        reply: Reply<EmitMark>,
    },
    Apply {
        changes: Vec<Change>,
        reply: Reply<Applied>,
    },
    /// The last one: no number is reserved any more.
    Close {
        reply: Reply<()>,
    },
}

/// How the writer's thread waits for a command; none once nobody can send one any more.
type Wait = fn(&mut mpsc::Receiver<Queued>) -> Option<Queued>;

type Reply<T> = oneshot::Sender<Result<T, AppendError>>;

pub(super) struct Queued {
    command: Command,
    _room: Option<OwnedSemaphorePermit>,
}

/// How much may wait for the writer.
#[derive(Clone, Copy)]
pub(super) struct QueueBounds {
    pub(super) requests: usize,
    pub(super) kib: u32,
}

/// The handle to the writer. Cloning it is cheap.
#[derive(Clone)]
pub struct Writer {
    queue: mpsc::Sender<Queued>,
    room: Arc<Semaphore>,
    bounds: QueueBounds,
    watermark: watch::Receiver<Offset>,
    poison: Arc<OnceLock<String>>,
}

impl Writer {
    /// Starts the writer thread on a store. `emits_from` is the first number that this lifetime
    /// gives out; a block above it is reserved before this returns.
    ///
    /// # Errors
    /// The store can't be written or read.
    pub fn start(
        store: Box<dyn Store>,
        log: Log,
        resume: &Resume,
        emits_from: EmitNumber,
        metrics: Arc<Metrics>,
    ) -> Result<(Self, JoinHandle<()>), StoreError> {
        let (writer, run) = Self::prepare(store, log, resume, emits_from, metrics, QUEUE_BOUNDS)?;
        let thread = std::thread::Builder::new().name("towline-writer".into());
        let handle = thread
            .spawn(move || run(next))
            .map_err(|error| StoreError::Failed(format!("no thread for the writer: {error}")))?;
        Ok((writer, handle))
    }

    /// The handle, and what the writer's thread runs, given how it waits for the next command.
    pub(super) fn prepare(
        mut store: Box<dyn Store>,
        log: Log,
        resume: &Resume,
        emits_from: EmitNumber,
        metrics: Arc<Metrics>,
        bounds: QueueBounds,
    ) -> Result<(Self, impl FnOnce(Wait) + Send + 'static), StoreError> {
        let past = store.reader()?;
        let emits = EmitMark { reserved: first_block(emits_from), ..resume.emits };
        store.commit(&Batch { emits: Some(emits), ..Batch::default() })?;
        let (queue, commands) = mpsc::channel(bounds.requests);
        let (doorbell, watermark) = watch::channel(resume.next_offset);
        let poison = Arc::new(OnceLock::new());
        let mut state =
            State { store, past, log, emits, doorbell, poison: poison.clone(), metrics };
        let room = Arc::new(Semaphore::new(bounds.kib as usize));
        let writer = Self { queue, room, bounds, watermark, poison };
        Ok((writer, move |wait| state.run(commands, wait)))
    }

    /// The doorbell: the offset that the next entry takes. It rises after a commit.
    pub fn watermark(&self) -> watch::Receiver<Offset> {
        self.watermark.clone()
    }

    /// Why the writer stopped, if it did.
    pub fn poison(&self) -> Option<&str> {
        self.poison.get().map(String::as_str)
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
        let bytes = drafts.iter().map(Draft::size).sum();
        self.send(bytes, |reply| Command::Append { drafts, key, reply }).await
    }

    /// Appends what the recorder heard, and moves its mark in the same commit.
    ///
    /// # Errors
    /// See [`AppendError`].
    pub async fn record(&self, recording: Recording) -> Result<EmitMark, AppendError> {
        let bytes = recording.drafts.iter().map(Draft::size).sum();
        self.send(bytes, |reply| Command::Record { recording, reply }).await
    }

    /// Queues changes that were verified, and returns what will tell what became of them.
    ///
    /// # Errors
    /// The writer is poisoned or closed.
    pub async fn queue_changes(
        &self,
        changes: Vec<Change>,
    ) -> Result<oneshot::Receiver<Result<Applied, AppendError>>, AppendError> {
        self.check_poison()?;
        let bytes = changes.iter().map(|change| change.bytes.len()).sum();
        self.queue(bytes, |reply| Command::Apply { changes, reply }).await
    }

    /// Writes that no emit number is outstanding, and ends the writer.
    ///
    /// # Errors
    /// The writer is poisoned or closed already.
    pub async fn close(&self) -> Result<(), AppendError> {
        // Not `send`: a poisoned writer must end, too.
        let answer = self.queue(0, |reply| Command::Close { reply }).await?;
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
        let queued = Queued { command: command(reply), _room: room };
        self.queue.send(queued).await.map_err(|_| AppendError::Closed)?;
        Ok(answer)
    }
}

/// What the writer thread owns.
struct State {
    store: Box<dyn Store>,
    past: Box<dyn Reader>,
    log: Log,
    emits: EmitMark,
    doorbell: watch::Sender<Offset>,
    poison: Arc<OnceLock<String>>,
    metrics: Arc<Metrics>,
}

/// A group of commands on its way to one commit.
#[derive(Default)]
struct Group {
    drafts: Vec<Draft>,
    /// Who waits for which of the drafts, by count in order.
    appends: Vec<(Slot, usize)>,
    applies: Vec<(Vec<Change>, Reply<Applied>)>,
    close: Option<Reply<()>>,
    bytes: usize,
    changes: usize,
    _rooms: Vec<OwnedSemaphorePermit>,
}

enum Slot {
    Append(Option<IdempotencyKey>, Reply<Vec<Receipt>>),
    Record(Recording, Reply<EmitMark>),
}

impl Group {
    fn take(&mut self, queued: Queued) {
        self._rooms.extend(queued._room);
        match queued.command {
            Command::Append { mut drafts, key, reply } => {
                self.bytes += drafts.iter().map(Draft::size).sum::<usize>();
                self.appends.push((Slot::Append(key, reply), drafts.len()));
                self.drafts.append(&mut drafts);
            }
            Command::Record { mut recording, reply } => {
                let mut drafts = std::mem::take(&mut recording.drafts);
                self.bytes += drafts.iter().map(Draft::size).sum::<usize>();
                self.appends.push((Slot::Record(recording, reply), drafts.len()));
                self.drafts.append(&mut drafts);
            }
            Command::Apply { changes, reply } => {
                self.bytes += changes.iter().map(|change| change.bytes.len()).sum::<usize>();
                self.changes += changes.len();
                self.applies.push((changes, reply));
            }
            Command::Close { reply } => self.close = Some(reply),
        }
    }

    fn has_room(&self) -> bool {
        let entries = self.drafts.len() + self.changes;
        self.close.is_none() && entries < GROUP_ENTRIES && self.bytes < GROUP_BYTES
    }

    fn refuse(self, error: &AppendError) {
        for (slot, _) in self.appends {
            match slot {
                Slot::Append(_, reply) => answer(reply, Err(error.clone())),
                Slot::Record(_, reply) => answer(reply, Err(error.clone())),
            }
        }
        for (_, reply) in self.applies {
            answer(reply, Err(error.clone()));
        }
        if let Some(reply) = self.close {
            answer(reply, Err(error.clone()));
        }
    }
}

/// Tells a caller, who may have gone.
fn answer<T>(reply: Reply<T>, result: Result<T, AppendError>) {
    drop(reply.send(result));
}

impl State {
    fn run(&mut self, mut commands: mpsc::Receiver<Queued>, wait: Wait) {
        while let Some(first) = wait(&mut commands) {
            let mut group = Group::default();
            group.take(first);
            while group.has_room()
                && let Ok(next) = commands.try_recv()
            {
                group.take(next);
            }
            let close = group.close.is_some();
            self.commit(group);
            if close {
                return refuse_the_rest(commands, wait);
            }
        }
    }

    fn commit(&mut self, mut group: Group) {
        if let Some(why) = self.poison.get() {
            return group.refuse(&AppendError::Poisoned(why.clone()));
        }
        match self.build(&mut group) {
            Ok((batch, answers)) => self.write(batch, answers, group),
            Err(BuildError::Refused(error)) => group.refuse(&error),
            Err(BuildError::Store(error)) => self.stop(&error, group),
        }
    }

    fn write(&mut self, batch: Batch, answers: Answers, group: Group) {
        let empty = batch.arrivals.is_empty() && batch.emits.is_none() && batch.keys.is_empty();
        if !empty {
            let started = Instant::now();
            if let Err(error) = self.store.commit(&batch) {
                return self.stop(&error, group);
            }
            self.log.committed();
            self.metrics.committed(&batch, started.elapsed(), self.log.node());
        }
        self.metrics.pending.set(self.log.pending() as i64);
        self.emits = batch.emits.unwrap_or(self.emits);
        if !batch.arrivals.is_empty() {
            self.doorbell.send_replace(self.log.next_offset());
        }
        answers.send(group, self.emits);
    }

    /// Ends all writing: what the log says in memory and what is on disk may differ now.
    fn stop(&self, error: &StoreError, group: Group) {
        let why = error.to_string();
        tracing::error!(%error, "a commit failed: this node writes no more until it is restarted");
        self.metrics.poisoned.set(1);
        let why = self.poison.get_or_init(|| why).clone();
        group.refuse(&AppendError::Poisoned(why));
    }

    fn build(&mut self, group: &mut Group) -> Result<(Batch, Answers), BuildError> {
        let mut batch = Batch::default();
        let mut answers = Answers::default();
        let now = wall_millis();
        let mut drafts = self.admit_keys(group, &mut answers)?;
        if !drafts.is_empty() {
            let joined = self.join_branches(&mut drafts)?;
            let arrivals = self.log.append(&drafts, now);
            batch.arrivals = arrivals.map_err(|e| BuildError::Refused(AppendError::Log(e)))?;
            answers.receipts = receipts(&batch.arrivals).split_off(joined);
        }
        self.note_keys(group, &answers, &mut batch);
        for (changes, _) in &mut group.applies {
            let changes = std::mem::take(changes);
            let mut applied = self.log.apply(changes, now, &mut *self.past)?;
            self.tell_forks(&applied);
            batch.arrivals.append(&mut applied.arrivals);
            answers.applied.push(applied);
        }
        batch.emits = self.next_mark(group);
        Ok((batch, answers))
    }

    /// A fork is seen once: when its second side comes.
    fn tell_forks(&self, applied: &Applied) {
        for Change { author, segment, first_seq, .. } in &applied.forks {
            self.metrics.forks.inc();
            let own = *author == self.log.node();
            let what =
                if own { "this node's key signs elsewhere, too" } else { "its author forked" };
            tracing::error!(author = %author.short(), %segment, seq = %first_seq, "{what}");
        }
    }

    /// Where the node finds branches of its own history, what it appends next joins them, and says
    /// so first. Returns how many entries that takes.
    fn join_branches(&self, drafts: &mut Vec<Draft>) -> Result<usize, BuildError> {
        let heads = self.log.own_heads();
        if heads.len() < 2 {
            return Ok(0);
        }
        tracing::warn!(branches = heads.len(), "joining branches of this node's own log");
        let said = rollback(&heads);
        drafts.insert(0, said.map_err(|e| BuildError::Refused(DraftError::from(e).into()))?);
        Ok(1)
    }

    /// Takes out the drafts of requests whose key was used before, and answers them from the store.
    fn admit_keys(
        &mut self,
        group: &mut Group,
        answers: &mut Answers,
    ) -> Result<Vec<Draft>, StoreError> {
        let mut drafts = std::mem::take(&mut group.drafts).into_iter();
        let mut kept = Vec::with_capacity(drafts.len());
        // Keys of this very group: the request that uses one first, by its place in the group.
        let mut fresh: HashMap<String, ([u8; 32], usize)> = HashMap::new();
        for (at, (slot, count)) in group.appends.iter().enumerate() {
            let of_request = drafts.by_ref().take(*count);
            let Slot::Append(Some(key), _) = slot else {
                kept.extend(of_request);
                answers.slots.push(Answer::Fresh(*count));
                continue;
            };
            let reused = || Answer::Failed(AppendError::KeyReused(key.key.clone()));
            let answer = if let Some((digest, first)) = fresh.get(&key.key) {
                if *digest == key.digest { Answer::Same(*first) } else { reused() }
            } else if let Some(record) = self.past.key(&key.key)? {
                match record.digest == key.digest {
                    true => Answer::Known(self.old_receipts(&record)?),
                    false => reused(),
                }
            } else {
                fresh.insert(key.key.clone(), (key.digest, at));
                kept.extend(of_request);
                answers.slots.push(Answer::Fresh(*count));
                continue;
            };
            of_request.for_each(drop);
            answers.slots.push(answer);
        }
        Ok(kept)
    }

    /// The receipts that the first use of a key got.
    fn old_receipts(&mut self, record: &KeyRecord) -> Result<Vec<Receipt>, StoreError> {
        let author = self.log.node();
        let end = record.first_seq.plus(record.count);
        let mut receipts = Vec::new();
        let mut seq = record.first_seq;
        while seq < end {
            let found = self.past.find(author, seq)?;
            let Some(arrival) = found.first() else {
                return Err(StoreError::Damaged(format!("no entry {author}:{seq} of a key")));
            };
            let of_change = self::receipts(std::slice::from_ref(arrival));
            let wanted = of_change.into_iter().filter(|r| seq <= r.id.seq && r.id.seq < end);
            receipts.extend(wanted);
            seq = arrival.change.next_seq();
        }
        Ok(receipts)
    }

    fn note_keys(&self, group: &Group, answers: &Answers, batch: &mut Batch) {
        let mut at = 0;
        for ((slot, _), answer) in group.appends.iter().zip(&answers.slots) {
            let Answer::Fresh(count) = answer else {
                continue;
            };
            if let (Slot::Append(Some(key), _), Some(first)) = (slot, answers.receipts.get(at)) {
                let IdempotencyKey { key, digest } = key.clone();
                let (first_seq, count) = (first.id.seq, *count as u64);
                batch.keys.push(KeyRecord { key, digest, first_seq, count });
            }
            at += count;
        }
    }

    /// Where the recorder stands after this group, if that changes; a new block of numbers is
    /// reserved before half of the last one is left.
    fn next_mark(&self, group: &Group) -> Option<EmitMark> {
        let mut mark = self.emits;
        for (slot, _) in &group.appends {
            if let Slot::Record(recording, _) = slot {
                mark = mark.after(recording);
            }
        }
        if group.close.is_some() {
            mark.reserved = mark.next;
        } else if mark.reserved.0.saturating_sub(mark.next.0) < EMIT_BLOCK / 2 {
            mark.reserved = mark.next.plus(EMIT_BLOCK);
        }
        (mark != self.emits).then_some(mark)
    }
}

/// The next command. A caller that appends one entry after the other is back within microseconds,
/// so a moment of looking comes before the sleep, from which it takes longer to wake.
fn next(commands: &mut mpsc::Receiver<Queued>) -> Option<Queued> {
    let began = Instant::now();
    while began.elapsed() < ALERT {
        match commands.try_recv() {
            Ok(command) => return Some(command),
            Err(TryRecvError::Empty) => std::hint::spin_loop(),
            Err(TryRecvError::Disconnected) => return None,
        }
    }
    commands.blocking_recv()
}

/// Tells those who were in the queue, or on their way into it, that nothing more is written.
///
/// A receiver that is dropped lets go what is in its queue, but a sender that has its place and
/// fills it a moment later would wait for an answer as long as there are handles to the writer.
fn refuse_the_rest(mut commands: mpsc::Receiver<Queued>, wait: Wait) {
    commands.close();
    while let Some(queued) = wait(&mut commands) {
        drop(queued); // which is the answer: see `send`
    }
}

enum BuildError {
    Refused(AppendError),
    Store(StoreError),
}

impl From<StoreError> for BuildError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// What became of one request's drafts.
enum Answer {
    /// They were appended: so many receipts of the group are theirs.
    Fresh(usize),
    /// Their key was used before; those are the receipts.
    Known(Vec<Receipt>),
    /// Their key was used by this request of the same group.
    Same(usize),
    /// They were refused.
    Failed(AppendError),
}

/// What is told once the commit has returned.
#[derive(Default)]
struct Answers {
    receipts: Vec<Receipt>,
    slots: Vec<Answer>,
    applied: Vec<Applied>,
}

impl Answers {
    fn send(self, group: Group, mark: EmitMark) {
        let mut at = 0;
        let mut given: Vec<Vec<Receipt>> = Vec::with_capacity(self.slots.len());
        for ((slot, _), answered) in group.appends.into_iter().zip(self.slots) {
            let result = match answered {
                Answer::Fresh(count) => {
                    at += count;
                    Ok(self.receipts[at - count..at].to_vec())
                }
                Answer::Known(receipts) => Ok(receipts),
                Answer::Same(first) => Ok(given[first].clone()),
                Answer::Failed(error) => Err(error),
            };
            match slot {
                Slot::Append(key, reply) => {
                    let kept =
                        if key.is_some() { result.clone().unwrap_or_default() } else { Vec::new() };
                    given.push(kept);
                    answer(reply, result);
                }
                Slot::Record(_, reply) => {
                    given.push(Vec::new());
                    answer(reply, result.map(|_| mark));
                }
            }
        }
        for ((_, reply), applied) in group.applies.into_iter().zip(self.applied) {
            answer(reply, Ok(applied));
        }
        if let Some(reply) = group.close {
            answer(reply, Ok(()));
        }
    }
}

/// One receipt for each entry of the arrivals.
fn receipts(arrivals: &[Arrival]) -> Vec<Receipt> {
    let of_arrival = |Arrival { offset, change, .. }: &Arrival| {
        let (author, hash, offset) = (change.author, change.hash, *offset);
        let first: Seq = change.first_seq;
        (0..u64::from(change.count)).map(move |at| Receipt {
            id: EntryId { author, seq: first.plus(at), segment: None },
            offset: offset.plus(at),
            hash,
        })
    };
    arrivals.iter().flat_map(of_arrival).collect()
}
