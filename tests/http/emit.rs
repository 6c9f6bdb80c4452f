use std::time::Instant;

use serde_json::{Value, json};
use towline::Config;
use towline::node::Delivery;
use towline::words::Kind;

use crate::server::{PATIENCE, Server};

fn events(count: usize) -> String {
    let events: Vec<Value> =
        (0..count).map(|n| json!({"topic": "t", "kind": "k", "data": n})).collect();
    json!(events).to_string()
}

/// The status once all that was emitted is accounted for.
fn at_rest(server: &Server) -> Value {
    let started = Instant::now();
    loop {
        let status = server.get("/v1/status").json();
        let number = |name: &str| status[name].as_u64().unwrap();
        if number("emitted") == number("recorded") + number("dropped") {
            return status;
        }
        assert!(started.elapsed() < PATIENCE, "{status}");
    }
}

#[test]
fn events_take_consecutive_numbers() {
    let server = Server::start();
    let answer = server.post("/v1/emit", &events(3));
    assert_eq!(answer.status, 202);
    assert_eq!(answer.json(), json!({"emitted": {"from": 0, "to": 2}}));
    let answer = server.post("/v1/emit", r#"{"topic":"t","kind":"k","data":1}"#);
    assert_eq!(answer.json(), json!({"emitted": {"from": 3, "to": 3}}));
}

#[test]
fn what_is_emitted_is_recorded_or_stated_as_a_gap() {
    let server = Server::with(Config::in_memory().emit_ring(2));
    assert_eq!(server.post("/v1/emit", &events(5_000)).status, 202);
    assert_eq!(server.post("/v1/emit", &events(1)).status, 202);
    let status = at_rest(&server);
    assert_eq!(status["emitted"], 5_001);
    let gaps = server.get("/v1/gaps").json();
    let counts = gaps["gaps"].as_array().unwrap().iter();
    let dropped: u64 = counts.map(|gap| gap["data"]["count"].as_u64().unwrap()).sum();
    assert!(dropped > 0);
    assert_eq!(status["dropped"], dropped);
}

#[test]
fn a_kind_that_is_only_broadcast_takes_no_number() {
    let kind = Kind::parse("k").unwrap();
    let server = Server::with(Config::in_memory().delivery(kind, Delivery::BroadcastOnly));
    let answer = server.post("/v1/emit", &events(2));
    assert_eq!((answer.status, answer.json()), (202, json!({"emitted": null})));
}

#[test]
fn an_event_over_64_kib_is_refused_with_all_others() {
    let server = Server::start();
    let large = json!([
        {"topic": "t", "kind": "k", "data": 1},
        {"topic": "t", "kind": "k", "data": "x".repeat(64 << 10)},
    ]);
    server.post("/v1/emit", &large.to_string()).is_problem(413, "E0003");
    assert_eq!(server.get("/v1/status").json()["emitted"], 0);
}
