//! Gaps: the entries that say which emitted events were dropped, and why.

use serde::{Deserialize, Serialize};

use super::entry::{Draft, Entry};
use super::id::EmitNumber;
use super::name::{Kind, NameError, TOWLINE_TENANT, Tenant, Topic};

/// The kind of every gap entry.
pub const GAP_KIND: &str = "towline.gap";
/// The topic of every gap entry, in the tenant `towline`.
pub const GAP_TOPIC: &str = "gaps";

/// Why events were dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GapReason {
    /// The recorder lagged, and the ring overwrote its oldest events.
    Lag,
    /// The process ended without warning, and the ring was lost with it.
    Crash,
    /// The process was told to end, and the ring could not be drained in time.
    Shutdown,
    /// The disk was full, and the ring overwrote its oldest events meanwhile.
    DiskFull,
}

impl GapReason {
    /// The reason as JSON says it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Lag => "lag",
            Self::Crash => "crash",
            Self::Shutdown => "shutdown",
            Self::DiskFull => "disk_full",
        }
    }
}

/// A run of emitted events that are not in the log.
///
/// The ranges of an author's gaps and the recorded events tile the emit numbers without overlap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// The first emit number that was dropped.
    pub from: EmitNumber,
    /// The last emit number that was dropped.
    pub to: EmitNumber,
    /// How many events were dropped: `to - from + 1`.
    pub count: u64,
    /// Why.
    pub reason: GapReason,
    /// Whether every number in the range was really given to an event. After a crash it is not
    /// known, and the count is an upper bound.
    pub exact: bool,
}

impl Gap {
    /// A gap from one emit number through another.
    pub fn new(from: EmitNumber, to: EmitNumber, reason: GapReason) -> Self {
        let count = to.0.saturating_sub(from.0).saturating_add(1);
        Self { from, to, count, reason, exact: reason != GapReason::Crash }
    }

    /// The gap that an entry states, when it is a gap entry that can be read.
    pub fn from_entry(entry: &Entry) -> Option<Self> {
        if entry.body.kind.as_str() != GAP_KIND {
            return None;
        }
        serde_json::from_slice(&entry.body.data).ok()
    }

    /// The draft that states this gap.
    ///
    /// # Errors
    /// None in practice: the names are constants that parse, which a test shows.
    pub fn draft(&self) -> Result<Draft, NameError> {
        let tenant = Tenant::parse(TOWLINE_TENANT)?;
        let (topic, kind) = (Topic::parse(GAP_TOPIC)?, Kind::parse(GAP_KIND)?);
        let data = serde_json::to_vec(self).expect("numbers and a known word are always JSON");
        Ok(Draft::of_towline(tenant, topic, kind, data))
    }
}

impl std::fmt::Display for Gap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let reason = match self.reason {
            GapReason::Lag => "lag",
            GapReason::Crash => "crash",
            GapReason::Shutdown => "shutdown",
            GapReason::DiskFull => "disk full",
        };
        let Self { from, to, count, exact, .. } = self;
        if *exact {
            write!(f, "events {from}..={to} were dropped ({reason})")
        } else {
            write!(f, "events {from}..={to}, up to {count} of them, were dropped ({reason})")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_says_itself_in_words() {
        let gap = Gap::new(EmitNumber(3), EmitNumber(5), GapReason::Lag);
        assert_eq!(gap.to_string(), "events 3..=5 were dropped (lag)");
        assert_eq!(gap.count, 3);
    }

    #[test]
    fn a_crash_gap_is_inexact() {
        assert!(!Gap::new(EmitNumber(0), EmitNumber(9), GapReason::Crash).exact);
        assert!(Gap::new(EmitNumber(0), EmitNumber(9), GapReason::Shutdown).exact);
    }

    #[test]
    fn a_full_disk_is_a_reason_with_an_exact_count() {
        let gap = Gap::new(EmitNumber(3), EmitNumber(5), GapReason::DiskFull);
        assert!(gap.exact);
        assert_eq!(gap.to_string(), "events 3..=5 were dropped (disk full)");
        let draft = gap.draft().unwrap();
        assert_eq!(gap.reason.word(), "disk_full");
        let json = br#"{"from":3,"to":5,"count":3,"reason":"disk_full","exact":true}"#;
        assert_eq!(&draft.data[..], json);
    }

    #[test]
    fn a_gap_makes_a_draft() {
        let gap = Gap::new(EmitNumber(3), EmitNumber(5), GapReason::Lag);
        let draft = gap.draft().unwrap();
        assert_eq!(&draft.data[..], br#"{"from":3,"to":5,"count":3,"reason":"lag","exact":true}"#);
    }
}
