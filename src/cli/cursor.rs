//! `towline cursor`: named consumers, whose places the node keeps.

use clap::{Args, Subcommand};
use clap_complete::engine::ArgValueCandidates;
use comfy_table::{Table, presets};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::Outcome;
use super::client::Parameters;
use super::completions;
use super::consuming::path;
use super::line::one_line;
use super::output::{Format, Output, not_an_entry};
use super::place::Global;
use super::status::{counted, duration};

/// List, move and remove named consumers, whose places the node keeps
#[derive(Debug, Args)]
#[command(
    before_help = "\
Examples:
  towline tail -f --cursor mailer                   what it hasn't read yet
  towline cursor ls                                 who has read how far
  towline cursor set mailer end                     skip what there is
  towline cursor set mailer start                   read all of it again
  towline cursor rm mailer",
    after_help = "\
A named cursor is a place in this node's order of arrival, kept on its disk. One
reader at a time has the lease of it. `set` moves it anywhere, and ends a lease."
)]
pub struct Cursors {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List them: place, lag, and who reads
    Ls,
    /// Move one, back as well, or make it
    Set {
        /// Its name: a-z, 0-9, '-', '_' and '.'
        #[arg(add = ArgValueCandidates::new(completions::cursors))]
        name: String,
        /// start, end, or a cursor of this node
        #[arg(default_value = "start")]
        position: String,
    },
    /// Forget one
    Rm {
        /// Its name
        #[arg(add = ArgValueCandidates::new(completions::cursors))]
        name: String,
    },
}

#[derive(Deserialize)]
struct Answer {
    cursors: Vec<Box<RawValue>>,
}

/// What is shown of a consumer.
#[derive(Deserialize)]
struct Shown {
    name: String,
    position: String,
    lag: Option<Lag>,
    updated: String,
    lease: Option<Lease>,
}

#[derive(Deserialize)]
struct Lag {
    entries: u64,
    seconds: f64,
}

#[derive(Deserialize)]
struct Lease {
    holder: String,
    until: String,
}

impl Cursors {
    pub(super) fn run(self, global: &Global) -> Outcome {
        let client = global.node()?;
        let mut output = global.output();
        match self.action {
            Action::Ls => {
                let answer: Box<RawValue> = client.get("/v1/cursors", &Parameters::new())?;
                list(&mut output, answer)?;
            }
            Action::Set { name, position } => {
                let wanted = json!({"position": position, "replay": true});
                let set: Box<RawValue> = client.put(&path(&name), &wanted)?;
                tell(&mut output, set, "stands at")?;
            }
            Action::Rm { name } => {
                let removed: Box<RawValue> = client.delete(&path(&name))?;
                tell(&mut output, removed, "is removed; it stood at")?;
            }
        }
        output.flush()
    }
}

fn list(output: &mut Output, answer: Box<RawValue>) -> Outcome {
    if output.format == Format::Json {
        return output.line(answer);
    }
    let answer: Answer = serde_json::from_str(answer.get()).map_err(not_an_entry)?;
    if output.format != Format::Text {
        return answer.cursors.into_iter().try_for_each(|cursor| output.line(cursor));
    }
    let shown = answer.cursors.iter();
    let shown = shown.map(|cursor| serde_json::from_str(cursor.get()).map_err(not_an_entry));
    let shown = shown.collect::<Result<Vec<Shown>, _>>()?;
    if shown.is_empty() {
        return output.line("no named cursors");
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["NAME", "POSITION", "BEHIND", "READER", "MOVED"]);
    for cursor in &shown {
        let reader = cursor.lease.as_ref().map_or_else(String::new, |lease| {
            format!("{} until {}", one_line(&lease.holder), one_line(&lease.until))
        });
        table.add_row([
            one_line(&cursor.name).into_owned(),
            one_line(&cursor.position).into_owned(),
            behind(cursor.lag.as_ref()),
            reader,
            one_line(&cursor.updated).into_owned(),
        ]);
    }
    output.line(table.trim_fmt())
}

fn tell(output: &mut Output, cursor: Box<RawValue>, verb: &str) -> Outcome {
    if output.format != Format::Text {
        return output.line(cursor);
    }
    let Shown { name, position, lag, .. } =
        serde_json::from_str(cursor.get()).map_err(not_an_entry)?;
    let (name, position) = (one_line(&name), one_line(&position));
    output.line(format_args!("{name} {verb} {position}: {}", behind(lag.as_ref())))
}

fn behind(lag: Option<&Lag>) -> String {
    match lag {
        None => "lost: set it anew".to_owned(),
        Some(Lag { entries: 0, .. }) => "nothing".to_owned(),
        Some(Lag { entries, seconds }) => {
            let entries = counted(*entries, "entry", "entries");
            format!("{entries}, {}", duration(*seconds as u64))
        }
    }
}
