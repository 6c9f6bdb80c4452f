//! `towline import`: what was exported elsewhere, or written as drafts, becomes this node's entries.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::Outcome;
use super::client::{Client, Parameters};
use super::drafts::{Batch, DRAFT_LINE_BYTES, after, in_line};
use super::failure::{Failure, Stop};
use super::input::{LineError, Lines};
use super::output::Format;
use super::place::Global;
use crate::words::entry::JSON;
use crate::words::json::{DraftJson, present};
use crate::words::{Code, Kind, Tenant};

/// The attribute that keeps the id which an entry had where it comes from.
const ORIGIN: &str = "origin";
/// The attribute that keeps the time which it had there.
const ORIGIN_TIME: &str = "origin.time";
/// What stands before a kind, and instead of a tenant, that only towline itself may use.
const IMPORTED: &str = "imported";

/// Import entries from NDJSON: what `export` prints, or drafts
#[derive(Debug, Args)]
#[command(
    before_help = "\
Examples:
  towline import log.ndjson
  towline --node 10.0.0.1:7118 export | towline import
  towline import --dry-run log.ndjson",
    after_help = "\
An entry that is imported is a new entry of this node: its old id and time stay
as the attributes `origin` and `origin.time`, unless it has these already. What
only towline may write (gaps, say) gets `imported.` before its kind. The same
input again goes on where it was cut, and imports nothing twice, on the same
node."
)]
pub struct Import {
    /// A file; '-' or nothing reads stdin
    file: Option<PathBuf>,
    /// Read and check every line, and send nothing
    #[arg(long)]
    dry_run: bool,
}

/// An entry as it was exported. Fields that this version doesn't know are no part of a draft.
#[derive(Deserialize)]
struct Exported {
    id: String,
    time: Option<String>,
    tenant: Option<String>,
    topic: String,
    kind: String,
    #[serde(default)]
    attributes: BTreeMap<String, String>,
    content_type: Option<String>,
    #[serde(default, deserialize_with = "present")]
    data: Option<Box<RawValue>>,
    data_base64: Option<String>,
}

impl From<Exported> for DraftJson {
    fn from(entry: Exported) -> Self {
        let mut attributes = entry.attributes;
        if !attributes.contains_key(ORIGIN) {
            attributes.insert(ORIGIN.to_owned(), entry.id);
            attributes.extend(entry.time.map(|time| (ORIGIN_TIME.to_owned(), time)));
        }
        // What an entry leaves out is JSON, what a draft in base64 leaves out are octets.
        let json = entry.data_base64.as_ref().map(|_| JSON.to_owned());
        Self {
            tenant: entry.tenant.map(open_tenant),
            topic: entry.topic,
            kind: open_kind(entry.kind),
            attributes,
            content_type: entry.content_type.or(json),
            data: entry.data,
            data_base64: entry.data_base64,
        }
    }
}

fn open_tenant(tenant: String) -> String {
    let reserved = Tenant::parse(&tenant).is_ok_and(|tenant| tenant.open_to_callers().is_err());
    if reserved { IMPORTED.to_owned() } else { tenant }
}

fn open_kind(kind: String) -> String {
    let reserved = Kind::parse(&kind).is_ok_and(|kind| kind.open_to_callers().is_err());
    if reserved { format!("{IMPORTED}.{kind}") } else { kind }
}

#[derive(Deserialize)]
struct Receipt {
    id: String,
}

/// What was imported so far.
#[derive(Default)]
struct Imported {
    entries: u64,
    first: Option<String>,
    last: Option<String>,
}

impl Import {
    pub(super) fn run(self, global: &Global) -> Outcome {
        let client = if self.dry_run { None } else { Some(global.node()?) };
        let named = self.file.as_deref().filter(|file| *file != Path::new("-"));
        let (input, size): (Box<dyn Read>, _) = match named {
            Some(path) => {
                let failed = |error| Failure::file("nothing was imported", path, &error);
                let file = File::open(path).map_err(failed)?;
                let size = file.metadata().map_err(failed)?.len();
                (Box::new(file), Some(size))
            }
            None if io::stdin().is_terminal() => {
                let why = "there is no FILE, and nothing is piped in";
                let failure = Failure::usage("there is nothing to read", why);
                return Err(failure.hint("towline import FILE").into());
            }
            None => (Box::new(io::stdin().lock()), None),
        };
        let bar = progress(global, size);
        let imported = send_all(client.as_ref(), Lines::new(input, DRAFT_LINE_BYTES), &bar);
        bar.finish_and_clear();
        self.print(global, &imported?)
    }

    fn print(&self, global: &Global, imported: &Imported) -> Outcome {
        let mut output = global.output();
        let Imported { entries, first, last } = imported;
        match (output.format, self.dry_run) {
            (Format::Text, true) => output.line(format_args!("ok: {entries} entries to import"))?,
            (Format::Text, false) => output.line(format_args!(
                "ok: {entries} entries, {} to {}",
                first.as_deref().unwrap_or_default(),
                last.as_deref().unwrap_or_default()
            ))?,
            _ => output.json(&json!({ "entries": entries, "first": first, "last": last }))?,
        }
        output.flush()
    }
}

/// Sends every line, in batches that the same input always is cut into. Nothing of a batch is sent
/// that holds a bad line: mended, the input goes on with that batch.
fn send_all<R: Read>(
    client: Option<&Client>,
    mut lines: Lines<R>,
    bar: &ProgressBar,
) -> Result<Imported, Stop> {
    let mut imported = Imported::default();
    let (mut batch, mut before) = (Batch::default(), Sha256::new());
    loop {
        let next = next_draft(&mut lines, &mut before, bar);
        let next = next.map_err(|failure| after(failure.into(), imported.entries))?;
        let ends = next.is_none();
        if let Some(draft) = next {
            batch.push(&draft)?;
        }
        if batch.count > 0 && (ends || batch.is_full()) {
            // All that came before is in the key: two batches that are alike are two.
            let key = format!("import-{}", hex::encode(before.clone().finalize()));
            if let Some(client) = client {
                let sent = send(client, &batch, key, &mut imported);
                sent.map_err(|failure| cut(failure, imported.entries))?;
            }
            imported.entries += batch.count;
            bar.set_message(imported.entries.to_string());
            batch = Batch::default();
        }
        if ends && imported.entries == 0 {
            let why = "the input held no entry";
            return Err(Failure::new(Code::Nothing, Code::Nothing.title(), why).into());
        }
        if ends {
            return Ok(imported);
        }
    }
}

fn send(
    client: &Client,
    batch: &Batch,
    key: String,
    imported: &mut Imported,
) -> Result<(), Failure> {
    let content = batch.content(Some(key));
    let receipts: Vec<Receipt> =
        client.post("/v1/entries", &Parameters::new(), &content, Duration::ZERO)?;
    let mut ids = receipts.into_iter().map(|receipt| receipt.id);
    if imported.first.is_none() {
        imported.first = ids.next();
        imported.last.clone_from(&imported.first);
    }
    imported.last = ids.next_back().or(imported.last.take());
    Ok(())
}

/// A failure of the node, after which the same input goes on.
fn cut(failure: Failure, sent: u64) -> Stop {
    let hint = "the same command again: it goes on where it was cut";
    after(failure.hint(hint).into(), sent)
}

fn next_draft<R: Read>(
    lines: &mut Lines<R>,
    before: &mut Sha256,
    bar: &ProgressBar,
) -> Result<Option<DraftJson>, Failure> {
    loop {
        let line = lines.next_line().map_err(|error| match error {
            LineError::TooLong { number, .. } => {
                Failure::new(Code::TooLarge, format_args!("line {number} is too long"), error)
            }
            LineError::Io(_) => Failure::new(Code::Io, "the input can't be read", error),
        })?;
        let Some(line) = line else { return Ok(None) };
        before.update(&line);
        before.update(b"\n");
        bar.inc(line.len() as u64 + 1);
        if line.trim_ascii().is_empty() {
            continue;
        }
        let what = format!("line {} is no entry", lines.number());
        let draft =
            draft(&line).map_err(|error| Failure::new(Code::Malformed, &what, in_line(&error)))?;
        let checked = draft.clone().into_draft();
        checked.map_err(|error| Failure::draft(&what, &error))?;
        return Ok(Some(draft));
    }
}

/// A line is an entry when it has an id, and else a draft, which has no field that is unknown.
fn draft(line: &[u8]) -> Result<DraftJson, serde_json::Error> {
    #[derive(Deserialize)]
    struct Shape {
        id: Option<serde::de::IgnoredAny>,
    }
    let shape: Shape = serde_json::from_slice(line)?;
    if shape.id.is_none() {
        return serde_json::from_slice(line);
    }
    serde_json::from_slice::<Exported>(line).map(DraftJson::from)
}

/// How far the input was read, on stderr; hidden where that is no terminal.
fn progress(global: &Global, size: Option<u64>) -> ProgressBar {
    if global.is_quiet() {
        return ProgressBar::hidden();
    }
    let (bar, template) = match size {
        Some(size) => {
            (ProgressBar::new(size), "importing {bar:40} {percent}%, {msg} entries, {eta} left")
        }
        None => (ProgressBar::no_length(), "importing {msg} entries, {binary_bytes_per_sec}"),
    };
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> DraftJson {
        draft(line.as_bytes()).unwrap()
    }

    #[test]
    fn an_entry_keeps_its_id_and_time_as_attributes() {
        let entry = r#"{"id":"ab:7","time":"2026-11-21T05:01:37.123Z","topic":"t","kind":"k","hlc":"1","data":1}"#;
        let draft = parsed(entry);
        assert_eq!(draft.attributes[ORIGIN], "ab:7");
        assert_eq!(draft.attributes[ORIGIN_TIME], "2026-11-21T05:01:37.123Z");
        let again = parsed(
            r#"{"id":"cd:1","time":"x","topic":"t","kind":"k","data":1,"attributes":{"origin":"ab:7"}}"#,
        );
        assert_eq!((&*again.attributes[ORIGIN], again.attributes.len()), ("ab:7", 1));
    }

    #[test]
    fn a_draft_is_taken_as_it_is_and_a_misspelt_one_is_none() {
        let draft = parsed(r#"{"topic":"t","kind":"k","data_base64":"AA=="}"#);
        assert!(draft.attributes.is_empty() && draft.content_type.is_none());
        assert!(super::draft(br#"{"topic":"t","kind":"k","data":1,"tennant":"x"}"#).is_err());
    }

    #[test]
    fn what_only_towline_may_write_is_marked_as_imported() {
        let draft = parsed(
            r#"{"id":"ab:7","tenant":"towline","topic":"t","kind":"towline.gap","data":{}}"#,
        );
        assert_eq!(
            (draft.tenant.as_deref(), &*draft.kind),
            (Some("imported"), "imported.towline.gap")
        );
        assert!(draft.into_draft().is_ok());
    }

    #[test]
    fn json_that_is_none_stays_what_it_was_called() {
        let draft = parsed(r#"{"id":"ab:7","topic":"t","kind":"k","data_base64":"e25vcGU="}"#);
        let draft = draft.into_draft().unwrap();
        assert_eq!((&*draft.content_type, &draft.data[..]), (JSON, &b"{nope"[..]));
    }
}
