//! Sealing: which changes become a block, and how they are written.
//!
//! Large appends and runs of peers become blocks at once. Small ones stand in rows of their own until
//! enough of them follow each other; then the node packs them in the background, and one transaction
//! puts the block in the place of the rows.

use rusqlite::{Connection, OptionalExtension, params};

use super::super::block::worth::{Enough, block_length};
use super::super::block::{BLOCK_BYTES, BLOCK_ENTRIES, Damaged, Sealer};
use super::super::damage::{Lost, Part};
use super::super::{Sealed, StoreError};
use super::blocks::{self, New, NewestBlock, Pieces};
use super::reader::{CHANGE, SqliteReader, arrival, offset};
use super::{OpenStrand, seq, time};
use crate::core::change::Change;
use crate::core::log::Arrival;
use crate::words::{ChangeHash, Offset, Seq, Signature};

/// How many bytes of changes a step of the background work takes, at most about.
const STEP_BYTES: usize = 4 << 20;

/// Packs changes that arrive together.
pub(super) fn pack(sealer: &mut Sealer, arrivals: &[Arrival]) -> Result<Vec<u8>, StoreError> {
    sealer.seal(arrivals.iter().map(|arrival| &arrival.change)).map_err(unreadable)
}

/// Writes changes that arrive together as a block. The strand has their bytes already.
pub(super) fn write(
    connection: &Connection,
    strand: &OpenStrand,
    arrivals: &[Arrival],
    record: &[u8],
    newest: &mut NewestBlock,
) -> Result<(), StoreError> {
    let (first, last) = (&arrivals[0].change, &arrivals[arrivals.len() - 1].change);
    let pieces = arrivals.iter().map(|a| (a.offset, u64::from(a.change.count), a.skew));
    New {
        strand: strand.row,
        first_seq: first.first_seq,
        next_seq: last.next_seq(),
        position: first.index,
        changes: arrivals.len(),
        times: (first.first_time, last.last_time),
        hash: last.hash,
        signature: last.signature,
        so_far: strand.bytes,
        pieces: &Pieces::of(pieces),
        record,
    }
    .insert(connection, newest)
}

fn unreadable(_: Damaged) -> StoreError {
    StoreError::Damaged("a change that is to be sealed can't be read".into())
}

/// Puts a block in the place of the rows that it was packed of. Rows that are not there any more as
/// they were packed stay as they are.
pub(super) fn replace(
    connection: &Connection,
    sealed: &Sealed,
    newest: &mut NewestBlock,
) -> Result<(), StoreError> {
    let mut query = connection.prepare_cached(
        "SELECT c.segment, c.offset, c.count, c.skew, c.first_seq, c.position, c.first_time,
            c.last_time, c.hash, c.signature, c.so_far
         FROM changes c JOIN segments s ON s.id = c.segment
         WHERE s.name = ?1 AND s.side = ?2 AND c.first_seq >= ?3 AND c.first_seq < ?4
         ORDER BY c.first_seq",
    )?;
    let Sealed { strand, first_seq, next_seq, .. } = *sealed;
    let values = params![strand.segment.0, strand.side, first_seq.0 as i64, next_seq.0 as i64];
    let mut rows = query.query(values)?;
    let (mut places, mut at, mut block) = (Vec::new(), first_seq, None);
    while let Some(row) = rows.next()? {
        let count: u32 = row.get(2)?;
        places.push((offset(row.get(1)?), u64::from(count), row.get(3)?));
        if seq(row.get(4)?) != at {
            return Ok(());
        }
        at = at.plus(u64::from(count));
        let (position, first_time) = match block {
            None => (row.get(5)?, time(row.get(6)?)),
            Some(New { position, times: (first_time, _), .. }) => (position, first_time),
        };
        block = Some(New {
            strand: row.get(0)?,
            first_seq,
            next_seq,
            position,
            changes: places.len(),
            times: (first_time, time(row.get(7)?)),
            hash: ChangeHash(row.get(8)?),
            signature: row.get::<_, Option<[u8; 64]>>(9)?.map(Signature),
            so_far: row.get::<_, i64>(10)? as u64,
            pieces: &[],
            record: &sealed.record,
        });
    }
    let Some(mut block) = block.filter(|block| at == next_seq && block.hash == sealed.hash) else {
        return Ok(());
    };
    let pieces = Pieces::of(places.into_iter());
    block.pieces = &pieces;
    let strand = block.strand;
    connection
        .prepare_cached(
            "DELETE FROM changes WHERE segment = ?1 AND first_seq >= ?2 AND first_seq < ?3",
        )?
        .execute(params![strand, first_seq.0 as i64, next_seq.0 as i64])?;
    block.insert(connection, newest)
}

/// Writes changes over damaged ones: over a block, whose row is returned, or over a row.
pub(super) fn mend(
    connection: &Connection,
    sealer: &mut Sealer,
    lost: &Lost,
    changes: &[Change],
) -> Result<Option<i64>, StoreError> {
    let Some((block, _)) = blocks::at_offset(connection, lost.offset)? else {
        changes.iter().try_for_each(|change| mend_row(connection, lost, change))?;
        return Ok(None);
    };
    let stands = "SELECT first_seq, next_seq FROM blocks WHERE id = ?1";
    let stands: (i64, i64) = connection
        .prepare_cached(stands)?
        .query_row([block], |row| Ok((row.get(0)?, row.get(1)?)))?;
    if stands != (lost.first_seq.0 as i64, lost.next_seq.0 as i64) {
        return Ok(None); // a row was damaged here, and a block of what it held has taken its place
    }
    if lost.part == Part::Signature {
        mend_signature(connection, block, changes)?;
        return Ok(Some(block));
    }
    let mut changes = changes.to_vec();
    let last = changes.last_mut().ok_or_else(|| unreadable(Damaged))?;
    let kept = "SELECT signature FROM blocks WHERE id = ?1";
    let kept = connection.prepare_cached(kept)?.query_row([block], |row| row.get(0))?;
    let signature = *last.signature.get_or_insert(Signature(kept));
    let record = sealer.seal(&changes).map_err(unreadable)?;
    connection
        .prepare_cached("UPDATE blocks SET record = ?2, signature = ?3 WHERE id = ?1")?
        .execute(params![block, record, signature.0])?;
    Ok(Some(block))
}

/// Writes the signature of a block's last change over a damaged one.
fn mend_signature(
    connection: &Connection,
    block: i64,
    changes: &[Change],
) -> Result<(), StoreError> {
    let mut mend = connection
        .prepare_cached("UPDATE blocks SET signature = ?3 WHERE id = ?1 AND hash = ?2")?;
    for change in changes {
        if let Some(signature) = change.signature {
            mend.execute(params![block, change.hash.0, signature.0])?;
        }
    }
    Ok(())
}

/// Writes a change over a damaged one, at the offset that it has.
fn mend_row(connection: &Connection, lost: &Lost, change: &Change) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "UPDATE changes SET first_seq = ?2, position = ?3, count = ?4, first_time = ?5,
                last_time = ?6, hash = ?7, bytes = ?9,
                signature = CASE WHEN ?10 THEN ?8 ELSE coalesce(?8, signature) END
             WHERE offset = ?1",
        )?
        .execute(params![
            lost.offset.0 as i64,
            change.first_seq.0 as i64,
            change.index,
            change.count,
            change.first_time.bits() as i64,
            change.last_time.bits() as i64,
            change.hash.0,
            change.signature.map(|signature| signature.0),
            &change.bytes[..],
            lost.part == Part::Signature,
        ])?;
    Ok(())
}

impl SqliteReader {
    /// What stands in rows and is worth a block; what arrived below `old` is, however little it is.
    pub(super) fn worth_sealing(&mut self, old: Offset) -> Result<Vec<Vec<Arrival>>, StoreError> {
        let mut strands = self.connection.prepare_cached(
            "SELECT c.segment, min(c.first_seq), sum(c.count), sum(length(c.bytes)), max(c.offset), s.tip
             FROM changes c JOIN segments s ON s.id = c.segment GROUP BY c.segment",
        )?;
        let found = strands.query_map([], |row| {
            let (entries, bytes): (i64, i64) = (row.get(2)?, row.get(3)?);
            let done = !row.get::<_, bool>(5)? || offset(row.get(4)?) < old;
            let much =
                entries as usize >= Enough::LATER.entries || bytes as usize >= Enough::LATER.bytes;
            let enough = if done { Enough::ANY } else { Enough::LATER };
            Ok((row.get::<_, i64>(0)?, seq(row.get(1)?), enough, done || much))
        })?;
        let found: Vec<_> = found.collect::<Result<_, _>>()?;
        drop(strands);
        let (mut blocks, mut bytes) = (Vec::new(), 0);
        for (strand, first, enough, _) in found.into_iter().filter(|(.., worth)| *worth) {
            let mut from = Some(first);
            while let Some(at) = from.filter(|_| bytes < STEP_BYTES) {
                let mut rows = self.rows_of_strand(strand, at)?;
                from = match block_length(&rows, enough) {
                    Some(length) => {
                        rows.truncate(length);
                        let next = rows.last().map(|arrival| arrival.change.next_seq());
                        bytes += rows.iter().map(|a| a.change.bytes.len()).sum::<usize>();
                        blocks.push(rows);
                        next
                    }
                    // A block or what is damaged may lie between these rows and others.
                    None => match rows.last() {
                        Some(last) => self.next_row(strand, last.change.next_seq())?,
                        None => self.next_row(strand, at.plus(1))?,
                    },
                };
            }
        }
        Ok(blocks)
    }

    /// The first seq at or above `from` of a strand's change in a row.
    fn next_row(&self, strand: i64, from: Seq) -> Result<Option<Seq>, StoreError> {
        let mut query = self.connection.prepare_cached(
            "SELECT min(first_seq) FROM changes WHERE segment = ?1 AND first_seq >= ?2",
        )?;
        let next = query
            .query_row(params![strand, blocks::column(from.0)], |row| row.get::<_, Option<i64>>(0));
        Ok(next.optional()?.flatten().map(seq))
    }

    /// Consecutive changes in rows, a block's worth at most, up to one that is damaged.
    fn rows_of_strand(&mut self, strand: i64, from: Seq) -> Result<Vec<Arrival>, StoreError> {
        let mut query = self.connection.prepare_cached(&format!(
            "{CHANGE} WHERE c.segment = ?1 AND c.first_seq >= ?2 ORDER BY c.first_seq LIMIT ?3"
        ))?;
        let values = params![strand, blocks::column(from.0), BLOCK_ENTRIES as i64];
        let mut rows = query.query(values)?;
        let (mut found, mut at, mut bytes): (Vec<Arrival>, _, _) = (Vec::new(), from, 0);
        while bytes < BLOCK_BYTES
            && let Some(row) = rows.next()?
        {
            let arrival = arrival(row)?;
            let follows = arrival.change.first_seq == at || found.is_empty();
            if !follows || super::super::whole(&arrival, &self.damages).is_err() {
                break;
            }
            at = arrival.change.next_seq();
            bytes += arrival.change.bytes.len();
            found.push(arrival);
        }
        Ok(found)
    }
}
