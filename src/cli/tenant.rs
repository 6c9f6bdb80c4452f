//! The log of a tenant on the command line: what is said to it, and how its answers are shown.

use std::io::Read;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::Outcome;
use super::client::{Client, Content, Event, Parameters};
use super::failure::{Failure, Stop};
use super::line::{Line, one_line};
use super::output::{Format, Output, not_an_entry};
use super::place::Global;
use crate::words::Code;
use crate::words::json::EntryJson;
use crate::words::name::DEFAULT_TENANT;

/// How many digits of an author's id are shown.
const ID_SHOWN: usize = 7;

/// Whose log is meant.
#[derive(Debug, Args)]
pub struct Whose {
    /// Of this tenant
    #[arg(long, value_name = "NAME", default_value = DEFAULT_TENANT, global = true)]
    pub tenant: String,
}

/// What is appended.
#[derive(Debug, Args)]
pub struct Said {
    /// What sort of event it is
    #[arg(short, long, value_name = "KIND", default_value = "message")]
    kind: String,
    /// The text; stdin when there is none
    text: Option<String>,
}

impl Said {
    /// The event.
    ///
    /// # Errors
    /// There is none, or stdin can't be read.
    pub fn event(&self) -> Result<Value, Failure> {
        let mut text = String::new();
        match &self.text {
            Some(given) => text.push_str(given),
            None => {
                let read = std::io::stdin().read_to_string(&mut text);
                read.map_err(|error| Failure::new(Code::Io, "stdin can't be read", error))?;
                if text.is_empty() {
                    let why = "there is no text, and stdin is empty";
                    return Err(Failure::new(Code::Nothing, "nothing was appended", why));
                }
            }
        }
        Ok(json!({"kind": self.kind, "content_type": "text/plain", "data": text}))
    }
}

/// How much of a list is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// All of it, page by page.
    All,
    /// A page, and a word about where it goes on.
    Page,
}

/// A path under `/v1`, each part of it encoded: a topic may hold slashes.
pub fn path(parts: &[&str]) -> String {
    let encoded = |part: &&str| {
        let plus: String = form_urlencoded::byte_serialize(part.as_bytes()).collect();
        format!("/{}", plus.replace('+', "%20"))
    };
    format!("/v1{}", parts.iter().map(encoded).collect::<String>())
}

/// Posts JSON.
///
/// # Errors
/// As [`Client::post`].
pub fn post(
    client: &Client,
    path: &str,
    parameters: &Parameters,
    body: &Value,
) -> Result<Value, Failure> {
    let body = body.to_string();
    let content = Content { content_type: "application/json", body: body.as_bytes(), key: None };
    client.post(path, parameters, &content, Duration::ZERO)
}

/// Prints a list, page by page.
///
/// # Errors
/// The node doesn't answer, or the output is closed; so for all that prints.
pub fn list(
    client: &Client,
    path: &str,
    mut asked: Parameters,
    extent: Extent,
    global: &Global,
    output: &mut Output,
) -> Outcome {
    loop {
        let page: Value = client.get(path, &asked)?;
        show(&page, output)?;
        let next = match &page["next"] {
            Value::Null => return output.flush(),
            next => word(next),
        };
        if extent == Extent::Page {
            output.flush()?;
            global.note(&format!("there is more: --after {next}"));
            return Ok(());
        }
        asked.retain(|(name, _)| *name != "after");
        asked.push(("after", next));
    }
}

/// Prints an answer: what it lists, a line each, and else its members.
pub fn show(answer: &Value, output: &mut Output) -> Outcome {
    let lists = ["entries", "sessions", "transcripts", "transitions"];
    let listed = lists.iter().find_map(|name| answer[*name].as_array());
    if output.format == Format::Json || (output.format != Format::Text && listed.is_none()) {
        output.json(answer)?;
        return output.flush();
    }
    for each in listed.into_iter().flatten() {
        one(each, output)?;
    }
    if output.format != Format::Text {
        return output.flush();
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
    output.line(described(value))
}

/// A session, a transcript or a step on one line.
fn described(value: &Value) -> String {
    let of = |name: &str| word(&value[name]);
    let author = || of("author").chars().take(ID_SHOWN).collect::<String>();
    if value["session"].is_string() {
        let (count, newest) = (of("transcripts"), of("newest"));
        let plural = if count == "1" { "transcript" } else { "transcripts" };
        let session = of("session");
        return format!(
            "{session}  {count} {plural}, newest {newest}  {}  {}",
            of("began"),
            author()
        );
    }
    if value["transcript"].is_string() {
        let origin = match (value["of"].is_string(), value["at"].is_null()) {
            (true, false) => format!("fork of {} at {}", of("of"), of("at")),
            (true, true) => format!("compaction of {}", of("of")),
            _ => of("origin"),
        };
        let quiet = if value["quiet"] == true { "  quiet" } else { "" };
        return format!("{}  {origin}  {}  {}{quiet}", of("transcript"), of("began"), author());
    }
    let event = if value["event"].is_null() { String::new() } else { format!("  {}", of("event")) };
    let ordinal = of("ordinal");
    format!("{ordinal:>6}  {}  {} -> {}{event}", of("time"), of("from"), of("to"))
}

/// Prints what a stream tells until it ends.
pub fn follow(
    client: &Client,
    path: &str,
    parameters: &Parameters,
    output: &mut Output,
) -> Outcome {
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
