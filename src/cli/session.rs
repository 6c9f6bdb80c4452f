//! `towline session`, `thread`, `feed` and `context`: sessions, numbered topics, all of a tenant,
//! and the recent log as text.

use std::io::Read;
use std::time::Duration;

use clap::{Args, Subcommand};
use clap_complete::engine::ArgValueCandidates;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::Outcome;
use super::client::{Client, Content, Event, Parameters};
use super::completions;
use super::failure::{Failure, Stop};
use super::line::{Line, one_line};
use super::output::{Format, Output, not_an_entry};
use super::place::Global;
use crate::words::Code;
use crate::words::json::EntryJson;
use crate::words::name::DEFAULT_TENANT;

/// Whose log is meant.
#[derive(Debug, Args)]
struct Whose {
    /// Of this tenant
    #[arg(long, value_name = "NAME", default_value = DEFAULT_TENANT)]
    tenant: String,
}

/// What is appended.
#[derive(Debug, Args)]
struct Said {
    /// What sort of event it is
    #[arg(short, long, value_name = "KIND", default_value = "message")]
    kind: String,
    /// The text; stdin when there is none
    text: Option<String>,
}

impl Said {
    fn event(&self) -> Result<Value, Failure> {
        let mut text = String::new();
        match &self.text {
            Some(given) => text.push_str(given),
            None => {
                let read = std::io::stdin().read_to_string(&mut text);
                read.map_err(|error| Failure::new(Code::Io, "stdin can't be read", error))?;
            }
        }
        Ok(json!({"kind": self.kind, "content_type": "text/plain", "data": text}))
    }
}

/// Begin, read and extend sessions and their transcripts
#[derive(Debug, Args)]
#[command(before_help = "\
Examples:
  towline session begin agent-7 first 'You are a reviewer.'
  towline session extend first -k answer 'I am.'
  towline session show first
  towline session fork agent-7 second --of first --at 1
  towline session ls
  towline session follow agent-7")]
pub struct Sessions {
    #[command(flatten)]
    whose: Whose,
    #[command(subcommand)]
    command: SessionCommand,
}

#[derive(Debug, Subcommand)]
enum SessionCommand {
    /// List sessions, the newest first; or the transcripts of one
    Ls {
        #[arg(add = ArgValueCandidates::new(completions::sessions))]
        session: Option<String>,
    },
    /// Begin a transcript with its first entry, and with it the session
    Begin {
        session: String,
        transcript: String,
        #[command(flatten)]
        said: Said,
        /// Don't tell viewers: a restored session goes on where it was
        #[arg(long)]
        quiet_begin: bool,
    },
    /// Begin a transcript that comes from another one, at a place in it
    Fork {
        session: String,
        transcript: String,
        /// The other transcript
        #[arg(long, value_name = "TRANSCRIPT")]
        of: String,
        /// How many of its entries come before
        #[arg(long, value_name = "N")]
        at: u64,
        #[command(flatten)]
        said: Said,
    },
    /// Begin a transcript that sums up another one
    Compact {
        session: String,
        transcript: String,
        /// The other transcript
        #[arg(long, value_name = "TRANSCRIPT")]
        of: String,
        #[command(flatten)]
        said: Said,
    },
    /// Append to a transcript
    Extend {
        transcript: String,
        #[command(flatten)]
        said: Said,
        /// After this entry, instead of at the end
        #[arg(long, value_name = "ID")]
        after: Option<String>,
    },
    /// Show a transcript; --through shows another branch of it
    Show {
        transcript: String,
        /// The branch that this entry is on
        #[arg(long, value_name = "ID")]
        through: Option<String>,
    },
    /// Cut a transcript to its first entries
    Truncate { transcript: String, to: u64 },
    /// Note something beside a transcript
    Trace {
        transcript: String,
        #[command(flatten)]
        said: Said,
    },
    /// Show a session and what happens in it
    Follow {
        #[arg(add = ArgValueCandidates::new(completions::sessions))]
        session: String,
    },
}

impl Sessions {
    pub(super) fn run(self, global: &Global) -> Outcome {
        let client = global.node()?;
        let mut output = global.output();
        let sessions = path(&["sessions", &self.whose.tenant]);
        let of = |name: &str| path(&["transcripts", &self.whose.tenant, name]);
        let begin = |begun: Value, said: &Said| {
            let mut begun = begun;
            begun["events"] = said.event()?;
            post(&client, &sessions, &Parameters::new(), &begun)
        };
        let answer = match &self.command {
            SessionCommand::Ls { session: None } => {
                return list(&client, &sessions, &mut output);
            }
            SessionCommand::Ls { session: Some(session) } => {
                let transcripts = path(&["sessions", &self.whose.tenant, session]);
                client.get(&transcripts, &Parameters::new())?
            }
            SessionCommand::Begin { session, transcript, said, quiet_begin } => begin(
                json!({"session": session, "transcript": transcript, "quiet": quiet_begin}),
                said,
            )?,
            SessionCommand::Fork { session, transcript, of, at, said } => begin(
                json!({"session": session, "transcript": transcript, "origin": "fork", "of": of, "at": at}),
                said,
            )?,
            SessionCommand::Compact { session, transcript, of, said } => begin(
                json!({"session": session, "transcript": transcript, "origin": "compaction", "of": of}),
                said,
            )?,
            SessionCommand::Extend { transcript, said, after } => {
                let after = after.iter().map(|id| ("after", id.clone())).collect();
                post(&client, &of(transcript), &after, &said.event()?)?
            }
            SessionCommand::Show { transcript, through } => {
                let through = through.iter().map(|id| ("through", id.clone())).collect();
                client.get(&of(transcript), &through)?
            }
            SessionCommand::Truncate { transcript, to } => {
                let path = of(transcript) + "/truncate";
                post(&client, &path, &Parameters::new(), &json!({"to": to}))?
            }
            SessionCommand::Trace { transcript, said } => {
                let path = of(transcript) + "/traces";
                post(&client, &path, &Parameters::new(), &said.event()?)?
            }
            SessionCommand::Follow { session } => {
                let path = path(&["sessions", &self.whose.tenant, session]) + "/follow";
                return follow(&client, &path, &Parameters::new(), &mut output);
            }
        };
        show(&answer, &mut output)
    }
}

/// Append to a topic by number, load it, archive its beginning
#[derive(Debug, Args)]
#[command(before_help = "\
Examples:
  towline thread append story/42 'it began'    print the ordinal of the entry
  towline thread load story/42 --after 100     what comes after the 100th entry
  towline thread archive story/42 100          hide the first 100, on every node
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
    Follow { topic: String },
    /// Show the steps of a state machine
    Transitions { topic: String },
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
                client.get(&(of(topic) + "/entries"), &page)?
            }
            ThreadCommand::Archive { topic, watermark } => {
                let asked = json!({"watermark": watermark});
                post(&client, &(of(topic) + "/archive"), &none, &asked)?
            }
            ThreadCommand::Follow { topic } => {
                return follow(&client, &(of(topic) + "/follow"), &none, &mut output);
            }
            ThreadCommand::Transitions { topic } => {
                client.get(&(of(topic) + "/transitions"), &none)?
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

/// A path under `/v1`, each part of it encoded: a topic may hold slashes.
pub fn path(parts: &[&str]) -> String {
    let encoded = |part: &&str| {
        let plus: String = form_urlencoded::byte_serialize(part.as_bytes()).collect();
        format!("/{}", plus.replace('+', "%20"))
    };
    format!("/v1{}", parts.iter().map(encoded).collect::<String>())
}

fn post(
    client: &Client,
    path: &str,
    parameters: &Parameters,
    body: &Value,
) -> Result<Value, Failure> {
    let body = body.to_string();
    let content = Content { content_type: "application/json", body: body.as_bytes(), key: None };
    client.post(path, parameters, &content, Duration::ZERO)
}

/// All sessions, page by page.
fn list(client: &Client, path: &str, output: &mut Output) -> Outcome {
    let mut asked = Parameters::new();
    loop {
        let page: Value = client.get(path, &asked)?;
        for session in page["sessions"].as_array().into_iter().flatten() {
            one(session, output)?;
        }
        match page["next"].as_str() {
            Some(next) => asked = vec![("after", next.to_owned())],
            None => return output.flush(),
        }
    }
}

/// Prints an answer: what it lists, a line each, and else its members.
fn show(answer: &Value, output: &mut Output) -> Outcome {
    if output.format != Format::Text {
        output.json(answer)?;
        return output.flush();
    }
    let lists = ["entries", "transcripts", "transitions"];
    let listed = lists.iter().find_map(|name| answer[*name].as_array());
    for each in listed.into_iter().flatten() {
        one(each, output)?;
    }
    let members = answer.as_object().into_iter().flatten();
    let plain = members.filter(|(_, value)| !value.is_array() && !value.is_null());
    let plain = plain.map(|(name, value)| format!("{name} {}", word(value)));
    let plain: Vec<String> = plain.collect();
    if listed.is_none() {
        output.line(plain.join("  "))?;
    }
    for fork in answer["forks"].as_array().into_iter().flatten() {
        output.line(format_args!(
            "! forked after entry {}: --through {}",
            word(&fork["at"]),
            word(&fork["first"])
        ))?;
    }
    output.flush()
}

/// A value on one line, a text without its quotes.
fn word(value: &Value) -> String {
    match value {
        Value::String(text) => one_line(text).into_owned(),
        other => other.to_string(),
    }
}

/// One of a list: an entry as everywhere, with its ordinal, and else its members.
fn one(value: &Value, output: &mut Output) -> Outcome {
    if output.format != Format::Text {
        return output.json(value);
    }
    if let Ok(entry) = serde_json::from_value::<EntryJson>(value.clone()) {
        let paint = output.paint;
        return output.line(format_args!(
            "{:>6}  {}",
            word(&value["ordinal"]),
            Line(&entry, paint)
        ));
    }
    let members = value.as_object().into_iter().flatten();
    let members = members.filter(|(_, value)| !value.is_null());
    let words: Vec<String> =
        members.map(|(name, value)| format!("{name} {}", word(value))).collect();
    output.line(words.join("  "))
}

/// Prints what a stream tells until it ends.
fn follow(client: &Client, path: &str, parameters: &Parameters, output: &mut Output) -> Outcome {
    let mut stream = client.stream(path, parameters)?;
    loop {
        if stream.buffer().is_empty() {
            output.flush()?;
        }
        let event = match Event::read(&mut stream) {
            Ok(Some(event)) => event,
            Ok(None) => return Err(client.lost("the stream ended").into()),
            Err(error) => return Err(client.lost(error).into()),
        };
        let data: Value = serde_json::from_str(&event.data).map_err(not_an_entry)?;
        tell(&event.name, &data, output)?;
    }
}

fn tell(name: &str, data: &Value, output: &mut Output) -> Result<(), Stop> {
    if output.format != Format::Text {
        return output.json(&json!({"event": name, "data": data}));
    }
    if name == "entry" {
        return one(data, output);
    }
    match data["transcript"].as_str() {
        Some(transcript) => output.line(format_args!("--- {name}: {}", one_line(transcript)))?,
        None => output.line(format_args!("--- {name}"))?,
    }
    data["entries"].as_array().into_iter().flatten().try_for_each(|entry| one(entry, output))
}
