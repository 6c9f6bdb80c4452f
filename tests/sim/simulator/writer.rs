//! The writer of a node: drains what has queued up, makes one batch of it, commits that, and only
//! then tells anybody; as `src/node/writer.rs` does, with a disk whose commits take virtual time.

use std::rc::Rc;

use towline::core::change::{Change, Link};
use towline::core::frontier::Head;
use towline::core::log::{Adopted, Applied, Arrival};
use towline::store::ranges::stretch;
use towline::store::{Batch, Came, EmitMark, Reader, Store};
use towline::words::{Draft, NodeId, Offset};

use super::agenda::Timer;
use super::coverage::Mark;
use super::group::{Command, Group, Request};
use super::network::ConnectionId;
use super::node::{Ending, KillPoint, Life, Node};
use super::oracle::Acknowledged;
use super::promise::{Outcome, Promise};
use super::stage::Stage;
use super::story::Happening;
use super::tiling;

/// How many bytes of changes the scrub reads at once.
const SCRUBBED: usize = 64 << 10;

/// A commit that is under way, and who waits for it.
pub struct Flight {
    batch: Rc<Batch>,
    /// How many of its arrivals this node has just appended.
    appended: usize,
    /// The clients' requests, each with the place of its first entry among those appended.
    requests: Vec<(usize, Request)>,
    recorded: bool,
    applied: Vec<(ConnectionId, Applied)>,
    /// Who offered what was taken over.
    adopted: Vec<(ConnectionId, NodeId, Head)>,
    closes: bool,
    /// Where the recorder stood before.
    mark: EmitMark,
}

impl Node {
    /// Puts a command into the writer's queue.
    pub fn enqueue(&mut self, command: Command, stage: &mut Stage) {
        if let Some(life) = &mut self.life {
            life.queue.push_back(command);
        }
        self.wake_writer(stage);
    }

    fn wake_writer(&mut self, stage: &mut Stage) {
        let name = self.this_life();
        let Some(life) = &mut self.life else { return };
        if !life.queue.is_empty() && life.flight.is_none() && !life.writer_due {
            life.writer_due = true;
            let delay = stage.dice.between(1, 200);
            stage.due(delay, name, Timer::Write);
        }
    }

    /// Takes what has queued up, and begins its commit.
    ///
    /// # Errors
    /// The batch breaks a promise.
    pub fn write(&mut self, stage: &mut Stage) -> Outcome {
        let now = self.wall.read(stage.now);
        let Some(life) = &mut self.life else {
            return Ok(());
        };
        life.writer_due = false;
        let mut group = Group::take(&mut life.queue);
        if group.commands() > 1 {
            stage.count(Mark::GroupCommits);
        }
        group.join_branches(&life.log.own_heads());
        let arrivals = life.append(&group.drafts, now)?;
        for Arrival { change, .. } in &arrivals {
            stage.oracle.signed(change);
        }
        self.check_openings(&arrivals, stage)?;
        let Some(life) = &mut self.life else {
            return Ok(());
        };
        let mut batch = Batch { arrivals, ..Batch::default() };
        let appended = batch.arrivals.len();
        let (mut applied, damages) = (Vec::new(), life.store.damages());
        let mut adopted = Vec::new();
        for (from, chain) in std::mem::take(&mut group.adoptions) {
            let end = chain.last().map(|last| (last.author(), last.head()));
            let Some(found) = life.log.adopt(chain, &mut *life.past)? else { continue };
            let Adopted { pruned, waited } = found;
            adopted.extend(end.map(|(author, end)| (from, author, end)));
            batch.adopted.extend(pruned);
            batch.arrivals.append(&mut life.apply(waited, now)?.arrivals);
        }
        for (from, (mut changes, record)) in std::mem::take(&mut group.applies) {
            let came = record.and_then(|record| Came::of(&changes, record));
            let mended = life.mender.mend(&mut life.store, &damages, &mut changes)?;
            stage.coverage.add(Mark::Quarantined, mended.len() as u64);
            batch.mended.extend(mended);
            let mut result = life.apply(changes, now)?;
            batch.packed.extend(came.and_then(|came| came.kept(&result.arrivals)));
            batch.arrivals.append(&mut result.arrivals);
            applied.push((from, result));
        }
        batch.sealed = std::mem::take(&mut group.seals);
        batch.pruned = std::mem::take(&mut group.prunes);
        batch.emits = group.next_mark(life.mark);
        let flight = Flight {
            batch: Rc::new(batch),
            appended,
            requests: group.requests,
            recorded: !group.recordings.is_empty(),
            applied,
            adopted,
            closes: group.closes,
            mark: life.mark,
        };
        self.commit(flight, stage)
    }

    /// Begins a commit; one with nothing in it is over at once.
    fn commit(&mut self, flight: Flight, stage: &mut Stage) -> Outcome {
        if flight.batch.is_empty() {
            return self.answer(flight, stage);
        }
        if self.reach(KillPoint::BeforeCommit, stage)? {
            return Ok(());
        }
        let Batch { arrivals, emits, .. } = &*flight.batch;
        let entries = arrivals.iter().map(|arrival| u64::from(arrival.change.count)).sum();
        let (host, changes, mark) = (self.host, arrivals.len(), emits.is_some());
        stage.tell(Happening::Commits { host, changes, entries, mark });
        stage.count(Mark::Commits);
        let takes = stage.dice.between(50, self.disk.latency);
        stage.due(takes, self.this_life(), Timer::Commit);
        if self.armed == Some(KillPoint::InCommit) {
            let within = stage.dice.between(1, takes);
            stage.due(within, self.this_life(), Timer::Kill);
        }
        if let Some(life) = &mut self.life {
            life.flight = Some(flight);
        }
        Ok(())
    }

    /// The commit returns: what it wrote is durable, and is told.
    ///
    /// # Errors
    /// What was written breaks a promise.
    pub fn committed(&mut self, stage: &mut Stage) -> Outcome {
        let Some(flight) = self.life.as_mut().and_then(|life| life.flight.take()) else {
            return Ok(());
        };
        if self.commit_fails {
            return self.fail(&flight, stage);
        }
        self.persist(&flight, stage)?;
        let Some(life) = &mut self.life else {
            return Ok(());
        };
        life.store.commit(&flight.batch)?;
        life.note_blocks(&flight.batch, stage);
        life.log.committed();
        life.check_frontiers(&self.disk.ledger.frontier())?;
        let watermark = self.disk.ledger.entries();
        stage.tell(Happening::Committed { host: self.host, watermark });
        if self.reach(KillPoint::AfterCommit, stage)? {
            return Ok(());
        }
        let grown = !flight.batch.arrivals.is_empty();
        if grown && stage.dice.percent(30) {
            self.ring_bell(stage)?; // peers may hear of it before the caller
        } else if grown {
            let delay = stage.dice.between(1, 1_000);
            stage.due(delay, self.this_life(), Timer::Bell);
        }
        self.answer(flight, stage)
    }

    /// A commit fails, and may be on the disk all the same. The node stops.
    fn fail(&mut self, flight: &Flight, stage: &mut Stage) -> Outcome {
        if stage.dice.percent(50) {
            stage.count(Mark::CommitErrorsKept);
            self.persist(flight, stage)?;
        } else {
            stage.count(Mark::CommitErrorsLost);
        }
        self.end(Ending::CommitFailed, stage)
    }

    /// A batch is on the disk now: the oracle looks at it.
    ///
    /// # Errors
    /// It breaks a promise.
    pub fn persist(&mut self, flight: &Flight, stage: &mut Stage) -> Outcome {
        let Flight { batch, appended, mark, .. } = flight;
        let own = &batch.arrivals[..*appended];
        self.disk.persist(batch.clone())?;
        self.note_pruning(batch, stage);
        for Arrival { change, .. } in &batch.arrivals {
            stage.oracle.check_written(self.host, change, &self.disk.ledger)?;
        }
        let after = batch.emits.unwrap_or(*mark);
        tiling::check(self.this_life(), (*mark, after), own, &mut stage.coverage)
    }

    /// Tells everybody who waits for a group what became of it.
    fn answer(&mut self, flight: Flight, stage: &mut Stage) -> Outcome {
        let Flight { batch, appended, requests, recorded, applied, adopted, closes, mark } = flight;
        let Some(life) = &mut self.life else {
            return Ok(());
        };
        life.mark = batch.emits.unwrap_or(mark);
        life.unanswered -= requests.len();
        self.acknowledge(&batch.arrivals[..appended], requests, stage)?;
        if self.reach(KillPoint::AfterAck, stage)? {
            return Ok(());
        }
        for (from, applied) in applied {
            self.settle(from, &applied, stage)?;
        }
        for (from, author, end) in adopted {
            self.adopted(from, (author, end), stage)?;
        }
        if recorded {
            self.recorded(stage)?;
        }
        if closes {
            stage.count(Mark::Shutdowns);
            return self.end(Ending::ShutDown, stage);
        }
        self.wake_writer(stage);
        Ok(())
    }

    fn acknowledge(
        &mut self,
        appended: &[Arrival],
        requests: Vec<(usize, Request)>,
        stage: &mut Stage,
    ) -> Outcome {
        let places: Vec<_> = appended.iter().flat_map(|a| places(&a.change)).collect();
        for (first, request) in requests {
            stage.count(Mark::Acknowledged);
            let (count, of_request) = (request.drafts.len(), &places[first..]);
            for (draft, (seq, change)) in request.drafts.into_iter().zip(of_request) {
                let (author, hash, data) = (change.author, change.hash, draft.data);
                let (host, seq, uprooted, forgiven) = (self.host, *seq, false, false);
                let entry = Acknowledged { host, author, seq, hash, data, uprooted, forgiven };
                stage.oracle.acknowledge(entry, &self.disk.ledger)?;
            }
            let first_seq = of_request.first().map_or(0, |(seq, _)| seq.0);
            stage.tell(Happening::Acknowledged { host: self.host, first_seq, count });
        }
        Ok(())
    }

    /// A segment that this node opens continues after all branches that it has of itself.
    fn check_openings(&self, appended: &[Arrival], stage: &mut Stage) -> Outcome {
        let Some(Arrival { change, .. }) = appended.first() else {
            return Ok(());
        };
        if appended.iter().any(|arrival| arrival.change.segment != change.segment) {
            stage.count(Mark::AppendsOverSegments);
        }
        if appended.len() > 1 {
            stage.count(Mark::AppendsOverChanges);
        }
        let Ok(Link::Opening(opening)) = change.link() else {
            return Ok(());
        };
        let mut leaves = self.disk.ledger.leaves(&self.id());
        leaves.sort();
        if leaves.len() > 1 {
            stage.count(Mark::BranchesJoined);
        }
        Promise::Contiguous.holds(opening.parents == leaves, || {
            format!("{} opens a segment after {:?}, and has {leaves:?}", self.host, opening.parents)
        })
    }
}

impl Life {
    fn append(&mut self, drafts: &[Draft], now: u64) -> Outcome<Vec<Arrival>> {
        if drafts.is_empty() {
            return Ok(Vec::new());
        }
        let appended = self.log.append(drafts, now);
        appended.or_else(|error| Promise::NoPanic.broken(error.to_string()))
    }

    fn apply(&mut self, changes: Vec<Change>, now: u64) -> Outcome<Applied> {
        Ok(self.log.apply(changes, now, &mut *self.past)?)
    }

    /// Reads all that the store holds, as the node's scrub does in time.
    ///
    /// # Errors
    /// The store fails otherwise than by damage, which it notes itself.
    pub fn scrub(&mut self) -> Outcome {
        let mut at = Offset(0);
        loop {
            match stretch(&mut self.store, at, SCRUBBED)?.next {
                next if next == at => return Ok(()),
                next => at = next,
            }
        }
    }

    /// The log in memory, the store and the ledger name the same heads.
    fn check_frontiers(&mut self, ledger: &towline::core::frontier::Frontier) -> Outcome {
        let stored = self.store.frontier()?;
        let same = stored == *ledger && self.log.frontier() == stored;
        Promise::Contiguous.holds(same, || {
            format!("log {:?}, store {stored:?}, disk {ledger:?}", self.log.frontier())
        })
    }
}

/// The place of each entry of a change.
fn places(change: &Change) -> impl Iterator<Item = (towline::words::Seq, &Change)> {
    (0..u64::from(change.count)).map(move |at| (change.first_seq.plus(at), change))
}
