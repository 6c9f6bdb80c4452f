//! The recorder's arithmetic: which emit numbers are recorded, and which a gap stands for.
//!
//! Emit numbers come in rising order; what is missing between two of them was lost. Whatever is
//! lost, at rest: emitted = recorded + Σ gap.count, and the ranges tile.

use std::sync::Arc;

use crate::words::planted::{Bug, planted};
use crate::words::{Draft, EmitNumber, Gap, GapReason};

/// What was heard since the last recording, in order: events, and gaps ahead of them.
#[derive(Debug, Default)]
pub struct Recording {
    /// What is appended.
    pub drafts: Vec<Draft>,
    /// All emit numbers below are accounted for with it.
    pub next: EmitNumber,
    /// How many of the drafts are events.
    pub recorded: u64,
    /// How many events the gaps among the drafts state.
    pub dropped: u64,
    /// How many of the drafts are gaps.
    pub gaps: u64,
}

/// Counts what is heard, and makes a gap of what is not.
#[derive(Debug)]
pub struct Tally {
    /// All numbers below are on disk, or in the recording that is being made.
    expected: EmitNumber,
    /// Numbers below this that turn out to be missing were lost because the disk was full.
    full_below: EmitNumber,
    recording: Recording,
    bytes: usize,
}

impl Tally {
    /// A tally that has accounted for all numbers below `expected`.
    pub fn new(expected: EmitNumber) -> Self {
        let full_below = EmitNumber::default();
        Self { expected, full_below, recording: Recording::default(), bytes: 0 }
    }

    /// The number that is expected next.
    pub fn expected(&self) -> EmitNumber {
        self.expected
    }

    /// How many drafts wait to be recorded.
    pub fn len(&self) -> usize {
        self.recording.drafts.len()
    }

    /// Whether nothing waits to be recorded.
    pub fn is_empty(&self) -> bool {
        self.recording.drafts.is_empty()
    }

    /// How many bytes the events have that wait to be recorded.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes an event. The numbers between the expected one and its own are missing.
    pub fn hear(&mut self, number: EmitNumber, event: Arc<Draft>) {
        self.miss_to(number);
        self.bytes += event.size();
        self.recording.drafts.push(Arc::unwrap_or_clone(event));
        self.recording.recorded += 1;
        self.expected = number.plus(1);
    }

    /// Nothing could be recorded while the numbers below `end` were given out: if some of them are
    /// missing, the full disk is to blame, not a recorder that lags.
    pub fn blame_full_disk(&mut self, end: EmitNumber) {
        self.full_below = end.max(self.full_below);
    }

    /// States that the numbers from the expected one up to `to` did not come, and why.
    pub fn miss_to(&mut self, to: EmitNumber) {
        let full = self.expected < self.full_below;
        self.skip_to(to, if full { GapReason::DiskFull } else { GapReason::Lag });
    }

    /// States that the numbers from the expected one up to `to` are not recorded. Losses without
    /// an event between them are one gap, since a gap is only made when the next event is there.
    pub fn skip_to(&mut self, to: EmitNumber, reason: GapReason) {
        if to <= self.expected {
            return;
        }
        if planted(Bug::GapDropped) {
            self.expected = to;
            return;
        }
        let gap = Gap::new(self.expected, EmitNumber(to.0 - 1), reason);
        match gap.draft() {
            Ok(draft) => self.recording.drafts.push(draft),
            Err(error) => unreachable!("constant names parse: {error}"),
        }
        self.recording.dropped += gap.count;
        self.recording.gaps += 1;
        self.expected = to;
    }

    /// Takes out what is to be recorded now; none when nothing was heard or lost.
    pub fn take(&mut self) -> Option<Recording> {
        if self.is_empty() {
            return None;
        }
        self.bytes = 0;
        let recording = std::mem::take(&mut self.recording);
        Some(Recording { next: self.expected, ..recording })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> Arc<Draft> {
        Arc::new(Draft::text("t", "k", "x").unwrap())
    }

    #[test]
    fn what_is_missing_between_two_events_is_a_gap_ahead_of_the_second() {
        let mut tally = Tally::new(EmitNumber(5));
        tally.hear(EmitNumber(5), event());
        tally.hear(EmitNumber(9), event());
        let recording = tally.take().unwrap();
        let kinds: Vec<_> = recording.drafts.iter().map(|draft| draft.kind.as_str()).collect();
        assert_eq!(kinds, ["k", "towline.gap", "k"]);
        assert_eq!((recording.recorded, recording.dropped, recording.gaps), (2, 3, 1));
        assert_eq!(recording.next, EmitNumber(10));
    }

    #[test]
    fn what_is_missing_from_the_time_of_a_full_disk_is_one_gap_that_says_so() {
        let mut tally = Tally::new(EmitNumber(5));
        tally.blame_full_disk(EmitNumber(20));
        tally.hear(EmitNumber(18), event());
        tally.hear(EmitNumber(22), event());
        tally.hear(EmitNumber(30), event());
        let recording = tally.take().unwrap();
        let gaps = recording.drafts.iter().filter(|draft| draft.kind.as_str() == "towline.gap");
        let said: Vec<_> = gaps.map(|gap| String::from_utf8_lossy(&gap.data)).collect();
        assert_eq!(
            said,
            [
                r#"{"from":5,"to":17,"count":13,"reason":"disk_full","exact":true}"#,
                r#"{"from":19,"to":21,"count":3,"reason":"disk_full","exact":true}"#,
                r#"{"from":23,"to":29,"count":7,"reason":"lag","exact":true}"#,
            ]
        );
    }

    #[test]
    fn nothing_heard_is_nothing_to_record() {
        let mut tally = Tally::new(EmitNumber(5));
        tally.skip_to(EmitNumber(5), GapReason::Lag);
        assert!(tally.take().is_none());
    }
}
