//! Mending: changes that a disk damaged, written again as a peer sends them.

use std::collections::{BTreeMap, HashMap};

use super::block::BLOCK_BYTES;
use super::damage::{Damages, Lost};
use super::{Reader, StoreError};
use crate::core::change::{Change, Link};
use crate::core::frontier::Head;
use crate::core::merge::Direction;
use crate::words::limits::CHANGE_BYTES;
use crate::words::{ChangeHash, Offset, Seq};

/// For how many damaged places of several changes it is remembered what has come of them.
const GATHERED: usize = 16; // full: what was gathered first is forgotten, and comes again
/// How many bytes of changes are gathered for one of them: a block is at most half of that.
const GATHERED_BYTES: usize = 2 * (CHANGE_BYTES + BLOCK_BYTES); // full: all of it is forgotten

/// Damaged changes as they were, and the place where they belong.
pub type Mended = (Lost, Vec<Change>);

/// What has come of a damaged place of several changes. The sides of a fork stand at the same seqs, so
/// that it can't be told which of them a change is on before the last one has come, too.
#[derive(Debug, Default)]
struct Gathered {
    changes: HashMap<ChangeHash, Change>,
    bytes: usize,
}

impl Gathered {
    fn add(&mut self, change: Change) {
        if self.bytes > GATHERED_BYTES {
            *self = Self::default();
        }
        let bytes = change.bytes.len();
        if self.changes.insert(change.hash, change).is_none() {
            self.bytes += bytes;
        }
    }

    /// The changes up to one of them, each on the one before, if they begin where the place does.
    fn chain(&self, lost: &Lost, last: &Change) -> Option<Vec<Change>> {
        let mut chain = vec![last.clone()];
        let mut first = last;
        while first.first_seq > lost.first_seq {
            let Ok(Link::Previous(hash)) = first.link() else { return None };
            let before = self.changes.get(&hash)?;
            if before.next_seq() != first.first_seq {
                return None;
            }
            chain.push(before.clone());
            first = before;
        }
        chain.reverse();
        Some(chain)
    }
}

/// Takes out of verified changes what mends damaged ones. A block is mended as a whole, and what it
/// held may come in several runs, so that they are gathered.
#[derive(Debug, Default)]
pub struct Mender {
    gathered: BTreeMap<Offset, Gathered>,
}

impl Mender {
    /// Takes what mends something, with the place where it belongs.
    ///
    /// # Errors
    /// The store can't be read.
    pub fn mend(
        &mut self,
        reader: &mut dyn Reader,
        damages: &Damages,
        changes: &mut Vec<Change>,
    ) -> Result<Vec<Mended>, StoreError> {
        let mut mended = Vec::new();
        for lost in damages.all() {
            let inside = |change: &Change| {
                change.author == lost.author
                    && change.segment == lost.strand.segment
                    && lost.first_seq <= change.first_seq
                    && change.first_seq < lost.next_seq
            };
            if !changes.iter().any(inside) {
                continue;
            }
            let alone = |change: &Change| change.first_seq == lost.first_seq;
            if let Some(at) = changes.iter().position(|change| inside(change) && alone(change))
                && !ends_inside(&lost, &changes[at])
                && belongs(reader, &lost, &changes[at])?
            {
                mended.push((lost, vec![changes.remove(at)]));
                continue;
            }
            mended.extend(self.gather(reader, lost, changes.extract_if(.., |c| inside(c)))?);
        }
        Ok(mended)
    }

    /// Adds changes to what has come of a damaged block, and returns it once it is whole: each change
    /// on the one before, and the last one the one whose hash the store kept. What is of another side
    /// of a fork, and may be new, comes again once the block is mended.
    fn gather(
        &mut self,
        reader: &mut dyn Reader,
        lost: Lost,
        changes: impl Iterator<Item = Change>,
    ) -> Result<Option<Mended>, StoreError> {
        if self.gathered.len() >= GATHERED && !self.gathered.contains_key(&lost.offset) {
            self.gathered.pop_first();
        }
        let gathered = self.gathered.entry(lost.offset).or_default();
        changes.for_each(|change| gathered.add(change));
        let ends = gathered.changes.values().filter(|change| change.next_seq() == lost.next_seq);
        for last in ends {
            let head = Head { segment: last.segment, next_seq: last.next_seq(), hash: last.hash };
            if reader.locate(&head)? != Some(lost.strand) {
                continue;
            }
            if let Some(chain) = gathered.chain(&lost, last) {
                self.gathered.remove(&lost.offset);
                return Ok(Some((lost, chain)));
            }
        }
        Ok(None)
    }
}

/// Whether more changes belong into the place.
fn ends_inside(lost: &Lost, change: &Change) -> bool {
    change.next_seq() < Seq(lost.next_seq.0)
}

/// Whether a change is the one that stood at a place: the stored hash says so or, if that is
/// damaged too, what stands before and after it on an unforked segment does. On a forked one the change
/// of another side may stand at the same seqs.
fn belongs(reader: &mut dyn Reader, lost: &Lost, change: &Change) -> Result<bool, StoreError> {
    let Lost { author, strand, first_seq, .. } = *lost;
    let end = Head { segment: strand.segment, next_seq: change.next_seq(), hash: change.hash };
    if let Some(found) = reader.locate(&end)? {
        return Ok(found == strand);
    }
    if reader.sides(author, strand.segment)?.is_none_or(|sides| sides.count != 1) {
        return Ok(false);
    }
    if reader.begins(strand.segment, first_seq, change.hash)? {
        return Ok(true);
    }
    let follows = match change.link() {
        Ok(Link::Previous(hash)) => {
            let head = Head { segment: strand.segment, next_seq: first_seq, hash };
            reader.locate(&head)? == Some(strand)
        }
        Ok(Link::Opening(_)) => true,
        Err(_) => false,
    };
    let next = change.next_seq();
    let after = match reader.of_strand(strand, next, Direction::Forward, 1) {
        Err(StoreError::Lost(_)) => return Ok(false), // what follows can't vouch for anything
        after => after?,
    };
    // Where nothing follows, only the hash that was stored can vouch for it.
    let led_to = after.first().is_some_and(|after| {
        after.change.first_seq == next && after.change.link() == Ok(Link::Previous(change.hash))
    });
    Ok(follows && led_to)
}
