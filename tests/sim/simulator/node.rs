//! An honest node: a second shell around the core, on one thread and in virtual time.
//!
//! It drives the same log, sessions, stores and tally as the shell in `src/node` does, and in the
//! same order. What it does at each point is in [`writer`](super::writer),
//! [`exchange`](super::exchange) and [`recorder`](super::recorder); here it lives and dies.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use towline::core::log::Log;
use towline::store::memory::MemoryStore;
use towline::store::mending::Mender;
use towline::store::{Batch, EmitMark, Reader, Sealed, Store};
use towline::words::{ClusterId, EmitNumber, Identity, NodeId};

use super::agenda::{Event, HostId, LifeNumber};
use super::clock::{MILLI, Moment, WallClock};
use super::coverage::Mark;
use super::disk::Disk;
use super::emitter::Emitter;
use super::exchange::Exchange;
use super::group::{Command, Request};
use super::network::ConnectionId;
use super::promise::Outcome;
use super::reader::Readings;
use super::recorder::{EMIT_BLOCK, Recorder};
use super::rejoin::Rejoin;
use super::stage::Stage;
use super::story::Happening;
use super::writer::Flight;

/// A point in a node's work at which it may be killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KillPoint {
    /// A batch is made, and its commit has not begun.
    BeforeCommit,
    /// The commit is in flight.
    InCommit,
    /// The commit has returned, and nobody was told.
    AfterCommit,
    /// The callers were told, and no peer was.
    AfterAck,
    /// The recorder has seen that it lagged, and the gap is not written.
    BeforeGap,
}

impl KillPoint {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::BeforeCommit, Self::InCommit, Self::AfterCommit, Self::AfterAck, Self::BeforeGap];

    fn mark(self) -> Mark {
        match self {
            Self::BeforeCommit => Mark::KilledBeforeCommit,
            Self::InCommit => Mark::KilledAnywhere, // what became of the commit is counted, too
            Self::AfterCommit => Mark::KilledAfterCommit,
            Self::AfterAck => Mark::KilledAfterAck,
            Self::BeforeGap => Mark::KilledBeforeGap,
        }
    }
}

/// How a process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It is killed; its machine goes on.
    Killed,
    /// Its machine loses power.
    PowerCut,
    /// It has done all that a shutdown does.
    ShutDown,
    /// A commit failed.
    CommitFailed,
}

impl Ending {
    fn words(self) -> &'static str {
        match self {
            Self::Killed => "killed",
            Self::PowerCut => "the power is cut",
            Self::ShutDown => "shut down",
            Self::CommitFailed => "a commit failed",
        }
    }
}

/// An honest node on its host.
pub struct Node {
    pub host: HostId,
    pub identity: Identity,
    pub cluster: ClusterId,
    pub wall: WallClock,
    pub disk: Disk,
    pub life: Option<Life>,
    lives: LifeNumber,
    /// Where the process is to be killed.
    pub armed: Option<KillPoint>,
    /// Whether the next commit fails.
    pub commit_fails: bool,
    /// Until when the process stands still.
    pub suspended: Moment,
    /// Until when the recorder sleeps.
    pub nap: Moment,
    /// What a reader has read here.
    pub readings: Readings,
}

/// A process: all that a crash takes.
pub struct Life {
    pub number: LifeNumber,
    pub incarnation: u64,
    pub log: Log,
    pub store: MemoryStore,
    pub past: Box<dyn Reader>,
    pub mender: Mender,
    /// Where the recorder stands, by the last commit.
    pub mark: EmitMark,
    /// What waits for the writer.
    pub queue: VecDeque<Command>,
    /// Whether the writer is about to look.
    pub writer_due: bool,
    /// The commit that is under way.
    pub flight: Option<Flight>,
    /// The block that is being packed, or waits for the writer.
    pub packing: Option<Sealed>,
    pub exchanges: BTreeMap<ConnectionId, Exchange>,
    pub emitter: Emitter,
    pub recorder: Recorder,
    pub rejoin: Rejoin,
    /// Requests that wait for the rejoin.
    pub waiting: Vec<Request>,
    /// How many requests wait for an answer.
    pub unanswered: usize,
}

impl Node {
    /// A node that was never started.
    pub fn new(host: HostId, identity: Identity, disk: Disk, wall: WallClock) -> Self {
        Self {
            host,
            identity,
            cluster: disk.owner().cluster,
            wall,
            disk,
            life: None,
            lives: 0,
            armed: None,
            commit_fails: false,
            suspended: Moment::default(),
            nap: Moment::default(),
            readings: Readings::default(),
        }
    }

    /// Its name among nodes.
    pub fn id(&self) -> NodeId {
        self.disk.owner().node
    }

    /// Whether events of this lifetime still concern anybody.
    pub fn lives(&self, number: LifeNumber) -> bool {
        self.life.as_ref().is_some_and(|life| life.number == number)
    }

    /// The name of its present lifetime.
    pub fn this_life(&self) -> (HostId, LifeNumber) {
        (self.host, self.lives)
    }

    /// Starts the process.
    ///
    /// # Errors
    /// A promise is broken: what was acknowledged or read is not there.
    pub fn start(&mut self, stage: &mut Stage) -> Outcome {
        if self.life.is_some() {
            return Ok(());
        }
        self.lives += 1;
        if self.lives > 1 {
            stage.count(Mark::Restarts);
        }
        self.readings.check_kept(&self.disk.ledger)?;
        stage.oracle.check_kept(self.host, &self.disk.ledger)?;
        let Some((life, emits_from)) = self.open(stage)? else {
            return Ok(()); // killed while it opened
        };
        let (entries, number) = (self.disk.ledger.entries(), self.lives);
        stage.tell(Happening::Started { host: self.host, life: number, entries });
        self.life = Some(life);
        for link in stage.network.links_of(self.host) {
            let at = stage.now.after(stage.dice.between(1, 30) * MILLI);
            stage.network.dial_at(link, at, &mut stage.agenda);
        }
        self.mark_crash(emits_from);
        self.seal(stage)?;
        self.prune(stage)?;
        self.begin_rejoin(stage)
    }

    /// Reads the disk, and reserves the first emit numbers, as `Node::open` does.
    fn open(&mut self, stage: &mut Stage) -> Outcome<Option<(Life, EmitNumber)>> {
        let mut store = self.disk.open()?;
        let resume = store.resume()?;
        let (next, reserved) = (resume.emits.next, resume.emits.reserved);
        let emits_from =
            self.disk.counter.map_or(reserved, |counted| counted.clamp(next, reserved));
        self.disk.counter = Some(emits_from);
        if self.is_killed_at_start(stage) {
            return Ok(None);
        }
        let mark = EmitMark { reserved: emits_from.plus(EMIT_BLOCK), ..resume.emits };
        let batch = Rc::new(Batch { emits: Some(mark), ..Batch::default() });
        self.disk.persist(batch.clone())?;
        store.commit(&batch)?;
        if self.is_killed_at_start(stage) {
            return Ok(None);
        }
        let now = self.wall.read(stage.now);
        let (identity, lifetime) = (self.identity.clone(), stage.dice.bytes());
        let (tips, offset) = (resume.tips, resume.next_offset);
        let log = Log::new(identity, self.cluster, lifetime, tips, offset, now);
        let links = stage.network.links_of(self.host).into_iter();
        let mut named: Vec<HostId> = links.flat_map(|link| stage.network.ends(link)).collect();
        named.retain(|end| *end != self.host);
        let mut emitter = Emitter::new(emits_from, stage.scenario.ring);
        emitter.reserved = mark.reserved;
        let life = Life {
            number: self.lives,
            incarnation: u64::from_be_bytes(stage.dice.bytes()),
            log,
            past: store.reader()?,
            mender: Mender::default(),
            store,
            mark,
            queue: VecDeque::new(),
            writer_due: false,
            flight: None,
            packing: None,
            exchanges: BTreeMap::new(),
            emitter,
            recorder: Recorder::new(resume.emits.next),
            rejoin: Rejoin::new(named),
            waiting: Vec::new(),
            unanswered: 0,
        };
        Ok(Some((life, emits_from)))
    }

    fn is_killed_at_start(&mut self, stage: &mut Stage) -> bool {
        let killed = stage.is_chaos() && self.lives > 1 && stage.dice.percent(3);
        if killed {
            stage.count(Mark::KilledAtStart);
            stage.tell(Happening::Ended { host: self.host, how: "killed as it started" });
            stage.put(50 * MILLI, Event::Start(self.host));
        }
        killed
    }

    /// Ends the process.
    ///
    /// # Errors
    /// A promise is broken: a batch that the crash kept can't be on the disk.
    pub fn end(&mut self, ending: Ending, stage: &mut Stage) -> Outcome {
        let Some(life) = self.life.take() else {
            return Ok(());
        };
        stage.tell(Happening::Ended { host: self.host, how: ending.words() });
        for exchange in life.exchanges.values() {
            let far = exchange.side.other();
            if stage.network.close(exchange.connection, exchange.side) {
                let wait = match ending {
                    Ending::ShutDown => stage.dice.between(1, 20) * MILLI,
                    _ if stage.is_chaos() => stage.dice.between(100, 3_000) * MILLI,
                    _ => 100 * MILLI,
                };
                stage.put(wait, Event::HangUp(exchange.connection, far));
            }
        }
        if let Some(flight) = life.flight {
            self.decide(flight, stage)?;
        }
        self.armed = None;
        self.commit_fails = false;
        let down = if stage.is_chaos() { stage.dice.between(10, 1_500) } else { 50 };
        stage.put(down * MILLI, Event::Start(self.host));
        Ok(())
    }

    /// The process ended while this was in flight: it is on the disk, or it is not.
    fn decide(&mut self, flight: Flight, stage: &mut Stage) -> Outcome {
        if stage.dice.percent(50) {
            stage.count(Mark::KilledInCommitKept);
            return self.persist(&flight, stage);
        }
        stage.count(Mark::KilledInCommitLost);
        Ok(())
    }

    /// Ends the process here if it is to be killed at this point. Whether it was.
    ///
    /// # Errors
    /// As [`Node::end`].
    pub fn reach(&mut self, point: KillPoint, stage: &mut Stage) -> Outcome<bool> {
        if self.armed != Some(point) || self.life.is_none() {
            return Ok(false);
        }
        stage.count(point.mark());
        self.end(Ending::Killed, stage)?;
        Ok(true)
    }
}
