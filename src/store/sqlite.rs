//! The store in SQLite: one file, write-ahead log, `synchronous=FULL`.
//!
//! `docs/storage.md` draws every table. One connection writes, readers have their own; WAL lets
//! them read whole commits while the next one is written. Every PRAGMA that durability rests on is
//! read back after it was set.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, ErrorCode, OptionalExtension, params};

use super::block::{Sealer, worth};
use super::damage::Damages;
use super::{
    Batch, EmitMark, IDEMPOTENCY_KEYS, KeyRecord, OpenError, Opener, Owner, Resume, Store,
    StoreError, StoreId,
};
use crate::core::change::{Change, Link};
use crate::core::frontier::Head;
use crate::core::log::{Arrival, Tip};
use crate::core::segment::{Opening, Strand};
use crate::words::{ChangeHash, EmitNumber, NodeId, Offset, SegmentId, Seq, Time};

mod blocks;
mod checkpoints;
mod copying;
mod openings;
mod past;
mod pruning;
mod reader;
mod reading;
mod schema;
mod sealing;
mod series;
mod spans;
mod structure;
mod tips;
pub mod view;
mod zones;

use blocks::{BlockCache, Blocks, NewestBlock};
use checkpoints::Checkpoints;

pub use copying::{begin_anew, bring_up_to_date, copy, owner};
pub use reader::SqliteReader;
pub use schema::VERSION;

/// What went wrong, as far as it decides what to do. All SQL here is our own, and all values are of
/// the types that its columns have: where SQLite or a row says otherwise, the file was altered.
impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::Error;
        match &error {
            Error::SqliteFailure(failure, _) => match failure.code {
                ErrorCode::DiskFull => Self::Full(error.to_string()),
                _ if is_index_full(&error) => Self::Full(error.to_string()),
                ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::Unknown => {
                    Self::Damaged(error.to_string())
                }
                _ => Self::Failed(error.to_string()),
            },
            Error::SqlInputError { .. }
            | Error::FromSqlConversionFailure(..)
            | Error::IntegralValueOutOfRange(..)
            | Error::InvalidColumnType(..)
            | Error::Utf8Error(..)
            | Error::QueryReturnedNoRows => Self::Damaged(error.to_string()),
            _ => Self::Failed(error.to_string()),
        }
    }
}

/// Whether the index beside the write-ahead log (`-shm`) could not grow. The transaction is rolled
/// back like that of a full disk: its frames lie behind the log's end, where the next commit writes
/// over them. A crash before that may bring them back, as it may with any commit that is not
/// acknowledged.
fn is_index_full(error: &rusqlite::Error) -> bool {
    error.sqlite_error().is_some_and(|e| e.extended_code == rusqlite::ffi::SQLITE_IOERR_SHMSIZE)
}

/// An opening that fails where even the index beside the log has no room fails for that.
fn full_or(error: OpenError, path: &Path) -> OpenError {
    match error {
        OpenError::Store(StoreError::Failed(why))
            if free(path).is_some_and(|free| free < INDEX) =>
        {
            OpenError::Store(StoreError::Full(why))
        }
        other => other,
    }
}

/// How many bytes are free on the disk of a file.
fn free(path: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(path.parent()?).ok()?;
    disk.f_bavail.checked_mul(disk.f_frsize)
}

/// The size of the index that every opening writes beside the log.
const INDEX: u64 = 32 << 10;

/// The writing half.
pub struct SqliteStore {
    /// Ahead of the connection: the last one to close moves what is left in the log.
    _checkpoints: Checkpoints,
    connection: Connection,
    path: PathBuf,
    owner: Owner,
    id: StoreId,
    known: KnownRows,
    damages: Damages,
    sealer: Sealer,
    /// What this connection opens, which may be in a transaction that is rolled back.
    blocks: Blocks,
    /// What readers have opened.
    cache: BlockCache,
    newest: NewestBlock,
}

/// Rows that an append needs again and again, so that it looks up none.
#[derive(Default)]
struct KnownRows {
    authors: HashMap<NodeId, i64>,
    strands: HashMap<Strand, OpenStrand>,
    series: series::KnownRows,
}

/// A strand that is written.
#[derive(Clone, Copy)]
struct OpenStrand {
    row: i64,
    /// The bytes of its segment's changes so far, on this side.
    bytes: u64,
}

/// So many pages of the file may hold nothing before any are given back: what is appended next takes
/// them. Tests hold little.
const FREE_PAGES: u64 = if cfg!(test) { 4 } else { 1_024 };
/// How many pages are given back at once.
const RECLAIMED_PAGES: u32 = 128;

/// How many strands are known by their row; one more, and they are looked up again.
const OPEN_STRANDS: usize = 10_000;

impl SqliteStore {
    /// Opens the store at a path, and makes it when it is missing.
    ///
    /// `fresh_id` names the store when it is made: 8 random bytes.
    ///
    /// # Errors
    /// A file that isn't towline's, is newer, or belongs to another node: it was not touched.
    pub fn open(path: &Path, owner: Owner, fresh_id: [u8; 8]) -> Result<Self, OpenError> {
        Self::open_at(path, owner, fresh_id).map_err(|error| full_or(error, path))
    }

    fn open_at(path: &Path, owner: Owner, fresh_id: [u8; 8]) -> Result<Self, OpenError> {
        if path.exists() {
            schema::roll_back(path)?;
            if let Some((found, _)) = schema::check(path)? {
                check_owner(found, owner)?;
            }
        }
        let mut connection = Connection::open(path).map_err(StoreError::from)?;
        schema::configure(&connection)?;
        schema::settle(&connection)?;
        schema::migrate(&connection, path, owner, StoreId(fresh_id))?;
        let (_, id) = schema::owner(&connection)?;
        let damages = Damages::default();
        let newest = NewestBlock::of(&connection)?;
        let _checkpoints = Checkpoints::start(&mut connection, path)?;
        Ok(Self {
            _checkpoints,
            connection,
            newest,
            path: path.to_owned(),
            owner,
            id,
            known: KnownRows::default(),
            sealer: Sealer::new().map_err(|e| StoreError::Failed(e.to_string()))?,
            blocks: Blocks::new(blocks::cache(), damages.clone())?,
            cache: blocks::cache(),
            damages,
        })
    }
}

fn check_owner(found: Owner, expected: Owner) -> Result<(), OpenError> {
    let wrong =
        |what, found: String, expected: String| Err(OpenError::Owner { what, found, expected });
    if found.node != expected.node {
        return wrong("node", found.node.to_string(), expected.node.to_string());
    }
    if found.cluster != expected.cluster {
        return wrong("cluster", found.cluster.to_string(), expected.cluster.to_string());
    }
    Ok(())
}

impl Store for SqliteStore {
    fn resume(&mut self) -> Result<Resume, StoreError> {
        let mut query = self.connection.prepare(&format!("{TIP} WHERE s.tip = 1"))?;
        let tips: Vec<(NodeId, Tip)> = query.query_map([], tip)?.collect::<Result<_, _>>()?;
        tips::check(&self.connection, &mut self.blocks, self.owner, &tips)?;
        Ok(Resume {
            tips,
            next_offset: reader::watermark(&self.connection)?,
            emits: reader::emits(&self.connection)?,
            id: self.id,
        })
    }

    fn commit(&mut self, batch: &Batch) -> Result<(), StoreError> {
        let written = self.write_batch(batch);
        if written.is_err() {
            // Rows and blocks that were rolled back are forgotten.
            self.known = KnownRows::default();
            self.blocks = Blocks::new(blocks::cache(), self.damages.clone())?;
        }
        let Written { mended, removed } = written?;
        for (block, (lost, _)) in mended.iter().zip(&batch.mended) {
            block.inspect(|block| self.cache.remove(*block));
            self.damages.mended(lost.offset);
        }
        batch.sealed.iter().for_each(|sealed| self.damages.sealed(sealed));
        removed.iter().for_each(|offsets| self.damages.removed(offsets));
        Ok(())
    }

    fn reclaim(&mut self) -> Result<bool, StoreError> {
        let (free, all) = pruning::pages(&self.connection)?;
        if free <= FREE_PAGES.max(all / 8) {
            return Ok(false);
        }
        let vacuum = format!("PRAGMA incremental_vacuum({RECLAIMED_PAGES})");
        let mut vacuum = self.connection.prepare(&vacuum)?;
        let mut steps = vacuum.query([])?;
        while steps.next()?.is_some() {} // each gives one page back
        Ok(pruning::pages(&self.connection)?.0 < free)
    }

    fn free(&self) -> Option<u64> {
        free(&self.path)
    }

    fn opener(&self) -> Opener {
        let (path, owner, id) = (self.path.clone(), self.owner, self.id);
        let (damages, cache) = (self.damages.clone(), self.cache.clone());
        Box::new(move || {
            let (damages, cache) = (damages.clone(), cache.clone());
            Ok(Box::new(SqliteReader::new(&path, owner, id, damages, cache)?))
        })
    }

    fn damages(&self) -> Damages {
        self.damages.clone()
    }
}

impl SqliteStore {
    fn write_batch(&mut self, batch: &Batch) -> Result<Written, StoreError> {
        let transaction = self.connection.transaction()?;
        for pruned in &batch.adopted {
            pruning::adopt(&transaction, &mut self.known, pruned)?;
        }
        let mut rest = &batch.arrivals[..];
        while let [first, ..] = rest {
            let packed = batch.packed.iter().find(|packed| packed.offset == first.offset);
            let direct = packed.map(|packed| packed.changes).or_else(|| worth::direct(rest));
            let (together, later) = rest.split_at(direct.unwrap_or(1));
            let strand = write_strand(&transaction, &mut self.known, &mut self.blocks, together)?;
            match (packed, direct) {
                (Some(packed), _) => {
                    let newest = &mut self.newest;
                    sealing::write(&transaction, &strand, together, &packed.record, newest)?;
                }
                (None, Some(_)) => {
                    let record = sealing::pack(&mut self.sealer, together)?;
                    sealing::write(&transaction, &strand, together, &record, &mut self.newest)?;
                }
                (None, None) => write_change(&transaction, &strand, first)?,
            }
            let author = author_row(&transaction, &mut self.known.authors, first.change.author)?;
            for arrival in together {
                series::index(&transaction, &mut self.known.series, author, arrival)?;
            }
            rest = later;
        }
        let mut mended = Vec::with_capacity(batch.mended.len());
        for (lost, changes) in &batch.mended {
            mended.push(sealing::mend(&transaction, &mut self.sealer, lost, changes)?);
        }
        for sealed in &batch.sealed {
            sealing::replace(&transaction, sealed, &mut self.newest)?;
        }
        let mut removed = Vec::new();
        for strand in &batch.pruned {
            removed.extend(pruning::prune(&transaction, *strand)?);
        }
        for series in &batch.trimmed {
            pruning::trim(&transaction, series)?;
        }
        if let Some(mark) = &batch.mark {
            pruning::write_mark(&transaction, mark)?;
        }
        if let Some(mark) = &batch.emits {
            write_emits(&transaction, mark)?;
        }
        for record in &batch.keys {
            write_key(&transaction, record)?;
        }
        transaction.commit()?;
        Ok(Written { mended, removed })
    }
}

/// What a batch changed beside what it added.
struct Written {
    /// For each that was mended, which block it is.
    mended: Vec<Option<i64>>,
    /// Where entries were that were removed.
    removed: Vec<std::ops::Range<Offset>>,
}

fn write_change(
    connection: &Connection,
    strand: &OpenStrand,
    arrival: &Arrival,
) -> Result<(), StoreError> {
    let Arrival { offset, skew, change, .. } = arrival;
    connection
        .prepare_cached(
            "INSERT INTO changes (offset, segment, first_seq, position, count, first_time,
                last_time, skew, hash, signature, so_far, bytes)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
        )?
        .execute(params![
            offset.0 as i64,
            strand.row,
            change.first_seq.0 as i64,
            change.index,
            change.count,
            change.first_time.bits() as i64,
            change.last_time.bits() as i64,
            skew,
            change.hash.0,
            change.signature.map(|signature| signature.0),
            strand.bytes as i64,
            &change.bytes[..],
        ])?;
    Ok(())
}

fn author_row(
    connection: &Connection,
    authors: &mut HashMap<NodeId, i64>,
    author: NodeId,
) -> Result<i64, StoreError> {
    if let Some(row) = authors.get(&author) {
        return Ok(*row);
    }
    connection
        .prepare_cached("INSERT INTO authors (node) VALUES (?1) ON CONFLICT DO NOTHING")?
        .execute([author.0])?;
    let row = connection
        .prepare_cached("SELECT id FROM authors WHERE node = ?1")?
        .query_row([author.0], |row| row.get(0))?;
    authors.insert(author, row);
    Ok(row)
}

/// Opens a strand or goes on in it with consecutive changes, and returns its row with the bytes it
/// then has.
fn write_strand(
    connection: &Connection,
    known: &mut KnownRows,
    blocks: &mut Blocks,
    arrivals: &[Arrival],
) -> Result<OpenStrand, StoreError> {
    let first = &arrivals[0];
    let author = author_row(connection, &mut known.authors, first.change.author)?;
    let open = &mut known.strands;
    let before = match open.get(&first.strand()) {
        Some(strand) => *strand,
        None => match reopen_strand(connection, author, first.strand())? {
            Some(strand) => strand,
            None => open_strand(connection, open, blocks, author, first)?,
        },
    };
    let more: usize = arrivals.iter().map(|arrival| arrival.change.bytes.len()).sum();
    let strand = OpenStrand { bytes: before.bytes + more as u64, ..before };
    if open.len() >= OPEN_STRANDS {
        open.clear();
    }
    open.insert(first.strand(), strand);
    Ok(strand)
}

fn open_strand(
    connection: &Connection,
    open: &mut HashMap<Strand, OpenStrand>,
    blocks: &mut Blocks,
    author: i64,
    arrival: &Arrival,
) -> Result<OpenStrand, StoreError> {
    let change = &arrival.change;
    let link = change.link().map_err(|e| StoreError::Damaged(e.to_string()))?;
    let (opening, forks_off) = match link {
        Link::Opening(opening) => {
            join_tips(connection, open, author, &opening)?;
            (opening.text(), None)
        }
        Link::Previous(hash) => fork_of(connection, blocks, change, hash)?,
    };
    note_branch(connection, author)?;
    connection
        .prepare_cached(
            "INSERT INTO segments (name, side, author, opening, first_seq, start, start_time,
                forks_off, tip)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 1)",
        )?
        .execute(params![
            change.segment.0,
            arrival.side,
            author,
            opening,
            change.segment_seq.0 as i64,
            change.first_seq.0 as i64,
            change.first_time.bits() as i64,
            forks_off.map(|(side, _)| side),
        ])?;
    let bytes = forks_off.map_or(0, |(_, bytes)| bytes);
    Ok(OpenStrand { row: connection.last_insert_rowid(), bytes })
}

/// What an opening names as parents is no tip any more.
fn join_tips(
    connection: &Connection,
    open: &mut HashMap<Strand, OpenStrand>,
    author: i64,
    opening: &Opening,
) -> Result<(), StoreError> {
    let mut join = connection.prepare_cached(
        "UPDATE segments SET tip = 0 WHERE id IN
            (SELECT id FROM held WHERE author = ?1 AND tip = 1 AND next_seq = ?2 AND head = ?3)
         RETURNING name, side",
    )?;
    for parent in &opening.parents {
        let values = params![author, parent.next_seq.0 as i64, parent.hash.0];
        let mut joined = join.query(values)?;
        while let Some(row) = joined.next()? {
            open.remove(&Strand { segment: SegmentId(row.get(0)?), side: row.get(1)? });
        }
    }
    Ok(())
}

/// The opening of a segment that a change forks, the side that it forks off, and the bytes that the
/// segment has up to there.
fn fork_of(
    connection: &Connection,
    blocks: &mut Blocks,
    change: &Change,
    previous: ChangeHash,
) -> Result<(String, Option<(u32, u64)>), StoreError> {
    let in_row = connection
        .prepare_cached(
            "SELECT s.opening, s.side, c.so_far FROM segments s JOIN changes c ON c.segment = s.id
             WHERE s.name = ?1 AND c.hash = ?2 AND c.first_seq < ?3",
        )?
        .query_row(params![change.segment.0, previous.0, change.first_seq.0 as i64], |row| {
            Ok((row.get(0)?, Some((row.get(1)?, row.get::<_, i64>(2)? as u64))))
        })
        .optional()?;
    if let Some(found) = in_row {
        return Ok(found);
    }
    let pruned = connection
        .prepare_cached(
            "SELECT s.opening, s.side, p.bytes FROM segments s JOIN pruned p ON p.segment = s.id
             WHERE s.name = ?1 AND p.hash = ?2 AND p.next_seq = ?3",
        )?
        .query_row(params![change.segment.0, previous.0, change.first_seq.0 as i64], |row| {
            Ok((row.get(0)?, Some((row.get(1)?, row.get::<_, i64>(2)? as u64))))
        })
        .optional()?;
    if let Some(found) = pruned {
        return Ok(found);
    }
    let mut sides = connection
        .prepare_cached("SELECT id, opening, side FROM segments WHERE name = ?1 ORDER BY side")?;
    let mut sides = sides.query([change.segment.0])?;
    let last = Seq(change.first_seq.0.saturating_sub(1));
    while let Some(row) = sides.next()? {
        let Some(block) = blocks::at_seq(connection, row.get(0)?, last)? else { continue };
        let opened = blocks.open(connection, block)?;
        let at = opened.at_seq(last);
        if opened.arrivals.get(at).is_some_and(|arrival| arrival.change.hash == previous) {
            return Ok((row.get(1)?, Some((row.get(2)?, opened.so_far(at)))));
        }
    }
    Err(StoreError::Damaged(format!("nothing is found that a change forks: {previous}")))
}

/// Looks up a strand that goes on; it is the end of a branch from now on, if it wasn't before.
fn reopen_strand(
    connection: &Connection,
    author: i64,
    strand: Strand,
) -> Result<Option<OpenStrand>, StoreError> {
    let found = connection
        .prepare_cached("SELECT id, bytes, tip FROM held WHERE name = ?1 AND side = ?2")?
        .query_row(params![strand.segment.0, strand.side], |row| {
            let found = OpenStrand { row: row.get(0)?, bytes: row.get::<_, i64>(1)? as u64 };
            Ok((found, row.get::<_, bool>(2)?))
        })
        .optional()?;
    let Some((found, tip)) = found else { return Ok(None) };
    if !tip {
        note_branch(connection, author)?;
        connection
            .prepare_cached("UPDATE segments SET tip = 1 WHERE id = ?1")?
            .execute([found.row])?;
    }
    Ok(Some(found))
}

/// An author that is about to get a tip is branched if it has one.
fn note_branch(connection: &Connection, author: i64) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "UPDATE authors SET branched = 1 WHERE id = ?1 AND branched = 0
                AND EXISTS (SELECT 1 FROM segments WHERE author = ?1 AND tip = 1)",
        )?
        .execute([author])?;
    Ok(())
}

fn write_emits(connection: &Connection, mark: &EmitMark) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "UPDATE emits SET next = ?1, reserved = ?2, recorded = ?3, dropped = ?4, gaps = ?5",
        )?
        .execute(params![
            mark.next.0 as i64,
            mark.reserved.0 as i64,
            mark.recorded as i64,
            mark.dropped as i64,
            mark.gaps as i64,
        ])?;
    Ok(())
}

fn write_key(connection: &Connection, record: &KeyRecord) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "INSERT INTO idempotency_keys (key, digest, first_seq, count) VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute(params![
            record.key,
            record.digest,
            record.first_seq.0 as i64,
            record.count as i64,
        ])?;
    let oldest_kept = connection.last_insert_rowid() - IDEMPOTENCY_KEYS as i64;
    connection
        .prepare_cached("DELETE FROM idempotency_keys WHERE id <= ?1")?
        .execute([oldest_kept])?;
    Ok(())
}

/// What is held of a strand, and whose it is.
const TIP: &str = "SELECT a.node, s.name, s.first_seq, s.next_seq, s.changes, s.bytes, s.last_time,
    s.head, s.side FROM held s JOIN authors a ON a.id = s.author";

fn tip(row: &rusqlite::Row<'_>) -> rusqlite::Result<(NodeId, Tip)> {
    let head = Head {
        segment: SegmentId(row.get(1)?),
        next_seq: seq(row.get(3)?),
        hash: ChangeHash(row.get(7)?),
    };
    let tip = Tip {
        head,
        side: row.get(8)?,
        segment_seq: seq(row.get(2)?),
        changes: row.get(4)?,
        bytes: row.get::<_, i64>(5)? as u64,
        last_time: time(row.get(6)?),
    };
    Ok((NodeId(row.get(0)?), tip))
}

fn seq(value: i64) -> Seq {
    Seq(value as u64)
}

/// A time as it was stored; the column holds none above [`Time::MAX`].
fn time(value: i64) -> Time {
    Time::from_bits(value as u64).unwrap_or(Time::MAX)
}

fn emit_mark(row: &rusqlite::Row<'_>) -> rusqlite::Result<EmitMark> {
    let number = |at| row.get::<_, i64>(at).map(|value| value as u64);
    Ok(EmitMark {
        next: EmitNumber(number(0)?),
        reserved: EmitNumber(number(1)?),
        recorded: number(2)?,
        dropped: number(3)?,
        gaps: number(4)?,
    })
}
