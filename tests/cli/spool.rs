//! A pipe that outlives a restart of its node.

use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use crate::program::{Failed, Home, printed};

/// A pipe through which one line has gone.
fn begun(home: &Home, append: &[&str]) -> (Child, ChildStdin, Lines<BufReader<ChildStdout>>) {
    let mut pipe = home.command(append).stdin(Stdio::piped()).spawn().unwrap();
    let mut input = pipe.stdin.take().unwrap();
    let mut ids = BufReader::new(pipe.stdout.take().unwrap()).lines();
    input.write_all(b"before\n").unwrap();
    ids.next().unwrap().unwrap();
    (pipe, input, ids)
}

#[test]
fn a_pipe_outlives_a_restart_of_its_node() {
    let home = Home::new();
    let node = home.start(&[]);
    let (mut pipe, mut input, mut ids) =
        begun(&home, &["append", "-t", "journal", "--spool", "spool"]);
    node.kill();
    input.write_all(b"while it is away\n").unwrap();
    let mut said = BufReader::new(pipe.stderr.take().unwrap()).lines();
    assert!(said.next().unwrap().unwrap().contains("the node is away"));
    let _node = home.start(&[]);
    ids.next().unwrap().unwrap();
    input.write_all(b"after\n").unwrap();
    drop(input);
    ids.next().unwrap().unwrap();
    assert!(pipe.wait().unwrap().success());
    let all = home.ok(&["query", "--order", "arrival", "-o", "template={{ data }}"]);
    assert_eq!(all, "before\nwhile it is away\nafter\n");
}

#[test]
fn a_pipe_without_a_spool_is_told_of_it() {
    let home = Home::new();
    let node = home.start(&[]);
    let (pipe, mut input, _ids) = begun(&home, &["append"]);
    node.kill();
    input.write_all(b"while it is away\n").unwrap();
    let failed = Failed::of(pipe.wait_with_output().unwrap());
    assert!(failed.is("E0201", 5) && failed.hint.starts_with("--spool DIR"), "{failed:?}");
}

#[test]
fn what_a_spool_must_drop_is_stated_where_it_is_missing() {
    let home = Home::new();
    home.ok(&["init"]);
    let spool = ["append", "-t", "journal", "--spool", "spool", "--spool-bytes", "1000"];
    let lines: String = (0..3_000).map(|number| format!("line {number}\n")).collect();
    let away = [&spool[..], &["--timeout", "1ms"]].concat();
    let failed = Failed::of(home.piped(&[&["-q"], &away[..]].concat(), lines.as_bytes()));
    assert!(failed.is("E0201", 5) && failed.why.contains("in spool/spool"), "{failed:?}");
    let _node = home.start(&[]);
    printed(home.piped(&spool, b"and on\n"));
    let journal = home.json(&["query", "--order", "arrival", "--limit", "5000", "-o", "json"]);
    let entries = journal["entries"].as_array().unwrap();
    let gap = entries.iter().filter(|entry| entry["kind"] == "spool.gap");
    let dropped: u64 = gap.map(|gap| gap["data"]["count"].as_u64().unwrap()).sum();
    let kept = entries.iter().filter(|entry| entry["kind"] == "line").count() as u64;
    assert!(dropped > 0, "{dropped}");
    assert_eq!(kept + dropped, 3_001);
    assert_eq!(entries.last().unwrap()["data"], "and on");
}
