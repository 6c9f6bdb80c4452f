//! `towline mcp`: the log as tools for an agent, by the Model Context Protocol over stdio.
//!
//! It speaks to the node like every other command. Invariant: nothing but the protocol goes to stdout.

use std::time::{Duration, Instant};

use clap::Args;
use rmcp::handler::server::ServerHandler;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, Implementation,
    ListToolsResult, PaginatedRequestParams, ServerCapabilities, ServerConfig,
};
use rmcp::service::{RequestContext, RoleServer};
use rmcp::{ErrorData, ServiceExt};
use serde_json::{Map, Value, json};

use super::Outcome;
use super::client::{Client, Content, Event, Parameters};
use super::failure::Failure;
use super::place::Global;
use super::process;
use crate::node::{ProofJson, Proven};
use crate::words::Code;

mod tools;

/// The longest that a tool waits for entries.
const WAIT: Duration = Duration::from_secs(55);
/// How long a tool waits when nothing is said.
const PATIENCE: f64 = 30.0;
/// How many entries a tool answers at most.
const ENTRIES: usize = 1_000;

/// Serve the log to an agent by the Model Context Protocol, over stdin and stdout
#[derive(Debug, Args)]
#[command(
    before_help = "\
Examples:
  towline mcp
  claude mcp add towline -- towline mcp --data /var/lib/towline",
    after_help = "\
Tools: append, query, tail, wait, gaps, verify, context, status. It ends when
stdin does."
)]
pub struct Mcp {}

impl Mcp {
    pub(super) fn run(self, global: &Global) -> Outcome {
        global.node()?;
        let server = Server { global: global.clone() };
        let runtime = process::runtime()?;
        let served = runtime.block_on(async {
            let running = server.serve(rmcp::transport::stdio()).await;
            let running = running.map_err(|error| error.to_string())?;
            running.waiting().await.map_err(|error| error.to_string())
        });
        // A read of stdin that is under way can't be called off.
        runtime.shutdown_background();
        match served {
            Ok(_) => Ok(()),
            Err(why) => Err(Failure::new(Code::Io, "the agent can't be served", why).into()),
        }
    }
}

struct Server {
    global: Global,
}

impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        let version = env!("CARGO_PKG_VERSION");
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(Implementation::new("towline", version))
            .with_instructions(
                "towline is an append-only event log that every node of a cluster holds. Entries have \
                 a topic, a kind and data. `tail` gives the newest and a cursor, `wait` what comes \
                 after a cursor, `context` a topic as text. Nothing can be changed or removed.",
            )
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(tools::all()))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let global = self.global.clone();
        let (name, given) = (request.name.into_owned(), request.arguments.unwrap_or_default());
        // The node is looked for anew: since the last call it may have come back at another address.
        let call = move || call(&global.node()?, &name, &given);
        let called = tokio::task::spawn_blocking(call).await;
        let called = called.map_err(|error| ErrorData::internal_error(error.to_string(), None))?;
        Ok(match called {
            Ok(answer) => CallToolResult::structured(answer),
            // The agent reads the same three lines as a person.
            Err(failure) => CallToolResult::error(vec![ContentBlock::text(failure.to_string())]),
        }
        .into())
    }
}

/// Does what a tool is for.
fn call(client: &Client, name: &str, given: &Map<String, Value>) -> Result<Value, Failure> {
    tools::check(name, given)?;
    match name {
        "append" => append(client, given),
        "query" => client.get("/v1/entries", &parameters(given)),
        "tail" => {
            let mut asked = parameters(given);
            if !given.contains_key("last") {
                asked.push(("last", "20".to_owned()));
            }
            asked.push(("until_caught_up", "true".to_owned()));
            read(client, &asked, Until::CaughtUp, WAIT)
        }
        "wait" => {
            let seconds = given.get("timeout_seconds").and_then(Value::as_f64).unwrap_or(PATIENCE);
            let patience = Duration::try_from_secs_f64(seconds).unwrap_or(WAIT).min(WAIT);
            read(client, &parameters(given), Until::Something, patience)
        }
        "gaps" => client.get("/v1/gaps", &parameters(given)),
        "status" => client.get("/v1/status", &Parameters::new()),
        "context" => {
            let (tenant, topic) =
                (text(given, "tenant").unwrap_or("default"), text(given, "topic"));
            let path = super::tenant::path(&["topics", tenant, topic.unwrap_or_default()]);
            let characters = given.get("characters").map(|n| ("characters", n.to_string()));
            client.get(&(path + "/context"), &characters.into_iter().collect())
        }
        _ => verify(client, text(given, "id").unwrap_or_default()),
    }
}

fn append(client: &Client, given: &Map<String, Value>) -> Result<Value, Failure> {
    let mut draft = given.clone();
    let key = draft.remove("key").and_then(|key| Some(key.as_str()?.to_owned()));
    draft.entry("kind").or_insert_with(|| "note".into());
    let body = Value::Object(draft).to_string();
    let content = Content { content_type: "application/json", body: body.as_bytes(), key };
    let receipts: Value =
        client.post("/v1/entries", &Parameters::new(), &content, Duration::ZERO)?;
    Ok(json!({ "receipts": receipts }))
}

/// The proof of an entry, checked here and not by the node that gave it.
fn verify(client: &Client, id: &str) -> Result<Value, Failure> {
    let id: crate::words::EntryId =
        id.parse().map_err(|error| Failure::usage("the id can't be understood", error))?;
    let path = format!("/v1/entries/{}/{}/proof", id.author, id.seq);
    let proof: ProofJson = client.get(&path, &Parameters::new())?;
    let proven = proof.verify().map_err(|error| {
        Failure::new(Code::Verification, "the entry is not as its author signed it", error)
    })?;
    let Proven { data, .. } = &proven;
    Ok(json!({"verified": true, "data": String::from_utf8_lossy(data), "entry": proven}))
}

/// When a reading of the stream ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Until {
    /// All that is there was read.
    CaughtUp,
    /// Something came, and no more is there at the moment.
    Something,
}

/// Entries of the stream, and the cursor after them.
fn read(
    client: &Client,
    asked: &Parameters,
    until: Until,
    patience: Duration,
) -> Result<Value, Failure> {
    let end = Instant::now() + patience;
    let mut cursor = asked.iter().find(|(name, _)| *name == "after").map(|(_, at)| at.clone());
    let mut entries: Vec<Value> = Vec::new();
    let mut stream = client.stream_within("/v1/stream", asked, patience)?;
    let (mut is_caught_up, mut is_late) = (false, false);
    while entries.len() < ENTRIES && !(is_caught_up && until == Until::CaughtUp) {
        if is_caught_up && !entries.is_empty() && stream.buffer().is_empty() {
            break;
        }
        let event = match Event::read(&mut stream) {
            Ok(Some(event)) => event,
            // The end of the patience is no failure: it is what was asked for.
            Err(_) if Instant::now() >= end => {
                is_late = true;
                break;
            }
            Ok(None) => return Err(client.lost("the stream ended")),
            Err(error) => return Err(client.lost(error)),
        };
        match event.name.as_str() {
            "entry" | "gap" => {
                entries.push(serde_json::from_str(&event.data).map_err(|e| client.lost(e))?);
            }
            "caught-up" => is_caught_up = true,
            _ => {}
        }
        if !event.id.is_empty() {
            cursor = Some(event.id);
        }
    }
    Ok(json!({"entries": entries, "cursor": cursor, "timed_out": is_late && entries.is_empty()}))
}

/// What of the arguments is a parameter of the request.
fn parameters(given: &Map<String, Value>) -> Parameters {
    let named = tools::PARAMETERS.iter().filter_map(|name| Some((*name, given.get(*name)?)));
    named
        .map(|(name, value)| match value {
            Value::String(text) => (name, text.clone()),
            value => (name, value.to_string()),
        })
        .collect()
}

fn text<'g>(given: &'g Map<String, Value>, name: &str) -> Option<&'g str> {
    given.get(name)?.as_str()
}
