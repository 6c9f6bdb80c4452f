//! The description of the routes says what the routes do.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::server::Server;

fn document(server: &Server) -> Value {
    let answer = server.get("/openapi.json");
    assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"));
    answer.json()
}

/// A path of the document, with something in the place of each parameter.
fn filled(path: &str) -> String {
    let path = path.replace("{author}", &"0".repeat(64)).replace("{seq}", "0");
    let path = path.replace("{file}", "page.js");
    ["{tenant}", "{topic}", "{session}", "{transcript}", "{name}"]
        .into_iter()
        .fold(path, |path, parameter| path.replace(parameter, "x"))
}

#[test]
fn the_document_names_the_version_of_the_program() {
    let document = document(&Server::start());
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1."));
}

#[test]
fn every_path_of_the_document_has_the_methods_that_it_says() {
    let server = Server::start();
    let document = document(&server);
    for (path, operations) in document["paths"].as_object().unwrap() {
        let answer = server.call("PATCH", &filled(path), &[], "");
        answer.is_problem(405, "E0009");
        let allowed: BTreeSet<String> =
            answer.header("allow").split(',').map(|method| method.trim().to_lowercase()).collect();
        let mut said: BTreeSet<String> = operations.as_object().unwrap().keys().cloned().collect();
        if said.contains("get") {
            said.insert("head".to_owned());
        }
        assert_eq!(allowed, said, "{path}");
    }
}

#[test]
fn every_reference_in_the_document_leads_somewhere() {
    let document = document(&Server::start());
    fn look(value: &Value, document: &Value) -> usize {
        match value {
            Value::Object(fields) => {
                let lost = fields.get("$ref").map(|to| {
                    let to = to.as_str().unwrap().trim_start_matches('#');
                    assert!(document.pointer(to).is_some(), "{to}");
                });
                usize::from(lost.is_some())
                    + fields.values().map(|value| look(value, document)).sum::<usize>()
            }
            Value::Array(values) => values.iter().map(|value| look(value, document)).sum(),
            _ => 0,
        }
    }
    assert!(look(&document, &document) > 50);
}

#[test]
fn a_document_that_the_client_has_is_not_sent_again() {
    let server = Server::start();
    for path in ["/openapi.json", "/v1/frontier", "/"] {
        let answer = server.get(path);
        let known = [("if-none-match", answer.header("etag"))];
        let again = server.call("GET", path, &known, "");
        assert_eq!((again.status, again.body.as_str()), (304, ""), "{path}");
        assert_eq!(again.header("etag"), answer.header("etag"));
    }
}
