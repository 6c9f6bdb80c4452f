//! Taking over: how a log goes on after what no peer holds any more.
//!
//! A change whose parent hasn't come waits. What it names is remembered here, so that what stays of pruned
//! segments can take its place: the author vouches for it by naming it.

use super::{Log, Past, Sides, join};
use crate::core::change::{Change, Link};
use crate::core::pending::Parked;
use crate::core::pruned::Pruned;
use crate::core::segment::Parent;
use crate::words::limits::{AUTHORS, BRANCHES};
use crate::words::{ChangeHash, NodeId};

/// What was taken over.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Adopted {
    /// To be committed, in this order; nothing where all of it was held.
    pub pruned: Vec<Pruned>,
    /// What has waited for it.
    pub waited: Vec<Change>,
}

impl Log {
    /// Keeps a change until its parent comes.
    pub(super) fn park(&mut self, parent: ChangeHash, change: Change) -> Parked {
        if let Ok(Link::Opening(opening)) = change.link()
            && let Some(named) = opening.parents.iter().find(|named| named.hash == parent)
            && (self.unmet.len() < AUTHORS || self.unmet.contains_key(&change.author))
        {
            let unmet = self.unmet.entry(change.author).or_default();
            unmet.insert(*named);
            if unmet.len() > BRANCHES {
                unmet.pop_first(); // it is named again when its segment comes again
            }
        }
        self.pending.park(parent, change)
    }

    /// Takes over what stays of segments that no peer holds any more, in place of their entries.
    ///
    /// `chain` are pruned segments of one author, each following the one before. The last of them must
    /// be what a segment that came names as its parent: so the author vouches for where the chain ends.
    /// The first must follow what is held here, be what is held here in part, or begin the author's log.
    /// Whatever is held already is passed over.
    ///
    /// Returns what is to be committed, before anything that is applied later, and the changes that
    /// have waited for it, which are to be applied. None: the chain can't be taken, or not yet.
    ///
    /// # Errors
    /// The past can't be read. The log must then be thrown away.
    pub fn adopt<P: Past + ?Sized>(
        &mut self,
        chain: Vec<Pruned>,
        past: &mut P,
    ) -> Result<Option<Adopted>, P::Error> {
        let Some((author, end)) = chain.last().map(|last| (last.author(), last.end())) else {
            return Ok(None);
        };
        if self.standing(author, &end, past)?.is_some() {
            return Ok(Some(Adopted::default()));
        }
        let one = chain.iter().all(|pruned| pruned.author() == author);
        let follows = chain.windows(2).all(|two| two[1].opening.parents == [two[0].end()]);
        let known = self.tips.get(&author).map_or(0, Vec::len);
        let stranger = known == 0 && author != self.node() && self.tips.len() + 1 >= AUTHORS;
        let crowd = stranger || known >= BRANCHES;
        if !one
            || !follows
            || crowd
            || !self.unmet.get(&author).is_some_and(|unmet| unmet.contains(&end))
        {
            return Ok(None);
        }
        let mut pruned: Vec<Pruned> = Vec::new();
        for next in chain {
            if pruned.is_empty() {
                if self.standing(author, &next.end(), past)?.is_some() {
                    continue;
                }
                if !self.goes_on(&next, past)? {
                    return Ok(None);
                }
            }
            pruned.push(next);
        }
        pruned.iter().for_each(|pruned| self.take_over(pruned));
        self.met(author, &end);
        Ok(Some(Adopted { pruned, waited: self.pending.release(&end.hash) }))
    }

    /// Whether a pruned segment follows what is held of its author, or is held in part.
    fn goes_on<P: Past + ?Sized>(&self, pruned: &Pruned, past: &mut P) -> Result<bool, P::Error> {
        let (author, strand) = (pruned.author(), pruned.strand());
        let tips = self.tips.get(&author).map_or(&[][..], Vec::as_slice);
        let open = tips.iter().find(|tip| tip.strand() == strand);
        let fresh = open.or_else(|| self.fresh.closed.get(&strand));
        let reach = match fresh {
            Some(tip) => Some((tip.head.next_seq, tip.changes)),
            // Another lifetime of the author may have gone on from there.
            None => past.reach(strand)?,
        };
        if let Some((next_seq, changes)) = reach {
            return Ok(next_seq < pruned.next_seq && changes < pruned.changes);
        }
        for parent in &pruned.opening.parents {
            if self.standing(author, parent, past)?.is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// A change that was named as a parent is held.
    pub(super) fn met(&mut self, author: NodeId, parent: &Parent) {
        if let Some(unmet) = self.unmet.get_mut(&author) {
            unmet.remove(parent);
            if unmet.is_empty() {
                self.unmet.remove(&author);
            }
        }
    }

    fn take_over(&mut self, pruned: &Pruned) {
        let (author, tip) = (pruned.author(), pruned.tip());
        let tips = self.tips.entry(author).or_default();
        tips.retain(|other| other.strand() != tip.strand());
        self.fresh.closed.extend(join(tips, &pruned.opening));
        tips.push(tip.clone());
        self.fresh.tips.insert((author, pruned.end()), tip.clone());
        let pruned = Some(pruned.next_seq);
        let sides = Sides { count: 1, segment_seq: tip.segment_seq, pruned };
        self.fresh.sides.insert(tip.head.segment, sides);
        if author == self.node() {
            self.clock.see_own(tip.last_time);
        }
    }
}
