//! An agent's side of the Model Context Protocol, over real pipes.

use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

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
