//! Metrics, as Prometheus reads them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;
use towline::Config;

use crate::server::Server;

/// What a node says by the name of each metric, labels left out.
fn metrics(server: &Server) -> BTreeMap<String, f64> {
    let text = server.get("/metrics").body;
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (name, value) = line.rsplit_once(' ').expect("a name and a value");
            (name.to_owned(), value.parse().expect("a number"))
        })
        .collect()
}

#[test]
fn what_a_status_shows_is_a_metric() {
    let server = Server::start();
    server.append("t", 3);
    let emitted =
        json!([{"topic": "t", "kind": "k", "data": 1}, {"topic": "t", "kind": "k", "data": 2}]);
    let headers = [("content-type", "application/json")];
    assert_eq!(server.call("POST", "/v1/emit", &headers, &emitted.to_string()).status, 202);
    let status = server.get("/v1/status").json();
    let metrics = metrics(&server);
    let says = |name: &str| metrics[&format!("towline_{name}")];
    assert_eq!(says("emitted_events_total"), 2.0);
    assert_eq!(says("authors"), status["authors"].as_f64().unwrap());
    assert_eq!(says("disk_bytes"), status["bytes"].as_f64().unwrap());
    assert_eq!(says("branched_authors"), 0.0);
    assert_eq!(says("configured_peers"), 0.0);
    assert_eq!((says("degraded"), says("poisoned"), says("disk_full")), (0.0, 0.0, 0.0));
    assert_eq!((says("pending_changes"), says("pending_bytes")), (0.0, 0.0));
    assert_eq!((says("damaged_changes"), says("missing_entries")), (0.0, 0.0));
    assert_eq!(says("store_readable"), 1.0);
}

#[test]
fn what_was_removed_is_not_counted_as_held() {
    let directory = tempfile::tempdir().unwrap();
    let open = || Server::with(Config::new(directory.path()));
    // Of the newest segment nothing goes, and a lifetime is one.
    let mut before = open();
    (0..3).for_each(|n| before.append("t", n));
    before.shut_down();
    let server = open();
    server.append("t", 3);
    let counted = || {
        let metrics = metrics(&server);
        (metrics["towline_entries"], metrics["towline_removed_entries_total"])
    };
    assert_eq!(counted(), (4.0, 0.0));
    assert_eq!(server.post("/v1/retention", r#"{"below":3}"#).status, 200);
    assert_eq!(counted(), (1.0, 3.0));
}

#[test]
fn what_a_node_does_is_counted() {
    let (first, second) = Server::pair();
    (0..3).for_each(|n| first.append("t", n));
    first.post("/v1/emit", r#"{"topic":"t","kind":"k","data":1}"#);
    while [&first, &second].iter().any(|it| it.get("/v1/status").json()["entries"] != 4) {}
    let (one, two) = (metrics(&first), metrics(&second));
    let says = |of: &BTreeMap<String, f64>, name: &str| of[&format!("towline_{name}")];
    for (of, appended, replicated) in [(&one, 4.0, 0.0), (&two, 0.0, 4.0)] {
        assert_eq!(says(of, "entries"), 4.0);
        assert_eq!(says(of, "appended_entries_total"), appended);
        assert_eq!(says(of, "replicated_entries_total"), replicated);
        assert!(says(of, "commits_total") >= 1.0);
        assert_eq!(says(of, "commit_seconds_count"), says(of, "commits_total"));
        assert!(says(of, "commit_seconds_sum") > 0.0);
        assert_eq!((says(of, "connected_peers"), says(of, "configured_peers")), (1.0, 1.0));
        assert!(says(of, "sent_bytes_total") > 0.0 && says(of, "received_bytes_total") > 0.0);
    }
    assert!(says(&one, "commits_total") >= 4.0, "each append was waited for");
    assert_eq!(
        (says(&one, "recorded_events_total"), says(&one, "dropped_events_total")),
        (1.0, 0.0)
    );
    let peer = |name: &str| says(&one, &format!("{name}{{peer=\"{}\"}}", second.node.id()));
    assert_eq!(peer("peer_connected"), 1.0);
    while {
        let name = format!("towline_peer_lag_entries{{peer=\"{}\"}}", second.node.id());
        metrics(&first)[&name] != 0.0
    } {}
    let stream = first.stream("", &[]);
    assert_eq!(says(&metrics(&first), "http_streams"), 1.0);
    drop(stream);
    while says(&metrics(&first), "http_streams") != 0.0 {}
}

#[test]
fn a_process_says_its_memory_and_when_it_began() {
    let metrics = metrics(&Server::start());
    let resident = metrics["towline_resident_memory_bytes"];
    assert!((1e6..512e6 * 1.048_576).contains(&resident), "{resident}");
    assert!(metrics["towline_start_time_seconds"] > 1.7e9);
}

#[test]
fn alerts_and_dashboard_ask_for_metrics_that_are_there() {
    let (server, _other) = Server::pair();
    server.get("/livez"); // answers are counted once there is one
    let said = server.get("/metrics").body;
    let typed: BTreeSet<&str> = said
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
        .map(|name| name.strip_prefix("towline_").expect("our prefix"))
        .collect();
    for file in [include_str!("../../docs/alerts.yml"), include_str!("../../docs/dashboard.json")] {
        let mut asked = 0;
        for after in file.split("towline_").skip(1) {
            let end = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            let name = after[..end.unwrap_or(after.len())].trim_end_matches("_bucket");
            assert!(typed.contains(name), "towline_{name} is not there: {typed:?}");
            asked += 1;
        }
        assert!(asked > 20, "{asked} metrics");
    }
}
