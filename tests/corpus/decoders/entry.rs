//! Entries: what a stranger's change holds, and what every reader is shown of it.

use towline::words::entry::View;
use towline::words::json::{EntryJson, Lateness};
use towline::words::{ChangeHash, Draft, Entry, NodeId, Offset, SegmentId, Seq, Time};

use super::Verdict;
use super::allocation::within;

pub fn entry(bytes: &[u8]) -> Verdict {
    let most = 2 * bytes.len() + (16 << 10); // written again, 64 attributes, an error's words
    let read = within(most, || View::read(bytes));
    let checked = within(most, || View::check(bytes));
    if let Ok(view) = &checked {
        assert_eq!(read.as_ref(), Ok(view));
        let draft = view.to_draft().expect("names that were checked parse");
        assert_eq!(draft.check(), Ok(()));
        assert_eq!(draft.encode(view.time), bytes, "one entry has one spelling");
        shown(draft, view.time);
    }
    checked.into()
}

/// Checks that an entry's JSON holds on one line what the entry holds.
pub fn shown(draft: Draft, time: Time) {
    let entry = Entry {
        author: NodeId([1; 32]),
        seq: Seq(u64::MAX),
        time,
        offset: Offset(u64::MAX),
        change: ChangeHash([2; 32]),
        segment: SegmentId([3; 16]),
        skew: true,
        forked: true,
        body: draft,
    };
    let json = EntryJson::new(&entry, Lateness::Late);
    let line = serde_json::to_string(&json).expect("an entry is JSON");
    assert!(!line.contains(['\n', '\r']), "one line");
    let back: EntryJson = serde_json::from_str(&line).expect("JSON of our own");
    let body = &entry.body;
    assert_eq!((back.hlc, back.seq, &*back.id), (time, entry.seq, &*entry.id().to_string()));
    assert_eq!((&*back.tenant, &*back.topic), (body.tenant.as_str(), body.topic.as_str()));
    assert_eq!((&*back.kind, &back.attributes), (body.kind.as_str(), &body.attributes));
    assert_eq!(back.content_type.as_deref().unwrap_or("application/json"), body.content_type);
    let payload = back.payload().expect("a payload of our own");
    match back.content_type.as_deref().is_none_or(|content_type| content_type.contains("json")) {
        true if back.data.is_some() => assert_eq!(on_one_line(&body.data), on_one_line(&payload)),
        _ => assert_eq!(body.data, *payload),
    }
    let shown = towline::cli::decoders::shown(&json);
    assert!(!shown.contains(char::is_control), "{shown:?} says something to a terminal");
}

/// JSON without what means nothing in it: line breaks become spaces, and what surrounds it goes.
fn on_one_line(bytes: &[u8]) -> Vec<u8> {
    let space = |byte: &u8| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte };
    bytes.trim_ascii().iter().map(space).collect()
}
