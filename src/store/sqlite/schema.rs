//! The tables, the settings, and the way from one version to the next.

use std::path::Path;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, params};

use super::super::damage::Damages;
use super::super::{OpenError, Owner, StoreError, StoreId};
use super::reader::SqliteReader;
use super::{blocks, series};
use crate::words::planted::{Bug, planted};
use crate::words::{ClusterId, NodeId};

/// The version of the tables that this code writes, kept in `user_version`.
pub const VERSION: i64 = 5;
/// «twln» in ASCII, kept in `application_id`: `file` and we know whose database it is.
const APPLICATION_ID: i64 = 0x7477_6c6e;

/// What each version adds to the one before it. A step, once shipped, is never edited.
const STEPS: [&str; VERSION as usize] = [
    include_str!("schema/1.sql"),
    include_str!("schema/2.sql"),
    include_str!("schema/3.sql"),
    include_str!("schema/4.sql"),
    include_str!("schema/5.sql"),
];
/// The version from which on series are indexed.
const WITH_SERIES: i64 = 4;

/// Takes back what a crash left half done while the file was made: SQLite rolls back at the first
/// reading. A store that is made has a write-ahead log, and never a rollback journal again.
pub(super) fn roll_back(path: &Path) -> Result<(), OpenError> {
    let mut journal = path.as_os_str().to_owned();
    journal.push("-journal");
    if !Path::new(&journal).exists() {
        return Ok(());
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(StoreError::from)?;
    is_empty(&connection)?;
    Ok(())
}

/// Looks at a file without touching it: is it ours, can we read it, and whose is it? An empty file
/// is nobody's yet.
pub(super) fn check(path: &Path) -> Result<Option<(Owner, StoreId)>, OpenError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(StoreError::from)?;
    let number = |pragma: &str| connection.pragma_query_value(None, pragma, |row| row.get(0));
    let application: i64 = number("application_id").map_err(|error| foreign(path, error))?;
    let found: i64 = number("user_version").map_err(|error| foreign(path, error))?;
    let empty = application == 0 && found == 0 && is_empty(&connection)?;
    if application != APPLICATION_ID && !empty {
        return Err(OpenError::Foreign(path.display().to_string()));
    }
    if found > VERSION {
        return Err(OpenError::Newer { found, known: VERSION });
    }
    if empty { Ok(None) } else { Ok(Some(owner(&connection)?)) }
}

/// Whether the tables are the ones that this code reads.
pub(super) fn check_current(connection: &Connection) -> Result<(), OpenError> {
    let version = connection.pragma_query_value(None, "user_version", |row| row.get(0));
    let found: i64 = version.map_err(StoreError::from)?;
    if found < VERSION { Err(OpenError::Older { found, known: VERSION }) } else { Ok(()) }
}

fn foreign(path: &Path, error: rusqlite::Error) -> OpenError {
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => OpenError::Foreign(path.display().to_string()),
        _ => OpenError::Store(error.into()),
    }
}

fn is_empty(connection: &Connection) -> Result<bool, StoreError> {
    let count = "SELECT count(*) FROM sqlite_schema";
    Ok(connection.query_row(count, [], |row| row.get::<_, i64>(0))? == 0)
}

/// Lets prepared statements stay as they are. SQLite would parse one again each time that a value is
/// bound which its plan might depend on, such as a limit: that took longer than most of them run.
pub(super) fn keep_plans(connection: &Connection) -> Result<(), StoreError> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(())
}

/// Makes the settings that durability rests on, and reads each back.
pub(super) fn configure(connection: &Connection) -> Result<(), OpenError> {
    let set = |pragma: &'static str, value: &str, wanted: &str| {
        let text = |row: &rusqlite::Row<'_>| {
            row.get_ref(0).map(|value| match value {
                rusqlite::types::ValueRef::Integer(number) => number.to_string(),
                other => other.as_str().unwrap_or_default().to_owned(),
            })
        };
        // Some PRAGMAs answer when they are set, some don't: set, then ask.
        connection
            .execute_batch(&format!("PRAGMA {pragma} = {value}"))
            .map_err(StoreError::from)?;
        let found: String =
            connection.pragma_query_value(None, pragma, text).map_err(StoreError::from)?;
        let wanted = wanted.to_owned();
        if found == wanted { Ok(()) } else { Err(OpenError::Pragma { pragma, found, wanted }) }
    };
    connection.busy_timeout(std::time::Duration::from_secs(5)).map_err(StoreError::from)?;
    keep_plans(connection)?;
    if is_empty(connection)? {
        set("page_size", "4096", "4096")?;
        set("auto_vacuum", "2", "2")?; // incremental: what is freed can be given back
    }
    set("journal_mode", "WAL", "wal")?;
    let (value, read_back) = synchronous();
    set("synchronous", value, read_back)?;
    set("foreign_keys", "ON", "1")?;
    set("cell_size_check", "ON", "1")?;
    set("cache_size", "-8192", "-8192")?;
    set("wal_autocheckpoint", "2048", "2048")?;
    set("journal_size_limit", "67108864", "67108864")?;
    connection.set_prepared_statement_cache_capacity(32);
    Ok(())
}

/// Whatever is to be on the disk is synced: the value of the PRAGMA, and how it reads.
pub(super) fn synchronous() -> (&'static str, &'static str) {
    if planted(Bug::NoSync) { ("OFF", "0") } else { ("FULL", "2") }
}

/// Moves what the process before left in the write-ahead log into the file, and begins the log
/// anew.
///
/// After a sync that failed, the system may show pages of the log that it will never write. What
/// is read there is written once more, before anybody is told of it; and what is committed from
/// now on doesn't stand behind a hole, at which SQLite would stop reading after a power cut. A
/// reader of another process that stands in the way is waited for as long as for any lock.
pub(super) fn settle(connection: &Connection) -> Result<(), StoreError> {
    let settled = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
    match settled.map_err(StoreError::from) {
        Err(StoreError::Full(_)) => Ok(()), // the log stays as it is, and can be read
        settled => settled,
    }
}

/// Brings an older or an empty file to [`VERSION`]: in one transaction, or in one up to the index of
/// series and one with it, which is written from what the former left.
pub(super) fn migrate(
    connection: &Connection,
    path: &Path,
    owner: Owner,
    id: StoreId,
) -> Result<(), StoreError> {
    let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if found == VERSION {
        return Ok(());
    }
    // A step may replace a table that others refer to.
    connection.pragma_update(None, "foreign_keys", "OFF")?;
    if (1..WITH_SERIES).contains(&found) {
        let transaction = connection.unchecked_transaction()?;
        steps(&transaction, found, WITH_SERIES - 1)?;
        transaction.commit()?;
        let transaction = connection.unchecked_transaction()?;
        steps(&transaction, WITH_SERIES - 1, WITH_SERIES)?;
        let mut reader = SqliteReader::new(path, owner, id, Damages::default(), blocks::cache())?;
        reader.read_unpruned()?;
        series::index_all(&transaction, &mut reader)?;
        steps(&transaction, WITH_SERIES, VERSION)?;
        transaction.commit()?;
    } else {
        let transaction = connection.unchecked_transaction()?;
        steps(&transaction, found, VERSION)?;
        if found == 0 {
            transaction.execute(
                "INSERT INTO settings (name, value)
                 VALUES ('node', ?1), ('cluster', ?2), ('store', ?3)",
                params![owner.node.0, owner.cluster.0, id.0],
            )?;
        }
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.commit()?;
    }
    connection.pragma_update(None, "foreign_keys", "ON")?;
    Ok(())
}

/// Takes the steps from one version to another.
fn steps(connection: &Connection, from: i64, to: i64) -> Result<(), StoreError> {
    for step in STEPS.iter().take(to as usize).skip(from as usize) {
        connection.execute_batch(step)?;
    }
    connection.pragma_update(None, "user_version", to)?;
    Ok(())
}

/// Whom the store belongs to, and its name.
pub(super) fn owner(connection: &Connection) -> Result<(Owner, StoreId), StoreError> {
    fn setting<const N: usize>(connection: &Connection, name: &str) -> Result<[u8; N], StoreError> {
        let query = "SELECT value FROM settings WHERE name = ?1";
        Ok(connection.query_row(query, [name], |row| row.get(0))?)
    }
    let node = NodeId(setting(connection, "node")?);
    let cluster = ClusterId(setting(connection, "cluster")?);
    Ok((Owner { node, cluster }, StoreId(setting(connection, "store")?)))
}

#[cfg(test)]
mod tests {
    use rusqlite::StatementStatus;

    use super::*;

    #[test]
    fn a_statement_is_not_parsed_again_for_another_limit() {
        let connection = Connection::open_in_memory().unwrap();
        let table = "CREATE TABLE t (a INTEGER PRIMARY KEY, b INTEGER); CREATE INDEX i ON t (b)";
        connection.execute_batch(table).unwrap();
        keep_plans(&connection).unwrap();
        let query = "SELECT b FROM t WHERE b > ?1 ORDER BY b LIMIT ?2";
        let mut query = connection.prepare(query).unwrap();
        for limit in 1..5 {
            let found = query.query_map([0, limit], |row| row.get::<_, i64>(0)).unwrap();
            assert_eq!(found.count(), 0);
        }
        assert_eq!(query.get_status(StatementStatus::RePrepare), 0);
    }
}
