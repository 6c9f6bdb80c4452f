//! What clients and the node agree on: media types, tags and names of requests.

use crate::server::{JSON, NDJSON, Server};

#[test]
fn a_media_type_that_can_not_be_had_is_refused() {
    let server = Server::start();
    for path in ["/v1/entries", "/v1/gaps", "/v1/stream", "/metrics"] {
        server.get_as(path, "text/html").is_problem(406, "E0014");
    }
}

#[test]
fn what_is_wanted_most_is_sent() {
    let server = Server::start();
    let sent = |accept| server.get_as("/v1/entries", accept).header("content-type").to_owned();
    assert_eq!(sent("application/json;q=0.1, application/x-ndjson;q=0.9"), NDJSON);
    assert_eq!(sent("text/html, application/xhtml+xml, */*;q=0.8"), JSON);
}

#[test]
fn an_entry_that_the_client_has_is_not_sent_again() {
    let server = Server::start();
    server.append("t", 1);
    let id = server.get("/v1/entries").json()["entries"][0]["id"].as_str().unwrap().to_owned();
    let path = format!("/v1/entries/{}", id.replace(':', "/"));
    let answer = server.get(&path);
    let known = [("if-none-match", answer.header("etag"))];
    assert_eq!(server.call("GET", &path, &known, "").status, 304);
    assert_eq!(server.call("GET", &path, &[("if-none-match", "\"x\"")], "").status, 200);
}

#[test]
fn a_frontier_has_another_tag_once_the_log_has_grown() {
    let server = Server::start();
    let before = server.get("/v1/frontier").header("etag").to_owned();
    server.append("t", 1);
    let known = [("if-none-match", before.as_str())];
    assert_eq!(server.call("GET", "/v1/frontier", &known, "").status, 200);
}

#[test]
fn every_answer_says_the_name_of_its_request() {
    let server = Server::start();
    let named = server.call("GET", "/v1/status", &[("x-request-id", "job-7")], "");
    assert_eq!(named.header("x-request-id"), "job-7");
    let refused = server.call("GET", "/v1/none", &[("x-request-id", "job-8")], "");
    refused.is_problem(404, "E0007");
    assert_eq!(refused.json()["instance"], "urn:towline:request:job-8");
    let ids = [(); 2].map(|()| server.get("/livez").header("x-request-id").to_owned());
    assert!(ids[0].len() == 16 && ids[0] != ids[1], "{ids:?}");
    let forged = server.call("GET", "/livez", &[("x-request-id", "a b")], "");
    assert_ne!(forged.header("x-request-id"), "a b");
}
