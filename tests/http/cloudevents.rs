//! CloudEvents in requests and answers.

use serde_json::{Value, json};

use crate::server::{JSON, Server};

const STRUCTURED: &str = "application/cloudevents+json";
const BATCH: &str = "application/cloudevents-batch+json";

fn event(id: &str) -> Value {
    json!({"specversion": "1.0", "id": id, "source": "/shop", "type": "com.shop.sold",
           "subject": "cart/1", "time": "2020-01-02T03:04:05Z", "region": "eu", "data": {"n": 1}})
}

fn post(server: &Server, content_type: &str, body: &Value) -> crate::server::Answer {
    let headers = [("content-type", content_type)];
    server.call("POST", "/v1/entries", &headers, &body.to_string())
}

fn path(server: &Server, n: usize) -> String {
    let id = &server.get("/v1/entries").json()["entries"][n]["id"];
    format!("/v1/entries/{}", id.as_str().unwrap().replace(':', "/"))
}

#[test]
fn a_structured_event_comes_back_as_it_came() {
    let server = Server::start();
    assert_eq!(post(&server, STRUCTURED, &event("1")).status, 201);
    let entry = server.get("/v1/entries").json()["entries"][0].clone();
    assert_eq!((&entry["topic"], &entry["kind"]), (&"cart/1".into(), &"com.shop.sold".into()));
    let answer = server.get_as(&path(&server, 0), STRUCTURED);
    assert_eq!(answer.header("content-type"), STRUCTURED);
    let back = answer.json();
    for (name, value) in event("1").as_object().unwrap() {
        assert_eq!(&back[name], value, "{name}");
    }
    assert_eq!(back["sequence"], "0".repeat(20));
}

#[test]
fn a_batch_is_appended_as_one_and_listed_as_one() {
    let server = Server::start();
    assert_eq!(post(&server, BATCH, &json!([event("1"), event("2")])).status, 201);
    let bad = json!([event("3"), {"specversion": "1.0"}]);
    post(&server, BATCH, &bad).is_problem(400, "E0004");
    post(&server, BATCH, &json!([])).is_problem(400, "E0005");
    let answer = server.get_as("/v1/entries", BATCH);
    assert_eq!(answer.header("content-type"), BATCH);
    let ids: Vec<Value> =
        answer.json().as_array().unwrap().iter().map(|event| event["id"].clone()).collect();
    assert_eq!(ids, ["1", "2"]);
    let page = server.get_as("/v1/entries?limit=1", BATCH);
    assert!(page.header("link").contains("rel=\"next\""));
}

#[test]
fn a_binary_event_has_its_attributes_in_headers() {
    let server = Server::start();
    let headers = [
        ("ce-specversion", "1.0"),
        ("ce-id", "Euro%20%E2%82%AC"),
        ("ce-source", "/shop"),
        ("ce-type", "sold"),
        ("content-type", "text/csv"),
    ];
    assert_eq!(server.call("POST", "/v1/entries", &headers, "a,b\n1,2\n").status, 201);
    let entry = server.get(&path(&server, 0)).json();
    assert_eq!(
        (&entry["content_type"], &entry["data"]),
        (&"text/csv".into(), &"a,b\n1,2\n".into())
    );
    let answer = server.get(&format!("{}/event", path(&server, 0)));
    // Whatever it is, it may not act in the node's name.
    assert!(answer.header("content-security-policy").contains("sandbox"));
    assert_eq!(answer.header("content-disposition"), "attachment");
    assert_eq!(answer.body, "a,b\n1,2\n");
    for (name, value) in headers {
        assert_eq!(answer.header(name), value, "{name}");
    }
    let missing = [("ce-specversion", "1.0"), ("content-type", JSON)];
    server.call("POST", "/v1/entries", &missing, "1").is_problem(400, "E0004");
}

#[test]
fn a_stream_tells_events() {
    let server = Server::start();
    server.append("t", 1);
    let events = server.stream("until_caught_up=true&format=cloudevents", &[]).events();
    assert_eq!(events[0].data["specversion"], "1.0");
    let mut lines = server.stream("until_caught_up=true", &[("accept", STRUCTURED)]);
    assert_eq!(lines.content_type, STRUCTURED);
    let line: Value = serde_json::from_str(&lines.line().unwrap()).unwrap();
    assert_eq!(line, events[0].data);
}
