//! Mending: changes that a disk damaged, written again as a peer sends them.

use super::damage::{Damages, Lost};
use super::{Reader, StoreError};
use crate::core::change::{Change, Link};
use crate::core::frontier::Head;
use crate::core::merge::Direction;

/// Takes out of verified changes what mends a damaged one, with the place where it belongs.
///
/// # Errors
/// The store can't be read.
pub fn mending(
    reader: &mut dyn Reader,
    damages: &Damages,
    changes: &mut Vec<Change>,
) -> Result<Vec<(Lost, Change)>, StoreError> {
    let mut mended = Vec::new();
    for lost in damages.all() {
        let at_place = |change: &Change| {
            change.author == lost.author
                && change.segment == lost.strand.segment
                && change.first_seq == lost.first_seq
        };
        let Some(at) = changes.iter().position(at_place) else { continue };
        if belongs(reader, &lost, &changes[at])? {
            mended.push((lost, changes.remove(at)));
        }
    }
    Ok(mended)
}

/// Whether a change is the one that stood at a place: the stored hash says so or, if that is
/// damaged too, what stands before and after it on an unforked segment does.
fn belongs(reader: &mut dyn Reader, lost: &Lost, change: &Change) -> Result<bool, StoreError> {
    let Lost { author, strand, first_seq, .. } = *lost;
    if reader.begins(strand.segment, first_seq, change.hash)? {
        return Ok(true);
    }
    let sides = reader.sides(author, strand.segment)?;
    let follows = match change.link() {
        Ok(Link::Previous(hash)) => {
            let head = Head { segment: strand.segment, next_seq: first_seq, hash };
            reader.locate(&head)? == Some(strand)
        }
        Ok(Link::Opening(_)) => true,
        Err(_) => false,
    };
    let next = change.next_seq();
    let after = reader.of_strand(strand, next, Direction::Forward, 1)?;
    let led_to = after.first().is_none_or(|after| {
        after.change.first_seq == next && after.change.link() == Ok(Link::Previous(change.hash))
    });
    Ok(sides.is_some_and(|sides| sides.count == 1) && follows && led_to)
}
