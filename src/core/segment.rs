//! Segments: the runs of changes that one author writes in one process lifetime.
//!
//! A segment is one Automerge actor. It starts from genesis and appends only after its own last
//! element, so that it can be checked, stored, sent and dropped alone. What ties it to its author
//! and to the segments before it is its *opening statement*, the Automerge message of its first
//! change; and the segment's id is the hash of that statement, so that nobody can write under the
//! id of another's segment.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::words::limits::SEGMENT_PARENTS;
use crate::words::{ChangeHash, ClusterId, NodeId, SegmentId, Seq};

/// What the hash that names a segment starts with.
const SEGMENT_DOMAIN: &[u8] = b"towline/1 segment\0";

/// A change that a segment continues after: the last one of a segment before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parent {
    /// The seq that follows the parent's last entry.
    pub next_seq: Seq,
    /// The parent's hash.
    pub hash: ChangeHash,
}

/// An unforked run of changes of one segment, as one store numbers it.
///
/// A segment whose author signed two changes at one place is *forked*: it has a side more from that
/// place on. Which side came first, and is 0, differs from node to node: a strand is a name for this
/// node's own use, and never travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Strand {
    /// The segment.
    pub segment: SegmentId,
    /// Which side of it: 0 from its start; every fork adds one.
    pub side: u32,
}

impl Strand {
    /// The strand with which a segment starts: all of it, unless it is forked.
    pub fn first(segment: SegmentId) -> Self {
        Self { segment, side: 0 }
    }
}

/// What the first change of a segment says, as JSON, in its Automerge message.
///
/// ```json
/// {"towline":1,"cluster":"…","author":"…","first_seq":7,"parents":[{"next_seq":7,"hash":"…"}],"nonce":"…"}
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opening {
    /// The cluster that the segment belongs to.
    pub cluster: ClusterId,
    /// Who writes it.
    pub author: NodeId,
    /// The seq of its first entry: the highest `next_seq` of its parents, or 0.
    pub first_seq: Seq,
    /// The heads that the author had, in rising order; none for its first segment.
    pub parents: Vec<Parent>,
    /// Random bytes: two lifetimes that start from the same parents get different segments.
    pub nonce: [u8; 16],
}

/// Says why an opening statement can't stand.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpeningError {
    /// The text is not the JSON that an opening is.
    #[error("not an opening statement: {0}")]
    Text(String),
    /// The parents are too many, out of order, or named twice.
    #[error("the parents are more than {SEGMENT_PARENTS}, out of order, or named twice")]
    Parents,
    /// The first seq doesn't follow the parents.
    #[error("the first seq is {found}, and the parents end at {expected}")]
    FirstSeq {
        /// What the parents say.
        expected: Seq,
        /// What the opening says.
        found: Seq,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Statement {
    towline: u8,
    cluster: ClusterId,
    author: NodeId,
    first_seq: Seq,
    parents: Vec<Parent>,
    nonce: String,
}

impl Opening {
    /// Checks the rules that every opening must keep, whoever wrote it.
    ///
    /// # Errors
    /// Parents out of bounds or order, or a first seq that doesn't follow them.
    pub fn check(&self) -> Result<(), OpeningError> {
        let rising = self.parents.windows(2).all(|pair| pair[0] < pair[1]);
        if self.parents.len() > SEGMENT_PARENTS || !rising {
            return Err(OpeningError::Parents);
        }
        let expected = self.parents.iter().map(|p| p.next_seq).max().unwrap_or_default();
        if self.first_seq != expected {
            return Err(OpeningError::FirstSeq { expected, found: self.first_seq });
        }
        Ok(())
    }

    /// The statement as the Automerge message holds it: one text for one opening.
    pub fn text(&self) -> String {
        let statement = Statement {
            towline: 1,
            cluster: self.cluster,
            author: self.author,
            first_seq: self.first_seq,
            parents: self.parents.clone(),
            nonce: hex::encode(self.nonce),
        };
        serde_json::to_string(&statement).expect("numbers and hex digits are always JSON")
    }

    /// Reads a statement back from our own disk or from an archive.
    ///
    /// # Errors
    /// A text that [`Opening::text`] would not have written.
    pub fn parse(text: &str) -> Result<Self, OpeningError> {
        let wrong = |e: &dyn std::fmt::Display| OpeningError::Text(e.to_string());
        let said: Statement = serde_json::from_str(text).map_err(|e| wrong(&e))?;
        let mut nonce = [0; 16];
        hex::decode_to_slice(&said.nonce, &mut nonce).map_err(|e| wrong(&e))?;
        let Statement { cluster, author, first_seq, parents, .. } = said;
        let opening = Self { cluster, author, first_seq, parents, nonce };
        if opening.text() != text {
            return Err(OpeningError::Text("another spelling of it".into()));
        }
        opening.check()?;
        Ok(opening)
    }

    /// The id of the segment that this statement opens.
    pub fn segment(&self) -> SegmentId {
        let digest =
            Sha256::new().chain_update(SEGMENT_DOMAIN).chain_update(self.text()).finalize();
        let mut id = [0; 16];
        id.copy_from_slice(&digest[..16]);
        SegmentId(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opening() -> Opening {
        Opening {
            cluster: ClusterId([1; 32]),
            author: NodeId([2; 32]),
            first_seq: Seq(7),
            parents: vec![Parent { next_seq: Seq(7), hash: ChangeHash([3; 32]) }],
            nonce: [4; 16],
        }
    }

    #[test]
    fn an_opening_reads_back_from_its_text() {
        assert_eq!(Opening::parse(&opening().text()), Ok(opening()));
    }

    #[test]
    fn a_segment_is_named_by_all_that_its_opening_says() {
        let one = opening();
        for other in [
            Opening { author: NodeId([9; 32]), ..opening() },
            Opening { cluster: ClusterId([9; 32]), ..opening() },
            Opening { nonce: [9; 16], ..opening() },
        ] {
            assert_ne!(one.segment(), other.segment());
        }
    }

    #[test]
    fn the_first_seq_follows_the_highest_parent() {
        let wrong = Opening { first_seq: Seq(8), ..opening() };
        assert!(matches!(wrong.check(), Err(OpeningError::FirstSeq { .. })));
        let first = Opening { first_seq: Seq(0), parents: Vec::new(), ..opening() };
        assert_eq!(first.check(), Ok(()));
    }

    #[test]
    fn parents_named_twice_are_refused() {
        let parent = opening().parents[0];
        let twice = Opening { parents: vec![parent, parent], ..opening() };
        assert_eq!(twice.check(), Err(OpeningError::Parents));
    }
}
