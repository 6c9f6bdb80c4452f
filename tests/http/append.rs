use serde_json::json;

use crate::server::{JSON, NDJSON, Server};

const DRAFT: &str = r#"{"topic":"t","kind":"k","data":{"n":1}}"#;

fn entries(server: &Server) -> usize {
    server.get("/v1/entries").json()["entries"].as_array().unwrap().len()
}

#[test]
fn one_draft_gets_an_array_with_one_receipt() {
    let server = Server::start();
    let answer = server.post("/v1/entries", DRAFT);
    assert_eq!(answer.status, 201);
    assert_eq!(answer.header("content-type"), JSON);
    let receipts = answer.json();
    assert_eq!(receipts.as_array().unwrap().len(), 1);
    assert_eq!(receipts[0]["id"], format!("{}:0", server.node.id()));
    assert_eq!(receipts[0]["offset"], 0);
    assert_eq!(receipts[0]["hash"].as_str().unwrap().len(), 64);
}

#[test]
fn arrays_and_lines_get_a_receipt_for_each_draft_in_order() {
    let server = Server::start();
    let array = server.post("/v1/entries", &format!("[{DRAFT},{DRAFT}]"));
    let lines = format!("{DRAFT}\r\n\n{DRAFT}");
    let lines = server.call(
        "POST",
        "/v1/entries",
        &[("content-type", "application/X-NDJSON; charset=utf-8")],
        &lines,
    );
    for (answer, first) in [(array, 0), (lines, 2)] {
        assert_eq!(answer.status, 201, "{}", answer.body);
        let offsets: Vec<_> =
            answer.json().as_array().unwrap().iter().map(|r| r["offset"].clone()).collect();
        assert_eq!(offsets, [json!(first), json!(first + 1)]);
    }
}

#[test]
fn a_body_with_one_bad_draft_appends_nothing() {
    let server = Server::start();
    let bad = r#"{"topic":"t","kind":"towline.gap","data":1}"#;
    let array = server.post("/v1/entries", &format!("[{DRAFT},{bad}]"));
    array.is_problem(400, "E0002");
    assert!(array.json()["detail"].as_str().unwrap().starts_with("draft 2: "));
    let lines = format!("{DRAFT}\n{{nope\n{DRAFT}\n");
    let lines = server.call("POST", "/v1/entries", &[("content-type", NDJSON)], &lines);
    lines.is_problem(400, "E0004");
    assert!(lines.json()["detail"].as_str().unwrap().starts_with("line 2: "));
    assert_eq!(entries(&server), 0);
}

#[test]
fn a_retry_with_the_same_key_appends_nothing() {
    let server = Server::start();
    let with_key = |key: &str, body: &str| {
        let headers = [("content-type", JSON), ("idempotency-key", key)];
        server.call("POST", "/v1/entries", &headers, body)
    };
    let (first, again) = (with_key("a", DRAFT), with_key("a", DRAFT));
    assert_eq!((first.status, again.status), (201, 201));
    assert_eq!(first.json(), again.json());
    assert_eq!(entries(&server), 1);
    with_key("a", &format!("[{DRAFT},{DRAFT}]")).is_problem(409, "E0008");
    with_key(&"x".repeat(257), DRAFT).is_problem(400, "E0001");
    assert_eq!(with_key(&"x".repeat(256), DRAFT).status, 201);
}

#[test]
fn payloads_come_back_as_they_were_sent() {
    let server = Server::start();
    let exact = r#"{"b":1.0,"a":123456789012345678901234567890,"a":"\u0041"}"#;
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    for data in [exact, &deep, "null"] {
        let draft = format!(r#"{{"topic":"t","kind":"k","data":{data}}}"#);
        assert_eq!(server.post("/v1/entries", &draft).status, 201);
        let newest = server.get("/v1/entries?reverse=true&limit=1");
        assert!(newest.body.contains(&format!("\"data\":{data},")));
    }
}

#[test]
fn peers_acknowledge_what_they_have_persisted() {
    let (first, second) = Server::pair();
    let answer = first.post("/v1/entries?ack=peers=1&timeout=15s", DRAFT);
    assert_eq!(answer.status, 201, "{}", answer.body);
    assert_eq!(entries(&second), 1);
    assert_eq!(first.get("/v1/frontier").body, second.get("/v1/frontier").body);
}

#[test]
fn without_enough_peers_the_receipts_come_with_a_problem() {
    let server = Server::start();
    let answer = server.post("/v1/entries?ack=peers=1&timeout=10ms", DRAFT);
    answer.is_problem(504, "E0204");
    assert_eq!(answer.json()["receipts"][0]["offset"], 0);
    assert_eq!(entries(&server), 1);
}
