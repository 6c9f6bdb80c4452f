//! `towline tail`: prints the log as it arrives.

use clap::Args;
use clap_complete::engine::ArgValueCandidates;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::Outcome;
use super::client::{Client, Event, Parameters};
use super::completions;
use super::consuming::Consuming;
use super::failure::{Failure, Stop};
use super::filters::Filters;
use super::output::{Format, Listing, not_an_entry};
use super::place::Global;
use crate::words::Code;

/// How many entries are shown when nothing is said.
const SHOWN: u64 = 10;

/// Print the newest entries, and follow the log
#[derive(Debug, Args)]
#[command(
    before_help = "\
Examples:
  towline tail                                 the newest ten entries
  towline tail -f --topic story/42             and what comes, of one topic
  towline tail --until-caught-up -o json       the whole log, and a cursor
  towline tail -f --after CURSOR               exactly what comes after it
  towline tail -f --cursor mailer              and the node remembers how far
  towline tail -f --cursor mailer --portable   and any other node goes on there
  towline tail -f --strict                     end at the first gap, exit code 4",
    after_help = "\
Entries come in order of arrival. Gaps are shown whatever the filters say, and
an entry that sorts before one that was shown is marked [late]. Without -f it
ends when all is shown. Under --cursor each entry is printed at least once,
whatever is killed; one reader at a time has the cursor."
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
    /// Begin where this named cursor stands, at first with the first entry, and move it on
    #[arg(long, value_name = "NAME", conflicts_with_all = ["after", "lines"])]
    #[arg(add = ArgValueCandidates::new(completions::cursors))]
    cursor: Option<String>,
    /// End at the first gap, or entry of a forked history, once it is printed; exit code 4
    #[arg(long)]
    strict: bool,
    /// Give cursors that any node of the cluster accepts, not only this one
    #[arg(long)]
    portable: bool,
    /// What this persona wants to hear: a filter with a name, of the tenant
    #[arg(long, value_name = "NAME")]
    persona: Option<String>,
    #[command(flatten)]
    filters: Filters,
}

/// What a node says when a cursor lies below what it still holds.
#[derive(Deserialize)]
struct Reset {
    #[serde(default)]
    reason: String,
}

/// What is missing before, beside or after an entry, if it says so.
#[derive(Deserialize)]
struct Marks {
    id: String,
    #[serde(default)]
    forked: bool,
}

/// Why the printing ended.
enum End {
    CaughtUp,
    /// What was printed last says that there is more, and it was asked to be strict.
    Incomplete(String),
    /// The named cursor can't be moved any more.
    PlaceLost,
}

impl Tail {
    pub(super) fn run(mut self, global: &Global) -> Outcome {
        let client = global.node()?;
        let mut output = global.output();
        if self.follow && output.format == Format::Json {
            // A document that never ends can't be read by anybody.
            output.format = Format::Ndjson;
        }
        let consuming = match &self.cursor {
            Some(name) => {
                let (consuming, position) = Consuming::begin(global.node()?, name)?;
                self.after = Some(position);
                Some(consuming)
            }
            None => None,
        };
        let mut listing = Listing::new(&mut output, "entries");
        let mut cursor = self.after.clone();
        let printed = self.print(&client, &mut listing, &mut cursor, consuming.as_ref());
        let flushed = listing.flush();
        // What was printed is never said to be less than that.
        let kept = consuming.map_or(Ok(()), Consuming::end);
        flushed?;
        let end = printed?;
        listing.end(cursor.as_deref())?;
        kept?;
        match end {
            End::CaughtUp | End::PlaceLost => Ok(()),
            End::Incomplete(why) => {
                let failure = Failure::new(Code::Incomplete, Code::Incomplete.title(), why);
                let after = cursor.unwrap_or_default();
                Err(failure.hint(format_args!("towline gaps; to go on: --after {after}")).into())
            }
        }
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
        parameters.extend(self.persona.iter().map(|name| ("persona", name.clone())));
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
        consuming: Option<&Consuming>,
    ) -> Result<End, Stop> {
        let mut stream = client.stream("/v1/stream", &self.parameters())?;
        loop {
            if stream.buffer().is_empty() {
                listing.flush()?;
                let read = |cursor: &String| consuming.is_none_or(|named| named.read(cursor));
                if !cursor.as_ref().is_none_or(read) {
                    return Ok(End::PlaceLost);
                }
            }
            let event = match Event::read(&mut stream) {
                Ok(Some(event)) => event,
                Ok(None) => return Err(lost(client, "the stream ended", cursor).into()),
                Err(error) => return Err(lost(client, error, cursor).into()),
            };
            let mut incomplete = None;
            match event.name.as_str() {
                "entry" | "gap" => {
                    let entry: Box<RawValue> =
                        serde_json::from_str(&event.data).map_err(not_an_entry)?;
                    listing.entry(&entry)?;
                    if self.strict {
                        let is_gap = event.name == "gap";
                        let marks = serde_json::from_str(entry.get()).map_err(not_an_entry)?;
                        incomplete = incompleteness(is_gap, &marks);
                    }
                }
                "reset" => return Err(reset(&event).into()),
                _ => {}
            }
            if !event.id.is_empty() {
                *cursor = Some(event.id);
            }
            if event.name == "caught-up" && !self.follow || incomplete.is_some() {
                listing.flush()?;
                if let (Some(cursor), Some(named)) = (&*cursor, consuming) {
                    named.read(cursor);
                }
                return Ok(incomplete.map_or(End::CaughtUp, End::Incomplete));
            }
        }
    }
}

fn incompleteness(is_gap: bool, Marks { id, forked }: &Marks) -> Option<String> {
    match (is_gap, forked) {
        (true, _) => Some(format!("the gap {id} states events that were dropped")),
        (false, true) => Some(format!("the author of {id} has signed another entry of that seq")),
        (false, false) => None,
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
    Failure::new(Code::Cursor, "the cursor lies before what the node still holds", why)
}
