//! A log that is written on a watched disk, and what of it was acknowledged when.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use fastrand::Rng;
use rusqlite::Connection;
use tempfile::TempDir;
use towline::core::frontier::Frontier;
use towline::core::log::{Arrival, Log};
use towline::store::block;
use towline::store::sqlite::SqliteStore;
use towline::store::{Batch, EmitMark, KeyRecord, Owner, Store};
use towline::words::{ClusterId, Draft, EmitNumber, Identity, Offset};

use crate::disk::Disk;

const CLUSTER: ClusterId = ClusterId([9; 32]);
/// The node that writes, by its secret.
pub const SECRET: [u8; 32] = [1; 32];
/// The name of the store's file.
pub const STORE: &str = "log.sqlite";

pub fn owner() -> Owner {
    Owner { node: Identity::from_secret(&SECRET).node_id(), cluster: CLUSTER }
}

/// The log of a node at the start of a lifetime.
pub fn log(secret: [u8; 32], lifetime: u8, store: Option<&mut SqliteStore>) -> Log {
    let resume = store.map(|store| store.resume().unwrap());
    let next = resume.as_ref().map_or(Offset(0), |resume| resume.next_offset);
    let tips = resume.into_iter().flat_map(|resume| resume.tips);
    Log::new(Identity::from_secret(&secret), CLUSTER, [lifetime; 16], tips, next, 0)
}

/// A directory in memory, where there is one: what is written there needn't outlive the test.
pub fn scratch() -> TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { TempDir::new_in(memory).ok() } else { None };
    made.unwrap_or_else(|| tempfile::tempdir().unwrap())
}

/// What was committed at once.
struct Commit {
    batch: Batch,
    frontier: Frontier,
    /// How many operations the disk had done when the commit returned.
    told: usize,
}

/// What a store holds.
#[derive(Debug, PartialEq, Eq)]
pub struct Contents {
    pub arrivals: Vec<Arrival>,
    pub frontier: Frontier,
    pub emits: EmitMark,
    pub keys: Vec<KeyRecord>,
}

/// A node's log and another author's, in one store on a watched disk.
pub struct History {
    pub disk: Arc<Disk>,
    directory: TempDir,
    store: Option<SqliteStore>,
    here: Log,
    far: Log,
    lifetime: u8,
    emits: EmitMark,
    commits: Vec<Commit>,
}

impl History {
    pub fn begin() -> Self {
        let directory = scratch();
        let disk = Disk::watch(directory.path());
        let far = log([2; 32], 0, None);
        let here = log(SECRET, 0, None);
        let mut history = Self {
            disk,
            directory,
            store: None,
            here,
            far,
            lifetime: 0,
            emits: EmitMark::default(),
            commits: Vec::new(),
        };
        history.reopen();
        history
    }

    pub fn path(&self) -> PathBuf {
        self.directory.path().join(STORE)
    }

    /// Ends the store well, and begins another lifetime.
    pub fn reopen(&mut self) {
        self.close();
        let mut store = SqliteStore::open(&self.path(), owner(), [7; 8]).unwrap();
        self.lifetime += 1;
        self.here = log(SECRET, self.lifetime, Some(&mut store));
        self.store = Some(store);
    }

    /// Ends the store well.
    pub fn close(&mut self) {
        self.store = None;
    }

    /// Appends entries of so many bytes each, with a recorder's mark and an idempotency key.
    pub fn append(&mut self, entries: usize, bytes: usize) {
        let arrivals = self.here.append(&self.drafts(entries, bytes), self.now()).unwrap();
        self.emits.next = self.emits.next.plus(entries as u64);
        self.emits.recorded += entries as u64;
        self.emits.reserved = EmitNumber(1_000_000);
        let first = &arrivals[0].change;
        let key = KeyRecord {
            key: format!("key {}", self.commits.len()),
            digest: [self.commits.len() as u8; 32],
            first_seq: first.first_seq,
            count: entries as u64,
        };
        self.commit(Batch {
            arrivals,
            emits: Some(self.emits),
            keys: vec![key],
            ..Batch::default()
        });
    }

    /// Takes in a change of the other author.
    pub fn receive(&mut self, entries: usize, bytes: usize) {
        let written = self.far.append(&self.drafts(entries, bytes), self.now()).unwrap();
        self.far.committed();
        let changes = written.into_iter().map(|arrival| arrival.change).collect();
        let now = self.now();
        let mut past = self.store.as_ref().unwrap().reader().unwrap();
        let applied = self.here.apply(changes, now, &mut *past).unwrap();
        assert!(applied.refused.is_empty());
        drop(past);
        self.commit(Batch { arrivals: applied.arrivals, ..Batch::default() });
    }

    /// Packs what stands in rows into blocks, each in a commit of its own.
    pub fn seal(&mut self) {
        let mut reader = self.store.as_ref().unwrap().reader().unwrap();
        for arrivals in reader.sealable(Offset(u64::MAX)).unwrap() {
            let sealed = vec![block::pack(&arrivals).unwrap()];
            self.commit(Batch { sealed, ..Batch::default() });
        }
    }

    fn commit(&mut self, batch: Batch) {
        self.store.as_mut().unwrap().commit(&batch).unwrap();
        self.here.committed();
        let frontier = self.here.frontier();
        self.commits.push(Commit { batch, frontier, told: self.disk.done() });
    }

    /// Moves what is in the write-ahead log into the database, in one of SQLite's ways.
    pub fn checkpoint(&self, mode: &str) {
        let connection = Connection::open(self.path()).unwrap();
        let busy: i64 = connection
            .query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| row.get(0))
            .unwrap();
        assert_eq!(busy, 0, "nobody stands in the way of a checkpoint");
    }

    /// Gives the pages that nothing needs any more back to the system.
    pub fn vacuum(&self) {
        let connection = Connection::open(self.path()).unwrap();
        connection.execute_batch("PRAGMA incremental_vacuum").unwrap();
    }

    /// What a node does in some time: appending, receiving, checkpoints, clean restarts.
    pub fn live(&mut self, rounds: usize, rng: &mut Rng) {
        for _ in 0..rounds {
            match rng.u8(..14) {
                0..=4 => self.append(rng.usize(1..6), rng.usize(1..900)),
                5 => self.append(rng.usize(1..4), rng.usize(4_000..9_000)),
                6..=8 => self.receive(rng.usize(1..6), rng.usize(1..900)),
                9 => self.checkpoint(["PASSIVE", "FULL", "RESTART"][rng.usize(..3)]),
                10 => self.checkpoint("TRUNCATE"),
                11 => self.append(rng.usize(128..200), rng.usize(1..60)), // a block at once
                12 => self.seal(),
                _ => self.reopen(),
            }
        }
    }

    /// How many commits had been acknowledged when the disk had done so many operations.
    pub fn told(&self, operations: usize) -> usize {
        self.commits.iter().take_while(|commit| commit.told <= operations).count()
    }

    pub fn commits(&self) -> usize {
        self.commits.len()
    }

    /// What the store holds after so many commits.
    pub fn contents(&self, commits: usize) -> Contents {
        let commits = &self.commits[..commits];
        let batches = || commits.iter().map(|commit| &commit.batch);
        Contents {
            arrivals: batches().flat_map(|batch| batch.arrivals.clone()).map(bare).collect(),
            frontier: commits.last().map(|last| last.frontier.clone()).unwrap_or_default(),
            emits: batches().filter_map(|batch| batch.emits).next_back().unwrap_or_default(),
            keys: batches().flat_map(|batch| batch.keys.clone()).collect(),
        }
    }

    fn drafts(&self, entries: usize, bytes: usize) -> Vec<Draft> {
        // Letters and digits in no order, which can't be packed much.
        let noise = |rng: &mut Rng| (0..bytes).map(|_| rng.alphanumeric()).collect::<String>();
        let mut rng = Rng::with_seed(self.commits.len() as u64);
        let mut text = |n| format!("{}/{n} {}", self.commits.len(), noise(&mut rng));
        (0..entries).map(|n| Draft::text("t", "k", text(n)).unwrap()).collect()
    }

    /// A clock that goes on by a millisecond with every commit.
    fn now(&self) -> u64 {
        1_795_237_297_000 + self.commits.len() as u64
    }
}

/// What a store keeps of a change for good: a block drops all signatures but its last.
pub fn bare(mut arrival: Arrival) -> Arrival {
    arrival.change.signature = None;
    arrival
}
