//! What the log proves of its authors: where one has signed two histories.

use serde::Serialize;

use crate::core::forks::{self, ForkKind, Side};
use crate::core::merge::Direction;
use crate::store::{Reader, StoreError};
use crate::words::{ChangeHash, NodeId, SegmentId, Seq, Signature};

/// How many forks are listed at most, the oldest of each author first.
const FORKS: usize = 1_000;

/// A fork; an element of `/v1/forks`.
#[derive(Clone, Debug, Serialize)]
pub struct ForkReport {
    /// Who signed both histories.
    pub author: NodeId,
    /// `branch`, as of a restored disk or a copied key; or `segment`, which no honest node signs.
    pub kind: ForkKind,
    /// The first seq that more than one history holds.
    pub seq: Seq,
    /// Whether the author has joined them since.
    pub joined: bool,
    /// The histories.
    pub sides: Vec<SideReport>,
}

/// One history of a fork, with the signature that proves it.
#[derive(Clone, Debug, Serialize)]
pub struct SideReport {
    /// The segment.
    pub segment: SegmentId,
    /// The seq after its last entry held.
    pub next_seq: Seq,
    /// The change that holds the shared seq.
    pub change: ChangeHash,
    /// The first change from there on that its author signed: it vouches for all before it.
    pub signed: ChangeHash,
    /// The author's signature over that, as hex digits.
    pub signature: String,
}

/// All forks that the store proves.
///
/// # Errors
/// The store can't be read.
pub fn list(reader: &mut dyn Reader) -> Result<Vec<ForkReport>, StoreError> {
    let mut reports = Vec::new();
    for author in reader.branched()? {
        for fork in forks::forks(&reader.extents(author)?) {
            if reports.len() >= FORKS {
                return Ok(reports);
            }
            let side = |side: &Side| proof(reader, fork.seq, side);
            let sides = fork.sides.iter().map(side).collect::<Result<Vec<_>, _>>()?;
            let sides = sides.into_iter().flatten().collect();
            let forks::Fork { kind, seq, joined, .. } = fork;
            reports.push(ForkReport { author, kind, seq, joined, sides });
        }
    }
    Ok(reports)
}

/// What the author signed on one side.
fn proof(reader: &mut dyn Reader, seq: Seq, side: &Side) -> Result<Option<SideReport>, StoreError> {
    let (mut at, mut change) = (seq, None);
    while at < side.next_seq {
        let read = reader.of_strand(side.strand, at, Direction::Forward, 1)?;
        let Some(found) = read.into_iter().next() else { break };
        let change = *change.get_or_insert(found.change.hash);
        if let Some(Signature(signature)) = found.change.signature {
            return Ok(Some(SideReport {
                segment: side.strand.segment,
                next_seq: side.next_seq,
                change,
                signed: found.change.hash,
                signature: hex::encode(signature),
            }));
        }
        at = found.change.next_seq();
    }
    Ok(None)
}
