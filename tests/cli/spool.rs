//! A pipe that outlives a restart of its node.

use std::io::{BufRead, BufReader, Lines, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, ChildStderr, ChildStdin, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use crate::program::{Failed, Home, printed};

/// Longer than anything takes that goes well.
const PATIENCE: Duration = Duration::from_secs(60);

/// A pipe, with all its ends.
struct Pipe {
    child: Child,
    input: ChildStdin,
    ids: Receiver<String>,
    said: Lines<BufReader<ChildStderr>>,
}

impl Pipe {
    /// A pipe through which one line has gone.
    fn begun(home: &Home, append: &[&str]) -> Self {
        let mut child = home.command(append).stdin(Stdio::piped()).spawn().unwrap();
        let input = child.stdin.take().unwrap();
        let printed = BufReader::new(child.stdout.take().unwrap()).lines();
        let said = BufReader::new(child.stderr.take().unwrap()).lines();
        let (id, ids) = mpsc::channel();
        std::thread::spawn(move || printed.for_each(|line| drop(id.send(line.unwrap()))));
        let mut pipe = Self { child, input, ids, said };
        pipe.write("before");
        pipe.appended(1);
        pipe
    }

    fn write(&mut self, line: &str) {
        writeln!(self.input, "{line}").unwrap();
    }

    /// Waits until so many more entries are appended. A line that is lost would be waited for for ever.
    fn appended(&mut self, count: usize) {
        (0..count).for_each(|_| drop(self.ids.recv_timeout(PATIENCE).expect("a line is lost")));
    }

    /// Waits until it says something about this.
    fn says(&mut self, about: &str) -> String {
        let line = self.said.next().unwrap().unwrap();
        assert!(line.contains(about), "{line}");
        line
    }

    /// Ends the input, and waits until all is done.
    fn ends_well(self) {
        let Self { mut child, input, ids: _ids, mut said } = self;
        drop(input);
        assert!(child.wait().unwrap().success());
        assert!(said.next().is_none());
    }

    fn fails(self) -> Failed {
        let Self { child, input, ids: _ids, said } = self;
        drop(input);
        let stderr: Vec<String> = said.map(Result::unwrap).collect();
        let stderr = stderr.join("\n").into_bytes();
        Failed::of(std::process::Output { stderr, ..child.wait_with_output().unwrap() })
    }
}

/// All that was appended, in order.
fn appended(home: &Home) -> Vec<String> {
    let all =
        home.ok(&["query", "--order", "arrival", "--limit", "5000", "-o", "template={{ data }}"]);
    all.lines().map(str::to_owned).collect()
}

/// What stands where pipes keep their lines.
fn kept(home: &Home) -> Vec<PathBuf> {
    let places = std::fs::read_dir(home.path().join(".local/state/towline"));
    places.into_iter().flatten().map(|place| place.unwrap().path()).collect()
}

#[test]
fn a_pipe_outlives_restarts_of_its_node() {
    let home = Home::new();
    let mut node = home.start(&[]);
    let mut pipe = Pipe::begun(&home, &["append", "-t", "journal"]);
    let mut expected = vec!["before".to_owned()];
    for round in 0..2 {
        while !kept(&home).is_empty() {}
        node.kill();
        pipe.write(&format!("{round} away"));
        pipe.says("the node is away");
        pipe.write(&format!("{round} still away"));
        assert_eq!(kept(&home).len(), 1);
        node = home.start(&[]);
        pipe.says("the node is back");
        pipe.appended(2);
        pipe.write(&format!("{round} back"));
        pipe.appended(1);
        expected.extend(["away", "still away", "back"].map(|line| format!("{round} {line}")));
    }
    pipe.ends_well();
    assert_eq!(appended(&home), expected);
    assert_eq!(kept(&home).len(), 0);
}

#[test]
fn a_pipe_loses_and_repeats_nothing_however_its_node_is_killed() {
    let home = Home::new();
    let mut node = home.start(&[]);
    let mut pipe = Pipe::begun(&home, &["-q", "append"]);
    let lines: Vec<String> = (0..3_000).map(|number| number.to_string()).collect();
    for (round, lines) in lines.chunks(600).enumerate() {
        let (first, rest) = lines.split_at(1 + 97 * round);
        first.iter().for_each(|line| pipe.write(line));
        pipe.appended(1);
        // In the middle of a request, as a rule.
        node.kill();
        rest.iter().for_each(|line| pipe.write(line));
        node = home.start(&[]);
        pipe.appended(lines.len() - 1);
    }
    pipe.ends_well();
    assert_eq!(appended(&home)[1..], lines);
}

#[test]
fn an_entry_whose_answer_was_lost_is_not_appended_twice() {
    let home = Home::new();
    let node = home.start(&[]);
    let between = losing_an_answer(node.http.strip_prefix("http://").unwrap(), b"unanswered");
    let mut pipe = Pipe::begun(&home, &["append", "--node", &between]);
    pipe.write("unanswered");
    pipe.says("the node is away");
    pipe.says("the node is back");
    pipe.appended(1);
    pipe.write("and on");
    pipe.ends_well();
    assert_eq!(appended(&home), ["before", "unanswered", "and on"]);
}

/// The address of somebody between a node and its clients, who cuts the connection once, instead of
/// passing on the answer to what holds this text.
fn losing_an_answer(node: &str, text: &'static [u8]) -> String {
    const SEEN: u8 = 1;
    const LOST: u8 = 2;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, node) = (listener.local_addr().unwrap(), node.to_owned());
    let answer = Arc::new(AtomicU8::new(0));
    let turns = move |from: u8, to: u8| {
        answer.compare_exchange(from, to, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    };
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let (client, node) = (client.unwrap(), TcpStream::connect(&node).unwrap());
            let (asking, asked) = (client.try_clone().unwrap(), node.try_clone().unwrap());
            let seeing = turns.clone();
            std::thread::spawn(move || {
                passes(asking, asked, |piece| {
                    let _ = piece.windows(text.len()).any(|at| at == text) && seeing(0, SEEN);
                    true
                });
            });
            passes(node, client, |_| !turns(SEEN, LOST));
        }
    });
    format!("http://{address}")
}

/// Passes on what comes until there is no more, or a piece is not to be passed on; then both ends are cut.
fn passes(mut from: TcpStream, mut to: TcpStream, goes_on: impl Fn(&[u8]) -> bool) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        if !goes_on(&buffer[..length]) || to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    drop((from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both)));
}

#[test]
fn a_pipe_that_begins_without_its_node_fails_at_once() {
    let home = Home::new();
    let silent = |append: &[&str]| {
        let mut pipe = home.command(append).stdin(Stdio::piped()).spawn().unwrap();
        let _open = pipe.stdin.take();
        Failed::of(pipe.wait_with_output().unwrap())
    };
    let nobody = ["append", "--node", "http://127.0.0.1:1"];
    for failed in [
        Failed::of(home.piped(&["append"], b"one\n")),
        Failed::of(home.piped(&nobody, b"one\n")),
        silent(&["append"]),
        silent(&nobody),
    ] {
        assert!(failed.is("E0201", 5), "{failed:?}");
    }
    assert_eq!(kept(&home).len(), 0);
}

#[test]
fn a_pipe_without_a_spool_ends_with_its_node() {
    let home = Home::new();
    for append in [&["append", "--no-spool"][..], &["append", "--ack", "peers=0"]] {
        let node = home.start(&[]);
        let mut pipe = Pipe::begun(&home, append);
        node.kill();
        pipe.write("while it is away");
        let failed = pipe.fails();
        assert!(failed.is("E0201", 5), "{failed:?}");
    }
    assert_eq!(kept(&home).len(), 0);
}

#[test]
fn lines_whose_node_stays_away_are_said_to_be_there_and_can_be_sent_later() {
    let home = Home::new();
    let node = home.start(&[]);
    let mut pipe = Pipe::begun(&home, &["append", "--timeout", "1ms"]);
    node.kill();
    pipe.write("unsent");
    pipe.says("the node is away");
    pipe.write("unsent, too");
    let failed = pipe.fails();
    let place = kept(&home).pop().unwrap();
    let (place, later) = (place.display(), failed.hint.clone());
    assert!(failed.is("E0201", 5), "{failed:?}");
    assert!(failed.why.contains(&format!("2 entries wait in {place}/spool")), "{failed:?}");
    assert_eq!(later, format!("towline append --spool {place} < /dev/null"));

    let _node = home.start(&[]);
    let said = String::from_utf8(home.run(&["doctor"]).stdout).unwrap();
    assert!(
        said.contains(&format!("2 entries of a pipe that has ended wait in {place}\n")),
        "{said}"
    );
    assert!(said.contains(&later), "{said}");
    let directory = place.to_string();
    assert_eq!(printed(home.piped(&["append", "--spool", &directory], b"")).lines().count(), 2);
    assert_eq!(appended(&home), ["before", "unsent", "unsent, too"]);
    assert_eq!(kept(&home).len(), 0);
    let nothing = Failed::of(home.piped(&["append", "--spool", &directory], b""));
    assert!(nothing.is("E0005", 2), "{nothing:?}");
}

#[test]
fn what_was_sent_and_removed_since_is_not_sent_again() {
    let home = Home::new();
    let node = home.start(&[]);
    home.ok(&["append", "--key", "k", "-t", "t", "once"]);
    node.terminate();
    let _node = home.start(&[]);
    // Of the newest segment nothing goes.
    home.ok(&["append", "new"]);
    home.ok(&["retain", "--below", "1"]);
    let draft = r#"{"topic":"t","kind":"line","content_type":"text/plain","data":"once"}"#;
    let head = format!(r#"{{"key":"k","count":1,"bytes":{}}}"#, draft.len() + 1);
    let spool = home.path().join("spool");
    std::fs::create_dir(&spool).unwrap();
    std::fs::write(spool.join("spool"), format!("{head}\n{draft}\n")).unwrap();
    assert_eq!(printed(home.piped(&["append", "--spool", "spool"], b"")), "");
    assert_eq!(appended(&home), ["new"]);
}

#[test]
fn a_spool_with_a_name_keeps_lines_for_a_node_that_is_still_to_be_started() {
    let home = Home::new();
    home.ok(&["init"]);
    let mut pipe = home.command(&["append", "--spool", "spool"]);
    let mut pipe = pipe.stdin(Stdio::piped()).spawn().unwrap();
    pipe.stdin.take().unwrap().write_all(b"early\n").unwrap();
    let mut said = BufReader::new(pipe.stderr.take().unwrap()).lines();
    assert!(said.next().unwrap().unwrap().contains("the node is away"));
    let _node = home.start(&[]);
    assert!(pipe.wait().unwrap().success());
    assert_eq!(appended(&home), ["early"]);
    assert!(home.path().join("spool/spool").exists());
}

#[test]
fn what_a_spool_must_drop_is_stated_where_it_is_missing() {
    let home = Home::new();
    let node = home.start(&[]);
    let mut pipe = Pipe::begun(&home, &["append", "-t", "journal", "--spool-bytes", "1000"]);
    node.kill();
    pipe.write("1");
    pipe.says("the node is away");
    (2..=3_000).for_each(|line| pipe.write(&line.to_string()));
    let _node = home.start(&[]);
    pipe.says("the node is back");
    pipe.write("and on");
    pipe.ends_well();
    let journal = home.json(&["query", "--order", "arrival", "--limit", "5000", "-o", "json"]);
    let entries = journal["entries"].as_array().unwrap();
    // Numbers, and gaps which say how many of them are missing where they stand.
    let mut number = 0;
    for entry in &entries[1..entries.len() - 1] {
        assert_eq!(entry["topic"], "journal");
        if entry["kind"] == "spool.gap" {
            assert_eq!(
                (&entry["data"]["reason"], &entry["data"]["exact"]),
                (&"spool_full".into(), &true.into())
            );
            number += entry["data"]["count"].as_u64().unwrap();
        } else {
            number += 1;
            assert_eq!(entry["data"], number.to_string());
        }
    }
    assert!(number == 3_000 && entries.len() < 3_000, "{number} {}", entries.len());
    assert_eq!(entries.last().unwrap()["data"], "and on");
}

#[test]
fn lines_of_a_file_wait_and_are_not_dropped() {
    let home = Home::new();
    let node = home.start(&[]);
    let lines: Vec<String> = (0..4_500).map(|number| number.to_string()).collect();
    let file = home.path().join("lines");
    std::fs::write(&file, lines.join("\n")).unwrap();
    let mut append = home.command(&["append", "--spool-bytes", "1000"]);
    let mut append = append.stdin(std::fs::File::open(&file).unwrap()).spawn().unwrap();
    let mut ids = BufReader::new(append.stdout.take().unwrap()).lines();
    ids.next().unwrap().unwrap();
    node.kill();
    let _node = home.start(&[]);
    assert_eq!(ids.count(), lines.len() - 1);
    assert!(append.wait().unwrap().success());
    assert_eq!(appended(&home), lines);
}

#[test]
fn small_pipes_leave_nothing_behind() {
    let home = Home::new();
    let _node = home.start(&[]);
    printed(home.piped(&["append"], b"one\n"));
    assert!(!home.path().join(".local").exists());
}
