//! A node on a watched disk, and what it acknowledged.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use fastrand::Rng;
use tempfile::TempDir;
use towline::node::{AppendError, NodeError, Storage};
use towline::store::sqlite::SqliteStore;
use towline::words::gap::Gap;
use towline::{Config, Draft, Node, Order, Query};

use crate::disk::Disk;
use crate::history::{SECRET, STORE, owner, scratch};
use crate::noise::noise;
use crate::platter::{Platter, Survivors};
use crate::told::{Told, text};

/// One node through its lives.
pub struct Watched {
    pub disk: Arc<Disk>,
    directory: TempDir,
    told: Told,
    tried: usize,
}

impl Watched {
    pub fn new() -> Self {
        let directory = scratch();
        let disk = Disk::watch(directory.path());
        Self { disk, directory, told: Told::default(), tried: 0 }
    }

    /// The store's file.
    pub fn path(&self) -> PathBuf {
        self.directory.path().join(STORE)
    }

    /// Begins a life of the node.
    pub async fn open(&self) -> Result<Node, NodeError> {
        let store = SqliteStore::open(&self.path(), owner(), [7; 8])?;
        let storage = Storage::Opened { secret: SECRET, store: Box::new(store) };
        Node::open(Config::with_storage(storage)).await
    }

    /// Appends one entry of at least so many bytes.
    pub async fn append(&mut self, node: &Node, bytes: usize) -> Result<(), AppendError> {
        let text = format!("{} {}", self.tried, noise(self.tried, bytes));
        self.tried += 1;
        let receipt = node.append(Draft::text("t", "k", text.clone()).unwrap()).await?;
        self.told.add(receipt.id, text);
        Ok(())
    }

    /// Asserts that a running node shows what it acknowledged, and nothing else.
    pub async fn assert_shown_by(&self, node: &Node) {
        let mut query = Query::in_order(Order::Arrival).limit(10_000);
        let mut entries = Vec::new();
        loop {
            let page = node.query(query.clone()).await.unwrap();
            entries.extend(page.entries);
            let Some(next) = page.next else { break };
            query = query.after(next);
        }
        let entries = entries.iter().filter(|entry| Gap::from_entry(entry).is_none());
        assert!(entries.map(text).eq(self.told.texts()), "{} acknowledged", self.told.count());
    }

    /// Asserts that what was acknowledged is there after a power cut now.
    #[track_caller]
    pub fn assert_outlives_a_power_cut(&self) {
        let mut platter = Platter::default();
        self.disk.operations().iter().for_each(|operation| platter.apply(operation));
        let mut rng = Rng::with_seed(self.disk.done() as u64);
        for survivors in Survivors::EACH {
            let after = scratch();
            platter.image(survivors, &mut rng).write_to(after.path());
            self.assert_kept_in(after.path());
        }
    }

    /// Asserts that what was acknowledged is there when the store is opened again.
    #[track_caller]
    pub fn assert_outlives_a_restart(&self) {
        self.assert_kept_in(self.directory.path());
    }

    #[track_caller]
    fn assert_kept_in(&self, directory: &Path) {
        drop(SqliteStore::open(&directory.join(STORE), owner(), [7; 8]).unwrap());
        self.told.assert_kept_in(directory, 1);
    }
}
