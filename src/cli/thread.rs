//! `towline thread`, `feed` and `context`: numbered topics, all of a tenant, and the recent log as text.

use clap::{Args, Subcommand};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::Outcome;
use super::client::Parameters;
use super::line::one_line;
use super::output::{Format, not_an_entry};
use super::place::Global;
use super::tenant::{Extent, Said, Whose, follow, list, path, post, show};

/// Append to a topic by number, load it, archive its beginning
#[derive(Debug, Args)]
#[command(before_help = "\
Examples:
  towline thread append story/42 'it began'    print the ordinal of the entry
  towline thread load story/42 --after 100     what comes after the 100th entry
  towline thread archive story/42 100          hide the first 100, on every node
  towline thread step story/42 coding review   a step of a state machine
  towline thread follow story/42")]
pub struct Threads {
    #[command(flatten)]
    whose: Whose,
    #[command(subcommand)]
    command: ThreadCommand,
}

#[derive(Debug, Subcommand)]
enum ThreadCommand {
    /// Show where a topic ends, and up to where it is archived
    Show { topic: String },
    /// Append to a topic, and print the ordinal
    Append {
        topic: String,
        #[command(flatten)]
        said: Said,
    },
    /// Load the entries after an ordinal
    Load {
        topic: String,
        /// The ordinal
        #[arg(long, value_name = "ORDINAL", default_value_t = 0)]
        after: u64,
        /// How many at most
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: usize,
    },
    /// Archive all entries up to an ordinal
    Archive { topic: String, watermark: u64 },
    /// Show the newest entries, and what comes
    Follow {
        topic: String,
        /// How many entries at first
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: usize,
    },
    /// Show the steps of a state machine
    Transitions { topic: String },
    /// Append a step of a state machine, and print its ordinal
    Step {
        topic: String,
        /// The stage that it leaves
        from: String,
        /// The stage that it enters
        to: String,
        /// What there is to say beside, as JSON
        #[arg(long, value_name = "JSON", value_parser = read_json)]
        event: Option<Value>,
    },
}

fn read_json(text: &str) -> Result<Value, serde_json::Error> {
    serde_json::from_str(text)
}

impl Threads {
    pub(super) fn run(self, global: &Global) -> Outcome {
        let client = global.node()?;
        let mut output = global.output();
        let none = Parameters::new();
        let of = |topic: &str| path(&["topics", &self.whose.tenant, topic]);
        let answer = match &self.command {
            ThreadCommand::Show { topic } => client.get(&of(topic), &none)?,
            ThreadCommand::Append { topic, said } => {
                post(&client, &(of(topic) + "/entries"), &none, &said.event()?)?
            }
            ThreadCommand::Load { topic, after, limit } => {
                let page = vec![("after", after.to_string()), ("limit", limit.to_string())];
                let path = of(topic) + "/entries";
                return list(&client, &path, page, Extent::Page, global, &mut output);
            }
            ThreadCommand::Archive { topic, watermark } => {
                let asked = json!({"watermark": watermark});
                post(&client, &(of(topic) + "/archive"), &none, &asked)?
            }
            ThreadCommand::Follow { topic, limit } => {
                let asked = vec![("limit", limit.to_string())];
                return follow(&client, &(of(topic) + "/follow"), &asked, &mut output);
            }
            ThreadCommand::Step { topic, from, to, event } => {
                let step = json!({"from": from, "to": to, "event": event});
                post(&client, &(of(topic) + "/transitions"), &none, &step)?
            }
            ThreadCommand::Transitions { topic } => {
                let path = of(topic) + "/transitions";
                return list(&client, &path, none, Extent::All, global, &mut output);
            }
        };
        show(&answer, &mut output)
    }
}

/// Follow everything of a tenant from a position on
#[derive(Debug, Args)]
pub struct Feed {
    #[command(flatten)]
    whose: Whose,
    /// Begin after this position, or with what comes next: latest
    #[arg(long, value_name = "POSITION|latest")]
    after: Option<String>,
    /// Without entries of these kinds
    #[arg(long, value_name = "KIND,…")]
    without: Option<String>,
}

impl Feed {
    pub(super) fn run(self, global: &Global) -> Outcome {
        let client = global.node()?;
        let asked = [("after", self.after), ("without", self.without)];
        let asked = asked.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
        follow(&client, &path(&["feeds", &self.whose.tenant]), &asked, &mut global.output())
    }
}

/// Print the recent log of a topic as text for a language model
#[derive(Debug, Args)]
#[command(before_help = "\
Examples:
  towline context story/42                     at most 8,000 characters
  towline context story/42 --characters 2000")]
pub struct Context {
    #[command(flatten)]
    whose: Whose,
    topic: String,
    /// How many characters at most
    #[arg(long, value_name = "N")]
    characters: Option<usize>,
}

#[derive(Deserialize)]
struct ContextAnswer {
    context: String,
}

impl Context {
    pub(super) fn run(self, global: &Global) -> Outcome {
        let client = global.node()?;
        let asked = self.characters.iter().map(|n| ("characters", n.to_string())).collect();
        let path = path(&["topics", &self.whose.tenant, &self.topic]) + "/context";
        let answer: Box<RawValue> = client.get(&path, &asked)?;
        let mut output = global.output();
        if output.format == Format::Text {
            let answer: ContextAnswer = serde_json::from_str(answer.get()).map_err(not_an_entry)?;
            for line in answer.context.lines() {
                output.line(one_line(line))?;
            }
        } else {
            output.line(answer)?;
        }
        output.flush()
    }
}
