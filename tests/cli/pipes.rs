//! Pipes: lines that become entries, and readers that leave.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::Stdio;

use serde_json::Value;

use crate::program::{Failed, Home, printed};

fn payloads(home: &Home, topic: &str) -> Vec<Value> {
    let lines = home.ok(&["query", "--topic", topic, "-o", "ndjson"]);
    let entry = |line| serde_json::from_str::<Value>(line).unwrap();
    let data = |mut entry: Value| match entry["data"].take() {
        Value::Null => entry["data_base64"].take(),
        data => data,
    };
    lines.lines().map(entry).map(data).collect()
}

#[test]
fn a_line_becomes_an_entry_byte_for_byte() {
    let home = Home::new();
    let _node = home.start(&[]);
    let ids =
        printed(home.piped(&["append", "-t", "t"], b"a\r\n\n\xff\x00\n\"last\xc3\xa9\x1b[31m"));
    assert_eq!(ids.lines().count(), 4);
    assert_eq!(payloads(&home, "t"), ["a\r", "", "/wA=", "\"lasté\u{1b}[31m"]);
}

#[test]
fn an_argument_is_one_entry_with_all_its_lines() {
    let home = Home::new();
    let _node = home.start(&[]);
    home.ok(&["append", "-t", "t", "two\nlines\n"]);
    assert_eq!(payloads(&home, "t"), ["two\nlines\n"]);
}

#[test]
fn flags_fill_what_a_draft_leaves_out() {
    let home = Home::new();
    let _node = home.start(&[]);
    let drafts = b"{\"data\":{\"a\":1.0}}\n\n{\"kind\":\"own\",\"data\":null,\"attributes\":{\"x\":\"y\"}}\n";
    let arguments = ["append", "--format", "ndjson", "-t", "t", "-k", "given", "--attr", "x=z"];
    printed(home.piped(&arguments, drafts));
    let page = home.json(&["query", "-o", "json"]);
    let entries = page["entries"].as_array().unwrap();
    assert_eq!((&entries[0]["kind"], &entries[1]["kind"]), (&"given".into(), &"own".into()));
    assert_eq!(entries[0]["data"].to_string(), "{\"a\":1.0}");
    assert_eq!(entries[0]["attributes"]["x"], "z");
    assert_eq!(entries[1]["attributes"]["x"], "y");
}

#[test]
fn a_bad_line_is_named_and_what_came_before_it_stays() {
    let home = Home::new();
    let _node = home.start(&[]);
    let mut lines = b"one\ntwo\n".to_vec();
    lines.extend(vec![b'x'; (1 << 20) + 1]);
    lines.extend(b"\nthree\n");
    let output = home.piped(&["append", "-t", "t"], &lines);
    assert_eq!(output.stdout.iter().filter(|byte| **byte == b'\n').count(), 2);
    let failed = Failed::of(output);
    assert!(failed.is("E0003", 2), "{failed:?}");
    assert!(failed.what.contains("line 3") && failed.why.contains("2 entries"), "{failed:?}");
    assert_eq!(payloads(&home, "t"), ["one", "two"]);
    let drafts = b"{\"data\":1}\n{nope\n";
    let failed = Failed::of(home.piped(&["append", "--format", "ndjson"], drafts));
    assert!(failed.is("E0004", 2) && failed.what.contains("line 2"), "{failed:?}");
}

#[test]
fn the_largest_line_is_appended() {
    let home = Home::new();
    let _node = home.start(&[]);
    // Control characters take six bytes each as JSON.
    let mut lines = vec![1; 1 << 20];
    lines.push(b'\n');
    assert_eq!(printed(home.piped(&["append"], &lines)).lines().count(), 1);
}

#[test]
fn a_slow_pipe_is_appended_line_by_line() {
    let home = Home::new();
    let _node = home.start(&[]);
    let mut child = home.command(&["append"]).stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut ids = BufReader::new(child.stdout.take().unwrap());
    for seq in 0..3 {
        writeln!(stdin, "line").unwrap();
        let mut id = String::new();
        ids.read_line(&mut id).unwrap();
        assert!(id.trim_end().ends_with(&format!(":{seq}")), "{id}");
    }
    drop(stdin);
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_key_makes_a_retry_harmless() {
    let home = Home::new();
    let _node = home.start(&[]);
    let lines: String = (0..2_500).map(|n| format!("{n}\n")).collect();
    let append = |key| home.piped(&["append", "--key", key], lines.as_bytes());
    let first = printed(append("job-7"));
    assert_eq!(first.lines().count(), 2_500);
    assert_eq!(printed(append("job-7")), first);
    assert_ne!(printed(append("job-8")), first);
    assert!(home.fails(&["append", "--key", "job-7", "other"]).is("E0008", 7));
}

#[test]
fn receipts_are_one_json_array() {
    let home = Home::new();
    let _node = home.start(&[]);
    let lines: String = (0..2_100).map(|n| format!("{n}\n")).collect();
    let output = home.piped(&["append", "-o", "json"], lines.as_bytes());
    let receipts: Vec<Value> = serde_json::from_str(&printed(output)).unwrap();
    assert_eq!(receipts.len(), 2_100);
    assert_eq!(receipts[2_099]["offset"], 2_099);
    assert_eq!(receipts[0]["hash"].as_str().unwrap().len(), 64);
}

#[test]
fn a_reader_that_leaves_ends_a_command_quietly() {
    let home = Home::new();
    let _node = home.start(&[]);
    let lines: String = (0..5_000).map(|n| format!("{n}\n")).collect();
    printed(home.piped(&["append"], lines.as_bytes()));
    for arguments in [["tail", "-n", "5000"], ["query", "-o", "json"], ["tail", "-f", "-n5000"]] {
        let mut child = home.command(&arguments).spawn().unwrap();
        let mut first = [0; 10];
        child.stdout.take().unwrap().read_exact(&mut first).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        assert_eq!(output.stderr, b"", "{arguments:?}");
    }
}

#[test]
fn all_is_appended_even_when_nobody_reads_the_ids() {
    let home = Home::new();
    let _node = home.start(&[]);
    let mut child = home.command(&["append"]).stdin(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let mut stdin = child.stdin.take().unwrap();
    for n in 0..3_000 {
        writeln!(stdin, "{n}").unwrap();
    }
    drop(stdin);
    assert!(child.wait().unwrap().success());
    assert_eq!(home.json(&["status", "-o", "json"])["entries"], 3_000);
}

#[test]
fn a_follower_goes_on_where_its_connection_was_lost() {
    let home = Home::new();
    let node = home.start(&[]);
    home.ok(&["append", "one"]);
    let mut child = home.command(&["tail", "-f", "-o", "ndjson"]).spawn().unwrap();
    let mut line = String::new();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    lines.read_line(&mut line).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&line).unwrap()["data"], "one");
    node.kill();
    let failed = Failed::of(child.wait_with_output().unwrap());
    assert!(failed.is("E0201", 5), "{failed:?}");
    let (_, cursor) = failed.hint.rsplit_once(' ').unwrap();
    let _node = home.start(&[]);
    home.ok(&["append", "two"]);
    let tail = home.json(&["tail", "--after", cursor, "-o", "json"]);
    let entries = tail["entries"].as_array().unwrap();
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0]["data"], "two");
}

#[test]
fn tail_shows_the_newest_and_until_caught_up_shows_all() {
    let home = Home::new();
    let _node = home.start(&[]);
    let lines: String = (0..25).map(|n| format!("{n}\n")).collect();
    printed(home.piped(&["append"], lines.as_bytes()));
    assert_eq!(home.ok(&["tail"]).lines().count(), 10);
    assert_eq!(home.ok(&["tail", "-n", "3"]).lines().count(), 3);
    let all = home.json(&["tail", "--until-caught-up", "-o", "json"]);
    assert_eq!(all["entries"].as_array().unwrap().len(), 25);
    let cursor = all["next"].as_str().unwrap();
    assert_eq!(home.ok(&["tail", "--after", cursor]), "");
}

#[test]
fn nothing_in_an_entry_commands_the_terminal() {
    let home = Home::new();
    let _node = home.start(&[]);
    home.ok(&["append", "-t", "a\u{202e}b", "\u{1b}[31m\n\u{7}"]);
    let line = home.ok(&["tail"]);
    assert!(line.ends_with("a\\u{202e}b  line  \\u{1b}[31m\\n\\u{7}\n"), "{line}");
}

#[test]
fn a_foreign_event_leaves_as_it_came() {
    let home = Home::new();
    let _node = home.start(&[]);
    let event = r#"{"specversion":"1.0","id":"7","source":"/shop","type":"sold","data":{"n":1}}"#;
    let appended = home.piped(&["append", "--format", "cloudevents"], event.as_bytes());
    assert!(appended.status.success(), "{appended:?}");
    for arguments in [
        &["query", "-o", "cloudevents"][..],
        &["tail", "-o", "cloudevents"],
        &["export", "--format", "cloudevents"],
    ] {
        let shown: serde_json::Value = serde_json::from_str(&home.ok(arguments)).unwrap();
        let came: serde_json::Value = serde_json::from_str(event).unwrap();
        for (name, value) in came.as_object().unwrap() {
            assert_eq!(&shown[name], value, "{arguments:?} {name}");
        }
    }
    let refused = home.piped(&["append", "--format", "cloudevents"], b"{\"specversion\":\"1.0\"}");
    assert!(crate::program::Failed::of(refused).is("E0004", 2));
}
