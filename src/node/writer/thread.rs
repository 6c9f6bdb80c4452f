//! The writer's thread: group, batch, commit, tell, and again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::error::TryRecvError;

use super::answers::{Answers, receipts};
use super::group::{Group, Queued, Slot};
use super::{AppendError, EMIT_BLOCK};
use crate::core::change::Change;
use crate::core::forks::rollback;
use crate::core::log::{Applied, Log};
use crate::node::metrics::Metrics;
use crate::node::sync::{OnceLock, mpsc, watch};
use crate::node::wall_millis;
use crate::store::damage::Damages;
use crate::store::{Batch, EmitMark, Reader, Store, StoreError};
use crate::words::planted::{Bug, planted};
use crate::words::{Draft, DraftError, Offset};

/// How long the writer looks for the next command before it sleeps.
const ALERT: Duration = Duration::from_micros(60);

/// How the writer's thread waits for a command; none once nobody can send one any more.
pub(super) type Wait = fn(&mut mpsc::Receiver<Queued>) -> Option<Queued>;

/// What the writer thread owns.
pub(super) struct State {
    pub store: Box<dyn Store>,
    pub past: Box<dyn Reader>,
    pub damages: Damages,
    pub log: Log,
    pub emits: EmitMark,
    pub doorbell: watch::Sender<Offset>,
    pub poison: Arc<OnceLock<String>>,
    pub metrics: Arc<Metrics>,
}

impl State {
    /// Works until the queue is closed or a command says so.
    pub fn run(&mut self, mut commands: mpsc::Receiver<Queued>, wait: Wait) {
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

    fn write(&mut self, batch: Batch, mut answers: Answers, mut group: Group) {
        if planted(Bug::AckBeforeCommit) {
            let early = std::mem::take(&mut group);
            std::mem::take(&mut answers).send(early, self.emits);
        }
        if !batch.is_empty() {
            let started = Instant::now();
            if let Err(error) = self.store.commit(&batch) {
                return self.stop(&error, group);
            }
            self.log.committed();
            self.metrics.mended.inc_by(batch.mended.len() as u64);
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
            let mut changes = std::mem::take(changes);
            batch.mended.extend(self.mend(&mut changes)?);
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
pub(super) fn next(commands: &mut mpsc::Receiver<Queued>) -> Option<Queued> {
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
