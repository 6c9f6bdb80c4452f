//! The newest changes in memory: what peers that keep up are sent is not read from the store again.
//!
//! The writer puts here what it has committed, before it rings the doorbell. So what is here is on disk,
//! and whoever hears the bell finds it. Whoever is further behind reads the store.

use std::collections::VecDeque;
use std::sync::PoisonError;

use super::sync::Mutex;
use crate::core::change::{Change, SignedRun};
use crate::core::frontier::Range;
use crate::core::log::Arrival;
use crate::core::session::Passed;
use crate::store::block::worth;
use crate::store::ranges::{RUN_BYTES, run};
use crate::words::{NodeId, Offset};

/// How many changes are held, and how many bytes of them.
const CHANGES: usize = 1_024; // full: the oldest are let go, and read from the store
const BYTES: usize = 4 << 20;

/// The newest changes in order of arrival, without a hole.
pub struct Newest {
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    arrivals: VecDeque<Arrival>,
    bytes: usize,
}

impl Default for Newest {
    fn default() -> Self {
        Self { held: Mutex::new(Held::default()) }
    }
}

impl Newest {
    /// Takes what was committed.
    pub fn push(&self, arrivals: &[Arrival]) {
        self.with(|held| arrivals.iter().for_each(|arrival| held.push(arrival)));
    }

    /// Who wrote the newest.
    pub fn author(&self) -> Option<NodeId> {
        self.with(|held| held.arrivals.back().map(|newest| newest.change.author))
    }

    /// The changes that end above an offset, without their bytes, and the offset after the last of them.
    /// None where the store must be asked.
    pub fn scan(&self, from: Offset, limit: usize) -> Option<(Vec<Passed>, Offset)> {
        self.with(|held| {
            let (first, last) = (held.arrivals.front()?, held.arrivals.back()?);
            if from < first.offset || from > last.end() {
                return None;
            }
            let begin = held.arrivals.partition_point(|arrival| arrival.end() <= from);
            let passing = || held.arrivals.range(begin..).take(limit);
            let next = passing().last().map_or(from, Arrival::end);
            Some((passing().map(Passed::of).collect(), next))
        })
    }

    /// A run from the start of a range. None where the store must be asked: it may have it packed.
    pub fn fetch(&self, range: Range) -> Option<SignedRun> {
        let arrivals = self.with(|held| {
            let mut next = range.from;
            let mut bytes = 0;
            let mut found: Vec<Arrival> = Vec::new();
            for arrival in &held.arrivals {
                let Change { first_seq, bytes: chunk, .. } = &arrival.change;
                let goes_on = arrival.strand() == range.strand
                    && *first_seq <= next
                    && next < arrival.change.next_seq();
                if !goes_on {
                    continue;
                }
                if next >= range.to || bytes >= RUN_BYTES {
                    break;
                }
                if worth::DIRECT.is_reached(arrival) {
                    return None; // the store keeps it packed, and it is sent so
                }
                next = arrival.change.next_seq();
                bytes += chunk.len();
                found.push(arrival.clone());
            }
            Some(found)
        })?;
        run(arrivals, range)
    }

    fn with<T>(&self, look: impl FnOnce(&mut Held) -> T) -> T {
        look(&mut self.held.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Held {
    fn push(&mut self, arrival: &Arrival) {
        if self.arrivals.back().is_some_and(|last| last.end() != arrival.offset) {
            (self.arrivals, self.bytes) = (VecDeque::new(), 0);
        }
        self.bytes += arrival.change.bytes.len();
        self.arrivals.push_back(arrival.clone());
        while self.arrivals.len() > CHANGES || self.bytes > BYTES {
            let Some(oldest) = self.arrivals.pop_front() else { break };
            self.bytes -= oldest.change.bytes.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::log::Log;
    use crate::words::{ClusterId, Draft, Identity, Seq};

    const CLUSTER: ClusterId = ClusterId([9; 32]);

    fn commit(log: &mut Log, newest: &Newest, text: &str) -> Arrival {
        let draft = Draft::text("t", "k", text).unwrap();
        let arrivals = log.append([&draft], 1).unwrap();
        log.committed();
        newest.push(&arrivals);
        arrivals[0].clone()
    }

    fn log() -> Log {
        Log::new(Identity::from_secret(&[1; 32]), CLUSTER, [2; 16], [], Offset(0), 0)
    }

    fn range(arrival: &Arrival, from: u64, to: u64) -> Range {
        let (author, strand) = (arrival.change.author, arrival.strand());
        Range { author, strand, from: Seq(from), to: Seq(to) }
    }

    #[test]
    fn what_was_committed_last_is_scanned_and_sent_without_the_store() {
        let (mut log, newest) = (log(), Newest::default());
        let all: Vec<Arrival> = (0..5).map(|n| commit(&mut log, &newest, &n.to_string())).collect();
        let (passed, next) = newest.scan(Offset(2), 2).unwrap();
        assert_eq!((passed.len(), passed[0].first_seq, next), (2, Seq(2), Offset(4)));
        assert_eq!(newest.scan(Offset(5), 2), Some((Vec::new(), Offset(5))));
        assert_eq!(newest.scan(Offset(6), 2), None);
        let run = newest.fetch(range(&all[0], 1, 4)).unwrap();
        assert_eq!((run.place.first_seq, run.next_seq()), (Seq(1), Seq(4)));
        let sent: Vec<_> = run.verify(CLUSTER).unwrap().iter().map(|c| c.hash).collect();
        let held: Vec<_> = all[1..4].iter().map(|a| a.change.hash).collect();
        assert_eq!(sent, held);
    }

    #[test]
    fn what_is_not_there_is_left_to_the_store() {
        let (mut log, newest) = (log(), Newest::default());
        let first = commit(&mut log, &newest, "first");
        assert!(newest.fetch(range(&first, 1, 2)).is_none());
        let large = commit(&mut log, &newest, &"x".repeat(worth::DIRECT.bytes));
        assert!(newest.fetch(range(&large, 1, 2)).is_none());
        for _ in 0..=CHANGES {
            commit(&mut log, &newest, "more");
        }
        assert_eq!(newest.scan(Offset(0), 1), None);
        assert!(newest.fetch(range(&first, 0, 1)).is_none());
    }

    #[test]
    fn memory_is_bounded_in_bytes() {
        let (mut log, newest) = (log(), Newest::default());
        for _ in 0..8 {
            commit(&mut log, &newest, &"x".repeat(1 << 20));
        }
        newest.with(|held| assert!(held.bytes <= BYTES && !held.arrivals.is_empty()));
    }
}
