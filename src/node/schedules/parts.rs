//! The parts of a node as a schedule runs them: put together as `Node::open` does, on a store of
//! which every call is a turn.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use shuttle::{future, thread};

use super::turning_store::{Outcome, TurningStore};
use crate::core::log::Log;
use crate::core::merge::Direction;
use crate::node::config::Delivery;
use crate::node::filter::Filter;
use crate::node::follow::{Follow, From};
use crate::node::metrics::Metrics;
use crate::node::query::QueryError;
use crate::node::reading::Reading;
use crate::node::recorder::{Emitter, Recorder};
use crate::node::sync::mpsc;
use crate::node::sync::watch;
use crate::node::writer::{AppendError, Bounds, Queued, Receipt, Reserved, Wait, Writer};
use crate::store::memory::MemoryStore;
use crate::store::pool::Pool;
use crate::store::{EmitMark, Owner, Reader, Store, StoreId};
use crate::words::{ClusterId, Draft, Entry, GapReason, Identity, Kind, Offset};

pub const CLUSTER: ClusterId = ClusterId([9; 32]);
/// The kind of events that are broadcast and not recorded.
pub const NOISE: &str = "noise";
/// How the writer waits: for a command as any task does, and for one more of a group not at all.
const WAIT: Wait = Wait { next, more: |commands| commands.try_recv().ok() };

fn next(commands: &mut mpsc::Receiver<Queued>) -> Option<Queued> {
    future::block_on(commands.recv())
}

/// A shutdown that lets the recorder write all that is in the ring.
pub const PATIENT: Duration = Duration::from_secs(3_600);
/// A shutdown that doesn't wait for the recorder.
pub const HASTY: Duration = Duration::ZERO;

/// How the parts are opened.
pub struct Setting {
    /// How much may wait for the writer.
    pub queue: Bounds,
    /// How many events the ring holds.
    pub ring: usize,
    /// What becomes of the first commits, the reservation of emit numbers ahead of all.
    pub disk: Vec<Outcome>,
    /// How long the recorder may write at the end.
    pub grace: Duration,
}

impl Default for Setting {
    fn default() -> Self {
        let queue = Bounds { requests: 64, kib: 64, pause: Duration::ZERO };
        Self { queue, ring: 2, disk: Vec::new(), grace: PATIENT }
    }
}

/// The store that a test keeps over the lives of its node.
pub fn empty_store() -> MemoryStore {
    let owner = Owner { node: identity().node_id(), cluster: CLUSTER };
    MemoryStore::new(StoreId([1; 8]), owner)
}

fn identity() -> Identity {
    Identity::from_secret(&[7; 32])
}

/// One life of a node. Cloning the handle is cheap.
#[derive(Clone)]
pub struct Parts {
    pub writer: Writer,
    pub emitter: Arc<Emitter>,
    closing: Arc<watch::Sender<bool>>,
    reading: Reading,
    kept: MemoryStore,
}

/// What goes on until the parts are shut down.
pub struct Running {
    writer: thread::JoinHandle<()>,
    recorder: future::JoinHandle<Result<(), AppendError>>,
}

impl Parts {
    /// Begins a life on what earlier ones left.
    pub fn open(setting: Setting, kept: &MemoryStore) -> (Self, Running) {
        let mut store = TurningStore { kept: kept.clone(), disk: setting.disk.into() };
        let resume = store.resume().expect("a memory store resumes");
        let emits_from = resume.emits.reserved;
        let metrics = Arc::new(Metrics::new());
        let lifetime = [resume.next_offset.0 as u8; 16];
        let (tips, next_offset) = (resume.tips.iter().cloned(), resume.next_offset);
        let log = Log::new(identity(), CLUSTER, lifetime, tips, next_offset, 0);
        let noise = (Kind::parse(NOISE).expect("a kind"), Delivery::BroadcastOnly);
        let deliveries = BTreeMap::from([noise]);
        let numbers = (emits_from, Reserved::default());
        let (emitter, channel) =
            Emitter::new(setting.ring, numbers.clone(), deliveries, None).expect("no counter");
        let emitter = Arc::new(emitter);
        let reading = Reading::new(Pool::new(store.opener()));
        let store = Box::new(store);
        let (writer, run) = Writer::prepare(store, log, &resume, numbers, metrics, setting.queue)
            .expect("the reservation is committed");
        let (closing, closes) = watch::channel(false);
        let mut recorder =
            Recorder::new(channel, writer.clone(), emitter.clone(), closes, resume.emits.next);
        let record = async move {
            recorder.mark_lost(emits_from, GapReason::Crash).await?;
            recorder.run(setting.grace).await
        };
        let running = Running {
            writer: thread::spawn(move || drop(run(WAIT))),
            recorder: future::spawn(record),
        };
        let closing = Arc::new(closing);
        let parts = Self { writer, emitter, closing, reading, kept: kept.clone() };
        (parts, running)
    }

    /// Tells followers to end.
    pub fn begin_closing(&self) {
        self.closing.send_replace(true);
    }

    /// Does what `Node::shutdown` does, in its order.
    pub async fn shut_down(&self, running: Running) -> Result<(), AppendError> {
        self.begin_closing();
        let emitted = self.emitter.close();
        let recorded = running.recorder.await.expect("the recorder ends");
        let closed = self.writer.close(emitted).await;
        running.writer.join().expect("the writer ends");
        recorded.and(closed)
    }

    /// Ends without a shutdown: what is in the ring is lost.
    pub async fn crash(self, running: Running) {
        running.recorder.abort();
        drop(self);
        drop(running.recorder.await);
        running.writer.join().expect("the writer ends when nobody can ask it any more");
    }

    pub async fn append(&self, texts: &[&str]) -> Result<Vec<Receipt>, AppendError> {
        self.writer.append(texts.iter().map(|text| note(text)).collect(), None).await
    }

    pub async fn follow(&self, from: From) -> Result<Follow, QueryError> {
        let (reading, closing) = (self.reading.clone(), self.closing.subscribe());
        Follow::new(reading, self.writer.watermark(), closing, Filter::all(), from).await
    }

    /// The next offset of what is committed.
    pub fn committed(&self) -> Offset {
        self.kept.clone().watermark().expect("a memory store reads")
    }

    /// Where the recorder stands, as committed.
    pub fn mark(&self) -> EmitMark {
        self.kept.clone().emits().expect("a memory store reads")
    }
}

pub fn note(text: &str) -> Draft {
    Draft::text("topic", "note", text).expect("a draft within bounds")
}

/// Everything that is committed, in order of arrival.
pub fn entries(kept: &MemoryStore) -> Vec<Entry> {
    let mut kept = kept.clone();
    let arrivals = kept.arrivals(Offset(0), Direction::Forward, usize::MAX);
    let arrivals = arrivals.expect("a memory store reads");
    let of_arrival = |arrival| Filter::all().all_entries(arrival).expect("the log's own entries");
    arrivals.iter().flat_map(of_arrival).collect()
}
