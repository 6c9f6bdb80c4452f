//! The program under test, its data directory, and a node that runs on it.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread::JoinHandle;

use serde_json::Value;
use tempfile::TempDir;

/// A home with one data directory in it.
pub struct Home {
    directory: TempDir,
}

impl Home {
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self { directory }
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    pub fn data(&self) -> PathBuf {
        self.path().join("data")
    }

    /// The program with these arguments, and nothing of our own surroundings.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_towline"));
        command
            .env_clear()
            .env("HOME", self.path())
            .env("TOWLINE_DATA", self.data())
            .current_dir(self.path())
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// What the program prints, given that it succeeds.
    #[track_caller]
    pub fn ok(&self, arguments: &[&str]) -> String {
        printed(self.run(arguments))
    }

    /// The JSON that the program prints.
    #[track_caller]
    pub fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.ok(arguments)).unwrap()
    }

    /// The program with this on its stdin.
    pub fn piped(&self, arguments: &[&str], input: &[u8]) -> Output {
        let mut child = self.command(arguments).stdin(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_vec();
        // A program that gives up early closes its stdin: that is no error here.
        let writing = std::thread::spawn(move || drop(stdin.write_all(&input)));
        let output = child.wait_with_output().unwrap();
        writing.join().unwrap();
        output
    }

    /// The exit code and the three lines of an error.
    #[track_caller]
    pub fn fails(&self, arguments: &[&str]) -> Failed {
        Failed::of(self.run(arguments))
    }

    /// Starts a node on the data directory, at ports of its own.
    #[track_caller]
    pub fn start(&self, arguments: &[&str]) -> Running {
        let anywhere = ["run", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"];
        Running::of(self.command(&[&anywhere[..], arguments].concat()))
    }
}

/// What a program printed, given that it succeeded.
#[track_caller]
pub fn printed(output: Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {said}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

/// A program that failed in the usual form.
#[derive(Debug)]
pub struct Failed {
    pub exit: i32,
    pub code: String,
    pub what: String,
    pub why: String,
    pub hint: String,
}

impl Failed {
    #[track_caller]
    pub fn of(output: Output) -> Self {
        let said = String::from_utf8(output.stderr).unwrap();
        let lines: Vec<&str> = said.lines().collect();
        let &[first, why, hint] = &lines[..] else {
            panic!("an error is three lines: {said:?}");
        };
        let (code, what) = first.strip_prefix("error[").unwrap().split_once("]: ").unwrap();
        Self {
            exit: output.status.code().unwrap(),
            code: code.to_owned(),
            what: what.to_owned(),
            why: why.strip_prefix("  why: ").unwrap().to_owned(),
            hint: hint.strip_prefix("  try: ").unwrap().to_owned(),
        }
    }

    pub fn is(&self, code: &str, exit: i32) -> bool {
        (self.code.as_str(), self.exit) == (code, exit)
    }
}

/// A node that runs until it is ended, or dropped.
pub struct Running {
    child: Child,
    draining: Option<JoinHandle<String>>,
    pub node: String,
    pub quic: String,
    /// The address of its HTTP, as a URL.
    pub http: String,
}

impl Running {
    /// Starts a node, and waits until it says that it is ready.
    #[track_caller]
    pub fn of(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap());
        let (mut node, mut quic) = (String::new(), String::new());
        let http = loop {
            let mut line = String::new();
            assert!(said.read_line(&mut line).unwrap() > 0, "the node ended");
            let mut words = line.split_whitespace();
            match (words.next(), words.next()) {
                (Some("node"), Some(id)) => node = id.to_owned(),
                (Some("peers"), Some(address)) => quic = address.to_owned(),
                (Some("http"), Some(address)) => break address.to_owned(),
                _ => {}
            }
        };
        let draining = std::thread::spawn(move || {
            let mut rest = String::new();
            drop(said.read_to_string(&mut rest));
            rest
        });
        Self { child, draining: Some(draining), node, quic, http }
    }

    /// Ends the node as a service manager would; returns how it ended, and what it said after it
    /// was ready.
    pub fn terminate(mut self) -> (i32, String) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        let status = self.child.wait().unwrap();
        let said = self.draining.take().unwrap().join().unwrap();
        (status.code().unwrap_or(-1), said)
    }

    /// Ends the node without a warning.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
