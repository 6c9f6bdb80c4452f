//! Commands on a data directory with no node, or beside one.

use serde_json::Value;
use towline::{Config, Draft, Node};

use crate::program::{Home, printed};

/// A log of so many entries, written by a node that has ended since.
fn written(home: &Home, entries: usize) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let node = Node::open(Config::new(home.data())).await.unwrap();
        for n in 0..entries {
            let topic = if n % 2 == 0 { "even" } else { "odd" };
            let draft = Draft::json(topic, "number", &serde_json::json!({ "n": n }));
            node.append(draft.unwrap()).await.unwrap();
        }
        node.shutdown().await.unwrap();
    });
}

fn numbers(page: &Value) -> Vec<u64> {
    let entries = page["entries"].as_array().unwrap().iter();
    entries.map(|entry| entry["data"]["n"].as_u64().unwrap()).collect()
}

#[test]
fn a_query_needs_no_node() {
    let home = Home::new();
    written(&home, 6);
    let page = home.json(&["query", "--topic", "odd", "--reverse", "-o", "json"]);
    assert_eq!(numbers(&page), [5, 3, 1]);
    assert_eq!(page["next"], Value::Null);
    assert_eq!(home.ok(&["query", "--grep", "\"n\":4"]).lines().count(), 1);
    assert_eq!(home.ok(&["query", "--since", "1h"]).lines().count(), 6);
    assert_eq!(home.ok(&["query", "--until", "1h"]), "");
    assert_eq!(home.ok(&["gaps"]), "");
    let id = page["entries"][0]["id"].as_str().unwrap();
    assert_eq!(home.json(&["get", id, "-o", "json"]), page["entries"][0]);
    let missing = id.replace(":5", ":6");
    assert!(home.fails(&["get", &missing]).is("E0007", 1));
}

#[test]
fn what_was_removed_is_told_from_what_never_came() {
    let home = Home::new();
    written(&home, 3);
    let page = home.json(&["query", "-o", "json"]);
    let id = page["entries"][1]["id"].as_str().unwrap();
    let never = id.replace(":1", ":9");
    let node = home.start(&[]);
    // Of the newest segment nothing goes.
    home.ok(&["append", "new"]);
    home.ok(&["retain", "--below", "3"]);
    let is_told = || {
        for (id, code, exit) in [(id, "E0029", 7), (&never, "E0007", 1)] {
            for get in [&["get", id][..], &["get", id, "--proof"]] {
                assert!(home.fails(get).is(code, exit), "{get:?}");
            }
        }
    };
    is_told();
    node.terminate();
    is_told();
}

#[test]
fn a_node_answers_a_query_as_its_store_does() {
    let home = Home::new();
    written(&home, 5);
    let orders = ["time", "arrival", "author"];
    let ask = |order| home.ok(&["query", "--order", order, "-o", "ndjson"]);
    let offline = orders.map(ask);
    let _node = home.start(&[]);
    assert_eq!(orders.map(ask), offline);
}

#[test]
fn a_query_says_what_was_read_for_it() {
    let home = Home::new();
    written(&home, 6);
    let ask = ["query", "--topic", "odd", "--explain"];
    let explained = home.json(&[&ask[..], &["-o", "json"]].concat());
    let index = serde_json::json!({"series": ["default/odd"], "entries": 3, "changes": 3});
    assert_eq!(explained["index"], index);
    assert_eq!(explained["changes"]["held"], 6);
    assert_eq!(explained["changes"]["pruned"]["topic"], 3);
    assert_eq!(explained["changes"]["read"], 3);
    assert_eq!((&explained["looked_at"], &explained["returned"]), (&3.into(), &3.into()));
    let text = home.ok(&ask);
    assert!(text.starts_with("index of default/odd: 3 entries in 3 changes\n"), "{text}");
    assert!(text.contains("read 0 of 0 blocks and 3 of 6 single changes: "), "{text}");
    let whole = home.ok(&["query", "--explain"]);
    assert!(whole.starts_with("index not used: "), "{whole}");
    let _node = home.start(&[]);
    let of_node = home.json(&[&ask[..], &["-o", "json"]].concat());
    assert_eq!(of_node["returned"], explained["returned"]);
    assert_eq!(of_node["index"], explained["index"]);
}

#[test]
fn pages_join_without_a_seam() {
    let home = Home::new();
    written(&home, 5);
    let first = home.json(&["query", "--limit", "3", "-o", "json"]);
    let next = first["next"].as_str().unwrap();
    let rest = home.json(&["query", "--after", next, "-o", "json"]);
    assert_eq!((numbers(&first), numbers(&rest)), (vec![0, 1, 2], vec![3, 4]));
}

#[test]
fn an_untouched_store_is_verified() {
    let home = Home::new();
    written(&home, 4);
    let verified = home.json(&["verify", "-o", "json"]);
    assert_eq!((&verified["entries"], &verified["authors"]), (&4.into(), &1.into()));
    assert!(home.ok(&["verify"]).starts_with("ok: 4 entries"));
}

#[test]
fn a_store_is_verified_beside_a_node_that_writes() {
    let home = Home::new();
    let _node = home.start(&[]);
    let lines: String = (0..20_000).map(|n| format!("{n}\n")).collect();
    std::thread::scope(|scope| {
        let append = scope.spawn(|| printed(home.piped(&["append"], lines.as_bytes())));
        while !append.is_finished() {
            home.ok(&["verify"]);
        }
    });
}

#[test]
fn a_flipped_byte_is_found_and_its_place_named() {
    let home = Home::new();
    written(&home, 3);
    let store = home.data().join("log.sqlite");
    let database = rusqlite::Connection::open(&store).unwrap();
    let (offset, mut bytes): (i64, Vec<u8>) = database
        .query_row("SELECT offset, bytes FROM changes WHERE first_seq = 1", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .unwrap();
    let middle = bytes.len() - 3;
    bytes[middle] ^= 1;
    let update = "UPDATE changes SET bytes = ?1 WHERE offset = ?2";
    database.execute(update, (bytes, offset)).unwrap();
    drop(database);
    let failed = home.fails(&["verify", store.to_str().unwrap()]);
    assert!(failed.is("E0301", 3), "{failed:?}");
    assert!(failed.why.contains(":1"), "{failed:?}");
}

#[test]
fn a_signature_of_somebody_else_is_found() {
    let home = Home::new();
    written(&home, 3);
    let database = rusqlite::Connection::open(home.data().join("log.sqlite")).unwrap();
    let swap = "UPDATE changes SET signature = (SELECT signature FROM changes WHERE first_seq = 0)
        WHERE first_seq = 2";
    assert_eq!(database.execute(swap, []).unwrap(), 1);
    drop(database);
    let failed = home.fails(&["verify"]);
    assert!(failed.is("E0301", 3), "{failed:?}");
    assert!(failed.why.contains(":2"), "{failed:?}");
}

#[test]
fn an_exported_document_opens_in_automerge_with_every_entry() {
    use automerge::{Automerge, ROOT, ReadDoc};

    let home = Home::new();
    written(&home, 7);
    home.ok(&["export", "--format", "automerge", "--output", "log.automerge"]);
    let saved = std::fs::read(home.path().join("log.automerge")).unwrap();
    let piped = home.run(&["export", "--format", "automerge"]).stdout;
    assert_eq!(piped, saved);
    let document = Automerge::load(&saved).unwrap();
    let (_, list) = document.get(ROOT, "entries").unwrap().unwrap();
    assert_eq!(document.length(&list), 7);
    let stranger = "0".repeat(64);
    let arguments = ["export", "--format", "automerge", "--author", &stranger];
    let document = Automerge::load(&home.run(&arguments).stdout).unwrap();
    let (_, list) = document.get(ROOT, "entries").unwrap().unwrap();
    assert_eq!(document.length(&list), 0);
}

#[test]
fn a_document_is_exported_whole_or_by_author() {
    let home = Home::new();
    written(&home, 1);
    let arguments = ["export", "--format", "automerge", "--topic", "even"];
    assert!(home.fails(&arguments).is("E0001", 2));
}

#[test]
fn lines_are_exported_as_they_are_queried() {
    let home = Home::new();
    written(&home, 4);
    let lines = home.ok(&["export", "--topic", "odd"]);
    assert_eq!(lines, home.ok(&["query", "--topic", "odd", "-o", "ndjson"]));
    home.ok(&["export", "--topic", "odd", "--output", "odd.ndjson"]);
    let file = std::fs::read_to_string(home.path().join("odd.ndjson")).unwrap();
    assert_eq!(file, lines);
}
