//! Which part of the log may hold what a filter wants, by the index of topics and tenants.
//!
//! Everything that lists entries asks here, and nothing else asks the index for a listing: so what the
//! index doesn't name yet is thought of in one place. A cover may be too large, never too small.

use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;

use super::filter::{Filter, Gaps};
use crate::core::merge::{Direction, joined};
use crate::core::series::{Series, Stretch};
use crate::store::{Reader, Span, StoreError};
use crate::words::gap::{GAP_KIND, GAP_TOPIC};
use crate::words::name::TOWLINE_TENANT;
use crate::words::{Kind, NodeId, Offset, Seq, Tenant, Topic};

/// Up to so many entries, and changes, the changes that hold them are listed one by one. Where there are
/// more, it is enough to know between which offsets they lie. Tests meet both.
const EXACT_ENTRIES: u64 = if cfg!(test) { 12 } else { 65_536 };
const EXACT_CHANGES: usize = 16_384;
/// How many stretches are read from the index at once.
const AT_ONCE: usize = 4_096;
/// Where so many entries of the log hold one of the wanted ones on average, all blocks are read: most
/// hold one.
const DENSE: u64 = if cfg!(test) { 3 } else { 1_024 };
/// A range with fewer entries of a series than this is not cut any further.
const FEW: u64 = if cfg!(test) { 3 } else { 64 };
/// How many ranges of offsets a cover has for each series at most.
const WINDOWS: usize = 1_024;

/// Where the entries that a filter wants may be.
#[derive(Clone, Debug)]
pub enum Cover {
    /// Anywhere.
    All,
    /// In changes with these seqs, by their authors; in order and apart from each other.
    Changes(BTreeMap<NodeId, Rc<[Range<Seq>]>>),
    /// Between these offsets; in order and apart from each other.
    Windows(Rc<[Range<Offset>]>),
}

/// What the index said for a cover.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Named {
    /// The series that were looked up.
    pub series: Vec<Series>,
    /// How many entries they have.
    pub entries: u64,
    /// In how many changes, where these were listed one by one.
    pub changes: Option<u64>,
}

/// The series that together hold all that a filter wants. None: the filter names neither.
///
/// # Errors
/// The store can't be read; so for every call here.
pub fn series_of(
    reader: &mut dyn Reader,
    filter: &Filter,
) -> Result<Option<Vec<Series>>, StoreError> {
    let gaps = || -> Option<Series> {
        Some(Series::thread(Tenant::parse(TOWLINE_TENANT).ok()?, Topic::parse(GAP_TOPIC).ok()?))
    };
    if filter.gaps == Gaps::Only {
        return Ok(gaps().map(|gaps| vec![gaps]));
    }
    let mut series = match (&filter.tenant, topics(filter)) {
        (Some(tenant), Some(topics)) => {
            topics.into_iter().map(|topic| Series::thread(tenant.clone(), topic)).collect()
        }
        (Some(tenant), None) => vec![Series::feed(tenant.clone())],
        (None, Some(topics)) => {
            let mut threads = Vec::new();
            for tenant in reader.tenants()? {
                threads.extend(topics.iter().map(|t| Series::thread(tenant.clone(), t.clone())));
            }
            threads
        }
        (None, None) => return Ok(None),
    };
    if filter.gaps == Gaps::Always {
        series.extend(gaps());
    }
    series.sort();
    series.dedup();
    Ok(Some(series))
}

/// The topics that a filter names, if it names all that it wants.
fn topics(filter: &Filter) -> Option<Vec<Topic>> {
    if let Some(topic) = &filter.topic {
        return Some(vec![topic.clone()]);
    }
    let named = &filter.persona.as_ref()?.topics;
    let whole = !named.is_empty() && named.iter().all(|topic| !topic.ends_with('*'));
    // What is no topic matches nothing.
    whole.then(|| named.iter().filter_map(|topic| Topic::parse(topic).ok()).collect())
}

/// The kinds that a filter wants, if it names any.
pub fn kinds_of(filter: &Filter) -> Option<Vec<Kind>> {
    let kind = filter.kind.clone().filter(|_| filter.gaps != Gaps::Only)?;
    let gap = (filter.gaps == Gaps::Always).then(|| Kind::parse(GAP_KIND).ok()).flatten();
    Some([Some(kind), gap].into_iter().flatten().collect())
}

impl Cover {
    /// Where the entries that a filter wants may be, of those that arrived below an offset; and what the
    /// index said.
    ///
    /// # Errors
    /// The store can't be read.
    pub fn of(
        reader: &mut dyn Reader,
        filter: &Filter,
        bound: Offset,
    ) -> Result<(Self, Option<Named>), StoreError> {
        let Some(series) = series_of(reader, filter)? else { return Ok((Self::All, None)) };
        let indexed = reader.indexed()?;
        let (mut entries, mut held) = (0, Vec::new());
        for series in series {
            let of_series = reader.entries_of(&series)?;
            if of_series > 0 {
                entries += of_series;
                held.push((series, of_series));
            }
        }
        let exact = if entries <= EXACT_ENTRIES { list(reader, &held)? } else { None };
        let changes = exact.as_ref().map(|stretches| stretches.len() as u64);
        let cover = match exact {
            Some(stretches) => {
                let listed = stretches.iter().map(|s| (s.author, s.first_seq..s.next_seq));
                let mut changes: Vec<(NodeId, Range<Seq>)> = listed.collect();
                changes.extend(not_indexed(reader, indexed..bound)?);
                Self::changes(changes)
            }
            None => {
                let mut windows = Vec::new();
                for (series, entries) in &held {
                    windows.extend(windows_of(reader, series, *entries)?);
                }
                windows.extend((indexed < bound).then_some(indexed..bound));
                Self::Windows(joined(windows).into())
            }
        };
        let series = held.into_iter().map(|(series, _)| series).collect();
        Ok((cover, Some(Named { series, entries, changes })))
    }

    fn changes(listed: Vec<(NodeId, Range<Seq>)>) -> Self {
        let mut by_author: BTreeMap<NodeId, Vec<Range<Seq>>> = BTreeMap::new();
        for (author, seqs) in listed {
            by_author.entry(author).or_default().push(seqs);
        }
        let joined = by_author.into_iter().map(|(author, seqs)| (author, joined(seqs).into()));
        Self::Changes(joined.collect())
    }

    /// Whether entries of an author with these seqs, which arrived between these offsets, may be wanted.
    pub fn meets(&self, author: NodeId, seqs: &Range<Seq>, offsets: &Range<Offset>) -> bool {
        match self {
            Self::All => true,
            Self::Changes(changes) => {
                changes.get(&author).is_some_and(|listed| overlaps(listed, seqs))
            }
            Self::Windows(windows) => overlaps(windows, offsets),
        }
    }

    /// Keeps those spans of which entries may be wanted. Where those of an author follow each other, it is
    /// looked up once.
    pub fn keep(&self, spans: &mut Vec<Span>) {
        match self {
            Self::All => {}
            Self::Windows(windows) if windows.is_empty() => spans.clear(),
            Self::Windows(_) => {}
            Self::Changes(changes) => {
                let mut newest: Option<(NodeId, &[Range<Seq>])> = None;
                spans.retain(|span| {
                    let (_, listed) = match newest {
                        Some(newest) if newest.0 == span.author => newest,
                        _ => (span.author, changes.get(&span.author).map_or(&[][..], |it| it)),
                    };
                    newest = Some((span.author, listed));
                    overlaps(listed, &(span.first_seq..span.next_seq))
                });
            }
        }
    }
}

/// All stretches of some series; none where there are too many to list.
fn list(
    reader: &mut dyn Reader,
    held: &[(Series, u64)],
) -> Result<Option<Vec<Stretch>>, StoreError> {
    let mut listed: Vec<Stretch> = Vec::new();
    for (series, entries) in held {
        let mut at = 0;
        while at < *entries {
            let ahead = reader.stretches(series, at + 1, Direction::Forward, AT_ONCE)?;
            let Some(last) = ahead.last() else { break };
            at = last.end();
            listed.extend(ahead);
            if listed.len() > EXACT_CHANGES {
                return Ok(None);
            }
        }
    }
    Ok(Some(listed))
}

/// The changes that arrived where the index doesn't name any yet.
fn not_indexed(
    reader: &mut dyn Reader,
    offsets: Range<Offset>,
) -> Result<Vec<(NodeId, Range<Seq>)>, StoreError> {
    let (mut at, mut listed) = (offsets.start, Vec::new());
    while at < offsets.end {
        let zones = reader.zones_by_arrival(at, Direction::Forward, AT_ONCE)?;
        let Some(last) = zones.last() else { break };
        at = last.offsets.end;
        listed.extend(zones.into_iter().map(|zone| (zone.author, zone.seqs)));
    }
    Ok(listed)
}

/// Between which offsets the entries of a series lie: wherever they are far apart, the range is cut.
fn windows_of(
    reader: &mut dyn Reader,
    series: &Series,
    entries: u64,
) -> Result<Vec<Range<Offset>>, StoreError> {
    let mut windows = Vec::new();
    let mut open = vec![(1, entries)];
    while let Some((first, last)) = open.pop() {
        let mut around = |ordinal| reader.stretches(series, ordinal, Direction::Forward, 1);
        let (from, to) = (around(first)?, around(last)?);
        let (from, to) = (from.first().map(offsets_of), to.first().map(offsets_of));
        let (Some(from), Some(to)) = (from, to) else { continue };
        let window = from.start..to.end;
        let dense = (window.end.0 - window.start.0) / (last - first + 1) <= DENSE;
        if dense || last - first < FEW || windows.len() + open.len() >= WINDOWS {
            windows.push(window);
        } else {
            let middle = first + (last - first) / 2;
            open.extend([(first, middle), (middle + 1, last)]);
        }
    }
    Ok(windows)
}

/// The offsets of the change of a stretch.
pub fn offsets_of(stretch: &Stretch) -> Range<Offset> {
    let length = stretch.next_seq.0.saturating_sub(stretch.first_seq.0);
    stretch.offset..stretch.offset.plus(length)
}

/// Whether one of the ranges, which are in order and apart, has something in common with another.
fn overlaps<T: Ord + Copy>(ranges: &[Range<T>], other: &Range<T>) -> bool {
    let next = ranges.partition_point(|range| range.end <= other.start);
    ranges.get(next).is_some_and(|range| range.start < other.end)
}
