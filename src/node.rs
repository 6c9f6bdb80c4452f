//! A node: the log, its store, its peers and its readers, behind one handle.
//!
//! Threads and tasks live in this layer. [`writer`] owns the log's state; everything else is a
//! cursor over the store, or a message to the writer.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sha2::{Digest, Sha256};
use tokio::sync::Mutex;
use tokio_util::task::TaskTracker;

use crate::core::log::Log;
use crate::net::endpoint::{BindError, Endpoint};
use crate::net::tls::Admitted;
use crate::store::damage::Damages;
use crate::store::memory::MemoryStore;
use crate::store::pool::Pool;
use crate::store::remembering::{OpenTipError, Remembering};
use crate::store::sqlite::SqliteStore;
use crate::store::tip::Shortage;
use crate::store::{Owner, Reader, Resume, Store, StoreId};
use crate::words::{
    ClusterId, Draft, EmitNumber, Entry, EntryId, GapReason, Identity, Kind, NodeId, Offset, Seq,
};

pub mod archive;
pub mod archiving;
pub mod arriving;
pub mod audit;
pub mod backup;
pub mod bans;
pub mod bell;
pub mod config;
pub mod consumers;
pub mod cover;
pub mod cursor;
pub mod directory;
pub mod door;
pub mod emitted;
pub mod exchange;
pub mod explain;
pub mod export;
pub mod filter;
pub mod follow;
pub mod forked;
pub mod forks;
pub mod frontier_cursor;
pub mod gauges;
pub mod held;
pub mod kept;
pub mod measure;
pub mod metrics;
pub mod network;
pub mod newest;
pub mod offline;
pub mod persona;
pub mod position;
pub mod proof;
pub mod proven;
pub mod query;
pub mod ration;
pub mod reading;
pub mod recorder;
pub mod retention;
pub mod roster;
pub mod runs;
pub mod salvage;
#[cfg(test)]
mod schedules;
pub mod scrub;
pub mod sealing;
pub mod seen;
pub mod series;
pub mod sql;
pub mod status;
mod sync;
pub mod tail;
pub mod tokens;
pub mod verify;
pub mod writer;

pub use bell::Bell;
pub use config::{Config, Delivery, PeerAddress, Storage};
pub use consumers::{Consumer, ConsumerError, ConsumerName, Consumers};
pub use cursor::{Cursor, CursorError, Order};
pub use directory::{Addresses, DataDirectory, DirectoryError};
pub use explain::Explanation;
pub use export::ExportError;
pub use filter::{Filter, Gaps};
pub use follow::{Follow, Followed, From};
pub use forks::ForkReport;
pub use frontier_cursor::FrontierCursor;
pub use offline::OfflineLog;
pub use persona::Persona;
pub use position::Position;
pub use proven::{ProofError, ProofJson, Proven};
pub use query::{Page, Query, QueryError};
pub use recorder::{EmitError, Heard, Listener};
pub use retention::{Removed, Retention, RetentionError, RetentionReport, TopicRetention};
pub use series::Numbered;
pub use status::{FrontierReport, NodeReport, State, Status};
pub use tokens::{Right, Token, TokenError, Tokens};
pub use verify::VerifyError;
pub use writer::{AppendError, Receipt};

pub use crate::store::{OpenError, StoreError};

use door::Door;
use emitted::{EmitCounter, Emitted};
use exchange::Context;
use metrics::Metrics;
use reading::Reading;
use recorder::{Emitter, Recorder};
use retention::Keeper;
use roster::Roster;
use sealing::{SealError, Sealing};
use sync::watch;
use writer::{IdempotencyKey, Reserved, Writer};

/// How long a shutdown lets the recorder write what is in the ring.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(2);

/// Says why a node can't be opened. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The data directory can't be used.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The store can't be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The store can't be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The address for peers can't be bound.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// Peers are named, and there is no address to listen on.
    #[error("peers are named, but the node has no address to listen on for them")]
    PeersWithoutNetwork,
    /// The name is too long or holds control characters.
    #[error("a node's name is at most 64 bytes without control characters")]
    Name,
    /// The emit counter in the data directory can't be written.
    #[error("the emit counter can't be written: {0}")]
    EmitCounter(std::io::Error),
    /// The tip in the data directory can't be read or written.
    #[error("the file that remembers what the store held can't be used: {0}")]
    Tip(std::io::Error),
    /// The system gives no random bytes.
    #[error("no random bytes: {0}")]
    Random(String),
}

/// Says why an append was not replicated in time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplicationError {
    /// Fewer peers than asked for have it so far. It is durable here, and still on its way.
    #[error("{found} of {wanted} peers have the entries after {} ms; they are durable here", .waited.as_millis())]
    Timeout {
        /// How many have it.
        found: usize,
        /// How many were asked for.
        wanted: usize,
        /// How long it was waited.
        waited: Duration,
    },
}

/// A running node. Cloning the handle is cheap; the node ends with [`Node::shutdown`].
#[derive(Clone)]
pub struct Node {
    inner: Arc<Inner>,
}

struct Inner {
    id: NodeId,
    cluster: ClusterId,
    name: String,
    store_id: StoreId,
    writer: Writer,
    sealing: Sealing,
    emitter: Arc<Emitter>,
    reading: Reading,
    damages: Damages,
    shortage: Shortage,
    roster: Arc<Roster>,
    door: Arc<Door>,
    metrics: Arc<Metrics>,
    /// Where it listens for peers.
    address: Option<SocketAddr>,
    /// True once appends may begin.
    joined: watch::Receiver<bool>,
    closing: watch::Sender<bool>,
    tasks: TaskTracker,
    ending: Mutex<Ending>,
    directory: Option<DataDirectory>,
    started: crate::words::Time,
    named_peers: usize,
    consumers: Consumers,
    /// The offset at which this lifetime of the process began.
    booted: Offset,
    /// What lets entries go, and what can be said of it meanwhile.
    keeper: Arc<Mutex<Keeper>>,
    keeping: retention::Overview,
}

/// What a shutdown waits for.
#[derive(Default)]
struct Ending {
    endpoint: Option<Endpoint>,
    recorder: Option<tokio::task::JoinHandle<()>>,
    writer: Option<JoinHandle<Box<dyn Store>>>,
}

/// The wall clock, in milliseconds since 1970.
pub(crate) fn wall_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

impl std::convert::From<OpenTipError> for NodeError {
    fn from(error: OpenTipError) -> Self {
        match error {
            OpenTipError::Store(error) => Self::Store(error),
            OpenTipError::Tip(error) => Self::Tip(error),
        }
    }
}

fn random<const N: usize>() -> Result<[u8; N], NodeError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| NodeError::Random(error.to_string()))?;
    Ok(bytes)
}

/// The place of a node, opened.
struct Opened {
    identity: Identity,
    cluster: ClusterId,
    store: Box<dyn Store>,
    directory: Option<DataDirectory>,
    counter: Option<EmitCounter>,
    /// The file of the tip, which is synced now and then.
    tip: Option<Arc<std::fs::File>>,
}

impl Opened {
    fn open(storage: Storage, cluster: Option<ClusterId>) -> Result<Self, NodeError> {
        match storage {
            Storage::Directory(path) => {
                let directory = DataDirectory::open(&path, cluster)?;
                let identity = directory.identity().clone();
                let cluster = directory.cluster();
                let owner = Owner { node: identity.node_id(), cluster };
                let store = SqliteStore::open(&directory.store(), owner, random()?)?;
                let store = Remembering::open(store, &directory.tip())?;
                let tip = Some(store.file());
                let counter = Some(directory.emit_counter()?);
                let (store, directory) = (Box::new(store), Some(directory));
                Ok(Self { identity, cluster, store, directory, counter, tip })
            }
            Storage::Memory => {
                let identity = Identity::from_secret(&random()?);
                let own = ClusterId(Identity::from_secret(&random()?).node_id().0);
                let cluster = cluster.unwrap_or(own);
                let owner = Owner { node: identity.node_id(), cluster };
                let store = Box::new(MemoryStore::new(StoreId(random()?), owner));
                Ok(Self { identity, cluster, store, directory: None, counter: None, tip: None })
            }
            Storage::Opened { secret, store } => {
                let identity = Identity::from_secret(&secret);
                let cluster = store.reader()?.owner().cluster;
                Ok(Self { identity, cluster, store, directory: None, counter: None, tip: None })
            }
        }
    }

    /// How far former lifetimes emitted: this one gives out the numbers from there on.
    fn emitted_before(&self, resume: &Resume) -> Emitted {
        let (next, reserved) = (resume.emits.next, resume.emits.reserved);
        match self.counter.as_ref().and_then(EmitCounter::before) {
            Some(Emitted { next: counted, lost }) => {
                Emitted { next: counted.clamp(next, reserved), lost }
            }
            None => Emitted { next: reserved, lost: GapReason::Crash },
        }
    }
}

impl Node {
    /// Opens a node and starts it. Needs a tokio runtime with its timer and IO.
    ///
    /// # Errors
    /// See [`NodeError`].
    pub async fn open(config: Config) -> Result<Self, NodeError> {
        let name = config.name;
        if name.len() > crate::core::frame::NODE_NAME_BYTES || name.contains(char::is_control) {
            return Err(NodeError::Name);
        }
        if config.listen.is_none() && !config.peers.is_empty() {
            return Err(NodeError::PeersWithoutNetwork);
        }
        let (storage, cluster) = (config.storage, config.cluster);
        let opened = tokio::task::spawn_blocking(move || Opened::open(storage, cluster)).await;
        let mut opened = opened.map_err(|e| StoreError::Failed(e.to_string()))??;
        let id = opened.identity.node_id();
        let resume = opened.store.resume()?;
        audit::audit(&mut *opened.store, &opened.identity, opened.cluster, &resume)?;
        let before = opened.emitted_before(&resume);

        let metrics = Arc::new(Metrics::new());
        metrics.resume(&resume.emits);
        let log = Log::new(
            opened.identity.clone(),
            opened.cluster,
            random()?,
            resume.tips.iter().cloned(),
            resume.next_offset,
            wall_millis(),
        );
        let reserved = Reserved::default();
        let numbers = (before.next, reserved.clone());
        let emitting =
            Emitter::new(config.emit_ring, numbers, config.deliveries, opened.counter.take());
        let (emitter, channel) = emitting.map_err(NodeError::EmitCounter)?;
        let emitter = Arc::new(emitter);
        let pool = Pool::new(opened.store.opener());
        let (damages, shortage) = (opened.store.damages(), opened.store.shortage());
        if let Some(missing) = shortage.missing() {
            tracing::error!("{missing}; asking the peers for them");
        }
        let endpoint = match config.listen {
            Some(address) => {
                let admitted = Admitted::default();
                config.peers.iter().for_each(|peer| admitted.insert(peer.node));
                Some(Endpoint::bind(address, opened.identity.clone(), admitted).await?)
            }
            None => None,
        };
        let (writer, thread) =
            Writer::start(opened.store, log, &resume, (before.next, reserved), metrics.clone())?;

        let reading = Reading::new(pool);
        let sealing = Sealing::new(reading.clone(), writer.clone(), metrics.clone());
        let roster = Arc::new(Roster::new(id, &config.peers));
        let keeper = Keeper::new(config.retention, reading.clone(), writer.clone(), roster.clone());
        let (closing, _) = watch::channel(false);
        let (joined, gate) = watch::channel(false);
        let inner = Inner {
            id,
            cluster: opened.cluster,
            name,
            store_id: resume.id,
            writer: writer.clone(),
            sealing,
            emitter: emitter.clone(),
            reading,
            damages,
            shortage,
            roster,
            door: Arc::new(Door::new(metrics.clone())),
            metrics,
            address: endpoint.as_ref().and_then(|endpoint| endpoint.address().ok()),
            joined: gate,
            closing,
            tasks: TaskTracker::new(),
            ending: Mutex::default(),
            consumers: Consumers::open(opened.directory.as_ref().map(DataDirectory::path)),
            directory: opened.directory,
            started: crate::words::Time::from_millis(wall_millis()),
            named_peers: config.peers.len(),
            booted: resume.next_offset,
            keeping: keeper.overview(),
            keeper: Arc::new(Mutex::new(keeper)),
        };
        let node = Self { inner: Arc::new(inner) };
        if node.inner.directory.is_some() {
            let (reading, closing) = (node.inner.reading.clone(), node.inner.closing.subscribe());
            node.inner.tasks.spawn(scrub::run(reading, closing));
            let closing = node.inner.closing.subscribe();
            node.inner.tasks.spawn(node.inner.sealing.clone().run(closing));
        }
        let keeping = Keeper::run(node.inner.keeper.clone(), node.inner.closing.subscribe());
        node.inner.tasks.spawn(keeping);
        if let Some(tip) = opened.tip {
            node.inner.tasks.spawn(scrub::sync(tip, node.inner.closing.subscribe()));
        }
        let pace = (config.interval, config.patience);
        node.start_network(endpoint.as_ref(), &config.peers, pace, joined)?;
        let closing = node.inner.closing.subscribe();
        let recorder = Recorder::new(channel, writer, emitter, closing, resume.emits.next);
        let mut ending = node.inner.ending.lock().await;
        ending.endpoint = endpoint;
        ending.writer = Some(thread);
        ending.recorder = Some(tokio::spawn(record(recorder, before, node.inner.joined.clone())));
        drop(ending);
        Ok(node)
    }

    /// Packs all that is in the store, however little it is, as the background work does in time.
    ///
    /// # Errors
    /// The store can't be read, or the writer takes nothing. What is packed already stays so.
    pub async fn seal(&self) -> Result<(), SealError> {
        let end = *self.inner.writer.watermark().borrow();
        self.inner.sealing.seal_below(end).await.map(drop)
    }

    /// What is kept, and what is gone.
    ///
    /// # Errors
    /// The store can't be read.
    pub async fn retention(&self) -> Result<RetentionReport, StoreError> {
        self.inner.keeping.report().await
    }

    /// Lets go at once what the retention lets go in time: or else all finished segments below an
    /// offset, whatever it says. In any case not before everybody holds them who should.
    ///
    /// # Errors
    /// See [`RetentionError`]. What was removed stays removed.
    pub async fn let_go(&self, below: Option<Offset>) -> Result<Removed, RetentionError> {
        let mut keeper = self.inner.keeper.lock().await;
        match below {
            Some(below) => keeper.remove_below(below).await,
            None => keeper.look().await,
        }
    }

    fn start_network(
        &self,
        endpoint: Option<&Endpoint>,
        peers: &[PeerAddress],
        (interval, patience): (Duration, Duration),
        joined: watch::Sender<bool>,
    ) -> Result<(), NodeError> {
        let inner = &self.inner;
        let closing = inner.closing.subscribe();
        let Some(endpoint) = endpoint else {
            joined.send_replace(true);
            return Ok(());
        };
        let context = Context {
            damages: inner.damages.clone(),
            me: inner.id,
            cluster: inner.cluster,
            patience,
            incarnation: u64::from_be_bytes(random()?),
            name: inner.name.clone(),
            interval,
            writer: inner.writer.clone(),
            reading: inner.reading.clone(),
            roster: inner.roster.clone(),
            door: inner.door.clone(),
            metrics: inner.metrics.clone(),
        };
        network::start(&context, endpoint, peers, &closing, &inner.tasks);
        let (roster, peers, mut closing) = (inner.roster.clone(), peers.to_vec(), closing);
        let own = (inner.shortage.clone(), inner.writer.watermark());
        inner.tasks.spawn(async move {
            network::rejoin(&roster, &peers, own, &mut closing).await;
            joined.send_replace(true);
        });
        Ok(())
    }

    /// The node's id.
    pub fn id(&self) -> NodeId {
        self.inner.id
    }

    /// The name of the node's store, in which its offsets and cursors have a meaning.
    pub fn store_id(&self) -> StoreId {
        self.inner.store_id
    }

    /// The cluster that the node belongs to.
    pub fn cluster(&self) -> ClusterId {
        self.inner.cluster
    }

    /// The offset at which this lifetime of the process began: what is below was there before.
    pub fn booted_at(&self) -> Offset {
        self.inner.booted
    }

    /// What rings when something has arrived, and when the node shuts down.
    pub fn bell(&self) -> Bell {
        let (watermark, closing) = (self.inner.writer.watermark(), self.inner.closing.subscribe());
        Bell::new(watermark, closing, self.inner.reading.clone())
    }

    /// What becomes of emitted events of a kind.
    pub fn delivery(&self, kind: &Kind) -> Delivery {
        self.inner.emitter.delivery(kind)
    }

    /// Where the node listens for peers, if it does.
    pub fn address(&self) -> Option<SocketAddr> {
        self.inner.address
    }

    /// The data directory, if the node has one.
    pub fn directory(&self) -> Option<&DataDirectory> {
        self.inner.directory.as_ref()
    }

    /// The named consumers, whose places the node keeps.
    pub fn consumers(&self) -> &Consumers {
        &self.inner.consumers
    }

    /// The node's metrics, as they are now.
    pub fn metrics(&self) -> &Metrics {
        // A ban ends by time alone.
        self.inner.metrics.banned.set(self.inner.door.banned() as i64);
        let missing = self.inner.shortage.missing().map_or(0, |missing| missing.entries);
        self.inner.metrics.missing.set(missing as i64);
        self.inner.metrics.damaged.set(self.inner.damages.all().len() as i64);
        &self.inner.metrics
    }

    /// Appends one draft. It is durable on this node when this returns.
    ///
    /// The first append after a start waits until the peers that can be reached have said what
    /// they hold of this node, two seconds at most where none answers; ten where the store has
    /// lost entries of the node's own.
    ///
    /// # Errors
    /// See [`AppendError`].
    ///
    /// # Cancel safety
    /// A call that is dropped may still append.
    pub async fn append(&self, draft: Draft) -> Result<Receipt, AppendError> {
        let receipts = self.append_all(vec![draft]).await?;
        receipts.first().copied().ok_or(AppendError::Nothing)
    }

    /// Appends drafts in one commit: all of them, or none. Receipts come in the same order.
    ///
    /// # Errors
    /// See [`AppendError`].
    pub async fn append_all(&self, drafts: Vec<Draft>) -> Result<Vec<Receipt>, AppendError> {
        self.wait_joined().await?;
        self.inner.writer.append(drafts, None).await
    }

    /// Appends drafts once: a retry with the same key and the same drafts appends nothing, and
    /// gets the receipts of the first call. A node remembers the newest 100,000 keys.
    ///
    /// # Errors
    /// See [`AppendError`]; the same key with other drafts is one.
    pub async fn append_once(
        &self,
        key: &str,
        drafts: Vec<Draft>,
    ) -> Result<Vec<Receipt>, AppendError> {
        self.wait_joined().await?;
        let mut digest = Sha256::new();
        for draft in &drafts {
            let encoded = draft.encode(crate::words::Time::default());
            digest.update((encoded.len() as u64).to_be_bytes());
            digest.update(&encoded);
        }
        let key = IdempotencyKey { key: key.to_owned(), digest: digest.finalize().into() };
        self.inner.writer.append(drafts, Some(key)).await
    }

    /// Waits until appends may begin; where the disk is full, it says so at once.
    async fn wait_joined(&self) -> Result<(), AppendError> {
        self.inner.writer.check()?;
        let mut joined = self.inner.joined.clone();
        match joined.wait_for(|joined| *joined).await {
            Ok(_) => Ok(()),
            Err(_) => Err(AppendError::Closed),
        }
    }

    /// Emits an event: live listeners hear it, and the recorder appends it soon. Never blocks, and
    /// what is dropped is stated as a gap. Returns the number that the event took, if its kind is
    /// recorded.
    ///
    /// # Errors
    /// The event was not emitted at all; see [`EmitError`].
    pub fn emit(&self, event: Draft) -> Result<Option<EmitNumber>, EmitError> {
        self.emit_all(vec![event]).map(|(first, count)| (count > 0).then_some(first))
    }

    /// Emits events with consecutive numbers; returns the first, and how many are numbered.
    ///
    /// # Errors
    /// See [`EmitError`]; none of them was emitted.
    pub fn emit_all(&self, events: Vec<Draft>) -> Result<(EmitNumber, u64), EmitError> {
        if let Some(why) = self.inner.writer.poison() {
            return Err(EmitError::Closed(why.to_owned()));
        }
        self.inner.emitter.emit_all(events)
    }

    /// Hears emitted events as they are emitted, before they are recorded; none once the node
    /// shuts down.
    pub fn listen(&self) -> Option<Listener> {
        self.inner.emitter.listen()
    }

    /// Follows the log in order of arrival: what is there, and then what comes, each entry once.
    ///
    /// # Errors
    /// A cursor that isn't one of this node, or a store that can't be read.
    pub async fn follow(&self, filter: Filter, from: From) -> Result<Follow, QueryError> {
        let watermark = self.inner.writer.watermark();
        let closing = self.inner.closing.subscribe();
        Follow::new(self.inner.reading.clone(), watermark, closing, filter, from).await
    }

    /// A page of the log.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub async fn query(&self, query: Query) -> Result<Page, QueryError> {
        self.inner.reading.run(move |reader| query::page(reader, &query)).await
    }

    /// A page of the log, and what was read for it.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub async fn explain(&self, query: Query) -> Result<(Page, Explanation), QueryError> {
        self.inner.reading.run(move |reader| query::explain(reader, &query)).await
    }

    /// One entry; two or more where branches of its author share the seq.
    ///
    /// # Errors
    /// The store can't be read.
    pub async fn get(&self, id: EntryId) -> Result<Vec<Entry>, QueryError> {
        self.read(move |reader| query::find(reader, id)).await.map_err(QueryError::from)
    }

    /// Whether an entry that is not here was removed.
    ///
    /// # Errors
    /// The store can't be read.
    pub async fn is_removed(&self, id: EntryId) -> Result<bool, StoreError> {
        self.read(move |reader| query::is_removed(reader, id)).await
    }

    /// Where authors have signed two histories.
    ///
    /// # Errors
    /// The store can't be read.
    pub async fn forks(&self) -> Result<Vec<ForkReport>, StoreError> {
        self.read(forks::list).await
    }

    /// Runs a reading of the store on a thread that may block.
    ///
    /// # Errors
    /// What the reading returns, or that the store can't be read.
    pub async fn read<T: Send + 'static>(
        &self,
        reading: impl FnOnce(&mut dyn Reader) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.inner.reading.run(reading).await
    }

    /// Waits until so many peers have said that they have persisted this node's entries below
    /// `next_seq`.
    ///
    /// # Errors
    /// They haven't in time. The entries are durable here all the same, and on their way.
    pub async fn wait_replicated(
        &self,
        next_seq: Seq,
        wanted: usize,
        patience: Duration,
    ) -> Result<(), ReplicationError> {
        let me = self.inner.id;
        let roster = &self.inner.roster;
        let _awaiting = (wanted > 0).then(|| roster.await_peers());
        let mut bell = roster.bell();
        let have = || roster.holders(&me, next_seq).len();
        let enough = async { while have() < wanted && bell.changed().await.is_ok() {} };
        match tokio::time::timeout(patience, enough).await {
            Ok(()) => Ok(()),
            Err(_) => Err(ReplicationError::Timeout { found: have(), wanted, waited: patience }),
        }
    }

    /// Resolves once [`Node::shutdown`] has begun: whoever serves the node ends then.
    pub async fn closing(&self) {
        drop(self.inner.closing.subscribe().wait_for(|closing| *closing).await);
    }

    /// Ends the node: takes nothing more, writes what is in the ring, tells the peers, and lets
    /// the data directory go. A second call waits for nothing.
    ///
    /// # Errors
    /// The last commit failed. What was acknowledged is on disk all the same.
    pub async fn shutdown(&self) -> Result<(), AppendError> {
        let inner = &self.inner;
        inner.closing.send_replace(true);
        let emitted = inner.emitter.close();
        let mut ending = inner.ending.lock().await;
        if let Some(recorder) = ending.recorder.take() {
            drop(recorder.await);
        }
        let Some(thread) = ending.writer.take() else {
            return Ok(());
        };
        let closed = inner.writer.close(emitted).await;
        if let Some(endpoint) = ending.endpoint.take() {
            endpoint.close().await;
        }
        inner.tasks.close();
        inner.tasks.wait().await;
        let reading = inner.reading.clone();
        let close = move || {
            let store = thread.join();
            // Whoever may write is the last to close the store: so it leaves one file behind, and
            // nothing beside that which could get lost.
            reading.close_idle();
            drop(store);
        };
        drop(tokio::task::spawn_blocking(close).await);
        if let Some(directory) = &inner.directory {
            directory.release();
        }
        closed
    }
}

/// Runs the recorder: first what the last lifetime lost, then what is emitted.
async fn record(mut recorder: Recorder, before: Emitted, mut joined: watch::Receiver<bool>) {
    drop(joined.wait_for(|joined| *joined).await);
    let recorded = match recorder.mark_lost(before.next, before.lost).await {
        Ok(()) => recorder.run(SHUTDOWN_GRACE).await,
        Err(error) => Err(error),
    };
    match recorded {
        Ok(()) => {}
        Err(AppendError::DiskFull(why)) => {
            tracing::warn!(why, "the disk is full: the next start states which events were lost");
        }
        Err(error) => tracing::error!(%error, "events are not recorded any more"),
    }
}
