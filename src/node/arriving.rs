//! Reading in order of arrival what a filter may want, and nothing else.
//!
//! With a topic or a tenant, the index says which changes come next. With an author, times or a kind,
//! zones that can't hold any are passed over. Without any of them everything is read in a row.

use std::collections::VecDeque;
use std::ops::Range;

use super::cover::{kinds_of, offsets_of, series_of};
use super::explain::Trace;
use super::filter::Filter;
use super::held::Held;
use crate::core::log::Arrival;
use crate::core::merge::Direction;
use crate::core::series::{Series, Stretch};
use crate::store::picked::ByNames;
use crate::store::zones::Zone;
use crate::store::{Reader, StoreError};
use crate::words::{Kind, Offset};

/// How many bytes of changes are read at once.
pub const READ_BYTES: usize = 64 << 10;
/// About how many entries of changes that follow each other are read as one part.
const TOGETHER: u64 = 8_192;
/// How many stretches, or zones, are looked up at once.
const AHEAD: usize = 64;

/// A reading of the log in order of arrival.
pub struct Arriving<'f> {
    filter: &'f Filter,
    kinds: Option<Vec<Kind>>,
    direction: Direction,
    /// All that lies before it, in the direction of reading, was handed out or isn't wanted.
    at: Offset,
    /// The series that the filter asks for, and how far each is read.
    series: Option<Vec<Ahead>>,
    /// From here on the index names nothing.
    indexed: Offset,
    /// Zones that were looked up and are not read.
    zones: VecDeque<Zone>,
    /// What is read next, of what is known to be wanted.
    part: Range<Offset>,
}

/// A series, and its stretches that were looked up and are not read.
struct Ahead {
    series: Series,
    /// Forward, the ordinal that comes next; backward, the one that came last.
    ordinal: u64,
    stretches: VecDeque<Stretch>,
}

impl<'f> Arriving<'f> {
    /// A reading from an offset on: forward with the entry at it, backward with the one before it.
    ///
    /// # Errors
    /// The store can't be read; so for every call here.
    pub fn new(
        reader: &mut dyn Reader,
        filter: &'f Filter,
        at: Offset,
        direction: Direction,
    ) -> Result<Self, StoreError> {
        let indexed = reader.indexed()?;
        let series = match series_of(reader, filter)? {
            Some(series) => Some(ahead_of(reader, series, at, direction)?),
            None => None,
        };
        let kinds = kinds_of(filter).filter(|_| series.is_none());
        let (zones, part) = (VecDeque::new(), Offset(0)..Offset(0));
        Ok(Self { filter, kinds, direction, at, series, indexed, zones, part })
    }

    /// The changes that come next and may hold something that is wanted, in the order of reading, one
    /// at least. None at the end. The first one may begin before the place, as it was.
    pub fn next(
        &mut self,
        reader: &mut dyn Reader,
        trace: &mut Trace,
    ) -> Result<Option<Vec<Held>>, StoreError> {
        loop {
            if self.part.is_empty() {
                let Some(part) = self.next_part(reader, trace)? else { return Ok(None) };
                self.part = part;
            }
            let held = self.read_part(reader)?;
            if let Some(last) = held.last() {
                self.pass(last);
                return Ok(Some(held));
            }
            // What the index still names may have been removed.
            let passed = std::mem::replace(&mut self.part, Offset(0)..Offset(0));
            if self.is_plain() {
                return Ok(None);
            }
            self.at = match self.direction {
                Direction::Forward => self.at.max(passed.end),
                Direction::Backward => self.at.min(passed.start),
            };
        }
    }

    fn read_part(&self, reader: &mut dyn Reader) -> Result<Vec<Held>, StoreError> {
        let few = self.filter.few();
        let few = few.as_ref().map(|few| few as ByNames<'_>);
        if let Some(picked) = reader.pick_arrived(&self.part, self.direction, few)? {
            return Ok(vec![Held::Picked(picked)]);
        }
        let arrivals = self.read_changes(reader)?;
        Ok(arrivals.into_iter().map(Held::Change).collect())
    }

    fn read_changes(&self, reader: &mut dyn Reader) -> Result<Vec<Arrival>, StoreError> {
        match self.direction {
            Direction::Forward => reader.arrived_within(self.part.clone(), READ_BYTES),
            Direction::Backward if self.part.start == Offset(0) && self.is_plain() => {
                plain_backward(reader, self.part.end)
            }
            Direction::Backward => {
                let mut arrivals = reader.arrived_within(self.part.clone(), usize::MAX)?;
                arrivals.reverse();
                Ok(arrivals)
            }
        }
    }

    /// What was read up to there is behind the place.
    fn pass(&mut self, last: &Held) {
        match self.direction {
            Direction::Forward => self.part.start = last.end(),
            Direction::Backward => self.part.end = last.offset().max(self.part.start),
        }
        if self.part.start >= self.part.end {
            self.part = Offset(0)..Offset(0);
        }
        self.at = if self.direction == Direction::Forward { last.end() } else { last.offset() };
    }

    /// Whether all is wanted, as far as is known before it is read.
    fn is_plain(&self) -> bool {
        let Filter { author, since, until, .. } = self.filter;
        self.series.is_none()
            && self.kinds.is_none()
            && author.is_none()
            && since.is_none()
            && until.is_none()
    }

    fn next_part(
        &mut self,
        reader: &mut dyn Reader,
        trace: &mut Trace,
    ) -> Result<Option<Range<Offset>>, StoreError> {
        if self.is_plain() {
            return Ok(Some(match self.direction {
                Direction::Forward => self.at..Offset(u64::MAX),
                Direction::Backward => Offset(0)..self.at,
            }));
        }
        let tail = match (&self.series, self.direction) {
            (None, _) => true,
            (Some(_), Direction::Forward) => false,
            (Some(_), Direction::Backward) => self.at > self.indexed,
        };
        if tail && let Some(part) = self.next_zone(reader, trace)? {
            return Ok(Some(part));
        }
        if self.series.is_none() {
            return Ok(None);
        }
        if let Some(part) = self.next_stretch(reader)? {
            return Ok(Some(part));
        }
        let more = self.direction == Direction::Forward && self.indexed < Offset(u64::MAX);
        if !more {
            return Ok(None);
        }
        self.at = self.at.max(self.indexed);
        self.next_zone(reader, trace)
    }

    /// The next zone that is wanted, by its author, its times and its kinds.
    fn next_zone(
        &mut self,
        reader: &mut dyn Reader,
        trace: &mut Trace,
    ) -> Result<Option<Range<Offset>>, StoreError> {
        loop {
            if self.zones.is_empty() {
                let zones = reader.zones_by_arrival(self.at, self.direction, AHEAD)?;
                self.zones = zones.into();
            }
            let Some(zone) = self.zones.pop_front() else { return Ok(None) };
            let mut part = zone.offsets.clone();
            match self.direction {
                Direction::Forward => {
                    part.start = part.start.max(self.at);
                    self.at = part.end;
                }
                Direction::Backward => {
                    part.end = part.end.min(self.at);
                    self.at = part.start;
                    if self.series.is_some() && part.end <= self.indexed {
                        self.zones.clear();
                        self.at = part.end;
                        return Ok(None); // the index names it
                    }
                }
            }
            if !self.filter.admits_author(zone.author)
                || !self.filter.admits_times(zone.first_time, zone.last_time)
            {
                continue;
            }
            if !holds_any(reader, &zone, self.kinds.as_deref())? {
                trace.passed_by_kind(&zone);
                continue;
            }
            return Ok(Some(part));
        }
    }

    /// The next change that the index names, with those that follow it without a hole.
    fn next_stretch(
        &mut self,
        reader: &mut dyn Reader,
    ) -> Result<Option<Range<Offset>>, StoreError> {
        let mut part: Option<Range<Offset>> = None;
        while let Some((stretch, place)) = self.nearest(reader)? {
            let offsets = offsets_of(&stretch);
            let passed = match self.direction {
                Direction::Forward => offsets.end <= self.at,
                Direction::Backward => offsets.start >= self.at,
            };
            if !passed && self.is_wanted(reader, &stretch)? {
                match &mut part {
                    None => part = Some(offsets),
                    Some(part) if self.goes_on(part, &offsets) => {
                        part.end = part.end.max(offsets.end);
                    }
                    Some(_) => return Ok(part),
                }
            }
            if let Some(ahead) = self.series.as_mut().and_then(|series| series.get_mut(place)) {
                ahead.stretches.pop_front();
            }
        }
        Ok(part)
    }

    /// The stretch that comes next of all series, and whose it is.
    fn nearest(&mut self, reader: &mut dyn Reader) -> Result<Option<(Stretch, usize)>, StoreError> {
        let direction = self.direction;
        let mut nearest: Option<(Stretch, usize)> = None;
        for (place, ahead) in self.series.iter_mut().flatten().enumerate() {
            ahead.look_up(reader, direction)?;
            let Some(stretch) = ahead.stretches.front() else { continue };
            let nearer = |(nearest, _): &(Stretch, usize)| match direction {
                Direction::Forward => stretch.offset < nearest.offset,
                Direction::Backward => stretch.offset > nearest.offset,
            };
            if nearest.as_ref().is_none_or(nearer) {
                nearest = Some((*stretch, place));
            }
        }
        Ok(nearest)
    }

    /// Whether the change of a stretch may be wanted, by its author and its times.
    fn is_wanted(&self, reader: &mut dyn Reader, stretch: &Stretch) -> Result<bool, StoreError> {
        if !self.filter.admits_author(stretch.author) {
            return Ok(false);
        }
        if self.filter.since.is_none() && self.filter.until.is_none() {
            return Ok(true);
        }
        let zones = reader.zones_by_arrival(stretch.offset, Direction::Forward, 1)?;
        let admits = |zone: &Zone| self.filter.admits_times(zone.first_time, zone.last_time);
        Ok(zones.first().is_none_or(admits))
    }

    fn goes_on(&self, part: &Range<Offset>, next: &Range<Offset>) -> bool {
        self.direction == Direction::Forward
            && next.start <= part.end
            && part.end.0 - part.start.0 < TOGETHER
    }
}

impl Ahead {
    fn look_up(&mut self, reader: &mut dyn Reader, direction: Direction) -> Result<(), StoreError> {
        if !self.stretches.is_empty() || self.ordinal == u64::MAX {
            return Ok(());
        }
        let found = reader.stretches(&self.series, self.ordinal, direction, AHEAD)?;
        self.ordinal = match (found.last(), direction) {
            (Some(last), Direction::Forward) => last.end() + 1,
            (Some(last), Direction::Backward) if last.before > 0 => last.before,
            _ => u64::MAX,
        };
        self.stretches = found.into();
        Ok(())
    }
}

/// The series from where their changes hold an offset on.
fn ahead_of(
    reader: &mut dyn Reader,
    series: Vec<Series>,
    at: Offset,
    direction: Direction,
) -> Result<Vec<Ahead>, StoreError> {
    let mut ahead = Vec::with_capacity(series.len());
    for series in series {
        let before = reader.entries_before(&series, at)?;
        // The change before may reach beyond the offset.
        let ordinal = match direction {
            Direction::Forward => before.max(1),
            Direction::Backward if before == 0 => u64::MAX,
            Direction::Backward => before,
        };
        ahead.push(Ahead { series, ordinal, stretches: VecDeque::new() });
    }
    Ok(ahead)
}

/// Changes below an offset, the newest first; the one that the offset lies in comes first.
fn plain_backward(reader: &mut dyn Reader, at: Offset) -> Result<Vec<Arrival>, StoreError> {
    if at > Offset(0) {
        let around = reader.arrivals(Offset(at.0 - 1), Direction::Forward, 1)?;
        if around.first().is_some_and(|arrival| arrival.end() > at) {
            return Ok(around);
        }
    }
    reader.arrivals(at, Direction::Backward, READ_BYTES)
}

/// Whether a zone may hold entries of one of these kinds; of any, where none are named.
///
/// # Errors
/// The store can't be read.
pub fn holds_any(
    reader: &mut dyn Reader,
    zone: &Zone,
    kinds: Option<&[Kind]>,
) -> Result<bool, StoreError> {
    let Some(kinds) = kinds else { return Ok(true) };
    for kind in kinds {
        if reader.may_hold(zone, kind)? {
            return Ok(true);
        }
    }
    Ok(false)
}
