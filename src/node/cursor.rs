//! Cursors: a reader's saved place, as opaque text.

use std::fmt;
use std::str::FromStr;

use crate::store::StoreId;
use crate::words::{ChangeHash, NodeId, Offset, SegmentId, Seq, Time};

/// A reader's saved place in one node's store. Its text is opaque to users:
///
/// ```text
/// o:<store>.<offset>       order of arrival: the next offset
/// o:<store>.<offset>.<t|a>.<time>.<author>.<seq>.<segment>.<change>
///                          merged or author order: the last entry read, and the offset that
///                          bounds the listing
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The store in which the place is.
    pub store: StoreId,
    /// The next offset to read; for a listing, the one at which the listing ends.
    pub offset: Offset,
    /// The last entry read of a listing.
    pub last: Option<Last>,
}

/// Which order a listing has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// Merged order: (time, author, seq), the same on every node.
    #[default]
    Time,
    /// The order in which this node got the entries.
    Arrival,
    /// By author, and by seq within one.
    Author,
}

/// The last entry that was read of a listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Last {
    /// The order of the listing.
    pub order: Order,
    /// The entry's time.
    pub time: Time,
    /// Its author.
    pub author: NodeId,
    /// Its seq.
    pub seq: Seq,
    /// Its segment.
    pub segment: SegmentId,
    /// Its change.
    pub change: ChangeHash,
}

/// Says why a text is no cursor for this node.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CursorError {
    /// It is no cursor at all.
    #[error("{0:?} is no cursor: a cursor is the text that a reader got, unchanged")]
    Malformed(String),
    /// It is a place in another store.
    #[error("the cursor belongs to another node or an earlier store: it means nothing here")]
    OtherStore,
    /// It is a place in another cluster's log.
    #[error("the cursor belongs to another cluster: it means nothing here")]
    OtherCluster,
    /// It belongs to a listing in another order.
    #[error("the cursor belongs to a listing in another order")]
    OtherOrder,
    /// Entries after it were removed that its reader has not seen.
    #[error("entries after the cursor were removed before they were read: begin anew")]
    Pruned,
    /// It lies beyond the newest entry of its own store.
    #[error("the cursor lies beyond the newest entry")]
    BeyondEnd,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "o:{}.{}", self.store, self.offset)?;
        if let Some(Last { order, time, author, seq, segment, change }) = &self.last {
            let order = if *order == Order::Author { 'a' } else { 't' };
            write!(f, ".{order}.{}.{author}.{seq}.{segment}.{change}", time.bits())?;
        }
        Ok(())
    }
}

impl FromStr for Cursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        let parts: Vec<&str> =
            text.strip_prefix("o:").map(|t| t.split('.').collect()).unwrap_or_default();
        let parsed = match parts[..] {
            [store, offset] => place(store, offset, None),
            [store, offset, ref entry @ ..] => {
                last(entry).and_then(|last| place(store, offset, Some(last)))
            }
            _ => None,
        };
        // One place has one text: leading zeros and signs are somebody's invention.
        let same = parsed.filter(|cursor| cursor.to_string() == text);
        same.ok_or_else(|| CursorError::Malformed(text.chars().take(120).collect()))
    }
}

fn place(store: &str, offset: &str, last: Option<Last>) -> Option<Cursor> {
    let mut id = [0; 8];
    hex::decode_to_slice(store, &mut id).ok()?;
    Some(Cursor { store: StoreId(id), offset: Offset(offset.parse().ok()?), last })
}

fn last(entry: &[&str]) -> Option<Last> {
    let [order, time, author, seq, segment, change] = *entry else {
        return None;
    };
    let order = match order {
        "t" => Order::Time,
        "a" => Order::Author,
        _ => return None,
    };
    Some(Last {
        order,
        time: Time::from_bits(time.parse().ok()?)?,
        author: author.parse().ok()?,
        seq: Seq(seq.parse().ok()?),
        segment: segment.parse().ok()?,
        change: change.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_reads_back_from_its_text() {
        let last = Last {
            order: Order::Author,
            time: Time::from_millis(5),
            author: NodeId([1; 32]),
            seq: Seq(9),
            segment: SegmentId([2; 16]),
            change: ChangeHash([3; 32]),
        };
        for last in [None, Some(last)] {
            let cursor = Cursor { store: StoreId([7; 8]), offset: Offset(12), last };
            assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }
    }

    #[test]
    fn other_texts_are_no_cursors() {
        for text in [
            "",
            "o:",
            "12",
            "o:07.1",
            "f:abc",
            "o:0707070707070707.+1",
            "o:0707070707070707.01",
            "o:0707070707070707.1.t",
        ] {
            assert!(matches!(text.parse::<Cursor>(), Err(CursorError::Malformed(_))), "{text}");
        }
    }
}
