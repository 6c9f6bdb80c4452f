//! Readers that stall: a client of a stream, and a process that holds a snapshot of the store.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::Child;
use std::sync::Arc;

use serde_json::Value;

use crate::cluster::Cluster;
use crate::load::{Ledger, Load, Pace};
use crate::node::{Node, signal};
use crate::noise::noise;
use crate::patience::{PATIENCE, until, until_some};
use crate::reckoning::assert_kept;

/// How long an entry is, and how many make a request.
const ENTRY_BYTES: usize = 64 << 10;
const ENTRIES: usize = 80;
/// So many requests are more than any buffer between a node and a client holds, and more than a
/// write-ahead log may be long.
const REQUESTS: usize = 14;
/// A write-ahead log starts anew from 8 MiB on, as soon as no reader needs it, which is soon.
const WAL_BYTES: u64 = 32 << 20;
/// A write-ahead log that had to grow is cut to this length once it can start anew.
const WAL_BYTES_KEPT: u64 = 64 << 20;

#[test]
fn a_client_that_reads_nothing_of_its_stream_holds_up_nobody_and_misses_nothing() {
    let mut cluster = Cluster::start(2);
    let ledger = Arc::new(Ledger::default());
    let mut stalled = open_stream(&cluster.nodes[0]);
    let load = Load::start(&mut cluster, &ledger, Pace::GENTLE);
    for request in 0..REQUESTS {
        write(&cluster, &ledger, request);
        let length = cluster.nodes[0].wal_bytes();
        assert!(length < WAL_BYTES, "the write-ahead log is {length} bytes long");
    }
    load.end();
    assert_kept(&cluster, &ledger);
    for expected in 0..cluster.status(0).entries {
        assert_eq!(next_entry(&mut stalled)["offset"].as_u64(), Some(expected));
    }
}

#[test]
fn a_write_ahead_log_that_grew_under_a_held_snapshot_is_short_again_after_it() {
    let cluster = Cluster::start(1);
    let ledger = Ledger::default();
    let node = &cluster.nodes[0];
    // After an odd number of requests there is something in the log that the store lacks.
    let mut requests = 0..;
    requests.by_ref().take(5).for_each(|request| write(&cluster, &ledger, request));
    let snapshot = Snapshot::hold(node);
    requests.by_ref().take(REQUESTS).for_each(|request| write(&cluster, &ledger, request));
    let grown = node.wal_bytes();
    assert!(grown > WAL_BYTES_KEPT, "the snapshot held nothing: {grown} bytes");
    snapshot.release();
    until("the write-ahead log is short again", || {
        write(&cluster, &ledger, requests.next().expect("there is always one more"));
        node.wal_bytes() <= WAL_BYTES_KEPT
    });
    assert_kept(&cluster, &ledger);
}

/// Appends 5 MiB at the first node.
fn write(cluster: &Cluster, ledger: &Ledger, request: usize) {
    let rest = |n| noise(request * ENTRIES + n, ENTRY_BYTES);
    let long = |n| format!("long-{request}-{n} {}", rest(n));
    let texts: Vec<String> = (0..ENTRIES).map(long).collect();
    assert!(ledger.append(&cluster.nodes[0].door, &texts), "request {request}");
}

/// Asks for a stream from the log's start as lines, and reads the head of the answer only.
fn open_stream(node: &Node) -> BufReader<TcpStream> {
    let mut client = TcpStream::connect(node.door.address().unwrap()).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let head = "GET /v1/stream HTTP/1.1\r\nhost: localhost\r\naccept: application/x-ndjson\r\n\r\n";
    client.write_all(head.as_bytes()).unwrap();
    let mut client = BufReader::new(client);
    let mut line = String::from("head");
    while !line.trim_end().is_empty() {
        line.clear();
        client.read_line(&mut line).unwrap();
    }
    client
}

/// The next line that is an entry: others are the sizes of chunks, and heartbeats.
fn next_entry(stream: &mut BufReader<TcpStream>) -> Value {
    loop {
        let mut line = String::new();
        assert!(stream.read_line(&mut line).unwrap() > 0, "the stream ended");
        if line.starts_with('{') {
            return serde_json::from_str(&line).unwrap();
        }
    }
}

/// A process that reads the store beside its node, and is held while it does.
struct Snapshot(Child);

impl Snapshot {
    /// Starts `towline verify`, and holds it once it has its snapshot.
    fn hold(node: &Node) -> Self {
        until_some("a reader is held with its snapshot", || {
            let mut reader = Self(node.command(&["verify"]).spawn().unwrap());
            while reader.0.try_wait().unwrap().is_none() {
                if pins_the_wal(reader.0.id()) {
                    signal("STOP", reader.0.id());
                    return pins_the_wal(reader.0.id()).then_some(reader);
                }
            }
            None
        })
    }

    fn release(mut self) {
        signal("CONT", self.0.id());
        assert!(self.0.wait().unwrap().success(), "what was held is whole");
    }
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Whether a process reads the write-ahead log: it then holds one of four locks, bytes 124 to 127
/// of the file beside it (<https://sqlite.org/walformat.html>, 2.3).
fn pins_the_wal(pid: u32) -> bool {
    let locks = std::fs::read_to_string("/proc/locks").unwrap();
    locks.lines().any(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let first = words.get(6).and_then(|byte| byte.parse().ok());
        words.get(4) == Some(&pid.to_string().as_str()) && matches!(first, Some(124..=127))
    })
}
