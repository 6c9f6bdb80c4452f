//! A log as tables that SQL reads, in a database of its own that lives in memory and holds none of
//! it: the table `entries` is virtual, and asks for its rows as they are wanted.
//!
//! Only reading can be said: one statement, which may read tables, call functions that compute, and
//! nothing else. See [`SqlView::select`].

use std::ffi::c_int;
use std::time::Instant;

use rusqlite::config::DbConfig;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::limits::Limit;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Error, ErrorCode, params};

use super::super::{Span, StoreError};
use entries::EntriesTable;
pub use entries::{Listed, Listing, ListingOpener, Wanted};

mod entries;

/// After how many of SQLite's steps it is looked at the clock.
const STEPS: c_int = 10_000;
/// The longest value that a statement may make.
const VALUE_BYTES: i32 = 64 << 20;
/// How much memory SQLite may take in this process; what needs more to be sorted goes to a file.
const HEAP_BYTES: i64 = 256 << 20;

/// What else is in the database beside the entries: small tables, filled when it is made.
const TABLES: &str = "
    CREATE TABLE segments (segment TEXT, side INTEGER, author TEXT, first_seq INTEGER,
        next_seq INTEGER, first_time TEXT, last_time TEXT);
    CREATE TABLE log (node TEXT, cluster TEXT, entries INTEGER, emitted INTEGER, recorded INTEGER,
        dropped INTEGER);
    CREATE VIEW authors AS SELECT author, sum(next_seq - first_seq) AS entries,
        max(next_seq) AS next_seq, count(*) AS segments, min(first_time) AS first_time,
        max(last_time) AS last_time FROM segments GROUP BY author;
    CREATE VIEW gaps AS SELECT id, author, seq, time, hlc, offset, gap_from, gap_to, gap_count,
        gap_reason, gap_exact FROM entries WHERE kind = 'towline.gap';";

/// What a log says of itself; the row of the table `log`.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The node that it belongs to.
    pub node: String,
    /// Its cluster.
    pub cluster: String,
    /// How many entries it holds.
    pub entries: u64,
    /// How many events are accounted for.
    pub emitted: u64,
    /// How many of them were recorded.
    pub recorded: u64,
    /// How many of them were dropped.
    pub dropped: u64,
}

/// A value in a row that was selected.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'r> {
    /// Nothing.
    Null,
    /// An integer.
    Integer(i64),
    /// A number.
    Real(f64),
    /// A text.
    Text(&'r str),
    /// Bytes that are no text.
    Blob(&'r [u8]),
}

/// Says why a statement has no rows, or not all of them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SqlError {
    /// It is not one statement that reads, or SQLite doesn't understand it.
    #[error("{0}")]
    Statement(String),
    /// It took longer than it may.
    #[error("the statement took longer than it may")]
    Late,
    /// The log can't be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<Error> for SqlError {
    fn from(error: Error) -> Self {
        match &error {
            Error::SqliteFailure(failure, _) if failure.code == ErrorCode::OperationInterrupted => {
                Self::Late
            }
            Error::SqliteFailure(failure, Some(said))
                if failure.code == ErrorCode::DatabaseCorrupt =>
            {
                Self::Store(StoreError::Damaged(said.clone()))
            }
            Error::SqlInputError { msg, .. } => Self::Statement(msg.clone()),
            Error::SqliteFailure(_, Some(said)) => Self::Statement(said.clone()),
            _ => Self::Statement(error.to_string()),
        }
    }
}

/// A log as tables.
pub struct SqlView {
    connection: Connection,
}

impl SqlView {
    /// The tables over a log whose entries `opener` lists. A statement may run until `deadline`.
    ///
    /// # Errors
    /// SQLite can't be set up.
    pub fn open(
        opener: ListingOpener,
        spans: &[Span],
        facts: &Facts,
        deadline: Instant,
    ) -> Result<Self, SqlError> {
        let mut connection = Connection::open_in_memory()?;
        EntriesTable::register(&connection, opener)?;
        connection.execute_batch(TABLES)?;
        fill(&mut connection, spans, facts)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
        connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, VALUE_BYTES)?;
        connection.pragma_update(None, "query_only", true)?;
        connection.query_row(&format!("PRAGMA hard_heap_limit = {HEAP_BYTES}"), [], |_| Ok(()))?;
        connection.progress_handler(STEPS, Some(move || Instant::now() >= deadline))?;
        connection.authorizer(Some(admit))?;
        Ok(Self { connection })
    }

    /// Selects rows: `row` is called with the names of the columns and the values of each row. An
    /// error that it returns ends the selecting.
    ///
    /// # Errors
    /// See [`SqlError`]; or what `row` returns.
    pub fn select<E: From<SqlError>>(
        &self,
        statement: &str,
        mut row: impl FnMut(&[String], Option<&[Value<'_>]>) -> Result<(), E>,
    ) -> Result<(), E> {
        let refused = |what: &str| SqlError::Statement(what.to_owned());
        let mut prepared = self.connection.prepare(statement).map_err(|error| match error {
            Error::MultipleStatement => refused("it is more than one statement"),
            error => error.into(),
        })?;
        if prepared.column_count() == 0 || !prepared.readonly() {
            return Err(refused("it is no statement that selects anything").into());
        }
        let names: Vec<String> = prepared.column_names().map(str::to_owned).collect();
        row(&names, None)?;
        let mut rows = prepared.raw_query();
        while let Some(found) = rows.next().map_err(SqlError::from)? {
            let values: Result<Vec<Value<'_>>, Error> =
                (0..names.len()).map(|at| found.get_ref(at).map(value)).collect();
            row(&names, Some(&values.map_err(SqlError::from)?))?;
        }
        Ok(())
    }
}

fn value(value: ValueRef<'_>) -> Value<'_> {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => Value::Integer(number),
        ValueRef::Real(number) => Value::Real(number),
        ValueRef::Text(text) => std::str::from_utf8(text).map_or(Value::Blob(text), Value::Text),
        ValueRef::Blob(bytes) => Value::Blob(bytes),
    }
}

/// What a statement may do: read, and compute. Everything else that SQLite knows is refused while
/// the statement is prepared: ATTACH, PRAGMA, extensions, writing of any kind.
fn admit(context: AuthContext<'_>) -> Authorization {
    match context.action {
        AuthAction::Select | AuthAction::Read { .. } | AuthAction::Recursive => {
            Authorization::Allow
        }
        AuthAction::Function { function_name: "load_extension" } => Authorization::Deny,
        AuthAction::Function { .. } => Authorization::Allow,
        _ => Authorization::Deny,
    }
}

fn fill(connection: &mut Connection, spans: &[Span], facts: &Facts) -> Result<(), Error> {
    let transaction = connection.transaction()?;
    let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let mut insert =
        transaction.prepare("INSERT INTO segments VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?;
    for span in spans {
        insert.execute(params![
            span.strand.segment.to_string(),
            span.strand.side,
            span.author.to_string(),
            number(span.first_seq.0),
            number(span.next_seq.0),
            span.first_time.to_string(),
            span.last_time.to_string(),
        ])?;
    }
    drop(insert);
    transaction.execute(
        "INSERT INTO log VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        params![
            facts.node,
            facts.cluster,
            number(facts.entries),
            number(facts.emitted),
            number(facts.recorded),
            number(facts.dropped),
        ],
    )?;
    transaction.commit()
}
