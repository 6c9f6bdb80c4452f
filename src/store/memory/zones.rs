//! The zones of the store in memory: every change is one.

use std::ops::Range;

use super::super::zones::{Zone, ZoneReader};
use super::super::{Reader, StoreError};
use super::{MemoryStore, up_to};
use crate::core::log::Arrival;
use crate::core::merge::Direction;
use crate::core::segment::Strand;
use crate::words::{Offset, Seq, Time};

fn zone(arrival: &Arrival) -> Zone {
    let change = &arrival.change;
    Zone {
        author: change.author,
        strand: arrival.strand(),
        seqs: change.first_seq..change.next_seq(),
        first_time: change.first_time,
        last_time: change.last_time,
        offsets: arrival.offset..arrival.end(),
        packed: false,
    }
}

impl ZoneReader for MemoryStore {
    fn zones(
        &mut self,
        strand: Strand,
        from: Seq,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<Zone>, StoreError> {
        let contents = self.read();
        let Some(held) = contents.strands.get(&strand) else { return Ok(Vec::new()) };
        let zones = held.changes.values().filter_map(|at| contents.arrivals.get(at)).map(zone);
        Ok(match direction {
            Direction::Forward => zones.filter(|z| z.seqs.end > from).take(limit).collect(),
            Direction::Backward => {
                zones.rev().filter(|z| z.seqs.start < from).take(limit).collect()
            }
        })
    }

    fn zone_at(&mut self, strand: Strand, time: Time) -> Result<Option<Zone>, StoreError> {
        let contents = self.read();
        let Some(held) = contents.strands.get(&strand) else { return Ok(None) };
        let mut changes = held.changes.values().filter_map(|at| contents.arrivals.get(at));
        Ok(changes.find(|arrival| arrival.change.last_time >= time).map(zone))
    }

    fn zones_by_arrival(
        &mut self,
        from: Offset,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<Zone>, StoreError> {
        let contents = self.read();
        let arrivals = &contents.arrivals;
        Ok(match direction {
            Direction::Forward => {
                let at = arrivals.range(..=from).next_back().map_or(from, |(at, _)| *at);
                let ahead = arrivals.range(at..).map(|(_, arrival)| zone(arrival));
                ahead.filter(|zone| zone.offsets.end > from).take(limit).collect()
            }
            Direction::Backward => {
                arrivals.range(..from).rev().map(|(_, arrival)| zone(arrival)).take(limit).collect()
            }
        })
    }

    fn within(
        &mut self,
        strand: Strand,
        seqs: Range<Seq>,
        direction: Direction,
        max_bytes: usize,
    ) -> Result<Vec<Arrival>, StoreError> {
        let mut arrivals = self.of_strand(strand, direction.near(&seqs), direction, max_bytes)?;
        arrivals.retain(|arrival| {
            arrival.change.first_seq < seqs.end && arrival.change.next_seq() > seqs.start
        });
        Ok(arrivals)
    }

    fn arrived_within(
        &mut self,
        offsets: Range<Offset>,
        max_bytes: usize,
    ) -> Result<Vec<Arrival>, StoreError> {
        let contents = self.read();
        let arrivals = &contents.arrivals;
        let at = arrivals.range(..=offsets.start).next_back();
        let at = at.map_or(offsets.start, |(at, _)| *at).min(offsets.end);
        let inside = arrivals.range(at..offsets.end).map(|(_, arrival)| arrival);
        let inside = inside.filter(|it| it.end() > offsets.start);
        up_to(inside, max_bytes, (&contents, &self.damages))
    }
}
