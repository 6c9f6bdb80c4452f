//! The writer's thread: group, batch, commit, tell, and again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::error::TryRecvError;

use super::answers::{Answer, Answers, receipts};
use super::group::{Asker, Group, Queued};
use super::room::Room;
use super::{AppendError, EMIT_BLOCK, Reserved};
use crate::core::change::Change;
use crate::core::forks::rollback;
use crate::core::log::{Adopted, Applied, Log};
use crate::node::metrics::Metrics;
use crate::node::newest::Newest;
use crate::node::sync::{OnceLock, mpsc, watch};
use crate::node::wall_millis;
use crate::store::damage::Damages;
use crate::store::mending::Mender;
use crate::store::pruning::Removal;
use crate::store::{Batch, Came, EmitMark, Reader, Store, StoreError};
use crate::words::planted::{Bug, planted};
use crate::words::{Draft, DraftError, Offset};

/// How long the writer looks for the next command before it sleeps.
const ALERT: Duration = Duration::from_micros(60);
/// How often the writer looks for a command while the disk is full.
const DROWSY: Duration = Duration::from_millis(20);

/// How long the writer waits for one more request of a group: those whom the last commit answered are
/// back within microseconds. Without the wait they would be a group of their own, and so would be
/// those who queued up meanwhile: two commits in turn, each for half of all callers.
const LINGER: Duration = Duration::from_micros(20);

/// How the writer's thread waits.
#[derive(Clone, Copy)]
pub(in crate::node) struct Wait {
    /// For a command; none once nobody can send one any more.
    pub next: fn(&mut mpsc::Receiver<Queued>) -> Option<Queued>,
    /// For one more of a group, a moment.
    pub more: fn(&mut mpsc::Receiver<Queued>) -> Option<Queued>,
}

/// What the writer thread owns.
pub(super) struct State {
    pub store: Box<dyn Store>,
    pub past: Box<dyn Reader>,
    pub damages: Damages,
    pub mender: Mender,
    pub log: Log,
    pub emits: EmitMark,
    pub reserved: Reserved,
    pub room: Room,
    pub doorbell: watch::Sender<Offset>,
    pub poison: Arc<OnceLock<String>>,
    pub metrics: Arc<Metrics>,
    pub newest: Arc<Newest>,
    /// How many requests the last commit answered together.
    pub together: usize,
}

impl State {
    /// Works until the queue is closed or a command says so.
    pub fn run(&mut self, mut commands: mpsc::Receiver<Queued>, wait: Wait) {
        while let Some(first) = self.next(&mut commands, wait) {
            let group = self.gather(first, &mut commands, wait);
            self.together = group.requests.len();
            let close = group.close.is_some();
            self.commit(group);
            if close {
                return refuse_the_rest(commands, wait);
            }
        }
    }

    /// What has queued up while the last commit was under way, and, as long as somebody comes within a
    /// moment, as many again as that commit answered. The first one is taken for one of these: who
    /// appends alone waits for nobody.
    fn gather(&self, first: Queued, commands: &mut mpsc::Receiver<Queued>, wait: Wait) -> Group {
        let mut group = Group::default();
        group.take(first);
        while group.has_room()
            && let Ok(next) = commands.try_recv()
        {
            group.take(next);
        }
        let expected = (group.requests.len() + self.together).saturating_sub(1);
        while group.has_room()
            && group.requests.len() < expected
            && let Some(next) = (wait.more)(commands)
        {
            group.take(next);
        }
        group
    }

    /// The next command. While the disk is full, the writer looks for room meanwhile.
    fn next(&mut self, commands: &mut mpsc::Receiver<Queued>, wait: Wait) -> Option<Queued> {
        while self.room.full().is_some() && self.poison.get().is_none() {
            if self.room.is_look_due() {
                self.look_for_room();
                continue;
            }
            match commands.try_recv() {
                Ok(command) => return Some(command),
                Err(TryRecvError::Empty) => std::thread::sleep(DROWSY),
                Err(TryRecvError::Disconnected) => return None,
            }
        }
        (wait.next)(commands)
    }

    fn commit(&mut self, group: Group) {
        if let Some(why) = self.poison.get() {
            return group.refuse(&AppendError::Poisoned(why.clone()));
        }
        if let Some(why) = self.room.full() {
            return group.refuse_for_room(&why);
        }
        let mut group = group;
        match self.build(&mut group) {
            Ok((batch, answers)) => self.write(batch, answers, group),
            Err(BuildError::Refused(error)) => group.refuse(&error),
            Err(BuildError::Store(error)) => group.refuse(&self.stop(&error)),
        }
    }

    fn write(&mut self, batch: Batch, mut answers: Answers, mut group: Group) {
        if planted(Bug::AckBeforeCommit) {
            let early = std::mem::take(&mut group);
            std::mem::take(&mut answers).send(early);
        }
        if !batch.is_empty() {
            let started = Instant::now();
            match self.store.commit(&batch) {
                Ok(()) => self.committed(&batch, started.elapsed()),
                Err(StoreError::Full(why)) => return self.fill(&why, group),
                Err(error) => return group.refuse(&self.stop(&error)),
            }
        }
        if !group.reclaims.is_empty() {
            match self.store.reclaim() {
                Ok(more) => answers.reclaimable = more,
                Err(StoreError::Full(_)) => {} // there will be another time
                Err(error) => return group.refuse(&self.stop(&error)),
            }
        }
        self.metrics.pending.set(self.log.pending() as i64);
        self.metrics.pending_bytes.set(self.log.pending_bytes() as i64);
        answers.send(group);
    }

    /// A batch is on disk: whoever waits for what it holds may know of it.
    fn committed(&mut self, batch: &Batch, took: Duration) {
        self.log.committed();
        self.metrics.mended.inc_by(batch.mended.len() as u64);
        self.metrics.committed(batch, took, self.log.node());
        if let Some(mark) = batch.emits {
            self.emits = mark;
            self.reserved.rise_to(mark.reserved);
        }
        if !batch.arrivals.is_empty() {
            self.newest.push(&batch.arrivals);
            self.doorbell.send_replace(self.log.next_offset());
        }
    }

    /// The disk had no room for a batch, and nothing of it was written: the log goes on from what
    /// the store holds.
    fn fill(&mut self, why: &str, group: Group) {
        match self.store.resume() {
            Ok(resume) => self.log.rewind(resume.tips, resume.next_offset),
            Err(error) => return group.refuse(&self.stop(&error)),
        }
        self.room.fill(why);
        group.refuse_for_room(why);
    }

    /// Tries a commit on a disk that was full. It reserves emit numbers, which may have run out by
    /// now, and changes nothing else.
    fn look_for_room(&mut self) {
        if !Room::is_enough(self.store.free()) {
            return self.room.fill("it still is");
        }
        let batch = Batch { emits: Some(topped_up(self.emits)), ..Batch::default() };
        let started = Instant::now();
        match self.store.commit(&batch) {
            Ok(()) => {
                self.committed(&batch, started.elapsed());
                self.room.clear();
            }
            Err(StoreError::Full(why)) => self.room.fill(&why),
            Err(error) => drop(self.stop(&error)),
        }
    }

    /// Ends all writing: what the log says in memory and what is on disk may differ now. Returns
    /// what everybody is told.
    fn stop(&self, error: &StoreError) -> AppendError {
        tracing::error!(%error, "a commit failed: this node writes no more until it is restarted");
        self.metrics.poisoned.set(1);
        AppendError::Poisoned(self.poison.get_or_init(|| error.to_string()).clone())
    }

    fn build(&mut self, group: &mut Group) -> Result<(Batch, Answers), BuildError> {
        let mut batch = Batch::default();
        let mut answers = Answers::default();
        let now = wall_millis();
        answers.requests = self.look_up_keys(group)?;
        let requests = group.requests.iter().zip(&answers.requests);
        let fresh = requests.filter(|(_, answer)| matches!(answer, Answer::Fresh));
        let mut drafts = fresh.flat_map(|(request, _)| &request.drafts).peekable();
        if drafts.peek().is_some() {
            let joining = self.join_branches()?;
            let arrivals = self.log.append(joining.iter().chain(drafts), now);
            batch.arrivals = arrivals.map_err(|e| BuildError::Refused(AppendError::Log(e)))?;
            answers.receipts = receipts(&batch.arrivals).split_off(usize::from(joining.is_some()));
        }
        self.note_keys(group, &answers, &mut batch);
        for (chain, _) in &mut group.adoptions {
            let chain = std::mem::take(chain);
            let adopted = self.log.adopt(chain, &mut *self.past)?;
            answers.adopted.push(adopted.as_ref().map(|adopted| adopted.pruned.len()));
            let Adopted { pruned, waited } = adopted.unwrap_or_default();
            batch.adopted.extend(pruned);
            batch.arrivals.extend(self.log.apply(waited, now, &mut *self.past)?.arrivals);
        }
        for (changes, packed, _) in &mut group.applies {
            let mut changes = std::mem::take(changes);
            let came = packed.take().and_then(|record| Came::of(&changes, record));
            let mended = self.mender.mend(&mut *self.past, &self.damages, &mut changes)?;
            for (lost, _) in &mended {
                tracing::info!(%lost, "mended: a peer has sent them");
            }
            batch.mended.extend(mended);
            let mut applied = self.log.apply(changes, now, &mut *self.past)?;
            self.tell_forks(&applied);
            batch.packed.extend(came.and_then(|came| came.kept(&applied.arrivals)));
            batch.arrivals.append(&mut applied.arrivals);
            answers.applied.push(applied);
        }
        batch.sealed.extend(group.seals.iter().map(|(sealed, _)| sealed.clone()));
        for (removal, _) in &mut group.removals {
            let Removal { strands, trimmed, mark } = std::mem::take(removal);
            batch.pruned.extend(strands);
            batch.trimmed.extend(trimmed);
            batch.mark = mark.or(batch.mark);
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
    /// so first: this is what it says.
    fn join_branches(&self) -> Result<Option<Draft>, BuildError> {
        let heads = self.log.own_heads();
        if heads.len() < 2 {
            return Ok(None);
        }
        tracing::warn!(branches = heads.len(), "joining branches of this node's own log");
        let said = rollback(&heads);
        said.map(Some).map_err(|e| BuildError::Refused(DraftError::from(e).into()))
    }

    /// Where the recorder stands after this group, if that changes.
    fn next_mark(&self, group: &Group) -> Option<EmitMark> {
        let mut mark = self.emits;
        for request in &group.requests {
            if let Asker::Recorder(recording, _) = &request.from {
                mark = mark.after(recording);
            }
        }
        match &group.close {
            Some((end, _)) => mark.reserved = *end.max(&mark.next),
            None => mark = topped_up(mark),
        }
        (mark != self.emits).then_some(mark)
    }
}

/// A new block of numbers is reserved before half of the last one is left.
fn topped_up(mark: EmitMark) -> EmitMark {
    match mark.reserved.0.saturating_sub(mark.next.0) < EMIT_BLOCK / 2 {
        true => EmitMark { reserved: mark.next.plus(EMIT_BLOCK), ..mark },
        false => mark,
    }
}

/// The next command. A caller that appends one entry after the other is back within microseconds,
/// so a moment of looking comes before the sleep, from which it takes longer to wake.
fn next(commands: &mut mpsc::Receiver<Queued>) -> Option<Queued> {
    match look(commands, ALERT) {
        Err(TryRecvError::Empty) => commands.blocking_recv(),
        found => found.ok(),
    }
}

fn more(commands: &mut mpsc::Receiver<Queued>) -> Option<Queued> {
    commands.try_recv().ok().or_else(|| {
        // Asleep, and not looking: on few cores it takes this one to bring them back.
        std::thread::sleep(LINGER);
        commands.try_recv().ok()
    })
}

/// Looks for a command without sleeping, for so long.
fn look(commands: &mut mpsc::Receiver<Queued>, time: Duration) -> Result<Queued, TryRecvError> {
    let began = Instant::now();
    loop {
        match commands.try_recv() {
            Err(TryRecvError::Empty) if began.elapsed() < time => std::hint::spin_loop(),
            found => return found,
        }
    }
}

/// As a thread of the system waits.
pub(super) const WAIT: Wait = Wait { next, more };

/// Tells those who were in the queue, or on their way into it, that nothing more is written.
///
/// A receiver that is dropped lets go what is in its queue, but a sender that has its place and
/// fills it a moment later would wait for an answer as long as there are handles to the writer.
fn refuse_the_rest(mut commands: mpsc::Receiver<Queued>, wait: Wait) {
    commands.close();
    while let Some(queued) = (wait.next)(&mut commands) {
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
