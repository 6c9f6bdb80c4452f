//! Following: a snapshot of the log and then what comes, each entry once.
//!
//! A follower is a cursor over the store. The doorbell only tells it to look again, so it holds no
//! lock and no queue: a slow one costs its own lag, and loses nothing. Those that keep up share what
//! they read, see [`super::tail`]; one that reads the past for itself keeps little of it while many do.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError};

use super::arriving::Arriving;
use super::cursor::Cursor;
use super::explain::Trace;
use super::filter::Filter;
use super::forked;
use super::frontier_cursor::FrontierCursor;
use super::kept::Kept;
use super::position;
use super::query::{QueryError, check_place, offset_of_last};
use super::reading::Reading;
use super::seen::{Passing, Resumed, Seen};
use super::sync::{Mutex, watch};
use crate::core::frontier::Frontier;
use crate::core::log::Arrival;
use crate::core::merge::Direction;
use crate::store::{Reader, StoreError, StoreId};
use crate::words::{ChangeHash, Entry, NodeId, Offset, SegmentId, Seq, Time};

/// How many bytes of changes a follower reads at once.
const READ_BYTES: usize = 256 << 10;

/// Where a follower begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum From {
    /// With the first entry of the log.
    Start,
    /// With the next entry that comes.
    End,
    /// With the newest so many entries that pass the filter.
    Last(usize),
    /// Where a cursor of this store says.
    Cursor(Cursor),
    /// Where a cursor of any node of the cluster says.
    Frontier(FrontierCursor),
}

/// What a follower sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Followed {
    /// An entry, in order of arrival.
    Entry {
        /// The entry.
        entry: Arc<Entry>,
        /// Whether it sorts before one that this follower has seen: merged order has changed in
        /// the past.
        late: bool,
    },
    /// All that was in the log has been seen. It comes once, when the snapshot ends.
    CaughtUp,
    /// Entries were removed that came after the follower's place, or since it began, and that it has not
    /// seen. What is left follows.
    Reset,
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
    /// Of what lies from here on, nothing may be missing without a word.
    owed: Offset,
    /// Whether it has to be said that something is.
    reset: bool,
    /// The end of the snapshot, until it was reached.
    snapshot: Option<Offset>,
    newest: Option<(Time, NodeId, Seq, SegmentId, ChangeHash)>,
    buffer: VecDeque<Arc<Entry>>,
    /// The room that the buffer takes.
    room: Kept,
    /// What was read of every branch, for a follower whose place other nodes understand.
    seen: Option<Arc<Mutex<Seen>>>,
    /// The changes of the buffer and those passed over, until the place has moved over them.
    passing: VecDeque<Passing>,
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
        let owes = matches!(from, From::Cursor(_) | From::Frontier(_));
        let (store, (at, seen), end) = reading
            .run(move |reader| {
                let end = reader.watermark()?;
                let begin = match from {
                    From::Start => (Offset(0), None),
                    From::End => (end, None),
                    From::Last(count) => (offset_of_last(reader, &wanted, count)?, None),
                    From::Cursor(cursor) => {
                        check_place(&cursor, reader, end)?;
                        (cursor.offset, None)
                    }
                    From::Frontier(place) => {
                        let Resumed { seen, at, .. } = position::resume(reader, &place, end)?;
                        (at, Some(seen))
                    }
                };
                Ok::<_, QueryError>((reader.id(), begin, end))
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
            owed: if owes { at } else { end },
            reset: false,
            snapshot: Some(end),
            newest: None,
            buffer: VecDeque::new(),
            room: Kept::default(),
            seen: seen.map(|seen| Arc::new(Mutex::new(seen))),
            passing: VecDeque::new(),
        })
    }

    /// The place after what was given out last: following from there misses nothing and repeats
    /// nothing.
    pub fn cursor(&self) -> Cursor {
        Cursor { store: self.store, offset: self.given, last: None }
    }

    /// From now on, keeps the place that other nodes understand, too. It costs a look at every
    /// change that arrived before the follower's place.
    ///
    /// # Errors
    /// The store can't be read.
    pub async fn keep_frontier(&mut self) -> Result<(), QueryError> {
        if self.seen.is_none() {
            let at = self.given;
            let seen = self.reading.run(move |reader| Seen::before(reader, at)).await?;
            self.seen = Some(Arc::new(Mutex::new(seen)));
            self.rewind(at);
        }
        Ok(())
    }

    /// The place after what was given out last, as any node of the cluster understands it; none
    /// unless it is kept.
    pub fn frontier(&mut self) -> Option<Frontier> {
        let seen = self.seen.as_ref()?;
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(passing) = self.passing.front() {
            seen.pass(passing, self.given);
            if passing.end() > self.given {
                break;
            }
            self.passing.pop_front();
        }
        Some(seen.frontier())
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
            if std::mem::take(&mut self.reset) {
                return Ok(Some(Followed::Reset));
            }
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
                return Ok(Some(Followed::Entry { entry, late }));
            }
            self.given = self.at;
            self.room = Kept::default();
            if *self.closing.borrow() {
                return Ok(None);
            }
            let end = *self.watermark.borrow_and_update();
            if self.at < end {
                self.read(end).await?;
                continue;
            }
            tokio::select! {
                rung = self.watermark.changed() => if rung.is_err() { return Ok(None) },
                closed = self.closing.changed() => if closed.is_err() { return Ok(None) },
            }
        }
    }

    /// Lets go what was read and not given out, and gives the last entry out again.
    pub fn put_back(&mut self, entry: &Entry) {
        self.rewind(entry.offset);
    }

    fn rewind(&mut self, to: Offset) {
        (self.at, self.given) = (to, to);
        // What is read again passes again.
        self.passing.retain(|passing| passing.end() <= to);
        self.keep(VecDeque::new());
    }

    async fn read(&mut self, end: Offset) -> Result<(), QueryError> {
        if let Some(seen) = self.seen.clone() {
            return self.read_unseen(seen).await;
        }
        if let Some((entries, next)) = self.reading.tail().from(self.at, end, &self.reading).await?
        {
            let passing = entries.into_iter().filter(|entry| self.filter.passes(entry));
            // What lies in the tail is there once, however many followers hold it.
            self.buffer = passing.collect();
            self.at = next;
            return Ok(());
        }
        let (at, owed, filter) = (self.at, self.owed, self.filter.clone());
        let (entries, next, removed) = self
            .reading
            .run(move |reader| {
                let (mut entries, next) = read_on(reader, &filter, at)?;
                forked::mark(reader, &mut entries)?;
                let removed = next > owed && reader.removed_within(at.max(owed)..next)?;
                Ok::<_, QueryError>((entries, next, removed))
            })
            .await?;
        (self.at, self.reset) = (next, removed);
        self.keep(entries.into_iter().map(Arc::new).collect());
        Ok(())
    }

    /// Reads on past what was read elsewhere.
    async fn read_unseen(&mut self, seen: Arc<Mutex<Seen>>) -> Result<(), QueryError> {
        let (at, owed, filter) = (self.at, self.owed, self.filter.clone());
        let (entries, passing, next, removed) = self
            .reading
            .run(move |reader| {
                let arrivals = reader.arrivals(at, Direction::Forward, READ_BYTES)?;
                let mut entries = Vec::new();
                for arrival in &arrivals {
                    // What is noted here holds even if nobody waits for the entries any more.
                    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                    seen.meet(reader, arrival)?;
                    let (author, strand) = (arrival.change.author, arrival.strand());
                    let passing = filter.all_entries(arrival)?.into_iter();
                    entries.extend(passing.filter(|entry| {
                        entry.offset >= at && seen.admits(author, strand, entry.seq)
                    }));
                }
                forked::mark(reader, &mut entries)?;
                let passing: Vec<Passing> = arrivals.iter().map(Passing::of).collect();
                let next = arrivals.last().map_or(at, Arrival::end);
                let removed = next > owed && reader.removed_within(at.max(owed)..next)?;
                Ok::<_, QueryError>((entries, passing, next, removed))
            })
            .await?;
        (self.at, self.reset) = (next, removed);
        self.keep(entries.into_iter().map(Arc::new).collect());
        let end = self.at;
        self.passing.extend(passing.into_iter().filter(|passing| passing.starts_before(end)));
        Ok(())
    }

    /// Keeps what was read, or as much of it as there is room for.
    fn keep(&mut self, mut entries: VecDeque<Arc<Entry>>) {
        self.room = Kept::default();
        let (room, fits) = Kept::room(entries.iter().map(|entry| entry.body.size()));
        if let Some(next) = entries.get(fits) {
            self.at = next.offset;
            entries.truncate(fits);
            entries.shrink_to_fit();
        }
        (self.room, self.buffer) = (room, entries);
    }
}

/// What passes from an offset on, and the offset up to which that is all.
///
/// # Errors
/// The store can't be read.
pub(super) fn read_on(
    reader: &mut dyn Reader,
    filter: &Filter,
    at: Offset,
) -> Result<(Vec<Entry>, Offset), StoreError> {
    let end = reader.watermark()?;
    let mut arriving = Arriving::new(reader, filter, at, Direction::Forward)?;
    let (mut entries, mut next, mut bytes) = (Vec::new(), at, 0);
    while bytes < READ_BYTES {
        let Some(held) = arriving.next(reader, &mut Trace::default())? else {
            return Ok((entries, next.max(end)));
        };
        for held in &held {
            let passing = held.entries(filter)?;
            entries.extend(passing.into_iter().filter(|entry| entry.offset >= at));
            next = held.end();
            bytes += held.size();
        }
    }
    Ok((entries, next))
}
