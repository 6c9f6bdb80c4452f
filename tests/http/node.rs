use std::collections::BTreeSet;

use serde_json::json;
use towline::{Config, http};

use crate::server::Server;

#[test]
fn a_node_says_how_it_is() {
    let server = Server::with(Config::in_memory().name("alice"));
    server.append("t", 1);
    let status = server.get("/v1/status").json();
    assert_eq!(status["node"], server.node.id().to_string());
    assert_eq!((&status["name"], &status["entries"]), (&json!("alice"), &json!(1)));
    let nodes = server.get("/v1/nodes").json();
    assert_eq!(nodes["nodes"][0]["self"], true);
    assert_eq!(server.get("/livez").status, 200);
    let ready = server.get("/readyz");
    assert_eq!((ready.status, ready.json()), (200, json!({"ready": true, "state": "ok"})));
    assert_eq!(server.get("/v1/gaps").json(), json!({"gaps": [], "next": null}));
}

#[test]
fn a_frontier_names_the_heads_of_every_author() {
    let server = Server::start();
    assert_eq!(server.get("/v1/frontier").json()["authors"], json!({}));
    server.append("t", 1);
    let entry = server.get("/v1/entries").json()["entries"][0].clone();
    let frontier = server.get("/v1/frontier").json();
    let head = json!([{"next_seq": 1, "hash": entry["change"], "segment": entry["segment"]}]);
    assert_eq!(frontier["authors"], json!({server.node.id().to_string(): head}));
    assert_eq!(frontier["digest"], server.get("/v1/status").json()["frontier"]);
}

#[test]
fn a_node_that_is_cut_off_is_ready_and_degraded() {
    let (server, other) = Server::pair();
    let mut other = other;
    server.post("/v1/entries?ack=peers=1", r#"{"topic":"t","kind":"k","data":1}"#);
    other.shut_down();
    let started = std::time::Instant::now();
    loop {
        let ready = server.get("/readyz");
        assert_eq!(ready.status, 200);
        if ready.json()["state"] == "degraded" {
            break;
        }
        assert!(started.elapsed() < crate::server::PATIENCE);
    }
}

#[test]
fn every_metric_has_a_type_and_a_value() {
    let server = Server::start();
    server.append("t", 1);
    let classic = server.get("/metrics");
    assert_eq!(classic.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    let typed: BTreeSet<&str> = classic
        .body
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
        .collect();
    for line in classic.body.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').unwrap();
        assert!(value.parse::<f64>().is_ok(), "{line}");
        let name = name.split('{').next().unwrap();
        let ends = ["", "_bucket", "_sum", "_count"];
        let is_typed =
            |end: &&str| name.strip_suffix(*end).is_some_and(|name| typed.contains(name));
        assert!(ends.iter().any(is_typed), "{line}");
    }
    assert!(classic.body.contains("\ntowline_appended_entries_total 1\n"));
    let open =
        server.get_as("/metrics", "application/openmetrics-text;version=1.0.0;q=0.5,*/*;q=0.1");
    assert!(open.header("content-type").starts_with("application/openmetrics-text;"));
    assert!(open.body.ends_with("# EOF\n"));
}

#[test]
fn an_address_that_is_taken_is_named() {
    let server = Server::start();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let error = runtime.block_on(http::bind(server.address)).unwrap_err();
    assert!(matches!(error, http::BindError::Taken(address) if address == server.address));
    assert!(error.to_string().contains(&server.address.to_string()));
}
