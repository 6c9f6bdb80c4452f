//! The tools that an agent is given: their names, and what they take.

use rmcp::model::Tool;
use serde_json::{Map, Value, json};

use crate::cli::failure::Failure;

/// Arguments that are parameters of the node's routes by the same name.
pub const PARAMETERS: [&str; 13] = [
    "order", "after", "limit", "author", "tenant", "topic", "kind", "since", "until", "grep",
    "reverse", "last", "gaps",
];

/// What every reading tool can be narrowed by.
const FILTERS: [&str; 7] = ["author", "tenant", "topic", "kind", "since", "until", "grep"];

/// A tool: its name, what it is for, what it takes, and what of that it needs.
type Said = (&'static str, &'static str, &'static [&'static str], &'static [&'static str]);

const TOOLS: [Said; 8] = [
    (
        "append",
        "Append one entry, durably. Returns its id.",
        &["topic", "kind", "tenant", "data", "attributes", "key"],
        &["topic", "data"],
    ),
    (
        "query",
        "Entries that pass the filters, in order of time, arrival or author, page by page.",
        &["order", "limit", "reverse", "after"],
        &[],
    ),
    ("tail", "The newest entries in order of arrival, and a cursor for `wait`.", &["last"], &[]),
    (
        "wait",
        "Waits until entries come after a cursor, and returns them with the next cursor.",
        &["after", "timeout_seconds"],
        &["after"],
    ),
    ("gaps", "What was dropped, by number and with the reason.", &["limit", "after"], &[]),
    (
        "verify",
        "Checks with the author's key alone that an entry is as its author signed it.",
        &["id"],
        &["id"],
    ),
    (
        "context",
        "The recent log of a topic as text, to be put before a language model.",
        &["topic", "tenant", "characters"],
        &["topic"],
    ),
    ("status", "How the node is: entries, peers, trouble.", &[], &[]),
];

fn takes_filters(name: &str) -> bool {
    matches!(name, "query" | "tail" | "wait")
}

/// All tools, as the protocol describes them.
pub fn all() -> Vec<Tool> {
    TOOLS.iter().map(|said| Tool::new(said.0, said.1, schema(said))).collect()
}

fn schema((name, _, takes, needs): &Said) -> Map<String, Value> {
    let filters: &[&str] = if takes_filters(name) { &FILTERS } else { &[] };
    let properties: Map<String, Value> =
        takes.iter().chain(filters).map(|name| ((*name).to_owned(), property(name))).collect();
    let mut schema = Map::new();
    schema.insert("type".to_owned(), "object".into());
    schema.insert("properties".to_owned(), properties.into());
    schema.insert("required".to_owned(), json!(needs));
    schema.insert("additionalProperties".to_owned(), false.into());
    schema
}

fn property(name: &str) -> Value {
    let said = |kind: &str, what: &str| json!({"type": kind, "description": what});
    match name {
        "topic" => said("string", "the sub-log, story/42 say"),
        "kind" => said("string", "what sort of event it is"),
        "tenant" => said("string", "whom it belongs to; default when absent"),
        "data" => json!({"description": "the payload: any JSON"}),
        "attributes" => json!({"type": "object", "additionalProperties": {"type": "string"},
            "description": "small named texts"}),
        "key" => said("string", "makes a retry harmless: the same key appends once"),
        "order" => json!({"type": "string", "enum": ["time", "arrival", "author"]}),
        "limit" | "last" => json!({"type": "integer", "minimum": 1, "maximum": 1000,
            "description": "how many entries at most"}),
        "reverse" => said("boolean", "the newest first"),
        "after" => said("string", "a cursor, from an earlier answer"),
        "author" => said("string", "the node that wrote it: 64 hex digits"),
        "since" => said("string", "at or after this time: RFC 3339, or 1h for an hour ago"),
        "until" => said("string", "before this time"),
        "grep" => said("string", "entries whose payload holds this text"),
        "timeout_seconds" => said("number", "how long to wait at most; 30 when absent, up to 55"),
        "id" => said("string", "AUTHOR:SEQ"),
        "characters" => said("integer", "how long the text is at most"),
        _ => json!({}),
    }
}

/// Refuses a tool that there isn't, an argument that it doesn't take, and one that is missing.
///
/// # Errors
/// Which it is.
pub fn check(name: &str, given: &Map<String, Value>) -> Result<(), Failure> {
    let refused = |why: String| Failure::usage(format_args!("{name} can't be called so"), why);
    let said = TOOLS.iter().find(|said| said.0 == name);
    let Some((_, _, takes, needs)) = said else {
        return Err(refused("there is no such tool".to_owned()));
    };
    let is_taken =
        |given: &str| takes.contains(&given) || takes_filters(name) && FILTERS.contains(&given);
    if let Some(unknown) = given.keys().find(|given| !is_taken(given)) {
        return Err(refused(format!("it doesn't take {unknown:?}")));
    }
    if let Some(missing) = needs.iter().find(|needed| !given.contains_key(**needed)) {
        return Err(refused(format!("it needs {missing:?}")));
    }
    Ok(())
}
