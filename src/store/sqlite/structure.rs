//! Whether the trees of pages are whole, and what SQLite finds rows by agrees with the rows.

use rusqlite::{Connection, OptionalExtension};

use super::super::StoreError;
use super::blocks::{Piece, Pieces, column};

/// Partial indices: their names, tables, columns and flags. SQLite checks that they name every row
/// that they should, but not that they name no other.
const PARTIAL: [(&str, &str, &str, &str); 2] =
    [("tips", "segments", "author", "tip"), ("branched", "authors", "node", "branched")];

/// Where the views were last made.
const VIEWS: &str = include_str!("schema/5.sql");

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
    check_views(connection)?;
    check_pieces(connection)
}

/// Whether the views say what they did when they were made: not everything that is checked reads them,
/// and what is read does.
fn check_views(connection: &Connection) -> Result<(), StoreError> {
    let mut query = connection.prepare("SELECT sql FROM sqlite_schema WHERE name = ?1")?;
    for view in ["kept", "held"] {
        let found: Option<String> = query.query_row([view], |row| row.get(0)).optional()?;
        if !found.is_some_and(|sql| VIEWS.contains(&sql)) {
            return Err(StoreError::Damaged(format!("the view {view} is not as it was made")));
        }
    }
    Ok(())
}

/// Whether the order of arrival names exactly the entries that blocks hold, where they say.
fn check_pieces(connection: &Connection) -> Result<(), StoreError> {
    let wrong =
        |offset: i64| StoreError::Damaged(format!("the piece at offset {offset} of a block"));
    let mut blocks = connection.prepare("SELECT id, next_seq - first_seq, arrivals FROM blocks")?;
    let mut piece = connection.prepare("SELECT count, block FROM pieces WHERE offset = ?1")?;
    let mut blocks = blocks.query([])?;
    let mut named = 0;
    while let Some(block) = blocks.next()? {
        let (id, entries): (i64, i64) = (block.get(0)?, block.get(1)?);
        let mut held = 0;
        let pieces: Vec<u8> = block.get(2)?;
        for Piece { offset, count, .. } in Pieces::read(&pieces) {
            let offset = column(offset.0);
            let found = piece.query_row([offset], |row| Ok((row.get(0)?, row.get(1)?)));
            if found.optional()? != Some((column(count), id)) {
                return Err(wrong(offset));
            }
            (named, held) = (named + 1, held + column(count));
        }
        if held != entries {
            return Err(StoreError::Damaged(format!(
                "block {id} names {held} entries of {entries}"
            )));
        }
    }
    let all: i64 = connection.query_row("SELECT count(*) FROM pieces", [], |row| row.get(0))?;
    if all == named { Ok(()) } else { Err(StoreError::Damaged(format!("{all} pieces of {named}"))) }
}
