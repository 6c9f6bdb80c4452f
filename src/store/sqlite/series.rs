//! The index from topics and tenants to changes: written with each change, read by ordinal.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};

use rusqlite::{Connection, OptionalExtension, params};

use super::super::StoreError;
use super::super::picked::Picked;
use super::super::pruning::PruningReader;
use super::super::series::{ARCHIVED_AT_ONCE, STRETCHES, SeriesReader, misplaced};
use super::blocks::{self, Asked, column};
use super::pruning::hole_at;
use super::reader::SqliteReader;
use super::seq;
use crate::core::archive::Cut;
use crate::core::change::Change;
use crate::core::log::Arrival;
use crate::core::merge::Direction;
use crate::core::series::{Series, Shares, Standing, Stretch};
use crate::words::entry::View;
use crate::words::{NodeId, Offset, Tenant};

/// How many series the writer knows by their row; one more, and they are looked up again.
const KNOWN_SERIES: usize = 16_384;
/// How many bytes of changes are read at once where all are read.
const AT_ONCE: usize = 1 << 20;

/// A series that the writer knows.
#[derive(Clone, Copy)]
pub(super) struct KnownSeries {
    row: i64,
    /// How many entries it has.
    entries: u64,
}

/// Series by name, as far as the writer knows them.
pub(super) type KnownRows = HashMap<Series, KnownSeries>;

/// Writes what a change adds to its series.
pub(super) fn index(
    connection: &Connection,
    known: &mut KnownRows,
    author: i64,
    arrival: &Arrival,
) -> Result<(), StoreError> {
    let Arrival { offset, change, .. } = arrival;
    let shares = Shares::of(change).map_err(|e| StoreError::Damaged(e.to_string()))?;
    let mut insert = connection.prepare_cached(
        "INSERT INTO stretches (series, before, count, offset, author, first_seq, next_seq)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?;
    for (series, count) in shares.counts {
        let found = known_series(connection, known, &series)?;
        insert.execute(params![
            found.row,
            found.entries as i64,
            count,
            offset.0 as i64,
            author,
            change.first_seq.0 as i64,
            change.next_seq().0 as i64,
        ])?;
        let entries = found.entries + u64::from(count);
        known.insert(series, KnownSeries { entries, ..found });
    }
    for cut in &shares.cuts {
        let found = known_series(connection, known, &cut.series())?;
        write_cut(connection, found.row, cut)?;
    }
    Ok(())
}

/// The row of a series, which is made when it is missing.
fn known_series(
    connection: &Connection,
    known: &mut KnownRows,
    series: &Series,
) -> Result<KnownSeries, StoreError> {
    if let Some(found) = known.get(series) {
        return Ok(*found);
    }
    let found = match row_of(connection, series)? {
        Some(row) => KnownSeries { row, entries: entries_of(connection, row)? },
        None => {
            connection
                .prepare_cached("INSERT INTO series (tenant, topic) VALUES (?1, ?2)")?
                .execute(name(series))?;
            KnownSeries { row: connection.last_insert_rowid(), entries: 0 }
        }
    };
    if known.len() >= KNOWN_SERIES {
        known.clear();
    }
    known.insert(series.clone(), found);
    Ok(found)
}

/// A topic is never empty, so the empty text stands for all topics of a tenant.
fn name(series: &Series) -> [&str; 2] {
    [series.tenant.as_str(), series.topic.as_ref().map_or("", |topic| topic.as_str())]
}

pub(super) fn row_of(connection: &Connection, series: &Series) -> Result<Option<i64>, StoreError> {
    let query = "SELECT id FROM series WHERE tenant = ?1 AND topic = ?2";
    let mut query = connection.prepare_cached(query)?;
    Ok(query.query_row(name(series), |row| row.get(0)).optional()?)
}

pub(super) fn entries_of(connection: &Connection, row: i64) -> Result<u64, StoreError> {
    let newest = connection
        .prepare_cached(
            "SELECT before + count FROM stretches WHERE series = ?1 ORDER BY before DESC LIMIT 1",
        )?
        .query_row([row], |row| row.get::<_, i64>(0))
        .optional()?;
    Ok(newest.unwrap_or(0) as u64)
}

/// Raises what is archived of a series, and looks how far it is archived from its start.
fn write_cut(connection: &Connection, row: i64, cut: &Cut) -> Result<(), StoreError> {
    let mut raise = connection.prepare_cached(
        "INSERT INTO archived (series, author, through) VALUES (?1, ?2, ?3)
         ON CONFLICT (series, author) DO UPDATE SET through = max(through, excluded.through)",
    )?;
    for (author, through) in &cut.through {
        raise.execute(params![row, author.0, column(through.0)])?;
    }
    let standing = standing(connection, row)?;
    let mut hidden = standing.hidden;
    let ahead = read_stretches(connection, row, hidden + 1, Direction::Forward, ARCHIVED_AT_ONCE)?;
    for stretch in ahead.iter().take_while(|stretch| standing.is_all_archived(stretch)) {
        hidden = stretch.end();
    }
    connection
        .prepare_cached("UPDATE series SET hidden = ?2 WHERE id = ?1")?
        .execute(params![row, hidden as i64])?;
    Ok(())
}

fn standing(connection: &Connection, row: i64) -> Result<Standing, StoreError> {
    let mut query =
        connection.prepare_cached("SELECT author, through FROM archived WHERE series = ?1")?;
    let archived = query.query_map([row], |row| Ok((NodeId(row.get(0)?), seq(row.get(1)?))))?;
    let archived = archived.collect::<Result<BTreeMap<_, _>, _>>()?;
    let mut query = connection.prepare_cached("SELECT hidden FROM series WHERE id = ?1")?;
    let hidden: i64 = query.query_row([row], |row| row.get(0))?;
    Ok(Standing { entries: entries_of(connection, row)?, archived, hidden: hidden as u64 })
}

/// A stretch, and the row of who wrote its change.
const STRETCH: &str = "SELECT t.before, t.count, t.offset, t.author, t.first_seq, t.next_seq
    FROM stretches t";

/// Which stretches are read, in which order.
fn condition(direction: Direction) -> &'static str {
    match direction {
        Direction::Forward => {
            "WHERE t.series = ?1 AND t.before >= coalesce((SELECT before FROM stretches
                WHERE series = ?1 AND before < ?2 ORDER BY before DESC LIMIT 1), 0)
                AND t.before + t.count >= ?2
             ORDER BY t.before"
        }
        Direction::Backward => "WHERE t.series = ?1 AND t.before < ?2 ORDER BY t.before DESC",
    }
}

fn read_stretches(
    connection: &Connection,
    row: i64,
    from: u64,
    direction: Direction,
    limit: usize,
) -> Result<Vec<Stretch>, StoreError> {
    let query = format!("{STRETCH} {} LIMIT ?3", condition(direction));
    let mut query = connection.prepare_cached(&query)?;
    let values = params![row, column(from), column(limit as u64)];
    let mut rows = query.query(values)?;
    let mut authors: HashMap<i64, NodeId> = HashMap::new();
    let mut stretches = Vec::new();
    while let Some(row) = rows.next()? {
        // Most are of few authors, so each is looked up once.
        let author = match authors.entry(row.get(3)?) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(new) => {
                let author = author_of(connection, *new.key())?;
                *new.insert(author)
            }
        };
        stretches.push(Stretch {
            before: row.get::<_, i64>(0)? as u64,
            count: row.get(1)?,
            offset: Offset(row.get::<_, i64>(2)? as u64),
            author,
            first_seq: seq(row.get(4)?),
            next_seq: seq(row.get(5)?),
        });
    }
    Ok(stretches)
}

fn author_of(connection: &Connection, row: i64) -> Result<NodeId, StoreError> {
    let mut query = connection.prepare_cached("SELECT node FROM authors WHERE id = ?1")?;
    Ok(NodeId(query.query_row([row], |row| row.get(0))?))
}

/// Checks that no stretch is missing between one and the one that was read before it.
fn check_order(
    series: &Series,
    direction: Direction,
    before: Option<&Stretch>,
    stretch: &Stretch,
) -> Result<(), StoreError> {
    let follows = match (direction, before) {
        (_, None) => true,
        (Direction::Forward, Some(before)) => before.end() == stretch.before,
        (Direction::Backward, Some(before)) => stretch.end() == before.before,
    };
    if follows { Ok(()) } else { Err(misplaced(series, stretch.end())) }
}

/// Checks that a change holds what the index says.
fn check(series: &Series, (stretch, arrival): (&Stretch, &Arrival)) -> Result<(), StoreError> {
    let Change { author, first_seq, .. } = arrival.change;
    let next_seq = arrival.change.next_seq();
    let named = (stretch.offset, stretch.author, stretch.first_seq, stretch.next_seq);
    let chunk = arrival.change.chunk().map_err(|e| StoreError::Damaged(e.to_string()))?;
    let held = |entry: &&[u8]| View::read(entry).is_ok_and(|view| series.holds(&view));
    let as_said = named == (arrival.offset, author, first_seq, next_seq)
        && chunk.entries().filter(held).count() == stretch.count as usize;
    if as_said { Ok(()) } else { Err(misplaced(series, stretch.end())) }
}

impl SeriesReader for SqliteReader {
    fn standing_of(&mut self, series: &Series) -> Result<Option<Standing>, StoreError> {
        self.at_once(|reader| {
            let row = row_of(&reader.connection, series)?;
            row.map(|row| standing(&reader.connection, row)).transpose()
        })
    }

    fn entries_of(&mut self, series: &Series) -> Result<u64, StoreError> {
        self.at_once(|reader| {
            let row = row_of(&reader.connection, series)?;
            row.map_or(Ok(0), |row| entries_of(&reader.connection, row))
        })
    }

    fn stretches(
        &mut self,
        series: &Series,
        from: u64,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<Stretch>, StoreError> {
        self.at_once(|reader| match row_of(&reader.connection, series)? {
            Some(row) => read_stretches(&reader.connection, row, from, direction, limit),
            None => Ok(Vec::new()),
        })
    }

    fn of_series(
        &mut self,
        series: &Series,
        from: u64,
        direction: Direction,
        max_bytes: usize,
    ) -> Result<Vec<(Stretch, Arrival)>, StoreError> {
        self.at_once(|reader| reader.changes_of(series, from, direction, max_bytes))
    }

    fn pick_of_series(
        &mut self,
        series: &Series,
        stretch: &Stretch,
    ) -> Result<Option<Picked>, StoreError> {
        let seqs = stretch.first_seq..stretch.next_seq;
        let wanted = |tenant: &str, topic: &str| series.is_of(tenant, topic);
        self.at_once(|reader| {
            let Some((block, _)) = blocks::at_offset(&reader.connection, stretch.offset)? else {
                return Ok(None);
            };
            let Some(picked) = reader.pick_of_block(block, Asked::Few((&seqs, &wanted)))? else {
                return Ok(None);
            };
            let named = (stretch.offset, stretch.author, seqs.clone(), stretch.count as usize);
            let held = (picked.offset, picked.author, picked.seqs.clone(), picked.entries.len());
            if held == named { Ok(Some(picked)) } else { Err(misplaced(series, stretch.end())) }
        })
    }

    fn entries_before(&mut self, series: &Series, offset: Offset) -> Result<u64, StoreError> {
        self.at_once(|reader| entries_before(&reader.connection, series, offset))
    }

    fn tenants(&mut self) -> Result<Vec<Tenant>, StoreError> {
        // From one tenant to the next, however many topics lie between them.
        let mut query = self.connection.prepare_cached(
            "WITH RECURSIVE tenants (tenant) AS (
                SELECT min(tenant) FROM series
                UNION ALL
                SELECT (SELECT min(s.tenant) FROM series s WHERE s.tenant > tenants.tenant)
                FROM tenants WHERE tenants.tenant IS NOT NULL)
             SELECT tenant FROM tenants WHERE tenant IS NOT NULL",
        )?;
        let mut rows = query.query([])?;
        let mut tenants = Vec::new();
        while let Some(row) = rows.next()? {
            let tenant = Tenant::parse(row.get_ref(0)?.as_str().unwrap_or_default());
            tenants.push(tenant.map_err(|e| StoreError::Damaged(format!("a series: {e}")))?);
        }
        Ok(tenants)
    }
}

impl SqliteReader {
    /// As [`SeriesReader::of_series`], in a snapshot.
    fn changes_of(
        &mut self,
        series: &Series,
        from: u64,
        direction: Direction,
        max_bytes: usize,
    ) -> Result<Vec<(Stretch, Arrival)>, StoreError> {
        let Some(row) = row_of(&self.connection, series)? else { return Ok(Vec::new()) };
        let mut read: Vec<(Stretch, Arrival)> = Vec::new();
        let mut before: Option<Stretch> = None;
        let mut stretches = read_stretches(&self.connection, row, from, direction, STRETCHES)?;
        while read.is_empty() && !stretches.is_empty() {
            self.read_changes(series, direction, (&stretches, &mut before), max_bytes, &mut read)?;
            // Many that follow each other may have been removed.
            let on = match (&before, direction) {
                (Some(last), Direction::Forward) => last.end() + 1,
                (Some(last), Direction::Backward) if last.before > 0 => last.before,
                _ => break,
            };
            if read.is_empty() {
                stretches = read_stretches(&self.connection, row, on, direction, STRETCHES)?;
            }
        }
        Ok(read)
    }

    fn read_changes(
        &mut self,
        series: &Series,
        direction: Direction,
        (stretches, before): (&[Stretch], &mut Option<Stretch>),
        max_bytes: usize,
        read: &mut Vec<(Stretch, Arrival)>,
    ) -> Result<(), StoreError> {
        let (ends, mut bytes) = (stretches.first().zip(stretches.last()), 0);
        let holed = match ends {
            Some((one, other)) => {
                let (from, to) = (one.offset.min(other.offset), one.offset.max(other.offset));
                self.removed_within(from..to.plus(1))?
            }
            None => false,
        };
        for stretch in stretches.iter().copied() {
            if bytes >= max_bytes {
                break;
            }
            check_order(series, direction, before.replace(stretch).as_ref(), &stretch)?;
            if holed && hole_at(&self.connection, stretch.offset)?.is_some() {
                continue; // it was removed
            }
            let arrivals = self.arrivals_from(stretch.offset, 1)?;
            let arrival = arrivals.into_iter().next();
            let arrival = arrival.ok_or_else(|| misplaced(series, stretch.end()))?;
            check(series, (&stretch, &arrival))?;
            bytes += arrival.change.bytes.len();
            read.push((stretch, arrival));
        }
        Ok(())
    }
}

fn entries_before(
    connection: &Connection,
    series: &Series,
    offset: Offset,
) -> Result<u64, StoreError> {
    let Some(row) = row_of(connection, series)? else { return Ok(0) };
    let (mut low, mut high) = (trimmed(connection, row)?, entries_of(connection, row)?);
    // Offsets rise with ordinals, so the stretch is found by halving.
    let mut probe = connection.prepare_cached(
        "SELECT before, before + count, offset FROM stretches
         WHERE series = ?1 AND before <= ?2 ORDER BY before DESC LIMIT 1",
    )?;
    while low < high {
        let middle = low + (high - low) / 2;
        let (before, end, at) = probe.query_row(params![row, column(middle)], |row| {
            let number = |at| row.get::<_, i64>(at).map(|value| value as u64);
            Ok((number(0)?, number(1)?, number(2)?))
        })?;
        if !(low..=middle).contains(&before) || end <= middle {
            return Err(misplaced(series, middle + 1));
        }
        if at < offset.0 {
            low = end;
        } else {
            high = before;
        }
    }
    Ok(low)
}

/// How many of the oldest entries of a series the index has nothing of any more.
fn trimmed(connection: &Connection, row: i64) -> Result<u64, StoreError> {
    let oldest = "SELECT coalesce(min(before), 0) FROM stretches WHERE series = ?1";
    let oldest: i64 = connection.prepare_cached(oldest)?.query_row([row], |row| row.get(0))?;
    Ok(oldest as u64)
}

/// Writes the index of a store that has none: once, when an older file is brought up to date.
///
/// # Errors
/// The store can't be read or written, or holds a change that was damaged: what it held is then not
/// known, and its place in the index would be missing for ever.
pub(super) fn index_all(
    connection: &Connection,
    reader: &mut SqliteReader,
) -> Result<(), StoreError> {
    let mut known = KnownRows::new();
    let mut at = Offset(0);
    loop {
        let arrivals = reader.arrivals_from(at, AT_ONCE)?;
        let Some(last) = arrivals.last() else { return Ok(()) };
        at = last.end();
        for arrival in &arrivals {
            let author = connection
                .prepare_cached("SELECT id FROM authors WHERE node = ?1")?
                .query_row([arrival.change.author.0], |row| row.get(0))?;
            index(connection, &mut known, author, arrival)?;
        }
    }
}

/// Compares the whole index with the changes.
///
/// # Errors
/// The first change that the index doesn't name as it should. A change that is damaged is left to
/// whoever reads it.
pub(super) fn check_all(reader: &mut SqliteReader) -> Result<(), StoreError> {
    reader.at_once(checked)
}

fn checked(reader: &mut SqliteReader) -> Result<(), StoreError> {
    let mut counted: HashMap<i64, u64> = HashMap::new();
    let (mut at, mut found) = (Offset(0), 0);
    loop {
        let arrivals = match reader.arrivals_from(at, AT_ONCE) {
            Err(StoreError::Lost(_)) => return Ok(()), // what it held isn't known, nor what follows
            arrivals => arrivals?,
        };
        let Some(last) = arrivals.last() else { break };
        at = last.end();
        for arrival in &arrivals {
            found += check_shares(&reader.connection, &mut counted, arrival)?;
        }
    }
    // Of what was removed, the index may still say where it was.
    let query = "SELECT coalesce(sum(count), 0) FROM stretches t WHERE t.offset >= coalesce(
        (SELECT offset + count FROM holes WHERE offset <= t.offset ORDER BY offset DESC LIMIT 1), 0)";
    let said: i64 = reader.connection.query_row(query, [], |row| row.get(0))?;
    if said as u64 != found {
        return Err(StoreError::Damaged("the index names entries that are not there".into()));
    }
    Ok(())
}

/// Checks that the index names what a change adds to its series, with the right numbers, and returns
/// how much that is.
fn check_shares(
    connection: &Connection,
    counted: &mut HashMap<i64, u64>,
    arrival: &Arrival,
) -> Result<u64, StoreError> {
    let mut found = 0;
    let mut named = connection.prepare_cached(
        "SELECT count FROM stretches WHERE series = ?1 AND before = ?2 AND offset = ?3",
    )?;
    let shares = Shares::of(&arrival.change).map_err(|e| StoreError::Damaged(e.to_string()))?;
    for (series, count) in shares.counts {
        let row = row_of(connection, &series)?.ok_or_else(|| misplaced(&series, 1))?;
        let before = match counted.entry(row) {
            Entry::Occupied(before) => before.into_mut(),
            Entry::Vacant(none) => none.insert(trimmed(connection, row)?),
        };
        *before = past_removed(connection, row, *before)?;
        let values = params![row, *before as i64, arrival.offset.0 as i64];
        let said: Option<u32> = named.query_row(values, |row| row.get(0)).optional()?;
        if said != Some(count) {
            return Err(misplaced(&series, *before + 1));
        }
        *before += u64::from(count);
        found += u64::from(count);
    }
    Ok(found)
}

/// Where a series goes on after an ordinal, behind what was removed of it.
fn past_removed(connection: &Connection, row: i64, mut before: u64) -> Result<u64, StoreError> {
    let mut next = connection
        .prepare_cached("SELECT count, offset FROM stretches WHERE series = ?1 AND before = ?2")?;
    loop {
        let found = next.query_row(params![row, before as i64], |row| {
            Ok((row.get::<_, i64>(0)? as u64, Offset(row.get::<_, i64>(1)? as u64)))
        });
        match found.optional()? {
            Some((count, at)) if hole_at(connection, at)?.is_some() => before += count,
            _ => return Ok(before),
        }
    }
}
