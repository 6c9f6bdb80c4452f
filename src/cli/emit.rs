//! `towline emit`: hands events to a node by the lossy path.

use std::time::Duration;

use clap::Args;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::Outcome;
use super::client::Parameters;
use super::drafts::{Cut, Drafts};
use super::output::{Format, not_an_entry};
use super::place::Global;
use crate::words::EmitNumber;
use crate::words::limits::EMIT_PAYLOAD_BYTES;

/// Emit events, which never waits for a disk
#[derive(Debug, Args)]
#[command(
    before_help = "\
Examples:
  towline emit -t sensors -k reading '21.5'
  vmstat 1 | towline emit -t vmstat",
    after_help = "\
Live listeners hear an event at once, and the recorder appends it soon after.
Where it can't keep up events are dropped, and a gap in the log says which.
Prints the numbers that the events took; without any when their kind is not
recorded."
)]
pub struct Emit {
    #[command(flatten)]
    drafts: Drafts,
}

#[derive(Deserialize)]
struct Answer {
    emitted: Option<Numbers>,
}

#[derive(Deserialize)]
struct Numbers {
    from: EmitNumber,
    to: EmitNumber,
}

impl Emit {
    pub(super) fn run(self, global: &Global) -> Outcome {
        let client = global.node()?;
        let mut output = global.output();
        self.drafts.send(EMIT_PAYLOAD_BYTES, Cut::Prompt, |batch| {
            let (path, none) = ("/v1/emit", Parameters::new());
            let content = batch.content(None);
            let answer: Box<RawValue> = client.post(path, &none, &content, Duration::ZERO)?;
            if output.format == Format::Text {
                let answer: Answer = serde_json::from_str(answer.get()).map_err(not_an_entry)?;
                match answer.emitted {
                    Some(Numbers { from, to }) => {
                        output.line(format_args!("events {from}..={to} were emitted"))?;
                    }
                    None => output.line("events without a number were emitted")?,
                }
            } else {
                output.line(answer)?;
            }
            output.flush()
        })
    }
}
