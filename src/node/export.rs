//! Export: the log as one Automerge document that any Automerge program opens.

use std::collections::HashMap;

use crate::core::document::{Document, DocumentError};
use crate::core::frontier::Extent;
use crate::core::log::Arrival;
use crate::core::merge::Direction;
use crate::core::segment::Strand;
use crate::store::{Reader, StoreError};
use crate::words::{ChangeHash, NodeId, Offset, SegmentId, Seq};

/// How many bytes of changes are read at once.
const READ_BYTES: usize = 4 << 20;

/// Says why a log was not exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The store can't be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Its changes don't make a document.
    #[error(transparent)]
    Document(#[from] DocumentError),
}

/// The log as the bytes of one document; of one author only, when one is named.
///
/// A document holds whole changes, so nothing smaller than an author can be left out. Of a segment
/// that its author forked it holds one side, the same on every node: Automerge has no word for two
/// changes at one place. It is built in memory.
///
/// # Errors
/// See [`ExportError`].
pub fn document(reader: &mut dyn Reader, author: Option<NodeId>) -> Result<Vec<u8>, ExportError> {
    let kept = kept_of_forks(reader)?;
    let is_kept = |arrival: &Arrival| match kept.get(&arrival.change.segment) {
        Some(sides) => {
            sides.get(&arrival.strand()).is_some_and(|to| arrival.change.first_seq < *to)
        }
        None => true,
    };
    let mut document = Document::new()?;
    let mut at = Offset(0);
    loop {
        let arrivals = reader.arrivals(at, Direction::Forward, READ_BYTES)?;
        let Some(last) = arrivals.last() else {
            return Ok(document.save()?);
        };
        at = last.end();
        for arrival in &arrivals {
            if author.is_none_or(|author| author == arrival.change.author) && is_kept(arrival) {
                document.add(&arrival.change)?;
            }
        }
    }
}

/// Up to which seq each strand of a forked segment belongs to the side that a document holds.
type Kept = HashMap<Strand, Seq>;

/// What a document holds of the segments that are forked, by segment.
fn kept_of_forks(reader: &mut dyn Reader) -> Result<HashMap<SegmentId, Kept>, StoreError> {
    let mut kept = HashMap::new();
    for author in reader.branched()? {
        let mut by_segment: HashMap<SegmentId, Vec<Extent>> = HashMap::new();
        for extent in reader.extents(author)? {
            by_segment.entry(extent.strand.segment).or_default().push(extent);
        }
        for (segment, sides) in by_segment.into_iter().filter(|(_, sides)| sides.len() > 1) {
            kept.insert(segment, kept_side(reader, &sides)?);
        }
    }
    Ok(kept)
}

/// Walks a forked segment from its start, at every fork on to the change with the lowest hash.
fn kept_side(reader: &mut dyn Reader, sides: &[Extent]) -> Result<Kept, StoreError> {
    let mut kept = Kept::new();
    let starts = sides.iter().filter(|side| side.forks_off.is_none());
    let mut here = lowest(reader, starts.map(|side| (side, side.first_seq)))?;
    let mut from = here.map_or(Seq(0), |side| side.first_seq);
    while let Some(on) = here {
        let off = |side: &&Extent| side.forks_off == Some(on.strand.side) && side.first_seq > from;
        let Some(seq) = sides.iter().filter(off).map(|side| side.first_seq).min() else {
            kept.insert(on.strand, on.next_seq);
            break;
        };
        let beside = sides.iter().filter(off).filter(|side| side.first_seq == seq);
        let next = lowest(reader, beside.map(|side| (side, seq)).chain([(on, seq)]))?;
        if next.is_none_or(|next| next.strand != on.strand) {
            kept.insert(on.strand, seq);
        }
        (here, from) = (next, seq);
    }
    Ok(kept)
}

/// The strand whose change at a place has the lowest hash.
fn lowest<'a>(
    reader: &mut dyn Reader,
    places: impl Iterator<Item = (&'a Extent, Seq)>,
) -> Result<Option<&'a Extent>, StoreError> {
    let mut lowest: Option<(ChangeHash, &Extent)> = None;
    for (extent, seq) in places {
        let found = reader.of_strand(extent.strand, seq, Direction::Forward, 1)?;
        let Some(hash) = found.first().map(|arrival| arrival.change.hash) else { continue };
        if lowest.is_none_or(|(other, _)| hash < other) {
            lowest = Some((hash, extent));
        }
    }
    Ok(lowest.map(|(_, extent)| extent))
}
