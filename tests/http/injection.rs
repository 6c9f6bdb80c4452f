//! Text that means something to SQL, to a path or to a header: a literal value here.

use serde_json::json;
use tempfile::TempDir;
use towline::Config;

use crate::server::{JSON, Server};

const HOSTILE: [&str; 12] = [
    "' OR '1'='1",
    "'; DROP TABLE changes; --",
    "\" OR 1=1 --",
    "x' UNION SELECT secret FROM settings --",
    "%",
    "_%",
    "../../../../etc/passwd",
    "..\\..\\key",
    "/v1/entries?limit=1#",
    "$(id)`id`",
    "{{7*7}}<img src=x onerror=alert(1)>",
    "*",
];

/// A node whose store is a database.
fn on_disk() -> (TempDir, Server) {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::with(Config::new(directory.path()));
    (directory, server)
}

fn encoded(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

fn texts(server: &Server, filter: &str) -> Vec<String> {
    let page = server.get(&format!("/v1/entries?{filter}"));
    assert_eq!(page.status, 200, "{filter}: {}", page.body);
    let entries = page.json();
    let entries = entries["entries"].as_array().unwrap().iter();
    entries.map(|entry| entry["data"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_filter_is_a_literal_value() {
    let (_directory, server) = on_disk();
    server.append("plain", "plain");
    for (n, text) in HOSTILE.iter().enumerate() {
        assert!(texts(&server, &format!("topic={}", encoded(text))).is_empty(), "{text}");
        assert!(texts(&server, &format!("grep={}", encoded(text))).is_empty(), "{text}");
        server.append(text, format!("entry {n}"));
        assert_eq!(texts(&server, &format!("topic={}", encoded(text))), [format!("entry {n}")]);
    }
    for text in HOSTILE {
        for name in ["author", "since", "until", "limit", "order", "gaps", "reverse"] {
            let answer = server.get(&format!("/v1/entries?{name}={}", encoded(text)));
            assert_eq!(answer.status, 400, "{name}={text}");
        }
        server.get(&format!("/v1/entries?tenant={}", encoded(text))).is_problem(400, "E0002");
        server.get(&format!("/v1/entries?after={}", encoded(text))).is_problem(400, "E0006");
        server.get(&format!("/v1/entries?{}=1", encoded(text))).is_problem(400, "E0001");
        let kind = server.get(&format!("/v1/entries?kind={}", encoded(text)));
        let known = if text.contains(char::is_whitespace) { 400 } else { 200 };
        assert_eq!(kind.status, known, "{text}");
    }
    assert_eq!(texts(&server, "limit=100").len(), HOSTILE.len() + 1);
}

#[test]
fn a_key_and_an_attribute_are_literal_values() {
    let (_directory, server) = on_disk();
    for text in HOSTILE {
        let draft = json!({
            "topic": "t", "kind": "k", "data": text, "attributes": {"a": text},
        });
        let headers = [("content-type", JSON), ("idempotency-key", text)];
        let first = server.call("POST", "/v1/entries", &headers, &draft.to_string());
        let again = server.call("POST", "/v1/entries", &headers, &draft.to_string());
        assert_eq!((first.status, again.status), (201, 201), "{text}");
        assert_eq!(first.json(), again.json());
    }
    assert_eq!(texts(&server, "limit=100"), HOSTILE);
}

#[test]
fn a_path_leads_to_nothing_outside() {
    let server = Server::start();
    for path in [
        "/page/../entries.rs",
        "/page/..%2fentries.rs",
        "/page/%2e%2e/%2e%2e/Cargo.toml",
        "/page/....//....//etc/passwd",
        "/page//etc/passwd",
        "/page/index.html%00.js",
        "/page/\\..\\key",
    ] {
        let request =
            format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        let answer = server.raw(request.as_bytes());
        let status = &answer[9..12];
        assert!(["400", "404"].contains(&status), "{path}: {answer}");
    }
    let id = server.node.id();
    for name in ["0%2f..", "0%00", "-1", "1e3", "18446744073709551616", "0@..", "0%20or%201=1"] {
        server.get(&format!("/v1/entries/{id}/{name}")).is_problem(400, "E0001");
    }
    server.get(&format!("/v1/entries/{id}/18446744073709551615")).is_problem(404, "E0007");
}

#[test]
fn nothing_that_was_asked_becomes_a_header() {
    let server = Server::start();
    let topic = "a\u{85}b ä";
    for text in ["a", "b"] {
        server.append("t", text);
    }
    let split = "x%0d%0aset-cookie:%20a=b";
    for path in [
        format!("/v1/entries?limit=1&grep={split}"),
        format!("/v1/entries?limit=1&after={split}"),
        format!("/v1/entries/{split}/0"),
        format!("/{split}"),
        format!("/page/{split}"),
        format!("/v1/entries?{split}=1"),
        format!("/v1/entries?topic={}", encoded(topic)),
    ] {
        let request =
            format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        let answer = server.raw(request.as_bytes());
        let head = answer.split("\r\n\r\n").next().unwrap().to_ascii_lowercase();
        assert!(!head.contains("set-cookie"), "{path}: {head}");
    }
    let next = server.get("/v1/entries?limit=1&since=1h&grep=");
    assert!(next.header("link").contains("grep=&"), "{}", next.header("link"));
}

#[test]
fn cursors_are_read_exactly_and_belong_to_their_store() {
    let (server, other) = (Server::start(), Server::start());
    (0..3).for_each(|n| server.append("t", n));
    let page = server.get("/v1/entries?order=arrival&limit=1").json();
    let cursor = page["next"].as_str().unwrap().to_owned();
    let (store, offset) = cursor.rsplit_once('.').unwrap();
    let max = u64::MAX;
    let author = server.node.id();
    for forged in [
        cursor.to_uppercase(),
        format!("{cursor} "),
        format!("{cursor}\0"),
        format!("{cursor}'"),
        format!("{store}.0{offset}"),
        format!("{store}.{max}"),
        format!("{store}.{max}0"),
        format!("{store}.-1"),
        format!("{store}.1.x"),
        format!("{store}.1.a.0.{author}.0.{author}.{author}"),
        "o:".repeat(2_000),
        cursor.replace("o:", "f:"),
    ] {
        let asked = server.get(&format!("/v1/entries?order=arrival&after={}", encoded(&forged)));
        asked.is_problem(400, "E0006");
        assert!(asked.body.len() < 1_000, "a refusal repeats little of what was sent");
        server.get(&format!("/v1/stream?after={}", encoded(&forged))).is_problem(400, "E0006");
    }
    other.get(&format!("/v1/entries?order=arrival&after={cursor}")).is_problem(400, "E0006");
    let listed = server.get("/v1/entries?order=author&limit=1").json();
    let mut parts: Vec<&str> = listed["next"].as_str().unwrap().split('.').collect();
    let max = max.to_string();
    parts[5] = &max; // the seq, behind store, offset, order, time and author
    let place = parts.join(".");
    let beyond = server.get(&format!("/v1/entries?order=author&after={place}"));
    assert_eq!(beyond.status, 200, "{}", beyond.body);
    assert_eq!(beyond.json()["entries"], json!([]), "a place that no entry has is one, too");
}
