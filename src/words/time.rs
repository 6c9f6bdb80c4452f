//! The hybrid logical time of an entry.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A hybrid logical time: 48 bits of milliseconds since 1970, 16 bits of counter.
///
/// Source: Kulkarni, Demirbas, Madappa, Avva, Leone, «Logical Physical Clocks», OPODIS 2014. The
/// highest bit is always 0, so that a time is a positive number in SQLite and in Automerge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(u64);

impl Time {
    /// The last time that can be said: somewhere in the year 6429.
    pub const MAX: Self = Self(i64::MAX as u64);

    /// Takes the time apart as the log and the wire say it; `None` above [`Time::MAX`].
    pub fn from_bits(bits: u64) -> Option<Self> {
        (bits <= Self::MAX.0).then_some(Self(bits))
    }

    /// The first time of a millisecond since 1970; it saturates at [`Time::MAX`].
    pub fn from_millis(millis: u64) -> Self {
        Self(millis.min(Self::MAX.millis()) << 16)
    }

    /// The time as one number, whose order is the order of times.
    pub fn bits(self) -> u64 {
        self.0
    }

    /// Milliseconds since 1970.
    pub fn millis(self) -> u64 {
        self.0 >> 16
    }

    /// The next time after this one; `None` at the end of time.
    pub fn next(self) -> Option<Self> {
        Self::from_bits(self.0 + 1)
    }
}

impl fmt::Display for Time {
    /// RFC 3339 in UTC with milliseconds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.millis() as i64) {
            Ok(time) => write!(f, "{time:.3}"),
            Err(_) => write!(f, "{}ms", self.millis()),
        }
    }
}

impl Serialize for Time {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
        let bits = text.parse().ok().and_then(Self::from_bits);
        bits.ok_or_else(|| serde::de::Error::custom("a time is a decimal number below 2^63"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_prints_as_rfc_3339() {
        assert_eq!(
            Time::from_millis(1_795_237_297_123).to_string(),
            "2026-11-21T05:01:37.123Z"
        );
        assert_eq!(Time::from_millis(0).to_string(), "1970-01-01T00:00:00.000Z");
    }

    #[test]
    fn every_time_prints() {
        assert!(!Time::MAX.to_string().is_empty());
        assert_eq!(Time::MAX.next(), None);
        assert_eq!(Time::from_bits(u64::MAX), None);
    }
}
