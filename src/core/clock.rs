//! The hybrid logical clock of a node.

use crate::words::Time;
use crate::words::limits::SKEW_MILLIS;

/// A clock that never steps back and never follows a time that is far ahead.
///
/// Source: Kulkarni et al., «Logical Physical Clocks», 2014, with a bound on what a remote time
/// may do: a time over a minute ahead is kept in its entry, and doesn't move this clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clock {
    last: Time,
}

impl Clock {
    /// A clock that goes on after this time.
    pub fn after(last: Time) -> Self {
        Self { last }
    }

    /// The time of the next entry; `None` at the end of time.
    pub fn tick(&mut self, now_millis: u64) -> Option<Time> {
        self.last = self.last.next()?.max(Time::from_millis(now_millis));
        Some(self.last)
    }

    /// Sees a time that the node itself wrote in an earlier life: the next one must rise above it.
    pub fn see_own(&mut self, time: Time) {
        self.last = self.last.max(time);
    }

    /// Sees the time of another's entry, so that what is written next sorts after it. Returns
    /// whether the time is skewed: too far ahead to be followed.
    pub fn see(&mut self, time: Time, now_millis: u64) -> Skew {
        if time.millis() > now_millis.saturating_add(SKEW_MILLIS) {
            return Skew::Ahead;
        }
        self.last = self.last.max(time);
        Skew::None
    }
}

/// Whether a time can be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Skew {
    /// It is near the local clock, or behind it.
    None,
    /// It is over a minute ahead.
    Ahead,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn times_rise_whatever_the_wall_clock_does(walls in proptest::collection::vec(0..1u64 << 40, 1..50)) {
            let mut clock = Clock::default();
            let times: Vec<_> = walls.iter().map(|&wall| clock.tick(wall).unwrap()).collect();
            prop_assert!(times.windows(2).all(|pair| pair[0] < pair[1]));
        }

        #[test]
        fn what_follows_a_seen_time_sorts_after_it(wall in 0..1u64 << 40, ahead in 0..SKEW_MILLIS) {
            let mut clock = Clock::default();
            let seen = Time::from_millis(wall + ahead);
            prop_assert_eq!(clock.see(seen, wall), Skew::None);
            prop_assert!(clock.tick(wall).unwrap() > seen);
        }

        #[test]
        fn a_time_far_ahead_is_marked_and_not_followed(wall in 0..1u64 << 40, ahead in SKEW_MILLIS + 1..1 << 40) {
            let mut clock = Clock::default();
            prop_assert_eq!(clock.see(Time::from_millis(wall + ahead), wall), Skew::Ahead);
            prop_assert_eq!(clock.tick(wall).unwrap(), Time::from_millis(wall).max(Time::from_bits(1).unwrap()));
        }
    }

    #[test]
    fn the_counter_carries_into_the_milliseconds() {
        let mut clock = Clock::after(Time::from_bits(0xffff).unwrap());
        assert_eq!(clock.tick(0), Some(Time::from_millis(1)));
    }

    #[test]
    fn time_ends_with_none() {
        assert_eq!(Clock::after(Time::MAX).tick(0), None);
    }
}
