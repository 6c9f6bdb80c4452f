//! Queries: pages of the log in time, arrival or author order.
//!
//! They run on a [`Reader`], so a running node and a data directory on which no node runs answer
//! alike. Merged order is a k-way merge over segments, each of which is sorted already; a page
//! reads what it returns and little more, and memory does not grow with the log. What can't hold
//! anything that a filter wants is not read, and [`explain`] says so.

use super::arriving::Arriving;
use super::cursor::{Cursor, CursorError, Order};
use super::explain::{Explanation, Trace};
use super::filter::{Filter, Gaps};
use super::{forked, runs};
use crate::core::merge::Direction;
use crate::store::{Reader, StoreError, at_once};
use crate::words::time::Moment;
use crate::words::{Entry, EntryId, Offset};

/// How many entries a page holds when nothing is said.
pub const PAGE_ENTRIES: usize = 100;
/// How many entries a page may hold.
pub const PAGE_ENTRIES_MOST: usize = 10_000;
/// A page ends after so many bytes of payload, whatever its limit.
pub const PAGE_BYTES: usize = 16 << 20;

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

    /// Only entries at or after a moment: a [`Time`](crate::words::Time), or a duration before now.
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
    pub(super) fn is_full(&self, query: &Query, bytes: usize) -> bool {
        self.entries.len() >= query.limit || bytes >= query.bytes
    }
}

/// Answers a query from a store.
///
/// # Errors
/// See [`QueryError`].
pub fn page(reader: &mut dyn Reader, query: &Query) -> Result<Page, QueryError> {
    at_once(reader, |reader| list(reader, query, &mut Trace::default()))
}

/// Answers a query, and says what was read for it.
///
/// # Errors
/// See [`QueryError`].
pub fn explain(reader: &mut dyn Reader, query: &Query) -> Result<(Page, Explanation), QueryError> {
    at_once(reader, |reader| {
        let mut trace = Trace::detailed();
        let page = list(reader, query, &mut trace)?;
        let explanation = trace.explain(reader, query, page.entries.len())?;
        Ok((page, explanation))
    })
}

fn list(reader: &mut dyn Reader, query: &Query, trace: &mut Trace) -> Result<Page, QueryError> {
    if query.limit == 0 || query.limit > PAGE_ENTRIES_MOST {
        return Err(QueryError::Limit(query.limit));
    }
    let watermark = reader.watermark()?;
    if let Some(cursor) = &query.after {
        match (query.order, query.direction) {
            (Order::Arrival, Direction::Forward) => check_place(cursor, reader, watermark)?,
            (order, _) => check_cursor(cursor, reader, watermark, order)?,
        }
    }
    let mut page = match query.order {
        Order::Arrival => by_arrival(reader, query, watermark, trace),
        Order::Time | Order::Author => runs::page(reader, query, watermark, trace),
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

/// Whether a cursor is a place in this store from which the order of arrival can be read on: nothing that
/// follows it was removed.
///
/// # Errors
/// It is not, or the store can't be read.
pub fn check_place(
    cursor: &Cursor,
    reader: &mut dyn Reader,
    watermark: Offset,
) -> Result<(), QueryError> {
    check_cursor(cursor, reader, watermark, Order::Arrival)?;
    match reader.removed_within(cursor.offset..watermark)? {
        true => Err(CursorError::Pruned.into()),
        false => Ok(()),
    }
}

fn by_arrival(
    reader: &mut dyn Reader,
    query: &Query,
    watermark: Offset,
    trace: &mut Trace,
) -> Result<Page, QueryError> {
    let (store, direction) = (reader.id(), query.direction);
    let start = match direction {
        Direction::Forward => Offset(0),
        Direction::Backward => watermark,
    };
    let mut at = query.after.map_or(start, |cursor| cursor.offset);
    let mut page = Page { entries: Vec::new(), next: None };
    let mut bytes = 0;
    let mut arriving = Arriving::new(reader, &query.filter, at, direction)?;
    while let Some(held) = arriving.next(reader, trace)? {
        for held in &held {
            held.trace(trace, &query.filter);
            let mut entries = held.entries(&query.filter)?;
            if direction == Direction::Backward {
                entries.reverse();
            }
            for entry in entries {
                let wanted = match direction {
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
                at = match direction {
                    Direction::Forward => entry.offset.plus(1),
                    Direction::Backward => entry.offset,
                };
                bytes += entry.body.size();
                page.entries.push(entry);
            }
            at = match direction {
                Direction::Forward => held.end(),
                Direction::Backward => held.offset(),
            };
        }
    }
    Ok(page)
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

/// Whether an entry lies in a segment that was removed, here or elsewhere before it came.
///
/// # Errors
/// The store can't be read.
pub fn is_removed(reader: &mut dyn Reader, id: EntryId) -> Result<bool, StoreError> {
    let pruned = reader.pruned(Some(id.author))?;
    Ok(pruned.iter().any(|cut| {
        let is_meant = id.segment.is_none_or(|segment| segment == cut.opening.segment());
        is_meant && (cut.first_seq()..cut.next_seq).contains(&id.seq)
    }))
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
    let end = reader.watermark()?;
    if count == 0 {
        return Ok(end);
    }
    let (mut left, mut trace) = (count, Trace::default());
    let mut arriving = Arriving::new(reader, filter, end, Direction::Backward)?;
    while let Some(held) = arriving.next(reader, &mut trace)? {
        for held in &held {
            let entries = held.entries(filter)?;
            if let Some(first) = entries.len().checked_sub(left) {
                return Ok(entries[first].offset);
            }
            left -= entries.len();
        }
    }
    Ok(Offset(0))
}

/// All gaps, in merged order.
pub fn gaps() -> Query {
    Query::merged().filter(Filter { gaps: Gaps::Only, ..Filter::all() })
}

#[cfg(test)]
mod tests;
