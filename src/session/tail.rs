//! A snapshot of a series and what comes after it, each entry once.
//!
//! A tail is a cursor over the store: nothing is pushed at it, so a slow one costs its own lag and
//! never its producers. One that has fallen far behind is not cut off; it is given a new snapshot
//! of the newest entries, and counts what it left out.

use std::collections::VecDeque;
use std::sync::Arc;

use super::SessionError;
use crate::core::series::{Series, Standing};
use crate::node::kept::Kept;
use crate::node::series::{self, Most, Numbered};
use crate::node::{Bell, Node};
use crate::store::{Reader, StoreError};
use crate::words::entry::View;

/// How many entries behind the newest one a tail is given a new snapshot.
pub const LAG: u64 = 16_384;
/// How many entries a tail reads ahead.
const AHEAD: Most = Most { entries: 256, bytes: 1 << 20 };

/// The newest entries of a series at a moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// In order of their ordinals.
    pub entries: Vec<Numbered>,
    /// The ordinal of the newest entry of the series then: what comes is above it.
    pub through: u64,
}

/// What a tail tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// The next entry.
    Entry(Box<Numbered>),
    /// Forget what was told: this is what there is now, and what comes follows it.
    Reset(Snapshot),
}

/// What a tail would tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// The next entry.
    Entry(Box<Numbered>),
    /// A new snapshot, which is not made yet: see [`Tail::renew`].
    Reset,
}

type Judge = Arc<dyn Fn(&View<'_>) -> bool + Send + Sync>;

/// What comes after a snapshot.
pub struct Tail {
    node: Node,
    series: Series,
    bell: Bell,
    live: Judge,
    /// How much a new snapshot holds at most, and how far behind one is given.
    bounds: (Most, u64),
    /// All ordinals up to here were told, or are in the buffer.
    at: u64,
    /// All ordinals up to here are told however far behind that is.
    replay: u64,
    /// Whether what comes next is a new snapshot in any case.
    is_lost: bool,
    buffer: VecDeque<Numbered>,
    /// The room that the buffer takes.
    room: Kept,
    left_out: u64,
}

impl Tail {
    /// A tail that tells what comes.
    pub(super) async fn open(
        node: Node,
        series: Series,
        bounds: (Most, u64),
        live: impl Fn(&View<'_>) -> bool + Send + Sync + 'static,
    ) -> Result<Self, SessionError> {
        let bell = node.bell(); // before the look: what comes after that rings it
        let of = series.clone();
        let standing = node.read(move |reader| reader.standing_of(&of)).await?;
        let at = standing.map_or(0, |standing| standing.entries);
        let (live, buffer, room) = (Arc::new(live), VecDeque::new(), Kept::default());
        let (replay, is_lost, left_out) = (at, false, 0);
        Ok(Self { node, series, bell, live, bounds, at, replay, is_lost, buffer, room, left_out })
    }

    /// Goes on after an ordinal instead of with what comes. What lies between is no lag.
    pub(super) fn replaying(mut self, ordinal: u64) -> Self {
        self.replay = self.at;
        self.at = ordinal;
        self
    }

    /// The ordinal after which a new tail would tell what this one has not told yet.
    pub fn position(&self) -> u64 {
        self.buffer.front().map_or(self.at, |next| next.ordinal - 1)
    }

    /// How many entries were left out by new snapshots.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// What comes next; none when the node shuts down.
    ///
    /// # Errors
    /// The store can't be read.
    ///
    /// # Cancel safety
    /// A call that is dropped loses nothing.
    pub async fn next(&mut self) -> Result<Option<Told>, SessionError> {
        Ok(match self.look().await? {
            Some(Next::Entry(entry)) => Some(Told::Entry(entry)),
            Some(Next::Reset) => Some(Told::Reset(self.renew().await?)),
            None => None,
        })
    }

    /// As [`Tail::next`], but a new snapshot is not made: whoever has room for one asks for it, and until
    /// then nothing else comes.
    ///
    /// # Errors
    /// The store can't be read.
    ///
    /// # Cancel safety
    /// A call that is dropped loses nothing.
    pub async fn look(&mut self) -> Result<Option<Next>, SessionError> {
        loop {
            if let Some(next) = self.buffer.pop_front() {
                return Ok(Some(Next::Entry(Box::new(next))));
            }
            self.keep(Vec::new());
            match self.read().await? {
                Read::Nothing => {
                    if self.bell.ring(|entry| self.series.has(entry)).await?.is_none() {
                        return Ok(None);
                    }
                }
                Read::Entries(run) => {
                    self.at = run.through;
                    self.keep(run.entries);
                }
                Read::Behind => return Ok(Some(Next::Reset)),
            }
        }
    }

    /// The newest entries, after which this tail goes on.
    ///
    /// # Errors
    /// The store can't be read.
    ///
    /// # Cancel safety
    /// A call that is dropped loses nothing.
    pub async fn renew(&mut self) -> Result<Snapshot, SessionError> {
        let (series, most) = (self.series.clone(), self.bounds.0);
        let snapshot = self.node.read(move |reader| snapshot(reader, &series, most)).await?;
        let first = snapshot.entries.first().map(|first| first.ordinal - 1);
        let before = self.position();
        self.left_out += first.unwrap_or(snapshot.through).saturating_sub(before);
        (self.at, self.replay, self.is_lost) = (snapshot.through, snapshot.through, false);
        self.keep(Vec::new());
        Ok(snapshot)
    }

    /// Tells a new snapshot next.
    pub fn forget(&mut self) {
        self.is_lost = true;
        self.keep(Vec::new());
    }

    /// Lets go what was read and not told, and tells the last entry again.
    pub fn put_back(&mut self, last: &Numbered) {
        self.at = last.ordinal - 1;
        self.keep(Vec::new());
    }

    /// Keeps what was read, or as much of it as there is room for.
    fn keep(&mut self, mut entries: Vec<Numbered>) {
        self.room = Kept::default();
        let (room, fits) = Kept::room(entries.iter().map(|it| it.entry.body.size()));
        if let Some(next) = entries.get(fits) {
            self.at = next.ordinal - 1;
            entries.truncate(fits);
        }
        entries.shrink_to_fit(); // thousands of tails wait, most of them with nothing
        (self.room, self.buffer) = (room, entries.into());
    }

    async fn read(&self) -> Result<Read, StoreError> {
        if self.is_lost {
            return Ok(Read::Behind);
        }
        let (series, live, at) = (self.series.clone(), self.live.clone(), self.at);
        let ((_, lag), replay) = (self.bounds, self.replay);
        let read = move |reader: &mut dyn Reader| {
            let standing = reader.standing_of(&series)?.unwrap_or_default();
            if at >= standing.entries {
                return Ok(Read::Nothing);
            }
            if standing.entries - at.max(replay) > lag || standing.hidden > at {
                return Ok(Read::Behind);
            }
            let run = series::after(reader, (&series, &standing), at, AHEAD, &*live)?;
            Ok(Read::Entries(run))
        };
        self.node.read(read).await
    }
}

/// What a tail finds when it looks.
enum Read {
    Nothing,
    Entries(series::Run),
    /// It is too far behind, or what it would tell next is archived.
    Behind,
}

/// The newest entries of a series.
fn snapshot(reader: &mut dyn Reader, series: &Series, most: Most) -> Result<Snapshot, StoreError> {
    let standing: Standing = reader.standing_of(series)?.unwrap_or_default();
    let through = standing.entries;
    let entries = series::last(reader, (series, &standing), through, most, &|_| true)?;
    Ok(Snapshot { entries, through })
}
