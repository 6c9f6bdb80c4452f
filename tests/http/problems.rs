use crate::server::{JSON, NDJSON, Server};

const DRAFT: &str = r#"{"topic":"t","kind":"k","data":1}"#;

#[test]
fn what_can_not_be_read_as_drafts_is_malformed() {
    let server = Server::start();
    let bombs = ["[".repeat(1 << 20), r#"{"attributes":"#.repeat(100_000)];
    let missing = r#"{"topic":"t","data":1}"#;
    let unknown = r#"{"topic":"t","kind":"k","data":1,"x":1}"#;
    let bodies = ["{", "1", "[1]", "nope", "{}", missing, unknown, "\u{0}", &bombs[0], &bombs[1]];
    for body in bodies {
        for content_type in [JSON, NDJSON] {
            let headers = [("content-type", content_type)];
            let answer = server.call("POST", "/v1/entries", &headers, body);
            answer.is_problem(400, "E0004");
        }
    }
}

#[test]
fn a_body_without_drafts_is_nothing() {
    let server = Server::start();
    for body in ["", " \n", "[]"] {
        server.post("/v1/entries", body).is_problem(400, "E0005");
        server.post("/v1/emit", body).is_problem(400, "E0005");
    }
}

#[test]
fn names_that_are_none_are_refused() {
    let server = Server::start();
    let bodies = [
        r#"{"topic":"","kind":"k","data":1}"#,
        r#"{"topic":"t","kind":"a b","data":1}"#,
        r#"{"topic":"t","kind":"k","tenant":"towline","data":1}"#,
        r#"{"topic":"t","kind":"k","attributes":{"a b":"c"},"data":1}"#,
        r#"{"topic":"t","kind":"k","content_type":"\u0001","data_base64":""}"#,
    ];
    for body in bodies {
        server.post("/v1/entries", body).is_problem(400, "E0002");
    }
    server.get("/v1/entries?topic=").is_problem(400, "E0002");
    server.get("/v1/stream?kind=a%20b").is_problem(400, "E0002");
}

#[test]
fn parameters_that_make_no_sense_are_refused() {
    let server = Server::start();
    let paths = [
        "/v1/entries?limit=0",
        "/v1/entries?limit=10001",
        "/v1/entries?limit=-1",
        "/v1/entries?order=random",
        "/v1/entries?reverse=yes",
        "/v1/entries?since=yesterday",
        "/v1/entries?author=me",
        "/v1/entries?gaps=maybe",
        "/v1/entries?tpoic=t",
        "/v1/entries?topic=a&topic=b",
        "/v1/entries/me/1",
        "/v1/entries/%ff/1",
        "/v1/stream?last=some",
        "/v1/stream?last=1&after=end",
        "/v1/stream?gaps=entries",
        "/v1/stream?limit=3",
    ];
    for path in paths {
        server.get(path).is_problem(400, "E0001");
    }
    for parameters in ["ack=all", "ack=peers=", "timeout=5", "timeout=6m", "x=1"] {
        let path = format!("/v1/entries?{parameters}");
        server.post(&path, DRAFT).is_problem(400, "E0001");
    }
    server.post("/v1/emit?ack=local", DRAFT).is_problem(400, "E0001");
}

#[test]
fn cursors_of_elsewhere_are_refused() {
    let (server, other) = (Server::start(), Server::start());
    (0..2).for_each(|n| server.append("t", n));
    other.append("t", 1);
    let page = server.get("/v1/entries?limit=1&order=author").json();
    let listed = page["next"].as_str().unwrap();
    let place = server.stream("", &[]).event().unwrap().id;
    let beyond = place.replace(".1", ".99");
    for cursor in ["x", "o:1", "f:ab", listed, &beyond] {
        server.get(&format!("/v1/entries?order=time&after={cursor}")).is_problem(400, "E0006");
        server.get(&format!("/v1/stream?after={cursor}")).is_problem(400, "E0006");
        if cursor == beyond {
            continue; // a client that reconnects by itself is told to begin again
        }
        let headers = [("last-event-id", cursor)];
        server.call("GET", "/v1/stream", &headers, "").is_problem(400, "E0006");
    }
    other.get(&format!("/v1/stream?after={place}")).is_problem(400, "E0006");
}

#[test]
fn routes_and_methods_that_there_are_not_have_problems() {
    let server = Server::start();
    for path in ["/v2", "/v1/entries/", "/v1/entries/a", "/page", "/page/", "/page/none.js"] {
        server.get(path).is_problem(404, "E0007");
    }
    for path in ["/v1/entries", "/v1/stream", "/v1/status", "/", "/metrics"] {
        let answer = server.call("DELETE", path, &[], "");
        answer.is_problem(405, "E0009");
        assert!(answer.header("allow").contains("GET"), "{path}");
    }
    server.get("/v1/emit").is_problem(405, "E0009");
}

#[test]
fn a_body_says_what_it_is() {
    let server = Server::start();
    let form = "application/x-www-form-urlencoded";
    for content_type in ["text/plain", form, "application/jsonp", ""] {
        let headers = [("content-type", content_type)];
        server.call("POST", "/v1/entries", &headers, DRAFT).is_problem(415, "E0010");
    }
    server.call("POST", "/v1/emit", &[], DRAFT).is_problem(415, "E0010");
    let packed = [("content-type", JSON), ("content-encoding", "gzip")];
    server.call("POST", "/v1/entries", &packed, DRAFT).is_problem(415, "E0010");
}

#[test]
fn what_is_too_large_is_refused() {
    let server = Server::start();
    let payload = format!(r#"{{"topic":"t","kind":"k","data":"{}"}}"#, "x".repeat(1 << 20));
    server.post("/v1/entries", &payload).is_problem(413, "E0003");
    server.post("/v1/entries", &" ".repeat((16 << 20) + 1)).is_problem(413, "E0003");
    let largest = format!("{DRAFT}{}", " ".repeat((16 << 20) - DRAFT.len()));
    assert_eq!(server.post("/v1/entries", &largest).status, 201);
}

#[test]
fn who_asks_first_need_not_send_what_is_too_large() {
    let server = Server::start();
    let head = "POST /v1/entries HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
                content-length: 99999999\r\nexpect: 100-continue\r\n\r\n";
    let answer = server.raw(head.as_bytes());
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
}

#[test]
fn a_head_over_16_kib_is_refused() {
    let server = Server::start();
    let head = |bytes: usize| {
        let padding = "x".repeat(bytes);
        format!(
            "GET /livez HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nx: {padding}\r\n\r\n"
        )
    };
    assert!(server.raw(head(15_000).as_bytes()).starts_with("HTTP/1.1 200 "));
    assert!(server.raw(head(17_000).as_bytes()).starts_with("HTTP/1.1 431 "));
}

#[test]
fn requests_for_other_hosts_are_refused() {
    let server = Server::start();
    for host in ["evil.example", "evil.example:80", "localhost.evil.example", "10.0.0.1"] {
        for path in ["/", "/v1/status", "/none"] {
            let answer = server.call("GET", path, &[("host", host)], "");
            answer.is_problem(421, "E0011");
        }
    }
    for host in ["localhost", "LocalHost:1", "127.0.0.1", "[::1]:80"] {
        assert_eq!(server.call("GET", "/livez", &[("host", host)], "").status, 200);
    }
    let nameless = server.raw(b"GET /livez HTTP/1.0\r\n\r\n");
    assert!(nameless.starts_with("HTTP/1.0 421 "), "{nameless}");
    let absolute = server.raw(
        b"GET http://evil.example/livez HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n",
    );
    assert!(absolute.starts_with("HTTP/1.1 421 "), "{absolute}");
}
