//! Pruning in SQLite: the rows that go, and those that are written in their place.

use std::ops::Range;

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::super::StoreError;
use super::super::pruning::{Finished, Gone, Mark, PruningReader, TRIMMED_AT_ONCE};
use super::blocks::{Pieces, column};
use super::reader::{SqliteReader, offset};
use super::series::{entries_of, row_of};
use super::{KnownRows, author_row, join_tips, note_branch, seq, time};
use crate::core::merge::joined;
use crate::core::pruned::Pruned;
use crate::core::segment::{Opening, Strand};
use crate::core::series::Series;
use crate::words::{ChangeHash, NodeId, Offset, SegmentId, Seq, Signature};

/// A mark goes when its neighbours are closer to each other than this part of its age: so there are
/// few, and what is asked for is found to about a thirtieth.
const MARKS_APART: i64 = 32;

/// Removes the entries of a finished segment. Returns where they were; nothing where the segment can't
/// be pruned, or is pruned already.
pub(super) fn prune(
    connection: &Connection,
    strand: Strand,
) -> Result<Vec<Range<Offset>>, StoreError> {
    let found = connection
        .prepare_cached(
            "SELECT k.id, k.changes, k.next_seq, k.bytes, k.last_time, k.head,
                coalesce((SELECT signature FROM changes WHERE segment = k.id AND hash = k.head),
                    (SELECT signature FROM blocks WHERE segment = k.id AND hash = k.head))
             FROM kept k JOIN authors a ON a.id = k.author
             WHERE k.name = ?1 AND k.side = ?2 AND k.tip = 0 AND k.side = 0 AND a.branched = 0
                AND NOT EXISTS (SELECT 1 FROM pruned WHERE segment = k.id)",
        )?
        .query_row(params![strand.segment.0, strand.side], |row| {
            let what = (row.get::<_, i64>(1)?, row.get::<_, i64>(2)?, row.get::<_, i64>(3)?);
            let end = (row.get::<_, i64>(4)?, row.get::<_, [u8; 32]>(5)?);
            Ok((row.get::<_, i64>(0)?, what, end, row.get::<_, Option<[u8; 64]>>(6)?))
        })
        .optional()?;
    let Some((row, (changes, next_seq, bytes), (last_time, hash), Some(signature))) = found else {
        return Ok(Vec::new());
    };
    let ranges = places_of(connection, row)?;
    let mut piece =
        connection.prepare_cached("DELETE FROM pieces WHERE offset >= ?1 AND offset < ?2")?;
    let mut of_rows = connection.prepare_cached("DELETE FROM changes WHERE segment = ?1")?;
    let mut of_blocks = connection.prepare_cached("DELETE FROM blocks WHERE segment = ?1")?;
    of_rows.execute([row])?;
    of_blocks.execute([row])?;
    for range in &ranges {
        piece.execute(params![column(range.start.0), column(range.end.0)])?;
        write_hole(connection, range)?;
    }
    write(connection, row, (changes, next_seq, bytes), (last_time, hash, signature))?;
    Ok(ranges)
}

/// Where in the order of arrival the entries of a segment stand.
fn places_of(connection: &Connection, row: i64) -> Result<Vec<Range<Offset>>, StoreError> {
    let mut ranges = Vec::new();
    let mut rows =
        connection.prepare_cached("SELECT offset, count FROM changes WHERE segment = ?1")?;
    let mut rows = rows.query([row])?;
    while let Some(row) = rows.next()? {
        let from = offset(row.get(0)?);
        ranges.push(from..from.plus(row.get::<_, u32>(1)?.into()));
    }
    let mut blocks = connection.prepare_cached("SELECT arrivals FROM blocks WHERE segment = ?1")?;
    let mut blocks = blocks.query([row])?;
    while let Some(row) = blocks.next()? {
        let pieces = Pieces::read(row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?);
        ranges.extend(pieces.map(|piece| piece.offset..piece.offset.plus(piece.count)));
    }
    Ok(joined(ranges))
}

fn write(
    connection: &Connection,
    row: i64,
    (changes, next_seq, bytes): (i64, i64, i64),
    (last_time, hash, signature): (i64, [u8; 32], [u8; 64]),
) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "INSERT INTO pruned (segment, changes, next_seq, bytes, last_time, hash, signature)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![row, changes, next_seq, bytes, last_time, hash, signature])?;
    Ok(())
}

/// Notes a hole, as one with those that it touches.
fn write_hole(connection: &Connection, range: &Range<Offset>) -> Result<(), StoreError> {
    let (mut from, mut to) = (column(range.start.0), column(range.end.0));
    let mut before = connection.prepare_cached(
        "SELECT offset FROM holes WHERE offset + count = ?1
        AND offset = (SELECT max(offset) FROM holes WHERE offset < ?1)",
    )?;
    if let Some(touching) = before.query_row([from], |row| row.get(0)).optional()? {
        from = touching;
    }
    let mut after =
        connection.prepare_cached("DELETE FROM holes WHERE offset = ?1 RETURNING count")?;
    if let Some(count) = after.query_row([to], |row| row.get::<_, i64>(0)).optional()? {
        to += count;
    }
    connection
        .prepare_cached(
            "INSERT INTO holes (offset, count) VALUES (?1, ?2)
             ON CONFLICT (offset) DO UPDATE SET count = excluded.count",
        )?
        .execute(params![from, to - from])?;
    Ok(())
}

/// Writes what stays of a segment whose entries no peer holds any more. What is held of it stays.
pub(super) fn adopt(
    connection: &Connection,
    known: &mut KnownRows,
    pruned: &Pruned,
) -> Result<(), StoreError> {
    let Pruned { opening, changes, next_seq, bytes, last_time, hash, signature } = pruned;
    let author = author_row(connection, &mut known.authors, opening.author)?;
    join_tips(connection, &mut known.strands, author, opening)?;
    let strand = pruned.strand();
    known.strands.remove(&strand);
    let held = connection
        .prepare_cached("SELECT id, tip FROM segments WHERE name = ?1 AND side = 0")?
        .query_row([strand.segment.0], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, bool>(1)?)))
        .optional()?;
    let row = match held {
        Some((row, true)) => row,
        Some((row, false)) => {
            // Another lifetime of its author went on from what is held of it.
            note_branch(connection, author)?;
            connection
                .prepare_cached("UPDATE segments SET tip = 1 WHERE id = ?1")?
                .execute([row])?;
            row
        }
        None => {
            note_branch(connection, author)?;
            connection
                .prepare_cached(
                    "INSERT INTO segments (name, side, author, opening, first_seq, start,
                        start_time, forks_off, tip)
                     VALUES (?1, 0, ?2, ?3, ?4, ?4, ?5, NULL, 1)",
                )?
                .execute(params![
                    strand.segment.0,
                    author,
                    opening.text(),
                    opening.first_seq.0 as i64,
                    last_time.bits() as i64,
                ])?;
            connection.last_insert_rowid()
        }
    };
    let what = (i64::from(*changes), next_seq.0 as i64, *bytes as i64);
    write(connection, row, what, (last_time.bits() as i64, hash.0, signature.0))
}

/// Removes what the index says of the oldest entries of a series, as far as they are gone. The newest
/// row of a series stays, which says how many entries it had.
pub(super) fn trim(connection: &Connection, series: &Series) -> Result<(), StoreError> {
    let Some(row) = row_of(connection, series)? else { return Ok(()) };
    let mut oldest = connection.prepare_cached(
        "SELECT before, count, offset FROM stretches WHERE series = ?1 ORDER BY before LIMIT ?2",
    )?;
    let mut rows = oldest.query(params![row, TRIMMED_AT_ONCE as i64])?;
    let (mut hole, mut newest, mut gone) = (Offset(0)..Offset(0), 0, 0);
    while let Some(row) = rows.next()? {
        let (before, count, at): (i64, i64, _) = (row.get(0)?, row.get(1)?, offset(row.get(2)?));
        if !hole.contains(&at) {
            match hole_at(connection, at)? {
                Some(found) => hole = found,
                None => break,
            }
        }
        (newest, gone) = (before, before + count);
    }
    drop(rows);
    if gone == 0 {
        return Ok(());
    }
    let kept = if gone as u64 == entries_of(connection, row)? { newest } else { gone };
    connection
        .prepare_cached("DELETE FROM stretches WHERE series = ?1 AND before < ?2")?
        .execute(params![row, kept])?;
    connection
        .prepare_cached("UPDATE series SET hidden = max(hidden, ?2) WHERE id = ?1")?
        .execute(params![row, gone])?;
    Ok(())
}

/// Notes how far the log is at a running time.
pub(super) fn write_mark(connection: &Connection, mark: &Mark) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "INSERT INTO marks (running, offset) VALUES (?1, ?2)
             ON CONFLICT (running) DO UPDATE SET offset = max(offset, excluded.offset)",
        )?
        .execute(params![column(mark.running), column(mark.offset.0)])?;
    connection
        .prepare_cached(
            "DELETE FROM marks WHERE running IN (
                SELECT running FROM (SELECT running, lag(running) OVER w AS before,
                    lead(running) OVER w AS after, row_number() OVER w AS place
                    FROM marks WINDOW w AS (ORDER BY running))
                WHERE place % 2 = 0 AND after - before < (?1 - running) / ?2)",
        )?
        .execute([column(mark.running), MARKS_APART])?;
    Ok(())
}

/// The hole that an offset lies in.
pub(super) fn hole_at(
    connection: &Connection,
    at: Offset,
) -> Result<Option<Range<Offset>>, StoreError> {
    let mut query = connection.prepare_cached(
        "SELECT offset, offset + count FROM holes WHERE offset <= ?1 ORDER BY offset DESC LIMIT 1",
    )?;
    let found = query
        .query_row([column(at.0)], |row| Ok(offset(row.get(0)?)..offset(row.get(1)?)))
        .optional()?;
    Ok(found.filter(|hole| hole.end > at))
}

/// Pages of the file that hold nothing, and all pages.
pub(super) fn pages(connection: &Connection) -> Result<(u64, u64), StoreError> {
    let number = |pragma| connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
    Ok((number("freelist_count")? as u64, number("page_count")? as u64))
}

impl PruningReader for SqliteReader {
    fn finished(&mut self) -> Result<Vec<Finished>, StoreError> {
        self.at_once(|reader| {
            let mut query = reader.connection.prepare_cached(
                "SELECT a.node, k.name, k.side, k.start, k.next_seq, k.last_time,
                    (SELECT max(offset + count) FROM changes WHERE segment = k.id),
                    (SELECT arrivals FROM blocks WHERE segment = k.id
                        ORDER BY first_seq DESC LIMIT 1),
                    (SELECT coalesce(sum(length(record)), 0) FROM blocks WHERE segment = k.id)
                        + (SELECT coalesce(sum(length(bytes)), 0) FROM changes WHERE segment = k.id)
                 FROM kept k JOIN authors a ON a.id = k.author
                 WHERE k.tip = 0 AND k.side = 0 AND a.branched = 0
                    AND NOT EXISTS (SELECT 1 FROM pruned WHERE segment = k.id)",
            )?;
            let found = query.query_map([], finished)?;
            let mut found: Vec<Finished> = found.collect::<Result<_, _>>()?;
            found.sort_by_key(|finished| (finished.end, finished.first_seq));
            Ok(found)
        })
    }

    fn pruned(&mut self, author: Option<NodeId>) -> Result<Vec<Pruned>, StoreError> {
        let mut query = self.connection.prepare_cached(
            "SELECT s.opening, p.changes, p.next_seq, p.bytes, p.last_time, p.hash, p.signature
             FROM pruned p JOIN segments s ON s.id = p.segment JOIN authors a ON a.id = s.author
             WHERE ?1 IS NULL OR a.node = ?1 ORDER BY a.node, s.start",
        )?;
        let mut rows = query.query([author.map(|author| author.0)])?;
        let mut all = Vec::new();
        while let Some(row) = rows.next()? {
            let text = row.get_ref(0)?.as_str().unwrap_or_default();
            let opening = Opening::parse(text)
                .map_err(|e| StoreError::Damaged(format!("a pruned segment: {e}")))?;
            all.push(Pruned {
                opening,
                changes: row.get(1)?,
                next_seq: seq(row.get(2)?),
                bytes: row.get::<_, i64>(3)? as u64,
                last_time: time(row.get(4)?),
                hash: ChangeHash(row.get(5)?),
                signature: Signature(row.get(6)?),
            });
        }
        Ok(all)
    }

    fn gone_of(&mut self, strand: Strand) -> Result<Option<Range<Seq>>, StoreError> {
        self.at_once(|reader| match reader.strand_row(strand)? {
            Some(known) => reader.gone_in(known.row),
            None => Ok(None),
        })
    }

    fn hole_at(&mut self, at: Offset) -> Result<Option<Range<Offset>>, StoreError> {
        hole_at(&self.connection, at)
    }

    fn gone(&mut self) -> Result<Gone, StoreError> {
        let mut query = self.connection.prepare_cached(
            "SELECT coalesce(sum(count), 0), (SELECT count(*) FROM pruned),
                coalesce(max(offset + count), 0) FROM holes",
        )?;
        Ok(query.query_row([], |row| {
            let number = |at| row.get::<_, i64>(at).map(|value| value as u64);
            Ok(Gone { entries: number(0)?, segments: number(1)?, below: Offset(number(2)?) })
        })?)
    }

    fn removed_within(&mut self, offsets: Range<Offset>) -> Result<bool, StoreError> {
        let mut query = self.connection.prepare_cached(
            "SELECT offset + count FROM holes WHERE offset < ?1 ORDER BY offset DESC LIMIT 1",
        )?;
        let end = query.query_row([column(offsets.end.0)], |row| Ok(offset(row.get(0)?)));
        Ok(end.optional()?.is_some_and(|end| end > offsets.start))
    }

    fn archivals(&mut self) -> Result<u64, StoreError> {
        let query = "SELECT coalesce(sum(through + 1), 0) FROM archived";
        let sum =
            self.connection.prepare_cached(query)?.query_row([], |row| row.get::<_, i64>(0))?;
        Ok(sum as u64)
    }

    fn free_bytes(&mut self) -> Result<u64, StoreError> {
        let size: i64 = self.connection.pragma_query_value(None, "page_size", |row| row.get(0))?;
        Ok(pages(&self.connection)?.0 * size as u64)
    }

    fn marks(&mut self) -> Result<Vec<Mark>, StoreError> {
        let query = "SELECT running, offset FROM marks ORDER BY running";
        let mut query = self.connection.prepare_cached(query)?;
        let marks = query.query_map([], |row| {
            Ok(Mark { running: row.get::<_, i64>(0)? as u64, offset: offset(row.get(1)?) })
        })?;
        Ok(marks.collect::<Result<_, _>>()?)
    }
}

impl SqliteReader {
    /// As [`PruningReader::gone_of`], of the strand of a row. What was held of it before it was taken
    /// over stands before, and what came of it after all, behind.
    pub(super) fn gone_in(&self, row: i64) -> Result<Option<Range<Seq>>, StoreError> {
        let mut query = self.connection.prepare_cached(
            "SELECT p.next_seq, s.start,
                coalesce((SELECT first_seq + count FROM changes WHERE segment = s.id
                    AND first_seq < p.next_seq ORDER BY first_seq DESC LIMIT 1), 0),
                coalesce((SELECT next_seq FROM blocks WHERE segment = s.id
                    AND first_seq < p.next_seq ORDER BY first_seq DESC LIMIT 1), 0)
             FROM pruned p JOIN segments s ON s.id = p.segment WHERE p.segment = ?1",
        )?;
        let found = query.query_row([row], |row| {
            let seqs = |at| row.get(at).map(seq);
            Ok(seqs(1)?.max(seqs(2)?).max(seqs(3)?)..seqs(0)?)
        });
        Ok(found.optional()?)
    }
}

fn finished(row: &Row<'_>) -> rusqlite::Result<Finished> {
    let in_rows: Option<i64> = row.get(6)?;
    let in_blocks = match row.get_ref(7)?.as_blob_or_null().map_err(rusqlite::Error::from)? {
        Some(pieces) => Pieces::read(pieces).last(),
        None => None,
    };
    let in_blocks = in_blocks.map_or(Offset(0), |piece| piece.offset.plus(piece.count));
    Ok(Finished {
        author: NodeId(row.get(0)?),
        strand: Strand { segment: SegmentId(row.get(1)?), side: row.get(2)? },
        first_seq: seq(row.get(3)?),
        next_seq: seq(row.get(4)?),
        last_time: time(row.get(5)?),
        end: in_rows.map_or(Offset(0), offset).max(in_blocks),
        bytes: row.get::<_, i64>(8)? as u64,
    })
}
