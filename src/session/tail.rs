//! A snapshot of a series and what comes after it, each entry once.
//!
//! A tail is a cursor over the store: nothing is pushed at it, so a slow one costs its own lag and
//! never its producers. One that has fallen far behind is not cut off; it is given a new snapshot
//! of the newest entries, and counts what it left out.

use std::collections::VecDeque;
use std::sync::Arc;

use super::SessionError;
use crate::core::series::{Series, Standing};
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
    buffer: VecDeque<Numbered>,
    left_out: u64,
}

impl Tail {
    /// Takes a snapshot of the newest entries, and opens the tail that follows it.
    pub(super) async fn open(
        node: Node,
        series: Series,
        bounds: (Most, u64),
        live: impl Fn(&View<'_>) -> bool + Send + Sync + 'static,
    ) -> Result<(Snapshot, Self), SessionError> {
        let bell = node.bell(); // before the snapshot: what comes after that rings it
        let of = series.clone();
        let snapshot = node.read(move |reader| snapshot(reader, &of, bounds.0)).await?;
        let (at, live) = (snapshot.through, Arc::new(live));
        let buffer = VecDeque::new();
        Ok((
            snapshot,
            Self { node, series, bell, live, bounds, at, replay: at, buffer, left_out: 0 },
        ))
    }

    /// Goes on after an ordinal instead of after the snapshot. What lies between is no lag.
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
        loop {
            if let Some(next) = self.buffer.pop_front() {
                return Ok(Some(Told::Entry(Box::new(next))));
            }
            match self.read().await? {
                Read::Nothing => match self.bell.ring().await {
                    Some(_) => {}
                    None => return Ok(None),
                },
                Read::Entries(run) => {
                    self.at = run.through;
                    self.buffer = run.entries.into();
                }
                Read::Behind(snapshot) => {
                    let first = snapshot.entries.first().map(|first| first.ordinal - 1);
                    self.left_out += first.unwrap_or(snapshot.through).saturating_sub(self.at);
                    self.at = snapshot.through;
                    return Ok(Some(Told::Reset(snapshot)));
                }
            }
        }
    }

    async fn read(&self) -> Result<Read, StoreError> {
        let (series, live, at) = (self.series.clone(), self.live.clone(), self.at);
        let ((most, lag), replay) = (self.bounds, self.replay);
        let read = move |reader: &mut dyn Reader| {
            let standing = reader.standing_of(&series)?.unwrap_or_default();
            if at >= standing.entries {
                return Ok(Read::Nothing);
            }
            if standing.entries - at.max(replay) > lag || standing.hidden > at {
                return Ok(Read::Behind(snapshot(reader, &series, most)?));
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
    Behind(Snapshot),
}

/// The newest entries of a series.
pub(super) fn snapshot(
    reader: &mut dyn Reader,
    series: &Series,
    most: Most,
) -> Result<Snapshot, StoreError> {
    let standing: Standing = reader.standing_of(series)?.unwrap_or_default();
    let through = standing.entries;
    let entries = series::last(reader, (series, &standing), through, most, &|_| true)?;
    Ok(Snapshot { entries, through })
}
