//! An exchange: the shell around one session with one peer.
//!
//! The session decides, this does: it moves frames between link and session, reads the store when
//! the session asks, and hands changes to verification and to the writer. Four tasks work for it:
//!
//! ```text
//! link ─► receive ─► frames ─► drive ─► frames ─► send ─► link
//!                                └────► runs ───► verify ─► writer ─► settle
//! ```
//!
//! `drive` never waits for the other side, so two nodes that both have much to say can't wait for
//! each other for ever.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::{self, MissedTickBehavior};
use tokio_util::task::AbortOnDropHandle;

use super::bans::Verdict;
use super::door::{Door, Turned};
use super::metrics::Metrics;
use super::reading::Reading;
use super::roster::{Roster, SessionNumber};
use super::sync::watch;
use super::wall_millis;
use super::writer::{AppendError, Writer};
use crate::core::change::{Change, SignedRun, Travelling};
use crate::core::frame::{Frame, FrameError, Heads};
use crate::core::frontier::{Frontier, Head};
use crate::core::log::Applied;
use crate::core::offers::Offers;
use crate::core::pruned::PrunedError;
use crate::core::session::{Parties, Received, Session, Step, Violation};
use crate::net::endpoint::{ConnectError, Connected, HANDSHAKE};
use crate::net::link::{LinkError, Receiver, Sender};
use crate::store::block::BlockOpener;
use crate::store::damage::{Damages, Lost};
use crate::store::ranges::{Comparison, compare, fetch, holds, wanted};
use crate::store::{Reader, StoreError};
use crate::words::{ClusterId, NodeId, Offset, Seq, Time};

mod pruned;

/// How many received frames may wait to be handled.
const FRAMES_IN: usize = 16; // full: nothing more is read from the link
/// How many KiB of received frames may wait to be handled, verified and committed, unpacked.
const HELD_KIB: usize = 16 << 10; // full: nothing more is read from the link
/// How many frames may wait to be sent.
const FRAMES_OUT: usize = 2; // full: the session is not asked for more
/// How many runs may wait to be verified, and how many to be committed.
const RUNS: usize = 16; // full: no further frame is handled
/// After so many own entries that are told at once ...
const MUCH: u64 = 32;
/// ... the next ones wait so long. A peer that is told of each group verifies, commits and acknowledges
/// each, which takes most of the time of three nodes that share a machine.
const LULL: Duration = Duration::from_millis(8);
/// How many changes a scan reads at once.
const SCANNED: usize = 512;
/// Larger frames are read on a thread that may block.
const BLOCKING_FROM: usize = 64 << 10;
/// Larger changes are verified on a thread that may block.
const SMALL_BYTES: usize = 32 << 10;

/// What every exchange of a node needs.
#[derive(Clone)]
pub struct Context {
    /// This node.
    pub me: NodeId,
    /// Its cluster.
    pub cluster: ClusterId,
    /// This lifetime of it.
    pub incarnation: u64,
    /// Its name for people.
    pub name: String,
    /// How often the digest is repeated.
    pub interval: Duration,
    /// How long it is waited for entries that a peer has removed, as another one may bring them.
    pub patience: Duration,
    /// Where changes go.
    pub writer: Writer,
    /// Where they are read.
    pub reading: Reading,
    /// What of them is damaged.
    pub damages: Damages,
    /// Where peers are noted.
    pub roster: Arc<Roster>,
    /// Where they come in.
    pub door: Arc<Door>,
    /// Where things are counted.
    pub metrics: Arc<Metrics>,
}

/// Why an exchange ended.
#[derive(Debug, thiserror::Error)]
pub enum Ended {
    /// Another connection with the same peer is kept.
    #[error("another connection with this peer is kept")]
    Duplicate,
    /// Nothing of the connection was read.
    #[error(transparent)]
    Turned(#[from] Turned),
    /// The connection did not come about.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The link carries no more frames.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The peer sent what is no frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The peer did what no honest node does.
    #[error(transparent)]
    Violation(#[from] Violation),
    /// The peer sent changes that their author did not sign so.
    #[error("the peer sent a forged run: {0}")]
    Forged(#[from] crate::core::change::VerifyError),
    /// The peer said of a segment what its author did not sign so.
    #[error("the peer forged a pruned segment: {0}")]
    ForgedPruned(#[from] PrunedError),
    /// The peer sent changes that can't join the log.
    #[error("the peer sent a change of {0} that can't join the log: {1}")]
    Refused(NodeId, crate::core::log::Refusal),
    /// The store can't be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The writer takes no more.
    #[error(transparent)]
    Writer(#[from] AppendError),
    /// The node shuts down.
    #[error("the node shuts down")]
    Shutdown,
}

/// Whom the end of an exchange speaks against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// Nobody.
    None,
    /// The peer, which is set up for another cluster or version: refusing it costs as little as a
    /// ban would, and it may be set right at any moment.
    Setting,
    /// The peer, which did what no honest node does.
    Violation,
}

impl Ended {
    fn fault(&self) -> Fault {
        match self {
            Self::Violation(Violation::Protocol(_) | Violation::Cluster) => Fault::Setting,
            Self::Frame(_)
            | Self::Violation(_)
            | Self::Forged(_)
            | Self::ForgedPruned(_)
            | Self::Refused(..) => Fault::Violation,
            Self::Link(LinkError::Bad(_)) => Fault::Violation,
            _ => Fault::None,
        }
    }
}

/// Runs a session over a connection until one side ends it.
pub async fn run(context: Context, connected: Connected, closing: watch::Receiver<bool>) -> Ended {
    let (peer, address, dialed) = (connected.peer, connected.address, connected.dialed());
    let greeting = match context.door.admit(peer) {
        Ok(greeting) => greeting,
        Err(turned) => {
            tracing::debug!(peer = %peer.short(), %address, why = %turned, "turned away");
            connected.refuse(&turned.to_string());
            return turned.into();
        }
    };
    let link = match connected.link().await {
        Ok(link) => link,
        Err(error) => return error.into(),
    };
    let (sender, receiver, closer) = link.split();
    let mut exchange = match greet(&context, peer, sender, receiver).await {
        Ok(exchange) => exchange,
        Err(ended) => {
            closer.close(&ended.to_string());
            blame(&context, peer, &ended);
            context.roster.update(peer, |entry| entry.trouble = Some(ended.to_string()));
            return ended;
        }
    };
    let incarnation = exchange.incarnation;
    let Some(number) = context.roster.enter(peer, incarnation, dialed, closer.clone()) else {
        closer.close("another connection with this node is kept");
        return Ended::Duplicate;
    };
    drop(greeting);
    context.roster.update(peer, |entry| {
        entry.address.get_or_insert(address);
        entry.name = exchange.name.clone();
        // It may have lost its disk since.
        entry.holds.clear();
        entry.last_seen = Some(Time::from_millis(wall_millis()));
    });
    tracing::info!(peer = %peer.short(), %address, "connected");
    let ended = exchange.drive(closing).await;
    closer.close(&ended.to_string());
    leave(&context, peer, number, &ended);
    ended
}

fn leave(context: &Context, peer: NodeId, number: SessionNumber, ended: &Ended) {
    blame(context, peer, ended);
    context.roster.leave(peer, number, &ended.to_string());
    context.metrics.peers.set(context.roster.connected().len() as i64);
}

/// Says in the log why a connection ended, and remembers it when the peer is to blame.
fn blame(context: &Context, peer: NodeId, ended: &Ended) {
    match ended.fault() {
        Fault::None => tracing::info!(peer = %peer.short(), why = %ended, "disconnected"),
        Fault::Setting => context.door.blame(peer, ended),
        Fault::Violation => {
            if context.door.accuse(peer, ended) == Verdict::Banned {
                context.roster.expel(&peer, "banned");
            }
        }
    }
}

/// Exchanges hellos, and starts the tasks.
async fn greet(
    context: &Context,
    peer: NodeId,
    mut sender: Sender,
    mut receiver: Receiver,
) -> Result<Exchange, Ended> {
    let parties = Parties {
        me: context.me,
        cluster: context.cluster,
        incarnation: context.incarnation,
        name: context.name.clone(),
        peer,
    };
    let mut session = Session::new(parties);
    if let Some(Step::Send(hello)) = session.poll() {
        sender.send(hello.encode()).await?;
    }
    let first = tokio::time::timeout(HANDSHAKE, receiver.receive()).await;
    let (first, _) = first.map_err(|_| ConnectError::Timeout)??;
    let greeted = session.handle_frame(Frame::decode(&first)?)?;
    let Received::Greeted { name, incarnation } = greeted else {
        return Err(Violation::Hello.into());
    };
    Ok(Exchange::start(context.clone(), peer, session, (sender, receiver), (name, incarnation)))
}

/// A frame that was received, and the room that it takes.
struct Heard {
    frame: Frame,
    room: Option<OwnedSemaphorePermit>,
}

/// A run that is to be verified, and the room that it takes.
struct HeardRun {
    run: Travelling,
    room: Option<OwnedSemaphorePermit>,
}

/// Changes that are queued for the writer: what will tell what became of them, and the room that they
/// take, so that a peer's part of the writer's queue is bounded, too.
struct Settling {
    settled: oneshot::Receiver<Result<Applied, AppendError>>,
    _room: Option<OwnedSemaphorePermit>,
}

struct Exchange {
    context: Context,
    peer: NodeId,
    name: String,
    incarnation: u64,
    session: Session,
    frames_in: mpsc::Receiver<Result<Heard, Ended>>,
    frames_out: mpsc::Sender<Frame>,
    runs: mpsc::Sender<HeardRun>,
    trouble: mpsc::Receiver<Ended>,
    /// The room that the last frame takes until the session has made of it what it can.
    heard: Option<OwnedSemaphorePermit>,
    /// The heads of this node that the peer named first.
    own_heads: Option<Vec<Head>>,
    /// Whether all of them are held here.
    own_settled: bool,
    /// The authors that the peer was told to keep.
    elsewhere: Vec<NodeId>,
    /// What it says of segments that it has pruned.
    offers: Offers,
    /// When the exchange began: its clock, which doesn't step.
    began: Instant,
    /// They end with the exchange.
    _tasks: [AbortOnDropHandle<()>; 4],
}

impl Exchange {
    fn start(
        context: Context,
        peer: NodeId,
        session: Session,
        (sender, receiver): (Sender, Receiver),
        (name, incarnation): (String, u64),
    ) -> Self {
        let (frames, frames_in) = mpsc::channel(FRAMES_IN);
        let (frames_out, outgoing) = mpsc::channel(FRAMES_OUT);
        let (runs, to_verify) = mpsc::channel(RUNS);
        let (to_settle, settled) = mpsc::channel(RUNS);
        // Each task reports at most one trouble, its last word, so the channel is never full.
        let (report, trouble) = mpsc::channel(4);
        let tasks = [
            spawn(receive(receiver, frames, context.metrics.clone())),
            spawn(send(sender, outgoing, report.clone(), context.metrics.clone())),
            spawn(verify(to_verify, context.clone(), to_settle, report.clone())),
            spawn(settle(settled, report, context.metrics.clone())),
        ];
        Self {
            context,
            peer,
            name,
            incarnation,
            session,
            frames_in,
            frames_out,
            runs,
            trouble,
            heard: None,
            own_heads: None,
            own_settled: false,
            elsewhere: Vec::new(),
            offers: Offers::default(),
            began: Instant::now(),
            _tasks: tasks,
        }
    }

    async fn drive(&mut self, mut closing: watch::Receiver<bool>) -> Ended {
        let mut watermark = self.context.writer.watermark();
        let mut roster = self.context.roster.exchange_bell();
        let mut interval = tokio::time::interval(self.context.interval);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut links = Vec::new();
        roster.mark_changed();
        let mut lull = Lull::new(*watermark.borrow());
        loop {
            if let Err(ended) = self.advance().await {
                return ended;
            }
            self.heard = None;
            let frames_out = self.frames_out.clone();
            let rests = lull.until.filter(|_| !self.context.roster.is_awaited());
            let event = tokio::select! {
                frame = self.frames_in.recv() => Event::Frame(frame),
                // A place has become free: the session may say more.
                _ = frames_out.reserve(), if frames_out.capacity() == 0 => Event::Room,
                trouble = self.trouble.recv() => Event::End(trouble.unwrap_or(Ended::Shutdown)),
                () = time::sleep_until(rests.unwrap_or_else(time::Instant::now)), if rests.is_some() => {
                    lull.until = None;
                    continue;
                }
                grown = watermark.changed(), if rests.is_none() => match grown {
                    Ok(()) => Event::Grown(*watermark.borrow_and_update()),
                    Err(_) => Event::End(Ended::Shutdown),
                },
                _ = interval.tick() => Event::Interval,
                _ = roster.changed() => Event::Roster,
                _ = closing.wait_for(|closing| *closing) => Event::End(Ended::Shutdown),
            };
            let handled = match event {
                Event::Frame(frame) => self.handle(frame).await,
                Event::Grown(now) => {
                    lull.note(now, self.context.writer.newest().author() == Some(self.context.me));
                    self.session.handle_growth();
                    self.settle_own().await
                }
                Event::Interval => {
                    self.session.handle_interval();
                    let lost = self.context.damages.all();
                    self.session.handle_lost(lost.iter().map(Lost::wanted).collect());
                    self.note_peer(None);
                    self.adopt().await
                }
                Event::Roster => {
                    let now = self.context.roster.connected();
                    self.context.metrics.peers.set(now.len() as i64);
                    if now != links {
                        links.clone_from(&now);
                        self.session.handle_links(now);
                    }
                    self.tell_elsewhere();
                    Ok(())
                }
                Event::Room => Ok(()),
                Event::End(ended) => Err(ended),
            };
            if let Err(ended) = handled {
                return ended;
            }
        }
    }

    /// Does what the session wants, until it wants nothing or there is no room for a frame.
    async fn advance(&mut self) -> Result<(), Ended> {
        loop {
            let frames_out = self.frames_out.clone();
            let Ok(place) = frames_out.try_reserve() else {
                return Ok(());
            };
            match self.session.poll() {
                None => return Ok(()),
                Some(Step::Send(frame)) => place.send(frame),
                Some(Step::ReadFrontier) => {
                    let frontier = self.context.reading.run(|reader| reader.frontier()).await?;
                    self.session.handle_own_frontier(&frontier);
                    self.share(&frontier);
                }
                Some(Step::Compare(heads)) => self.compare(heads).await?,
                Some(Step::Scan(from)) => {
                    if let Some((passed, next)) = self.context.writer.newest().scan(from, SCANNED) {
                        self.session.handle_scanned(&passed, next);
                        continue;
                    }
                    let scan = move |reader: &mut dyn Reader| reader.scan(from, SCANNED);
                    let (passed, next) = self.context.reading.run(scan).await?;
                    self.session.handle_scanned(&passed, next);
                }
                Some(Step::Fetch(range)) => {
                    if let Some(run) = self.context.writer.newest().fetch(range) {
                        self.session.handle_fetched(Some(Travelling::Run(run)));
                        continue;
                    }
                    let fetch = move |reader: &mut dyn Reader| fetch(reader, range);
                    let run = self.context.reading.run(fetch).await?;
                    self.session.handle_fetched(run);
                }
            }
        }
    }

    async fn handle(&mut self, heard: Option<Result<Heard, Ended>>) -> Result<(), Ended> {
        let Some(heard) = heard else {
            return Err(LinkError::Gone("no more frames".into()).into());
        };
        let Heard { frame, room } = heard?;
        if matches!(frame, Frame::Digest(_)) && self.context.writer.full().is_some() {
            // Where the disk is full nothing of the peer's can be kept. It would be told by our
            // frontier what to send, and send the same at every interval. Our own digests go on:
            // what the peer lacks it gets.
            return Ok(());
        }
        let authors = |heads: &Heads| heads.iter().map(|(author, _)| *author).collect();
        let said_to_hold: Option<Vec<NodeId>> = match &frame {
            Frame::Frontier(heads) | Frame::Ack(heads) => Some(authors(heads)),
            _ => None,
        };
        if let (Frame::Frontier(heads), None) = (&frame, &self.own_heads) {
            let own = heads.iter().find(|(author, _)| *author == self.context.me);
            self.own_heads = Some(own.map(|(_, heads)| heads.clone()).unwrap_or_default());
        }
        match self.session.handle_frame(frame)? {
            // Waiting here is waiting for our own disk, never for the peer.
            Received::Run(run) => {
                drop(self.runs.send(HeardRun { run: Travelling::Run(*run), room }).await);
            }
            Received::Block(block) => {
                drop(self.runs.send(HeardRun { run: Travelling::Block(*block), room }).await);
            }
            Received::Pruned(chain) => self.hear_pruned(chain).await?,
            Received::Wanted(list) => {
                let places = move |reader: &mut dyn Reader| wanted(reader, &list);
                let ranges = self.context.reading.run(places).await?;
                self.session.handle_wanted(ranges);
            }
            Received::Noted | Received::Greeted { .. } => self.heard = room,
        }
        if said_to_hold.is_some() {
            self.note_peer(said_to_hold);
        }
        Ok(())
    }

    /// Notes what the peer holds: of these authors, which is as much work as the frame was long that
    /// named them, or of all.
    fn note_peer(&self, authors: Option<Vec<NodeId>>) {
        let held = |author: NodeId| Some((author, self.session.peer_holds(&author)?));
        let held: Vec<(NodeId, Seq)> = match authors {
            Some(authors) => authors.into_iter().filter_map(held).collect(),
            None => self.session.held_by_peer().map(|(author, next)| (*author, next)).collect(),
        };
        self.context.roster.update(self.peer, |entry| {
            entry.holds.extend(held);
            entry.last_seen = Some(Time::from_millis(wall_millis()));
        });
    }

    async fn compare(&mut self, theirs: Heads) -> Result<(), Ended> {
        let compared = self.context.reading.run(move |reader| compare(reader, &theirs)).await?;
        self.share(&compared.own);
        self.session.handle_pruned(compared.pruned);
        let Comparison { missing, ahead, watermark, .. } = compared;
        let roster = &self.context.roster;
        let held = |peer: &NodeId, author: &NodeId| roster.held_by(peer, author);
        self.session.handle_compared(missing, &ahead, watermark, held);
        self.settle_own().await
    }

    /// Looks which peer is asked for what is lacking here.
    fn share(&mut self, own: &Frontier) {
        let progress = self.context.roster.look(own);
        let lacking = progress.map_or(0, |progress| progress.lacking);
        self.context.metrics.lacking.set(i64::try_from(lacking).unwrap_or(i64::MAX));
        self.tell_elsewhere();
    }

    /// Tells the peer what it is to keep, when that is something else than before.
    fn tell_elsewhere(&mut self) {
        let elsewhere = self.context.roster.elsewhere(&self.peer);
        if elsewhere != self.elsewhere {
            self.elsewhere.clone_from(&elsewhere);
            self.session.handle_elsewhere(elsewhere);
        }
    }

    /// Looks whether all that the peer holds of this node is held here by now.
    async fn settle_own(&mut self) -> Result<(), Ended> {
        if self.own_settled {
            return Ok(());
        }
        let Some(heads) = self.own_heads.clone() else {
            return Ok(());
        };
        let settled = self.context.reading.run(move |reader| holds(reader, &heads)).await?;
        if settled {
            self.own_settled = true;
            self.context.roster.update(self.peer, |entry| entry.own_settled = true);
        }
        Ok(())
    }
}

/// The rest after much was appended, while nobody waits for peers: what is appended meanwhile goes in one
/// frame, is verified as one, and is one commit of the peer.
struct Lull {
    until: Option<time::Instant>,
    /// Where the log ended when it was looked at last.
    seen: Offset,
}

impl Lull {
    fn new(seen: Offset) -> Self {
        Self { until: None, seen }
    }

    /// The log has grown. What others wrote is not held up: it comes in large pieces by itself.
    fn note(&mut self, now: Offset, own: bool) {
        let much = own && now.0 - self.seen.0 >= MUCH;
        self.until = much.then(|| time::Instant::now() + LULL);
        self.seen = now;
    }
}

/// What an exchange waits for.
enum Event {
    Frame(Option<Result<Heard, Ended>>),
    Room,
    /// The log ends there now.
    Grown(Offset),
    Interval,
    Roster,
    End(Ended),
}

fn spawn(task: impl Future<Output = ()> + Send + 'static) -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(tokio::spawn(task))
}

async fn receive(
    mut receiver: Receiver,
    frames: mpsc::Sender<Result<Heard, Ended>>,
    metrics: Arc<Metrics>,
) {
    let places = Arc::new(Semaphore::new(HELD_KIB));
    loop {
        let received = receiver.receive().await.map_err(Ended::from);
        let heard = match received {
            Ok((bytes, travelled)) => {
                metrics.received_bytes.inc_by(travelled as u64);
                let kib = (bytes.len() >> 10).clamp(1, HELD_KIB) as u32;
                let room = places.clone().acquire_many_owned(kib).await.ok();
                decode(bytes).await.map(|frame| Heard { frame, room })
            }
            Err(ended) => Err(ended),
        };
        let last = heard.is_err();
        if frames.send(heard).await.is_err() || last {
            return;
        }
    }
}

async fn decode(bytes: Bytes) -> Result<Frame, Ended> {
    if bytes.len() < BLOCKING_FROM {
        return Ok(Frame::decode(&bytes)?);
    }
    blocking(move || Frame::decode(&bytes).map_err(Ended::from)).await
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Ended> + Send + 'static,
) -> Result<T, Ended> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|e| Err(StoreError::Failed(format!("a task ended: {e}")).into()))
}

async fn send(
    mut sender: Sender,
    mut frames: mpsc::Receiver<Frame>,
    report: mpsc::Sender<Ended>,
    metrics: Arc<Metrics>,
) {
    while let Some(frame) = frames.recv().await {
        let sent = match &frame {
            // A block is packed already: packing it again costs much and gains nothing.
            Frame::Block(_) => sender.send_plain(frame.encode()).await,
            _ => sender.send(frame.encode()).await,
        };
        match sent {
            Ok(travelled) => drop(metrics.sent_bytes.inc_by(travelled as u64)),
            Err(error) => return drop(report.send(error.into()).await),
        }
    }
}

/// Rebuilds and verifies runs, and queues their changes for the writer in the same order. What the
/// disk has no room for is dropped: it comes again once our frontier says that it is missing.
async fn verify(
    mut runs: mpsc::Receiver<HeardRun>,
    context: Context,
    to_settle: mpsc::Sender<Settling>,
    report: mpsc::Sender<Ended>,
) {
    while let Some(HeardRun { run, room }) = runs.recv().await {
        if context.writer.full().is_some() {
            continue;
        }
        let cluster = context.cluster;
        let verified = match run {
            // A few entries are verified before another thread would have woken.
            Travelling::Run(run) if is_small(&run) => rebuilt(Travelling::Run(run), cluster),
            run => blocking(move || rebuilt(run, cluster)).await,
        };
        let (changes, packed) = match verified {
            Ok(verified) => verified,
            Err(ended) => return drop(report.send(ended).await),
        };
        match context.writer.queue_changes(changes, packed).await {
            Ok(settled) => drop(to_settle.send(Settling { settled, _room: room }).await),
            Err(AppendError::DiskFull(_)) => {}
            Err(error) => return drop(report.send(error.into()).await),
        }
    }
}

/// Whether a run has one change of few entries.
fn is_small(run: &SignedRun) -> bool {
    let bytes = |change: &Vec<Bytes>| change.iter().map(Bytes::len).sum::<usize>();
    run.changes.len() == 1 && run.changes.iter().all(|change| bytes(change) < SMALL_BYTES)
}

/// The changes that travelled, verified, and the block that they came packed in.
fn rebuilt(run: Travelling, cluster: ClusterId) -> Result<(Vec<Change>, Option<Bytes>), Ended> {
    match run {
        Travelling::Run(run) => Ok((run.verify(cluster)?, None)),
        Travelling::Block(block) => {
            let opener = BlockOpener::new().map_err(|e| StoreError::Failed(e.to_string()))?;
            let changes = { opener }.verify(&block, cluster)?;
            Ok((changes, Some(block.record)))
        }
    }
}

/// Learns what became of changes that were queued.
async fn settle(
    mut settled: mpsc::Receiver<Settling>,
    report: mpsc::Sender<Ended>,
    metrics: Arc<Metrics>,
) {
    while let Some(Settling { settled, _room }) = settled.recv().await {
        let ended = match settled.await {
            Ok(Ok(applied)) => {
                metrics.duplicates.inc_by(applied.duplicates as u64);
                metrics.crowded_out.inc_by(applied.dropped as u64);
                metrics.refused.inc_by((applied.refused.len() + applied.discarded) as u64);
                let blamed = applied.refused.iter().find(|(_, refusal)| refusal.blames_sender());
                match blamed {
                    Some((author, refusal)) => Ended::Refused(*author, *refusal),
                    None => continue,
                }
            }
            Ok(Err(AppendError::DiskFull(_))) => continue,
            Ok(Err(error)) => error.into(),
            Err(_) => Ended::Shutdown,
        };
        return drop(report.send(ended).await);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_much_of_ones_own_is_followed_by_a_lull() {
        let mut lull = Lull::new(Offset(10));
        lull.note(Offset(10 + MUCH - 1), true);
        assert_eq!(lull.until, None, "little");
        lull.note(Offset(10 + 2 * MUCH), false);
        assert_eq!(lull.until, None, "what others wrote");
        lull.note(Offset(10 + 3 * MUCH), true);
        assert!(lull.until.is_some_and(|until| until > time::Instant::now()));
        lull.note(Offset(11 + 3 * MUCH), true);
        assert_eq!(lull.until, None, "one more");
    }
}
