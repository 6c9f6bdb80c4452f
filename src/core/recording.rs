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
    recording: Recording,
    bytes: usize,
}

impl Tally {
    /// A tally that has accounted for all numbers below `expected`.
    pub fn new(expected: EmitNumber) -> Self {
        Self { expected, recording: Recording::default(), bytes: 0 }
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

    /// Takes an event. The numbers between the expected one and its own were lost to a lag.
    pub fn hear(&mut self, number: EmitNumber, event: Arc<Draft>) {
        self.skip_to(number, GapReason::Lag);
        self.bytes += event.size();
        self.recording.drafts.push(Arc::unwrap_or_clone(event));
        self.recording.recorded += 1;
        self.expected = number.plus(1);
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
    fn nothing_heard_is_nothing_to_record() {
        let mut tally = Tally::new(EmitNumber(5));
        tally.skip_to(EmitNumber(5), GapReason::Lag);
        assert!(tally.take().is_none());
    }
}
