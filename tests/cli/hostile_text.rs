//! Text that authors chose: whatever it is, it can't take over the terminal on which it is printed.

use crate::program::Home;

/// Escape sequences, one of them in eight bits, and characters that turn the direction of writing.
const PAYLOAD: &str =
    "a\u{1b}[2J\u{1b}]0;owned\u{7}\u{9b}31m\r\n\u{202e}b\u{2066}\u{200f}\u{0}\u{7f}";
/// A topic and a kind can't hold control characters, and these they can.
const NAME: &str = "t\u{202e}\u{2067}x";

/// Whether a terminal only shows the text.
fn is_harmless(text: &str) -> bool {
    let turns = |c: char| {
        matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}' | '\u{2029}'
            | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().all(|c| c == '\n' || !(c.is_control() || turns(c)))
}

#[test]
fn no_command_prints_what_commands_a_terminal() {
    let home = Home::new();
    let node = home.start(&[]);
    let draft = serde_json::json!({
        "topic": NAME, "kind": NAME, "attributes": {"as": PAYLOAD},
        "content_type": "text/plain", "data": PAYLOAD,
    });
    let appending = ["append", "--format", "ndjson", "-"];
    let appended = home.piped(&appending, format!("{draft}\n").as_bytes());
    let id = crate::program::printed(appended).trim().to_owned();
    let get = ["get", &id];
    let commands: [&[&str]; 4] = [&["tail"], &["query"], &["query", "--reverse"], &get];
    for command in commands {
        let text = home.ok(command);
        assert!(text.contains("\\u{1b}[2J") && text.contains("\\u{202e}"), "{text:?}");
        assert!(is_harmless(&text), "{command:?} prints {text:?}");
    }
    node.kill();
    for command in [&["query"][..], &get] {
        assert!(is_harmless(&home.ok(command)), "{command:?} without a node");
    }
    let missing = home.fails(&["query", "--topic", "\u{1b}[2J"]);
    assert!([&missing.what, &missing.why, &missing.hint].iter().all(|line| is_harmless(line)));
}

#[test]
fn what_is_escaped_on_a_terminal_is_kept_exactly() {
    let home = Home::new();
    let _node = home.start(&[]);
    let draft = serde_json::json!({
        "topic": NAME, "kind": NAME, "content_type": "text/plain", "data": PAYLOAD,
    });
    home.piped(&["append", "--format", "ndjson", "-"], format!("{draft}\n").as_bytes());
    let entry = home.json(&["query", "-o", "ndjson"]);
    assert_eq!((&entry["topic"], &entry["data"]), (&NAME.into(), &PAYLOAD.into()));
}
