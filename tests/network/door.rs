//! The HTTP face of a node, as a client sees it that outlives the node's restarts.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use ureq::{Agent, Body, http::Response};

/// A client waits so long for an answer; then it doesn't know what became of its request.
const ANSWER: Duration = Duration::from_secs(30);
/// The largest answer that is read.
const ANSWER_BYTES: u64 = 64 << 20;

/// Where a node answers at the moment, if it runs. Clones lead to the same node.
#[derive(Clone)]
pub struct Door {
    address: Arc<Mutex<Option<SocketAddr>>>,
    agent: Agent,
}

/// What a node says of itself, as far as it matters here.
#[derive(Clone, Debug, Deserialize)]
pub struct Status {
    pub entries: u64,
    pub frontier: String,
    pub emitted: u64,
    pub recorded: u64,
    pub dropped: u64,
    pub gaps: u64,
    pub peers: Peers,
}

/// How many peers a node has.
#[derive(Clone, Debug, Deserialize)]
pub struct Peers {
    pub connected: usize,
}

impl Status {
    /// Whether every event that was emitted is recorded, or stated in a gap.
    pub fn is_at_rest(&self) -> bool {
        self.emitted == self.recorded + self.dropped
    }
}

impl Default for Door {
    fn default() -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(ANSWER))
            .proxy(None)
            .max_idle_connections(1);
        Self { address: Arc::default(), agent: config.build().into() }
    }
}

impl Door {
    /// The node answers here from now on.
    pub fn open(&self, address: SocketAddr) {
        *self.address.lock().unwrap() = Some(address);
    }

    /// The node answers no more.
    pub fn close(&self) {
        *self.address.lock().unwrap() = None;
    }

    /// Where the node answers.
    pub fn address(&self) -> Option<SocketAddr> {
        *self.address.lock().unwrap()
    }

    /// Appends texts in one commit, and returns their ids; none when that was not acknowledged.
    pub fn append(&self, texts: &[String]) -> Option<Vec<String>> {
        let receipts = self.post("/v1/entries", "note", texts)?;
        let receipts = receipts.as_array()?;
        assert_eq!(receipts.len(), texts.len(), "a receipt for each draft");
        receipts.iter().map(|receipt| Some(receipt["id"].as_str()?.to_owned())).collect()
    }

    /// Emits texts, and returns the number of the first one; none when that was not acknowledged.
    pub fn emit(&self, texts: &[String]) -> Option<u64> {
        let emitted = self.post("/v1/emit", "reading", texts)?;
        let [from, to] = ["from", "to"].map(|end| emitted["emitted"][end].as_u64());
        let (from, to) = (from?, to?);
        assert_eq!(to - from + 1, texts.len() as u64, "a number for each event");
        Some(from)
    }

    fn post(&self, path: &str, kind: &str, texts: &[String]) -> Option<Value> {
        let draft = |text: &String| json!({"topic": "load", "kind": kind, "data": text});
        let lines: Vec<String> = texts.iter().map(|text| draft(text).to_string()).collect();
        let url = format!("http://{}{path}", self.address()?);
        let request = self.agent.post(url).content_type("application/x-ndjson");
        let answer = body(request.send(lines.join("\n").as_bytes()).ok()?)?;
        serde_json::from_str(&answer).ok()
    }

    /// An answer as text; none when there was none, or none that says that all is well.
    pub fn get(&self, path: &str) -> Option<String> {
        body(self.agent.get(format!("http://{}{path}", self.address()?)).call().ok()?)
    }

    /// What the node says of itself.
    pub fn status(&self) -> Option<Status> {
        serde_json::from_str(&self.get("/v1/status")?).ok()
    }

    /// What the node says of another one: `connected`, `connecting` or `unreachable`.
    pub fn contact(&self, other: &str) -> Option<String> {
        let said: Value = serde_json::from_str(&self.get("/v1/nodes")?).ok()?;
        let other = said["nodes"].as_array()?.iter().find(|node| node["node"] == other)?;
        Some(other["state"].as_str()?.to_owned())
    }
}

fn body(mut response: Response<Body>) -> Option<String> {
    let is_well = response.status().is_success();
    let text = response.body_mut().with_config().limit(ANSWER_BYTES).read_to_string().ok()?;
    is_well.then_some(text)
}
