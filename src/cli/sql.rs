//! `towline sql`: the log as tables that SQL reads.

use std::io::Read;
use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, ValueEnum};
use serde_json::json;

use super::Outcome;
use super::failure::{Failure, Stop};
use super::line::one_line;
use super::output::{Format, Output};
use super::place::Global;
use super::template::Form as Printed;
use crate::node::sql::{self, SqlError, SqlOpenError, Value};
use crate::words::Code;
use crate::words::time::parse_duration;

/// How long a statement may run when nothing is said.
const PATIENCE: Duration = Duration::from_secs(60);
/// How much longer it is waited for one that is about to say so itself.
const GRACE: Duration = Duration::from_millis(500);
/// The longest statement.
const STATEMENT_BYTES: u64 = 1 << 20;
/// How many rows of text decide how wide the columns are, and how wide one gets at most.
const ROWS_MEASURED: usize = 100;
const WIDEST: usize = 64;
/// Integers beyond this are no numbers in JavaScript, and so strings in JSON.
const SAFE: u64 = 1 << 53;

/// Select from the log with SQL, with or without a running node
#[derive(Debug, Args)]
#[command(
    before_help = "\
Examples:
  towline sql \"SELECT topic, count(*) FROM entries GROUP BY topic\"
  towline sql \"SELECT time, data ->> '\\$.state' FROM entries
               WHERE topic = 'story/42' ORDER BY hlc DESC LIMIT 10\"
  towline sql --csv \"SELECT * FROM gaps\" > gaps.csv",
    after_help = "\
Tables: entries (author, seq, id, time, hlc, offset, tenant, topic, kind,
attributes, data, content_type, change, segment, skew, forked, gap_from, gap_to,
gap_count, gap_reason, gap_exact), gaps, authors, segments, log. Conditions on
author, seq, id, tenant, topic, kind, time, hlc and offset are looked up, the
orders of hlc, time and offset need no sorting. `time` is a text in UTC, and is
compared as one. The SQL is that of SQLite, of one statement that only reads."
)]
pub struct Sql {
    /// One SELECT; '-' reads it from stdin
    statement: String,
    /// Print CSV (RFC 4180) with a line of names
    #[arg(long)]
    csv: bool,
    /// How long it may run [default: 60s]
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    timeout: Option<Duration>,
}

impl Sql {
    pub(super) fn run(self, global: &Global) -> Outcome {
        if global.named_node().is_some() {
            let why = "SQL reads the store in a data directory";
            let failure = Failure::usage("a node can't be asked with SQL", why);
            return Err(failure.hint("--data DIR on the machine of the node").into());
        }
        let data = global.data()?;
        let printed = if self.csv { Printed::default() } else { global.form() };
        let form = if self.csv { Form::Csv } else { Form::from(printed.format) };
        let statement = self.statement()?;
        let patience = self.timeout.unwrap_or(PATIENCE);
        // What reads the log in one go can't be stopped halfway: it ends with the process then.
        let (done, doing) = mpsc::sync_channel(1);
        let worker = std::thread::Builder::new().name("towline-sql".into());
        let started = worker.spawn(move || {
            let deadline = Instant::now().checked_add(patience);
            let deadline = deadline.unwrap_or_else(|| Instant::now() + PATIENCE * 1_000_000);
            drop(done.send(select(&data, &statement, deadline, (form, printed))));
        });
        let failed = |error| Failure::new(Code::Io, "no thread can be started", error);
        started.map_err(failed)?;
        match doing.recv_timeout(patience.saturating_add(GRACE)) {
            Ok(selected) => selected,
            Err(RecvTimeoutError::Timeout) => Err(refused(&SqlError::Late).into()),
            Err(RecvTimeoutError::Disconnected) => {
                let why = "the thread that ran it ended";
                Err(Failure::new(Code::Io, "the statement was not finished", why).into())
            }
        }
    }

    fn statement(&self) -> Result<String, Failure> {
        if self.statement != "-" {
            return Ok(self.statement.clone());
        }
        let mut statement = String::new();
        let read = std::io::stdin().lock().take(STATEMENT_BYTES).read_to_string(&mut statement);
        read.map_err(|error| Failure::new(Code::Io, "stdin can't be read", error))?;
        Ok(statement)
    }
}

fn select(
    data: &Path,
    statement: &str,
    deadline: Instant,
    (form, printed): (Form, Printed),
) -> Outcome {
    let view = sql::open(data, deadline).map_err(|error| match error {
        SqlOpenError::Open(error) => Failure::open("the log can't be opened", &error),
        SqlOpenError::Store(error) => Failure::store("the log can't be read", &error),
        SqlOpenError::Sql(error) => refused(&error),
    })?;
    let mut rows = Rows::new(form, Output::new(&printed));
    let selected = view.select(statement, |names, row| match row {
        None => rows.begin(names).map_err(Halt::Stop),
        Some(row) => rows.row(row).map_err(Halt::Stop),
    });
    match selected {
        Ok(()) => rows.end(),
        Err(Halt::Stop(stop)) => Err(stop),
        Err(Halt::Sql(error)) => {
            rows.show()?;
            Err(refused(&error).into())
        }
    }
}

/// Why the selecting ended early.
enum Halt {
    Sql(SqlError),
    Stop(Stop),
}

impl From<SqlError> for Halt {
    fn from(error: SqlError) -> Self {
        Self::Sql(error)
    }
}

fn refused(error: &SqlError) -> Failure {
    let what = "the statement was not run to its end";
    match error {
        SqlError::Statement(why) => Failure::usage("the statement can't be run", why)
            .hint("one SELECT; towline sql --help names the tables"),
        SqlError::Late => {
            Failure::new(Code::Timeout, what, error).hint("a longer --timeout, or more conditions")
        }
        SqlError::Store(error) => Failure::store(what, error),
    }
}

/// How rows are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    Text,
    Json,
    Ndjson,
    Csv,
}

impl From<Format> for Form {
    fn from(format: Format) -> Self {
        match format {
            Format::Text => Self::Text,
            Format::Json => Self::Json,
            Format::Ndjson | Format::Cloudevents => Self::Ndjson,
        }
    }
}

/// Prints rows as they come; none but the first of a text are kept.
struct Rows {
    output: Output,
    form: Form,
    names: Vec<String>,
    count: u64,
    /// The first rows of a text, until they have decided how wide the columns are.
    measured: Vec<Vec<String>>,
    widths: Option<Vec<usize>>,
}

impl Rows {
    fn new(form: Form, output: Output) -> Self {
        Self { output, form, names: Vec::new(), count: 0, measured: Vec::new(), widths: None }
    }

    fn begin(&mut self, names: &[String]) -> Outcome {
        // An object has each name once.
        for name in names {
            let same = self.names.iter().filter(|known| *known == name).count();
            let twice = || format!("{name}:{same}");
            self.names.push(if same == 0 { name.clone() } else { twice() });
        }
        match self.form {
            Form::Text => self.measured.push(names.iter().map(|n| one_line(n).into()).collect()),
            Form::Csv => {
                let line: Vec<String> = names.iter().map(|name| quoted(name)).collect();
                self.output.bytes(format!("{}\r\n", line.join(",")).as_bytes())?;
            }
            Form::Json => self.output.bytes(b"[")?,
            Form::Ndjson => {}
        }
        Ok(())
    }

    fn row(&mut self, row: &[Value<'_>]) -> Outcome {
        self.count += 1;
        match self.form {
            Form::Text => {
                self.measured.push(row.iter().map(shown).collect());
                if self.widths.is_some() || self.measured.len() > ROWS_MEASURED {
                    self.show()?;
                }
                Ok(())
            }
            Form::Csv => {
                let line: Vec<String> = row.iter().map(cell).collect();
                self.output.bytes(format!("{}\r\n", line.join(",")).as_bytes())
            }
            Form::Json => {
                let before: &[u8] = if self.count == 1 { b"\n" } else { b",\n" };
                self.output.bytes(before)?;
                let object = self.object(row);
                self.output.bytes(object.as_bytes())
            }
            Form::Ndjson => {
                let object = self.object(row);
                self.output.line(object)
            }
        }
    }

    /// A row as an object whose fields stand in the order of the columns.
    fn object(&self, row: &[Value<'_>]) -> String {
        let field = |(name, value)| format!("{}:{}", json!(name), json_of(value));
        let fields: Vec<String> = self.names.iter().zip(row).map(field).collect();
        format!("{{{}}}", fields.join(","))
    }

    /// Writes the rows of a text that wait.
    fn show(&mut self) -> Outcome {
        let widths = self.widths.get_or_insert_with(|| widths(&self.measured));
        for row in self.measured.drain(..) {
            let cells: Vec<String> = row
                .iter()
                .zip(&*widths)
                .map(|(text, width)| format!("{text:<width$}", width = *width))
                .collect();
            self.output.line(cells.join("  ").trim_end())?;
        }
        self.output.flush()
    }

    fn end(&mut self) -> Outcome {
        match self.form {
            Form::Text => self.show()?,
            Form::Json => self.output.line("]")?,
            Form::Csv | Form::Ndjson => {}
        }
        self.output.flush()
    }
}

fn widths(rows: &[Vec<String>]) -> Vec<usize> {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |at: usize| {
        let widest = rows.iter().filter_map(|row| row.get(at)).map(|text| text.chars().count());
        widest.max().unwrap_or_default().min(WIDEST)
    };
    (0..columns).map(width).collect()
}

/// A value as a person reads it: on one line, and with nothing that commands a terminal.
fn shown(value: &Value<'_>) -> String {
    match value {
        Value::Null => String::new(),
        Value::Integer(number) => number.to_string(),
        Value::Real(number) => number.to_string(),
        Value::Text(text) => one_line(text).into_owned(),
        Value::Blob(bytes) => format!("x'{}'", hex::encode(bytes)),
    }
}

fn json_of(value: &Value<'_>) -> serde_json::Value {
    match value {
        Value::Null => serde_json::Value::Null,
        Value::Integer(number) if number.unsigned_abs() > SAFE => json!(number.to_string()),
        Value::Integer(number) => json!(number),
        Value::Real(number) => json!(number),
        Value::Text(text) => json!(text),
        Value::Blob(bytes) => json!(STANDARD.encode(bytes)),
    }
}

/// A value in CSV; bytes that are no text as base64.
fn cell(value: &Value<'_>) -> String {
    match value {
        Value::Null => String::new(),
        Value::Integer(number) => number.to_string(),
        Value::Real(number) => number.to_string(),
        Value::Text(text) => quoted(text),
        Value::Blob(bytes) => STANDARD.encode(bytes),
    }
}

fn quoted(text: &str) -> String {
    if text.contains(['"', ',', '\r', '\n']) || text.is_empty() {
        return format!("\"{}\"", text.replace('"', "\"\""));
    }
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn csv_quotes_what_it_must() {
        assert_eq!(cell(&Value::Text("a,\"b\"\nc")), "\"a,\"\"b\"\"\nc\"");
        assert_eq!((cell(&Value::Text("")), cell(&Value::Null)), ("\"\"".into(), String::new()));
    }

    #[test]
    fn numbers_that_javascript_can_not_hold_are_strings() {
        assert_eq!(json_of(&Value::Integer(i64::MAX)), json!("9223372036854775807"));
        assert_eq!(json_of(&Value::Integer(-5)), json!(-5));
    }

    #[test]
    fn nothing_in_a_row_commands_the_terminal() {
        assert_eq!(shown(&Value::Text("a\n\u{1b}[31m")), "a\\n\\u{1b}[31m");
    }
}
