//! A reader at a node: a cursor over the store, which survives the process.

use towline::core::merge::Direction;
use towline::store::memory::MemoryStore;
use towline::store::pruning::PruningReader;
use towline::store::{Reader, StoreError};
use towline::words::{ChangeHash, Offset};

use super::ledger::Ledger;
use super::promise::{Outcome, Promise};

/// How many bytes of changes are read at once.
const READ_BYTES: usize = 16 << 10;

/// What a reader has read, and where it goes on.
#[derive(Default)]
pub struct Readings {
    next: Offset,
    read: Vec<ChangeHash>,
}

impl Readings {
    /// Reads on, up to the end of what the store shows.
    ///
    /// # Errors
    /// An entry comes twice or is left out, or isn't durable.
    pub fn read_on(&mut self, store: &mut MemoryStore, ledger: &Ledger) -> Outcome {
        loop {
            let arrivals = match store.arrivals(self.next, Direction::Forward, READ_BYTES) {
                Err(StoreError::Lost(_)) => return Ok(()), // until it is mended
                read => read?,
            };
            if arrivals.is_empty() {
                return Ok(());
            }
            for arrival in arrivals {
                let (offset, hash) = (arrival.offset, arrival.change.hash);
                if let Some(hole) = store.hole_at(self.next)? {
                    self.next = hole.end; // it was let go
                }
                Promise::Contiguous.holds(offset == self.next, || {
                    format!("a reader at offset {} is given {}", self.next.0, offset.0)
                })?;
                Promise::PersistBeforeTelling.holds(ledger.holds(&hash), || {
                    format!("a reader is given offset {}, which is not durable", offset.0)
                })?;
                self.next = offset.plus(u64::from(arrival.change.count));
                self.read.push(hash);
            }
        }
    }

    /// The process was started again: what was read is there.
    ///
    /// # Errors
    /// Something that was read is not on the disk.
    pub fn check_kept(&self, ledger: &Ledger) -> Outcome {
        let kept = self.read.iter().all(|hash| ledger.holds(hash));
        Promise::PersistBeforeTelling
            .holds(kept, || "an entry that was read is gone after a restart".into())
    }

    /// Begins anew: the disk was replaced.
    pub fn forget(&mut self) {
        *self = Self::default();
    }
}
