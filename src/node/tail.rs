//! The newest entries in memory, which readers that keep up share.
//!
//! The tail is filled by reading: the first follower that comes to new entries reads them from the
//! store, and those that wait for the same get what it read. So the tail holds only what is
//! committed, thousands of followers cost one reading, and nobody writes it on the way to a commit.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::Mutex;

use super::filter::Filter;
use super::forked;
use super::reading::Reading;
use crate::core::merge::Direction;
use crate::store::StoreError;
use crate::words::{Entry, Offset};

/// How many entries the tail holds, and how many bytes of them.
const ENTRIES: usize = 1_024; // full: the oldest are forgotten, and read from the store
const BYTES: usize = 2 << 20;
/// How far below the watermark a follower may be to be one that keeps up, in entries.
const NEAR: u64 = 512;
/// How many bytes of changes are read at once.
const READ_BYTES: usize = 256 << 10;

/// The newest entries, all of them, without a hole.
#[derive(Default)]
pub struct Tail {
    recent: Mutex<Recent>,
}

#[derive(Default)]
struct Recent {
    /// The offset of the first entry held.
    from: Offset,
    /// The offset after the last one.
    to: Offset,
    entries: VecDeque<Arc<Entry>>,
    bytes: usize,
}

impl Tail {
    /// Entries from `at` on, and the offset after them. None: whoever is so far behind the
    /// watermark, `end`, reads for itself.
    ///
    /// # Errors
    /// The store can't be read.
    ///
    /// # Cancel safety
    /// A call that is dropped loses nothing.
    pub async fn from(
        &self,
        at: Offset,
        end: Offset,
        reading: &Reading,
    ) -> Result<Option<(Vec<Arc<Entry>>, Offset)>, StoreError> {
        if end.0.saturating_sub(at.0) > NEAR {
            return Ok(None);
        }
        let mut recent = self.recent.lock().await;
        if at < recent.from {
            return Ok(None);
        }
        if at > recent.to {
            *recent = Recent { from: at, to: at, ..Recent::default() };
        }
        if at == recent.to {
            let (entries, to) = read(reading, at).await?;
            if to == at {
                return Ok(None); // something was removed here, and whoever comes to it is to know
            }
            recent.extend(entries, to);
        }
        Ok(recent.rest(at))
    }
}

impl Recent {
    fn extend(&mut self, entries: Vec<Entry>, to: Offset) {
        for entry in entries {
            self.bytes += entry.body.size();
            self.entries.push_back(Arc::new(entry));
        }
        self.to = to;
        while self.entries.len() > ENTRIES || self.bytes > BYTES {
            let Some(oldest) = self.entries.pop_front() else { break };
            self.bytes -= oldest.body.size();
            self.from = oldest.offset.plus(1);
        }
    }

    /// What is held from `at` on; none when that was forgotten again: it was too large.
    fn rest(&self, at: Offset) -> Option<(Vec<Arc<Entry>>, Offset)> {
        let before = at.0.checked_sub(self.from.0)?;
        let rest = self.entries.iter().skip(usize::try_from(before).ok()?);
        Some((rest.cloned().collect(), self.to))
    }
}

/// All entries from an offset on, as far as one reading goes, and up to the first that was removed.
async fn read(reading: &Reading, at: Offset) -> Result<(Vec<Entry>, Offset), StoreError> {
    reading
        .run(move |reader| {
            let arrivals = reader.arrivals(at, Direction::Forward, READ_BYTES)?;
            let mut entries = Vec::new();
            let mut next = at;
            for arrival in &arrivals {
                if arrival.offset > next {
                    break;
                }
                let all = Filter::all().all_entries(arrival)?;
                entries.extend(all.into_iter().filter(|entry| entry.offset >= at));
                next = arrival.end();
            }
            forked::mark(reader, &mut entries)?;
            Ok::<_, StoreError>((entries, next))
        })
        .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::{ChangeHash, Draft, NodeId, SegmentId, Seq, Time};

    fn entry(offset: u64, bytes: usize) -> Entry {
        Entry {
            author: NodeId([1; 32]),
            seq: Seq(offset),
            time: Time::default(),
            offset: Offset(offset),
            change: ChangeHash([2; 32]),
            segment: SegmentId([3; 16]),
            skew: false,
            forked: false,
            body: Draft::text("t", "k", "x".repeat(bytes)).unwrap(),
        }
    }

    fn offsets(recent: &Recent, at: u64) -> Option<Vec<u64>> {
        let (entries, _) = recent.rest(Offset(at))?;
        Some(entries.iter().map(|entry| entry.offset.0).collect())
    }

    #[test]
    fn the_tail_holds_the_newest_and_says_what_it_forgot() {
        let mut recent = Recent { from: Offset(10), to: Offset(10), ..Recent::default() };
        recent.extend((10..13).map(|n| entry(n, 10)).collect(), Offset(13));
        assert_eq!(offsets(&recent, 11), Some(vec![11, 12]));
        assert_eq!(offsets(&recent, 13), Some(vec![]));
        let next = 13 + ENTRIES as u64;
        recent.extend((13..next).map(|n| entry(n, 10)).collect(), Offset(next));
        assert_eq!(recent.entries.len(), ENTRIES);
        assert_eq!((recent.from, offsets(&recent, 12)), (Offset(13), None));
    }

    #[test]
    fn the_tail_is_bounded_in_bytes() {
        let mut recent = Recent::default();
        recent.extend((0..8).map(|n| entry(n, 1 << 20)).collect(), Offset(8));
        assert!(recent.bytes <= BYTES, "{}", recent.bytes);
        assert_eq!(offsets(&recent, 0), None);
        assert_eq!(offsets(&recent, 7), Some(vec![7]));
    }
}
