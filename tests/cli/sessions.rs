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
    assert!(home.ok(&["session", "ls"]).contains("session agent-7"));
    let failed = home.fails(&["session", "show", "second"]);
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
    let loaded = home.ok(&["thread", "load", "story/42"]);
    assert!(loaded.trim_start().starts_with("2  ") && loaded.lines().count() == 1, "{loaded}");
    assert!(home.ok(&["context", "story/42"]).ends_with("message: it went on\n"));
    let beyond = home.fails(&["thread", "archive", "story/42", "9"]);
    assert_eq!((beyond.exit, beyond.code.as_str()), (2, "E0022"));
}
