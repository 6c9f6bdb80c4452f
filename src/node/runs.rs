//! Listings by time or by author: the strands of the log as sorted runs, of which only what may be wanted
//! is read.
//!
//! Of each strand the runs know from when to when it goes. So those that lie before or after what is left
//! of a listing cost nothing, and a page reads the zones that its entries lie in and few others.

use std::cell::RefCell;
use std::cmp::Ordering;
use std::collections::VecDeque;
use std::ops::Range;
use std::rc::Rc;

use super::arriving::holds_any;
use super::cover::{Cover, kinds_of};
use super::cursor::{Cursor, Last, Order};
use super::explain::Trace;
use super::query::{Page, Query, QueryError};
use crate::core::merge::{Direction, Merge, Run, common};
use crate::core::segment::Strand;
use crate::store::picked::{ByNames, Picked};
use crate::store::zones::Zone;
use crate::store::{Reader, Span, StoreError};
use crate::words::entry::MergedKey;
use crate::words::{Entry, Kind, NodeId, Offset, Seq, Time};

/// How many bytes of changes a run reads at first, and how many ahead when it is read on: a page that
/// needs little of many strands reads little of each.
const FIRST_BYTES: usize = 4 << 10;
const RUN_BYTES: usize = 64 << 10;
/// How many zones a run looks up at once.
const ZONES: usize = 32;

/// A page of a listing by time or by author.
///
/// # Errors
/// The store can't be read.
pub fn page(
    reader: &mut dyn Reader,
    query: &Query,
    watermark: Offset,
    trace: &mut Trace,
) -> Result<Page, QueryError> {
    let store = reader.id();
    let bound = query.after.map_or(watermark, |cursor| cursor.offset);
    let after = query.after.and_then(|cursor| cursor.last);
    let (cover, _) = Cover::of(reader, &query.filter, bound)?;
    let mut spans = reader.spans(query.filter.author)?;
    if query.filter.author.is_none() {
        check_complete(reader, &spans, watermark)?;
    }
    cover.keep(&mut spans);
    spans.retain(|span| query.filter.admits_times(span.first_time, span.last_time));
    let edge = match after.filter(|_| query.order == Order::Author) {
        Some(last) => Some(edge_of_author_order(reader, &last)?),
        None => None,
    };
    let kinds = kinds_of(&query.filter).filter(|_| matches!(cover, Cover::All | Cover::Windows(_)));
    let shared = RefCell::new(Shared { reader, trace });
    let source = Source { shared: &shared, query, cover, kinds, bound, after, edge };
    let entries = Vec::with_capacity(query.limit);
    let mut page = Page { entries, next: None };
    let mut bytes = 0;
    for group in groups(spans, query) {
        let runs: Result<Vec<SpanRun<'_, '_>>, StoreError> =
            group.into_iter().filter_map(|span| source.run(span).transpose()).collect();
        let mut merge = Merge::new(runs?, query.direction);
        while !merge.is_at_end()? {
            if page.is_full(query, bytes) {
                let last = page.entries.last().map(|last| Last {
                    order: query.order,
                    time: last.time,
                    author: last.author,
                    seq: last.seq,
                    segment: last.segment,
                    change: last.change,
                });
                page.next = Some(Cursor { store, offset: bound, last });
                return Ok(page);
            }
            page.entries.extend(merge.next_entry()?);
            bytes += page.entries.last().map_or(0, |last| last.body.size());
        }
    }
    Ok(page)
}

/// Every entry that is held lies in a span: one that the store doesn't name is damage, and
/// would be left out without a word.
fn check_complete(
    reader: &mut dyn Reader,
    spans: &[Span],
    watermark: Offset,
) -> Result<(), StoreError> {
    let named: u64 = spans.iter().map(|s| s.next_seq.0.saturating_sub(s.first_seq.0)).sum();
    if named >= watermark.0 {
        return Ok(());
    }
    let held = watermark.0.saturating_sub(reader.gone()?.entries);
    if named >= held {
        return Ok(());
    }
    let what = format!("its segments name {named} entries of {held}");
    Err(StoreError::Damaged(what))
}

/// The spans that are merged with each other: all of them in merged order; one after the other, by
/// author and first seq, in author order.
fn groups(mut spans: Vec<Span>, query: &Query) -> Vec<Vec<Span>> {
    if query.order == Order::Time {
        return vec![spans];
    }
    spans.sort_by_key(|span| (span.author, span.first_seq, span.strand));
    if query.direction == Direction::Backward {
        spans.reverse();
    }
    spans.into_iter().map(|span| vec![span]).collect()
}

/// The span in which the last page of a listing in author order ended.
fn edge_of_author_order(
    reader: &mut dyn Reader,
    last: &Last,
) -> Result<(NodeId, Seq, Strand), StoreError> {
    let held = reader.find(last.author, last.seq)?;
    let found = held.iter().find(|arrival| arrival.change.hash == last.change);
    let strand = found.map_or(Strand::first(last.segment), |arrival| arrival.strand());
    let spans = reader.spans(Some(last.author))?;
    let span = spans.iter().find(|span| span.strand == strand);
    Ok((last.author, span.map_or(last.seq, |span| span.first_seq), strand))
}

/// What the runs of one page read by, one at a time.
struct Shared<'r> {
    reader: &'r mut dyn Reader,
    trace: &'r mut Trace,
}

/// What all runs of one page share.
struct Source<'a, 'r> {
    shared: &'a RefCell<Shared<'r>>,
    query: &'a Query,
    cover: Cover,
    /// The kinds that are wanted, where zones are looked at for them.
    kinds: Option<Vec<Kind>>,
    /// Entries that arrived at or after this offset don't belong to the listing.
    bound: Offset,
    after: Option<Last>,
    /// In author order, the span in which the last page ended.
    edge: Option<(NodeId, Seq, Strand)>,
}

impl<'a, 'r> Source<'a, 'r> {
    /// The run of a span from where the listing goes on; none when nothing of it is left.
    fn run(&'a self, span: Span) -> Result<Option<SpanRun<'a, 'r>>, StoreError> {
        let left = self.left_of(&span)?;
        if left.is_empty() {
            return Ok(None);
        }
        let parts = match &self.cover {
            Cover::Changes(changes) => match changes.get(&span.author) {
                Some(listed) => Parts::Listed(listed.clone()),
                None => return Ok(None),
            },
            Cover::All if self.kinds.is_none() => Parts::Whole,
            Cover::All | Cover::Windows(_) => Parts::Zones(VecDeque::new()),
        };
        let bound = match self.query.direction {
            Direction::Forward => span.first_time,
            Direction::Backward => span.last_time,
        };
        let part = left.start..left.start;
        let ready = Ready::Entries(VecDeque::new());
        let at_once = FIRST_BYTES;
        Ok(Some(SpanRun { source: self, span, left, parts, part, bound, at_once, ready }))
    }

    /// The seqs of a span that may still belong to the listing, by times, cursor and order.
    fn left_of(&self, span: &Span) -> Result<Range<Seq>, StoreError> {
        let filter = &self.query.filter;
        let mut left = span.first_seq..span.next_seq;
        if let Some(since) = filter.since {
            left.start = left.start.max(self.first_from(span, since)?);
        }
        if let Some(until) = filter.until {
            left.end = left.end.min(self.end_before(span, until)?);
        }
        let Some(last) = &self.after else { return Ok(left) };
        let direction = self.query.direction;
        let Some(edge) = self.edge else {
            match direction {
                Direction::Forward => {
                    left.start = left.start.max(self.first_from(span, last.time)?)
                }
                Direction::Backward => {
                    let next = last.time.next().unwrap_or(Time::MAX);
                    left.end = left.end.min(self.end_before(span, next)?);
                }
            }
            return Ok(left);
        };
        let place = (span.author, span.first_seq, span.strand).cmp(&edge);
        match (direction, place) {
            (Direction::Forward, Ordering::Less) | (Direction::Backward, Ordering::Greater) => {
                left.end = left.start;
            }
            (Direction::Forward, Ordering::Equal) => left.start = left.start.max(last.seq.plus(1)),
            (Direction::Backward, Ordering::Equal) => left.end = left.end.min(last.seq),
            _ => {}
        }
        Ok(left)
    }

    /// Where the zone begins that holds the first entry of a span at or after a time.
    fn first_from(&self, span: &Span, time: Time) -> Result<Seq, StoreError> {
        if span.first_time >= time {
            return Ok(span.first_seq);
        }
        if span.last_time < time {
            return Ok(span.next_seq);
        }
        let zone = self.shared.borrow_mut().reader.zone_at(span.strand, time)?;
        Ok(zone.map_or(span.next_seq, |zone| zone.seqs.start))
    }

    /// Where the zone ends that holds the last entry of a span before a time.
    fn end_before(&self, span: &Span, time: Time) -> Result<Seq, StoreError> {
        if span.last_time < time {
            return Ok(span.next_seq);
        }
        if span.first_time >= time {
            return Ok(span.first_seq);
        }
        let zone = self.shared.borrow_mut().reader.zone_at(span.strand, time)?;
        Ok(zone.map_or(span.next_seq, |zone| {
            if zone.first_time < time { zone.seqs.end } else { zone.seqs.start }
        }))
    }
}

/// Which parts of a strand are read.
enum Parts {
    /// All that is left.
    Whole,
    /// Those with these seqs.
    Listed(Rc<[Range<Seq>]>),
    /// The zones that may hold something that is wanted; these were looked up and come next.
    Zones(VecDeque<Zone>),
}

/// A segment as a sorted run of the entries that a query wants.
struct SpanRun<'a, 'r> {
    source: &'a Source<'a, 'r>,
    span: Span,
    /// What is left of it beside the part that is read.
    left: Range<Seq>,
    parts: Parts,
    /// What is left of the part that is read.
    part: Range<Seq>,
    bound: Time,
    /// How many bytes are read next.
    at_once: usize,
    ready: Ready,
}

/// What was read of a run and comes next.
enum Ready {
    Entries(VecDeque<Entry>),
    /// Of a large change, the places of what is wanted, the next one last: an entry is made when its turn
    /// comes.
    Picked(Picked, Vec<usize>),
}

impl Ready {
    fn is_empty(&self) -> bool {
        match self {
            Self::Entries(entries) => entries.is_empty(),
            Self::Picked(_, places) => places.is_empty(),
        }
    }

    fn next_key(&self) -> Option<MergedKey> {
        match self {
            Self::Entries(entries) => entries.front().map(Entry::merged_key),
            Self::Picked(picked, places) => places.last().map(|at| picked.merged_key(*at)),
        }
    }

    fn take(&mut self) -> Result<Option<Entry>, StoreError> {
        match self {
            Self::Entries(entries) => Ok(entries.pop_front()),
            Self::Picked(picked, places) => places.pop().map(|at| picked.entry(at)).transpose(),
        }
    }
}

impl SpanRun<'_, '_> {
    /// Moves on to the next part. Returns whether there is one.
    fn locate(&mut self) -> Result<bool, StoreError> {
        while !self.left.is_empty() {
            let (part, zone) = match &mut self.parts {
                Parts::Whole => (self.left.clone(), None),
                Parts::Listed(listed) => {
                    let Some(part) = next_listed(listed, &self.left, self.source.query.direction)
                    else {
                        break;
                    };
                    let zone = self.zone_of(&part)?;
                    (part, zone)
                }
                Parts::Zones(_) => {
                    let Some(zone) = self.next_zone()? else { break };
                    (common(&zone.seqs, &self.left), Some(zone))
                }
            };
            self.pass(&part);
            if let Some(zone) = zone {
                if !self.is_wanted(&zone)? {
                    continue;
                }
                self.bound = match self.source.query.direction {
                    Direction::Forward => self.bound.max(zone.first_time),
                    Direction::Backward => self.bound.min(zone.last_time),
                };
            }
            self.part = part;
            return Ok(true);
        }
        self.left = self.left.start..self.left.start;
        Ok(false)
    }

    /// What is left lies behind the part.
    fn pass(&mut self, part: &Range<Seq>) {
        match self.source.query.direction {
            Direction::Forward => self.left.start = part.end,
            Direction::Backward => self.left.end = part.start,
        }
    }

    /// The zone in which a part begins, in the direction of reading.
    fn zone_of(&self, part: &Range<Seq>) -> Result<Option<Zone>, StoreError> {
        let first = self.source.query.direction.first_seq(part);
        self.source.shared.borrow_mut().reader.zone_holding(self.span.strand, first)
    }

    fn next_zone(&mut self) -> Result<Option<Zone>, StoreError> {
        let Parts::Zones(zones) = &mut self.parts else { return Ok(None) };
        if zones.is_empty() {
            let direction = self.source.query.direction;
            let from = direction.near(&self.left);
            let mut shared = self.source.shared.borrow_mut();
            *zones = shared.reader.zones(self.span.strand, from, direction, ZONES)?.into();
        }
        let next = zones.pop_front();
        Ok(next.filter(|zone| zone.seqs.start < self.left.end && zone.seqs.end > self.left.start))
    }

    /// Whether a zone may hold something that is wanted. What the index lists one by one is.
    fn is_wanted(&self, zone: &Zone) -> Result<bool, StoreError> {
        if matches!(self.parts, Parts::Listed(_)) {
            return Ok(true);
        }
        let Source { shared, cover, kinds, .. } = self.source;
        if !cover.meets(zone.author, &zone.seqs, &zone.offsets) {
            return Ok(false);
        }
        let Shared { reader, trace } = &mut *shared.borrow_mut();
        let wanted = holds_any(&mut **reader, zone, kinds.as_deref())?;
        if !wanted {
            trace.passed_by_kind(zone);
        }
        Ok(wanted)
    }

    /// Reads the large change that comes next, if one does, without building it again. Returns whether one
    /// was.
    fn pick(&mut self) -> Result<bool, StoreError> {
        let Source { shared, query, bound, after, .. } = self.source;
        let (direction, filter) = (query.direction, &query.filter);
        let mut shared = shared.borrow_mut();
        let few = filter.few();
        let few = few.as_ref().map(|few| few as ByNames<'_>);
        let Some(picked) = shared.reader.pick(self.span.strand, &self.part, direction, few)? else {
            return Ok(false);
        };
        shared.trace.picked(&picked, &self.part);
        let mut places = filter.picked(&picked, &self.part)?;
        let order = (query.order, direction);
        places.retain(|at| {
            let (seq, _) = picked.entries.place(*at);
            listed((picked.offset_of(seq), picked.merged_key(*at)), (*bound, *after), order)
        });
        if direction == Direction::Forward {
            places.reverse(); // the next one is the last
        }
        match direction {
            Direction::Forward => self.part.start = picked.seqs.end.min(self.part.end),
            Direction::Backward => self.part.end = picked.seqs.start.max(self.part.start),
        }
        self.ready = Ready::Picked(picked, places); // nothing was ready
        Ok(true)
    }

    fn fill(&mut self) -> Result<(), StoreError> {
        let Source { shared, query, bound, after, .. } = self.source;
        let direction = query.direction;
        while self.ready.is_empty() {
            if self.part.is_empty() && !self.locate()? {
                return Ok(());
            }
            if self.pick()? {
                continue;
            }
            let mut shared = shared.borrow_mut();
            let mut ready = VecDeque::new();
            let strand = self.span.strand;
            let part = self.part.clone();
            let arrivals = shared.reader.within(strand, part, direction, self.at_once)?;
            self.at_once = RUN_BYTES.min(self.at_once * 4);
            let Some(end) = arrivals.last() else {
                let (Strand { segment, .. }, at) = (strand, self.part.start);
                let what = format!("no entry {at} is found in segment {segment}");
                return Err(StoreError::Damaged(what));
            };
            for arrival in &arrivals {
                shared.trace.read(arrival, &query.filter, &self.part);
                let mut entries = query.filter.entries(arrival, self.part.start, self.part.end)?;
                if direction == Direction::Backward {
                    entries.reverse();
                }
                let order = (query.order, direction);
                let listed = |entry: &Entry| {
                    listed((entry.offset, entry.merged_key()), (*bound, *after), order)
                };
                ready.extend(entries.into_iter().filter(listed));
            }
            self.ready = Ready::Entries(ready);
            match direction {
                Direction::Forward => self.part.start = end.change.next_seq().min(self.part.end),
                Direction::Backward => self.part.end = end.change.first_seq.max(self.part.start),
            }
        }
        Ok(())
    }
}

/// The next of the ranges, which are in order and apart, as far as it is left.
fn next_listed(
    listed: &[Range<Seq>],
    left: &Range<Seq>,
    direction: Direction,
) -> Option<Range<Seq>> {
    let next = match direction {
        Direction::Forward => listed.get(listed.partition_point(|seqs| seqs.end <= left.start))?,
        Direction::Backward => {
            let before = listed.partition_point(|seqs| seqs.start < left.end);
            listed.get(before.checked_sub(1)?)?
        }
    };
    let part = common(next, left);
    (!part.is_empty()).then_some(part)
}

/// Whether an entry belongs to what is left of a listing.
fn listed(
    (offset, key): (Offset, MergedKey),
    (bound, last): (Offset, Option<Last>),
    (order, direction): (Order, Direction),
) -> bool {
    if offset >= bound {
        return false;
    }
    let Some(last) = last.filter(|_| order == Order::Time) else {
        return true;
    };
    let edge = (last.time, last.author, last.seq, last.segment, last.change);
    match direction {
        Direction::Forward => key > edge,
        Direction::Backward => key < edge,
    }
}

impl Run for SpanRun<'_, '_> {
    type Error = StoreError;

    fn bound(&self) -> Time {
        self.bound
    }

    fn sharpen(&mut self) -> Result<bool, StoreError> {
        if !self.ready.is_empty() || !self.part.is_empty() || matches!(self.parts, Parts::Whole) {
            return Ok(false);
        }
        self.locate()
    }

    fn read_on(&mut self) -> Result<(), StoreError> {
        self.fill()
    }

    fn next_key(&self) -> Option<MergedKey> {
        self.ready.next_key()
    }

    fn take(&mut self) -> Result<Option<Entry>, StoreError> {
        self.bound = self.ready.next_key().map_or(self.bound, |(time, ..)| time);
        self.ready.take()
    }
}
