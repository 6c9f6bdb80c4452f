//! The series of the store in memory.

use std::collections::BTreeMap;

use super::super::series::{ARCHIVED_AT_ONCE, STRETCHES, SeriesReader};
use super::super::{StoreError, whole};
use super::{Contents, MemoryStore};
use crate::core::log::Arrival;
use crate::core::merge::Direction;
use crate::core::series::{Series, Shares, Standing, Stretch};
use crate::words::{Offset, Seq, Tenant};

/// What is held of one series.
#[derive(Debug, Default)]
pub(super) struct HeldSeries {
    standing: Standing,
    /// By the ordinal of their last entry.
    stretches: BTreeMap<u64, Stretch>,
}

impl HeldSeries {
    /// Looks how far the series is archived from its start.
    fn hide(&mut self) {
        let Standing { hidden, .. } = self.standing;
        for (end, stretch) in self.stretches.range(hidden + 1..).take(ARCHIVED_AT_ONCE) {
            if !self.standing.is_all_archived(stretch) {
                break;
            }
            self.standing.hidden = *end;
        }
    }
}

impl HeldSeries {
    /// Up to which seq each author's entries are archived.
    pub(super) fn archived(&self) -> impl Iterator<Item = &Seq> {
        self.standing.archived.values()
    }

    /// Forgets the oldest stretches, as far as they are gone. The newest stays.
    pub(super) fn trim(&mut self, gone: impl Fn(&Stretch) -> bool) {
        while let Some((&end, stretch)) = self.stretches.first_key_value()
            && gone(stretch)
        {
            self.standing.hidden = self.standing.hidden.max(end);
            if self.stretches.len() == 1 {
                return;
            }
            self.stretches.remove(&end);
        }
    }
}

impl Contents {
    /// Adds what an arrival holds to its series.
    pub(super) fn index(&mut self, arrival: &Arrival) -> Result<(), StoreError> {
        let Arrival { offset, change, .. } = arrival;
        let shares = Shares::of(change).map_err(|e| StoreError::Damaged(e.to_string()))?;
        for (series, count) in shares.counts {
            let held = self.series.entry(series).or_default();
            let stretch = Stretch {
                before: held.standing.entries,
                count,
                offset: *offset,
                author: change.author,
                first_seq: change.first_seq,
                next_seq: change.next_seq(),
            };
            held.standing.entries = stretch.end();
            held.stretches.insert(stretch.end(), stretch);
        }
        for cut in shares.cuts {
            let held = self.series.entry(cut.series()).or_default();
            for (author, seq) in cut.through {
                let through = held.standing.archived.entry(author).or_insert(seq);
                *through = seq.max(*through);
            }
            held.hide();
        }
        Ok(())
    }

    /// The stretches of a series from an ordinal on.
    fn stretches_from<'a>(
        &'a self,
        series: &Series,
        from: u64,
        direction: Direction,
    ) -> Box<dyn Iterator<Item = &'a Stretch> + 'a> {
        let Some(held) = self.series.get(series) else {
            return Box::new(std::iter::empty());
        };
        match direction {
            Direction::Forward => Box::new(held.stretches.range(from..).map(|(_, it)| it)),
            Direction::Backward => {
                let holding = held.stretches.range(from..).next().map_or(u64::MAX, |(end, _)| *end);
                let back = held.stretches.range(..=holding).rev().map(|(_, it)| it);
                Box::new(back.filter(move |stretch| stretch.before < from))
            }
        }
    }
}

impl SeriesReader for MemoryStore {
    fn standing_of(&mut self, series: &Series) -> Result<Option<Standing>, StoreError> {
        let contents = self.read();
        Ok(contents.series.get(series).map(|held| held.standing.clone()))
    }

    fn stretches(
        &mut self,
        series: &Series,
        from: u64,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<Stretch>, StoreError> {
        let contents = self.read();
        Ok(contents.stretches_from(series, from, direction).take(limit).copied().collect())
    }

    fn of_series(
        &mut self,
        series: &Series,
        from: u64,
        direction: Direction,
        max_bytes: usize,
    ) -> Result<Vec<(Stretch, Arrival)>, StoreError> {
        let contents = self.read();
        let mut taken = Vec::new();
        let mut bytes = 0;
        let there = |stretch: &&Stretch| contents.hole_at(stretch.offset).is_none();
        let stretches = contents.stretches_from(series, from, direction).filter(there);
        for stretch in stretches.take(STRETCHES) {
            let Some(arrival) = contents.arrivals.get(&stretch.offset) else { break };
            whole(arrival, &self.damages)?;
            bytes += arrival.change.bytes.len();
            taken.push((*stretch, arrival.clone()));
            if bytes >= max_bytes {
                break;
            }
        }
        Ok(taken)
    }

    fn entries_before(&mut self, series: &Series, offset: Offset) -> Result<u64, StoreError> {
        let contents = self.read();
        let Some(held) = contents.series.get(series) else { return Ok(0) };
        let below = held.stretches.values().take_while(|stretch| stretch.offset < offset);
        let trimmed = held.stretches.values().next().map_or(0, |oldest| oldest.before);
        Ok(below.last().map_or(trimmed, Stretch::end))
    }

    fn tenants(&mut self) -> Result<Vec<Tenant>, StoreError> {
        let contents = self.read();
        let feeds = contents.series.keys().filter(|series| series.topic.is_none());
        Ok(feeds.map(|feed| feed.tenant.clone()).collect())
    }

    fn indexed(&mut self) -> Result<Offset, StoreError> {
        Ok(self.read().indexed.unwrap_or(Offset(u64::MAX)))
    }
}
