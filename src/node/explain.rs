//! What was read for an answer, and why the rest of the log was not.

use std::collections::BTreeSet;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::cover::{Cover, Named};
use super::filter::Filter;
use super::query::Query;
use crate::core::log::Arrival;
use crate::core::merge::{Direction, common};
use crate::core::segment::Strand;
use crate::core::series::Series;
use crate::store::picked::Picked;
use crate::store::zones::Zone;
use crate::store::{Reader, StoreError};
use crate::words::Seq;

/// How many zones are looked up at once.
const AT_ONCE: usize = 1_024;

/// What was read for an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// What the index of topics and tenants said; none where it was not asked.
    pub index: Option<IndexUse>,
    /// What became of the blocks of the log.
    pub blocks: Reckoning,
    /// What became of the changes that stand by themselves.
    pub changes: Reckoning,
    /// How many bytes the changes have whose entries were looked at.
    pub bytes: u64,
    /// How many entries were looked at.
    pub looked_at: u64,
    /// How many of them are in the answer.
    pub returned: u64,
}

/// What the index said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexUse {
    /// The topics, as `tenant/topic`, and tenants that were looked up and have entries.
    pub series: Vec<String>,
    /// How many entries they have.
    pub entries: u64,
    /// In how many changes; none where they are so many that only ranges of offsets were looked up.
    pub changes: Option<u64>,
}

/// What became of the zones of one sort. Each is counted once: `held` is the sum of all others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reckoning {
    /// How many the log holds.
    pub held: u64,
    /// How many can't hold what is wanted, and were not read.
    pub pruned: Pruned,
    /// How many the answer, or the place where it began, made needless.
    pub not_needed: u64,
    /// How many were read.
    pub read: u64,
}

/// By what zones were passed over; the first reason counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pruned {
    /// By their author.
    pub author: u64,
    /// By their times.
    pub time: u64,
    /// By the index of topics and tenants.
    pub topic: u64,
    /// By the kinds that they hold.
    pub kind: u64,
}

impl Pruned {
    /// All of them.
    pub fn sum(&self) -> u64 {
        self.author + self.time + self.topic + self.kind
    }
}

/// Notes what is read while an answer is made.
#[derive(Debug, Default)]
pub struct Trace {
    bytes: u64,
    looked_at: u64,
    /// Where the changes begin that were read, and the zones that hold none of the kinds; only when
    /// somebody will ask.
    places: Option<Places>,
}

#[derive(Debug, Default)]
struct Places {
    read: BTreeSet<(Strand, Seq)>,
    by_kind: BTreeSet<(Strand, Seq)>,
}

impl Trace {
    /// A trace from which an explanation can be made.
    pub fn detailed() -> Self {
        Self { places: Some(Places::default()), ..Self::default() }
    }

    /// A change was read, for the entries with these seqs.
    pub fn read(&mut self, arrival: &Arrival, filter: &Filter, seqs: &Range<Seq>) {
        let change = &arrival.change;
        if let Some(places) = &mut self.places {
            places.read.insert((arrival.strand(), change.first_seq));
        }
        if filter.admits_author(change.author)
            && filter.admits_times(change.first_time, change.last_time)
        {
            self.bytes += change.bytes.len() as u64;
            self.looked_at += count(&(change.first_seq..change.next_seq()), seqs);
        }
    }

    /// A large change was read without building it again, for the entries with these seqs.
    pub fn picked(&mut self, picked: &Picked, seqs: &Range<Seq>) {
        if let Some(places) = &mut self.places {
            places.read.insert((picked.strand, picked.seqs.start));
        }
        self.bytes += picked.entries.bytes() as u64;
        self.looked_at += picked.entries.within(seqs).len() as u64;
    }

    /// A zone was passed over, since it holds none of the wanted kinds.
    pub fn passed_by_kind(&mut self, zone: &Zone) {
        if let Some(places) = &mut self.places {
            places.by_kind.insert((zone.strand, zone.seqs.start));
        }
    }

    /// What was read for an answer with so many entries.
    ///
    /// # Errors
    /// The store can't be read.
    pub fn explain(
        self,
        reader: &mut dyn Reader,
        query: &Query,
        returned: usize,
    ) -> Result<Explanation, StoreError> {
        let watermark = reader.watermark()?;
        let (cover, named) = Cover::of(reader, &query.filter, watermark)?;
        let mut explanation = Explanation {
            index: named.map(IndexUse::of),
            blocks: Reckoning::default(),
            changes: Reckoning::default(),
            bytes: self.bytes,
            looked_at: self.looked_at,
            returned: returned as u64,
        };
        let places = self.places.unwrap_or_default();
        for span in reader.spans(None)? {
            let mut at = Seq(0);
            loop {
                let zones = reader.zones(span.strand, at, Direction::Forward, AT_ONCE)?;
                let Some(last) = zones.last() else { break };
                at = last.seqs.end;
                for zone in &zones {
                    let sort = if zone.packed {
                        &mut explanation.blocks
                    } else {
                        &mut explanation.changes
                    };
                    places.reckon(zone, &query.filter, &cover, sort);
                }
            }
        }
        Ok(explanation)
    }
}

impl Places {
    fn reckon(&self, zone: &Zone, filter: &Filter, cover: &Cover, sort: &mut Reckoning) {
        let Range { start, end } = zone.seqs;
        sort.held += 1;
        let count = if self.read.range((zone.strand, start)..(zone.strand, end)).next().is_some() {
            &mut sort.read
        } else if !filter.admits_author(zone.author) {
            &mut sort.pruned.author
        } else if !filter.admits_times(zone.first_time, zone.last_time) {
            &mut sort.pruned.time
        } else if !cover.meets(zone.author, &zone.seqs, &zone.offsets) {
            &mut sort.pruned.topic
        } else if self.by_kind.contains(&(zone.strand, start)) {
            &mut sort.pruned.kind
        } else {
            &mut sort.not_needed
        };
        *count += 1;
    }
}

impl IndexUse {
    fn of(named: Named) -> Self {
        let name = |series: Series| match series.topic {
            Some(topic) => format!("{}/{topic}", series.tenant),
            None => series.tenant.to_string(),
        };
        let Named { series, entries, changes } = named;
        Self { series: series.into_iter().map(name).collect(), entries, changes }
    }
}

/// All seqs: for listings that no seq bounds.
pub const ANYWHERE: Range<Seq> = Seq(0)..Seq(u64::MAX);

/// How many of these seqs are among others.
fn count(seqs: &Range<Seq>, others: &Range<Seq>) -> u64 {
    let both = common(seqs, others);
    both.end.0.saturating_sub(both.start.0)
}
