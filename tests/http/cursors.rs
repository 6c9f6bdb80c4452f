//! Named consumers over HTTP.

use serde_json::json;
use towline::node::Right;

use crate::server::{Answer, JSON, Server};
use crate::tokens::Guarded;

const MAILER: &str = "/v1/cursors/mailer";

fn put(server: &Server, body: &serde_json::Value) -> Answer {
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
        json!({"holder": "", "position": "end"}),
        json!([]),
    ] {
        put(&server, &body).is_problem(400, "E0001");
    }
    put(&server, &json!({"position": "o:0000000000000000.0"})).is_problem(400, "E0006");
    for place in ["f:AQ", "f:AQAAAAA"] {
        put(&server, &json!({"position": place})).is_problem(400, "E0006");
    }
    for name in ["A", "..%2fx", ".x", "%00", &"x".repeat(65)] {
        let path = format!("/v1/cursors/{name}");
        server.call("PUT", &path, &[("content-type", JSON)], "{}").is_problem(400, "E0002");
    }
}

/// The cursor after the entry that arrived `n`th, as any node understands it.
fn portable(server: &Server, n: usize) -> String {
    let mut stream = server.stream("cursors=frontier", &[]);
    (0..n).map(|_| stream.event().unwrap().id).last().unwrap()
}

#[test]
fn a_place_of_any_node_is_kept_and_goes_forward() {
    let server = Server::start();
    append(&server, 2);
    append(&server, 2);
    let [first, third] = [1, 3].map(|n| portable(&server, n));
    let kept = put(&server, &json!({"position": first}));
    assert_eq!(kept.json()["position"], first, "{}", kept.body);
    assert_eq!(kept.json()["lag"]["entries"], 3);
    let moved = put(&server, &json!({"position": third}));
    assert_eq!(moved.json()["lag"]["entries"], 1, "{}", moved.body);
    put(&server, &json!({"position": first})).is_problem(409, "E0015");
    // A place in this node's order is compared with it, too.
    put(&server, &json!({"position": "start"})).is_problem(409, "E0015");
    let behind = server.get("/v1/entries?order=arrival&limit=2").json()["next"].clone();
    put(&server, &json!({"position": behind})).is_problem(409, "E0015");
    let end = put(&server, &json!({"position": "end"}));
    assert_eq!(end.json()["lag"]["entries"], 0, "{}", end.body);
    put(&server, &json!({"position": third})).is_problem(409, "E0015");
    let back = put(&server, &json!({"position": third, "replay": true}));
    assert_eq!(back.json()["lag"]["entries"], 1, "{}", back.body);
    append(&server, 1);
    assert_eq!(server.get(MAILER).json()["lag"]["entries"], 2);
}

#[test]
fn a_named_place_goes_on_at_another_node() {
    let (a, b) = Server::pair();
    append(&a, 3);
    append(&b, 2);
    for server in [&a, &b] {
        while server.get("/v1/status").json()["entries"] != 5 {}
    }
    let place = portable(&a, 4);
    assert_eq!(put(&a, &json!({"position": place})).json()["lag"]["entries"], 1);
    let there = put(&b, &json!({"position": place}));
    assert_eq!(there.json()["lag"]["entries"], 1, "{}", there.body);
    let left = |server: &Server| {
        let mut stream = server.stream(&format!("after={place}"), &[]);
        let event = stream.event().unwrap();
        assert_eq!(stream.event().unwrap().name, "caught-up");
        event.data["id"].clone()
    };
    assert_eq!(left(&a), left(&b));
}

#[test]
fn a_tenant_has_consumers_of_its_own() {
    let guarded = Guarded::new();
    let tokens =
        [Some("acme"), Some("other"), None].map(|tenant| guarded.token(tenant, &[Right::Read]));
    let [acme, other, all] = &tokens;
    let call = |token: &str, method: &str, path: &str, body: &str| {
        let headers = [("authorization", token), ("content-type", JSON)];
        guarded.server.call(method, path, &headers, body)
    };
    // Drafts of one commit are one change, in which a place may lie.
    let draft = |tenant: &str| json!({"topic": "t", "kind": "k", "data": 1, "tenant": tenant});
    let drafts = ["acme", "other", "acme", "other", "other", "acme"].map(draft);
    let appends = guarded.token(None, &[Right::Append]);
    let appended = guarded.post(&appends, "/v1/entries", &json!(drafts).to_string());
    assert_eq!(appended.status, 201, "{}", appended.body);
    let last = guarded.post(&appends, "/v1/entries", &draft("acme").to_string());
    assert_eq!(last.status, 201);

    let lag = |answer: &Answer| answer.json()["lag"]["entries"].clone();
    let at = |token: &str| lag(&call(token, "PUT", MAILER, "{}"));
    assert_eq!([at(acme), at(other), at(all)], [4, 3, 7].map(|n| json!(n)));
    let page = call(acme, "GET", "/v1/entries?order=arrival&limit=2", "").json();
    let moved = call(acme, "PUT", MAILER, &json!({"position": page["next"]}).to_string());
    assert_eq!(lag(&moved), 2, "{}", moved.body);
    assert_eq!(moved.json()["tenant"], "acme");
    assert!(moved.json()["lag"]["seconds"].as_f64().unwrap() >= 0.0);
    assert_eq!([at(other), at(all)], [3, 7].map(|n| json!(n)), "nobody else has moved");
    let end = call(other, "PUT", MAILER, r#"{"position":"end"}"#);
    assert_eq!(end.json()["lag"], json!({"entries": 0, "seconds": 0.0}), "{}", end.body);

    let listed = |token: &str| {
        let cursors = call(token, "GET", "/v1/cursors", "").json()["cursors"].clone();
        let cursors = cursors.as_array().unwrap().clone();
        cursors.iter().map(|it| it["tenant"].as_str().map(str::to_owned)).collect::<Vec<_>>()
    };
    assert_eq!(listed(acme), [Some("acme".to_owned())]);
    assert_eq!(listed(all), [None, Some("acme".to_owned()), Some("other".to_owned())]);

    call(acme, "GET", "/v1/cursors/mailer?tenant=other", "").is_problem(403, "E0013");
    call(acme, "DELETE", "/v1/cursors/mailer?tenant=other", "").is_problem(403, "E0013");
    assert_eq!(call(all, "DELETE", "/v1/cursors/mailer?tenant=other", "").status, 200);
    call(other, "GET", MAILER, "").is_problem(404, "E0007");
    assert_eq!(call(acme, "GET", MAILER, "").status, 200);
    call(&appends, "GET", MAILER, "").is_problem(403, "E0013");
}
