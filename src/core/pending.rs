//! The pool of changes whose parent hasn't come yet.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::change::Change;
use crate::words::{ChangeHash, NodeId, Seq};

/// How many bytes may wait for the parents of one author.
const PENDING_BYTES_PER_AUTHOR: usize = 4 << 20; // full: the author's oldest makes room
/// How many bytes may wait in all.
const PENDING_BYTES: usize = 64 << 20; // full: the oldest of whoever has most makes room
/// What a change takes in memory beside its bytes.
const OVERHEAD: usize = 640;

/// Changes that wait, by the hash that they wait for.
///
/// One author can't crowd out the others: each has a share, and when all shares together are too
/// much, the largest one shrinks. What never comes can't stay in the way either: the oldest makes
/// room for the newest. What is dropped is lost only here; the next exchange of frontiers brings it
/// again.
#[derive(Debug, Default)]
pub struct Pending {
    waiting: BTreeMap<Name, Waiting>,
    /// What waits of each author, oldest first.
    ages: BTreeMap<(NodeId, Age), Name>,
    by_author: HashMap<NodeId, usize>,
    /// The same, largest last.
    by_share: BTreeSet<(usize, NodeId)>,
    bytes: usize,
    next_age: Age,
}

/// The place of a change in the order in which changes came.
type Age = u64;

/// What tells waiting changes apart. The author and the seqs of a later change are not in its hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Name {
    parent: ChangeHash,
    hash: ChangeHash,
    author: NodeId,
    segment_seq: Seq,
}

#[derive(Debug)]
struct Waiting {
    age: Age,
    change: Change,
}

/// What became of a change that was put into the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parked {
    /// It waits.
    Waits,
    /// It waits already.
    Twice,
    /// It waits, and older ones were dropped for it.
    Dropped,
}

impl Pending {
    /// Parks a change until `parent` is in the log.
    pub fn park(&mut self, parent: ChangeHash, change: Change) -> Parked {
        let Change { hash, author, segment_seq, .. } = change;
        let name = Name { parent, hash, author, segment_seq };
        if self.waiting.contains_key(&name) {
            return Parked::Twice;
        }
        let parked = self.make_room(author, size(&change));
        let age = self.next_age;
        self.next_age += 1;
        self.take_share(author, |share| share + size(&change));
        self.ages.insert((author, age), name);
        self.waiting.insert(name, Waiting { age, change });
        parked
    }

    /// Takes out all that waits for `parent`, in the order in which it came.
    pub fn release(&mut self, parent: &ChangeHash) -> Vec<Change> {
        let first = Name {
            parent: *parent,
            hash: ChangeHash([0; 32]),
            author: NodeId([0; 32]),
            segment_seq: Seq(0),
        };
        let of_parent = self.waiting.range(first..).take_while(|(name, _)| name.parent == *parent);
        let names: Vec<Name> = of_parent.map(|(name, _)| *name).collect();
        let mut released: Vec<Waiting> =
            names.iter().filter_map(|name| self.remove(name)).collect();
        released.sort_by_key(|waiting| waiting.age);
        released.into_iter().map(|waiting| waiting.change).collect()
    }

    /// How many changes wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// How many bytes wait.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Drops what is oldest until so many bytes more of an author fit.
    fn make_room(&mut self, author: NodeId, size: usize) -> Parked {
        let mut parked = Parked::Waits;
        loop {
            let of_author = self.by_author.get(&author).copied().unwrap_or_default();
            let largest = self.by_share.last().map(|(_, author)| *author);
            let shrinks = if of_author + size > PENDING_BYTES_PER_AUTHOR {
                Some(author)
            } else if self.bytes + size > PENDING_BYTES {
                largest
            } else {
                None
            };
            let oldest = shrinks.and_then(|author| self.oldest(author));
            let Some(oldest) = oldest else {
                return parked;
            };
            self.remove(&oldest);
            parked = Parked::Dropped;
        }
    }

    fn oldest(&self, author: NodeId) -> Option<Name> {
        let of_author = self.ages.range((author, 0)..=(author, Age::MAX)).next();
        of_author.map(|(_, name)| *name)
    }

    fn remove(&mut self, name: &Name) -> Option<Waiting> {
        let waiting = self.waiting.remove(name)?;
        self.ages.remove(&(name.author, waiting.age));
        self.take_share(name.author, |share| share - size(&waiting.change));
        Some(waiting)
    }

    /// Changes how many bytes of an author wait.
    fn take_share(&mut self, author: NodeId, change: impl FnOnce(usize) -> usize) {
        let before = self.by_author.remove(&author).unwrap_or_default();
        self.by_share.remove(&(before, author));
        let after = change(before);
        self.bytes = self.bytes - before + after;
        if after > 0 {
            self.by_author.insert(author, after);
            self.by_share.insert((after, author));
        }
    }
}

fn size(change: &Change) -> usize {
    change.bytes.len() + OVERHEAD
}

#[cfg(test)]
mod tests;
