//! Threads, sessions, feeds and what else stands on them, over HTTP.

use serde_json::{Value, json};

use crate::server::{Answer, Server};

fn list<'j>(json: &'j Value, name: &str, member: &str) -> Vec<&'j Value> {
    json[name].as_array().unwrap().iter().map(|each| &each[member]).collect()
}

#[track_caller]
fn created(answer: Answer) -> Value {
    assert_eq!(answer.status, 201, "{}", answer.body);
    answer.json()
}

#[test]
fn a_thread_is_appended_to_loaded_and_archived() {
    let server = Server::start();
    let thread = "/v1/topics/acme/story%2F42";
    server.get(thread).is_problem(404, "E0020");
    let events = r#"[{"kind":"note","data":1},{"kind":"note","topic":"story/42","data":2}]"#;
    assert_eq!(created(server.post(&format!("{thread}/entries"), events)), json!({"ordinal": 2}));
    let foreign = r#"{"kind":"note","tenant":"other","data":1}"#;
    server.post(&format!("{thread}/entries"), foreign).is_problem(403, "E0023");
    let page = server.get(&format!("{thread}/entries?limit=1")).json();
    assert_eq!(list(&page, "entries", "ordinal"), [&json!(1)]);
    assert_eq!(page["next"], 1);
    let rest = server.get(&format!("{thread}/entries?after=1")).json();
    assert_eq!((list(&rest, "entries", "data"), &rest["next"]), (vec![&json!(2)], &Value::Null));
    server.get(&format!("{thread}/entries?after=3")).is_problem(400, "E0021");
    server.post(&format!("{thread}/archive"), r#"{"watermark":3}"#).is_problem(400, "E0022");
    let archived = server.post(&format!("{thread}/archive"), r#"{"watermark":1}"#).json();
    assert_eq!(archived, json!({"archived": 1, "watermark": 1}));
    assert_eq!(server.get(thread).json(), json!({"end": 2, "watermark": 1}));
    let left = server.get(&format!("{thread}/entries")).json();
    assert_eq!(list(&left, "entries", "ordinal"), [&json!(2)]);
    server.get("/v1/topics/towline/gaps").is_problem(400, "E0002");
    let context = server.get(&format!("{thread}/context"));
    assert!(context.body.ends_with(" note: 2\n"), "{}", context.body);
}

#[test]
fn a_session_is_begun_extended_forked_cut_and_listed() {
    let server = Server::start();
    let begin = r#"{"session":"s","transcript":"t","events":[{"kind":"m","data":"one"}]}"#;
    let begun = created(server.post("/v1/sessions/acme", begin));
    server.post("/v1/sessions/acme", begin).is_problem(409, "E0025");
    let tip = begun["tip"].as_str().unwrap();
    let extend = |text: &str| {
        let event = json!({"kind": "m", "data": text}).to_string();
        created(server.post(&format!("/v1/transcripts/acme/t?after={tip}"), &event))
    };
    assert_eq!(extend("a")["forked"], false);
    assert_eq!(extend("b")["forked"], true);
    let read = server.get("/v1/transcripts/acme/t").json();
    assert_eq!(list(&read, "entries", "data"), [&json!("one"), &json!("a")]);
    let branch = read["forks"][0]["first"].as_str().unwrap();
    let other = server.get(&format!("/v1/transcripts/acme/t?through={branch}")).json();
    assert_eq!(list(&other, "entries", "data"), [&json!("one"), &json!("b")]);
    server.post("/v1/transcripts/acme/t/truncate", r#"{"to":9}"#).is_problem(400, "E0026");
    created(server.post("/v1/transcripts/acme/t/truncate", r#"{"to":1}"#));
    assert_eq!(server.get("/v1/transcripts/acme/t").json()["length"], 1);
    let fork = r#"{"session":"s","transcript":"u","origin":"fork","of":"t","at":1}"#;
    created(server.post("/v1/sessions/acme", fork));
    let transcripts = server.get("/v1/sessions/acme/s").json();
    assert_eq!(list(&transcripts, "transcripts", "transcript"), [&json!("u"), &json!("t")]);
    let sessions = server.get("/v1/sessions/acme").json();
    assert_eq!(list(&sessions, "sessions", "newest"), [&json!("u")]);
    server.get("/v1/transcripts/acme/none").is_problem(404, "E0007");
    server.get("/v1/transcripts/acme/a%2Fb").is_problem(400, "E0002");
    created(server.post("/v1/transcripts/acme/t/traces", r#"{"kind":"tool","data":1}"#));
    let stray = r#"{"tenant":"acme","topic":"transcript/t","kind":"m","data":"stray"}"#;
    created(server.post("/v1/entries", r#"{"tenant":"acme","topic":"gap","kind":"m","data":1}"#));
    created(server.post("/v1/entries", stray));
    server.get("/v1/transcripts/acme/t").is_problem(500, "E0024");
}

#[test]
fn streams_begin_with_what_there_is() {
    let server = Server::start();
    let begin = r#"{"session":"s","transcript":"t","events":[{"kind":"m","data":"one"}]}"#;
    created(server.post("/v1/sessions/acme", begin));
    let mut topic = server.stream_at("/v1/topics/acme/transcript%2Ft/follow", &[]);
    let mut session = server.stream_at("/v1/sessions/acme/s/follow", &[]);
    let mut feed = server.stream_at("/v1/feeds/acme?without=towline.transcript", &[]);
    assert_eq!(topic.event().unwrap().name, "reset");
    let first = session.event().unwrap();
    assert_eq!((first.name.as_str(), &first.data["length"]), ("reset", &json!(1)));
    let first = feed.event().unwrap();
    assert_eq!((first.id.as_str(), &first.data["data"]), ("4", &json!("one")));
    created(server.post("/v1/transcripts/acme/t", r#"{"kind":"m","data":"two"}"#));
    for stream in [&mut topic, &mut session, &mut feed] {
        let next = stream.event().unwrap();
        assert_eq!((next.name.as_str(), &next.data["data"]), ("entry", &json!("two")));
    }
    let mut again = server.stream_at("/v1/feeds/acme", &[("last-event-id", "4")]);
    assert_eq!(again.event().unwrap().data["data"], "two");
    let latest = server.get("/v1/feeds/acme/latest").json();
    assert_eq!(latest, json!({"latest": 5, "floor": 0, "dropped": 0}));
    server.get("/v1/feeds/acme?after=6").is_problem(400, "E0021");
}

#[test]
fn a_persona_filters_the_stream() {
    let server = Server::start();
    server.get("/v1/stream?tenant=acme&persona=reviewer").is_problem(404, "E0007");
    let json = [("content-type", "application/json")];
    let persona = r#"{"kinds":["transition"],"attributes":{"to":["review"]}}"#;
    let set = server.call("PUT", "/v1/personas/acme/reviewer", &json, persona);
    assert_eq!(set.status, 200, "{}", set.body);
    let mut stream = server.stream("tenant=acme&persona=reviewer&after=end", &[]);
    assert_eq!(stream.event().unwrap().name, "caught-up");
    for (from, to) in [("backlog", "coding"), ("coding", "review")] {
        let step = json!({"from": from, "to": to}).to_string();
        created(server.post("/v1/topics/acme/story%2F42/transitions", &step));
    }
    assert_eq!(stream.event().unwrap().data["data"], json!({"from": "coding", "to": "review"}));
    let steps = server.get("/v1/topics/acme/story%2F42/transitions").json();
    assert_eq!(list(&steps, "transitions", "to"), [&json!("coding"), &json!("review")]);
}

#[test]
fn transcripts_steps_and_lists_are_read_in_pages() {
    let server = Server::start();
    let events: Vec<Value> = (0..5).map(|n| json!({"kind": "m", "data": n})).collect();
    let begin = json!({"session": "s", "transcript": "t", "events": events});
    created(server.post("/v1/sessions/acme", &begin.to_string()));
    let page = |query: &str| server.get(&format!("/v1/transcripts/acme/t?limit=2{query}")).json();
    let first = page("");
    assert_eq!(list(&first, "entries", "data"), [&json!(0), &json!(1)]);
    assert_eq!((&first["length"], &first["preceding"]), (&json!(5), &json!(0)));
    let second = page(&format!("&after={}", first["next"].as_str().unwrap()));
    assert_eq!(list(&second, "entries", "data"), [&json!(2), &json!(3)]);
    let last = page(&format!("&after={}", second["next"].as_str().unwrap()));
    assert_eq!((list(&last, "entries", "data"), &last["next"]), (vec![&json!(4)], &Value::Null));
    let newest = page("&newest=true");
    assert_eq!(list(&newest, "entries", "data"), [&json!(3), &json!(4)]);
    let before = newest["entries"][0]["id"].as_str().unwrap();
    let older = page(&format!("&before={before}"));
    assert_eq!(
        (list(&older, "entries", "data"), &older["preceding"]),
        (vec![&json!(1), &json!(2)], &json!(1))
    );
    let both = format!("/v1/transcripts/acme/t?newest=true&before={before}");
    server.get(&both).is_problem(400, "E0001");
    server.get("/v1/transcripts/acme/t?limit=0").is_problem(400, "E0001");
    let absent = format!("/v1/transcripts/acme/t?after={}:0", "0".repeat(64));
    server.get(&absent).is_problem(404, "E0007");
    let again = r#"{"session":"s","transcript":"u"}"#;
    created(server.post("/v1/sessions/acme", again));
    let page = server.get("/v1/sessions/acme/s?limit=1").json();
    assert_eq!(list(&page, "transcripts", "transcript"), [&json!("u")]);
    let next = page["next"].as_str().unwrap();
    let page = server.get(&format!("/v1/sessions/acme/s?limit=1&after={next}")).json();
    assert_eq!(
        (list(&page, "transcripts", "transcript"), &page["next"]),
        (vec![&json!("t")], &Value::Null)
    );
    server.get("/v1/sessions/acme/s?after=x").is_problem(400, "E0006");
    for n in 0..3 {
        let step = json!({"from": n.to_string(), "to": "on"}).to_string();
        created(server.post("/v1/topics/acme/st/transitions", &step));
    }
    let page = server.get("/v1/topics/acme/st/transitions?limit=2").json();
    assert_eq!(list(&page, "transitions", "from"), [&json!("0"), &json!("1")]);
    let next = page["next"].as_str().unwrap();
    let page = server.get(&format!("/v1/topics/acme/st/transitions?limit=2&after={next}")).json();
    assert_eq!(
        (list(&page, "transitions", "from"), &page["next"]),
        (vec![&json!("2")], &Value::Null)
    );
    server.get("/v1/topics/acme/st/transitions?after=12").is_problem(400, "E0006");
    let mut session = server.stream_at("/v1/sessions/acme/s/follow?limit=1", &[]);
    assert_eq!(session.event().unwrap().data["transcript"], "u");
}
