//! The hybrid logical time of an entry, and how people say times and durations.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::{Span, SpanRelativeTo, Timestamp};
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
        match Timestamp::from_millisecond(self.millis() as i64) {
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

/// A moment, said as a time or as how long ago.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// That time.
    At(Time),
    /// So long before now.
    Ago(Duration),
}

impl From<Time> for Moment {
    fn from(time: Time) -> Self {
        Self::At(time)
    }
}

impl From<Duration> for Moment {
    fn from(ago: Duration) -> Self {
        Self::Ago(ago)
    }
}

impl Moment {
    /// The first time of the moment, seen from `now` in milliseconds since 1970.
    pub fn time(self, now_millis: u64) -> Time {
        match self {
            Self::At(time) => time,
            Self::Ago(ago) => {
                let ago = u64::try_from(ago.as_millis()).unwrap_or(u64::MAX);
                Time::from_millis(now_millis.saturating_sub(ago))
            }
        }
    }
}

/// Says why a text is no moment or duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseTimeError {
    /// It is neither a time nor a duration.
    #[error(
        "a time is RFC 3339, 2026-11-21T05:01:37Z say, or how long ago: 30m, 1h, 2d; not {0:?}"
    )]
    Moment(String),
    /// It is no duration.
    #[error("a duration is a number and a unit, 500ms, 5s, 30m, 1h or 2d say; not {0:?}")]
    Duration(String),
}

impl FromStr for Moment {
    type Err = ParseTimeError;

    /// Reads RFC 3339, or a duration before now. Times before 1970 are 1970.
    fn from_str(text: &str) -> Result<Self, ParseTimeError> {
        if let Ok(ago) = parse_duration(text) {
            return Ok(Self::Ago(ago));
        }
        let time: Timestamp =
            text.parse().map_err(|_| ParseTimeError::Moment(text.chars().take(60).collect()))?;
        let millis = u64::try_from(time.as_millisecond()).unwrap_or_default();
        Ok(Self::At(Time::from_millis(millis)))
    }
}

/// Reads a duration: `500ms`, `5s`, `30m`, `1h`, `1h30m`; `2d` are 48 hours.
///
/// # Errors
/// It has no unit, or one that is not always equally long, or is negative.
pub fn parse_duration(text: &str) -> Result<Duration, ParseTimeError> {
    let span = text.parse::<Span>().ok().filter(|_| text.starts_with(|c: char| c.is_ascii_digit()));
    let signed = span.and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()).ok());
    signed
        .and_then(|signed| signed.try_into().ok())
        .ok_or_else(|| ParseTimeError::Duration(text.chars().take(60).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_time_or_how_long_ago() {
        let at = Moment::At(Time::from_millis(1_795_237_297_123));
        assert_eq!("2026-11-21T05:01:37.123Z".parse(), Ok(at));
        assert_eq!("2026-11-21T06:01:37.123+01:00".parse(), Ok(at));
        let ago: Moment = "2d".parse().unwrap();
        assert_eq!(ago.time(172_800_001), Time::from_millis(1));
        assert_eq!(ago.time(5), Time::from_millis(0));
        for text in ["", "yesterday", "2026-11-21", "5", "-1h", "1h ago", "1mo"] {
            assert!(text.parse::<Moment>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_duration_has_a_unit() {
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_duration("1h30m"), Ok(Duration::from_secs(5_400)));
        for text in ["", "5", "-5s", "PT5S", "1y", "99999999999999999999d"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_time_prints_as_rfc_3339() {
        assert_eq!(Time::from_millis(1_795_237_297_123).to_string(), "2026-11-21T05:01:37.123Z");
        assert_eq!(Time::from_millis(0).to_string(), "1970-01-01T00:00:00.000Z");
    }

    #[test]
    fn every_time_prints() {
        assert!(!Time::MAX.to_string().is_empty());
        assert_eq!(Time::MAX.next(), None);
        assert_eq!(Time::from_bits(u64::MAX), None);
    }
}
