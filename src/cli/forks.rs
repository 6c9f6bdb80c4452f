//! `towline forks`: whose histories contradict each other.

use clap::Args;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::Outcome;
use super::client::Parameters;
use super::failure::Failure;
use super::output::{Format, not_an_entry};
use super::place::{Global, Place, as_node};

/// List the authors that have signed two histories, with or without a running node
#[derive(Debug, Args)]
#[command(
    before_help = "\
Examples:
  towline forks
  towline forks -o json | jq '.forks[] | select(.joined | not)'",
    after_help = "\
A branch comes from a disk that was restored, or from a key that was copied to a
second machine; the author joins it with its next entry. Two changes at one
place of one segment are signed by no honest node. Both histories are kept, and
their entries are marked as forked."
)]
pub struct Forks {}

#[derive(Deserialize)]
struct Answer {
    forks: Vec<Box<RawValue>>,
}

/// What is printed of a fork.
#[derive(Deserialize)]
struct Shown {
    author: String,
    kind: String,
    seq: u64,
    joined: bool,
    sides: Vec<Side>,
}

#[derive(Deserialize)]
struct Side {
    segment: String,
    next_seq: u64,
    change: String,
}

impl Forks {
    pub(super) fn run(self, global: &Global) -> Outcome {
        let json: Box<RawValue> = match global.place()? {
            Place::Node(client) => client.get("/v1/forks", &Parameters::new())?,
            Place::Directory(mut log) => {
                let what = "the log can't be read";
                let forks = log.forks().map_err(|error| Failure::store(what, &error))?;
                as_node(&serde_json::json!({ "forks": forks }))?
            }
        };
        let mut output = global.output();
        if output.format == Format::Json {
            output.line(json)?;
            return output.flush();
        }
        let answer: Answer = serde_json::from_str(json.get()).map_err(not_an_entry)?;
        for fork in &answer.forks {
            if output.format != Format::Text {
                output.line(fork)?;
                continue;
            }
            let Shown { author, kind, seq, joined, sides } =
                serde_json::from_str(fork.get()).map_err(not_an_entry)?;
            let state = if joined { "joined" } else { "open" };
            output.line(format_args!("{author}:{seq}  {kind}  {state}"))?;
            for Side { segment, next_seq, change } in &sides {
                let last = next_seq.saturating_sub(1);
                let line = format_args!("  segment {segment}  up to {last}  change {change}");
                output.line(line)?;
            }
        }
        output.flush()
    }
}
