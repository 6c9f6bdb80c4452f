//! Time: one virtual time for the whole run, and the wall clock of each host, which may be wrong.

use std::fmt;

/// A millisecond of virtual time.
pub const MILLI: u64 = 1_000;
/// A second of virtual time.
pub const SECOND: u64 = 1_000_000;

/// What the wall clocks show at the beginning, in milliseconds since 1970.
const BEGINNING: i64 = 1_795_237_297_000;
/// Ten years in milliseconds.
const TEN_YEARS: i64 = 10 * 365 * 24 * 3_600 * 1_000;

/// A point in virtual time: microseconds since the beginning of the run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(pub u64);

impl Moment {
    /// The moment so many microseconds later.
    pub fn after(self, micros: u64) -> Self {
        Self(self.0 + micros)
    }

    /// How many microseconds have passed since then.
    pub fn since(self, then: Self) -> u64 {
        self.0.saturating_sub(then.0)
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>3}.{:06}", self.0 / SECOND, self.0 % SECOND)
    }
}

/// How a wall clock goes wrong at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Jump {
    /// By so many milliseconds, either way.
    Millis(i64),
    /// Ten years ahead.
    Decade,
    /// Ten years back.
    DecadeBack,
    /// To where it should be.
    Right,
}

/// The wall clock of a host: it is off by something, drifts, and jumps.
#[derive(Clone, Copy, Debug, Default)]
pub struct WallClock {
    offset: i64,
    drift_ppm: i64,
}

impl WallClock {
    /// A clock that is off by so many milliseconds, and gains so many microseconds a second.
    pub fn new(offset: i64, drift_ppm: i64) -> Self {
        Self { offset, drift_ppm }
    }

    /// What it shows, in milliseconds since 1970.
    pub fn read(&self, now: Moment) -> u64 {
        let passed = i64::try_from(now.0).unwrap_or(i64::MAX);
        let drifted = (passed + passed / 1_000_000 * self.drift_ppm) / 1_000;
        u64::try_from(BEGINNING + self.offset + drifted).unwrap_or(0)
    }

    /// Goes wrong.
    pub fn jump(&mut self, jump: Jump) {
        match jump {
            Jump::Millis(millis) => self.offset += millis,
            Jump::Decade => self.offset += TEN_YEARS,
            Jump::DecadeBack => self.offset -= TEN_YEARS,
            Jump::Right => *self = Self::default(),
        }
    }
}
