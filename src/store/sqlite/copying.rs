//! A copy of a store in one file, made while its node goes on.
//!
//! The copy is the store as it was when the copying began: one snapshot is held over all of it, so
//! it never starts anew because somebody writes, and it holds whole commits only. A writer doesn't
//! wait for it; the write-ahead log grows meanwhile.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};

use super::super::{OpenError, Owner, StoreError, StoreId};
use super::{SqliteStore, schema};
use crate::words::EmitNumber;

/// How many pages are copied at once: 1 MiB.
const STEP: i32 = 256;
/// After so many steps they are synced, so that no sync of the node waits for all of the copy.
const SYNC: u32 = 32;
/// How often a step is tried that another process holds up, and how long lies between two tries.
const TRIES: u32 = 500;
const PAUSE: Duration = Duration::from_millis(10);

/// Copies the store at one path to another, where nothing is, and leaves one file there, synced.
/// `progress` is told how many bytes of how many are done.
///
/// # Errors
/// There is no store, or it can't be read, or the copy not written. What was written of it stays.
pub fn copy(from: &Path, to: &Path, mut progress: impl FnMut(u64, u64)) -> Result<(), OpenError> {
    if !from.exists() || schema::check(from)?.is_none() {
        return Err(OpenError::Missing(from.display().to_string()));
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let source = Connection::open_with_flags(from, flags).map_err(StoreError::from)?;
    copy_pages(&source, to, &mut progress)?;
    alone(to)?;
    Ok(())
}

fn copy_pages(
    source: &Connection,
    to: &Path,
    progress: &mut impl FnMut(u64, u64),
) -> Result<(), StoreError> {
    source.busy_timeout(Duration::from_secs(5))?;
    let page: u64 =
        source.pragma_query_value(None, "page_size", |row| row.get::<_, i64>(0))? as u64;
    source.execute_batch("BEGIN")?;
    // The snapshot is taken by the first reading in the transaction.
    source.query_row("SELECT count(*) FROM settings", [], |_| Ok(()))?;
    let mut target = Connection::open(to)?;
    // A copy that is not whole is thrown away: it needs no journal, and is synced here.
    target.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;")?;
    let file = File::open(to).map_err(failed)?;
    let backup = Backup::new(source, &mut target)?;
    let (mut tries, mut steps) = (0, 0);
    loop {
        match backup.step(STEP)? {
            StepResult::Done => break,
            StepResult::More => tries = 0,
            _ if tries < TRIES => {
                tries += 1;
                std::thread::sleep(PAUSE);
            }
            held_up => {
                return Err(StoreError::Failed(format!("the copy stands still: {held_up:?}")));
            }
        }
        steps += 1;
        if steps % SYNC == 0 {
            file.sync_data().map_err(failed)?;
        }
        let now = backup.progress();
        let pages = |count: i32| u64::try_from(count).unwrap_or_default() * page;
        progress(pages(now.pagecount - now.remaining), pages(now.pagecount));
    }
    Ok(())
}

/// Makes the copy one file that needs no other beside it, and syncs it.
fn alone(path: &Path) -> Result<(), StoreError> {
    let connection = Connection::open(path)?;
    let mode: String =
        connection.query_row("PRAGMA journal_mode = DELETE", [], |row| row.get(0))?;
    if mode != "delete" {
        return Err(StoreError::Failed(format!("SQLite keeps the copy's journal_mode at {mode}")));
    }
    connection.close().map_err(|(_, error)| error)?;
    File::open(path).and_then(|file| file.sync_all()).map_err(failed)
}

/// Whom a store belongs to, of whatever version it is.
///
/// # Errors
/// There is none, or a newer towline wrote it.
pub fn owner(path: &Path) -> Result<Owner, OpenError> {
    let missing = || OpenError::Missing(path.display().to_string());
    if !path.exists() {
        return Err(missing());
    }
    schema::check(path)?.map(|(owner, _)| owner).ok_or_else(missing)
}

/// Brings a copy that no node runs on to the version of this towline.
///
/// # Errors
/// It can't be written.
pub fn bring_up_to_date(path: &Path) -> Result<(), OpenError> {
    let owner = owner(path)?;
    drop(SqliteStore::open(path, owner, [0; 8])?);
    Ok(alone(path)?)
}

/// Makes a copy that no node runs on a store of its own: its offsets mean nothing to readers of
/// the one that it was copied from, and no emit number below `reserved` is given out again.
///
/// # Errors
/// It can't be written.
pub fn begin_anew(path: &Path, id: StoreId, reserved: EmitNumber) -> Result<(), StoreError> {
    let mut connection = Connection::open(path)?;
    let transaction = connection.transaction()?;
    transaction.execute("UPDATE settings SET value = ?1 WHERE name = 'store'", [id.0])?;
    let reserved = i64::try_from(reserved.0).unwrap_or(i64::MAX);
    transaction.execute("UPDATE emits SET reserved = max(next, ?1)", [reserved])?;
    transaction.commit()?;
    connection.close().map_err(|(_, error)| error)?;
    File::open(path).and_then(|file| file.sync_all()).map_err(failed)
}

fn failed(error: std::io::Error) -> StoreError {
    match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
            StoreError::Full(error.to_string())
        }
        _ => StoreError::Failed(error.to_string()),
    }
}
