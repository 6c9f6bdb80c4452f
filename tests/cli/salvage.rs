//! A damaged store, as a person meets it: what is said is what to type.

use std::fs;

use serde_json::Value;

use crate::program::{Home, Running};

/// A log of five entries, and its store's file.
fn five_entries() -> (Home, std::path::PathBuf) {
    let home = Home::new();
    let node = home.start(&[]);
    home.piped(&["append"], b"one\ntwo\nthree\nfour\nfive\n");
    node.terminate();
    let store = home.data().join("log.sqlite");
    (home, store)
}

#[test]
fn a_store_that_cant_be_read_is_salvaged_with_the_command_that_the_error_names() {
    let (home, store) = five_entries();
    let mut bytes = fs::read(&store).unwrap();
    bytes[..100].fill(0xaa);
    fs::write(&store, bytes).unwrap();
    let refused = home.fails(&["run", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"]);
    assert!(refused.is("E0103", 1), "{refused:?}");
    let named: Vec<&str> = refused.hint.split(' ').collect();
    assert_eq!(named, ["towline", "salvage", "--data", home.data().to_str().unwrap()]);
    let said = home.ok(&named[1..]);
    assert!(said.contains("salvaged  5 entries"), "{said}");
    assert!(home.ok(&["verify"]).starts_with("ok: 5 entries"));
    let node: Running = home.start(&[]);
    assert_eq!(home.ok(&["query"]).lines().count(), 5);
    node.terminate();
    assert!(home.ok(&["salvage"]).contains("stays as it is"));
}

#[test]
fn entries_that_are_missing_are_told_until_they_are_given_up() {
    let (home, store) = five_entries();
    let older = fs::read(&store).unwrap();
    let node = home.start(&[]);
    home.ok(&["append", "six"]);
    node.terminate();
    fs::write(&store, older).unwrap();

    let failed = home.fails(&["verify"]);
    assert!(failed.is("E0301", 3), "{failed:?}");
    assert!(
        failed.why.contains("lost 1 entries at least, 1 of them this node's own"),
        "{failed:?}"
    );
    let status = home.json(&["status", "-o", "json"]);
    assert_eq!(status["missing"]["entries"], 1);
    let node = home.start(&[]);
    let status = home.json(&["status", "-o", "json"]);
    assert_eq!((&status["state"], &status["missing"]["own"]), (&"degraded".into(), &1.into()));
    assert!(home.ok(&["status"]).contains("missing   1 entry at least"));
    node.terminate();
    assert!(failed.hint.contains("towline salvage --forget-missing"));
    assert!(home.ok(&["salvage", "--forget-missing"]).contains("forgotten"));
    assert!(home.ok(&["verify"]).starts_with("ok: 5 entries"));
    assert_eq!(home.json(&["status", "-o", "json"])["missing"], Value::Null);
}
