//! `towline session`, `thread`, `feed` and `context`.

use crate::program::Home;

#[test]
fn a_session_is_kept_and_read_on_the_command_line() {
    let home = Home::new();
    let _node = home.start(&[]);
    home.ok(&["session", "begin", "agent-7", "first", "You are a reviewer."]);
    let extended = home.ok(&["session", "extend", "first", "-k", "answer", "I am."]);
    assert!(extended.contains("forked false"), "{extended}");
    let shown = home.ok(&["session", "show", "first"]);
    assert_eq!(shown.lines().count(), 2, "{shown}");
    assert!(shown.contains("answer  I am."), "{shown}");
    let listed = home.ok(&["session", "ls"]);
    assert!(listed.starts_with("agent-7  1 transcript, newest first  "), "{listed}");
    home.ok(&["session", "fork", "agent-7", "second", "--of", "first", "--at", "1", "Again."]);
    home.ok(&["session", "compact", "agent-7", "third", "--of", "second", "Summed up."]);
    let listed = home.ok(&["session", "ls", "agent-7"]);
    let lines: Vec<&str> = listed.lines().collect();
    assert!(lines[0].starts_with("third  compaction of second  "), "{listed}");
    assert!(lines[1].starts_with("second  fork of first at 1  "), "{listed}");
    assert!(lines[2].starts_with("first  start  "), "{listed}");
    assert_eq!(home.ok(&["session", "ls", "--tenant", "acme"]), "");
    let empty = home.fails(&["session", "extend", "first"]);
    assert_eq!((empty.exit, empty.code.as_str()), (2, "E0005"));
    let failed = home.fails(&["session", "show", "fourth"]);
    assert_eq!((failed.exit, failed.code.as_str()), (1, "E0007"));
}

#[test]
fn a_thread_is_numbered_archived_and_put_into_a_prompt() {
    let home = Home::new();
    let _node = home.start(&[]);
    let unknown = home.fails(&["thread", "show", "story/42"]);
    assert_eq!((unknown.exit, unknown.code.as_str()), (1, "E0020"));
    assert_eq!(home.ok(&["thread", "append", "story/42", "it began"]), "ordinal 1\n");
    assert_eq!(home.ok(&["thread", "append", "story/42", "it went on"]), "ordinal 2\n");
    let archived = home.json(&["thread", "archive", "story/42", "1", "-o", "json"]);
    assert_eq!(archived, serde_json::json!({"archived": 1, "watermark": 1}));
    home.ok(&["thread", "step", "story/7", "backlog", "coding", "--event", r#"{"by":1}"#]);
    let steps = home.ok(&["thread", "transitions", "story/7"]);
    assert!(steps.starts_with("     1  "), "{steps}");
    assert!(steps.ends_with("  backlog -> coding  {\"by\":1}\n"), "{steps}");
    let steps = home.json(&["thread", "transitions", "story/7", "-o", "json"]);
    assert_eq!(steps["transitions"][0]["event"]["by"], 1);
    assert!(home.fails(&["thread", "step", "story/7", "a", "b", "--event", "{"]).is("E0001", 2));
    let loaded = home.ok(&["thread", "load", "story/42"]);
    assert!(loaded.trim_start().starts_with("2  ") && loaded.lines().count() == 1, "{loaded}");
    assert!(home.ok(&["context", "story/42"]).ends_with("message: it went on\n"));
    let beyond = home.fails(&["thread", "archive", "story/42", "9"]);
    assert_eq!((beyond.exit, beyond.code.as_str()), (2, "E0022"));
}

#[test]
fn long_lists_are_shown_as_a_whole_or_in_pages_that_say_where_they_go_on() {
    let home = Home::new();
    let _node = home.start(&[]);
    for n in 0..3 {
        home.ok(&["session", "begin", "s", &format!("t{n}"), "hello"]);
    }
    for n in 0..4 {
        home.ok(&["session", "extend", "t0", &n.to_string()]);
    }
    let all = home.ok(&["session", "show", "t0"]);
    assert_eq!(all.lines().count(), 5, "{all}");
    let page = home.json(&["session", "show", "t0", "--limit", "2", "-o", "json"]);
    let next = page["next"].as_str().unwrap();
    let output = home.run(&["session", "show", "t0", "--limit", "2"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains(&format!("--after {next}")), "{said}");
    let rest = home.ok(&["session", "show", "t0", "--after", next]);
    assert_eq!(rest.lines().collect::<Vec<_>>(), all.lines().skip(2).collect::<Vec<_>>());
    let newest = home.ok(&["session", "show", "t0", "--newest", "--limit", "2"]);
    assert_eq!(newest.lines().collect::<Vec<_>>(), all.lines().skip(3).collect::<Vec<_>>());
    let lines = home.ok(&["session", "ls", "s", "-o", "ndjson"]);
    assert_eq!(lines.lines().count(), 3, "{lines}");
    let page = home.json(&["session", "ls", "s", "--limit", "1", "-o", "json"]);
    assert_eq!(page["transcripts"][0]["transcript"], "t2");
    let rest = home.ok(&["session", "ls", "s", "--after", page["next"].as_str().unwrap()]);
    assert_eq!(rest.lines().count(), 2, "{rest}");
    home.ok(&["thread", "append", "t", "one"]);
    home.ok(&["thread", "append", "t", "two"]);
    let output = home.run(&["thread", "load", "t", "--limit", "1"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("--after 1"), "{said}");
}

#[test]
fn a_persona_is_a_filter_with_a_name() {
    let home = Home::new();
    let _node = home.start(&[]);
    assert_eq!(home.ok(&["persona", "ls"]), "");
    let unknown = home.fails(&["tail", "--persona", "reviewer"]);
    assert_eq!((unknown.exit, unknown.code.as_str()), (1, "E0007"));
    let set = ["persona", "set", "reviewer", "--kind", "transition", "--attribute", "to=review"];
    home.ok(&[&set[..], &["--topic", "story/*"]].concat());
    let listed = home.ok(&["persona", "ls"]);
    assert!(listed.starts_with("reviewer  {") && listed.contains("review"), "{listed}");
    for (topic, to) in [("story/1", "coding"), ("story/1", "review"), ("other", "review")] {
        home.ok(&["thread", "step", topic, "before", to]);
    }
    let heard = home.ok(&["tail", "--persona", "reviewer", "--until-caught-up"]);
    assert_eq!(heard.lines().count(), 1, "{heard}");
    assert!(heard.contains("story/1") && heard.contains("review"), "{heard}");
    let odd = home.fails(&["persona", "set", "reviewer", "--attribute", "to"]);
    assert_eq!((odd.exit, odd.code.as_str()), (2, "E0001"));
}
