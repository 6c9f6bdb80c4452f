//! Floods of requests: whatever clients send and ask for, and however little of it they take, memory
//! is bounded and others are answered.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use crate::support::PATIENCE;
use crate::support::process::Process;

const MIB: usize = 1 << 20;
/// Fewer than all connections, so that others find a place.
const CLIENTS: usize = 250;

/// Appends so many entries of about 1 MiB of a character, which are larger as JSON.
fn fill(process: &Process, entries: usize, escaped: &str) {
    let text = escaped.repeat(1_000_000);
    let draft =
        format!(r#"{{"topic":"t","kind":"k","content_type":"text/plain","data":"{text}"}}"#);
    let url = format!("http://{}/v1/entries", process.http);
    for _ in 0..entries {
        let request = ureq::post(&url).header("content-type", "application/json");
        assert_eq!(request.send(&draft).unwrap().status().as_u16(), 201);
    }
}

fn connect(process: &Process) -> TcpStream {
    let client = TcpStream::connect(process.http).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client
}

#[test]
fn pages_that_nobody_takes_fit_into_memory() {
    let mut process = Process::run(&[]);
    fill(&process, 24, "\\n");
    let mut clients = Vec::new();
    for _ in 0..80 {
        let mut client = connect(&process);
        write!(client, "GET /v1/entries?limit=10000 HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
        clients.push(client);
    }
    let mut status = [0; 12];
    clients[0].read_exact(&mut status).unwrap();
    assert_eq!(&status, b"HTTP/1.1 200");
    (0..20).for_each(|_| process.append());
    process.assert_sound();
}

#[test]
fn streams_that_nobody_reads_fit_into_memory() {
    let mut process = Process::run(&[]);
    // Six MB each as JSON: more than the system takes off the node's hands for a client.
    fill(&process, 4, "\\u0001");
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let mut client = connect(&process);
        write!(client, "GET /v1/stream HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
        clients.push(client);
    }
    let mut served = 0;
    for client in &mut clients {
        let mut status = [0; 12];
        client.read_exact(&mut status).unwrap();
        served += usize::from(&status == b"HTTP/1.1 200");
    }
    assert_eq!(served, CLIENTS);
    // What they could be sent is made ready meanwhile.
    (0..200).for_each(|_| process.append());
    process.assert_sound();
}

#[test]
fn what_topics_and_sessions_tell_and_nobody_reads_fits_into_memory() {
    let mut process = Process::run(&[]);
    fill(&process, 6, "\\n");
    let text = "\\n".repeat(1_000_000);
    let event = format!(r#"{{"kind":"k","content_type":"text/plain","data":"{text}"}}"#);
    let begin = format!(r#"{{"session":"s","transcript":"t","events":[{event},{event},{event}]}}"#);
    let url = format!("http://{}/v1/sessions/default", process.http);
    let request = ureq::post(&url).header("content-type", "application/json");
    assert_eq!(request.send(&begin).unwrap().status().as_u16(), 201);
    let mut clients = Vec::new();
    for path in [
        "/v1/topics/default/t/follow",
        "/v1/feeds/default",
        "/v1/sessions/default/s/follow",
        "/v1/topics/default/t/entries",
        "/v1/transcripts/default/t",
    ] {
        for _ in 0..CLIENTS / 5 {
            let mut client = connect(&process);
            write!(client, "GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
            clients.push(client);
        }
    }
    let of_streams = CLIENTS / 5 * 3;
    for client in &mut clients[..of_streams] {
        let mut status = [0; 12];
        client.read_exact(&mut status).unwrap();
        assert_eq!(&status, b"HTTP/1.1 200");
    }
    (0..20).for_each(|_| process.append());
    process.assert_sound();
}

#[test]
fn bodies_at_their_largest_fit_into_memory() {
    let mut process = Process::run(&[]);
    let draft = format!(r#"{{"topic":"t","kind":"k","data":"{}"}}"#, "x".repeat(MIB - 1_000));
    let body = Arc::new(format!("[{}]", vec![draft; 15].join(",")));
    let clients: Vec<_> = (0..40)
        .map(|_| {
            let (url, body) = (format!("http://{}/v1/entries", process.http), body.clone());
            std::thread::spawn(move || {
                let request = ureq::post(url).header("content-type", "application/json");
                request.send(body.as_str()).unwrap().status().as_u16()
            })
        })
        .collect();
    (0..20).for_each(|_| process.append());
    for client in clients {
        assert_eq!(client.join().unwrap(), 201);
    }
    process.assert_sound();
}

#[test]
fn bodies_that_come_slowly_hold_up_no_small_ones() {
    let mut process = Process::run(&[]);
    let mut slow = Vec::new();
    for _ in 0..CLIENTS {
        let mut client = connect(&process);
        let length = 16 * MIB;
        let head = "POST /v1/entries HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json";
        write!(client, "{head}\r\ncontent-length: {length}\r\n\r\n[").unwrap();
        slow.push(client);
    }
    (0..20).for_each(|_| process.append());
    process.assert_sound();
}

#[test]
fn a_node_without_files_left_sheds_connections_and_goes_on() {
    let mut process = Process::limited("ulimit -n 64", &[]);
    process.append();
    let crowd: Vec<TcpStream> = (0..100).map(|_| connect(&process)).collect();
    let mut asked = connect(&process);
    asked.write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    while !process.said().contains("a connection can't be accepted") {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    // A client that is there already is served, and what it appends is written.
    process.append();
    drop(crowd);
    let mut status = [0; 12];
    asked.read_exact(&mut status).unwrap();
    assert_eq!(&status, b"HTTP/1.1 200");
    process.assert_sound();
}

#[test]
fn a_million_events_are_all_recorded_or_stated_as_dropped() {
    let mut process = Process::run(&[]);
    let line = r#"{"topic":"t","kind":"k","data":"one of very many"}"#.to_owned() + "\n";
    let lines = line.repeat(10_000);
    (0..100).for_each(|_| process.emit(&lines));
    let accounted = |process: &Process| {
        process.metric("recorded_events_total") + process.metric("dropped_events_total")
    };
    let began = std::time::Instant::now();
    while accounted(&process) < 1_000_000 {
        assert!(began.elapsed() < crate::server::PATIENCE, "{}", accounted(&process));
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert_eq!(accounted(&process), 1_000_000);
    let (dropped, gaps) = (process.metric("dropped_events_total"), process.metric("gaps_total"));
    assert!(dropped > 0 && gaps > 0, "{dropped} dropped in {gaps} gaps: the ring holds 4,096");
    process.assert_sound();
}
