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
use super::failure::{Failure, Stop};
use super::line::one_line;
use super::output::{Format, Output, not_an_entry};
use super::place::Global;
use super::status::{counted, duration};
use crate::words::Code;

/// List, show, move and remove named consumers, whose places the node keeps
#[derive(Debug, Args)]
#[command(
    before_help = "\
Examples:
  towline tail -f --cursor mailer                   what it hasn't read yet
  towline cursor ls                                 who has read how far
  towline cursor set mailer end                     skip what there is
  towline cursor set mailer start                   read all of it again
  towline cursor get mailer                         its place, whole
  towline cursor rm mailer",
    after_help = "\
A named cursor is a place in the log, kept on the disk of this node. One that
was read with --portable means the same on every node of the cluster. One reader
at a time has the lease of it. `set` moves it anywhere, and ends a lease. Tokens
that are bound to a tenant have cursors of their own; --tenant names those."
)]
pub struct Cursors {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List them: place, lag, and who reads
    Ls,
    /// Print the place of one
    Get {
        #[command(flatten)]
        named: Named,
    },
    /// Move one, back as well, or make it
    Set {
        #[command(flatten)]
        named: Named,
        /// start, end, or a cursor: of this node, or one that any node accepts
        #[arg(default_value = "start")]
        position: String,
    },
    /// Forget one
    Rm {
        #[command(flatten)]
        named: Named,
    },
}

/// Which cursor is meant.
#[derive(Debug, Args)]
struct Named {
    /// Its name: a-z, 0-9, '-', '_' and '.'
    #[arg(add = ArgValueCandidates::new(completions::cursors))]
    name: String,
    /// Of the readers that are bound to this tenant
    #[arg(long, value_name = "TENANT")]
    #[arg(add = ArgValueCandidates::new(completions::tenants))]
    tenant: Option<String>,
}

impl Named {
    fn path(&self) -> String {
        path(&self.name, self.tenant.as_deref())
    }
}

/// How much of a place is shown in a table.
const PLACE_WIDTH: usize = 32;

#[derive(Deserialize)]
struct Answer {
    cursors: Vec<Box<RawValue>>,
}

/// What is shown of a consumer.
#[derive(Deserialize)]
struct Shown {
    name: String,
    #[serde(default)]
    tenant: String,
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
            Action::Get { named } => {
                let cursor: Box<RawValue> =
                    client.get(&named.path(), &Parameters::new()).map_err(unknown)?;
                if output.format == Format::Text {
                    output.line(one_line(&shown(&cursor)?.position))?;
                } else {
                    output.line(cursor)?;
                }
            }
            Action::Set { named, position } => {
                let wanted = json!({"position": position, "replay": true});
                let set: Box<RawValue> = client.put(&named.path(), &wanted)?;
                tell(&mut output, set, "stands at")?;
            }
            Action::Rm { named } => {
                let removed: Box<RawValue> = client.delete(&named.path()).map_err(unknown)?;
                tell(&mut output, removed, "is removed; it stood at")?;
            }
        }
        output.flush()
    }
}

/// A cursor that is not there is looked for among those that are.
fn unknown(failure: Failure) -> Failure {
    match failure.code() {
        Code::NotFound => failure.hint("towline cursor ls"),
        _ => failure,
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
    let shown = answer.cursors.iter().map(|cursor| shown(cursor)).collect::<Result<Vec<_>, _>>()?;
    if shown.is_empty() {
        return output.line("no named cursors");
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["NAME", "TENANT", "POSITION", "BEHIND", "READER", "MOVED"]);
    for cursor in &shown {
        let reader = cursor.lease.as_ref().map_or_else(String::new, |lease| {
            format!("{} until {}", one_line(&lease.holder), one_line(&lease.until))
        });
        table.add_row([
            one_line(&cursor.name).into_owned(),
            one_line(&cursor.tenant).into_owned(),
            beginning(&cursor.position),
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
    let Shown { name, position, lag, .. } = shown(&cursor)?;
    let (name, position) = (one_line(&name), beginning(&position));
    output.line(format_args!("{name} {verb} {position}: {}", behind(lag.as_ref())))
}

fn shown(cursor: &RawValue) -> Result<Shown, Stop> {
    serde_json::from_str(cursor.get()).map_err(not_an_entry)
}

/// The beginning of a place: one that any node accepts can be as long as a page.
fn beginning(position: &str) -> String {
    match position.char_indices().nth(PLACE_WIDTH) {
        Some((end, _)) => format!("{}…", one_line(&position[..end])),
        None => one_line(position).into_owned(),
    }
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
