//! `towline gaps`: what was dropped, and why.

use clap::Args;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::Outcome;
use super::client::Parameters;
use super::failure::{Failure, Stop};
use super::output::Listing;
use super::place::{Global, Place, as_node};
use crate::node::{OfflineLog, query};
use crate::words::json::{EntryJson, Lateness};

/// List what was dropped, and why, with or without a running node
#[derive(Debug, Args)]
#[command(
    before_help = "\
Examples:
  towline gaps
  towline gaps -o json | jq '[.gaps[].data.count] | add'",
    after_help = "\
Emitted events that did not make it into the log are stated in gaps: by number,
with the reason. Where there are no gaps, nothing was dropped."
)]
pub struct Gaps {}

#[derive(Deserialize)]
struct Answer {
    gaps: Vec<Box<RawValue>>,
}

impl Gaps {
    pub(super) fn run(self, global: &Global) -> Outcome {
        let gaps = match global.place()? {
            Place::Node(client) => {
                let answer: Answer = client.get("/v1/gaps", &Parameters::new())?;
                answer.gaps
            }
            Place::Directory(mut log) => read(&mut log)?,
        };
        let mut output = global.output();
        let mut listing = Listing::new(&mut output, "gaps");
        for gap in &gaps {
            listing.entry(gap)?;
        }
        listing.end(None)
    }
}

fn read(log: &mut OfflineLog) -> Result<Vec<Box<RawValue>>, Stop> {
    let mut gaps = Vec::new();
    let mut query = query::gaps().limit(query::PAGE_ENTRIES_MOST);
    loop {
        let page = log.query(&query).map_err(|error| Failure::query(&error))?;
        for gap in &page.entries {
            gaps.push(as_node(&EntryJson::new(gap, Lateness::InOrder))?);
        }
        match page.next {
            Some(cursor) => query = query.after(cursor),
            None => return Ok(gaps),
        }
    }
}
