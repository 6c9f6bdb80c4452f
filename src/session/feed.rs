//! The feed of a tenant: all its topics in one numbered list, to be replayed from a position and
//! followed on.
//!
//! Positions are the ordinals of the tenant's entries on this node. Events that are broadcast only
//! never become entries, so they are not in it; kinds that a reader doesn't want are passed over
//! before anything of them is copied. Producers never wait for a feed: it reads the store.

use std::collections::BTreeSet;

use super::tail::{LAG, Tail};
use super::thread::read;
use super::{SessionError, TenantLog};
use crate::core::series::Series;
use crate::node::series::Most;
use crate::words::Kind;
use crate::words::entry::View;

/// How many entries from before the node was started a feed replays.
const RETAINED: u64 = 100_000;
/// How much a reader is given whose position is no longer replayed.
const FRESH: Most = Most { entries: 1_000, bytes: 4 << 20 };

/// The feed of a tenant.
#[derive(Clone)]
pub struct Feed {
    log: TenantLog,
    series: Series,
    retained: u64,
    without: BTreeSet<Kind>,
}

/// Where a reader of a feed begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeedFrom {
    /// With the oldest entry that is replayed.
    Start,
    /// With the next entry that comes.
    Latest,
    /// After a position.
    After(u64),
}

impl Feed {
    pub(super) fn new(log: TenantLog) -> Self {
        let series = Series::feed(log.tenant.clone());
        Self { log, series, retained: RETAINED, without: BTreeSet::new() }
    }

    /// The same feed, that replays so many of the entries from before the node was started.
    pub fn retaining(mut self, entries: u64) -> Self {
        self.retained = entries;
        self
    }

    /// The same feed without entries of a kind.
    pub fn without(mut self, kind: Kind) -> Self {
        self.without.insert(kind);
        self
    }

    /// The position of the newest entry; 0 when there is none.
    ///
    /// # Errors
    /// The store can't be read.
    pub async fn latest(&self) -> Result<u64, SessionError> {
        let series = self.series.clone();
        let latest = read(&self.log, move |reader| Ok(reader.standing_of(&series)?)).await?;
        Ok(latest.map_or(0, |standing| standing.entries))
    }

    /// The position below which nothing is replayed. It is fixed when the node starts: an offset
    /// of that moment says how many entries there were.
    ///
    /// # Errors
    /// The store can't be read.
    pub async fn floor(&self) -> Result<u64, SessionError> {
        let (series, retained) = (self.series.clone(), self.retained);
        let booted = self.log.node.booted_at();
        let before = read(&self.log, move |reader| Ok(reader.entries_before(&series, booted)?));
        Ok(before.await?.saturating_sub(retained))
    }

    /// How many emitted events this node dropped, of whatever tenant; each is stated in a gap.
    ///
    /// # Errors
    /// The store can't be read.
    pub async fn dropped(&self) -> Result<u64, SessionError> {
        Ok(read(&self.log, |reader| Ok(reader.emits()?)).await?.dropped)
    }

    /// Replays from a position and goes on live, each entry once. A position below what is replayed
    /// is answered by [`Told::Reset`](super::Told::Reset) with the newest entries, as is a reader that falls behind.
    ///
    /// # Errors
    /// A position past the end, or a store that can't be read.
    pub async fn follow(&self, from: FeedFrom) -> Result<Tail, SessionError> {
        let floor = self.floor().await?;
        let without = self.without.clone();
        let live = move |view: &View<'_>| !without.iter().any(|kind| kind.as_str() == view.kind);
        let node = self.log.node.clone();
        let mut tail = Tail::open(node, self.series.clone(), (FRESH, LAG), live).await?;
        let end = tail.position();
        // A replay is as long as was asked for: it is the reader's choice, and no lag.
        match from {
            FeedFrom::Start => Ok(tail.replaying(floor)),
            FeedFrom::Latest => Ok(tail),
            FeedFrom::After(cursor) if cursor > end => {
                Err(SessionError::CursorBeyondEnd { cursor, end })
            }
            FeedFrom::After(cursor) if cursor < floor => {
                tail.forget();
                Ok(tail)
            }
            FeedFrom::After(cursor) => Ok(tail.replaying(cursor)),
        }
    }
}
