//! Named cursors, and readers that are strict about gaps.

use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;

use crate::program::{Failed, Home, printed};

const UNREAD: [&str; 4] = ["tail", "--cursor", "mailer", "--until-caught-up"];

#[test]
fn a_named_reader_sees_each_entry_once_across_restarts_of_the_node() {
    let home = Home::new();
    let node = home.start(&[]);
    home.ok(&["append", "one"]);
    assert!(home.ok(&UNREAD).contains("one"));
    assert_eq!(home.ok(&UNREAD), "");
    home.ok(&["append", "two"]);
    node.kill();
    let _node = home.start(&[]);
    let listed = home.json(&["cursor", "ls", "-o", "json"]);
    let mailer = &listed["cursors"][0];
    assert_eq!((&mailer["name"], &mailer["lag"]["entries"]), (&"mailer".into(), &1.into()));
    assert!(mailer.get("lease").is_none(), "{mailer}");
    let read = home.ok(&UNREAD);
    assert!(read.contains("two") && !read.contains("one"), "{read}");
}

#[test]
fn a_cursor_is_set_back_for_a_replay_and_removed() {
    let home = Home::new();
    let _node = home.start(&[]);
    home.ok(&["append", "one"]);
    home.ok(&["cursor", "set", "mailer", "end"]);
    assert_eq!(home.ok(&UNREAD), "");
    assert!(home.ok(&["cursor", "set", "mailer"]).contains("1 entry"));
    assert!(home.ok(&UNREAD).contains("one"));
    assert!(home.ok(&["cursor", "ls"]).contains("nothing"));
    home.ok(&["cursor", "rm", "mailer"]);
    let failed = home.fails(&["cursor", "rm", "mailer"]);
    assert!(failed.is("E0007", 1) && failed.hint == "towline cursor ls", "{failed:?}");
    assert!(home.fails(&["cursor", "set", "../mailer"]).is("E0002", 2));
    assert!(home.fails(&["cursor", "set", "mailer", "o:0000000000000000.0"]).is("E0006", 2));
}

#[test]
fn one_reader_at_a_time_has_a_cursor() {
    let home = Home::new();
    let _node = home.start(&[]);
    home.ok(&["append", "one"]);
    let mut first = home.command(&["tail", "-f", "--cursor", "mailer"]).spawn().unwrap();
    let mut line = String::new();
    let mut output = BufReader::new(first.stdout.take().unwrap());
    output.read_line(&mut line).unwrap();
    assert!(line.contains("one"), "{line}");
    let second = home.fails(&UNREAD);
    assert!(second.is("E0015", 7), "{second:?}");
    // Whoever sets it ends the lease: the first reader prints nothing more, and says why.
    home.ok(&["cursor", "set", "mailer", "start"]);
    assert!(home.ok(&UNREAD).contains("one"));
    home.ok(&["cursor", "set", "mailer", "start"]);
    first.kill().unwrap();
    first.wait().unwrap();
}

#[test]
fn a_strict_reader_ends_at_the_first_gap() {
    let home = Home::new();
    let node = home.start(&[]);
    // A crash with events under way leaves a gap.
    let events = "x\n".repeat(20_000);
    let small = ["emit", "-t", "noise"];
    printed(home.piped(&small, events.as_bytes()));
    node.kill();
    let _node = home.start(&["--emit-ring", "1"]);
    printed(home.piped(&small, events.as_bytes()));
    while home.json(&["gaps", "-o", "json"])["gaps"].as_array().unwrap().is_empty() {}
    let tail = ["tail", "--until-caught-up", "--strict", "-o", "json"];
    let output = home.command(&tail).stdin(Stdio::null()).output().unwrap();
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let last = document["entries"].as_array().unwrap().last().unwrap().clone();
    assert_eq!(last["kind"], "towline.gap");
    let failed = Failed::of(output);
    assert!(failed.is("E0302", 4), "{failed:?}");
    let (_, after) = failed.hint.split_once("--after ").unwrap();
    let rest = home.command(&["tail", "--until-caught-up", "--after", after]).output().unwrap();
    assert!(rest.status.success());
    let mut text = String::new();
    rest.stdout.as_slice().read_to_string(&mut text).unwrap();
    assert!(!text.contains(last["id"].as_str().unwrap()));
}
