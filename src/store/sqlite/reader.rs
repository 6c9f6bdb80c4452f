//! The reading half: one connection of its own, read only, a bounded page cache.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, params};

use super::super::damage::Damages;
use super::super::{
    EmitMark, KeyRecord, OpenError, Owner, Reader, Span, StoreError, StoreId, whole,
};
use super::openings::Openings;
use super::order::Order;
use super::{emit_mark, schema, seq, structure, time};
use crate::core::change::Change;
use crate::core::frontier::{Extent, Frontier, Head};
use crate::core::log::{Arrival, Past, Sides, Standing, Tip};
use crate::core::merge::Direction;
use crate::core::segment::{Opening, Parent, Strand};
use crate::core::session::Passed;
use crate::words::{ChangeHash, NodeId, Offset, SegmentId, Seq, Signature, Time};

/// All columns of a change, with its segment and author.
pub(super) const CHANGE: &str =
    "SELECT c.offset, c.skew, a.node, s.name, s.first_seq, c.position, c.first_seq,
    c.count, c.first_time, c.last_time, c.hash, c.signature, c.bytes, s.side, s.id
    FROM changes c JOIN segments s ON s.id = c.segment JOIN authors a ON a.id = s.author";

/// Reads a store, its own or one that no node runs on.
pub struct SqliteReader {
    pub(super) connection: Connection,
    path: PathBuf,
    owner: Owner,
    id: StoreId,
    pub(super) damages: Damages,
    pub(super) openings: Openings,
}

impl SqliteReader {
    pub(super) fn new(
        path: &Path,
        owner: Owner,
        id: StoreId,
        damages: Damages,
    ) -> Result<Self, StoreError> {
        let connection = open_read_only(path)?;
        let (path, openings) = (path.to_owned(), Openings::default());
        Ok(Self { connection, path, owner, id, damages, openings })
    }

    /// Opens a store for reading only, whoever owns it.
    ///
    /// # Errors
    /// No file, a file that isn't towline's, or one of another version.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        if !path.exists() {
            return Err(OpenError::Missing(path.display().to_string()));
        }
        let Some((owner, id)) = schema::check(path)? else {
            return Err(OpenError::Missing(path.display().to_string()));
        };
        let connection = open_read_only(path)?;
        schema::check_current(&connection)?;
        let (path, damages) = (path.to_owned(), Damages::default());
        Ok(Self { connection, path, owner, id, damages, openings: Openings::default() })
    }

    /// The same reader, which from now on sees no commit that is not there yet.
    ///
    /// The snapshot is let go with the reader; until then the write-ahead log can't be reset.
    ///
    /// # Errors
    /// The store can't be read.
    pub fn snapshot(self) -> Result<Self, StoreError> {
        self.connection.execute_batch("BEGIN")?;
        // The snapshot is taken by the first reading in the transaction.
        emits(&self.connection)?;
        Ok(self)
    }

    fn changes(
        &mut self,
        condition: &str,
        values: impl rusqlite::Params,
        max_bytes: usize,
        order: Order,
    ) -> Result<Vec<Arrival>, StoreError> {
        let mut query = self.connection.prepare_cached(&format!("{CHANGE} {condition}"))?;
        let mut rows = query.query(values)?;
        let mut changes = Vec::new();
        let mut bytes = 0;
        while bytes < max_bytes
            && let Some(row) = rows.next()?
        {
            let arrival = whole_arrival(row, &self.connection, &self.damages, &mut self.openings)?;
            order.check(changes.last(), &arrival)?;
            bytes += arrival.change.bytes.len();
            changes.push(arrival);
        }
        Ok(changes)
    }

    /// A strand's row, and its first seq.
    fn strand_row(&self, strand: Strand) -> Result<Option<(i64, Seq)>, StoreError> {
        let query = "SELECT id, start FROM segments WHERE name = ?1 AND side = ?2";
        let mut query = self.connection.prepare_cached(query)?;
        let values = params![strand.segment.0, strand.side];
        Ok(query.query_row(values, |row| Ok((row.get(0)?, seq(row.get(1)?)))).optional()?)
    }
}

fn open_read_only(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    connection.pragma_update(None, "cache_size", -2_048)?;
    connection.pragma_update(None, "query_only", true)?;
    connection.set_prepared_statement_cache_capacity(32);
    Ok(connection)
}

/// The change of a row of [`CHANGE`], checked.
pub(super) fn whole_arrival(
    row: &Row<'_>,
    connection: &Connection,
    damages: &Damages,
    openings: &mut Openings,
) -> Result<Arrival, StoreError> {
    let arrival = arrival(row)?;
    whole(&arrival, damages)?;
    openings.check(connection, row.get(14)?, &arrival.change)?;
    Ok(arrival)
}

pub(super) fn arrival(row: &Row<'_>) -> rusqlite::Result<Arrival> {
    Ok(Arrival {
        offset: offset(row.get(0)?),
        skew: row.get(1)?,
        side: row.get(13)?,
        change: Change {
            author: NodeId(row.get(2)?),
            segment: SegmentId(row.get(3)?),
            segment_seq: seq(row.get(4)?),
            index: row.get(5)?,
            first_seq: seq(row.get(6)?),
            count: row.get(7)?,
            first_time: time(row.get(8)?),
            last_time: time(row.get(9)?),
            hash: ChangeHash(row.get(10)?),
            signature: row.get::<_, Option<[u8; 64]>>(11)?.map(Signature),
            bytes: Bytes::from(row.get::<_, Vec<u8>>(12)?),
        },
    })
}

fn offset(value: i64) -> Offset {
    Offset(value as u64)
}

/// The largest number below 2^63, so that a number of a caller fits a column.
pub(super) fn column(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

pub(super) fn watermark(connection: &Connection) -> Result<Offset, StoreError> {
    let query = "SELECT offset + count FROM changes ORDER BY offset DESC LIMIT 1";
    let mut query = connection.prepare_cached(query)?;
    let newest = query.query_row([], |row| row.get(0)).optional()?;
    Ok(offset(newest.unwrap_or(0)))
}

pub(super) fn emits(connection: &Connection) -> Result<EmitMark, StoreError> {
    let query = "SELECT next, reserved, recorded, dropped, gaps FROM emits";
    Ok(connection.prepare_cached(query)?.query_row([], emit_mark)?)
}

impl Reader for SqliteReader {
    fn id(&self) -> StoreId {
        self.id
    }

    fn owner(&self) -> Owner {
        self.owner
    }

    fn watermark(&mut self) -> Result<Offset, StoreError> {
        watermark(&self.connection)
    }

    fn frontier(&mut self) -> Result<Frontier, StoreError> {
        let mut query = self.connection.prepare_cached(
            "SELECT a.node, s.name, s.next_seq, s.head
             FROM held s JOIN authors a ON a.id = s.author WHERE s.tip = 1",
        )?;
        let mut rows = query.query([])?;
        let mut frontier = Frontier::default();
        while let Some(row) = rows.next()? {
            let (segment, hash) = (SegmentId(row.get(1)?), ChangeHash(row.get(3)?));
            frontier
                .insert(NodeId(row.get(0)?), Head { segment, next_seq: seq(row.get(2)?), hash });
        }
        Ok(frontier)
    }

    fn emits(&mut self) -> Result<EmitMark, StoreError> {
        emits(&self.connection)
    }

    fn extents(&mut self, author: NodeId) -> Result<Vec<Extent>, StoreError> {
        let mut query = self.connection.prepare_cached(
            "SELECT s.name, s.side, s.start, s.next_seq, s.head, s.forks_off, s.opening
             FROM held s JOIN authors a ON a.id = s.author
             WHERE a.node = ?1 ORDER BY s.start, s.name, s.side",
        )?;
        let mut rows = query.query([author.0])?;
        let mut extents = Vec::new();
        while let Some(row) = rows.next()? {
            let opening = Opening::parse(row.get_ref(6)?.as_str().unwrap_or_default())
                .map_err(|e| StoreError::Damaged(format!("a segment of {author}: {e}")))?;
            extents.push(Extent {
                strand: Strand { segment: SegmentId(row.get(0)?), side: row.get(1)? },
                first_seq: seq(row.get(2)?),
                next_seq: seq(row.get(3)?),
                hash: ChangeHash(row.get(4)?),
                forks_off: row.get(5)?,
                parents: opening.parents,
            });
        }
        Ok(extents)
    }

    fn spans(&mut self, author: Option<NodeId>) -> Result<Vec<Span>, StoreError> {
        let mut query = self.connection.prepare_cached(
            "SELECT a.node, s.name, s.side, s.start, s.next_seq, s.start_time, s.last_time
             FROM held s JOIN authors a ON a.id = s.author
             WHERE ?1 IS NULL OR a.node = ?1",
        )?;
        let spans = query.query_map([author.map(|author| author.0)], |row| {
            Ok(Span {
                author: NodeId(row.get(0)?),
                strand: Strand { segment: SegmentId(row.get(1)?), side: row.get(2)? },
                first_seq: seq(row.get(3)?),
                next_seq: seq(row.get(4)?),
                first_time: time(row.get(5)?),
                last_time: time(row.get(6)?),
            })
        })?;
        Ok(spans.collect::<Result<_, _>>()?)
    }

    fn scan(&mut self, from: Offset, limit: usize) -> Result<(Vec<Passed>, Offset), StoreError> {
        let mut query = self.connection.prepare_cached(
            "SELECT a.node, s.name, c.first_seq, c.count, c.hash, c.offset, s.side
             FROM changes c JOIN segments s ON s.id = c.segment JOIN authors a ON a.id = s.author
             WHERE c.offset >= coalesce((SELECT max(offset) FROM changes WHERE offset <= ?1), 0)
                AND c.offset + c.count > ?1
             ORDER BY c.offset LIMIT ?2",
        )?;
        let mut rows = query.query(params![column(from.0), column(limit as u64)])?;
        let mut passed = Vec::new();
        let mut next = from;
        while let Some(row) = rows.next()? {
            let (first_seq, count) = (seq(row.get(2)?), row.get::<_, u32>(3)?);
            let head = Head {
                segment: SegmentId(row.get(1)?),
                next_seq: first_seq.plus(u64::from(count)),
                hash: ChangeHash(row.get(4)?),
            };
            passed.push(Passed { author: NodeId(row.get(0)?), first_seq, head, side: row.get(6)? });
            next = offset(row.get(5)?).plus(u64::from(count));
        }
        Ok((passed, next))
    }

    fn arrivals(
        &mut self,
        from: Offset,
        direction: Direction,
        max_bytes: usize,
    ) -> Result<Vec<Arrival>, StoreError> {
        let condition = match direction {
            Direction::Forward => {
                "WHERE c.offset >= coalesce((SELECT max(offset) FROM changes WHERE offset <= ?1), 0)
                    AND c.offset + c.count > ?1
                 ORDER BY c.offset"
            }
            Direction::Backward => {
                "WHERE c.offset < ?1 AND c.offset + c.count <= ?1 ORDER BY c.offset DESC"
            }
        };
        let order = Order::Arrival(from, direction);
        let read = self.changes(condition, [column(from.0)], max_bytes, order)?;
        if read.is_empty() && direction == Direction::Forward && self.watermark()? > from {
            return Err(StoreError::Damaged(format!("no change is found at offset {from}")));
        }
        Ok(read)
    }

    fn of_strand(
        &mut self,
        strand: Strand,
        from: Seq,
        direction: Direction,
        max_bytes: usize,
    ) -> Result<Vec<Arrival>, StoreError> {
        let Some((row, start)) = self.strand_row(strand)? else {
            return Ok(Vec::new());
        };
        let order = Order::Seq(from.max(start), direction);
        let condition = match direction {
            Direction::Forward => {
                "WHERE c.segment = ?1 AND c.first_seq >= coalesce((SELECT max(first_seq)
                    FROM changes WHERE segment = ?1 AND first_seq <= ?2), 0)
                    AND c.first_seq + c.count > ?2
                 ORDER BY c.first_seq"
            }
            Direction::Backward => {
                "WHERE c.segment = ?1 AND c.first_seq < ?2 ORDER BY c.first_seq DESC"
            }
        };
        self.changes(condition, params![row, column(from.0)], max_bytes, order)
    }

    fn seek_time(&mut self, strand: Strand, time: Time) -> Result<Seq, StoreError> {
        let mut bounds = self
            .connection
            .prepare_cached("SELECT id, start, next_seq FROM held WHERE name = ?1 AND side = ?2")?;
        let found = bounds.query_row(params![strand.segment.0, strand.side], |row| {
            Ok((row.get::<_, i64>(0)?, seq(row.get(1)?), seq(row.get(2)?)))
        });
        let Some((row, first, end)) = found.optional()? else {
            return Ok(Seq(0));
        };
        // Times rise with seqs, so the change is found by halving the range of seqs.
        let mut probe = self.connection.prepare_cached(
            "SELECT first_seq, count, last_time FROM changes
             WHERE segment = ?1 AND first_seq <= ?2 ORDER BY first_seq DESC LIMIT 1",
        )?;
        let (mut low, mut high) = (first.0, end.0);
        while low < high {
            let middle = low + (high - low) / 2;
            let (start, count, last): (i64, u32, i64) = probe
                .query_row(params![row, column(middle)], |row| {
                    Ok((row.get(0)?, row.get(1)?, row.get(2)?))
                })?;
            let (start, next) = (start as u64, (start as u64).saturating_add(u64::from(count)));
            if !(low..=middle).contains(&start) || next <= middle {
                let what = format!("no change holds {middle} of segment {}", strand.segment);
                return Err(StoreError::Damaged(what));
            }
            if super::time(last) < time {
                low = next;
            } else {
                high = start;
            }
        }
        Ok(Seq(low))
    }

    fn find(&mut self, author: NodeId, seq: Seq) -> Result<Vec<Arrival>, StoreError> {
        let mut query = self.connection.prepare_cached(
            "SELECT s.name, s.side FROM held s JOIN authors a ON a.id = s.author
             WHERE a.node = ?1 AND s.start <= ?2 AND s.next_seq > ?2
             ORDER BY s.start DESC, s.name, s.side",
        )?;
        let strands = query.query_map(params![author.0, column(seq.0)], |row| {
            Ok(Strand { segment: SegmentId(row.get(0)?), side: row.get(1)? })
        })?;
        let strands: Vec<Strand> = strands.collect::<Result<_, _>>()?;
        drop(query);
        let mut found = Vec::new();
        for strand in strands {
            found.extend(self.of_strand(strand, seq, Direction::Forward, 1)?);
        }
        Ok(found)
    }

    fn locate(&mut self, head: &Head) -> Result<Option<Strand>, StoreError> {
        let mut sides = self.connection.prepare_cached(
            "SELECT (SELECT c.first_seq + c.count = ?2 AND c.hash = ?3 FROM changes c
                WHERE c.segment = s.id AND c.first_seq < ?2 ORDER BY c.first_seq DESC LIMIT 1),
                s.side
             FROM segments s WHERE s.name = ?1",
        )?;
        let mut rows =
            sides.query(params![head.segment.0, column(head.next_seq.0), head.hash.0])?;
        while let Some(row) = rows.next()? {
            if row.get::<_, Option<bool>>(0)? == Some(true) {
                return Ok(Some(Strand { segment: head.segment, side: row.get(1)? }));
            }
        }
        Ok(None)
    }

    fn branched(&mut self) -> Result<Vec<NodeId>, StoreError> {
        let query = "SELECT node FROM authors WHERE branched = 1 ORDER BY node";
        let mut query = self.connection.prepare_cached(query)?;
        let authors = query.query_map([], |row| Ok(NodeId(row.get(0)?)))?;
        Ok(authors.collect::<Result<_, _>>()?)
    }

    fn strands_around(
        &mut self,
        author: NodeId,
        from: Seq,
        to: Seq,
    ) -> Result<Vec<(Seq, Seq)>, StoreError> {
        let mut query = self.connection.prepare_cached(
            "SELECT s.start, s.next_seq FROM held s JOIN authors a ON a.id = s.author
             WHERE a.node = ?1 AND a.branched = 1 AND s.start < ?3 AND s.next_seq > ?2
             ORDER BY s.start, s.next_seq",
        )?;
        let values = params![author.0, column(from.0), column(to.0)];
        let strands = query.query_map(values, |row| Ok((seq(row.get(0)?), seq(row.get(1)?))))?;
        Ok(strands.collect::<Result<_, _>>()?)
    }

    fn key(&mut self, key: &str) -> Result<Option<KeyRecord>, StoreError> {
        let mut query = self.connection.prepare_cached(
            "SELECT digest, first_seq, count FROM idempotency_keys WHERE key = ?1",
        )?;
        let record = query.query_row([key], |row| {
            let count = row.get::<_, i64>(2)? as u64;
            let first_seq = seq(row.get(1)?);
            Ok(KeyRecord { key: key.to_owned(), digest: row.get(0)?, first_seq, count })
        });
        Ok(record.optional()?)
    }

    fn bytes(&mut self) -> Result<u64, StoreError> {
        let size = |suffix: &str| {
            let mut path = self.path.clone().into_os_string();
            path.push(suffix);
            std::fs::metadata(path).map_or(0, |file| file.len())
        };
        Ok(size("") + size("-wal") + size("-shm"))
    }

    fn check_structure(&mut self) -> Result<(), StoreError> {
        structure::check(&self.connection)
    }
}

impl Past for SqliteReader {
    type Error = StoreError;

    fn sides(&mut self, author: NodeId, segment: SegmentId) -> Result<Option<Sides>, StoreError> {
        let mut query = self.connection.prepare_cached(
            "SELECT count(*), min(s.first_seq) FROM segments s JOIN authors a ON a.id = s.author
             WHERE s.name = ?1 AND a.node = ?2",
        )?;
        let (count, segment_seq) = query.query_row(params![segment.0, author.0], |row| {
            Ok((row.get(0)?, row.get::<_, Option<i64>>(1)?))
        })?;
        Ok(segment_seq.map(|found| Sides { count, segment_seq: seq(found) }))
    }

    fn begins(
        &mut self,
        segment: SegmentId,
        seq: Seq,
        hash: ChangeHash,
    ) -> Result<bool, StoreError> {
        let mut query = self.connection.prepare_cached(
            "SELECT 1 FROM segments s JOIN changes c ON c.segment = s.id
             WHERE s.name = ?1 AND c.first_seq = ?2 AND c.hash = ?3",
        )?;
        Ok(query.exists(params![segment.0, column(seq.0), hash.0])?)
    }

    fn standing(
        &mut self,
        author: NodeId,
        parent: &Parent,
    ) -> Result<Option<Standing>, StoreError> {
        let mut query = self.connection.prepare_cached(
            "SELECT s.name, s.side, s.first_seq, c.position + 1, c.so_far, c.last_time,
                s.head != c.hash
             FROM held s JOIN authors a ON a.id = s.author JOIN changes c ON c.segment = s.id
                AND c.first_seq = (SELECT max(first_seq) FROM changes
                    WHERE segment = s.id AND first_seq < ?2)
             WHERE a.node = ?1 AND s.start < ?2 AND s.next_seq >= ?2
                AND c.first_seq + c.count = ?2 AND c.hash = ?3
             ORDER BY s.start DESC LIMIT 1",
        )?;
        let values = params![author.0, column(parent.next_seq.0), parent.hash.0];
        let standing = query.query_row(values, |row| {
            let segment = SegmentId(row.get(0)?);
            let head = Head { segment, next_seq: parent.next_seq, hash: parent.hash };
            let tip = Tip {
                head,
                side: row.get(1)?,
                segment_seq: seq(row.get(2)?),
                changes: row.get(3)?,
                bytes: row.get::<_, i64>(4)? as u64,
                last_time: time(row.get(5)?),
            };
            Ok(Standing { tip, followed: row.get(6)? })
        });
        Ok(standing.optional()?)
    }
}
