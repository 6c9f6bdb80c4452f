//! An agent's side of the Model Context Protocol, over real pipes.

use std::fs::File;
use std::io::{BufRead, BufReader, Lines, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::time::{Duration, Instant};

use rmcp::ServiceExt;
use rmcp::model::{CallToolRequestParams, CallToolResult};
use rmcp::service::{RoleClient, RunningService};
use serde_json::{Value, json};

use crate::program::Home;

struct Agent {
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    asked: u64,
}

impl Agent {
    fn new(home: &Home) -> Self {
        let mut child = home.command(&["mcp"]).stdin(Stdio::piped()).spawn().unwrap();
        let input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut agent = Self { child, input, output, asked: 0 };
        let hello = json!({"protocolVersion": "2025-06-18", "capabilities": {},
            "clientInfo": {"name": "test", "version": "1"}});
        let answer = agent.ask("initialize", hello);
        assert_eq!(answer["serverInfo"]["name"], "towline");
        agent.say(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
        agent
    }

    fn say(&mut self, message: &Value) {
        writeln!(self.input, "{message}").unwrap();
    }

    fn ask(&mut self, method: &str, params: Value) -> Value {
        self.asked += 1;
        let id = self.asked;
        self.say(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}));
        loop {
            let line = self.output.next().unwrap().unwrap();
            let answer: Value = serde_json::from_str(&line).unwrap();
            if answer["id"] == id {
                assert!(answer.get("error").is_none(), "{answer}");
                return answer["result"].clone();
            }
        }
    }

    fn call(&mut self, name: &str, arguments: Value) -> Value {
        let answer = self.ask("tools/call", json!({"name": name, "arguments": arguments}));
        assert_ne!(answer["isError"], true, "{answer}");
        answer["structuredContent"].clone()
    }

    fn refused(&mut self, name: &str, arguments: Value) -> String {
        let answer = self.ask("tools/call", json!({"name": name, "arguments": arguments}));
        assert_eq!(answer["isError"], true, "{answer}");
        answer["content"][0]["text"].as_str().unwrap().to_owned()
    }
}

#[test]
fn an_agent_outlives_a_restart_of_its_node() {
    let home = Home::new();
    let node = home.start(&[]);
    let mut agent = Agent::new(&home);
    node.terminate();
    assert!(agent.refused("status", json!({})).starts_with("error[E0201]"));
    let _node = home.start(&[]);
    assert_eq!(agent.call("status", json!({}))["entries"], 0);
}

#[test]
fn an_agent_writes_and_reads_the_log() {
    let home = Home::new();
    let _node = home.start(&[]);
    let mut agent = Agent::new(&home);
    let tools = agent.ask("tools/list", json!({}));
    let names: Vec<&str> = tools["tools"]
        .as_array()
        .unwrap()
        .iter()
        .map(|tool| tool["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["append", "query", "tail", "wait", "gaps", "verify", "context", "status"]);
    let note = json!({"topic": "story/42", "data": {"to": "coding"}, "key": "once"});
    let appended = agent.call("append", note.clone());
    assert_eq!(agent.call("append", note), appended);
    let proven = agent.call("verify", json!({"id": appended["receipts"][0]["id"]}));
    assert_eq!(
        (&proven["verified"], &proven["entry"]["topic"]),
        (&true.into(), &"story/42".into())
    );
    let newest = agent.call("tail", json!({"topic": "story/42"}));
    assert_eq!(newest["entries"][0]["data"], json!({"to": "coding"}));
    assert_eq!(newest["entries"].as_array().unwrap().len(), 1);

    let after = newest["cursor"].clone();
    let nothing = agent.call("wait", json!({"after": after, "timeout_seconds": 1.0}));
    assert_eq!((&nothing["timed_out"], &nothing["cursor"]), (&true.into(), &after));
    home.ok(&["append", "-t", "story/42", "by somebody else"]);
    let came = agent.call("wait", json!({"after": after}));
    assert_eq!(came["entries"][0]["data"], "by somebody else");

    let found = agent.call("query", json!({"grep": "somebody", "limit": 5}));
    assert_eq!(found["entries"].as_array().unwrap().len(), 1);
    assert!(agent.call("context", json!({"topic": "story/42"}))["context"].is_string());
    assert_eq!(agent.call("gaps", json!({}))["gaps"], json!([]));
    assert_eq!(agent.call("status", json!({}))["entries"], 2);
}

#[test]
fn an_agent_is_told_what_it_did_wrong() {
    let home = Home::new();
    let _node = home.start(&[]);
    let mut agent = Agent::new(&home);
    assert!(agent.refused("append", json!({"topic": "t"})).contains("it needs \"data\""));
    assert!(agent.refused("query", json!({"topik": "t"})).contains("\"topik\""));
    assert!(agent.refused("append", json!({"topic": "", "data": 1})).contains("E0002"));
    assert!(agent.refused("nothing", json!({})).contains("no such tool"));
    let Agent { mut child, input, .. } = agent;
    drop(input);
    assert!(child.wait().unwrap().success());
}

/// What an agent sees of the log through the client of the protocol's own SDK.
struct Client(RunningService<RoleClient, ()>);

impl Client {
    /// A client of a program over its pipes.
    async fn of(child: &mut Child) -> Self {
        let pipe = |end: OwnedFd| tokio::fs::File::from_std(File::from(end));
        let output = pipe(child.stdout.take().unwrap().into());
        let input = pipe(child.stdin.take().unwrap().into());
        Self(().serve((output, input)).await.unwrap())
    }

    async fn ask(&self, tool: &'static str, arguments: Value) -> CallToolResult {
        let asked = CallToolRequestParams::new(tool);
        let asked = asked.with_arguments(arguments.as_object().unwrap().clone());
        self.0.call_tool(asked).await.unwrap()
    }

    async fn call(&self, tool: &'static str, arguments: Value) -> Value {
        let answer = self.ask(tool, arguments).await;
        assert_ne!(answer.is_error, Some(true), "{answer:?}");
        let content = serde_json::to_value(&answer.content[0]).unwrap();
        let structured = answer.structured_content.unwrap();
        // Those that know no structured content read the same as text.
        let text: Value = serde_json::from_str(content["text"].as_str().unwrap()).unwrap();
        assert_eq!(text, structured);
        structured
    }
}

#[test]
fn the_client_of_the_official_sdk_calls_every_tool() {
    let home = Home::new();
    let _node = home.start(&[]);
    let mut child = home.command(&["mcp"]).stdin(Stdio::piped()).spawn().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let client = Client::of(&mut child).await;
        let server = client.0.peer_info().unwrap();
        assert_eq!(serde_json::to_value(&*server).unwrap()["serverInfo"]["name"], "towline");
        let tools = client.0.list_all_tools().await.unwrap();
        for tool in &tools {
            assert!(tool.description.is_some(), "{tool:?}");
            assert_eq!(tool.input_schema["type"], "object", "{tool:?}");
        }
        assert_eq!(tools.len(), 8);

        let draft = json!({"topic": "t", "kind": "k", "data": {"n": 1}});
        let appended = client.call("append", draft).await;
        let id = appended["receipts"][0]["id"].clone();
        assert_eq!(client.call("query", json!({"topic": "t"})).await["entries"][0]["id"], id);
        assert_eq!(client.call("verify", json!({"id": id})).await["verified"], true);
        assert_eq!(client.call("gaps", json!({})).await["gaps"], json!([]));
        assert_eq!(client.call("status", json!({})).await["state"], "ok");
        assert!(client.call("context", json!({"topic": "t"})).await["context"].is_string());

        let after = client.call("tail", json!({})).await["cursor"].clone();
        let began = Instant::now();
        let waiting = client.call("wait", json!({"after": after, "timeout_seconds": 50}));
        // Another call is answered while one waits.
        let appending = async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            client.call("append", json!({"topic": "t", "data": "came"})).await
        };
        let (came, _) = tokio::join!(waiting, appending);
        assert_eq!(came["entries"][0]["data"], "came");
        let waited = began.elapsed();
        assert!(waited > Duration::from_millis(250) && waited < Duration::from_secs(20));

        let refused = client.ask("query", json!({"limit": 0})).await;
        assert_eq!(refused.is_error, Some(true));
        let told = serde_json::to_value(&refused.content[0]).unwrap();
        let told = told["text"].as_str().unwrap();
        assert!(told.starts_with("error[E0001]: ") && told.contains("  try: "), "{told}");
        client.0.cancel().await.unwrap();
    });
    assert!(child.wait().unwrap().success());
}
