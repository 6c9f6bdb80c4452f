//! An entry as one line for people, in which nothing that it holds can take over the terminal.

use std::borrow::Cow;
use std::fmt::{self, Display, Formatter};

use super::output::Paint;
use crate::words::Gap;
use crate::words::gap::GAP_KIND;
use crate::words::json::EntryJson;
use crate::words::name::DEFAULT_TENANT;

/// How many hex digits of an author a line shows.
const SHORT: usize = 8;

/// A line: time, author and seq, topic, kind, payload.
pub struct Line<'e>(pub &'e EntryJson, pub Paint);

impl Display for Line<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self(entry, paint) = self;
        let author = entry.author.to_string();
        let place = format!("{}:{}", &author[..SHORT], entry.seq);
        write!(f, "{}  {place:<14}  ", paint.dim(&entry.time))?;
        if entry.late {
            write!(f, "{}  ", paint.warning("[late]"))?;
        }
        if entry.skew {
            write!(f, "{}  ", paint.warning("[skew]"))?;
        }
        if entry.forked {
            write!(f, "{}  ", paint.warning("[forked]"))?;
        }
        if let Some(gap) = gap(entry) {
            return write!(f, "{}", paint.warning(&format!("! {gap}")));
        }
        if entry.tenant != DEFAULT_TENANT {
            write!(f, "[{}]  ", one_line(&entry.tenant))?;
        }
        let (topic, kind) = (one_line(&entry.topic), one_line(&entry.kind));
        write!(f, "{}  {kind}  {}", paint.name(&topic), payload(entry))
    }
}

/// The gap that an entry states.
fn gap(entry: &EntryJson) -> Option<Gap> {
    if entry.kind != GAP_KIND {
        return None;
    }
    serde_json::from_slice(&entry.payload().ok()?).ok()
}

/// The payload as text on one line; bytes that are no text show as `\x..`.
pub fn payload(entry: &EntryJson) -> String {
    let bytes = entry.payload().unwrap_or_default();
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(&one_line(chunk.valid()));
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    text
}

/// A text without line breaks, control characters (and so without escape sequences) and without
/// characters that turn the direction of writing; they show as `\n` or `\u{..}`.
pub fn one_line(text: &str) -> Cow<'_, str> {
    if !text.contains(commands) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if commands(c) {
            safe.extend(c.escape_default());
        } else {
            safe.push(c);
        }
    }
    Cow::Owned(safe)
}

/// Whether a terminal does something else with the character than show it.
fn commands(c: char) -> bool {
    let bidi = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}'
        | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() || bidi || matches!(c, '\u{2028}' | '\u{2029}')
}

impl Paint {
    fn with(self, code: &str, text: &str) -> String {
        match self {
            Self::Colour => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
            Self::Plain => text.to_owned(),
        }
    }

    fn dim(self, text: &str) -> String {
        self.with("2", text)
    }

    fn name(self, text: &str) -> String {
        self.with("36", text)
    }

    fn warning(self, text: &str) -> String {
        self.with("1;33", text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(fields: &str) -> EntryJson {
        let (author, change, segment) = ("ab".repeat(32), "0".repeat(64), "0".repeat(32));
        let json = format!(
            r#"{{"id":"{author}:7","author":"{author}","seq":7,"time":"2026-11-21T05:01:37.123Z",
            "hlc":"1","offset":1,"tenant":"default","topic":"t","change":"{change}",
            "segment":"{segment}",{fields}}}"#
        );
        serde_json::from_str(&json).unwrap()
    }

    #[test]
    fn a_line_shows_what_an_entry_is() {
        let entry = entry(r#""kind":"k","data":{"a":1},"late":true"#);
        assert_eq!(
            Line(&entry, Paint::Plain).to_string(),
            "2026-11-21T05:01:37.123Z  abababab:7      [late]  t  k  {\"a\":1}"
        );
    }

    #[test]
    fn a_gap_is_said_in_words() {
        let gap = r#"{"from":3,"to":5,"count":3,"reason":"lag","exact":true}"#;
        let entry = entry(&format!(r#""kind":"towline.gap","data":{gap}"#));
        let line = Line(&entry, Paint::Plain).to_string();
        assert!(line.ends_with("! events 3..=5 were dropped (lag)"), "{line}");
    }

    #[test]
    fn nothing_in_a_payload_commands_the_terminal() {
        let text = serde_json::json!("a\n\u{1b}[31m\u{202e}\u{9b}é");
        let entry = entry(&format!(r#""kind":"k","content_type":"text/plain","data":{text}"#));
        assert_eq!(payload(&entry), "a\\n\\u{1b}[31m\\u{202e}\\u{9b}é");
    }

    #[test]
    fn bytes_that_are_no_text_show_as_hex() {
        let entry = entry(r#""kind":"k","data_base64":"/wBh""#);
        assert_eq!(payload(&entry), "\\xff\\u{0}a");
    }
}
