//! Whether the trees of pages are whole, and what SQLite finds rows by agrees with the rows.

use rusqlite::Connection;

use super::super::StoreError;

/// Partial indices: their names, tables, columns and flags. SQLite checks that they name every row
/// that they should, but not that they name no other.
const PARTIAL: [(&str, &str, &str, &str); 2] =
    [("tips", "segments", "author", "tip"), ("branched", "authors", "node", "branched")];

/// Reads the whole file.
///
/// # Errors
/// The first thing that doesn't agree.
pub(super) fn check(connection: &Connection) -> Result<(), StoreError> {
    let query = "PRAGMA integrity_check(1)";
    let found: String = connection.query_row(query, [], |row| row.get(0))?;
    if found != "ok" {
        return Err(StoreError::Damaged(found));
    }
    for (index, table, column, flag) in PARTIAL {
        let named =
            |through: &str| format!("SELECT {column}, id FROM {table} {through} WHERE {flag} = 1");
        let indexed = named(&format!("INDEXED BY {index}"));
        let query = format!("SELECT count(*) FROM ({indexed} EXCEPT {})", named("NOT INDEXED"));
        let more: i64 = connection.query_row(&query, [], |row| row.get(0))?;
        if more > 0 {
            return Err(StoreError::Damaged(format!(
                "the index {index} names {more} rows too many"
            )));
        }
    }
    Ok(())
}
