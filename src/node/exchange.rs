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
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::MissedTickBehavior;
use tokio_util::task::AbortOnDropHandle;

use super::metrics::Metrics;
use super::reading::Reading;
use super::roster::{Roster, SessionNumber};
use super::sync::watch;
use super::wall_millis;
use super::writer::{AppendError, Writer};
use crate::core::change::SignedRun;
use crate::core::frame::{Frame, FrameError, Heads};
use crate::core::frontier::Head;
use crate::core::log::Applied;
use crate::core::session::{Parties, Received, Session, Step, Violation};
use crate::net::endpoint::{ConnectError, Connected, HANDSHAKE};
use crate::net::link::{LinkError, Receiver, Sender};
use crate::store::damage::{Damages, Lost};
use crate::store::ranges::{compare, fetch, holds, wanted};
use crate::store::{Reader, StoreError};
use crate::words::{ClusterId, NodeId, Time};

/// How many received frames may wait to be handled.
const FRAMES_IN: usize = 16; // full: nothing more is read from the link
/// How many frames may wait to be sent.
const FRAMES_OUT: usize = 2; // full: the session is not asked for more
/// How many runs may wait to be verified, and how many to be committed.
const RUNS: usize = 16; // full: no further frame is handled
/// How many changes a scan reads at once.
const SCANNED: usize = 512;
/// Larger frames are read on a thread that may block.
const BLOCKING_FROM: usize = 64 << 10;

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
    /// Where changes go.
    pub writer: Writer,
    /// Where they are read.
    pub reading: Reading,
    /// What of them is damaged.
    pub damages: Damages,
    /// Where peers are noted.
    pub roster: Arc<Roster>,
    /// Where things are counted.
    pub metrics: Arc<Metrics>,
}

/// Why an exchange ended.
#[derive(Debug, thiserror::Error)]
pub enum Ended {
    /// Another connection with the same peer is kept.
    #[error("another connection with this peer is kept")]
    Duplicate,
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

impl Ended {
    /// Whether the peer is to blame.
    pub fn is_violation(&self) -> bool {
        match self {
            Self::Frame(_) | Self::Violation(_) | Self::Forged(_) | Self::Refused(..) => true,
            Self::Link(error) => matches!(error, LinkError::Bad(_)),
            _ => false,
        }
    }
}

/// Runs a session over a connection until one side ends it.
pub async fn run(context: Context, connected: Connected, closing: watch::Receiver<bool>) -> Ended {
    let (peer, address, dialed) = (connected.peer, connected.address, connected.dialed());
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
    context.roster.update(peer, |entry| {
        entry.address.get_or_insert(address);
        entry.name = exchange.name.clone();
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

/// Says in the log why a connection ended, and counts it when the peer is to blame.
fn blame(context: &Context, peer: NodeId, ended: &Ended) {
    if ended.is_violation() {
        context.metrics.violations.inc();
        tracing::warn!(peer = %peer.short(), why = %ended, "closed the connection");
    } else {
        tracing::info!(peer = %peer.short(), why = %ended, "disconnected");
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

type Settled = oneshot::Receiver<Result<Applied, AppendError>>;

struct Exchange {
    context: Context,
    peer: NodeId,
    name: String,
    incarnation: u64,
    session: Session,
    frames_in: mpsc::Receiver<Result<Frame, Ended>>,
    frames_out: mpsc::Sender<Frame>,
    runs: mpsc::Sender<Box<SignedRun>>,
    trouble: mpsc::Receiver<Ended>,
    /// The heads of this node that the peer named first.
    own_heads: Option<Vec<Head>>,
    /// Whether all of them are held here.
    own_settled: bool,
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
            own_heads: None,
            own_settled: false,
            _tasks: tasks,
        }
    }

    async fn drive(&mut self, mut closing: watch::Receiver<bool>) -> Ended {
        let mut watermark = self.context.writer.watermark();
        let mut roster = self.context.roster.bell();
        let mut interval = tokio::time::interval(self.context.interval);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut links = Vec::new();
        roster.mark_changed();
        loop {
            if let Err(ended) = self.advance().await {
                return ended;
            }
            let frames_out = self.frames_out.clone();
            let event = tokio::select! {
                frame = self.frames_in.recv() => Event::Frame(frame),
                // A place has become free: the session may say more.
                _ = frames_out.reserve(), if frames_out.capacity() == 0 => Event::Room,
                trouble = self.trouble.recv() => Event::End(trouble.unwrap_or(Ended::Shutdown)),
                grown = watermark.changed() => match grown {
                    Ok(()) => Event::Grown,
                    Err(_) => Event::End(Ended::Shutdown),
                },
                _ = interval.tick() => Event::Interval,
                _ = roster.changed() => Event::Roster,
                _ = closing.wait_for(|closing| *closing) => Event::End(Ended::Shutdown),
            };
            let handled = match event {
                Event::Frame(frame) => self.handle(frame).await,
                Event::Grown => {
                    self.session.handle_growth();
                    self.settle_own().await
                }
                Event::Interval => {
                    self.session.handle_interval();
                    let lost = self.context.damages.all();
                    self.session.handle_lost(lost.iter().map(Lost::wanted).collect());
                    self.note_peer();
                    Ok(())
                }
                Event::Roster => {
                    let now = self.context.roster.connected();
                    self.context.metrics.peers.set(now.len() as i64);
                    if now != links {
                        links.clone_from(&now);
                        self.session.handle_links(now);
                    }
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
                }
                Some(Step::Compare(heads)) => self.compare(heads).await?,
                Some(Step::Scan(from)) => {
                    let scan = move |reader: &mut dyn Reader| reader.scan(from, SCANNED);
                    let (passed, next) = self.context.reading.run(scan).await?;
                    self.session.handle_scanned(&passed, next);
                }
                Some(Step::Fetch(range)) => {
                    let fetch = move |reader: &mut dyn Reader| fetch(reader, range);
                    let run = self.context.reading.run(fetch).await?;
                    self.session.handle_fetched(run);
                }
            }
        }
    }

    async fn handle(&mut self, frame: Option<Result<Frame, Ended>>) -> Result<(), Ended> {
        let Some(frame) = frame else {
            return Err(LinkError::Gone("no more frames".into()).into());
        };
        let frame = frame?;
        if matches!(frame, Frame::Digest(_)) && self.context.writer.full().is_some() {
            // Where the disk is full nothing of the peer's can be kept. It would be told by our
            // frontier what to send, and send the same at every interval. Our own digests go on:
            // what the peer lacks it gets.
            return Ok(());
        }
        let says_what_it_holds = matches!(frame, Frame::Frontier(_) | Frame::Ack(_));
        if let (Frame::Frontier(heads), None) = (&frame, &self.own_heads) {
            let own = heads.iter().find(|(author, _)| *author == self.context.me);
            self.own_heads = Some(own.map(|(_, heads)| heads.clone()).unwrap_or_default());
        }
        match self.session.handle_frame(frame)? {
            // Waiting here is waiting for our own disk, never for the peer.
            Received::Run(run) => drop(self.runs.send(run).await),
            Received::Wanted(list) => {
                let places = move |reader: &mut dyn Reader| wanted(reader, &list);
                let ranges = self.context.reading.run(places).await?;
                self.session.handle_wanted(ranges);
            }
            Received::Noted | Received::Greeted { .. } => {}
        }
        if says_what_it_holds {
            self.note_peer();
        }
        Ok(())
    }

    fn note_peer(&self) {
        let holds = self.session.held_by_peer().map(|(author, next)| (*author, next)).collect();
        self.context.roster.update(self.peer, |entry| {
            entry.holds = holds;
            entry.last_seen = Some(Time::from_millis(wall_millis()));
        });
    }

    async fn compare(&mut self, theirs: Heads) -> Result<(), Ended> {
        let compared = self.context.reading.run(move |reader| compare(reader, &theirs)).await?;
        self.session.handle_compared(compared.missing, &compared.ahead, compared.watermark);
        self.settle_own().await
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

/// What an exchange waits for.
enum Event {
    Frame(Option<Result<Frame, Ended>>),
    Room,
    Grown,
    Interval,
    Roster,
    End(Ended),
}

fn spawn(task: impl Future<Output = ()> + Send + 'static) -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(tokio::spawn(task))
}

async fn receive(
    mut receiver: Receiver,
    frames: mpsc::Sender<Result<Frame, Ended>>,
    metrics: Arc<Metrics>,
) {
    loop {
        let received = receiver.receive().await.map_err(Ended::from);
        let frame = match received {
            Ok((bytes, travelled)) => {
                metrics.received_bytes.inc_by(travelled as u64);
                decode(bytes).await
            }
            Err(ended) => Err(ended),
        };
        let last = frame.is_err();
        if frames.send(frame).await.is_err() || last {
            return;
        }
    }
}

async fn decode(bytes: bytes::Bytes) -> Result<Frame, Ended> {
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
        match sender.send(frame.encode()).await {
            Ok(travelled) => drop(metrics.sent_bytes.inc_by(travelled as u64)),
            Err(error) => return drop(report.send(error.into()).await),
        }
    }
}

/// Rebuilds and verifies runs, and queues their changes for the writer in the same order. What the
/// disk has no room for is dropped: it comes again once our frontier says that it is missing.
async fn verify(
    mut runs: mpsc::Receiver<Box<SignedRun>>,
    context: Context,
    to_settle: mpsc::Sender<Settled>,
    report: mpsc::Sender<Ended>,
) {
    while let Some(run) = runs.recv().await {
        if context.writer.full().is_some() {
            continue;
        }
        let cluster = context.cluster;
        let changes = match blocking(move || Ok(run.verify(cluster)?)).await {
            Ok(changes) => changes,
            Err(ended) => return drop(report.send(ended).await),
        };
        match context.writer.queue_changes(changes).await {
            Ok(settled) => drop(to_settle.send(settled).await),
            Err(AppendError::DiskFull(_)) => {}
            Err(error) => return drop(report.send(error.into()).await),
        }
    }
}

/// Learns what became of changes that were queued.
async fn settle(
    mut settled: mpsc::Receiver<Settled>,
    report: mpsc::Sender<Ended>,
    metrics: Arc<Metrics>,
) {
    while let Some(settled) = settled.recv().await {
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
