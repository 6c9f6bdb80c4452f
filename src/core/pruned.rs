//! Pruned segments: what stays of a segment whose entries a node has removed.
//!
//! It is enough for everything that comes after to be checked: the opening statement, whose hash names
//! the segment, and the last change's hash with its author's signature, which the opening of the next
//! segment names as its parent. A node that joins late takes it from a peer that has nothing more, see
//! [`Log::adopt`](super::log::Log::adopt).

use super::frontier::Head;
use super::log::Tip;
use super::segment::{Opening, Parent, Strand};
use crate::words::limits::{SEGMENT_BYTES, SEGMENT_ENTRIES};
use crate::words::{ChangeHash, ClusterId, NodeId, Seq, Signature, Time};

/// What stays of a pruned segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pruned {
    /// What its first change said.
    pub opening: Opening,
    /// How many changes it had.
    pub changes: u32,
    /// The seq after its last entry.
    pub next_seq: Seq,
    /// How many bytes its changes had.
    pub bytes: u64,
    /// The time of its last entry.
    pub last_time: Time,
    /// The hash of its last change.
    pub hash: ChangeHash,
    /// The author's signature of that.
    pub signature: Signature,
}

/// Says why what a peer says of a pruned segment can't be so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PrunedError {
    /// It belongs to another cluster, or its opening breaks the rules.
    #[error("its opening can't stand")]
    Opening,
    /// Its counts are out of a segment's bounds.
    #[error("its counts are out of bounds")]
    Bounds,
    /// The signature is not the author's.
    #[error("its signature is not its author's")]
    Signature,
}

impl Pruned {
    /// Who wrote it.
    pub fn author(&self) -> NodeId {
        self.opening.author
    }

    /// The seq of its first entry.
    pub fn first_seq(&self) -> Seq {
        self.opening.first_seq
    }

    /// How many entries it had.
    pub fn entries(&self) -> u64 {
        self.next_seq.0.saturating_sub(self.opening.first_seq.0)
    }

    /// Its last change, as the segment after it names it.
    pub fn end(&self) -> Parent {
        Parent { next_seq: self.next_seq, hash: self.hash }
    }

    /// Its last change, as a frontier names it.
    pub fn head(&self) -> Head {
        Head { segment: self.opening.segment(), next_seq: self.next_seq, hash: self.hash }
    }

    /// The strand that it was: only segments of authors who never forked are pruned.
    pub fn strand(&self) -> Strand {
        Strand::first(self.opening.segment())
    }

    /// The tip that it was.
    pub fn tip(&self) -> Tip {
        Tip {
            head: self.head(),
            side: 0,
            segment_seq: self.first_seq(),
            changes: self.changes,
            bytes: self.bytes,
            last_time: self.last_time,
        }
    }

    /// Checks what a peer says.
    ///
    /// # Errors
    /// It can't be so.
    pub fn check(&self, cluster: ClusterId) -> Result<(), PrunedError> {
        let Self { opening, changes, bytes, .. } = self;
        if opening.cluster != cluster || opening.check().is_err() || opening.parents.len() > 1 {
            return Err(PrunedError::Opening);
        }
        let entries = self.next_seq.0.checked_sub(opening.first_seq.0);
        let counted = entries.is_some_and(|n| (1..=SEGMENT_ENTRIES).contains(&n))
            && (1..=entries.unwrap_or_default()).contains(&u64::from(*changes))
            && *bytes <= SEGMENT_BYTES;
        if !counted {
            return Err(PrunedError::Bounds);
        }
        let signed =
            opening.author.is_sound() && opening.author.verify(cluster, self.hash, &self.signature);
        if signed { Ok(()) } else { Err(PrunedError::Signature) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::Identity;

    const CLUSTER: ClusterId = ClusterId([9; 32]);

    fn pruned() -> Pruned {
        let identity = Identity::from_secret(&[1; 32]);
        let opening = Opening {
            cluster: CLUSTER,
            author: identity.node_id(),
            first_seq: Seq(7),
            parents: vec![Parent { next_seq: Seq(7), hash: ChangeHash([3; 32]) }],
            nonce: [4; 16],
        };
        let hash = ChangeHash([5; 32]);
        let signature = identity.sign(CLUSTER, hash);
        let last_time = Time::default();
        Pruned { opening, changes: 2, next_seq: Seq(12), bytes: 100, last_time, hash, signature }
    }

    #[test]
    fn what_its_author_signed_is_believed() {
        assert_eq!(pruned().check(CLUSTER), Ok(()));
    }

    #[test]
    fn another_cluster_count_or_hash_is_not() {
        assert_eq!(pruned().check(ClusterId([8; 32])), Err(PrunedError::Opening));
        for wrong in [
            Pruned { next_seq: Seq(7), ..pruned() },
            Pruned { next_seq: Seq(7 + SEGMENT_ENTRIES + 1), ..pruned() },
            Pruned { changes: 0, ..pruned() },
            Pruned { changes: 6, ..pruned() },
            Pruned { bytes: SEGMENT_BYTES + 1, ..pruned() },
        ] {
            assert_eq!(wrong.check(CLUSTER), Err(PrunedError::Bounds));
        }
        let other = Pruned { hash: ChangeHash([6; 32]), ..pruned() };
        assert_eq!(other.check(CLUSTER), Err(PrunedError::Signature));
    }
}
