//! Zones in SQLite: rows of blocks and of changes, without what they hold.

use std::collections::HashMap;
use std::ops::Range;

use rusqlite::{OptionalExtension, Row, params};

use super::super::StoreError;
use super::super::picked::{ByNames, Picked};
use super::super::zones::{Zone, ZoneReader};
use super::blocks::{self, Asked, Pieces, column};
use super::reader::{KnownStrand, SqliteReader, offset};
use super::{seq, time};
use crate::core::log::Arrival;
use crate::core::merge::Direction;
use crate::core::segment::Strand;
use crate::words::{Kind, NodeId, Offset, SegmentId, Seq, Time};

/// Of how many blocks a reader remembers which kinds they hold; one more, and all are looked up again.
const KNOWN_KINDS: usize = 65_536;

/// Which kinds blocks hold, by their rows: a bit or two for each kind, so that a kind whose bits are not
/// there isn't held.
pub(super) type KnownKinds = HashMap<i64, u64>;

/// The bits of a kind.
fn bits(kind: &str) -> u64 {
    // FNV-1a: any hash that spreads short texts will do.
    let hash = kind.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    1 << (hash & 63) | 1 << (hash >> 32 & 63)
}

/// A block of a strand: where it stands, when, and where its entries arrived.
const BLOCK: &str = "SELECT first_seq, next_seq, first_time, last_time, arrivals FROM blocks";
/// A change of a strand, likewise.
const CHANGE: &str =
    "SELECT first_seq, first_seq + count, first_time, last_time, offset FROM changes";

/// A run of a block's entries in the order of arrival, with its author and strand.
const PIECE: &str = "SELECT b.first_seq, b.next_seq, b.first_time, b.last_time, p.offset, p.count,
    a.node, s.name, s.side FROM pieces p JOIN blocks b ON b.id = p.block
    JOIN segments s ON s.id = b.segment JOIN authors a ON a.id = s.author";
/// A change in the order of arrival, likewise.
const ARRIVED: &str =
    "SELECT c.first_seq, c.first_seq + c.count, c.first_time, c.last_time, c.offset,
    c.count, a.node, s.name, s.side FROM changes c
    JOIN segments s ON s.id = c.segment JOIN authors a ON a.id = s.author";

impl ZoneReader for SqliteReader {
    fn zones(
        &mut self,
        strand: Strand,
        from: Seq,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<Zone>, StoreError> {
        self.at_once(|reader| {
            let Some(held) = reader.strand_row(strand)? else { return Ok(Vec::new()) };
            let mut zones = reader.zones_in(BLOCK, "blocks", (held, from), direction, limit)?;
            zones.extend(reader.zones_in(CHANGE, "changes", (held, from), direction, limit)?);
            Ok(first(zones, |zone| zone.seqs.start, direction, limit))
        })
    }

    fn zone_holding(&mut self, strand: Strand, seq: Seq) -> Result<Option<Zone>, StoreError> {
        self.at_once(|reader| match reader.strand_row(strand)? {
            Some(held) => reader.zone_around(held, seq),
            None => Ok(None),
        })
    }

    fn zone_at(&mut self, strand: Strand, wanted: Time) -> Result<Option<Zone>, StoreError> {
        self.at_once(|reader| reader.first_ending_at(strand, wanted))
    }

    fn zones_by_arrival(
        &mut self,
        from: Offset,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<Zone>, StoreError> {
        self.at_once(|reader| {
            let mut zones = reader.arrived(PIECE, "p", "pieces", from, direction, limit)?;
            zones.extend(reader.arrived(ARRIVED, "c", "changes", from, direction, limit)?);
            Ok(first(zones, |zone| zone.offsets.start, direction, limit))
        })
    }

    fn may_hold(&mut self, zone: &Zone, kind: &Kind) -> Result<bool, StoreError> {
        if !zone.packed {
            return Ok(true);
        }
        let wanted = bits(kind.as_str());
        self.at_once(|reader| {
            let row = reader.strand_row(zone.strand)?;
            let block = match row {
                Some(known) => blocks::at_seq(&reader.connection, known.row, zone.seqs.start)?,
                None => None,
            };
            let Some(block) = block else { return Ok(true) };
            let known = match reader.kinds.get(&block) {
                Some(known) => *known,
                None => {
                    let Some(kinds) = reader.blocks.kinds(&reader.connection, block)? else {
                        return Ok(true); // it is damaged: whoever reads it says so
                    };
                    let known = kinds.iter().fold(0, |all, kind| all | bits(kind));
                    if reader.kinds.len() >= KNOWN_KINDS {
                        reader.kinds.clear();
                    }
                    reader.kinds.insert(block, known);
                    known
                }
            };
            Ok(known & wanted == wanted)
        })
    }

    fn pick(
        &mut self,
        strand: Strand,
        seqs: &Range<Seq>,
        direction: Direction,
        few: Option<ByNames<'_>>,
    ) -> Result<Option<Picked>, StoreError> {
        let at = direction.first_seq(seqs);
        self.at_once(|reader| {
            let Some(KnownStrand { row, .. }) = reader.strand_row(strand)? else { return Ok(None) };
            let Some(block) = blocks::at_seq(&reader.connection, row, at)? else { return Ok(None) };
            reader.pick_of_block(block, few.map_or(Asked::All, |few| Asked::FewOrAll((seqs, few))))
        })
    }

    fn pick_arrived(
        &mut self,
        offsets: &Range<Offset>,
        direction: Direction,
        few: Option<ByNames<'_>>,
    ) -> Result<Option<Picked>, StoreError> {
        let at = match direction {
            Direction::Forward => offsets.start,
            Direction::Backward => Offset(offsets.end.0.saturating_sub(1)),
        };
        self.at_once(|reader| {
            let found = blocks::at_offset(&reader.connection, at)?;
            let Some((block, _)) = found else { return Ok(None) };
            let any = Seq(0)..Seq(u64::MAX);
            reader.pick_of_block(block, few.map_or(Asked::All, |few| Asked::FewOrAll((&any, few))))
        })
    }

    fn within(
        &mut self,
        strand: Strand,
        seqs: Range<Seq>,
        direction: Direction,
        max_bytes: usize,
    ) -> Result<Vec<Arrival>, StoreError> {
        self.at_once(|reader| {
            let Some(KnownStrand { row, start, .. }) = reader.strand_row(strand)? else {
                return Ok(Vec::new());
            };
            let from = seqs.start.max(start);
            match direction {
                Direction::Forward => reader.strand_from(row, (from, seqs.end), max_bytes),
                Direction::Backward => reader.strand_before(row, from, seqs.end, max_bytes),
            }
        })
    }

    fn arrived_within(
        &mut self,
        offsets: Range<Offset>,
        max_bytes: usize,
    ) -> Result<Vec<Arrival>, StoreError> {
        self.at_once(|reader| reader.arrivals_between(offsets, max_bytes))
    }
}

impl SqliteReader {
    /// Entries of a block without building its change again, whose strand is as its author says.
    pub(super) fn pick_of_block(
        &mut self,
        block: i64,
        asked: Asked<'_>,
    ) -> Result<Option<Picked>, StoreError> {
        let Some((row, picked)) = self.blocks.pick(&self.connection, block, asked)? else {
            return Ok(None);
        };
        let said = (picked.strand.segment, picked.author, picked.segment_seq);
        self.openings.check_said(&self.connection, row, said)?;
        Ok(Some(picked))
    }

    /// Zones of one table, of a strand.
    fn zones_in(
        &self,
        columns: &str,
        table: &str,
        (held, from): (KnownStrand, Seq),
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<Zone>, StoreError> {
        let condition = match direction {
            Direction::Forward => format!(
                "WHERE segment = ?1 AND first_seq >= coalesce((SELECT max(first_seq) FROM {table}
                    WHERE segment = ?1 AND first_seq <= ?2), 0) ORDER BY first_seq"
            ),
            Direction::Backward => {
                "WHERE segment = ?1 AND first_seq < ?2 ORDER BY first_seq DESC".to_owned()
            }
        };
        let mut query =
            self.connection.prepare_cached(&format!("{columns} {condition} LIMIT ?3"))?;
        // Forward, the first one may end below the place.
        let most = column((limit as u64).saturating_add(1));
        let mut rows = query.query(params![held.row, column(from.0), most])?;
        let mut zones = Vec::new();
        while let Some(row) = rows.next()? {
            let zone = of_strand(row, held, table == "blocks")?;
            if direction == Direction::Backward || zone.seqs.end > from {
                zones.push(zone);
            }
        }
        Ok(zones)
    }

    /// Zones of one table in order of arrival.
    fn arrived(
        &self,
        columns: &str,
        alias: &str,
        table: &str,
        from: Offset,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<Zone>, StoreError> {
        let condition = match direction {
            Direction::Forward => format!(
                "WHERE {alias}.offset >= coalesce((SELECT max(offset) FROM {table}
                    WHERE offset <= ?1), 0) ORDER BY {alias}.offset"
            ),
            Direction::Backward => {
                format!("WHERE {alias}.offset < ?1 ORDER BY {alias}.offset DESC")
            }
        };
        let mut query =
            self.connection.prepare_cached(&format!("{columns} {condition} LIMIT ?2"))?;
        let most = column((limit as u64).saturating_add(1));
        let mut rows = query.query(params![column(from.0), most])?;
        let mut zones = Vec::new();
        while let Some(row) = rows.next()? {
            let zone = by_arrival(row, table == "pieces")?;
            if direction == Direction::Backward || zone.offsets.end > from {
                zones.push(zone);
            }
        }
        Ok(zones)
    }

    /// The first zone of a strand that ends at or after a time. Times rise with seqs, so it is found by
    /// halving the range of seqs.
    fn first_ending_at(
        &mut self,
        strand: Strand,
        wanted: Time,
    ) -> Result<Option<Zone>, StoreError> {
        let Some(held) = self.strand_row(strand)? else { return Ok(None) };
        let query = "SELECT start, next_seq FROM kept WHERE id = ?1";
        let mut bounds = self.connection.prepare_cached(query)?;
        let (first, end): (i64, i64) =
            bounds.query_row([held.row], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let (mut low, mut high) = (seq(first).0, seq(end).0);
        let mut found = None;
        let gone = self.gone_in(held.row)?;
        while low < high {
            let middle = Seq(low + (high - low) / 2);
            if let Some(gone) = gone.as_ref().filter(|gone| gone.contains(&middle)) {
                // Nothing is here: what is on one side of it is looked at first.
                match self.zone_around(held, gone.end)? {
                    Some(zone) if gone.end.0 < high && zone.last_time < wanted => {
                        low = zone.seqs.end.0;
                    }
                    zone => {
                        found = zone.filter(|_| gone.end.0 < high).or(found);
                        high = gone.start.0;
                    }
                }
                continue;
            }
            let zone = self.zone_around(held, middle)?.ok_or_else(|| {
                let what = format!("no change holds {middle} of segment {}", strand.segment);
                StoreError::Damaged(what)
            })?;
            if zone.last_time < wanted {
                low = zone.seqs.end.0;
            } else {
                high = zone.seqs.start.0;
                found = Some(zone);
            }
        }
        Ok(found)
    }

    fn zone_around(&self, held: KnownStrand, at: Seq) -> Result<Option<Zone>, StoreError> {
        for (columns, packed) in [(BLOCK, true), (CHANGE, false)] {
            let mut query = self.connection.prepare_cached(&format!(
                "{columns} WHERE segment = ?1 AND first_seq <= ?2 ORDER BY first_seq DESC LIMIT 1"
            ))?;
            let found = query
                .query_row(params![held.row, column(at.0)], |row| of_strand(row, held, packed))
                .optional()?;
            if let Some(found) = found.filter(|zone| zone.seqs.end > at) {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }
}

/// The first of zones that two tables gave, in the direction of reading.
fn first<T: Ord>(
    mut zones: Vec<Zone>,
    place: impl Fn(&Zone) -> T,
    direction: Direction,
    limit: usize,
) -> Vec<Zone> {
    zones.sort_by_key(place);
    if direction == Direction::Backward {
        zones.reverse();
    }
    zones.truncate(limit);
    zones
}

/// A zone of a strand.
fn of_strand(row: &Row<'_>, held: KnownStrand, packed: bool) -> rusqlite::Result<Zone> {
    let seqs = seq(row.get(0)?)..seq(row.get(1)?);
    let offsets = if packed {
        let mut pieces = Pieces::read(row.get_ref(4)?.as_blob()?);
        let first =
            pieces.next().map_or(Offset(0)..Offset(0), |p| p.offset..p.offset.plus(p.count));
        pieces.fold(first, |all, piece| all.start..piece.offset.plus(piece.count))
    } else {
        let first = offset(row.get(4)?);
        first..first.plus(seqs.end.0 - seqs.start.0)
    };
    Ok(Zone {
        author: held.author,
        strand: held.strand,
        seqs,
        first_time: time(row.get(2)?),
        last_time: time(row.get(3)?),
        offsets,
        packed,
    })
}

fn by_arrival(row: &Row<'_>, packed: bool) -> rusqlite::Result<Zone> {
    let first = offset(row.get(4)?);
    Ok(Zone {
        author: NodeId(row.get(6)?),
        strand: Strand { segment: SegmentId(row.get(7)?), side: row.get(8)? },
        seqs: seq(row.get(0)?)..seq(row.get(1)?),
        first_time: time(row.get(2)?),
        last_time: time(row.get(3)?),
        offsets: first..first.plus(row.get::<_, i64>(5)? as u64),
        packed,
    })
}
