//! `towline tail`: prints the log as it arrives.

use clap::Args;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::Outcome;
use super::client::{Client, Event, Parameters};
use super::failure::Failure;
use super::filters::Filters;
use super::output::{Format, Listing, not_an_entry};
use super::place::Global;

/// How many entries are shown when nothing is said.
const SHOWN: u64 = 10;

/// Print the newest entries, and follow the log
#[derive(Debug, Args)]
#[command(
    before_help = "\
Examples:
  towline tail                                 the newest ten entries
  towline tail -f --topic story/42             and what comes, of one topic
  towline tail --until-caught-up -o json       the whole log, and in \"next\" a cursor
  towline tail -f --after CURSOR               exactly what comes after it",
    after_help = "\
Entries come in order of arrival. Gaps are shown whatever the filters say, and
an entry that sorts before one that was shown is marked [late]. Without -f it
ends when all is shown."
)]
pub struct Tail {
    /// How many entries to begin with [default: 10]
    #[arg(short = 'n', long = "lines", value_name = "N", conflicts_with = "after")]
    lines: Option<u64>,
    /// Go on until interrupted
    #[arg(short, long, conflicts_with = "until_caught_up")]
    follow: bool,
    /// Begin after this place: a cursor from "next", or from the message of a lost connection
    #[arg(long, value_name = "CURSOR")]
    after: Option<String>,
    /// Begin with the first entry unless told otherwise, and end with the newest
    #[arg(long)]
    until_caught_up: bool,
    /// Give cursors that any node of the cluster accepts, not only this one
    #[arg(long)]
    portable: bool,
    #[command(flatten)]
    filters: Filters,
}

/// What a node says when a cursor lies below what it still holds.
#[derive(Deserialize)]
struct Reset {
    #[serde(default)]
    reason: String,
}

impl Tail {
    pub(super) fn run(self, global: &Global) -> Outcome {
        let client = global.node()?;
        let mut output = global.output();
        if self.follow && output.format == Format::Json {
            // A document that never ends can't be read by anybody.
            output.format = Format::Ndjson;
        }
        let mut listing = Listing::new(&mut output, "entries");
        let mut cursor = self.after.clone();
        let printed = self.print(&client, &mut listing, &mut cursor);
        listing.flush()?;
        printed?;
        listing.end(cursor.as_deref())
    }

    fn parameters(&self) -> Parameters {
        let mut parameters = self.filters.parameters();
        let from = match (&self.after, self.lines, self.until_caught_up) {
            (Some(cursor), ..) => Some(("after", cursor.clone())),
            (None, Some(count), _) => Some(("last", count.to_string())),
            (None, None, false) => Some(("last", SHOWN.to_string())),
            (None, None, true) => None,
        };
        parameters.extend(from);
        if self.portable {
            parameters.push(("cursors", "frontier".to_owned()));
        }
        if !self.follow {
            parameters.push(("until_caught_up", "true".to_owned()));
        }
        parameters
    }

    /// Prints what the node sends, and keeps the cursor after what was printed.
    fn print(
        &self,
        client: &Client,
        listing: &mut Listing<'_>,
        cursor: &mut Option<String>,
    ) -> Outcome {
        let mut stream = client.stream("/v1/stream", &self.parameters())?;
        loop {
            if stream.buffer().is_empty() {
                listing.flush()?;
            }
            let event = match Event::read(&mut stream) {
                Ok(Some(event)) => event,
                Ok(None) => return Err(lost(client, "the stream ended", cursor).into()),
                Err(error) => return Err(lost(client, error, cursor).into()),
            };
            match event.name.as_str() {
                "entry" | "gap" => {
                    let entry: Box<RawValue> =
                        serde_json::from_str(&event.data).map_err(not_an_entry)?;
                    listing.entry(&entry)?;
                }
                "reset" => return Err(reset(&event).into()),
                _ => {}
            }
            if !event.id.is_empty() {
                *cursor = Some(event.id);
            }
            if event.name == "caught-up" && !self.follow {
                return Ok(());
            }
        }
    }
}

/// A lost connection, with the place after what was printed.
fn lost(client: &Client, why: impl std::fmt::Display, cursor: &Option<String>) -> Failure {
    let failure = client.lost(why);
    match cursor {
        Some(cursor) => failure.hint(format_args!("the same command with --after {cursor}")),
        None => failure,
    }
}

fn reset(event: &Event) -> Failure {
    let reset: Option<Reset> = serde_json::from_str(&event.data).ok();
    let why = reset.map(|reset| reset.reason).unwrap_or_default();
    Failure::new(
        crate::words::Code::Cursor,
        "the cursor lies before what the node still holds",
        why,
    )
}
