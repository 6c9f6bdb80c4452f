//! `towline retain` and `towline archive`: what a node keeps, and what becomes of the rest.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Outcome;
use super::client::{Client, Content, Parameters};
use super::failure::Failure;
use super::output::{Format, Output, not_an_entry};
use super::place::Global;
use super::status::{bytes, counted, duration};
use crate::words::Code;

/// Say what a node keeps and what it has removed, or let go now
#[derive(Debug, Args)]
#[command(
    before_help = "\
Examples:
  towline retain                               what is kept, and what is gone
  towline retain --now                         let go what may go, now
  towline retain --below 1000000               let go what lies below",
    after_help = "\
A node keeps everything unless it is told otherwise, by --keep-age and the like of
`towline run` or [retention] in config.toml. Whole segments go; the newest one of
every author stays. What is left still verifies."
)]
pub struct Retain {
    /// Let go what the policy lets go, without waiting for the next time
    #[arg(long, conflicts_with = "below")]
    now: bool,
    /// Let go all finished segments that arrived below this offset
    #[arg(long, value_name = "OFFSET")]
    below: Option<u64>,
}

#[derive(Deserialize)]
struct Report {
    held: u64,
    entries: u64,
    segments: u64,
    finished: u64,
    finished_entries: u64,
    policy: Policy,
}

#[derive(Deserialize)]
struct Policy {
    age_seconds: Option<u64>,
    entries: Option<u64>,
    bytes: Option<u64>,
    archived: bool,
    peers: u64,
    archiver: Option<String>,
    archive: Option<String>,
}

#[derive(Deserialize)]
struct Removed {
    segments: u64,
    entries: u64,
    held_back: u64,
}

impl Retain {
    pub(super) fn run(self, global: &Global) -> Outcome {
        let client = global.node()?;
        let mut output = global.output();
        if self.now || self.below.is_some() {
            let asked = self.below.map_or_else(|| json!({}), |below| json!({ "below": below }));
            let removed = let_go(&client, &asked)?;
            return answer(&removed, &mut output, show_removed);
        }
        let report: Value = client.get("/v1/retention", &Parameters::new())?;
        answer(&report, &mut output, show_report)
    }
}

/// Letting go may take long: as long as it takes to read what goes.
fn let_go(client: &Client, asked: &Value) -> Result<Value, Failure> {
    let body = asked.to_string();
    let content = Content { content_type: "application/json", body: body.as_bytes(), key: None };
    client.post("/v1/retention", &Parameters::new(), &content, Duration::from_secs(3_600))
}

/// Prints an answer: to people as they read it, to programs as it came.
fn answer<T: for<'a> Deserialize<'a>>(
    answer: &Value,
    output: &mut Output,
    show: impl FnOnce(&mut Output, T) -> Outcome,
) -> Outcome {
    if output.format == Format::Text {
        show(output, serde_json::from_value(answer.clone()).map_err(not_an_entry)?)?;
    } else {
        output.line(answer)?;
    }
    output.flush()
}

fn show_report(output: &mut Output, report: Report) -> Outcome {
    let Report { held, entries, segments, finished, finished_entries, policy } = report;
    let mut field = |name: &str, value: String| output.line(format_args!("{name:<9} {value}"));
    field("keeps", policy_text(&policy))?;
    if policy.peers > 0 {
        field("needs", format!("{} to hold what goes", counted(policy.peers, "peer", "peers")))?;
    }
    if let Some(archiver) = &policy.archiver {
        field("needs", format!("{archiver} to hold what goes"))?;
    }
    if let Some(archive) = &policy.archive {
        field("writes", format!("what goes to {archive} first"))?;
    }
    field("holds", counted(held, "entry", "entries"))?;
    let of = counted(segments, "segment", "segments");
    field("removed", format!("{} in {of}", counted(entries, "entry", "entries")))?;
    let of = counted(finished, "segment", "segments");
    field("could go", format!("{} in {of}", counted(finished_entries, "entry", "entries")))
}

fn policy_text(policy: &Policy) -> String {
    let age = policy.age_seconds.map(|seconds| format!("the last {}", duration(seconds)));
    let entries = policy.entries.map(|most| format!("{most} entries"));
    let size = policy.bytes.map(|most| format!("{} on disk", bytes(most)));
    let archived = policy.archived.then(|| "what is not archived in its topic".to_owned());
    let bounds: Vec<String> = [age, entries, size, archived].into_iter().flatten().collect();
    if bounds.is_empty() { "everything".to_owned() } else { bounds.join(", at most ") }
}

fn show_removed(output: &mut Output, removed: Removed) -> Outcome {
    let Removed { segments, entries, held_back } = removed;
    let of = counted(segments, "segment", "segments");
    output.line(format_args!("removed   {} in {of}", counted(entries, "entry", "entries")))?;
    if held_back > 0 {
        let kept = counted(held_back, "segment stays", "segments stay");
        output.line(format_args!("held back {kept} until all who should hold it do"))?;
    }
    Ok(())
}

/// Write finished segments as Automerge files, with or without a running node
#[derive(Debug, Args)]
#[command(
    before_help = "\
Examples:
  towline archive /backup/segments             write what is not there yet
  towline verify /backup/segments              check the signatures in it
  towline export --archive /backup/segments    read it",
    after_help = "\
Each segment is a document that any Automerge program opens, with its author's
signature in a JSON file beside it. Nothing is removed: see `towline retain`. A
node with an archive in its settings does this with every segment before it goes."
)]
pub struct Archive {
    /// The directory; it is made when it is missing
    directory: PathBuf,
}

impl Archive {
    pub(super) fn run(self, global: &Global) -> Outcome {
        let written = global.offline()?.archive(&self.directory);
        let what = format_args!("the segments can't be written to {}", self.directory.display());
        let written = written.map_err(|error| Failure::new(Code::Io, what, error))?;
        let mut output = global.output();
        if output.format == Format::Text {
            let segments = counted(written.segments, "segment", "segments");
            let entries = counted(written.entries, "entry", "entries");
            let there = self.directory.display();
            let new = written.new;
            output.line(format_args!(
                "{segments} with {entries} are in {there}, {new} of them new"
            ))?;
        } else {
            output.json(&written)?;
        }
        output.flush()
    }
}
