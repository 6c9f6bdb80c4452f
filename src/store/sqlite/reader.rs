//! The reading half: one connection of its own, read only, a bounded page cache.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, params};

use super::super::damage::Damages;
use super::super::rests::Rests;
use super::super::{
    EmitMark, KeyRecord, OpenError, Owner, Reader, Span, StoreError, StoreId, at_once, signed,
};
use super::blocks::{self, BlockCache, Blocks, column};
use super::openings::Openings;
use super::spans::KnownSpans;
use super::zones::KnownKinds;
use super::{emit_mark, schema, seq, series, structure, time};
use crate::core::change::{Change, SignedBlock};
use crate::core::frontier::{Extent, Frontier, Head};
use crate::core::log::Arrival;
use crate::core::merge::Direction;
use crate::core::segment::{Opening, Strand};
use crate::core::session::Passed;
use crate::words::{ChangeHash, NodeId, Offset, SegmentId, Seq, Signature};

/// After so many of SQLite's instructions it is looked whether the background should rest: tens of
/// microseconds.
const STEPS: i32 = 1_000;

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
    pub(super) blocks: Blocks,
    pub(super) kinds: KnownKinds,
    spans: KnownSpans,
    /// What was looked up. A strand stays in its row for good.
    pub(super) strands: HashMap<Strand, KnownStrand>,
}

/// The row of a strand.
#[derive(Clone, Copy)]
pub(super) struct KnownStrand {
    pub row: i64,
    /// The seq of its first entry.
    pub start: Seq,
    pub author: NodeId,
    pub strand: Strand,
}

impl SqliteReader {
    pub(super) fn new(
        path: &Path,
        owner: Owner,
        id: StoreId,
        damages: Damages,
        cache: BlockCache,
    ) -> Result<Self, StoreError> {
        let connection = open_read_only(path)?;
        let (path, openings) = (path.to_owned(), Openings::default());
        let blocks = Blocks::new(cache, damages.clone())?;
        let (kinds, spans) = (KnownKinds::default(), KnownSpans::default());
        let strands = HashMap::new();
        Ok(Self { connection, path, owner, id, damages, openings, blocks, kinds, spans, strands })
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
        let reader = Self::new(path, owner, id, Damages::default(), blocks::cache());
        Ok(Self { connection, ..reader? })
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
}

impl SqliteReader {
    /// Makes a file readable of a version that removed nothing, and has no tables that would say so.
    pub(super) fn read_unpruned(&mut self) -> Result<(), StoreError> {
        self.connection.execute_batch(
            "PRAGMA query_only = OFF;
             CREATE TEMP TABLE holes (offset INTEGER PRIMARY KEY, count INTEGER NOT NULL);
             CREATE TEMP TABLE pruned (id INTEGER PRIMARY KEY, segment INTEGER NOT NULL);
             PRAGMA query_only = ON;",
        )?;
        Ok(())
    }

    /// Runs a reading of several statements in one snapshot: between two of them, changes may move
    /// from rows into a block.
    pub(super) fn at_once<T>(
        &mut self,
        reading: impl FnOnce(&mut Self) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        at_once(self, reading)
    }
}

fn open_read_only(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    schema::keep_plans(&connection)?;
    connection.pragma_update(None, "cache_size", -2_048)?;
    connection.pragma_update(None, "query_only", true)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
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

pub(super) fn offset(value: i64) -> Offset {
    Offset(value as u64)
}

pub(super) fn watermark(connection: &Connection) -> Result<Offset, StoreError> {
    let mut query = connection.prepare_cached(
        "SELECT max(coalesce((SELECT offset + count FROM changes ORDER BY offset DESC LIMIT 1), 0),
            coalesce((SELECT offset + count FROM pieces ORDER BY offset DESC LIMIT 1), 0),
            coalesce((SELECT offset + count FROM holes ORDER BY offset DESC LIMIT 1), 0))",
    )?;
    Ok(offset(query.query_row([], |row| row.get(0))?))
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

    fn hold_still(&mut self) -> Result<bool, StoreError> {
        if !self.connection.is_autocommit() {
            return Ok(false);
        }
        self.connection.prepare_cached("BEGIN")?.execute([])?;
        Ok(true)
    }

    fn let_go(&mut self) -> Result<(), StoreError> {
        self.connection.prepare_cached("COMMIT")?.execute([])?;
        Ok(())
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
        self.at_once(|reader| {
            let watermark = watermark(&reader.connection)?;
            reader.spans.bring_to(&reader.connection, watermark)?;
            Ok(reader.spans.of(author))
        })
    }

    fn scan(&mut self, from: Offset, limit: usize) -> Result<(Vec<Passed>, Offset), StoreError> {
        self.at_once(|reader| reader.pass(from, limit))
    }

    fn arrivals(
        &mut self,
        from: Offset,
        direction: Direction,
        max_bytes: usize,
    ) -> Result<Vec<Arrival>, StoreError> {
        self.at_once(|reader| match direction {
            Direction::Forward => reader.arrivals_from(from, max_bytes),
            Direction::Backward => reader.arrivals_before(from, max_bytes),
        })
    }

    fn of_strand(
        &mut self,
        strand: Strand,
        from: Seq,
        direction: Direction,
        max_bytes: usize,
    ) -> Result<Vec<Arrival>, StoreError> {
        self.at_once(|reader| {
            let Some(KnownStrand { row, start, .. }) = reader.strand_row(strand)? else {
                return Ok(Vec::new());
            };
            match direction {
                Direction::Forward => {
                    reader.strand_from(row, (from.max(start), Seq(u64::MAX)), max_bytes)
                }
                Direction::Backward => reader.strand_before(row, start, from, max_bytes),
            }
        })
    }

    fn find(&mut self, author: NodeId, seq: Seq) -> Result<Vec<Arrival>, StoreError> {
        let mut query = self.connection.prepare_cached(
            "SELECT s.name, s.side FROM kept s JOIN authors a ON a.id = s.author
             WHERE a.node = ?1 AND s.start <= ?2 AND s.next_seq > ?2
             ORDER BY s.start DESC, s.name, s.side",
        )?;
        let strands = query.query_map(params![author.0, column(seq.0)], |row| {
            Ok(Strand { segment: SegmentId(row.get(0)?), side: row.get(1)? })
        })?;
        let mut strands: Vec<Strand> = strands.collect::<Result<_, _>>()?;
        strands.dedup(); // a strand is held once, whatever a damaged index says
        drop(query);
        let mut found = Vec::new();
        for strand in strands {
            found.extend(self.of_strand(strand, seq, Direction::Forward, 1)?);
        }
        Ok(found)
    }

    fn locate(&mut self, head: &Head) -> Result<Option<Strand>, StoreError> {
        self.at_once(|reader| reader.located(head))
    }

    fn packed(&mut self, strand: Strand, from: Seq) -> Result<Option<SignedBlock>, StoreError> {
        self.at_once(|reader| {
            let Some(KnownStrand { row, .. }) = reader.strand_row(strand)? else { return Ok(None) };
            let trust = (reader.owner.cluster, &reader.damages);
            blocks::beginning_at(&reader.connection, trust, row, from)
        })
    }

    fn sealable(&mut self, old: Offset) -> Result<Vec<Vec<Arrival>>, StoreError> {
        let mut rests = Rests::begin();
        let rest = move || {
            rests.look();
            false // and go on
        };
        self.connection.progress_handler(STEPS, Some(rest))?;
        let found = self.at_once(|reader| reader.worth_sealing(old));
        self.connection.progress_handler(0, None::<fn() -> bool>)?;
        found
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
            "SELECT s.start, s.next_seq FROM kept s JOIN authors a ON a.id = s.author
             WHERE a.node = ?1 AND a.branched = 1 AND s.start < ?3 AND s.next_seq > ?2
             ORDER BY s.start, s.next_seq",
        )?;
        let values = params![author.0, column(from.0), column(to.0)];
        let strands = query.query_map(values, |row| Ok((seq(row.get(0)?), seq(row.get(1)?))))?;
        Ok(strands.collect::<Result<_, _>>()?)
    }

    fn end_at(&mut self, at: Offset) -> Result<Offset, StoreError> {
        self.at_once(|reader| reader.end_of_place(at))
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

    fn check_signature(&mut self, arrival: &Arrival) -> Result<(), StoreError> {
        signed(arrival, self.owner.cluster, &self.damages)
    }

    fn check_structure(&mut self) -> Result<(), StoreError> {
        structure::check(&self.connection)?;
        series::check_all(self)
    }
}
