//! Requests that two readers could take for different ones: refused, or answered once and cut off, and
//! never followed by a request that was hidden in them.

use crate::server::Server;

const DRAFT: &str = r#"{"topic":"t","kind":"k","data":"smuggled"}"#;

/// A request that appends, as it would be hidden in another one.
fn hidden() -> String {
    let length = DRAFT.len();
    format!(
        "POST /v1/entries HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\nconnection: close\r\n\r\n{DRAFT}"
    )
}

/// The statuses of all answers to these bytes, until the node closes the connection.
fn statuses(server: &Server, bytes: &[u8]) -> Vec<u16> {
    let answers = server.raw(bytes);
    let starts = answers.split("HTTP/1.").skip(1);
    starts.map(|answer| answer[2..5].parse().unwrap()).collect()
}

fn entries(server: &Server) -> usize {
    server.get("/v1/entries").json()["entries"].as_array().unwrap().len()
}

/// Asserts that a POST with these headers and this body is refused as malformed, and nothing more of
/// the connection is read.
fn refused(server: &Server, headers: &str, body: &str) {
    let head = "POST /v1/entries HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json";
    let request = format!("{head}\r\n{headers}\r\n\r\n{body}{}", hidden());
    assert_eq!(statuses(server, request.as_bytes()), [400], "{headers:?}");
}

#[test]
fn a_body_with_two_lengths_hides_no_request() {
    let server = Server::start();
    let chunked = "transfer-encoding: chunked";
    let counted = format!("content-length: {}", hidden().len() + 5);
    for headers in [format!("{chunked}\r\n{counted}"), format!("{counted}\r\n{chunked}")] {
        let request = format!(
            "GET /livez HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n\r\n0\r\n\r\n{}",
            hidden()
        );
        assert_eq!(statuses(&server, request.as_bytes()), [200]);
    }
    refused(&server, "content-length: 5\r\ncontent-length: 6", "hello");
    refused(&server, "content-length: 5, 6", "hello");
    assert_eq!(entries(&server), 0);
}

#[test]
fn a_length_that_is_no_number_is_refused() {
    let server = Server::start();
    for length in ["+5", "-5", "0x5", "5 5", "", "18446744073709551616", "5\u{b}"] {
        refused(&server, &format!("content-length: {length}"), "hello");
    }
    assert_eq!(entries(&server), 0);
}

#[test]
fn a_coding_that_is_not_chunked_is_refused() {
    let server = Server::start();
    for coding in
        ["identity", "gzip", "xchunked", "chunked, identity", "chunked\u{b}", "\"chunked\""]
    {
        refused(&server, &format!("transfer-encoding: {coding}"), "0\r\n\r\n");
    }
    let old = "POST /v1/entries HTTP/1.0\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n";
    assert_eq!(statuses(&server, old.as_bytes()), [400]);
    assert_eq!(entries(&server), 0);
}

#[test]
fn chunks_that_are_spelled_wrong_are_refused() {
    let server = Server::start();
    let chunks = [
        "5\nhello\r\n0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhelloo\r\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "5;\n\r\nhello\r\n0\r\n\r\n",
        "fffffffffffffffff\r\nhello\r\n0\r\n\r\n",
        "hello",
    ];
    for body in chunks {
        refused(&server, "transfer-encoding: chunked", body);
    }
    assert_eq!(entries(&server), 0);
}

#[test]
fn heads_that_are_spelled_wrong_are_refused() {
    let server = Server::start();
    let heads = [
        "GET /livez HTTP/1.1\r\nhost: localhost\r\nx: a\r\n b\r\n\r\n",
        "GET /livez HTTP/1.1\r\nhost : localhost\r\n\r\n",
        "GET /livez HTTP/1.1\r\n host: localhost\r\n\r\n",
        "GET /livez HTTP/1.1\r\nhost: localhost\r\nx\r\n\r\n",
        "GET /livez HTTP/1.1\r\nhost: localhost\r\nx: a\rb\r\n\r\n",
        "GET /livez HTTP/1.1\r\nhost: localhost\r\nx: a\0b\r\n\r\n",
        "GET /livez HTTP/1.1\r\nhost: localhost\r\nx\0: a\r\n\r\n",
        "GET /li\0vez HTTP/1.1\r\nhost: localhost\r\n\r\n",
        "GET /livez HTTP/9.9\r\nhost: localhost\r\n\r\n",
        "GET /livez HTTP/1.1 and more\r\nhost: localhost\r\n\r\n",
        "GE(T /livez HTTP/1.1\r\nhost: localhost\r\n\r\n",
        "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}\u{fc}\u{3}\u{3}",
    ];
    for head in heads {
        let request = format!("{head}{}", hidden());
        assert_eq!(statuses(&server, request.as_bytes()), [400], "{head:?}");
    }
    let preface = format!("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n{}", hidden());
    assert!(statuses(&server, preface.as_bytes()).is_empty(), "cut off without a word");
    assert_eq!(entries(&server), 0);
}

#[test]
fn a_line_that_ends_in_a_bare_line_feed_starts_no_other_host() {
    let server = Server::start();
    let split = "GET /livez HTTP/1.1\r\nhost: localhost\r\nx: a\nhost: evil.example\r\n\
                 connection: close\r\n\r\n";
    assert_eq!(statuses(&server, split.as_bytes()), [421]);
    let bare = "GET /livez HTTP/1.1\nhost: localhost\nconnection: close\n\n";
    assert_eq!(statuses(&server, bare.as_bytes()), [200]);
}

#[test]
fn an_answer_before_the_body_says_that_the_connection_ends() {
    let server = Server::start();
    let head = "POST /v1/entries HTTP/1.1\r\nhost: localhost\r\ncontent-type: text/plain\r\n\
                content-length: 9\r\n\r\n";
    let answer = server.raw(head.as_bytes());
    assert!(answer.starts_with("HTTP/1.1 415"), "{answer}");
    assert!(answer.contains("connection: close\r\n"), "{answer}");
}

#[test]
fn what_follows_a_refused_body_is_no_request() {
    let server = Server::start();
    let length = hidden().len();
    let unread = format!(
        "POST /v1/entries HTTP/1.1\r\nhost: localhost\r\ncontent-type: text/plain\r\n\
         content-length: {length}\r\nconnection: close\r\n\r\n{}",
        hidden()
    );
    assert_eq!(statuses(&server, unread.as_bytes()), [415]);
    let foreign = format!(
        "POST /v1/entries HTTP/1.1\r\nhost: evil.example\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\nconnection: close\r\n\r\n{}",
        hidden()
    );
    assert_eq!(statuses(&server, foreign.as_bytes()), [421]);
    assert_eq!(entries(&server), 0);
}
