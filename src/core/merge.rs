//! Merged order: one sequence out of many sorted runs.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::ops::Range;

use crate::words::entry::MergedKey;
use crate::words::{Entry, Seq, Time};

/// Which way a sequence is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Direction {
    /// From the oldest to the newest.
    #[default]
    Forward,
    /// From the newest to the oldest.
    Backward,
}

impl Direction {
    /// The end of a range at which reading begins.
    pub fn near<T: Copy>(self, range: &Range<T>) -> T {
        match self {
            Self::Forward => range.start,
            Self::Backward => range.end,
        }
    }

    /// The first of some seqs, in this direction.
    pub fn first_seq(self, seqs: &Range<Seq>) -> Seq {
        match self {
            Self::Forward => seqs.start,
            Self::Backward => Seq(seqs.end.0.saturating_sub(1)),
        }
    }

    fn order(self, ordering: Ordering) -> Ordering {
        match self {
            Self::Forward => ordering,
            Self::Backward => ordering.reverse(),
        }
    }
}

/// What two ranges have in common; it is empty where that is nothing.
pub fn common<T: Ord + Copy>(one: &Range<T>, other: &Range<T>) -> Range<T> {
    one.start.max(other.start)..one.end.min(other.end)
}

/// Ranges in order, those that touch each other joined.
pub fn joined<T: Ord + Copy>(mut ranges: Vec<Range<T>>) -> Vec<Range<T>> {
    ranges.sort_by_key(|range| range.start);
    let mut joined: Vec<Range<T>> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match joined.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => joined.push(range),
        }
    }
    joined
}

/// A run of entries whose merged keys rise (or fall, when read backward).
pub trait Run {
    /// What goes wrong when the run can't be read.
    type Error;

    /// A time that no entry comes before that is left of the run, in the direction of reading.
    fn bound(&self) -> Time;

    /// Looks for a closer bound without reading entries. Returns whether there may be one now; a second
    /// call in a row returns that there is none.
    ///
    /// # Errors
    /// The run can't be read.
    fn sharpen(&mut self) -> Result<bool, Self::Error> {
        Ok(false)
    }

    /// Reads on, if the next entry is not at hand. Where there is none after that, the run has ended.
    ///
    /// # Errors
    /// The run can't be read.
    fn read_on(&mut self) -> Result<(), Self::Error>;

    /// The key of the next entry, if it is at hand.
    fn next_key(&self) -> Option<MergedKey>;

    /// The next entry, if it is at hand. Its time is the bound now.
    ///
    /// # Errors
    /// The run can't be read.
    fn take(&mut self) -> Result<Option<Entry>, Self::Error>;
}

/// The k-way merge of runs, which opens a run only when its turn comes.
///
/// Entries stay in their runs until then. Memory is what the runs have at hand that are open at the same
/// time: for honest authors one each, however many segments they have.
pub struct Merge<R> {
    direction: Direction,
    /// In the order of their bounds, the first one last.
    closed: Vec<R>,
    /// Boxed, for a heap moves what it holds.
    open: BinaryHeap<Box<Front<R>>>,
}

/// A run and the key of its next entry.
struct Front<R> {
    direction: Direction,
    key: MergedKey,
    run: R,
}

impl<R> Ord for Front<R> {
    fn cmp(&self, other: &Self) -> Ordering {
        // A BinaryHeap gives the greatest first, and the next entry is to come first.
        self.direction.order(self.key.cmp(&other.key)).reverse()
    }
}

impl<R> PartialOrd for Front<R> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<R> PartialEq for Front<R> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<R> Eq for Front<R> {}

impl<R: Run> Merge<R> {
    /// Merges the runs, each sorted in this direction.
    pub fn new(mut runs: Vec<R>, direction: Direction) -> Self {
        runs.sort_by(|a, b| direction.order(b.bound().cmp(&a.bound())));
        Self { direction, closed: runs, open: BinaryHeap::new() }
    }

    /// Whether there is nothing left.
    ///
    /// # Errors
    /// A run that can't be read. The merge must not be read on.
    pub fn is_at_end(&mut self) -> Result<bool, R::Error> {
        while let Some(mut run) = self.closed.pop_if(|run| due(self.direction, run, &self.open)) {
            if run.sharpen()? {
                self.close(run);
                continue;
            }
            run.read_on()?;
            if let Some(key) = run.next_key() {
                self.open.push(Box::new(Front { direction: self.direction, key, run }));
            }
        }
        Ok(self.open.is_empty())
    }

    /// The next entry of all runs.
    ///
    /// # Errors
    /// As [`Self::is_at_end`].
    pub fn next_entry(&mut self) -> Result<Option<Entry>, R::Error> {
        if self.is_at_end()? {
            return Ok(None);
        }
        let Some(mut front) = self.open.peek_mut() else { return Ok(None) };
        let entry = front.run.take()?;
        match front.run.next_key() {
            Some(key) => front.key = key, // in its place: it is mostly the next one of all
            None => {
                let Front { run, .. } = *PeekMut::pop(front);
                self.close(run); // it is read on only when its turn comes
            }
        }
        Ok(entry)
    }

    /// Puts a run where its bound says.
    fn close(&mut self, run: R) {
        let (direction, bound) = (self.direction, run.bound());
        let later = |other: &R| direction.order(other.bound().cmp(&bound)) == Ordering::Greater;
        let place = self.closed.partition_point(later);
        self.closed.insert(place, run);
    }
}

/// Whether a closed run may hold something that comes before all open ones.
fn due<R: Run>(direction: Direction, run: &R, open: &BinaryHeap<Box<Front<R>>>) -> bool {
    let Some(front) = open.peek() else {
        return true;
    };
    direction.order(run.bound().cmp(&front.key.0)) != Ordering::Greater
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use proptest::prelude::*;

    use super::*;
    use crate::words::{ChangeHash, Draft, NodeId, Offset, SegmentId, Seq};

    struct Listed(Vec<Entry>);

    impl Run for Listed {
        type Error = Infallible;

        fn bound(&self) -> Time {
            self.0.last().map_or(Time::MAX, |entry| entry.time)
        }

        fn read_on(&mut self) -> Result<(), Infallible> {
            Ok(())
        }

        fn next_key(&self) -> Option<MergedKey> {
            self.0.last().map(Entry::merged_key)
        }

        fn take(&mut self) -> Result<Option<Entry>, Infallible> {
            Ok(self.0.pop())
        }
    }

    fn entry(author: u8, seq: u64, millis: u64) -> Entry {
        Entry {
            author: NodeId([author; 32]),
            seq: Seq(seq),
            time: Time::from_millis(millis),
            offset: Offset(0),
            change: ChangeHash([0; 32]),
            segment: SegmentId([author; 16]),
            skew: false,
            forked: false,
            body: Draft::text("t", "k", "").unwrap(),
        }
    }

    proptest! {
        #[test]
        fn a_merge_is_the_sorted_union(
            runs in proptest::collection::vec(proptest::collection::btree_set(0..200u64, 0..20), 0..6),
            backward in any::<bool>(),
        ) {
            let direction = if backward { Direction::Backward } else { Direction::Forward };
            let entries = |(author, times): (usize, &std::collections::BTreeSet<u64>)| -> Vec<Entry> {
                times.iter().enumerate().map(|(seq, &t)| entry(author as u8, seq as u64, t)).collect()
            };
            let lists: Vec<Vec<Entry>> = runs.iter().enumerate().map(entries).collect();
            let mut expected: Vec<Entry> = lists.concat();
            expected.sort_by_key(Entry::merged_key);
            if backward {
                expected.reverse();
            }
            let runs = lists.into_iter().map(|mut list| {
                if !backward {
                    list.reverse(); // a run is popped from its end
                }
                Listed(list)
            });
            let mut merge = Merge::new(runs.collect(), direction);
            let mut merged = Vec::new();
            while let Some(entry) = merge.next_entry().unwrap() {
                merged.push(entry);
            }
            prop_assert_eq!(merged, expected);
        }
    }
}
