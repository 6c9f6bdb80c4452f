//! Cursors that any node of a cluster accepts: a frontier, as opaque text.
//!
//! ```text
//! f:<base64url, no padding> of
//!   1 byte    version, 1
//!   4 bytes   the beginning of the cluster's id
//!   for each author, in order:
//!     32 bytes  author
//!     varint    how many heads
//!     for each head, in order:
//!       varint    next seq
//!       32 bytes  hash of the change that holds the entry before it
//!       16 bytes  segment
//! ```
//!
//! A varint has seven bits a byte, the low ones first; the top bit says that more follow.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::cursor::CursorError;
use crate::core::frontier::{Frontier, Head};
use crate::words::{ChangeHash, ClusterId, NodeId, SegmentId, Seq};

/// The version of the text.
const VERSION: u8 = 1;
/// The longest text: it has to fit into the head of a request.
pub const TEXT_BYTES: usize = 12 << 10;

/// A reader's place, as what it has read of every author.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrontierCursor {
    /// The beginning of the id of the cluster that it is a place in.
    pub cluster: [u8; 4],
    /// What was read. A head's hash is that of the change in which the reader stands.
    pub frontier: Frontier,
}

impl FrontierCursor {
    /// A place in a cluster's log.
    pub fn new(cluster: ClusterId, frontier: Frontier) -> Self {
        let ClusterId([a, b, c, d, ..]) = cluster;
        Self { cluster: [a, b, c, d], frontier }
    }

    /// Whether it is a place in this cluster's log.
    pub fn is_of(&self, cluster: ClusterId) -> bool {
        cluster.0.starts_with(&self.cluster)
    }
}

impl fmt::Display for FrontierCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = vec![VERSION];
        bytes.extend_from_slice(&self.cluster);
        for (author, heads) in self.frontier.iter() {
            bytes.extend_from_slice(&author.0);
            write_number(&mut bytes, heads.len() as u64);
            for head in heads {
                write_number(&mut bytes, head.next_seq.0);
                bytes.extend_from_slice(&head.hash.0);
                bytes.extend_from_slice(&head.segment.0);
            }
        }
        write!(f, "f:{}", URL_SAFE_NO_PAD.encode(bytes))
    }
}

impl FromStr for FrontierCursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        let encoded = text.strip_prefix("f:").filter(|_| text.len() <= TEXT_BYTES);
        let bytes = encoded.and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
        let read = bytes.and_then(|bytes| read(&bytes));
        // One place has one text.
        let same = read.filter(|cursor| cursor.to_string() == text);
        same.ok_or_else(|| CursorError::Malformed(text.chars().take(120).collect()))
    }
}

fn read(bytes: &[u8]) -> Option<FrontierCursor> {
    let ([VERSION], mut rest) = bytes.split_first_chunk()? else {
        return None;
    };
    let cluster = take(&mut rest)?;
    let mut frontier = Frontier::default();
    while !rest.is_empty() {
        let author = NodeId(take(&mut rest)?);
        for _ in 0..read_number(&mut rest)? {
            let next_seq = Seq(read_number(&mut rest)?);
            let (hash, segment) = (ChangeHash(take(&mut rest)?), SegmentId(take(&mut rest)?));
            frontier.insert(author, Head { next_seq, hash, segment });
        }
    }
    Some(FrontierCursor { cluster, frontier })
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(*taken)
}

fn write_number(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn read_number(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let [byte] = take(rest)?;
        let bits = u64::from(byte & 0x7f);
        number |= bits.checked_shl(shift).filter(|shifted| shifted >> shift == bits)?;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cursor() -> FrontierCursor {
        let mut frontier = Frontier::default();
        for (author, next) in [(1, 0), (1, 127), (2, 128), (3, u64::MAX >> 1)] {
            let head = Head {
                next_seq: Seq(next),
                hash: ChangeHash([author + 10; 32]),
                segment: SegmentId([author + 20; 16]),
            };
            frontier.insert(NodeId([author; 32]), head);
        }
        FrontierCursor::new(ClusterId([9; 32]), frontier)
    }

    #[test]
    fn a_cursor_reads_back_from_its_text() {
        let empty = FrontierCursor::new(ClusterId([9; 32]), Frontier::default());
        for cursor in [cursor(), empty] {
            assert_eq!(cursor.to_string().parse(), Ok(cursor.clone()));
            assert!(cursor.is_of(ClusterId([9; 32])) && !cursor.is_of(ClusterId([8; 32])));
        }
    }

    #[test]
    fn what_is_cut_or_changed_is_none() {
        let text = cursor().to_string();
        let malformed = |text: &str| {
            assert!(matches!(text.parse::<FrontierCursor>(), Err(CursorError::Malformed(_))));
        };
        (0..text.len()).for_each(|end| {
            // What is cut between two authors is a place of its own.
            if let Ok(shorter) = text[..end].parse::<FrontierCursor>() {
                assert_eq!(shorter.to_string(), text[..end]);
            }
        });
        for text in
            ["", "f:", "f:====", "o:1", "f:AgkJCQk", &format!("{text}A"), &format!("{text}=")]
        {
            malformed(text);
        }
        malformed(&format!("f:{}", "A".repeat(TEXT_BYTES)));
    }
}
