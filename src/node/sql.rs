//! The log as tables for SQL: what the tables ask for is listed by the same queries that answer
//! everybody else.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use super::cursor::{Cursor, Order};
use super::filter::Filter;
use super::forked;
use super::query::{self, Query, QueryError};
use crate::core::merge::Direction;
use crate::store::sqlite::SqliteReader;
use crate::store::sqlite::view::{Facts, Listed, Listing, ListingOpener, SqlView, Wanted};
pub use crate::store::sqlite::view::{SqlError, Value};
use crate::store::{OpenError, Reader, Span, StoreError};
use crate::words::{Entry, Kind, Offset, Seq, Tenant, Topic};

/// How many entries the first page of a listing has, and how many a later one has at most: a
/// statement with a LIMIT reads little, one without it not often.
const FIRST_PAGE: usize = 128;
const PAGE: usize = 4_096;
/// How many bytes of changes of one segment are read at once.
const READ_BYTES: usize = 256 << 10;

/// Opens the log of a data directory, or a store's file, as tables. A statement may run until
/// `deadline`. The log is seen as it was when it was opened, but for a segment that grows meanwhile.
///
/// # Errors
/// There is no store, or it is none that this towline can read.
pub fn open(place: &Path, deadline: Instant) -> Result<SqlView, SqlOpenError> {
    let path = if place.is_dir() { super::directory::store_path(place) } else { place.to_owned() };
    let mut reader = SqliteReader::open(&path)?.snapshot()?;
    let watermark = reader.watermark()?;
    let spans = reader.spans(None)?;
    let (owner, emits) = (reader.owner(), reader.emits()?);
    let facts = Facts {
        node: owner.node.to_string(),
        cluster: owner.cluster.to_string(),
        entries: watermark.0,
        emitted: emits.next.0,
        recorded: emits.recorded,
        dropped: emits.dropped,
    };
    let opener: ListingOpener = Arc::new(move || open_listing(path.clone(), watermark));
    Ok(SqlView::open(opener, &spans, &facts, deadline)?)
}

/// Says why a log can't be opened as tables.
#[derive(Debug, thiserror::Error)]
pub enum SqlOpenError {
    /// There is no store that can be read.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// It can't be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// SQLite can't be set up.
    #[error(transparent)]
    Sql(#[from] SqlError),
}

fn open_listing(path: PathBuf, watermark: Offset) -> Result<Box<dyn Listing>, StoreError> {
    let reader = SqliteReader::open(&path).map_err(|error| match error {
        OpenError::Store(error) => error,
        other => StoreError::Failed(other.to_string()),
    })?;
    let (source, buffer) = (Source::End, VecDeque::new());
    let bounds = (Offset(0)..watermark, Seq(0)..Seq(u64::MAX));
    Ok(Box::new(Entries { reader, watermark, source, bounds, buffer }))
}

/// Where the next entries come from.
enum Source {
    /// Pages of a query.
    Pages(Box<Query>),
    /// Strands of one author, and the place in the first of them.
    Strands { filter: Box<Filter>, spans: VecDeque<Span>, at: Seq },
    /// Nowhere.
    End,
}

/// Entries of a log, listed as a table asks for them.
struct Entries {
    reader: SqliteReader,
    /// What came later is not there.
    watermark: Offset,
    source: Source,
    bounds: (std::ops::Range<Offset>, std::ops::Range<Seq>),
    buffer: VecDeque<Entry>,
}

impl Listing for Entries {
    fn list(&mut self, wanted: &Wanted) -> Result<(), StoreError> {
        self.buffer.clear();
        self.source = Source::End;
        let end = wanted.offsets.end.min(self.watermark);
        self.bounds = (wanted.offsets.start..end, wanted.seqs.clone());
        let Some(filter) = filter(wanted) else { return Ok(()) };
        if self.bounds.0.is_empty() || self.bounds.1.is_empty() {
            return Ok(());
        }
        if let Some(id) = wanted.id {
            let found = query::find(&mut self.reader, id)?;
            self.take(found);
            return Ok(());
        }
        let bounded = self.bounds.1 != (Seq(0)..Seq(u64::MAX));
        self.source = match wanted.author.filter(|_| bounded) {
            Some(author) => {
                let mut spans = self.reader.spans(Some(author))?;
                let seqs = self.bounds.1.clone();
                spans.retain(|span| span.first_seq < seqs.end && span.next_seq > seqs.start);
                spans.sort_by_key(|span| (span.first_seq, span.strand));
                let at = seqs.start;
                Source::Strands { filter: Box::new(filter), spans: spans.into(), at }
            }
            None => Source::Pages(Box::new(self.query(wanted.order, filter))),
        };
        Ok(())
    }

    fn next_entry(&mut self) -> Result<Option<Entry>, StoreError> {
        loop {
            if let Some(entry) = self.buffer.pop_front() {
                return Ok(Some(entry));
            }
            match std::mem::replace(&mut self.source, Source::End) {
                Source::End => return Ok(None),
                Source::Pages(query) => self.read_page(query)?,
                Source::Strands { filter, spans, at } => self.read_strand(filter, spans, at)?,
            }
        }
    }
}

impl Entries {
    fn query(&self, order: Listed, filter: Filter) -> Query {
        let (order, direction) = match order {
            Listed::Merged(direction) => (Order::Time, direction),
            Listed::Arrival(direction) => (Order::Arrival, direction),
        };
        let mut query = Query::in_order(order).filter(filter).limit(FIRST_PAGE);
        query.direction = direction;
        if order == Order::Arrival {
            let offsets = &self.bounds.0;
            let offset = match direction {
                Direction::Forward => offsets.start,
                Direction::Backward => offsets.end,
            };
            query.after = Some(Cursor { store: self.reader.id(), offset, last: None });
        }
        query
    }

    fn read_page(&mut self, mut query: Box<Query>) -> Result<(), StoreError> {
        let page = query::page(&mut self.reader, &query).map_err(|error| match error {
            QueryError::Store(error) => error,
            other => StoreError::Failed(other.to_string()),
        })?;
        // By arrival, all that follows the end of what is wanted lies beyond it as well.
        let offsets = &self.bounds.0;
        let beyond = page.entries.last().is_some_and(|last| match query.direction {
            Direction::Forward => last.offset >= offsets.end,
            Direction::Backward => last.offset < offsets.start,
        });
        let ended = query.order == Order::Arrival && beyond;
        if let Some(next) = page.next.filter(|_| !ended) {
            query.limit = (query.limit * 2).min(PAGE);
            query.after = Some(next);
            self.source = Source::Pages(query);
        }
        self.take(page.entries);
        Ok(())
    }

    fn read_strand(
        &mut self,
        filter: Box<Filter>,
        mut spans: VecDeque<Span>,
        at: Seq,
    ) -> Result<(), StoreError> {
        let Some(span) = spans.front().copied() else { return Ok(()) };
        let seqs = self.bounds.1.clone();
        let at = at.max(span.first_seq);
        let arrivals = self.reader.of_strand(span.strand, at, Direction::Forward, READ_BYTES)?;
        let mut entries = Vec::new();
        for arrival in &arrivals {
            entries.extend(filter.entries(arrival, at, seqs.end)?);
        }
        forked::mark(&mut self.reader, &mut entries)?;
        let reached = arrivals.last().map_or(span.next_seq, |last| last.change.next_seq());
        let ended = reached >= span.next_seq.min(seqs.end);
        if ended {
            spans.pop_front();
        }
        let at = if ended { seqs.start } else { reached };
        self.source = Source::Strands { filter, spans, at };
        self.take(entries);
        Ok(())
    }

    /// Keeps what lies within the bounds.
    fn take(&mut self, entries: Vec<Entry>) {
        let (offsets, seqs) = &self.bounds;
        let wanted = |entry: &Entry| offsets.contains(&entry.offset) && seqs.contains(&entry.seq);
        self.buffer.extend(entries.into_iter().filter(wanted));
    }
}

/// What is wanted as a filter; none when nothing can pass it.
fn filter(wanted: &Wanted) -> Option<Filter> {
    let names = (&wanted.tenant, &wanted.topic, &wanted.kind);
    let (tenant, topic, kind) = names;
    let parsed = Filter {
        author: wanted.author,
        tenant: tenant.as_deref().map(Tenant::parse).transpose().ok()?,
        topic: topic.as_deref().map(Topic::parse).transpose().ok()?,
        kind: kind.as_deref().map(Kind::parse).transpose().ok()?,
        since: wanted.since,
        until: wanted.until,
        ..Filter::all()
    };
    (!wanted.nothing).then_some(parsed)
}

#[cfg(test)]
mod tests;
