//! Proofs: what shows a third party that an author wrote an entry, with nothing but the author's key.
//!
//! A signature vouches for all that the signed change descends from. So a proof is the change that
//! holds the entry, the changes after it up to the next one that is signed, each naming the hash of
//! the one before, and the opening statement of their segment, whose hash is in every one of them:
//! it says of which author, which cluster, and from which seq the segment is.

use bytes::Bytes;

use super::Node;
use crate::core::change::{Change, Link};
use crate::core::log::Arrival;
use crate::core::merge::Direction;
use crate::core::segment::{Opening, Strand};
use crate::store::{Reader, StoreError};
use crate::words::{EntryId, Signature};

/// How many bytes of changes are read at once.
const READ_BYTES: usize = 1 << 20;

/// What proves an entry.
#[derive(Clone, Debug)]
pub struct Proof {
    /// The entry, with its segment.
    pub id: EntryId,
    /// The statement that opens the segment.
    pub opening: Opening,
    /// Which entry of the first change it is, from 0.
    pub at: u64,
    /// The chunks of the changes: the one that holds the entry first, the signed one last.
    pub changes: Vec<Bytes>,
    /// The author's signature over the last one.
    pub signature: Signature,
}

impl Node {
    /// What proves an entry: one proof, or one for each branch that has this seq. None for an entry
    /// that is not held, or whose segment's beginning is not.
    ///
    /// # Errors
    /// The store can't be read.
    pub async fn proofs(&self, id: EntryId) -> Result<Vec<Proof>, StoreError> {
        self.read(move |reader| proofs(reader, id)).await
    }
}

/// As [`Node::proofs`], from a store.
///
/// # Errors
/// The store can't be read.
pub fn proofs(reader: &mut dyn Reader, id: EntryId) -> Result<Vec<Proof>, StoreError> {
    let mut proofs = Vec::new();
    for arrival in reader.find(id.author, id.seq)? {
        if id.segment.is_none_or(|segment| segment == arrival.change.segment) {
            proofs.extend(proof(reader, id, &arrival)?);
        }
    }
    Ok(proofs)
}

fn proof(
    reader: &mut dyn Reader,
    id: EntryId,
    holder: &Arrival,
) -> Result<Option<Proof>, StoreError> {
    let (Some(opening), Some((changes, signature))) =
        (opening(reader, &holder.change)?, up_to_signed(reader, holder)?)
    else {
        return Ok(None);
    };
    let at = id.seq.0.saturating_sub(holder.change.first_seq.0);
    let id = EntryId { segment: Some(holder.change.segment), ..id };
    Ok(Some(Proof { id, opening, at, changes, signature }))
}

/// The statement that opens the segment of a change.
fn opening(reader: &mut dyn Reader, change: &Change) -> Result<Option<Opening>, StoreError> {
    let strand = Strand::first(change.segment);
    let first = reader.of_strand(strand, change.segment_seq, Direction::Forward, 1)?;
    let first = first.first().filter(|first| first.change.first_seq == change.segment_seq);
    let link = first.and_then(|first| first.change.link().ok());
    Ok(link.and_then(|link| match link {
        Link::Opening(opening) => Some(opening),
        Link::Previous(_) => None,
    }))
}

/// The chunks from this change on to the next one that is signed, and its signature.
fn up_to_signed(
    reader: &mut dyn Reader,
    holder: &Arrival,
) -> Result<Option<(Vec<Bytes>, Signature)>, StoreError> {
    let mut chunks = vec![holder.change.bytes.clone()];
    let mut last = holder.change.clone();
    loop {
        if let Some(signature) = last.signature {
            return Ok(Some((chunks, signature)));
        }
        let next = last.next_seq();
        let following = reader.of_strand(holder.strand(), next, Direction::Forward, READ_BYTES)?;
        for arrival in following {
            let goes_on = arrival.change.link().is_ok_and(|link| link == Link::Previous(last.hash));
            if !goes_on {
                return Ok(None);
            }
            chunks.push(arrival.change.bytes.clone());
            last = arrival.change;
            if last.signature.is_some() {
                break;
            }
        }
        if last.next_seq() == next {
            return Ok(None);
        }
    }
}
