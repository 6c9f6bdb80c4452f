//! Payloads of any sort: kept exactly, or refused.

use serde_json::{Value, json};

use crate::server::{NDJSON, Server};

const LIMIT: usize = 1 << 20;

fn post(server: &Server, draft: &Value) -> u16 {
    server.post("/v1/entries", &draft.to_string()).status
}

fn newest(server: &Server) -> Value {
    server.get("/v1/entries?reverse=true&limit=1").json()["entries"][0].clone()
}

#[test]
fn a_payload_may_be_empty_and_as_large_as_the_limit() {
    let server = Server::start();
    let text = |text: &str| json!({"topic":"t","kind":"k","content_type":"text/plain","data":text});
    assert_eq!(post(&server, &text("")), 201);
    assert_eq!(newest(&server)["data"], "");
    assert_eq!(post(&server, &json!({"topic":"t","kind":"k","data_base64":""})), 201);
    assert_eq!(newest(&server)["data"], "", "no bytes at all are UTF-8");
    let full = "x".repeat(LIMIT);
    assert_eq!(post(&server, &text(&full)), 201);
    assert_eq!(newest(&server)["data"], full);
    server.post("/v1/entries", &text(&(full + "x")).to_string()).is_problem(413, "E0003");
}

#[test]
fn a_text_of_any_characters_comes_back_as_it_was() {
    let server = Server::start();
    let texts = [
        "\u{0}",
        "\u{1b}[2J\u{1b}]0;title\u{7}\u{9b}31m",
        "\u{202e}gnp.exe\u{2066}\u{2069}\u{200f}",
        "a\r\nb\u{2028}c\u{2029}d\u{85}e",
        "\u{feff}\u{fffd}\u{10ffff}\u{e0001}",
        "data: x\n\nid: o:1\nevent: reset\n\n",
        "</script><script>alert(1)</script>",
    ];
    for text in texts {
        let draft = json!({
            "topic": "t", "kind": "k", "content_type": "text/plain", "data": text,
            "attributes": {"as": text},
        });
        let status = post(&server, &draft);
        assert_eq!(status, 201, "{text:?}");
        let entry = newest(&server);
        assert_eq!(entry["data"], text);
        assert_eq!(entry["attributes"]["as"], text);
        let lines = server.get_as("/v1/entries?reverse=true&limit=1", NDJSON).body;
        assert_eq!(lines.matches('\n').count(), 1, "an entry is one line");
    }
    let events = server.stream("until_caught_up=true", &[]).events();
    let told: Vec<&Value> =
        events.iter().filter(|e| e.name == "entry").map(|e| &e.data["data"]).collect();
    assert_eq!(told, texts);
}

#[test]
fn bytes_that_are_no_text_come_back_as_they_were() {
    let server = Server::start();
    let draft = json!({"topic":"t","kind":"k","data_base64":"/wD+gMAK"});
    assert_eq!(post(&server, &draft), 201);
    assert_eq!(newest(&server)["data_base64"], "/wD+gMAK");
    let claimed = json!({
        "topic": "t", "kind": "k", "content_type": "application/json", "data_base64": "e25vcGU=",
    });
    assert_eq!(post(&server, &claimed), 201);
    assert_eq!(newest(&server)["data_base64"], "e25vcGU=", "what claims to be JSON and is not");
}

#[test]
fn a_body_that_is_no_text_is_refused() {
    let server = Server::start();
    let wrong: [&[u8]; 4] = [
        b"{\"topic\":\"t\",\"kind\":\"k\",\"data\":\"\xff\"}",
        b"{\"topic\":\"t\",\"kind\":\"k\",\"data\":\"\xed\xa0\x80\"}",
        b"{\"topic\":\"t\0\",\"kind\":\"k\",\"data\":1}",
        b"\xef\xbb\xbf{\"topic\":\"t\",\"kind\":\"k\",\"data\":1}",
    ];
    for body in wrong {
        let head = format!(
            "POST /v1/entries HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
             connection: close\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        let answer = server.raw(&[head.as_bytes(), body].concat());
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
        assert!(answer.contains("\"code\":\"E0004\""), "{answer}");
    }
}

#[test]
fn json_of_any_depth_and_any_number_keeps_its_very_text() {
    let server = Server::start();
    let deep = format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000));
    let nested = format!("{}1{}", r#"{"a":"#.repeat(10_000), "}".repeat(10_000));
    let exact = [
        "1e400",
        "-0",
        "1.000",
        "123456789012345678901234567890.5",
        r#"{"a":1,"a":2,"A":3}"#,
        r#"{"":"\ud83d\ude00\u0000"}"#,
        r#"[ 1 ,	2 ]"#,
        &deep,
        &nested,
    ];
    for data in exact {
        let body = format!(r#"{{"topic":"t","kind":"k","data":{data}}}"#);
        assert_eq!(server.post("/v1/entries", &body).status, 201, "{data:.40}");
        let page = server.get("/v1/entries?reverse=true&limit=1").body;
        assert!(page.contains(&format!(r#""data":{data},"#)), "{data:.40}");
        let name = format!("/v1/entries/{}/0", server.node.id());
        assert_eq!(server.get(&name).status, 200);
    }
}

#[test]
fn members_that_are_said_twice_or_not_known_are_refused() {
    let server = Server::start();
    for body in [
        r#"{"topic":"t","topic":"u","kind":"k","data":1}"#,
        r#"{"topic":"t","kind":"k","data":1,"data":2}"#,
        r#"{"topic":"t","kind":"k","data":1,"data_base64":""}"#,
        r#"{"topic":"t","kind":"k","data":1,"author":"me"}"#,
        r#"{"topic":"t","kind":"k","data":1,"seq":0}"#,
        r#"{"topic":"t","kind":"k","data":NaN}"#,
        r#"{"topic":"t","kind":"k","data":01}"#,
        r#"{"topic":"t","kind":"k","data":1} trailing"#,
    ] {
        server.post("/v1/entries", body).is_problem(400, "E0004");
    }
}
