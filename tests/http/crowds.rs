//! Clients that are too many, too slow, or send without an end.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use towline::Config;
use towline::http::Serving;

use crate::server::{PATIENCE, Server};

const GET: &[u8] = b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n";
const STREAM: &[u8] = b"GET /v1/stream HTTP/1.1\r\nhost: localhost\r\n\r\n";
const CONNECTIONS: usize = 256;

fn connect(server: &Server) -> TcpStream {
    let connection = TcpStream::connect(server.address).unwrap();
    connection.set_read_timeout(Some(PATIENCE)).unwrap();
    connection
}

/// Sends a request, and returns the status of the answer.
fn ask(connection: &mut TcpStream, request: &[u8]) -> String {
    connection.write_all(request).unwrap();
    let mut status = [0; 12];
    connection.read_exact(&mut status).unwrap();
    String::from_utf8(status.to_vec()).unwrap()
}

fn connections(server: &Server) -> i64 {
    server.node.metrics().http_connections.get()
}

#[test]
fn the_connection_after_the_last_place_waits_for_one() {
    let server = Server::start();
    let mut all: Vec<TcpStream> = (0..CONNECTIONS).map(|_| connect(&server)).collect();
    for connection in &mut all {
        assert_eq!(ask(connection, GET), "HTTP/1.1 200");
    }
    assert_eq!(connections(&server), CONNECTIONS as i64);
    let mut one_more = connect(&server);
    one_more.write_all(GET).unwrap();
    one_more.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let mut status = [0; 12];
    let waits = one_more.read(&mut status).unwrap_err();
    assert!(matches!(waits.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{waits}");
    drop(all.pop());
    one_more.set_read_timeout(Some(PATIENCE)).unwrap();
    one_more.read_exact(&mut status).unwrap();
    assert_eq!(&status, b"HTTP/1.1 200");
    assert_eq!(connections(&server), CONNECTIONS as i64);
}

#[test]
fn streams_leave_places_for_other_requests() {
    let server = Server::start();
    let mut streams: Vec<TcpStream> = (0..CONNECTIONS + 10).map(|_| connect(&server)).collect();
    for stream in &mut streams {
        assert_eq!(ask(stream, STREAM), "HTTP/1.1 200");
    }
    assert_eq!(server.get("/v1/status").status, 200);
    assert_eq!(server.node.metrics().http_streams.get(), streams.len() as i64);
}

#[test]
fn the_stream_after_the_last_place_is_refused() {
    let serving = Serving { streams: 2, ..Serving::open() };
    let server = Server::serving(Config::in_memory(), serving);
    let mut streams = [(); 2].map(|()| connect(&server));
    for stream in &mut streams {
        assert_eq!(ask(stream, STREAM), "HTTP/1.1 200");
    }
    server.get("/v1/stream").is_problem(503, "E0207");
    assert_eq!(server.get("/v1/status").status, 200);
    drop(streams);
    while server.get("/v1/stream?until_caught_up=true").status != 200 {}
}

#[test]
fn a_connection_that_says_nothing_or_too_little_is_closed() {
    let server = Server::start();
    let mut silent = connect(&server);
    let mut idle = connect(&server);
    assert_eq!(ask(&mut idle, GET), "HTTP/1.1 200");
    let mut slow = connect(&server);
    let dripping = std::thread::spawn(move || {
        let mut sent = 0;
        for byte in
            b"GET /livez HTTP/1.1\r\nhost: localhost\r\nx: ".iter().chain([b'x'].iter().cycle())
        {
            if slow.write_all(&[*byte]).is_err() {
                return sent;
            }
            sent += 1;
            std::thread::sleep(Duration::from_millis(50));
        }
        sent
    });
    for connection in [&mut silent, &mut idle] {
        let mut rest = Vec::new();
        connection.read_to_end(&mut rest).unwrap();
    }
    assert!(dripping.join().unwrap() < 16 << 10, "it was closed before its head was too long");
    assert_eq!(server.get("/livez").status, 200);
}

#[test]
fn heads_without_an_end_are_refused() {
    let server = Server::start();
    let many = "x: y\r\n".repeat(200);
    let long = "x".repeat(17 << 10);
    for (head, status) in [
        (format!("GET /livez HTTP/1.1\r\nhost: localhost\r\n{many}"), "431"),
        (format!("GET /livez HTTP/1.1\r\nhost: localhost\r\nx: {long}"), "431"),
        (format!("GET /{long} HTTP/1.1\r\nhost: localhost\r\n"), "431"),
        (format!("GET /livez HTTP/1.1\r\n{long}"), "400"),
    ] {
        let answer = server.raw(format!("{head}\r\n\r\n").as_bytes());
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    }
}

#[test]
fn a_body_without_an_end_is_not_kept() {
    let server = Server::start();
    let mut client = connect(&server);
    let head = "POST /v1/entries HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
                transfer-encoding: chunked\r\n\r\n";
    client.write_all(head.as_bytes()).unwrap();
    let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x10000));
    for _ in 0..300 {
        client.write_all(chunk.as_bytes()).unwrap();
    }
    client.write_all(b"0\r\n\r\n").unwrap();
    let mut status = [0; 12];
    client.read_exact(&mut status).unwrap();
    assert_eq!(&status, b"HTTP/1.1 413");
}

#[test]
fn answers_are_counted_by_their_status() {
    let server = Server::start();
    server.get("/livez");
    server.get("/v1/none").is_problem(404, "E0007");
    let metrics = server.get("/metrics").body;
    assert!(metrics.contains("\ntowline_http_answers_total{status=\"200\"} 1\n"), "{metrics}");
    assert!(metrics.contains("\ntowline_http_answers_total{status=\"404\"} 1\n"), "{metrics}");
}
