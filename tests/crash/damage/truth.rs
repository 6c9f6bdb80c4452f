//! What a store holds, and a comparison of a damaged copy with it.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use towline::node::{OfflineLog, OpenError, QueryError, StoreError, VerifyError};
use towline::words::{Entry, EntryId};
use towline::{Order, Query};

use crate::history::History;

const ORDERS: [Order; 3] = [Order::Time, Order::Arrival, Order::Author];

/// What a reader finds in a damaged store, if it is never told what isn't so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Everything is there, and verifies.
    Whole,
    /// Everything up to a commit is there, and verifies; those after it are gone without a trace.
    Lost,
    /// Something is wrong, and verification says so. What could be read is right.
    Damaged,
}

/// The entries of an unharmed store.
pub struct Truth {
    /// In each order, oldest first.
    listings: [Vec<Entry>; 3],
    by_id: HashMap<EntryId, Entry>,
    /// How many entries there were after each commit.
    watermarks: BTreeSet<u64>,
}

/// What a damaged store answered: right, as far as it is known; or that it is damaged.
struct Answers {
    /// How many entries the store says that it has.
    watermark: u64,
    damaged: Option<StoreError>,
    /// Whether verification found damage.
    bad: bool,
}

impl Truth {
    pub fn of(directory: &Path, history: &History) -> Self {
        let mut log = OfflineLog::open(directory).unwrap();
        let listings = ORDERS.map(|order| listing(&mut log, &Query::in_order(order)).unwrap());
        let by_id = listings[0].iter().map(|entry| (entry.id(), entry.clone())).collect();
        let watermark = |commits| {
            let arrivals = history.contents(commits).arrivals;
            arrivals.iter().map(|arrival| u64::from(arrival.change.count)).sum()
        };
        Self { listings, by_id, watermarks: (0..=history.commits()).map(watermark).collect() }
    }

    /// Reads a store in every way, and compares. The error says what was served though it isn't
    /// so, or what was wrong without being called damage.
    pub fn compare(&self, directory: &Path) -> Result<Verdict, String> {
        let mut log = match OfflineLog::open(directory) {
            Ok(log) => log,
            Err(error) => return refused(&error),
        };
        let verified = match log.verify(|_, _| {}) {
            Ok(verified) => Some(verified.entries),
            Err(VerifyError::Bad(_)) => None,
            Err(error) => return Err(format!("verification says: {error}")),
        };
        let all = self.by_id.len() as u64;
        let mut answers = Answers { watermark: all, damaged: None, bad: verified.is_none() };
        match log.summary() {
            Ok(summary) => answers.watermark = summary.entries,
            Err(error) => answers.note(error)?,
        }
        for (order, listing) in ORDERS.into_iter().zip(&self.listings) {
            answers.listing(&mut log, &Query::in_order(order), listing.iter())?;
            let reverse = Query::in_order(order).reverse();
            answers.listing(&mut log, &reverse, listing.iter().rev())?;
        }
        for (id, entry) in self.by_id.iter().step_by(7) {
            answers.entry(&mut log, *id, entry)?;
        }
        match verified {
            None => Ok(Verdict::Damaged),
            Some(_) if let Some(why) = answers.damaged => {
                Err(format!("it verifies, and can't be read: {why}"))
            }
            Some(entries) if entries == all => Ok(Verdict::Whole),
            Some(entries) if self.watermarks.contains(&entries) => Ok(Verdict::Lost),
            Some(entries) => Err(format!("it verifies with {entries} of {all} entries")),
        }
    }
}

impl Answers {
    fn note(&mut self, error: StoreError) -> Result<(), String> {
        match error {
            StoreError::Damaged(_) | StoreError::Lost(_) => {
                self.damaged = Some(error);
                Ok(())
            }
            other => Err(format!("not called damage: {other}")),
        }
    }

    /// A listing is an error, or what it should be, for as many entries as the store has. Where
    /// verification finds damage, the newest entries may be missing: what else is there doesn't
    /// show how many there were.
    fn listing<'e>(
        &mut self,
        log: &mut OfflineLog,
        query: &Query,
        right: impl Iterator<Item = &'e Entry>,
    ) -> Result<(), String> {
        let what = format!("{:?} {:?}", query.order, query.direction);
        let found = match listing(log, query) {
            Err(QueryError::Store(error)) => return self.note(error),
            Err(error) => return Err(format!("{what}: {error}")),
            Ok(found) => found,
        };
        let end = found.iter().map(|entry| entry.offset.0 + 1).max().unwrap_or(0);
        if end != self.watermark && !self.bad {
            return Err(format!("{what}: {end} entries of {}", self.watermark));
        }
        let right: Vec<&Entry> = right.filter(|entry| entry.offset.0 < end).collect();
        match found.iter().zip(&right).find(|(found, right)| found != *right) {
            Some((found, right)) => Err(format!("{what}: {found:?}\n    is no {right:?}")),
            None if found.len() == right.len() => Ok(()),
            None => Err(format!("{what}: {} entries of {}", found.len(), right.len())),
        }
    }

    /// An entry is an error, or what it should be. Where the damage has made it impossible to find
    /// without reading everything, it may be missing, as long as verification finds the damage.
    fn entry(&mut self, log: &mut OfflineLog, id: EntryId, right: &Entry) -> Result<(), String> {
        match log.get(id) {
            Err(QueryError::Store(error)) => self.note(error),
            Err(error) => Err(format!("get: {error}")),
            Ok(found) if found == [right.clone()] => Ok(()),
            Ok(found) if found.is_empty() && (self.bad || right.offset.0 >= self.watermark) => {
                Ok(())
            }
            Ok(found) => Err(format!("get: {found:?}\n    is no {right:?}")),
        }
    }
}

fn listing(log: &mut OfflineLog, query: &Query) -> Result<Vec<Entry>, QueryError> {
    let mut query = query.clone().limit(40);
    let mut entries = Vec::new();
    loop {
        let page = log.query(&query)?;
        entries.extend(page.entries);
        match page.next {
            Some(next) => query = query.after(next),
            None => return Ok(entries),
        }
    }
}

/// A store that can't be opened must say so as what it is.
fn refused(error: &OpenError) -> Result<Verdict, String> {
    match error {
        OpenError::Foreign(_) | OpenError::Newer { .. } | OpenError::Owner { .. } => {
            Ok(Verdict::Damaged)
        }
        OpenError::Store(StoreError::Damaged(_)) => Ok(Verdict::Damaged),
        other => Err(format!("opening says: {other}")),
    }
}
