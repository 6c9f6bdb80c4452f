//! The disk of a host: a list of batches, whole ones only, and what a crash does to it.
//!
//! A store is opened by writing the batches into a fresh [`MemoryStore`]. So an older copy of the
//! disk is a shorter list, and half a batch can't be said.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use towline::store::damage::Lost;
use towline::store::memory::MemoryStore;
use towline::store::{Batch, Owner, Store, StoreError, StoreId};
use towline::words::{ChangeHash, EmitNumber, Offset, SegmentId};

use super::ledger::Ledger;
use super::promise::{Outcome, Promise};

/// What survives a process.
#[derive(Clone)]
pub struct Disk {
    owner: Owner,
    id: StoreId,
    /// All batches that are durable, oldest first.
    batches: Vec<Rc<Batch>>,
    /// The changes of which it has altered a bit since, by their offsets.
    damaged: BTreeMap<Offset, (Lost, Vec<ChangeHash>)>,
    /// What they hold, as the oracle sees it.
    pub ledger: Ledger,
    /// The file of the emit counter. It lies in the page cache: a killed process leaves it, a power
    /// cut takes it.
    pub counter: Option<EmitNumber>,
    /// How long a commit takes at most, in microseconds.
    pub latency: u64,
}

impl Disk {
    /// An empty disk.
    pub fn new(owner: Owner, id: StoreId, latency: u64) -> Self {
        let (batches, damaged, ledger) = (Vec::new(), BTreeMap::new(), Ledger::default());
        Self { owner, id, batches, damaged, ledger, counter: None, latency }
    }

    /// Whom it belongs to.
    pub fn owner(&self) -> Owner {
        self.owner
    }

    /// Opens the store, as a process does at its start.
    ///
    /// # Errors
    /// The store doesn't take back what it held.
    pub fn open(&self) -> Result<MemoryStore, StoreError> {
        let mut store = MemoryStore::new(self.id, self.owner);
        self.batches.iter().try_for_each(|batch| store.commit(batch))?;
        self.damaged.keys().try_for_each(|offset| store.damage(*offset))?;
        Ok(store)
    }

    /// A batch is durable now.
    ///
    /// # Errors
    /// It breaks a promise.
    pub fn persist(&mut self, batch: Rc<Batch>) -> Outcome {
        batch.adopted.iter().try_for_each(|pruned| self.ledger.take_over(pruned))?;
        batch.arrivals.iter().try_for_each(|arrival| self.ledger.admit(arrival))?;
        for strand in &batch.pruned {
            self.ledger.remove(strand.segment);
            self.damaged.retain(|_, (lost, _)| lost.strand != *strand);
        }
        for (lost, changes) in &batch.mended {
            let stood_here = changes.iter().all(|change| self.ledger.holds(&change.hash));
            Promise::OnlySigned.holds(stood_here, || format!("{lost} are mended with others"))?;
            self.damaged.remove(&lost.offset);
        }
        for sealed in &batch.sealed {
            // It was packed when all of it was whole.
            self.damaged.retain(|_, (lost, _)| {
                lost.strand != sealed.strand
                    || lost.first_seq < sealed.first_seq
                    || lost.next_seq > sealed.next_seq
            });
        }
        if let Some(mark) = batch.emits {
            let accounted = mark.next.0 == mark.recorded + mark.dropped;
            Promise::GapsTile.holds(accounted, || {
                format!(
                    "{} numbers are accounted for by {} recorded and {} dropped",
                    mark.next, mark.recorded, mark.dropped
                )
            })?;
            self.ledger.mark = mark;
        }
        self.batches.push(batch);
        Ok(())
    }

    /// Alters a bit of what is lost with these changes. The process notices it when it reads it.
    ///
    /// # Errors
    /// None: what is held can be damaged.
    pub fn damage(
        &mut self,
        (lost, changes): (Lost, Vec<ChangeHash>),
        store: &MemoryStore,
    ) -> Outcome {
        if self.damaged.insert(lost.offset, (lost, changes)).is_none() {
            store.damage(lost.offset)?;
        }
        Ok(())
    }

    /// The changes that are damaged.
    pub fn damaged(&self) -> impl Iterator<Item = &ChangeHash> {
        self.damaged.values().flat_map(|(_, changes)| changes)
    }

    /// Whether a block of a segment is damaged.
    pub fn has_damaged_block(&self, segment: SegmentId) -> bool {
        let mut damaged = self.damaged.values();
        damaged.any(|(lost, changes)| lost.strand.segment == segment && changes.len() > 1)
    }

    /// Whether something of a segment is damaged.
    pub fn is_damaged_in(&self, segment: SegmentId) -> bool {
        self.damaged.values().any(|(lost, _)| lost.strand.segment == segment)
    }

    /// Whether a change is on the disk as it was written.
    pub fn holds_whole(&self, hash: &ChangeHash) -> bool {
        self.ledger.holds(hash)
            && !self.ledger.is_gone(hash)
            && self.damaged().all(|damaged| damaged != hash)
    }

    /// Takes back the damage to these changes; a process sees that when it is started again.
    pub fn repair(&mut self, changes: &BTreeSet<ChangeHash>) {
        self.damaged.retain(|_, (_, damaged)| !damaged.iter().any(|hash| changes.contains(hash)));
    }

    /// How many batches it holds.
    pub fn batches(&self) -> usize {
        self.batches.len()
    }

    /// Replaces the content by an older copy of it, and a whole one. The counter's file is older, too.
    ///
    /// # Errors
    /// None: what was held could be held before.
    pub fn roll_back(&mut self, batches: usize) -> Outcome {
        self.batches.truncate(batches);
        let older = std::mem::take(&mut self.batches);
        self.ledger = Ledger::default();
        (self.counter, self.damaged) = (None, BTreeMap::new());
        older.into_iter().try_for_each(|batch| self.persist(batch))
    }

    /// Loses everything but the key.
    pub fn lose(&mut self, id: StoreId) {
        *self = Self::new(self.owner, id, self.latency);
    }
}
