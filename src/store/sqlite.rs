//! The store in SQLite: one file, write-ahead log, `synchronous=FULL`.
//!
//! `docs/storage.md` draws every table. One connection writes, readers have their own; WAL lets
//! them read whole commits while the next one is written. Every PRAGMA that durability rests on is
//! read back after it was set.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, ErrorCode, params};

use super::{
    Batch, EmitMark, IDEMPOTENCY_KEYS, KeyRecord, OpenError, Opener, Owner, Resume, Store,
    StoreError, StoreId,
};
use crate::core::change::{Change, Link};
use crate::core::frontier::Head;
use crate::core::log::{Arrival, Tip};
use crate::words::{ChangeHash, EmitNumber, NodeId, SegmentId, Seq, Time};

mod reader;
mod schema;

pub use reader::SqliteReader;
pub use schema::VERSION;

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full(error.to_string()),
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                Self::Damaged(error.to_string())
            }
            _ => Self::Failed(error.to_string()),
        }
    }
}

/// The writing half.
pub struct SqliteStore {
    connection: Connection,
    path: PathBuf,
    owner: Owner,
    id: StoreId,
    /// Row ids of authors and of segments that are still written, so that an append looks up none.
    authors: HashMap<NodeId, i64>,
}

impl SqliteStore {
    /// Opens the store at a path, and makes it when it is missing.
    ///
    /// `fresh_id` names the store when it is made: 8 random bytes.
    ///
    /// # Errors
    /// A file that isn't towline's, is newer, or belongs to another node: it was not touched.
    pub fn open(path: &Path, owner: Owner, fresh_id: [u8; 8]) -> Result<Self, OpenError> {
        if path.exists()
            && let Some((found, _)) = schema::check(path)?
        {
            check_owner(found, owner)?;
        }
        let connection = Connection::open(path).map_err(StoreError::from)?;
        schema::configure(&connection)?;
        schema::migrate(&connection, owner, StoreId(fresh_id))?;
        let (_, id) = schema::owner(&connection)?;
        Ok(Self {
            connection,
            path: path.to_owned(),
            owner,
            id,
            authors: HashMap::new(),
        })
    }
}

fn check_owner(found: Owner, expected: Owner) -> Result<(), OpenError> {
    let wrong = |what, found: String, expected: String| {
        Err(OpenError::Owner {
            what,
            found,
            expected,
        })
    };
    if found.node != expected.node {
        return wrong("node", found.node.to_string(), expected.node.to_string());
    }
    if found.cluster != expected.cluster {
        return wrong(
            "cluster",
            found.cluster.to_string(),
            expected.cluster.to_string(),
        );
    }
    Ok(())
}

impl Store for SqliteStore {
    fn resume(&mut self) -> Result<Resume, StoreError> {
        let mut query = self.connection.prepare(&format!("{TIP} WHERE s.tip = 1"))?;
        let tips = query.query_map([], tip)?;
        Ok(Resume {
            tips: tips.collect::<Result<_, _>>()?,
            next_offset: reader::watermark(&self.connection)?,
            emits: reader::emits(&self.connection)?,
            id: self.id,
        })
    }

    fn commit(&mut self, batch: &Batch) -> Result<(), StoreError> {
        let authors = &mut self.authors;
        let transaction = self.connection.transaction()?;
        for arrival in &batch.arrivals {
            write_change(&transaction, authors, arrival)?;
        }
        if let Some(mark) = &batch.emits {
            write_emits(&transaction, mark)?;
        }
        for record in &batch.keys {
            write_key(&transaction, record)?;
        }
        transaction.commit()?;
        Ok(())
    }

    fn opener(&self) -> Opener {
        let (path, owner, id) = (self.path.clone(), self.owner, self.id);
        Box::new(move || Ok(Box::new(SqliteReader::new(&path, owner, id)?)))
    }
}

fn write_change(
    connection: &Connection,
    authors: &mut HashMap<NodeId, i64>,
    arrival: &Arrival,
) -> Result<(), StoreError> {
    let Arrival {
        offset,
        skew,
        change,
    } = arrival;
    let author = author_row(connection, authors, change.author)?;
    let segment = write_segment(connection, author, change)?;
    connection
        .prepare_cached(
            "INSERT INTO changes (offset, segment, first_seq, position, count, first_time,
                last_time, skew, hash, signature, bytes)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        )?
        .execute(params![
            offset.0 as i64,
            segment,
            change.first_seq.0 as i64,
            change.index,
            change.count,
            change.first_time.bits() as i64,
            change.last_time.bits() as i64,
            skew,
            change.hash.0,
            change.signature.map(|signature| signature.0),
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

/// Opens a segment or extends it, and returns its row id.
fn write_segment(connection: &Connection, author: i64, change: &Change) -> Result<i64, StoreError> {
    let link = change
        .link()
        .map_err(|e| StoreError::Damaged(e.to_string()))?;
    let Link::Opening(opening) = link else {
        return Ok(connection
            .prepare_cached(
                "UPDATE segments SET next_seq = ?2, changes = changes + 1, bytes = bytes + ?3,
                    last_time = ?4, head = ?5, tip = 1
                 WHERE name = ?1 RETURNING id",
            )?
            .query_row(
                params![
                    change.segment.0,
                    change.next_seq().0 as i64,
                    change.bytes.len() as i64,
                    change.last_time.bits() as i64,
                    change.hash.0,
                ],
                |row| row.get(0),
            )?);
    };
    for parent in &opening.parents {
        connection
            .prepare_cached(
                "UPDATE segments SET tip = 0 WHERE author = ?1 AND next_seq = ?2 AND head = ?3",
            )?
            .execute(params![author, parent.next_seq.0 as i64, parent.hash.0])?;
    }
    connection
        .prepare_cached(
            "INSERT INTO segments (name, author, opening, first_seq, next_seq, changes, bytes,
                first_time, last_time, head, tip)
             VALUES (?1, ?2, ?3, ?4, ?5, 1, ?6, ?7, ?8, ?9, 1)",
        )?
        .execute(params![
            change.segment.0,
            author,
            opening.text(),
            change.first_seq.0 as i64,
            change.next_seq().0 as i64,
            change.bytes.len() as i64,
            change.first_time.bits() as i64,
            change.last_time.bits() as i64,
            change.hash.0,
        ])?;
    Ok(connection.last_insert_rowid())
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

/// What is held of a segment, and whose it is.
const TIP: &str = "SELECT a.node, s.name, s.first_seq, s.next_seq, s.changes, s.bytes, s.last_time,
    s.head FROM segments s JOIN authors a ON a.id = s.author";

fn tip(row: &rusqlite::Row<'_>) -> rusqlite::Result<(NodeId, Tip)> {
    let head = Head {
        segment: SegmentId(row.get(1)?),
        next_seq: seq(row.get(3)?),
        hash: ChangeHash(row.get(7)?),
    };
    let tip = Tip {
        head,
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
