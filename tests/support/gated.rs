//! A store whose every commit waits for the test: a slow disk as a test input.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};

use towline::store::memory::MemoryStore;
use towline::store::{Batch, Opener, Owner, Resume, Store, StoreError, StoreId};
use towline::words::{ClusterId, Identity};

pub const SECRET: [u8; 32] = [7; 32];

pub fn store() -> MemoryStore {
    store_of(&SECRET)
}

/// An empty store of the node with this secret, in the cluster of all tests.
pub fn store_of(secret: &[u8; 32]) -> MemoryStore {
    let node = Identity::from_secret(secret).node_id();
    MemoryStore::new(StoreId([1; 8]), Owner { node, cluster: ClusterId([9; 32]) })
}

/// A store whose every commit waits until the test lets it pass: a slow disk as a test input.
pub struct Gated {
    store: MemoryStore,
    passes: mpsc::Receiver<()>,
    waiting: mpsc::Sender<()>,
}

/// The test's end of a [`Gated`] store.
pub struct Gate {
    pass: mpsc::Sender<()>,
    waiting: mpsc::Receiver<()>,
}

pub fn gated(store: MemoryStore) -> (Gated, Gate) {
    let (pass, passes) = mpsc::channel();
    let (tell, waiting) = mpsc::channel();
    (Gated { store, passes, waiting: tell }, Gate { pass, waiting })
}

impl Gate {
    /// Lets one commit pass.
    pub fn pass(&self) {
        self.pass.send(()).unwrap();
    }

    /// Waits until a commit waits.
    pub fn until_waiting(&self) {
        self.waiting.recv_timeout(super::PATIENCE).unwrap();
    }
}

impl Store for Gated {
    fn resume(&mut self) -> Result<Resume, StoreError> {
        self.store.resume()
    }

    fn commit(&mut self, batch: &Batch) -> Result<(), StoreError> {
        let _ = self.waiting.send(());
        let _ = self.passes.recv(); // once the gate is dropped, all pass
        self.store.commit(batch)
    }

    fn opener(&self) -> Opener {
        self.store.opener()
    }
}

/// A store whose commits fail after so many have passed: a disk that breaks.
pub struct Failing {
    store: MemoryStore,
    left: u32,
}

impl Failing {
    pub fn after(left: u32) -> Self {
        Self { store: store(), left }
    }
}

impl Store for Failing {
    fn resume(&mut self) -> Result<Resume, StoreError> {
        self.store.resume()
    }

    fn commit(&mut self, batch: &Batch) -> Result<(), StoreError> {
        self.left = self.left.checked_sub(1).ok_or(StoreError::Failed("it broke".into()))?;
        self.store.commit(batch)
    }

    fn opener(&self) -> Opener {
        self.store.opener()
    }
}

/// A disk that the test fills and empties.
#[derive(Clone, Default)]
pub struct Disk(Arc<AtomicBool>);

impl Disk {
    pub fn fill(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    pub fn empty(&self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

/// A store whose commits find no room while its disk is full.
pub struct Filling {
    store: MemoryStore,
    disk: Disk,
}

impl Filling {
    pub fn new(store: MemoryStore, disk: &Disk) -> Self {
        Self { store, disk: disk.clone() }
    }
}

impl Store for Filling {
    fn resume(&mut self) -> Result<Resume, StoreError> {
        self.store.resume()
    }

    fn commit(&mut self, batch: &Batch) -> Result<(), StoreError> {
        if self.disk.0.load(Ordering::SeqCst) {
            return Err(StoreError::Full("the test filled it".into()));
        }
        self.store.commit(batch)
    }

    fn opener(&self) -> Opener {
        self.store.opener()
    }
}
