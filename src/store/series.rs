//! Finding the entries of a topic or a tenant without reading the rest of the log.
//!
//! For each change and each series that it adds to, a store keeps how many entries the series had
//! before: so an ordinal is found by one look-up, and a read touches no change of another series.
//! The index is written in the commit that writes the change.

use super::StoreError;
use super::picked::Picked;
use crate::core::log::Arrival;
use crate::core::merge::Direction;
use crate::core::series::{Series, Standing, Stretch};
use crate::words::{Offset, Tenant};

/// How many changes are looked at when a statement arrives that archives entries; what lies behind
/// them is found archived when it is read.
pub const ARCHIVED_AT_ONCE: usize = 4_096;

/// How many changes one call reads at most.
pub const STRETCHES: usize = 64;

/// What a store answers about series.
pub trait SeriesReader {
    /// What is held of a series; none when neither an entry of it nor a statement about it has
    /// arrived.
    ///
    /// # Errors
    /// The store can't be read; so for every call here.
    fn standing_of(&mut self, series: &Series) -> Result<Option<Standing>, StoreError>;

    /// How many entries of a series have arrived: the ordinal of the newest.
    fn entries_of(&mut self, series: &Series) -> Result<u64, StoreError> {
        Ok(self.standing_of(series)?.map_or(0, |standing| standing.entries))
    }

    /// At most `limit` stretches of a series: forward from the one that holds the ordinal `from`, or
    /// backward from it.
    fn stretches(
        &mut self,
        series: &Series,
        from: u64,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<Stretch>, StoreError>;

    /// The changes that hold a series, from the ordinal `from` on, with their stretches. At least
    /// one if there is one, at most [`STRETCHES`], and at most about `max_bytes`.
    fn of_series(
        &mut self,
        series: &Series,
        from: u64,
        direction: Direction,
        max_bytes: usize,
    ) -> Result<Vec<(Stretch, Arrival)>, StoreError>;

    /// The entries of a series that a large change holds, picked out of it. None where that is no cheaper
    /// than reading it.
    fn pick_of_series(
        &mut self,
        _series: &Series,
        _stretch: &Stretch,
    ) -> Result<Option<Picked>, StoreError> {
        Ok(None)
    }

    /// How many entries of a series lie in changes that begin below an offset; those of which the index
    /// has nothing any more lie below every one.
    fn entries_before(&mut self, series: &Series, offset: Offset) -> Result<u64, StoreError>;

    /// All tenants of whom an entry has arrived, in order.
    fn tenants(&mut self) -> Result<Vec<Tenant>, StoreError>;

    /// The offset below which the index names every change; what arrived from there on is to be looked
    /// at itself.
    fn indexed(&mut self) -> Result<Offset, StoreError> {
        Ok(Offset(u64::MAX))
    }
}

/// Says that the index and the change don't agree.
pub(super) fn misplaced(series: &Series, ordinal: u64) -> StoreError {
    let topic = series.topic.as_ref().map_or("", |topic| topic.as_str());
    StoreError::Damaged(format!(
        "the index of {}/{topic:?} is wrong beside entry {ordinal}",
        series.tenant
    ))
}
