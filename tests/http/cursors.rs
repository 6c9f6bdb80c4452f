//! Named consumers over HTTP.

use serde_json::json;

use crate::server::{JSON, Server};

const MAILER: &str = "/v1/cursors/mailer";

fn put(server: &Server, body: &serde_json::Value) -> crate::server::Answer {
    server.call("PUT", MAILER, &[("content-type", JSON)], &body.to_string())
}

fn append(server: &Server, count: usize) {
    let draft = json!({"topic": "t", "kind": "k", "data": 1});
    let drafts = serde_json::Value::from(vec![draft; count]).to_string();
    let appended = server.call("POST", "/v1/entries", &[("content-type", JSON)], &drafts);
    assert_eq!(appended.status, 201, "{}", appended.body);
}

#[test]
fn a_consumer_says_how_far_it_is_behind() {
    let server = Server::start();
    append(&server, 3);
    server.get(MAILER).is_problem(404, "E0007");
    assert_eq!(put(&server, &json!({})).json()["lag"]["entries"], 3);
    let page = server.get("/v1/entries?order=arrival&limit=2").json();
    let moved = put(&server, &json!({"position": page["next"]}));
    assert_eq!(moved.json()["lag"]["entries"], 1, "{}", moved.body);
    put(&server, &json!({"position": "start"})).is_problem(409, "E0015");
    assert_eq!(
        put(&server, &json!({"position": "end"})).json()["lag"],
        json!({"entries": 0, "seconds": 0.0})
    );
    let back = put(&server, &json!({"position": "start", "replay": true}));
    assert_eq!(back.json()["lag"]["entries"], 3);
    let listed = server.get("/v1/cursors").json()["cursors"][0].clone();
    assert_eq!((&listed["name"], &listed["lag"]["entries"]), (&json!("mailer"), &json!(3)));
    assert_eq!(server.call("DELETE", MAILER, &[], "").status, 200);
    assert_eq!(server.get("/v1/cursors").json(), json!({"cursors": []}));
}

#[test]
fn a_lease_refuses_all_but_its_holder() {
    let server = Server::start();
    let leased = put(&server, &json!({"holder": "a", "lease_seconds": 30}));
    assert_eq!(leased.json()["lease"]["holder"], "a", "{}", leased.body);
    put(&server, &json!({"holder": "b", "position": "end"})).is_problem(409, "E0015");
    put(&server, &json!({"position": "end"})).is_problem(409, "E0015");
    assert_eq!(put(&server, &json!({"holder": "a", "position": "end"})).status, 200);
    let given_back = put(&server, &json!({"holder": "a", "lease_seconds": 0}));
    assert!(given_back.json().get("lease").is_none(), "{}", given_back.body);
    assert_eq!(put(&server, &json!({"holder": "b", "lease_seconds": 30})).status, 200);
}

#[test]
fn what_can_be_no_consumer_is_refused() {
    let server = Server::start();
    for body in [
        json!({"positon": "end"}),
        json!({"lease_seconds": 30}),
        json!({"holder": "a", "lease_seconds": 3_601}),
        json!({"holder": "\u{1b}", "lease_seconds": 1}),
        json!([]),
    ] {
        put(&server, &body).is_problem(400, "E0001");
    }
    put(&server, &json!({"position": "o:0000000000000000.0"})).is_problem(400, "E0006");
    put(&server, &json!({"position": "f:AQ"})).is_problem(400, "E0006");
    for name in ["A", "..%2fx", ".x", "%00", &"x".repeat(65)] {
        let path = format!("/v1/cursors/{name}");
        server.call("PUT", &path, &[("content-type", JSON)], "{}").is_problem(400, "E0002");
    }
}
