//! Mending: changes that a disk damaged, written again as a peer sends them.

use super::thread::State;
use crate::core::change::{Change, Link};
use crate::core::frontier::Head;
use crate::core::merge::Direction;
use crate::store::StoreError;
use crate::store::damage::Lost;

impl State {
    /// Takes out of verified changes what mends a damaged one.
    pub fn mend(&mut self, changes: &mut Vec<Change>) -> Result<Vec<(Lost, Change)>, StoreError> {
        let lost = self.damages.all();
        let mut mended = Vec::new();
        for lost in lost {
            let at_place = |change: &Change| {
                change.author == lost.author
                    && change.segment == lost.strand.segment
                    && change.first_seq == lost.first_seq
            };
            let Some(at) = changes.iter().position(at_place) else { continue };
            if self.belongs(&lost, &changes[at])? {
                let change = changes.remove(at);
                tracing::info!(%lost, "mended: a peer has sent them");
                mended.push((lost, change));
            }
        }
        Ok(mended)
    }

    /// Whether a change is the one that stood at a place: the stored hash says so or, if that is
    /// damaged too, what stands before and after it on an unforked segment does.
    fn belongs(&mut self, lost: &Lost, change: &Change) -> Result<bool, StoreError> {
        let Lost { author, strand, first_seq, .. } = *lost;
        if self.past.begins(strand.segment, first_seq, change.hash)? {
            return Ok(true);
        }
        let sides = self.past.sides(author, strand.segment)?;
        let follows = match change.link() {
            Ok(Link::Previous(hash)) => {
                let head = Head { segment: strand.segment, next_seq: first_seq, hash };
                self.past.locate(&head)? == Some(strand)
            }
            Ok(Link::Opening(_)) => true,
            Err(_) => false,
        };
        let next = change.next_seq();
        let after = self.past.of_strand(strand, next, Direction::Forward, 1)?;
        let led_to = after.first().is_none_or(|after| {
            after.change.first_seq == next && after.change.link() == Ok(Link::Previous(change.hash))
        });
        Ok(sides.is_some_and(|sides| sides.count == 1) && follows && led_to)
    }
}
