//! The program itself in a process of its own: what it takes in memory is its own, and a panic ends
//! it.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use towline::words::NodeId;
use ureq::Agent;

use super::PATIENCE;

/// What no flood may make a node take, in KiB.
pub const MEMORY_KIB: u64 = 512 << 10;

/// A node in a process of its own, on a disk of its own.
pub struct Process {
    child: Child,
    agent: Agent,
    log: PathBuf,
    pub http: SocketAddr,
    pub quic: SocketAddr,
    pub node: NodeId,
    _home: TempDir,
}

impl Process {
    /// Starts a node with these arguments.
    pub fn run(arguments: &[String]) -> Self {
        Self::limited("", arguments)
    }

    /// Starts a node in a shell that has set these limits for it.
    pub fn limited(limits: &str, arguments: &[String]) -> Self {
        let home = tempfile::tempdir().unwrap();
        let (data, ports) = (home.path().join("data"), home.path().join("ports.json"));
        let log = home.path().join("log");
        let mut command = Command::new("/bin/sh");
        command.env_clear().arg("-c").arg(format!("{limits}\nexec \"$0\" \"$@\""));
        command.arg(env!("CARGO_BIN_EXE_towline"));
        command.args(["run", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"]);
        command.arg("--data").arg(&data).arg("--ports-file").arg(&ports).args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let mut child = command.stderr(fs::File::create(&log).unwrap()).spawn().unwrap();
        let started = Instant::now();
        let ports: Value = loop {
            let read = fs::read(&ports).ok();
            if let Some(ports) = read.and_then(|read| serde_json::from_slice(&read).ok()) {
                break ports;
            }
            let ended = child.try_wait().unwrap();
            let said = fs::read_to_string(&log).unwrap();
            assert!(ended.is_none() && started.elapsed() < PATIENCE, "{ended:?} {said}");
            std::thread::sleep(Duration::from_millis(5));
        };
        let text = |name: &str| ports[name].as_str().unwrap().to_owned();
        let agent = Agent::config_builder().timeout_global(Some(PATIENCE)).build().into();
        Self {
            child,
            agent,
            http: text("http").parse().unwrap(),
            log,
            quic: text("quic").parse().unwrap(),
            node: text("node").parse().unwrap(),
            _home: home,
        }
    }

    /// Appends an entry.
    pub fn append(&self) {
        self.append_text("x");
    }

    /// Appends a text.
    pub fn append_text(&self, text: &str) {
        let url = format!("http://{}/v1/entries", self.http);
        let draft = serde_json::json!({
            "topic": "t", "kind": "k", "content_type": "text/plain", "data": text,
        });
        let request = self.agent.post(url).header("content-type", "application/json");
        assert_eq!(request.send(draft.to_string()).unwrap().status().as_u16(), 201);
    }

    /// Emits events, one a line.
    pub fn emit(&self, lines: &str) {
        let url = format!("http://{}/v1/emit", self.http);
        let request = self.agent.post(url).header("content-type", "application/x-ndjson");
        assert_eq!(request.send(lines).unwrap().status().as_u16(), 202);
    }

    pub fn metric(&self, name: &str) -> u64 {
        let url = format!("http://{}/metrics", self.http);
        let text = self.agent.get(url).call().unwrap().body_mut().read_to_string().unwrap();
        let value = text.lines().find_map(|line| line.strip_prefix(&format!("towline_{name} ")));
        value.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
    }

    /// The most memory that it ever had, in KiB.
    pub fn peak_memory(&self) -> u64 {
        self.memory_of("VmHWM:")
    }

    /// The memory that it has, in KiB.
    pub fn memory(&self) -> u64 {
        self.memory_of("VmRSS:")
    }

    fn memory_of(&self, name: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let found = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        found.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// What it has said so far.
    pub fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// Asserts that it runs, appends, and never took more memory than a flood may make it take.
    pub fn assert_sound(&mut self) {
        assert_eq!(self.child.try_wait().unwrap(), None, "{}", self.said());
        self.append();
        let peak = self.peak_memory();
        println!("at most {} MiB", peak >> 10);
        assert!(peak <= MEMORY_KIB, "{peak} KiB");
        assert!(!self.said().contains("panicked"), "{}", self.said());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
