//! How packing in the background, and reading for it, leaves the processor to others now and then.
//!
//! Whoever wakes on a processor that packs may wait there until the system takes it away, 3 ms on Linux and
//! longer than a commit, although another one is idle; and to yield gives it to nobody who has just run,
//! like the writer. So packing sleeps for a moment instead.

use std::time::{Duration, Instant};

/// How long the work goes on ...
const WORK: Duration = Duration::from_micros(200);
/// ... before it rests.
const REST: Duration = Duration::from_micros(50);

/// Whether, and when, there is a rest.
#[derive(Default)]
pub(super) struct Rests {
    since: Option<Instant>,
}

impl Rests {
    /// A rest now and then, from now on.
    pub fn begin() -> Self {
        Self { since: Some(Instant::now()) }
    }

    /// Rests where it is time to, and returns whether it was. This is to be called often.
    pub fn look(&mut self) -> bool {
        match &mut self.since {
            Some(since) if since.elapsed() >= WORK => {
                std::thread::sleep(REST);
                *since = Instant::now();
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_rest_after_some_work_where_rests_were_begun() {
        let (mut none, mut some) = (Rests::default(), Rests::begin());
        while !some.look() {
            assert!(!none.look());
        }
        assert!(!none.look());
    }
}
