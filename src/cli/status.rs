//! `towline status`: how a node is.

use clap::Args;
use serde_json::value::RawValue;

use super::Outcome;
use super::answers::{self, CatchingUp, Missing, Peers};
use super::client::Parameters;
use super::failure::Failure;
use super::line::one_line;
use super::output::{Format, Output, not_an_entry};
use super::place::{Global, Place, as_node};

/// Say how a node is, or what is in its data directory
#[derive(Debug, Args)]
#[command(
    before_help = "\
Examples:
  towline status
  towline status -o json | jq -r .frontier     equal where entries are equal",
    after_help = "\
Of the events that were emitted, each is recorded or dropped, or still on its
way."
)]
pub struct Status {}

impl Status {
    pub(super) fn run(self, global: &Global) -> Outcome {
        let status: Box<RawValue> = match global.place()? {
            Place::Node(client) => client.get("/v1/status", &Parameters::new())?,
            Place::Directory(mut log) => {
                let what = "the log can't be read";
                let summary = log.summary().map_err(|error| Failure::store(what, &error))?;
                as_node(&summary)?
            }
        };
        let mut output = global.output();
        if output.format == Format::Text {
            let shown = serde_json::from_str(status.get()).map_err(not_an_entry)?;
            show(&mut output, &shown)?;
        } else {
            output.line(status)?;
        }
        output.flush()
    }
}

fn show(output: &mut Output, status: &answers::Status) -> Outcome {
    let mut field = |name: &str, value: &str| {
        let value = one_line(value);
        output.line(format_args!("{name:<9} {value}"))
    };
    field("node", &status.node)?;
    if !status.name.is_empty() {
        field("name", &status.name)?;
    }
    field("cluster", &status.cluster)?;
    field("version", &status.version)?;
    match &status.trouble {
        Some(trouble) => field("state", &format!("{}: {trouble}", status.state))?,
        None => field("state", &status.state)?,
    }
    if let Some(started) = &status.started {
        field("started", started)?;
    }
    let (entries, authors) = (counted(status.entries, "entry", "entries"), status.authors);
    field("log", &format!("{entries} of {}", counted(authors, "author", "authors")))?;
    if status.removed > 0 {
        let entries = counted(status.removed, "entry", "entries");
        field("removed", &format!("{entries}: see `towline retain`"))?;
    }
    field("frontier", &status.frontier)?;
    field("disk", &bytes(status.bytes))?;
    if let Some(Peers { configured, connected, banned }) = &status.peers {
        let banned = if *banned > 0 { format!(", {banned} banned") } else { String::new() };
        field("peers", &format!("{connected} connected, {configured} named{banned}"))?;
    }
    if status.damaged > 0 {
        let changes = counted(status.damaged, "change", "changes");
        field("damaged", &format!("{changes} on disk; peers are asked for them"))?;
    }
    if let Some(Missing { entries, own }) = &status.missing {
        let entries = counted(*entries, "entry", "entries");
        field(
            "missing",
            &format!("{entries} at least, {own} of this node's own; peers have them"),
        )?;
    }
    if let Some(CatchingUp { lacking, per_second, eta_seconds }) = &status.catching_up {
        let entries = counted(*lacking, "entry", "entries");
        let eta = match eta_seconds {
            Some(seconds) => format!("done in about {}", duration(*seconds)),
            None => "nothing comes at the moment".to_owned(),
        };
        field("behind", &format!("{entries} that peers have; {per_second} a second, {eta}"))?;
    }
    if status.branched > 0 {
        let authors = counted(status.branched, "author", "authors");
        field("forks", &format!("{authors} branched: see `towline forks`"))?;
    }
    if status.pending > 0 {
        let changes = counted(status.pending, "change waits", "changes wait");
        field("pending", &format!("{changes} for a parent"))?;
    }
    field("events", &events(status))
}

/// The sum in which every emitted event has its place.
fn events(status: &answers::Status) -> String {
    let (emitted, recorded, dropped) = (status.emitted, status.recorded, status.dropped);
    let gaps = counted(status.gaps, "gap", "gaps");
    let on_the_way = emitted.saturating_sub(recorded.saturating_add(dropped));
    let sum = format!("{emitted} emitted = {recorded} recorded + {dropped} dropped ({gaps})");
    if on_the_way > 0 { format!("{sum} + {on_the_way} on their way") } else { sum }
}

/// So many of something, in words.
pub(super) fn counted(count: u64, one: &str, many: &str) -> String {
    let noun = if count == 1 { one } else { many };
    format!("{count} {noun}")
}

/// A duration as people say it.
pub(super) fn duration(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds.div_ceil(60)),
        _ => format!("{} h", seconds.div_ceil(3_600)),
    }
}

/// A size as people say it.
pub(super) fn bytes(bytes: u64) -> String {
    let (mut size, mut unit) = (bytes as f64, "B");
    for larger in ["KiB", "MiB", "GiB", "TiB"] {
        if size < 1_024.0 {
            break;
        }
        (size, unit) = (size / 1_024.0, larger);
    }
    if unit == "B" { format!("{bytes} B") } else { format!("{size:.1} {unit}") }
}
