//! Following: a snapshot of the log and then what comes, each entry once.
//!
//! A follower is a cursor over the store. The doorbell only tells it to look again, so it holds no
//! lock and no queue: a slow one costs its own lag, and loses nothing.

use std::collections::VecDeque;
use std::sync::Arc;

use super::cursor::{Cursor, Order};
use super::filter::Filter;
use super::forked;
use super::query::{QueryError, check_cursor, offset_of_last};
use super::reading::Reading;
use super::sync::watch;
use crate::core::merge::Direction;
use crate::store::StoreId;
use crate::words::{ChangeHash, Entry, NodeId, Offset, SegmentId, Seq, Time};

/// How many bytes of changes a follower reads at once.
const READ_BYTES: usize = 256 << 10;

/// Where a follower begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// With the first entry of the log.
    Start,
    /// With the next entry that comes.
    End,
    /// With the newest so many entries that pass the filter.
    Last(usize),
    /// Where a cursor of this store says.
    Cursor(Cursor),
}

/// What a follower sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Followed {
    /// An entry, in order of arrival.
    Entry {
        /// The entry.
        entry: Box<Entry>,
        /// Whether it sorts before one that this follower has seen: merged order has changed in
        /// the past.
        late: bool,
    },
    /// All that was in the log has been seen. It comes once, when the snapshot ends.
    CaughtUp,
}

/// A follower of the log. It ends when the node shuts down.
pub struct Follow {
    reading: Reading,
    watermark: watch::Receiver<Offset>,
    closing: watch::Receiver<bool>,
    filter: Arc<Filter>,
    store: StoreId,
    /// Everything below was looked at, and what passed is in the buffer or was given out.
    at: Offset,
    /// The offset after the entry that was given out last.
    given: Offset,
    /// The end of the snapshot, until it was reached.
    snapshot: Option<Offset>,
    newest: Option<(Time, NodeId, Seq, SegmentId, ChangeHash)>,
    buffer: VecDeque<Entry>,
}

impl Follow {
    pub(super) async fn new(
        reading: Reading,
        watermark: watch::Receiver<Offset>,
        closing: watch::Receiver<bool>,
        filter: Filter,
        from: From,
    ) -> Result<Self, QueryError> {
        let filter = Arc::new(filter);
        let wanted = filter.clone();
        let (store, at, end) = reading
            .run(move |reader| {
                let end = reader.watermark()?;
                let at = match from {
                    From::Start => Offset(0),
                    From::End => end,
                    From::Last(count) => offset_of_last(reader, &wanted, count)?,
                    From::Cursor(cursor) => {
                        check_cursor(&cursor, reader, end, Order::Arrival)?;
                        cursor.offset
                    }
                };
                Ok::<_, QueryError>((reader.id(), at, end))
            })
            .await?;
        Ok(Self {
            reading,
            watermark,
            closing,
            filter,
            store,
            at,
            given: at,
            snapshot: Some(end),
            newest: None,
            buffer: VecDeque::new(),
        })
    }

    /// The place after what was given out last: following from there misses nothing and repeats
    /// nothing.
    pub fn cursor(&self) -> Cursor {
        Cursor { store: self.store, offset: self.given, last: None }
    }

    /// What comes next; none when the node shuts down.
    ///
    /// # Errors
    /// The store can't be read.
    ///
    /// # Cancel safety
    /// A call that is dropped loses nothing.
    pub async fn next(&mut self) -> Result<Option<Followed>, QueryError> {
        loop {
            if let Some(end) = self.snapshot
                && self.buffer.front().map_or(self.at, |entry| entry.offset) >= end
            {
                self.snapshot = None;
                self.given = self.given.max(end);
                return Ok(Some(Followed::CaughtUp));
            }
            if let Some(entry) = self.buffer.pop_front() {
                self.given = entry.offset.plus(1);
                let late = self.newest.is_some_and(|newest| entry.merged_key() < newest);
                self.newest = self.newest.max(Some(entry.merged_key()));
                return Ok(Some(Followed::Entry { entry: Box::new(entry), late }));
            }
            self.given = self.at;
            if *self.closing.borrow() {
                return Ok(None);
            }
            let end = *self.watermark.borrow_and_update();
            if self.at < end {
                self.read().await?;
                continue;
            }
            tokio::select! {
                rung = self.watermark.changed() => if rung.is_err() { return Ok(None) },
                closed = self.closing.changed() => if closed.is_err() { return Ok(None) },
            }
        }
    }

    async fn read(&mut self) -> Result<(), QueryError> {
        let (at, filter) = (self.at, self.filter.clone());
        let (entries, next) = self
            .reading
            .run(move |reader| {
                let arrivals = reader.arrivals(at, Direction::Forward, READ_BYTES)?;
                let mut entries = VecDeque::new();
                let mut next = at;
                for arrival in &arrivals {
                    let passing = filter.all_entries(arrival)?;
                    entries.extend(passing.into_iter().filter(|entry| entry.offset >= at));
                    next = arrival.end();
                }
                forked::mark(reader, &mut entries)?;
                Ok::<_, QueryError>((entries, next))
            })
            .await?;
        self.buffer = entries;
        self.at = next;
        Ok(())
    }
}
