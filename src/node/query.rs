//! Queries: pages of the log in time, arrival or author order.
//!
//! They run on a [`Reader`], so a running node and a data directory on which no node runs answer
//! alike. Merged order is a k-way merge over segments, each of which is sorted already; a page
//! reads what it returns and little more, and memory does not grow with the log.

use std::cell::RefCell;
use std::cmp::Ordering;
use std::collections::VecDeque;

use super::cursor::{Cursor, CursorError, Last, Order};
use super::filter::{Filter, Gaps};
use super::forked;
use crate::core::log::Arrival;
use crate::core::merge::{Direction, Merge, Run};
use crate::core::segment::Strand;
use crate::store::{Reader, Span, StoreError};
use crate::words::time::Moment;
use crate::words::{Entry, EntryId, NodeId, Offset, Seq, Time};

/// How many entries a page holds when nothing is said.
pub const PAGE_ENTRIES: usize = 100;
/// How many entries a page may hold.
pub const PAGE_ENTRIES_MOST: usize = 10_000;
/// A page ends after so many bytes of payload, whatever its limit.
pub const PAGE_BYTES: usize = 16 << 20;
/// How many bytes of changes a run reads ahead.
const RUN_BYTES: usize = 64 << 10;

/// Says why a query has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// The cursor is not one of this node, or of another listing.
    #[error(transparent)]
    Cursor(#[from] CursorError),
    /// The limit is out of bounds.
    #[error("a limit is 1 to {PAGE_ENTRIES_MOST}, and this is {0}")]
    Limit(usize),
    /// The store can't be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Query {
    /// In which order.
    pub order: Order,
    /// Oldest or newest first.
    pub direction: Direction,
    /// Which entries.
    pub filter: Filter,
    /// How many at most.
    pub limit: usize,
    /// How many bytes of payload end a page; it holds an entry all the same.
    pub bytes: usize,
    /// Where the last page ended.
    pub after: Option<Cursor>,
}

impl Default for Query {
    fn default() -> Self {
        Self {
            order: Order::Time,
            direction: Direction::Forward,
            filter: Filter::all(),
            limit: PAGE_ENTRIES,
            bytes: PAGE_BYTES,
            after: None,
        }
    }
}

impl Query {
    /// The log in merged order, oldest first.
    pub fn merged() -> Self {
        Self::default()
    }

    /// The log in this order.
    pub fn in_order(order: Order) -> Self {
        Self { order, ..Self::default() }
    }

    /// Only these entries.
    pub fn filter(mut self, filter: Filter) -> Self {
        self.filter = filter;
        self
    }

    /// Only entries at or after a moment: a [`Time`], or a duration before now.
    pub fn since(mut self, moment: impl Into<Moment>) -> Self {
        self.filter.since = Some(moment.into().time(super::wall_millis()));
        self
    }

    /// Only entries before a moment.
    pub fn until(mut self, moment: impl Into<Moment>) -> Self {
        self.filter.until = Some(moment.into().time(super::wall_millis()));
        self
    }

    /// At most so many entries in a page.
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    /// A page that ends after so many bytes of payload, [`PAGE_BYTES`] at most.
    pub fn bytes(mut self, bytes: usize) -> Self {
        self.bytes = bytes.min(PAGE_BYTES);
        self
    }

    /// The newest first.
    pub fn reverse(mut self) -> Self {
        self.direction = Direction::Backward;
        self
    }

    /// What follows the page that ended here.
    pub fn after(mut self, cursor: Cursor) -> Self {
        self.after = Some(cursor);
        self
    }
}

/// A page of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The entries, in the order asked for.
    pub entries: Vec<Entry>,
    /// Where the next page begins; none at the end.
    pub next: Option<Cursor>,
}

impl Page {
    fn is_full(&self, query: &Query, bytes: usize) -> bool {
        self.entries.len() >= query.limit || bytes >= query.bytes
    }
}

/// Answers a query from a store.
///
/// # Errors
/// See [`QueryError`].
pub fn page(reader: &mut dyn Reader, query: &Query) -> Result<Page, QueryError> {
    if query.limit == 0 || query.limit > PAGE_ENTRIES_MOST {
        return Err(QueryError::Limit(query.limit));
    }
    let watermark = reader.watermark()?;
    if let Some(cursor) = &query.after {
        check_cursor(cursor, reader, watermark, query.order)?;
    }
    let mut page = match query.order {
        Order::Arrival => by_arrival(reader, query, watermark),
        Order::Time | Order::Author => by_spans(reader, query, watermark),
    }?;
    forked::mark(reader, &mut page.entries)?;
    Ok(page)
}

/// Whether a cursor is a place in this store, for a listing in this order.
///
/// # Errors
/// It is not.
pub fn check_cursor(
    cursor: &Cursor,
    reader: &dyn Reader,
    watermark: Offset,
    order: Order,
) -> Result<(), CursorError> {
    if cursor.store != reader.id() {
        return Err(CursorError::OtherStore);
    }
    if cursor.offset > watermark {
        return Err(CursorError::BeyondEnd);
    }
    let listed = cursor.last.map_or(Order::Arrival, |last| last.order);
    if listed == order { Ok(()) } else { Err(CursorError::OtherOrder) }
}

fn by_arrival(
    reader: &mut dyn Reader,
    query: &Query,
    watermark: Offset,
) -> Result<Page, QueryError> {
    let store = reader.id();
    let start = match query.direction {
        Direction::Forward => Offset(0),
        Direction::Backward => watermark,
    };
    let mut at = query.after.map_or(start, |cursor| cursor.offset);
    let mut page = Page { entries: Vec::new(), next: None };
    let mut bytes = 0;
    loop {
        let arrivals = arrivals_at(reader, at, query.direction)?;
        if arrivals.is_empty() {
            return Ok(page);
        }
        for arrival in &arrivals {
            let mut entries = query.filter.all_entries(arrival)?;
            if query.direction == Direction::Backward {
                entries.reverse();
            }
            for entry in entries {
                let wanted = match query.direction {
                    Direction::Forward => entry.offset >= at,
                    Direction::Backward => entry.offset < at,
                };
                if !wanted {
                    continue;
                }
                if page.is_full(query, bytes) {
                    page.next = Some(Cursor { store, offset: at, last: None });
                    return Ok(page);
                }
                at = match query.direction {
                    Direction::Forward => entry.offset.plus(1),
                    Direction::Backward => entry.offset,
                };
                bytes += entry.body.size();
                page.entries.push(entry);
            }
            at = match query.direction {
                Direction::Forward => arrival.end(),
                Direction::Backward => arrival.offset,
            };
        }
    }
}

/// Changes from an offset on; backward, the one that the offset lies in comes first.
fn arrivals_at(
    reader: &mut dyn Reader,
    at: Offset,
    direction: Direction,
) -> Result<Vec<Arrival>, StoreError> {
    if direction == Direction::Backward && at > Offset(0) {
        let around = reader.arrivals(Offset(at.0 - 1), Direction::Forward, 1)?;
        let inside = |a: &Arrival| a.end() > at;
        if around.first().is_some_and(inside) {
            return Ok(around);
        }
    }
    reader.arrivals(at, direction, RUN_BYTES)
}

fn by_spans(reader: &mut dyn Reader, query: &Query, watermark: Offset) -> Result<Page, QueryError> {
    let store = reader.id();
    let bound = query.after.map_or(watermark, |cursor| cursor.offset);
    let after = query.after.and_then(|cursor| cursor.last);
    let mut spans = reader.spans(query.filter.author)?;
    if query.filter.author.is_none() {
        check_complete(&spans, watermark)?;
    }
    spans.retain(|span| query.filter.admits_times(span.first_time, span.last_time));
    let edge = match after.filter(|_| query.order == Order::Author) {
        Some(last) => Some(edge_of_author_order(reader, &last)?),
        None => None,
    };
    let reader = RefCell::new(reader);
    let source = Source { reader: &reader, query, bound, after, edge };
    let mut page = Page { entries: Vec::new(), next: None };
    let mut bytes = 0;
    for group in groups(spans, query) {
        let runs: Result<Vec<SpanRun<'_, '_>>, StoreError> =
            group.into_iter().filter_map(|span| source.run(span).transpose()).collect();
        let mut merge = Merge::new(runs?, query.direction);
        while let Some(entry) = merge.next_entry()? {
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
            bytes += entry.body.size();
            page.entries.push(entry);
        }
    }
    Ok(page)
}

/// Every entry below the watermark lies in a span: one that the store doesn't name is damage, and
/// would be left out without a word.
fn check_complete(spans: &[Span], watermark: Offset) -> Result<(), StoreError> {
    let named: u64 = spans.iter().map(|s| s.next_seq.0.saturating_sub(s.first_seq.0)).sum();
    if named >= watermark.0 {
        return Ok(());
    }
    let what = format!("its segments name {named} entries of {watermark}");
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

/// What all runs of one page share.
struct Source<'a, 'r> {
    reader: &'a RefCell<&'r mut dyn Reader>,
    query: &'a Query,
    /// Entries that arrived at or after this offset don't belong to the listing.
    bound: Offset,
    after: Option<Last>,
    /// In author order, the span in which the last page ended.
    edge: Option<(NodeId, Seq, Strand)>,
}

/// The span in which the last page of a listing in author order ended.
fn edge_of_author_order(
    reader: &mut dyn Reader,
    last: &Last,
) -> Result<(NodeId, Seq, Strand), StoreError> {
    let held = reader.find(last.author, last.seq)?;
    let found = held.iter().find(|arrival| arrival.change.hash == last.change);
    let strand = found.map_or(Strand::first(last.segment), Arrival::strand);
    let spans = reader.spans(Some(last.author))?;
    let span = spans.iter().find(|span| span.strand == strand);
    Ok((last.author, span.map_or(last.seq, |span| span.first_seq), strand))
}

impl<'a, 'r> Source<'a, 'r> {
    /// The run of a span from where the listing goes on; none when nothing of it is left.
    fn run(&self, span: Span) -> Result<Option<SpanRun<'a, 'r>>, StoreError> {
        let direction = self.query.direction;
        let (mut low, mut high) = (span.first_seq, span.next_seq);
        let mut reader = self.reader.borrow_mut();
        if let Some(since) = self.query.filter.since.filter(|since| *since > span.first_time) {
            low = reader.seek_time(span.strand, since)?;
        }
        if let Some(last) = &self.after {
            let place = match self.edge {
                Some(edge) => (span.author, span.first_seq, span.strand).cmp(&edge),
                None => Ordering::Equal,
            };
            match (self.edge.is_some(), direction, place) {
                (true, Direction::Forward, Ordering::Less)
                | (true, Direction::Backward, Ordering::Greater) => return Ok(None),
                (true, Direction::Forward, Ordering::Equal) => low = low.max(last.seq.plus(1)),
                (true, Direction::Backward, Ordering::Equal) => high = high.min(last.seq),
                (true, ..) => {}
                (false, Direction::Forward, _) => {
                    low = low.max(reader.seek_time(span.strand, last.time)?);
                }
                (false, Direction::Backward, _) => {
                    // The change that holds the time is read, and what is above it left out.
                    let next = last.time.next().unwrap_or(Time::MAX);
                    let above = reader.seek_time(span.strand, next)?;
                    let change = reader.of_strand(span.strand, above, Direction::Forward, 1)?;
                    high = change.first().map_or(high, |a| a.change.next_seq()).min(high);
                }
            }
        }
        let bound = match direction {
            Direction::Forward => span.first_time,
            Direction::Backward => span.last_time,
        };
        drop(reader);
        let at = if direction == Direction::Forward { low } else { high };
        Ok((low < high).then(|| SpanRun {
            reader: self.reader,
            query: self.query,
            listing: (self.bound, self.after),
            span,
            low,
            high,
            at,
            bound,
            buffer: VecDeque::new(),
        }))
    }
}

/// A segment as a sorted run of the entries that a query wants.
struct SpanRun<'a, 'r> {
    reader: &'a RefCell<&'r mut dyn Reader>,
    query: &'a Query,
    /// The offset that bounds the listing, and the last entry that was listed.
    listing: (Offset, Option<Last>),
    span: Span,
    low: Seq,
    high: Seq,
    at: Seq,
    bound: Time,
    buffer: VecDeque<Entry>,
}

impl SpanRun<'_, '_> {
    fn fill(&mut self) -> Result<(), StoreError> {
        let direction = self.query.direction;
        while self.buffer.is_empty()
            && self.low < self.high
            && self.low <= self.at
            && self.at <= self.high
        {
            let arrivals = self.reader.borrow_mut().of_strand(
                self.span.strand,
                self.at,
                direction,
                RUN_BYTES,
            )?;
            let Some(end) = arrivals.last() else {
                let Strand { segment, .. } = self.span.strand;
                let what = format!("no entry {} is found in segment {segment}", self.at);
                return Err(StoreError::Damaged(what));
            };
            let reached = match direction {
                Direction::Forward => end.change.next_seq(),
                Direction::Backward => end.change.first_seq,
            };
            for arrival in &arrivals {
                let mut entries = self.query.filter.entries(arrival, self.low, self.high)?;
                if direction == Direction::Backward {
                    entries.reverse();
                }
                let listing = self.listing;
                let order = (self.query.order, direction);
                self.buffer
                    .extend(entries.into_iter().filter(|entry| listed(entry, listing, order)));
            }
            match direction {
                Direction::Forward if reached >= self.high => self.low = self.high,
                Direction::Backward if reached <= self.low => self.high = self.low,
                _ => {}
            }
            self.at = reached;
        }
        Ok(())
    }
}

/// Whether an entry belongs to what is left of a listing.
fn listed(
    entry: &Entry,
    (bound, last): (Offset, Option<Last>),
    (order, direction): (Order, Direction),
) -> bool {
    if entry.offset >= bound {
        return false;
    }
    let Some(last) = last.filter(|_| order == Order::Time) else {
        return true;
    };
    let edge = (last.time, last.author, last.seq, last.segment, last.change);
    match direction {
        Direction::Forward => entry.merged_key() > edge,
        Direction::Backward => entry.merged_key() < edge,
    }
}

impl Run for SpanRun<'_, '_> {
    type Error = StoreError;

    fn bound(&self) -> Time {
        self.bound
    }

    fn next_entry(&mut self) -> Result<Option<Entry>, StoreError> {
        if self.buffer.is_empty() {
            self.fill()?;
        }
        Ok(self.buffer.pop_front())
    }
}

/// One entry by name; two or more where branches share the seq and no segment is named.
///
/// # Errors
/// The store can't be read.
pub fn find(reader: &mut dyn Reader, id: EntryId) -> Result<Vec<Entry>, StoreError> {
    let mut entries = Vec::new();
    for arrival in reader.find(id.author, id.seq)? {
        if id.segment.is_none_or(|segment| segment == arrival.change.segment) {
            entries.extend(Filter::all().entries(&arrival, id.seq, id.seq.plus(1))?);
        }
    }
    forked::mark(reader, &mut entries)?;
    Ok(entries)
}

/// The offset from which the newest `count` entries that pass follow.
///
/// # Errors
/// The store can't be read.
pub fn offset_of_last(
    reader: &mut dyn Reader,
    filter: &Filter,
    count: usize,
) -> Result<Offset, StoreError> {
    let mut at = reader.watermark()?;
    let mut left = count;
    while left > 0 {
        let arrivals = reader.arrivals(at, Direction::Backward, RUN_BYTES)?;
        if arrivals.is_empty() {
            break;
        }
        for arrival in &arrivals {
            let entries = filter.all_entries(arrival)?;
            if let Some(first) = entries.len().checked_sub(left) {
                return Ok(entries[first].offset);
            }
            left -= entries.len();
            at = arrival.offset;
        }
    }
    Ok(at)
}

/// All gaps, in merged order.
pub fn gaps() -> Query {
    Query::merged().filter(Filter { gaps: Gaps::Only, ..Filter::all() })
}
