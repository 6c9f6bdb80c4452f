//! A node as a process of its own, with a data directory of its own: started, ended, killed, held
//! and released, as people, supervisors and kernels do.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use serde_json::Value;

use crate::door::Door;
use crate::patience::until_some;

/// How many lines of a node's log are shown when a test fails.
const LAST_LINES: usize = 40;

/// A node, running or not.
pub struct Node {
    /// Its name for people.
    pub name: String,
    /// Its id.
    pub id: String,
    /// Its cluster.
    pub cluster: String,
    /// Where it answers HTTP.
    pub door: Door,
    home: PathBuf,
    process: Option<Child>,
}

impl Node {
    /// Makes a node in a directory of its own; in a cluster of its own when none is named.
    pub fn make(home: &Path, name: &str, cluster: Option<&str>) -> Self {
        fs::create_dir_all(home).unwrap();
        let mut command = program(home, &["init", "-o", "json", "--name", name]);
        command.args(cluster.map(|cluster| ["--cluster", cluster]).into_iter().flatten());
        let output = command.stdout(Stdio::piped()).stderr(Stdio::piped()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let said: Value = serde_json::from_slice(&output.stdout).unwrap();
        let text = |field: &str| said[field].as_str().unwrap().to_owned();
        Self {
            name: name.to_owned(),
            id: text("node"),
            cluster: text("cluster"),
            door: Door::default(),
            home: home.to_owned(),
            process: None,
        }
    }

    /// Starts the node, and waits until it is ready; returns where it listens for peers.
    pub fn start(&mut self, arguments: &[String]) -> SocketAddr {
        let ports = self.home.join("ports.json");
        drop(fs::remove_file(&ports));
        let log = File::options().create(true).append(true).open(self.log()).unwrap();
        let anywhere = ["run", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"];
        let mut command = program(&self.home, &anywhere);
        command.arg("--ports-file").arg(&ports).args(arguments);
        command.env("TOWLINE_LOG", "towline=info").stderr(log);
        let mut process = command.spawn().unwrap();
        let said = until_some(&format!("{} is ready", self.name), || {
            if let Some(status) = process.try_wait().unwrap() {
                panic!("{} ended at its start: {status}\n{}", self.name, self.last_lines());
            }
            serde_json::from_slice::<Value>(&fs::read(&ports).ok()?).ok()
        });
        self.process = Some(process);
        self.door.open(said["http"].as_str().unwrap().parse().unwrap());
        said["quic"].as_str().unwrap().parse().unwrap()
    }

    /// The process, if it runs or is held.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Child::id)
    }

    /// Ends the node as a supervisor does; returns how it ended.
    pub fn terminate(&mut self) -> ExitStatus {
        self.signal("TERM");
        self.ended()
    }

    /// Ends the node without a warning.
    pub fn kill(&mut self) {
        self.process.as_mut().expect("only a running node is killed").kill().unwrap();
        assert_eq!(self.ended().signal(), Some(9), "{} ended by itself", self.name);
    }

    /// Holds the process: it keeps all it has, and does nothing.
    pub fn hold(&self) {
        self.signal("STOP");
    }

    /// Lets a held process go on.
    pub fn release(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        signal(name, self.pid().expect("only a running node gets a signal"));
    }

    fn ended(&mut self) -> ExitStatus {
        self.door.close();
        let mut process = self.process.take().expect("only a running node ends");
        until_some(&format!("{} has ended", self.name), || process.try_wait().unwrap())
    }

    /// The program with this node as its subject.
    pub fn command(&self, arguments: &[&str]) -> Command {
        program(&self.home, arguments)
    }

    /// How large the write-ahead log of its store is.
    pub fn wal_bytes(&self) -> u64 {
        let file = self.home.join("data/log.sqlite-wal");
        fs::metadata(file).map_or(0, |metadata| metadata.len())
    }

    fn log(&self) -> PathBuf {
        self.home.join("stderr")
    }

    /// What the node said last.
    pub fn last_lines(&self) -> String {
        let said = fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<&str> = said.lines().collect();
        lines[lines.len().saturating_sub(LAST_LINES)..].join("\n")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            drop(process.kill());
            drop(process.wait());
        }
    }
}

/// Sends a signal to a process that was started here.
pub fn signal(name: &str, pid: u32) {
    let status = Command::new("kill").args(["-s", name, &pid.to_string()]).status();
    assert!(status.unwrap().success(), "{name} to {pid}");
}

/// The program on the data directory of a home, with nothing of our own surroundings.
fn program(home: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_towline"));
    command
        .env_clear()
        .env("HOME", home)
        .env("TOWLINE_DATA", home.join("data"))
        .current_dir(home)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}
