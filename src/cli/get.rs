//! `towline get`: one entry.

use clap::Args;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::Outcome;
use super::client::{Client, Parameters};
use super::failure::{Failure, Stop};
use super::line::{one_line, payload};
use super::output::{Format, Output, not_an_entry};
use super::place::{Global, Place, as_node};
use crate::node::{OfflineLog, StoreError};
use crate::words::json::{EntryJson, Lateness};
use crate::words::{Code, EntryId};

/// Show one entry, with or without a running node
#[derive(Debug, Args)]
#[command(before_help = "\
Examples:
  towline get ID
  towline get ID -o json | jq .data
  towline get ID -o cloudevents
  towline get ID --proof > entry.proof         for `towline verify`")]
pub struct Get {
    /// AUTHOR:SEQ as `append` printed it, or AUTHOR:SEQ@SEGMENT
    id: EntryId,
    /// Print a proof instead: a third party checks it with nothing but the author's key
    #[arg(long)]
    proof: bool,
}

/// What a node answers where branches of an author share a seq.
#[derive(Deserialize)]
struct Branches {
    entries: Vec<Box<RawValue>>,
}

impl Get {
    pub(super) fn run(self, global: &Global) -> Outcome {
        if self.proof {
            return self.prove(global);
        }
        let entries = match global.place()? {
            Place::Node(client) => self.ask(&client)?,
            Place::Directory(mut log) => self.read(&mut log)?,
        };
        let mut output = global.output();
        for entry in &entries {
            if output.format == Format::Text {
                let entry = serde_json::from_str(entry.get()).map_err(not_an_entry)?;
                show(&mut output, &entry)?;
            } else if output.format == Format::Cloudevents {
                output.cloud_event(entry)?;
            } else {
                output.line(entry)?;
            }
        }
        output.flush()
    }

    /// Prints the proofs, a line each, whatever form was asked for: a proof has one form.
    fn prove(&self, global: &Global) -> Outcome {
        let proofs = match global.place()? {
            Place::Node(client) => {
                let path = format!("{}/proof", self.path());
                vec![client.get(&path, &Parameters::new())?]
            }
            Place::Directory(mut log) => {
                let proofs = log.proofs(self.id).map_err(|error| unreadable(&error))?;
                if proofs.is_empty() {
                    return Err(self.absent(&mut log).into());
                }
                proofs.iter().map(as_node).collect::<Result<_, _>>()?
            }
        };
        let mut output = global.output();
        proofs.into_iter().try_for_each(|proof| output.line(proof))?;
        output.flush()
    }

    fn path(&self) -> String {
        let EntryId { author, seq, segment } = self.id;
        let segment = segment.map_or_else(String::new, |segment| format!("@{segment}"));
        format!("/v1/entries/{author}/{seq}{segment}")
    }

    fn ask(&self, client: &Client) -> Result<Vec<Box<RawValue>>, Stop> {
        let answer: Box<RawValue> = client.get(&self.path(), &Parameters::new())?;
        match serde_json::from_str::<Branches>(answer.get()) {
            Ok(branches) => Ok(branches.entries),
            Err(_) => Ok(vec![answer]),
        }
    }

    /// Why a log has no entry of that name.
    fn absent(&self, log: &mut OfflineLog) -> Failure {
        let (code, why) = match log.is_removed(self.id) {
            Ok(true) => (Code::Removed, format!("the entry {} was removed", self.id)),
            Ok(false) => (Code::NotFound, format!("the log holds no entry {}", self.id)),
            Err(error) => return unreadable(&error),
        };
        Failure::new(code, code.title(), why)
    }

    fn read(&self, log: &mut OfflineLog) -> Result<Vec<Box<RawValue>>, Stop> {
        let entries = log.get(self.id).map_err(|error| Failure::query(&error))?;
        if entries.is_empty() {
            return Err(self.absent(log).into());
        }
        let json = entries.iter();
        json.map(|entry| as_node(&EntryJson::new(entry, Lateness::InOrder))).collect()
    }
}

fn unreadable(error: &StoreError) -> Failure {
    Failure::store("the log can't be read", error)
}

fn show(output: &mut Output, entry: &EntryJson) -> Outcome {
    let mut field = |name: &str, value: &str| {
        let value = one_line(value);
        output.line(format_args!("{name:<12}  {value}"))
    };
    field("id", &entry.id)?;
    field("time", &entry.time)?;
    field("offset", &entry.offset.to_string())?;
    field("tenant", &entry.tenant)?;
    field("topic", &entry.topic)?;
    field("kind", &entry.kind)?;
    for (key, value) in &entry.attributes {
        field("attribute", &format!("{key}={value}"))?;
    }
    if let Some(content_type) = &entry.content_type {
        field("content type", content_type)?;
    }
    if entry.skew {
        field("skew", "its time was far ahead when it arrived")?;
    }
    if entry.forked {
        field("forked", "another entry of its author has the same seq")?;
    }
    field("change", &entry.change.to_string())?;
    field("segment", &entry.segment.to_string())?;
    field("data", &payload(entry))
}
