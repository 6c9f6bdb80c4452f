//! Everything that people type as one word: ids, names, times, durations, peers, codes.

use std::fmt::Display;
use std::str::FromStr;

use towline::node::PeerAddress;
use towline::words::time::{Moment, parse_duration};
use towline::words::{
    ChangeHash, ClusterId, Code, EntryId, Kind, NameError, NodeId, SegmentId, Tenant, Time, Topic,
};

use super::Verdict;

pub fn names(bytes: &[u8]) -> Verdict {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return Verdict::Refused;
    };
    let taken = [
        hex::<NodeId>(text),
        hex::<ClusterId>(text),
        hex::<SegmentId>(text),
        hex::<ChangeHash>(text),
        reads_back::<EntryId>(text),
        reads_back::<PeerAddress>(text),
        name(text, Tenant::parse, Tenant::as_str, 64),
        name(text, Topic::parse, Topic::as_str, 256),
        name(text, Kind::parse, Kind::as_str, 128),
        moment(text),
        Code::parse(text).is_some_and(|code| code.text().eq_ignore_ascii_case(text)),
    ];
    if taken.contains(&true) { Verdict::Taken } else { Verdict::Refused }
}

/// An id in hex digits is what was typed, in lower case.
fn hex<T: FromStr<Err: Display> + Display>(text: &str) -> bool {
    let parsed = said(text.parse::<T>());
    parsed.is_some_and(|id| {
        assert_eq!(id.to_string(), text.to_ascii_lowercase());
        true
    })
}

/// What is printed of a thing is that thing again.
fn reads_back<T: FromStr<Err: Display> + Display + PartialEq>(text: &str) -> bool {
    let parsed = said(text.parse::<T>());
    parsed.is_some_and(|thing| thing.to_string().parse().is_ok_and(|again: T| again == thing))
}

/// A name is kept as it was typed, and has nothing in it that a terminal would do.
fn name<T>(
    text: &str,
    parse: fn(&str) -> Result<T, NameError>,
    as_str: fn(&T) -> &str,
    most: usize,
) -> bool {
    said(parse(text)).is_some_and(|name| {
        assert_eq!(as_str(&name), text);
        assert!((1..=most).contains(&text.len()) && !text.contains(char::is_control));
        true
    })
}

/// A moment is a time whatever the clock says; a time is printed so that it reads back.
fn moment(text: &str) -> bool {
    let ago = said(parse_duration(text));
    let Some(moment) = said(text.parse::<Moment>()) else {
        assert_eq!(ago, None);
        return false;
    };
    assert_eq!(ago.is_some(), matches!(moment, Moment::Ago(_)));
    for now in [0, 1_795_237_297_123, u64::MAX] {
        let time = moment.time(now);
        let printed = time.to_string();
        let again: Moment = printed.parse().expect("a time of our own");
        assert_eq!(again, Moment::At(Time::from_millis(time.millis())), "{printed}");
    }
    true
}

/// Why a text is refused can be said; and is short, whatever the text is.
fn said<T, E: Display>(parsed: Result<T, E>) -> Option<T> {
    if let Err(error) = &parsed {
        assert!(!error.to_string().is_empty());
    }
    parsed.ok()
}
