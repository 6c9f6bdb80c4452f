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

/// Writes payloads to a file, with one `fdatasync` for each group.
///
/// # Errors
/// The file can't be written.
pub fn plain_file(path: &Path, payloads: &[Vec<u8>], group: usize) -> Result<Duration, StoreError> {
    let failed = |error: std::io::Error| StoreError::Failed(error.to_string());
    let mut file = File::create(path).map_err(failed)?;
    let started = Instant::now();
    for group in payloads.chunks(group) {
        file.write_all(&group.concat()).map_err(failed)?;
        file.sync_data().map_err(failed)?;
    }
    Ok(started.elapsed())
}

/// One table of payloads, `synchronous=FULL`: what plain SQLite does with the same bytes.
pub struct OneTable {
    connection: Connection,
}

impl OneTable {
    /// An empty table in a new file.
    ///
    /// # Errors
    /// SQLite fails.
    pub fn create(path: &Path) -> Result<Self, StoreError> {
        let connection = Connection::open(path)?;
        connection.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
             CREATE TABLE entries (id INTEGER PRIMARY KEY, payload BLOB NOT NULL);",
        )?;
        Ok(Self { connection })
    }

    /// Inserts payloads as rows in one transaction, and returns how long that took.
    ///
    /// # Errors
    /// SQLite fails.
    pub fn commit(&mut self, payloads: &[Vec<u8>]) -> Result<Duration, StoreError> {
        let started = Instant::now();
        let transaction = self.connection.transaction()?;
        let mut insert = transaction.prepare_cached("INSERT INTO entries (payload) VALUES (?1)")?;
        for payload in payloads {
            insert.execute([payload])?;
        }
        drop(insert);
        transaction.commit()?;
        Ok(started.elapsed())
    }

    /// Inserts payloads in groups, and returns how long all of it took.
    ///
    /// # Errors
    /// SQLite fails.
    pub fn commit_groups(
        &mut self,
        payloads: &[Vec<u8>],
        group: usize,
    ) -> Result<Duration, StoreError> {
        payloads.chunks(group).map(|group| self.commit(group)).sum()
    }
}
