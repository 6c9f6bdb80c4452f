//! Reading the entries of a topic or a tenant by their ordinals, what is archived left out.

use super::filter::{damaged, entry};
use super::forked;
use super::held::Held;
use super::query::PAGE_BYTES;
use crate::core::log::Arrival;
use crate::core::merge::Direction;
use crate::core::series::{Series, Standing, Stretch};
use crate::store::{Reader, StoreError};
use crate::words::entry::View;
use crate::words::{ChangeHash, Entry, NodeId, Offset, SegmentId, Seq};

/// How many bytes of changes are read at once.
const READ_BYTES: usize = 128 << 10;
/// How many at first, where few entries may be enough.
const FIRST_BYTES: usize = 2 << 10;
/// Of a change of so many entries, those of a series are picked where so many others come with each.
const LARGE: u64 = if cfg!(test) { 4 } else { 64 };
const SPARSE: u64 = if cfg!(test) { 2 } else { 8 };
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

/// Where an entry of a series stands, for whoever reads it without a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its ordinal.
    pub ordinal: u64,
    /// Who wrote it.
    pub author: NodeId,
    /// Its seq.
    pub seq: Seq,
    /// Its segment.
    pub segment: SegmentId,
    /// Its change.
    pub change: ChangeHash,
}

/// Shows every entry of a series that is held to a caller, oldest first and archived ones, too, and
/// returns how many there are. Nothing of them is copied.
///
/// # Errors
/// What the caller says, or that the store can't be read.
pub fn visit<E: From<StoreError>>(
    reader: &mut dyn Reader,
    series: &Series,
    mut call: impl FnMut(Place, &View<'_>) -> Result<(), E>,
) -> Result<u64, E> {
    let end = reader.entries_of(series)?;
    let (mut at, mut seen) = (0, 0);
    while at < end {
        let stretches = reader.of_series(series, at + 1, Direction::Forward, READ_BYTES)?;
        if stretches.is_empty() {
            break; // what is left of it was removed
        }
        for (stretch, arrival) in &stretches {
            let (author, segment) = (arrival.change.author, arrival.change.segment);
            let change = arrival.change.hash;
            each(series, stretch, arrival, |ordinal, _, seq, view| {
                if ordinal > end {
                    return Ok(());
                }
                seen += 1;
                call(Place { ordinal, author, seq, segment, change }, view)
            })?;
            at = at.max(stretch.end());
        }
    }
    Ok(seen)
}

/// Reads the entries with these ordinals, which rise, as long as they have not more than so many bytes
/// of payload together; one is read all the same. What was removed is left out.
///
/// # Errors
/// The store can't be read.
pub fn these(
    reader: &mut dyn Reader,
    series: &Series,
    ordinals: &[u64],
    bytes: usize,
) -> Result<Vec<Numbered>, StoreError> {
    let mut read = Vec::new();
    let (mut next, mut size) = (0, 0);
    'reading: while let Some(wanted) = ordinals.get(next) {
        let alone = ordinals.get(next + 1).is_none_or(|after| *after > wanted + 1);
        let at_once = if alone { FIRST_BYTES } else { READ_BYTES.min(bytes) };
        let stretches = reader.of_series(series, *wanted, Direction::Forward, at_once)?;
        let Some((last, _)) = stretches.last() else { break };
        for (stretch, arrival) in &stretches {
            let mut found: Vec<Numbered> = Vec::new();
            each(series, stretch, arrival, |ordinal, at, _, view| {
                while ordinals.get(next).is_some_and(|wanted| *wanted < ordinal) {
                    next += 1;
                }
                if ordinals.get(next) == Some(&ordinal) && size < bytes {
                    next += 1;
                    let entry = entry(arrival, at, view, found.last().map(|before| &before.entry))?;
                    size += entry.body.size();
                    found.push(Numbered { ordinal, entry });
                }
                Ok::<_, StoreError>(())
            })?;
            read.extend(found);
            if size >= bytes {
                break 'reading;
            }
        }
        while ordinals.get(next).is_some_and(|wanted| *wanted <= last.end()) {
            next += 1;
        }
    }
    forked::mark(reader, read.iter_mut().map(|numbered| &mut numbered.entry))?;
    Ok(read)
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
        let stretches = held(reader, series, from, Direction::Forward, at_once)?;
        if stretches.is_empty() {
            read.through = standing.entries; // what is left of it was removed
            break;
        }
        for (stretch, held) in &stretches {
            for numbered in of_stretch(series, standing, stretch, held, wanted)? {
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
        let stretches = held(reader, series, at, Direction::Backward, at_once)?;
        if stretches.is_empty() {
            break;
        }
        at_once = READ_BYTES.min(at_once * 4);
        for (stretch, held) in &stretches {
            let entries = of_stretch(series, standing, stretch, held, wanted)?;
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

/// What is held of a series from an ordinal on: the entries of one large change, if they are few in it, or
/// changes as [`Reader::of_series`](crate::store::series::SeriesReader::of_series) reads them.
fn held(
    reader: &mut dyn Reader,
    series: &Series,
    from: u64,
    direction: Direction,
    max_bytes: usize,
) -> Result<Vec<(Stretch, Held)>, StoreError> {
    let next = reader.stretches(series, from, direction, 1)?;
    let is_large = |stretch: &&Stretch| {
        let length = stretch.next_seq.0.saturating_sub(stretch.first_seq.0);
        length >= LARGE && length / u64::from(stretch.count.max(1)) >= SPARSE
    };
    if let Some(stretch) = next.first().filter(is_large)
        && let Some(picked) = reader.pick_of_series(series, stretch)?
    {
        return Ok(vec![(*stretch, Held::Picked(picked))]);
    }
    let read = reader.of_series(series, from, direction, max_bytes)?;
    Ok(read.into_iter().map(|(stretch, arrival)| (stretch, Held::Change(arrival))).collect())
}

/// The entries of a stretch that are wanted and not archived.
fn of_stretch(
    series: &Series,
    standing: &Standing,
    stretch: &Stretch,
    held: &Held,
    wanted: Wanted<'_>,
) -> Result<Vec<Numbered>, StoreError> {
    let mut entries: Vec<Numbered> = Vec::new();
    let is_wanted =
        |seq, view: &View<'_>| !standing.is_archived(stretch.author, seq) && wanted(view);
    match held {
        Held::Change(arrival) => each(series, stretch, arrival, |ordinal, at, seq, view| {
            if is_wanted(seq, view) {
                let before = entries.last().map(|before| &before.entry);
                let entry = entry(arrival, at, view, before)?;
                entries.push(Numbered { ordinal, entry });
            }
            Ok::<_, StoreError>(())
        })?,
        Held::Picked(picked) => {
            let mut ordinal = stretch.before;
            picked.each(|at, seq, view| {
                ordinal += 1;
                if is_wanted(seq, view) {
                    entries.push(Numbered { ordinal, entry: picked.entry(at)? });
                }
                Ok(())
            })?;
        }
    }
    Ok(entries)
}

/// Calls with each entry of a stretch: its ordinal, its place in the change, its seq and itself.
pub(super) fn each<E: From<StoreError>>(
    series: &Series,
    stretch: &Stretch,
    arrival: &Arrival,
    mut call: impl FnMut(u64, u64, Seq, &View<'_>) -> Result<(), E>,
) -> Result<(), E> {
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
    offset: Offset,
) -> Result<u64, StoreError> {
    let newest = reader.entries_of(series)?;
    if let Some(found) = ordinal_below(reader, series, newest, offset)? {
        return Ok(found);
    }
    let end = reader.entries_before(series, offset.plus(1))?;
    let missing = || StoreError::Damaged(format!("no entry at offset {offset} in its series"));
    ordinal_below(reader, series, end, offset)?.ok_or_else(missing)
}

/// The ordinal of the entry at an offset, if it is in the change that holds another ordinal.
fn ordinal_below(
    reader: &mut dyn Reader,
    series: &Series,
    ordinal: u64,
    offset: Offset,
) -> Result<Option<u64>, StoreError> {
    let stretches = reader.of_series(series, ordinal, Direction::Backward, 1)?;
    let Some((stretch, arrival)) = stretches.first().filter(|(_, it)| it.offset <= offset) else {
        return Ok(None);
    };
    let mut found = stretch.before;
    each(series, stretch, arrival, |ordinal, place, _, _| {
        if arrival.offset.plus(place) <= offset {
            found = ordinal;
        }
        Ok::<_, StoreError>(())
    })?;
    Ok(Some(found))
}
