//! What the demo writes: lines that are given, or what this host says of itself.

use std::fs;
use std::io::{BufRead, BufReader, IsTerminal, Read};
use std::path::PathBuf;

use serde_json::json;

use crate::cli::failure::Failure;
use crate::words::entry::TEXT;
use crate::words::{Draft, DraftError};

/// How many lines of input are taken at most.
const LINES: usize = 1_000_000;
/// How many bytes of a line are taken at most; what is longer is no line of a log.
const LINE_BYTES: u64 = 1 << 20;

/// Lines for the cluster to log, in order.
pub struct Input {
    lines: Vec<Vec<u8>>,
}

impl Input {
    /// The lines of the files; of stdin when it is piped and there are none; or none at all.
    ///
    /// # Errors
    /// A file can't be read.
    pub fn read(files: &[PathBuf]) -> Result<Self, Failure> {
        let mut lines = Vec::new();
        for path in files {
            let file = fs::File::open(path);
            let file = file.map_err(|e| Failure::file("the input can't be read", path, &e))?;
            let read = take_lines(file, &mut lines);
            read.map_err(|e| Failure::file("the input can't be read", path, &e))?;
        }
        let stdin = std::io::stdin();
        if files.is_empty() && !stdin.is_terminal() && is_pipe_or_file() {
            let read = take_lines(stdin.lock(), &mut lines);
            let stdin = PathBuf::from("stdin");
            read.map_err(|e| Failure::file("the input can't be read", &stdin, &e))?;
        }
        Ok(Self { lines })
    }

    /// Whether there are lines.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// The lines dealt out to so many nodes, as drafts.
    ///
    /// # Errors
    /// A line is over the bound of a payload.
    pub fn deal(&self, nodes: usize) -> Result<Vec<Vec<Draft>>, DraftError> {
        let mut shares = vec![Vec::new(); nodes];
        for (at, line) in self.lines.iter().enumerate() {
            shares[at % nodes].push(Draft::bytes("log", "log.line", TEXT, line.clone())?);
        }
        Ok(shares)
    }
}

fn take_lines(input: impl Read, lines: &mut Vec<Vec<u8>>) -> std::io::Result<()> {
    let mut input = BufReader::new(input);
    while lines.len() < LINES {
        let mut line = Vec::new();
        if input.by_ref().take(LINE_BYTES).read_until(b'\n', &mut line)? == 0 {
            break;
        }
        line.pop_if(|last| *last == b'\n');
        lines.push(line);
    }
    Ok(())
}

/// Whether stdin is something that was given: not the terminal, and not `/dev/null`.
fn is_pipe_or_file() -> bool {
    use std::os::unix::fs::FileTypeExt;
    let kind = fs::metadata("/dev/stdin").map(|stdin| stdin.file_type());
    kind.is_ok_and(|kind| kind.is_fifo() || kind.is_file() || kind.is_socket())
}

/// What this host says of itself at the moment: load, memory, uptime.
///
/// # Errors
/// None in practice: it is far below every bound.
pub fn observation(node: &str) -> Result<Draft, DraftError> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let load: Vec<f64> =
        read("/proc/loadavg").split(' ').take(3).filter_map(|word| word.parse().ok()).collect();
    let memory = read("/proc/meminfo");
    let kib = |field: &str| -> Option<u64> {
        let line = memory.lines().find(|line| line.starts_with(field))?;
        line.split_whitespace().nth(1)?.parse().ok()
    };
    let uptime: Option<f64> = read("/proc/uptime").split(' ').next().and_then(|w| w.parse().ok());
    let value = json!({
        "load": load,
        "memory_available_kib": kib("MemAvailable:"),
        "uptime_seconds": uptime,
    });
    Draft::json(&format!("host/{node}"), "host.observed", &value)
}
