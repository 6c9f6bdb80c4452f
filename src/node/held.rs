//! What a reader gets of the log: changes, and large ones that were read without being built again.

use super::explain::{ANYWHERE, Trace};
use super::filter::Filter;
use crate::core::log::Arrival;
use crate::store::StoreError;
use crate::store::picked::Picked;
use crate::words::{Entry, Offset};

/// A change that was read.
pub enum Held {
    /// As it arrived.
    Change(Arrival),
    /// Entries of a large one.
    Picked(Picked),
}

impl Held {
    /// The offset of its first entry.
    pub fn offset(&self) -> Offset {
        match self {
            Self::Change(arrival) => arrival.offset,
            Self::Picked(picked) => picked.offset,
        }
    }

    /// The offset after its last entry.
    pub fn end(&self) -> Offset {
        match self {
            Self::Change(arrival) => arrival.end(),
            Self::Picked(picked) => picked.end(),
        }
    }

    /// About how many bytes were read.
    pub fn size(&self) -> usize {
        match self {
            Self::Change(arrival) => arrival.change.bytes.len(),
            Self::Picked(picked) => picked.entries.bytes(),
        }
    }

    /// The entries that pass.
    ///
    /// # Errors
    /// The change is damaged.
    pub fn entries(&self, filter: &Filter) -> Result<Vec<Entry>, StoreError> {
        match self {
            Self::Change(arrival) => filter.all_entries(arrival),
            Self::Picked(picked) => {
                let places = filter.picked(picked, &ANYWHERE)?;
                places.into_iter().map(|at| picked.entry(at)).collect()
            }
        }
    }

    /// Notes that it was read.
    pub fn trace(&self, trace: &mut Trace, filter: &Filter) {
        match self {
            Self::Change(arrival) => trace.read(arrival, filter, &ANYWHERE),
            Self::Picked(picked) => trace.picked(picked, &ANYWHERE),
        }
    }
}
