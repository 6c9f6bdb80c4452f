//! A ration of log lines: strangers can't fill the log.

use std::time::Duration;

/// How many lines there are in each [`PERIOD`].
const LINES: u32 = 5; // spent: further ones are counted, and told by the next line
/// How long a ration lasts.
const PERIOD: Duration = Duration::from_secs(60);

/// What is left to say of one subject. Moments are told by a clock that only rises.
#[derive(Debug, Default)]
pub struct Ration {
    began: Duration,
    spent: u32,
    withheld: u64,
}

impl Ration {
    /// Takes a line of the ration: how many were withheld before it. None: this one is, too.
    pub fn take(&mut self, now: Duration) -> Option<u64> {
        if now.saturating_sub(self.began) >= PERIOD {
            (self.began, self.spent) = (now, 0);
        }
        if self.spent >= LINES {
            self.withheld += 1;
            return None;
        }
        self.spent += 1;
        Some(std::mem::take(&mut self.withheld))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ration_is_spent_and_comes_again() {
        let mut ration = Ration::default();
        let said = (0..1_000).filter(|_| ration.take(PERIOD / 2).is_some()).count();
        assert_eq!(said, LINES as usize);
        assert_eq!(ration.take(PERIOD), Some(1_000 - u64::from(LINES)));
        assert_eq!(ration.take(PERIOD), Some(0));
    }
}
