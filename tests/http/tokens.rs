//! Tokens: who may ask, for whose entries, and for what.

use std::sync::Arc;

use tempfile::TempDir;
use towline::http::{Serving, Strangers};
use towline::node::tokens::{self, Wanted};
use towline::node::{Right, Tokens};
use towline::words::{Tenant, Time};
use towline::{Config, Draft};

use crate::server::{JSON, Server};

/// A server that asks for tokens.
pub struct Guarded {
    pub server: Server,
    directory: TempDir,
}

impl Guarded {
    pub fn new() -> Self {
        Self::start(Strangers::Refused)
    }

    fn start(strangers: Strangers) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let tokens = Arc::new(Tokens::of(Some(directory.path())));
        let serving = Serving::guarded(strangers, tokens);
        Self { server: Server::serving(Config::in_memory(), serving), directory }
    }

    pub fn token(&self, tenant: Option<&str>, rights: &[Right]) -> String {
        let tenant = tenant.map(|tenant| Tenant::parse(tenant).unwrap());
        let wanted = Wanted { name: "t".into(), tenant, rights: rights.to_vec() };
        let (_, text) = tokens::add(self.directory.path(), wanted, Time::default()).unwrap();
        format!("Bearer {text}")
    }

    fn get(&self, token: &str, path: &str) -> crate::server::Answer {
        self.server.call("GET", path, &[("authorization", token)], "")
    }

    pub fn post(&self, token: &str, path: &str, body: &str) -> crate::server::Answer {
        let headers = [("authorization", token), ("content-type", JSON)];
        self.server.call("POST", path, &headers, body)
    }

    fn append_for(&self, tenant: &str) -> String {
        let draft = Draft::json("t", "k", &tenant).unwrap().for_tenant(tenant).unwrap();
        self.server.append_draft(draft).id.to_string()
    }
}

const GUARDED: [&str; 10] = [
    "/v1/entries",
    "/v1/gaps",
    "/v1/forks",
    "/v1/stream?until_caught_up=true",
    "/v1/status",
    "/v1/nodes",
    "/v1/frontier",
    "/metrics",
    "/v1/entries/0000000000000000000000000000000000000000000000000000000000000000/0",
    "/v1/entries/0000000000000000000000000000000000000000000000000000000000000000/0/proof",
];
const OPEN: [&str; 4] = ["/livez", "/readyz", "/openapi.json", "/"];

#[test]
fn strangers_get_nothing_but_the_open_routes() {
    let guarded = Guarded::start(Strangers::Refused);
    for path in GUARDED {
        let answer = guarded.server.get(path);
        answer.is_problem(401, "E0012");
        assert_eq!(answer.header("www-authenticate"), "Bearer realm=\"towline\"");
    }
    for path in ["/v1/entries", "/v1/emit"] {
        let draft = r#"{"topic":"t","kind":"k","data":1}"#;
        guarded.server.post(path, draft).is_problem(401, "E0012");
    }
    for path in OPEN {
        assert_eq!(guarded.server.get(path).status, 200, "{path}");
    }
    let refused = guarded.server.node.metrics().http_refused_tokens.get();
    assert_eq!(refused, GUARDED.len() as u64 + 2);
}

#[test]
fn a_token_that_is_shown_must_be_known_even_where_none_is_needed() {
    let guarded = Guarded::start(Strangers::Admitted);
    assert_eq!(guarded.server.get("/v1/status").status, 200);
    let known = guarded.token(None, &[Right::Read]);
    let last = if known.ends_with('0') { "1" } else { "0" };
    let forged = format!("{}{last}", &known[..known.len() - 1]);
    for token in ["", "Bearer", "Bearer ", "Bearer x", "Basic dTpw", &forged, &known[7..]] {
        guarded.get(token, "/v1/status").is_problem(401, "E0012");
    }
    assert_eq!(guarded.get(&known, "/v1/status").status, 200);
}

#[test]
fn a_token_works_until_it_is_removed() {
    let guarded = Guarded::start(Strangers::Refused);
    let token = guarded.token(None, &[Right::Read]);
    assert_eq!(guarded.get(&token, "/v1/status").status, 200);
    let id = tokens::list(guarded.directory.path()).unwrap()[0].id.clone();
    tokens::remove(guarded.directory.path(), &id).unwrap().unwrap();
    guarded.get(&token, "/v1/status").is_problem(401, "E0012");
}

#[test]
fn rights_are_all_that_a_token_may_do() {
    let guarded = Guarded::start(Strangers::Refused);
    let (read, append) =
        (guarded.token(None, &[Right::Read]), guarded.token(None, &[Right::Append]));
    let draft = r#"{"topic":"t","kind":"k","data":1}"#;
    assert_eq!(guarded.post(&append, "/v1/entries", draft).status, 201);
    assert_eq!(guarded.post(&append, "/v1/emit", draft).status, 202);
    for path in ["/v1/entries", "/v1/emit"] {
        guarded.post(&read, path, draft).is_problem(403, "E0013");
    }
    for path in GUARDED {
        guarded.get(&append, path).is_problem(403, "E0013");
    }
    assert_eq!(guarded.get(&read, "/v1/entries").status, 200);
}

#[test]
fn a_tenants_token_reaches_that_tenants_entries_and_no_others() {
    let guarded = Guarded::start(Strangers::Refused);
    let own = guarded.append_for("acme").replace(':', "/");
    let other = guarded.append_for("rival").replace(':', "/");
    let token = guarded.token(Some("acme"), &[Right::Read, Right::Append]);
    for path in ["/v1/entries", "/v1/entries?tenant=acme", "/v1/entries?order=arrival"] {
        let listed = guarded.get(&token, path).json();
        let entries = listed["entries"].as_array().unwrap();
        assert_eq!(entries.len(), 1, "{path}");
        assert_eq!(entries[0]["tenant"], "acme");
    }
    assert_eq!(guarded.get(&token, &format!("/v1/entries/{own}")).status, 200);
    guarded.get(&token, &format!("/v1/entries/{other}")).is_problem(404, "E0007");
    guarded.get(&token, "/v1/entries?tenant=rival").is_problem(403, "E0013");
    guarded.get(&token, "/v1/stream?tenant=rival").is_problem(403, "E0013");
    let stream = guarded.get(&token, "/v1/stream?until_caught_up=true").body;
    assert!(stream.contains("acme") && !stream.contains("rival"), "{stream}");
    for path in ["/v1/forks", "/v1/status", "/v1/nodes", "/v1/frontier", "/metrics"] {
        guarded.get(&token, path).is_problem(403, "E0013");
    }
}

#[test]
fn a_tenants_token_appends_for_that_tenant_and_no_other() {
    let guarded = Guarded::start(Strangers::Refused);
    let token = guarded.token(Some("acme"), &[Right::Append]);
    let draft = r#"{"topic":"t","kind":"k","data":1}"#;
    let other = r#"[{"topic":"t","kind":"k","data":1},
                    {"tenant":"default","topic":"t","kind":"k","data":1}]"#;
    for path in ["/v1/entries", "/v1/emit"] {
        assert!(guarded.post(&token, path, draft).status < 300);
        guarded.post(&token, path, other).is_problem(403, "E0013");
    }
    let everybody = guarded.token(None, &[Right::Read]);
    let listed = guarded.get(&everybody, "/v1/entries?grep=1").json();
    let entries = listed["entries"].as_array().unwrap();
    assert!(!entries.is_empty() && entries.iter().all(|entry| entry["tenant"] == "acme"));
}

#[test]
fn the_same_idempotency_key_of_two_tenants_is_two_keys() {
    let guarded = Guarded::start(Strangers::Refused);
    let append = |tenant, data: u8| {
        let token = guarded.token(Some(tenant), &[Right::Append]);
        let headers = [
            ("authorization", token.as_str()),
            ("content-type", JSON),
            ("idempotency-key", "once"),
        ];
        let draft = format!(r#"{{"topic":"t","kind":"k","data":{data}}}"#);
        guarded.server.call("POST", "/v1/entries", &headers, &draft).status
    };
    assert_eq!(
        [append("a", 1), append("b", 2), append("a", 1), append("a", 3)],
        [201, 201, 201, 409]
    );
}

/// Routes that read what a tenant has.
const READING: [&str; 11] = [
    "/v1/topics/{tenant}/t",
    "/v1/topics/{tenant}/t/entries",
    "/v1/topics/{tenant}/t/context",
    "/v1/topics/{tenant}/t/follow",
    "/v1/topics/{tenant}/t/transitions",
    "/v1/feeds/{tenant}",
    "/v1/feeds/{tenant}/latest",
    "/v1/personas/{tenant}",
    "/v1/sessions/{tenant}",
    "/v1/sessions/{tenant}/s/follow",
    "/v1/transcripts/{tenant}/t",
];
/// Routes that append to it, each with a body.
const APPENDING: [(&str, &str, &str); 8] = [
    ("POST", "/v1/topics/{tenant}/t/entries", r#"{"kind":"k","data":1}"#),
    ("POST", "/v1/topics/{tenant}/t/archive", r#"{"watermark":0}"#),
    ("POST", "/v1/topics/{tenant}/t/transitions", r#"{"from":"a","to":"b"}"#),
    ("PUT", "/v1/personas/{tenant}/p", "{}"),
    ("POST", "/v1/sessions/{tenant}", r#"{"session":"s","transcript":"t"}"#),
    ("POST", "/v1/transcripts/{tenant}/t", r#"{"kind":"k","data":1}"#),
    ("POST", "/v1/transcripts/{tenant}/t/truncate", r#"{"to":0}"#),
    ("POST", "/v1/transcripts/{tenant}/t/traces", r#"{"kind":"k","data":1}"#),
];

#[test]
fn a_tenants_token_reaches_no_thread_and_no_session_of_another() {
    let guarded = Guarded::start(Strangers::Refused);
    let token = guarded.token(Some("acme"), &[Right::Read, Right::Append]);
    let call = |(method, path, body): (&str, &str, &str), tenant| {
        let path = path.replace("{tenant}", tenant);
        let headers = [("authorization", token.as_str()), ("content-type", JSON)];
        guarded.server.call(method, &path, &headers, body)
    };
    guarded.append_for("rival");
    for tenant in ["rival", "towline", "default"] {
        for path in READING {
            call(("GET", path, ""), tenant).is_problem(403, "E0013");
        }
        for appending in APPENDING {
            call(appending, tenant).is_problem(403, "E0013");
        }
    }
    let begun = call(APPENDING[4], "acme");
    assert_eq!(begun.status, 201, "{}", begun.body);
    for path in ["/v1/sessions/{tenant}", "/v1/transcripts/{tenant}/t"] {
        let read = call(("GET", path, ""), "acme");
        assert_eq!(read.status, 200, "{path}: {}", read.body);
    }
}

#[test]
fn threads_and_sessions_ask_for_a_token_with_the_right() {
    let guarded = Guarded::start(Strangers::Refused);
    let read = guarded.token(Some("acme"), &[Right::Read]);
    let append = guarded.token(Some("acme"), &[Right::Append]);
    for path in READING.map(|path| path.replace("{tenant}", "acme")) {
        guarded.server.get(&path).is_problem(401, "E0012");
        guarded.get(&append, &path).is_problem(403, "E0013");
    }
    for (method, path, body) in APPENDING {
        let path = path.replace("{tenant}", "acme");
        guarded.server.call(method, &path, &[], body).is_problem(401, "E0012");
        let headers = [("authorization", read.as_str()), ("content-type", JSON)];
        guarded.server.call(method, &path, &headers, body).is_problem(403, "E0013");
    }
}

#[test]
fn a_tenants_token_names_its_own_personas_and_no_others() {
    let guarded = Guarded::start(Strangers::Refused);
    let token = guarded.token(Some("acme"), &[Right::Read]);
    let stream = |asked: &str| guarded.get(&token, &format!("/v1/stream?persona=p{asked}"));
    stream("&tenant=rival").is_problem(403, "E0013");
    stream("").is_problem(404, "E0007");
}
