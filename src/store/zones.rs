//! Zones: the parts of the log that are read as a whole, and what is known of each without reading it.
//!
//! A zone is a block, or a change that stands by itself. Who wrote it, when, and where it lies is kept
//! beside it, so a reader that wants some authors, times or kinds passes over all other zones.

use std::ops::Range;

use super::StoreError;
use super::picked::{ByNames, Picked};
use crate::core::log::Arrival;
use crate::core::merge::Direction;
use crate::core::segment::Strand;
use crate::words::{Kind, NodeId, Offset, Seq, Time};

/// A part of the log that is read as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone {
    /// Who wrote it.
    pub author: NodeId,
    /// The strand that it is a part of.
    pub strand: Strand,
    /// The seqs of its entries.
    pub seqs: Range<Seq>,
    /// The time of its first entry.
    pub first_time: Time,
    /// The time of its last entry.
    pub last_time: Time,
    /// Where its entries arrived; those of other zones may lie between them.
    pub offsets: Range<Offset>,
    /// Whether it is a block, and not a change that stands by itself.
    pub packed: bool,
}

/// What a store answers about zones.
pub trait ZoneReader {
    /// At most `limit` zones of a strand in order of seq: forward from the one that holds `from`, or
    /// backward from the one that holds the entry before `from`.
    ///
    /// # Errors
    /// The store can't be read; so for every call here.
    fn zones(
        &mut self,
        strand: Strand,
        from: Seq,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<Zone>, StoreError>;

    /// The zone of a strand that holds an entry; none where none does.
    fn zone_holding(&mut self, strand: Strand, seq: Seq) -> Result<Option<Zone>, StoreError> {
        let zones = self.zones(strand, seq, Direction::Forward, 1)?;
        Ok(zones.into_iter().next().filter(|zone| zone.seqs.contains(&seq)))
    }

    /// The first zone of a strand that doesn't end before a time; none where all do.
    fn zone_at(&mut self, strand: Strand, time: Time) -> Result<Option<Zone>, StoreError>;

    /// At most `limit` zones in order of arrival: forward from the one that holds `from`, or backward
    /// from the one that holds the entry before `from`. One that arrived in several runs of offsets is
    /// said once for each of them, with the offsets of that run.
    fn zones_by_arrival(
        &mut self,
        from: Offset,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<Zone>, StoreError>;

    /// Whether a zone may hold entries of a kind. It is not read for that, or only its names are.
    fn may_hold(&mut self, _zone: &Zone, _kind: &Kind) -> Result<bool, StoreError> {
        Ok(true)
    }

    /// Entries of the large change that holds the first of these seqs, or backward the last one: those with
    /// these seqs whose tenant and topic are wanted, where few are, or else all of the change. None where
    /// there is no such change, or reading it is no dearer.
    fn pick(
        &mut self,
        _strand: Strand,
        _seqs: &Range<Seq>,
        _direction: Direction,
        _few: Option<ByNames<'_>>,
    ) -> Result<Option<Picked>, StoreError> {
        Ok(None)
    }

    /// As [`Self::pick`], of the large change that holds the first of these offsets, or backward the last one.
    fn pick_arrived(
        &mut self,
        _offsets: &Range<Offset>,
        _direction: Direction,
        _few: Option<ByNames<'_>>,
    ) -> Result<Option<Picked>, StoreError> {
        Ok(None)
    }

    /// Changes of a strand that hold entries with these seqs, forward or backward, and nothing of any
    /// other zone is read. At least one if there is one, and at most about `max_bytes`.
    fn within(
        &mut self,
        strand: Strand,
        seqs: Range<Seq>,
        direction: Direction,
        max_bytes: usize,
    ) -> Result<Vec<Arrival>, StoreError>;

    /// Changes in order of arrival that hold entries with these offsets, the oldest first, and nothing
    /// of any other zone is read. At least one if there is one, and at most about `max_bytes`.
    fn arrived_within(
        &mut self,
        offsets: Range<Offset>,
        max_bytes: usize,
    ) -> Result<Vec<Arrival>, StoreError>;
}
