use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::Value;
use towline::Config;

use crate::server::{Event, NDJSON, Server};

fn offsets(events: &[Event]) -> Vec<u64> {
    let entries = events.iter().filter(|event| event.name == "entry");
    entries.map(|event| event.data["offset"].as_u64().unwrap()).collect()
}

#[test]
fn a_stream_tells_the_log_and_that_it_has_caught_up() {
    let server = Server::start();
    (0..3).for_each(|n| server.append("t", n));
    let stream = server.stream("until_caught_up=true", &[]);
    assert_eq!(stream.content_type, "text/event-stream");
    let events = stream.events();
    assert_eq!(offsets(&events), [0, 1, 2]);
    let last = events.last().unwrap();
    assert_eq!(last.name, "caught-up");
    assert_eq!(last.data["cursor"], last.id);
}

#[test]
fn resuming_misses_nothing_and_repeats_nothing() {
    let server = Server::start();
    (0..20).for_each(|n| server.append("t", n));
    for cut in 1..=20 {
        let mut stream = server.stream("", &[]);
        let mut seen: Vec<Event> = (0..cut).map(|_| stream.event().unwrap()).collect();
        drop(stream);
        let id = seen.last().unwrap().id.clone();
        // The header goes before the address, which an EventSource repeats unchanged.
        let headers = [("last-event-id", id.as_str())];
        let rest = server.stream("after=end&until_caught_up=true", &headers).events();
        let after = server.stream(&format!("after={id}&until_caught_up=true"), &[]).events();
        assert_eq!(offsets(&rest), offsets(&after));
        seen.extend(rest);
        assert_eq!(offsets(&seen), (0..20).collect::<Vec<u64>>());
    }
}

#[test]
fn a_stream_from_the_end_tells_what_comes_after_its_opening() {
    let server = Server::start();
    server.append("t", "before");
    let mut stream = server.stream("after=end", &[]);
    server.append("t", "after");
    assert_eq!(stream.event().unwrap().name, "caught-up");
    assert_eq!(stream.event().unwrap().data["data"], "after");
}

#[test]
fn a_stream_of_the_last_goes_on_live() {
    let server = Server::start();
    (0..5).for_each(|n| server.append("t", n));
    let mut stream = server.stream("last=2", &[]);
    let names = [(); 3].map(|()| stream.event().unwrap());
    assert_eq!(offsets(&names), [3, 4]);
    server.append("t", "live");
    assert_eq!(stream.event().unwrap().data["offset"], 5);
}

#[test]
fn lines_are_entries_with_their_cursors() {
    let server = Server::start();
    (0..3).for_each(|n| server.append("t", n));
    let mut stream = server.stream("until_caught_up=true", &[("accept", NDJSON)]);
    assert_eq!(stream.content_type, NDJSON);
    let lines: Vec<Value> = std::iter::from_fn(|| stream.line())
        .map(|line| serde_json::from_str(&line).unwrap())
        .collect();
    assert_eq!(lines.len(), 3);
    let cursor = lines[1]["cursor"].as_str().unwrap();
    let rest = server.stream(&format!("after={cursor}&until_caught_up=true"), &[]);
    assert_eq!(offsets(&rest.events()), [2]);
}

#[test]
fn gaps_come_whatever_the_filter_is() {
    let server = Server::with(Config::in_memory().emit_ring(2));
    let event = r#"{"topic":"t","kind":"k","data":1}"#;
    let events = format!("[{}{event}]", format!("{event},").repeat(5_000));
    let mut stream = server.stream("topic=other", &[]);
    assert_eq!(stream.event().unwrap().name, "caught-up");
    assert_eq!(server.post("/v1/emit", &events).status, 202);
    let gap = stream.event().unwrap();
    assert_eq!((&*gap.name, &gap.data["kind"]), ("gap", &"towline.gap".into()));
    assert_eq!(gap.data["data"]["reason"], "lag");
}

#[test]
fn a_silent_stream_has_a_heartbeat() {
    let server = Server::start();
    let mut events = server.stream("", &[]);
    let mut lines = server.stream("", &[("accept", NDJSON)]);
    let started = Instant::now();
    assert_eq!(events.event().unwrap().name, "caught-up");
    assert_eq!(events.line().unwrap(), ": heartbeat");
    assert_eq!(lines.line().unwrap(), "");
    assert!(started.elapsed() < Duration::from_secs(15));
}

#[test]
fn a_stream_ends_with_the_node() {
    let mut server = Server::start();
    let mut stream = server.stream("after=end", &[]);
    assert_eq!(stream.event().unwrap().name, "caught-up");
    server.shut_down();
    assert!(stream.event().is_none());
}

#[test]
fn a_client_that_does_not_read_holds_up_no_shutdown() {
    let mut server = Server::start();
    let large = "x".repeat(1 << 19);
    (0..60).for_each(|_| server.append("t", &large));
    let mut client = TcpStream::connect(server.address).unwrap();
    client.write_all(b"GET /v1/stream HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    let mut head = [0; 15];
    client.read_exact(&mut head).unwrap();
    assert_eq!(&head, b"HTTP/1.1 200 OK");
    let started = Instant::now();
    server.shut_down();
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_client_that_reconnects_to_another_store_is_told_and_gets_the_log() {
    let (old, server) = (Server::start(), Server::start());
    (0..2).for_each(|n| old.append("t", n));
    server.append("t", "new");
    let id = old.stream("until_caught_up=true", &[]).events().remove(0).id;
    let headers = [("last-event-id", id.as_str())];
    let events = server.stream("until_caught_up=true", &headers).events();
    let names: Vec<&str> = events.iter().map(|event| event.name.as_str()).collect();
    assert_eq!(names, ["reset", "entry", "caught-up"]);
    assert!(events[0].data["reason"].as_str().unwrap().contains("another node"), "{events:?}");
    assert!(events[0].id.is_empty());
    server.get(&format!("/v1/stream?after={id}")).is_problem(400, "E0006");
    // Lines have no word for it, so whoever reads them is refused.
    let lines = [("accept", NDJSON), ("last-event-id", "o:0000000000000000.1")];
    server.call("GET", "/v1/stream", &lines, "").is_problem(400, "E0006");
}

#[test]
fn a_stream_with_portable_cursors_goes_on_at_another_node() {
    let (first, second) = Server::pair();
    (0..4).for_each(|n| first.append("t", n));
    let events = first.stream("until_caught_up=true&cursors=frontier", &[]).events();
    let id = &events[1].id;
    assert!(id.starts_with("f:"), "{id}");
    let mut rest = second.stream("", &[("last-event-id", id.as_str())]);
    let mut seen = Vec::new();
    while seen.len() < 2 {
        let event = rest.event().unwrap();
        assert!(event.id.starts_with("f:"), "whoever came with such a cursor gets such cursors");
        seen.extend(event.data["data"].as_u64());
    }
    assert_eq!(seen, [2, 3]);
    let listed = format!("/v1/entries?after={id}");
    first.get(&listed).is_problem(400, "E0006");
    first.get("/v1/stream?cursors=x").is_problem(400, "E0001");
    Server::start().get(&format!("/v1/stream?after={id}")).is_problem(400, "E0006");
}
