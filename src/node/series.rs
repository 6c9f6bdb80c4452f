//! Reading the entries of a topic or a tenant by their ordinals, what is archived left out.

use super::filter::{damaged, entry};
use super::forked;
use super::query::PAGE_BYTES;
use crate::core::log::Arrival;
use crate::core::merge::Direction;
use crate::core::series::{Series, Standing, Stretch};
use crate::store::{Reader, StoreError};
use crate::words::entry::View;
use crate::words::{Entry, NodeId, Seq};

/// How many bytes of changes are read at once.
const READ_BYTES: usize = 128 << 10;
/// How many at first, where few entries may be enough.
const FIRST_BYTES: usize = 2 << 10;
/// How many stretches are looked at once for what is archived.
const LOOKED_AT: usize = 1_024;

/// An entry with its place in its series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Numbered {
    /// Its ordinal, from 1 on, on this node.
    pub ordinal: u64,
    /// The entry.
    pub entry: Entry,
}

/// Which entries are wanted. It is asked before anything of an entry is copied.
pub type Wanted<'w> = &'w dyn Fn(&View<'_>) -> bool;

/// How much a reading returns at most.
#[derive(Clone, Copy, Debug)]
pub struct Most {
    /// So many entries.
    pub entries: usize,
    /// About so many bytes of payload; one entry is returned all the same.
    pub bytes: usize,
}

impl Most {
    /// So many entries, and the bytes of a page.
    pub fn entries(entries: usize) -> Self {
        Self { entries, bytes: PAGE_BYTES }
    }
}

/// Some entries of a series, in order of their ordinals.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Run {
    /// The entries.
    pub entries: Vec<Numbered>,
    /// All ordinals up to here were looked at.
    pub through: u64,
}

/// Reads the entries of a series after an ordinal, oldest first.
///
/// # Errors
/// The store can't be read.
pub fn after(
    reader: &mut dyn Reader,
    (series, standing): (&Series, &Standing),
    ordinal: u64,
    most: Most,
    wanted: Wanted<'_>,
) -> Result<Run, StoreError> {
    let mut read = Run { entries: Vec::new(), through: ordinal };
    read.through = skip_archived(reader, series, standing, ordinal)?;
    let mut bytes = 0;
    'reading: while read.through < standing.entries {
        let from = read.through + 1;
        let at_once = READ_BYTES.min(most.bytes);
        let stretches = reader.of_series(series, from, Direction::Forward, at_once)?;
        if stretches.is_empty() {
            read.through = standing.entries; // what is left of it was removed
            break;
        }
        for (stretch, arrival) in &stretches {
            for numbered in of_stretch(series, standing, stretch, arrival, wanted)? {
                if numbered.ordinal <= ordinal || numbered.ordinal > standing.entries {
                    continue;
                }
                if read.entries.len() >= most.entries || bytes >= most.bytes {
                    break 'reading;
                }
                bytes += numbered.entry.body.size();
                read.through = numbered.ordinal;
                read.entries.push(numbered);
            }
            read.through = read.through.max(stretch.end()).min(standing.entries);
        }
    }
    forked::mark(reader, read.entries.iter_mut().map(|numbered| &mut numbered.entry))?;
    Ok(read)
}

/// Reads the newest entries of a series up to an ordinal, and returns them oldest first.
///
/// # Errors
/// The store can't be read.
pub fn last(
    reader: &mut dyn Reader,
    (series, standing): (&Series, &Standing),
    through: u64,
    most: Most,
    wanted: Wanted<'_>,
) -> Result<Vec<Numbered>, StoreError> {
    let mut found: Vec<Numbered> = Vec::new();
    let (mut at, mut bytes) = (through.min(standing.entries), 0);
    let mut at_once = FIRST_BYTES;
    'reading: while at > standing.hidden {
        let stretches = reader.of_series(series, at, Direction::Backward, at_once)?;
        if stretches.is_empty() {
            break;
        }
        at_once = READ_BYTES.min(at_once * 4);
        for (stretch, arrival) in &stretches {
            let entries = of_stretch(series, standing, stretch, arrival, wanted)?;
            for numbered in entries.into_iter().rev().filter(|it| it.ordinal <= at) {
                if found.len() >= most.entries || bytes >= most.bytes {
                    break 'reading;
                }
                bytes += numbered.entry.body.size();
                found.push(numbered);
            }
            at = stretch.before;
        }
    }
    found.reverse();
    forked::mark(reader, found.iter_mut().map(|numbered| &mut numbered.entry))?;
    Ok(found)
}

/// The ordinal up to which all entries after another one are archived.
fn skip_archived(
    reader: &mut dyn Reader,
    series: &Series,
    standing: &Standing,
    ordinal: u64,
) -> Result<u64, StoreError> {
    let mut at = ordinal.max(standing.hidden);
    while !standing.archived.is_empty() && at < standing.entries {
        let ahead = reader.stretches(series, at + 1, Direction::Forward, LOOKED_AT)?;
        let archived = ahead.iter().take_while(|stretch| standing.is_all_archived(stretch));
        let (count, end) = archived.fold((0, at), |(n, _), stretch| (n + 1, stretch.end()));
        at = end.min(standing.entries);
        if count < LOOKED_AT {
            break;
        }
    }
    Ok(at)
}

/// The entries of a stretch that are wanted and not archived.
fn of_stretch(
    series: &Series,
    standing: &Standing,
    stretch: &Stretch,
    arrival: &Arrival,
    wanted: Wanted<'_>,
) -> Result<Vec<Numbered>, StoreError> {
    let author = arrival.change.author;
    let mut entries: Vec<Numbered> = Vec::new();
    each(series, stretch, arrival, |ordinal, at, seq, view| {
        if !standing.is_archived(author, seq) && wanted(view) {
            let entry = entry(arrival, at, view, entries.last().map(|before| &before.entry))?;
            entries.push(Numbered { ordinal, entry });
        }
        Ok(())
    })?;
    Ok(entries)
}

/// Calls with each entry of a stretch: its ordinal, its place in the change, its seq and itself.
fn each(
    series: &Series,
    stretch: &Stretch,
    arrival: &Arrival,
    mut call: impl FnMut(u64, u64, Seq, &View<'_>) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let chunk = arrival.change.chunk().map_err(|e| damaged(arrival, &e))?;
    let mut ordinal = stretch.before;
    for (at, bytes) in (0..).zip(chunk.entries()) {
        let view = View::read(bytes).map_err(|e| damaged(arrival, &e))?;
        if series.holds(&view) {
            ordinal += 1;
            call(ordinal, at, arrival.change.first_seq.plus(at), &view)?;
        }
    }
    Ok(())
}

/// The ordinal of an entry that lies at an offset.
///
/// # Errors
/// The store can't be read, or the entry is not in it.
pub fn ordinal_at(
    reader: &mut dyn Reader,
    series: &Series,
    offset: crate::words::Offset,
) -> Result<u64, StoreError> {
    let entries = reader.standing_of(series)?.map_or(0, |standing| standing.entries);
    let mut at = entries;
    loop {
        let stretches = reader.of_series(series, at, Direction::Backward, 1)?;
        let Some((stretch, arrival)) = stretches.first() else {
            return Err(StoreError::Damaged(format!("no entry at offset {offset} in its series")));
        };
        if arrival.offset <= offset {
            let mut found = stretch.before;
            each(series, stretch, arrival, |ordinal, place, _, _| {
                if arrival.offset.plus(place) <= offset {
                    found = ordinal;
                }
                Ok(())
            })?;
            return Ok(found);
        }
        at = stretch.before;
    }
}

/// What archiving up to an ordinal means.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Archiving {
    /// How many entries are archived by it that were not before.
    pub count: u64,
    /// Of whom, up to which seq.
    pub through: std::collections::BTreeMap<NodeId, Seq>,
}

/// Finds what is to be archived so that reading begins above an ordinal.
///
/// # Errors
/// The store can't be read.
pub fn archiving(
    reader: &mut dyn Reader,
    (series, standing): (&Series, &Standing),
    watermark: u64,
) -> Result<Archiving, StoreError> {
    let mut found = Archiving::default();
    let mut at = standing.hidden;
    while at < watermark {
        let stretches = reader.stretches(series, at + 1, Direction::Forward, LOOKED_AT)?;
        if stretches.is_empty() {
            break;
        }
        for stretch in stretches.iter().filter(|stretch| stretch.before < watermark) {
            add(reader, (series, standing), stretch, watermark, &mut found)?;
        }
        at = stretches.last().map_or(watermark, Stretch::end);
    }
    Ok(found)
}

/// Adds the entries of a stretch up to an ordinal that are not archived yet.
fn add(
    reader: &mut dyn Reader,
    (series, standing): (&Series, &Standing),
    stretch: &Stretch,
    watermark: u64,
    found: &mut Archiving,
) -> Result<(), StoreError> {
    if standing.is_all_archived(stretch) {
        return Ok(());
    }
    if stretch.end() <= watermark && !standing.is_any_archived(stretch) {
        found.count += u64::from(stretch.count);
        raise(found, stretch.author, Seq(stretch.next_seq.0.saturating_sub(1)));
        return Ok(());
    }
    let read = reader.of_series(series, stretch.before + 1, Direction::Forward, 1)?;
    for (stretch, arrival) in read.iter().take(1) {
        each(series, stretch, arrival, |ordinal, _, seq, _| {
            if ordinal <= watermark && !standing.is_archived(stretch.author, seq) {
                found.count += 1;
                raise(found, stretch.author, seq);
            }
            Ok(())
        })?;
    }
    Ok(())
}

fn raise(found: &mut Archiving, author: NodeId, seq: Seq) {
    let through = found.through.entry(author).or_insert(seq);
    *through = seq.max(*through);
}
