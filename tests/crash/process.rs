//! A node as a process: the real program, which anything may end, and a client of it.

use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use towline::words::EntryId;
use ureq::Agent;

/// Nothing here takes so long: what is waited for longer has failed.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// The signal of `kill -9`.
pub const SIGKILL: i32 = 9;

/// The program, with nothing of our own surroundings.
pub fn program() -> Command {
    bare(env!("CARGO_BIN_EXE_towline"))
}

/// A program that runs another one, which follows its own arguments.
pub fn under(runner: &str, arguments: &[&str]) -> Command {
    let mut command = bare(runner);
    command.args(arguments).arg(env!("CARGO_BIN_EXE_towline"));
    command
}

fn bare(name: &str) -> Command {
    let mut command = Command::new(name);
    let path = std::env::var_os("PATH").unwrap_or_default();
    command.env_clear().env("PATH", path).env("RUST_BACKTRACE", "0");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

/// How a process ended, and what it said.
#[derive(Debug)]
pub struct Ended {
    pub status: ExitStatus,
    pub said: String,
}

impl Ended {
    /// Whether it was killed. A program that panics or aborts says so here, too, and fails.
    #[track_caller]
    pub fn was_killed(&self) -> bool {
        self.assert_no_panic();
        self.status.signal() == Some(SIGKILL)
    }

    #[track_caller]
    pub fn assert_no_panic(&self) {
        assert!(!self.said.contains("panicked"), "{}", self.said);
        let signal = self.status.signal();
        assert!(signal.is_none_or(|signal| signal == SIGKILL), "{:?}: {}", signal, self.said);
    }
}

/// Why an entry was not acknowledged.
#[derive(Debug)]
pub enum Refused {
    /// The node said so, with a problem document.
    Problem(Value),
    /// Nobody answered.
    Silence,
}

/// A node that runs.
pub struct Process {
    child: Child,
    said: Option<JoinHandle<String>>,
    client: Client,
}

impl Process {
    /// Starts a node on a data directory, at ports of its own; what it said if it ended first.
    /// `looked_at` is where this process finds the data directory.
    pub fn start(mut command: Command, data: &Path, looked_at: &Path) -> Result<Self, Ended> {
        let node_json = looked_at.join("node.json");
        drop(std::fs::remove_file(&node_json)); // a node that was killed left it
        let arguments = ["run", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--data"];
        let mut child = command.args(arguments).arg(data).spawn().unwrap();
        let mut stderr = child.stderr.take().unwrap();
        let said = std::thread::spawn(move || {
            let mut said = Vec::new();
            drop(stderr.read_to_end(&mut said));
            String::from_utf8_lossy(&said).into_owned()
        });
        let mut started = Self { child, said: Some(said), client: Client::new(String::new()) };
        let began = Instant::now();
        loop {
            if let Some(http) = announced(&node_json) {
                started.client = Client::new(http);
                return Ok(started);
            }
            if started.child.try_wait().unwrap().is_some() {
                return Err(started.wait());
            }
            assert!(began.elapsed() < PATIENCE, "the node isn't ready");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Ends the node without a warning.
    pub fn kill(mut self) -> Ended {
        drop(self.child.kill());
        self.wait()
    }

    /// Ends the node as a service manager would.
    pub fn terminate(self) -> Ended {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        self.wait()
    }

    /// Waits until the node has ended.
    pub fn wait(mut self) -> Ended {
        let began = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(began.elapsed() < PATIENCE, "the node doesn't end");
            std::thread::sleep(Duration::from_millis(2));
        };
        Ended { status, said: self.said.take().unwrap().join().unwrap() }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Where the node of a data directory says that it answers.
fn announced(node_json: &PathBuf) -> Option<String> {
    let addresses: Value = serde_json::from_slice(&std::fs::read(node_json).ok()?).ok()?;
    Some(addresses["http"].as_str()?.to_owned())
}

/// Who asks a node.
#[derive(Clone)]
pub struct Client {
    http: String,
    agent: Agent,
}

impl Client {
    fn new(http: String) -> Self {
        let config = Agent::config_builder().http_status_as_error(false).proxy(None);
        let agent = config.timeout_global(Some(PATIENCE)).build().into();
        Self { http, agent }
    }

    /// Appends texts in one request; their ids, once they are acknowledged.
    pub fn append(&self, texts: &[String]) -> Result<Vec<EntryId>, Refused> {
        let draft =
            |text| json!({"topic": "t", "kind": "k", "content_type": "text/plain", "data": text});
        let body: Vec<Value> = texts.iter().map(draft).collect();
        let (status, answer) = self.call("POST", "/v1/entries", &json!(body).to_string())?;
        if status != 201 {
            return Err(Refused::Problem(answer));
        }
        let ids = answer.as_array().unwrap().iter();
        let ids: Vec<EntryId> =
            ids.map(|receipt| receipt["id"].as_str().unwrap().parse().unwrap()).collect();
        assert_eq!(ids.len(), texts.len());
        Ok(ids)
    }

    /// What a resource says.
    pub fn get(&self, path: &str) -> Result<(u16, Value), Refused> {
        self.call("GET", path, "")
    }

    fn call(&self, method: &str, path: &str, body: &str) -> Result<(u16, Value), Refused> {
        let request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.http))
            .header("content-type", "application/json")
            .body(body)
            .unwrap();
        let mut response = self.agent.run(request).map_err(|_| Refused::Silence)?;
        let status = response.status().as_u16();
        let body = response.body_mut().with_config().limit(64 << 20);
        let body = body.read_to_string().map_err(|_| Refused::Silence)?;
        Ok((status, serde_json::from_str(&body).unwrap_or(Value::String(body))))
    }
}
