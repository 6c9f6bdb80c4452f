use serde_json::Value;

use crate::server::{NDJSON, Server};

fn ids(page: &Value) -> Vec<String> {
    let entries = page["entries"].as_array().unwrap();
    let id = |entry: &Value| entry["id"].as_str().unwrap().to_owned();
    entries.iter().map(id).collect()
}

/// Two nodes' entries, all of them on the first node.
fn mixed() -> (Server, Server) {
    let (first, second) = Server::pair();
    for round in 0..3 {
        for server in [&first, &second] {
            let drafts: Vec<_> = (0..7)
                .map(|n| serde_json::json!({"topic": "t", "kind": "k", "data": [round, n]}))
                .collect();
            let body = serde_json::json!(drafts).to_string();
            let answer = server.post("/v1/entries?ack=peers=1&timeout=15s", &body);
            assert_eq!(answer.status, 201, "{}", answer.body);
        }
    }
    (first, second)
}

#[test]
fn pages_joined_are_one_big_page_in_every_order() {
    let (server, _other) = mixed();
    for order in ["time", "arrival", "author"] {
        for reverse in ["false", "true"] {
            let path = format!("/v1/entries?order={order}&reverse={reverse}");
            let whole = server.get(&path).json();
            assert_eq!(ids(&whole).len(), 42);
            assert_eq!(whole["next"], Value::Null);
            let (mut joined, mut next) = (Vec::new(), format!("{path}&limit=5"));
            while !next.is_empty() {
                let page = server.get(&next);
                joined.extend(ids(&page.json()));
                let link = page.header("link");
                assert_eq!(link.is_empty(), page.json()["next"].is_null());
                next = link.trim_start_matches('<').split('>').next().unwrap().to_owned();
            }
            assert_eq!(joined, ids(&whole), "{path}");
        }
    }
}

#[test]
fn an_explained_query_says_what_was_read_and_shows_no_entries() {
    let server = Server::start();
    for topic in ["a", "b", "a"] {
        server.append(topic, 1);
    }
    let explained = server.get("/v1/entries?topic=a&explain=true").json();
    assert_eq!(explained["changes"]["read"], 2);
    assert_eq!(explained["changes"]["pruned"]["topic"], 1);
    assert_eq!((&explained["returned"], &explained["entries"]), (&2.into(), &Value::Null));
    assert_eq!(server.get("/v1/entries?topic=a&explain=false").json()["next"], Value::Null);
    assert_eq!(server.get("/v1/entries?explain=perhaps").status, 400);
}

#[test]
fn the_link_leads_where_next_does() {
    let server = Server::start();
    (0..3).for_each(|n| server.append("a b&c", n));
    let page = server.get("/v1/entries?topic=a+b%26c&limit=1&since=1h");
    let cursor = page.json()["next"].as_str().unwrap().to_owned();
    let link = page.header("link");
    assert!(link.ends_with(">; rel=\"next\""));
    assert!(link.contains("topic=a+b%26c&limit=1&since=2"), "{link}");
    assert!(link.contains(&cursor.replace(':', "%3A")), "{link}");
}

#[test]
fn filters_narrow_a_page() {
    let server = Server::start();
    server.append("a", "apple");
    server.append("b", "pear");
    let count = |filter: &str| ids(&server.get(&format!("/v1/entries?{filter}")).json()).len();
    let own = server.node.id();
    assert_eq!(count(&format!("author={own}")), 2);
    assert_eq!(count(&format!("author={}", "0".repeat(64))), 0);
    assert_eq!(count("topic=a"), 1);
    assert_eq!(count("kind=k&tenant=default"), 2);
    assert_eq!(count("grep=pea"), 1);
    assert_eq!(count("since=1h"), 2);
    assert_eq!(count("until=1h"), 0);
    assert_eq!(count("since=2020-01-01T00:00:00Z&until=2020-01-02T00:00:00%2B01:00"), 0);
    assert_eq!(count("gaps=true"), 0);
}

#[test]
fn a_page_as_lines_has_an_entry_a_line() {
    let server = Server::start();
    (0..3).for_each(|n| server.append("t", n));
    let page = server.get_as("/v1/entries?limit=2", NDJSON);
    assert_eq!(page.header("content-type"), NDJSON);
    assert!(page.header("link").contains("after="));
    let lines: Vec<Value> =
        page.body.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2);
    assert_eq!((&lines[0]["seq"], &lines[1]["data"]), (&0.into(), &1.into()));
}

#[test]
fn an_entry_is_found_by_its_name() {
    let server = Server::start();
    server.append("t", "x");
    let listed = server.get("/v1/entries").json()["entries"][0].clone();
    let path = format!("/v1/entries/{}/0", server.node.id());
    assert_eq!(server.get(&path).json(), listed);
    let segment = listed["segment"].as_str().unwrap();
    assert_eq!(server.get(&format!("{path}@{segment}")).json(), listed);
    let other = "0".repeat(32);
    server.get(&format!("{path}@{other}")).is_problem(404, "E0007");
    server.get(&format!("/v1/entries/{}/1", server.node.id())).is_problem(404, "E0007");
}
