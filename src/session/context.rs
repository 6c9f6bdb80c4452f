//! The recent log of a topic as text for a language model.
//!
//! ```text
//! (12 earlier entries are left out)
//! 2026-11-21T05:01:37.123Z 5f0c8a1e transition: {"from":"backlog","to":"coding"}
//! events between 3 and 5 were dropped
//! 2026-11-21T05:01:39.004Z 77ab0c12 note: tests are green
//! ```
//!
//! Entries stand in merged order, so nodes that hold the same print the same. Gaps are stated where
//! they happened, of whatever topic: what was dropped might have been of this one.

use super::SessionError;
use super::thread::{Thread, known};
use crate::core::series::Series;
use crate::node::archiving::live;
use crate::node::series::{self, Most};
use crate::words::gap::{GAP_KIND, GAP_TOPIC};
use crate::words::name::TOWLINE_TENANT;
use crate::words::{Entry, Gap, Tenant, Topic};

/// How many characters a context has when nothing is said.
pub const CONTEXT_CHARACTERS: usize = 8_000;
/// How many characters it may have.
const CONTEXT_CHARACTERS_MOST: usize = 1 << 20;
/// How many entries, and how many gaps, are looked at.
const ENTRIES: usize = 4_096;
const GAPS: usize = 256;

impl Thread {
    /// The newest entries of the thread as text of at most so many characters: whole lines, the
    /// oldest ones left out first. A line that alone is too long is cut.
    ///
    /// # Errors
    /// Nothing of the thread has arrived here, or the store can't be read.
    pub async fn context(&self, characters: usize) -> Result<String, SessionError> {
        let characters = characters.min(CONTEXT_CHARACTERS_MOST);
        // A character is at most four bytes, so what is read fills the text if there is enough.
        let most = Most { entries: ENTRIES, bytes: characters.saturating_mul(4).max(1) };
        let (entries, left_out) = self
            .read(move |reader, series| {
                let standing = known(reader, series)?;
                let of = (series, &standing);
                let entries = series::last(reader, of, u64::MAX, most, &|_| true)?;
                let before = entries.first().map_or(standing.entries, |first| first.ordinal - 1);
                Ok((entries, live(reader, of, before)?))
            })
            .await?;
        let mut entries: Vec<Entry> = entries.into_iter().map(|numbered| numbered.entry).collect();
        entries.sort_by_key(Entry::merged_key);
        if let Some(oldest) = entries.first().map(Entry::merged_key) {
            let gaps = self.gaps().await?;
            entries.extend(gaps.into_iter().filter(|gap| gap.merged_key() > oldest));
            entries.sort_by_key(Entry::merged_key);
        }
        Ok(written(&entries, left_out, characters))
    }

    async fn gaps(&self) -> Result<Vec<Entry>, SessionError> {
        let gaps = Series::thread(Tenant::parse(TOWLINE_TENANT)?, Topic::parse(GAP_TOPIC)?);
        self.read(move |reader, _| {
            let standing = reader.standing_of(&gaps)?.unwrap_or_default();
            let most = Most::entries(GAPS);
            let found = series::last(reader, (&gaps, &standing), u64::MAX, most, &|_| true)?;
            Ok(found.into_iter().map(|numbered| numbered.entry).collect())
        })
        .await
    }
}

/// Writes as many of the newest lines as fit.
fn written(entries: &[Entry], left_out: u64, characters: usize) -> String {
    let mut lines: Vec<String> = Vec::new();
    let mut used = 0;
    let mut left_out = left_out;
    for (at, entry) in entries.iter().enumerate().rev() {
        let line = line(entry);
        let length = line.chars().count() + 1;
        let missing = left_out + at as u64;
        let notice = if missing > 0 { omission(missing).chars().count() + 1 } else { 0 };
        if used + length + notice > characters {
            left_out += at as u64 + 1;
            if lines.is_empty() {
                lines.push(cut(&line, left_out - 1, characters));
                left_out -= 1;
            }
            break;
        }
        used += length;
        lines.push(line);
    }
    if left_out > 0 && !entries.is_empty() {
        let notice = omission(left_out);
        if used + notice.chars().count() < characters {
            lines.push(notice);
        }
    }
    lines.reverse();
    let mut text = lines.join("\n");
    if !text.is_empty() {
        text.push('\n');
    }
    text.chars().take(characters).collect()
}

fn omission(count: u64) -> String {
    match count {
        1 => "(1 earlier entry is left out)".to_owned(),
        _ => format!("({count} earlier entries are left out)"),
    }
}

/// The beginning of a line that alone is too long.
fn cut(line: &str, left_out: u64, characters: usize) -> String {
    let notice = if left_out > 0 { omission(left_out).chars().count() + 1 } else { 0 };
    let room = characters.saturating_sub(notice + 2);
    line.chars().take(room).chain(['…']).collect()
}

fn line(entry: &Entry) -> String {
    if entry.body.kind.as_str() == GAP_KIND
        && let Some(gap) = Gap::from_entry(entry)
    {
        return format!("events between {} and {} were dropped", gap.from, gap.to);
    }
    let payload = match std::str::from_utf8(&entry.body.data) {
        Ok(text) => one_line(text),
        Err(_) => format!("({} bytes of {})", entry.body.data.len(), entry.body.content_type),
    };
    format!("{} {} {}: {payload}", entry.time, entry.author.short(), entry.body.kind)
}

/// A text on one line: a reader must be able to tell where an entry ends.
fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => line.push_str("\\n"),
            c if c.is_control() => line.push(' '),
            c => line.push(c),
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::{
        ChangeHash, Draft, EmitNumber, GapReason, NodeId, Offset, SegmentId, Seq, Time,
    };

    fn entry(seq: u64, body: Draft) -> Entry {
        Entry {
            author: NodeId([1; 32]),
            seq: Seq(seq),
            time: Time::from_millis(seq),
            offset: Offset(seq),
            change: ChangeHash([2; 32]),
            segment: SegmentId([3; 16]),
            skew: false,
            forked: false,
            body,
        }
    }

    fn notes(texts: &[&str]) -> Vec<Entry> {
        let note = |(seq, text): (u64, &&str)| entry(seq, Draft::text("t", "note", *text).unwrap());
        (0..).zip(texts).map(note).collect()
    }

    #[test]
    fn the_newest_lines_are_kept_and_the_rest_is_counted() {
        let entries = notes(&["one", "two", "three"]);
        let all = written(&entries, 0, 1_000);
        assert_eq!(all.lines().count(), 3);
        assert!(all.ends_with("note: three\n"), "{all}");
        let some = written(&entries, 4, all.chars().count());
        let lines: Vec<&str> = some.lines().collect();
        assert_eq!(lines[0], "(5 earlier entries are left out)");
        assert_eq!(lines.len(), 3);
    }

    #[test]
    fn no_context_is_longer_than_it_may_be() {
        let entries = notes(&["eins", "zwei\nund drei", &"ä".repeat(500), "vier"]);
        for characters in 0..1_200 {
            let text = written(&entries, 9, characters);
            assert!(text.chars().count() <= characters, "{characters}: {text}");
        }
    }

    #[test]
    fn a_gap_is_said_in_words() {
        let gap = Gap::new(EmitNumber(3), EmitNumber(5), GapReason::Lag).draft().unwrap();
        let mut entries = notes(&["before"]);
        entries.push(entry(1, gap));
        let text = written(&entries, 0, 1_000);
        assert!(text.ends_with("\nevents between 3 and 5 were dropped\n"), "{text}");
    }
}
