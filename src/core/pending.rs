//! The pool of changes whose parent hasn't come yet.

use std::collections::HashMap;

use super::change::Change;
use crate::words::{ChangeHash, NodeId};

/// How many bytes may wait for the parents of one author.
const PENDING_BYTES_PER_AUTHOR: usize = 4 << 20; // full: the change is dropped, and asked for again
/// How many bytes may wait in all.
const PENDING_BYTES: usize = 64 << 20; // full: the same

/// Changes that wait, by the hash that they wait for.
///
/// One author can't crowd out the others: each has a share of its own. What is dropped is lost
/// only here; the next exchange of frontiers brings it again.
#[derive(Debug, Default)]
pub struct Pending {
    waiting: HashMap<ChangeHash, Vec<Change>>,
    by_author: HashMap<NodeId, usize>,
    bytes: usize,
    changes: usize,
}

/// What became of a change that was put into the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parked {
    /// It waits.
    Waits,
    /// It waits already.
    Twice,
    /// There is no room.
    Dropped,
}

impl Pending {
    /// Parks a change until `parent` is in the log.
    pub fn park(&mut self, parent: ChangeHash, change: Change) -> Parked {
        let waiting = self.waiting.get(&parent);
        // The author and the seqs of a later change are not in its hash.
        let name = |change: &Change| (change.hash, change.author, change.segment_seq);
        if waiting.is_some_and(|all| all.iter().any(|other| name(other) == name(&change))) {
            return Parked::Twice;
        }
        let size = change.bytes.len();
        let of_author = self.by_author.get(&change.author).copied().unwrap_or_default();
        if of_author + size > PENDING_BYTES_PER_AUTHOR || self.bytes + size > PENDING_BYTES {
            return Parked::Dropped;
        }
        self.by_author.insert(change.author, of_author + size);
        self.bytes += size;
        self.changes += 1;
        self.waiting.entry(parent).or_default().push(change);
        Parked::Waits
    }

    /// Takes out all that waits for `parent`.
    pub fn release(&mut self, parent: &ChangeHash) -> Vec<Change> {
        let released = self.waiting.remove(parent).unwrap_or_default();
        for change in &released {
            let size = change.bytes.len();
            self.bytes -= size;
            self.changes -= 1;
            if let Some(of_author) = self.by_author.get_mut(&change.author) {
                *of_author -= size;
                if *of_author == 0 {
                    self.by_author.remove(&change.author);
                }
            }
        }
        released
    }

    /// How many changes wait.
    pub fn len(&self) -> usize {
        self.changes
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.changes == 0
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::words::{SegmentId, Seq, Time};

    fn change(author: u8, hash: u32, size: usize) -> Change {
        let mut bytes = [0; 32];
        bytes[..4].copy_from_slice(&hash.to_be_bytes());
        Change {
            author: NodeId([author; 32]),
            segment: SegmentId([author; 16]),
            segment_seq: Seq(0),
            index: 1,
            first_seq: Seq(1),
            count: 1,
            first_time: Time::default(),
            last_time: Time::default(),
            hash: ChangeHash(bytes),
            signature: None,
            bytes: Bytes::from(vec![0; size]),
        }
    }

    #[test]
    fn what_waits_comes_out_once() {
        let mut pool = Pending::default();
        let parent = ChangeHash([9; 32]);
        assert_eq!(pool.park(parent, change(1, 1, 10)), Parked::Waits);
        assert_eq!(pool.park(parent, change(1, 1, 10)), Parked::Twice);
        assert_eq!(pool.release(&parent).len(), 1);
        assert!(pool.release(&parent).is_empty());
        assert!(pool.is_empty());
        assert_eq!(pool.bytes, 0);
        assert!(pool.by_author.is_empty());
    }

    #[test]
    fn one_author_cannot_crowd_out_another() {
        let mut pool = Pending::default();
        let mut parked = 0;
        for n in 0..10_000 {
            let parent = ChangeHash([(n % 251) as u8; 32]);
            parked += usize::from(pool.park(parent, change(1, n, 1_024)) == Parked::Waits);
        }
        assert_eq!(parked, PENDING_BYTES_PER_AUTHOR / 1_024);
        assert_eq!(pool.park(ChangeHash([7; 32]), change(2, 1, 1_024)), Parked::Waits);
    }
}
