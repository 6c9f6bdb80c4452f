//! The limits that benchmarks are held against: the same bytes in a plain file, and in one table.
//!
//! Neither does what a log does (no order, no signature, no peers, no readers): they say what the
//! disk and SQLite would allow.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::StoreError;

/// A plain file to which groups of payloads are appended, each with one `fdatasync`.
pub struct PlainFile(File);

impl PlainFile {
    /// An empty file.
    ///
    /// # Errors
    /// The file can't be made.
    pub fn create(path: &Path) -> Result<Self, StoreError> {
        File::create(path).map(Self).map_err(failed)
    }

    /// Writes and syncs a group, and returns how long that took.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn commit(&mut self, payloads: &[impl AsRef<[u8]>]) -> Result<Duration, StoreError> {
        let started = Instant::now();
        let size = payloads.iter().map(|payload| payload.as_ref().len()).sum();
        let mut group = Vec::with_capacity(size);
        payloads.iter().for_each(|payload| group.extend_from_slice(payload.as_ref()));
        self.0.write_all(&group).map_err(failed)?;
        self.0.sync_data().map_err(failed)?;
        Ok(started.elapsed())
    }
}

fn failed(error: std::io::Error) -> StoreError {
    StoreError::Failed(error.to_string())
}

/// One table of payloads, `synchronous=FULL`: what plain SQLite does with the same bytes.
pub struct OneTable {
    connection: Connection,
}

impl OneTable {
    /// A table in a file, which is made when it is missing.
    ///
    /// # Errors
    /// SQLite fails; so for every call here.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let connection = Connection::open(path)?;
        connection.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
             CREATE TABLE IF NOT EXISTS entries (id INTEGER PRIMARY KEY, payload BLOB NOT NULL);",
        )?;
        Ok(Self { connection })
    }

    /// Inserts payloads as rows in one transaction, and returns how long that took.
    ///
    /// # Errors
    /// SQLite fails.
    pub fn commit(&mut self, payloads: &[impl AsRef<[u8]>]) -> Result<Duration, StoreError> {
        let started = Instant::now();
        let transaction = self.connection.transaction()?;
        let mut insert = transaction.prepare_cached("INSERT INTO entries (payload) VALUES (?1)")?;
        for payload in payloads {
            insert.execute([payload.as_ref()])?;
        }
        drop(insert);
        transaction.commit()?;
        Ok(started.elapsed())
    }

    /// How many rows there are.
    ///
    /// # Errors
    /// SQLite fails.
    pub fn rows(&self) -> Result<u64, StoreError> {
        let last = self
            .connection
            .query_row("SELECT max(id) FROM entries", [], |row| row.get::<_, Option<i64>>(0))?;
        Ok(last.map_or(0, |last| last as u64))
    }

    /// Reads every payload in order, and returns how many bytes they have.
    ///
    /// # Errors
    /// SQLite fails.
    pub fn scan(&self) -> Result<u64, StoreError> {
        let mut query = self.connection.prepare("SELECT payload FROM entries ORDER BY id")?;
        let mut rows = query.query([])?;
        let mut bytes = 0;
        while let Some(row) = rows.next()? {
            bytes += row.get_ref(0)?.as_blob().map_or(0, |payload| payload.len() as u64);
        }
        Ok(bytes)
    }

    /// The newest payload.
    ///
    /// # Errors
    /// SQLite fails, or there is none.
    pub fn newest(&self) -> Result<Vec<u8>, StoreError> {
        let newest = "SELECT payload FROM entries ORDER BY id DESC LIMIT 1";
        Ok(self.connection.query_row(newest, [], |row| row.get(0))?)
    }
}

/// One table of payloads with their topics, and an index of the topics.
pub struct TopicTable {
    connection: Connection,
}

impl TopicTable {
    /// An empty table in a new file. It is made to be read: what is written isn't synced.
    ///
    /// # Errors
    /// SQLite fails; so for every call here.
    pub fn create(path: &Path) -> Result<Self, StoreError> {
        let connection = Connection::open(path)?;
        connection.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF;
             CREATE TABLE entries (id INTEGER PRIMARY KEY, topic TEXT NOT NULL, payload BLOB NOT NULL);
             CREATE INDEX by_topic ON entries (topic);",
        )?;
        Ok(Self { connection })
    }

    /// Inserts rows.
    ///
    /// # Errors
    /// SQLite fails.
    pub fn insert<'a>(
        &mut self,
        rows: impl Iterator<Item = (&'a str, &'a [u8])>,
    ) -> Result<(), StoreError> {
        let transaction = self.connection.transaction()?;
        let mut insert =
            transaction.prepare_cached("INSERT INTO entries (topic, payload) VALUES (?1, ?2)")?;
        for (topic, payload) in rows {
            insert.execute((topic, payload))?;
        }
        drop(insert);
        Ok(transaction.commit()?)
    }

    /// The newest payloads of a topic.
    ///
    /// # Errors
    /// SQLite fails.
    pub fn newest(&self, topic: &str, count: u32) -> Result<Vec<Vec<u8>>, StoreError> {
        let mut query = self.connection.prepare_cached(
            "SELECT payload FROM entries WHERE topic = ?1 ORDER BY id DESC LIMIT ?2",
        )?;
        let rows = query.query_map((topic, count), |row| row.get(0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}
