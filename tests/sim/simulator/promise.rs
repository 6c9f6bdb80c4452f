//! The promises that every run is held against, and what it means that one is broken.

use std::fmt;

use towline::store::StoreError;

/// What towline promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Promise {
    /// An acknowledged append survives.
    AcknowledgedSurvives,
    /// Nothing is told before it is durable.
    PersistBeforeTelling,
    /// Seqs are contiguous, without a hole or a duplicate.
    Contiguous,
    /// Healed nodes are equal within three sync intervals.
    Converges,
    /// Nothing is admitted that its author did not sign, and nobody honest is accused.
    OnlySigned,
    /// Duplicated, reordered and replayed frames change nothing.
    Idempotent,
    /// What was emitted is recorded or stated in a gap.
    GapsTile,
    /// Memory, queues and frames are bounded.
    Bounded,
    /// Nothing that anybody says makes the process panic.
    NoPanic,
}

impl fmt::Display for Promise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AcknowledgedSurvives => "P1, an acknowledged append survives",
            Self::PersistBeforeTelling => "P2, nothing is told before it is durable",
            Self::Contiguous => "P3, seqs are contiguous on every branch",
            Self::Converges => "P4, healed nodes are equal within three intervals",
            Self::OnlySigned => "P5, only what an author signed is admitted",
            Self::Idempotent => "P6, what comes again changes nothing",
            Self::GapsTile => "P7, emitted = recorded + dropped, and the ranges tile",
            Self::Bounded => "P9, everything is bounded",
            Self::NoPanic => "P9, nothing makes the process panic",
        })
    }
}

/// A promise that was broken, and how.
#[derive(Clone, Debug)]
pub struct Broken {
    /// The promise.
    pub promise: Promise,
    /// What was found.
    pub what: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.promise, self.what)
    }
}

/// A store in memory has no reason to fail.
impl From<StoreError> for Broken {
    fn from(error: StoreError) -> Self {
        Self { promise: Promise::NoPanic, what: error.to_string() }
    }
}

/// What a step of the run returns: the run ends where a promise is broken.
pub type Outcome<T = ()> = Result<T, Broken>;

impl Promise {
    /// The promise is broken.
    pub fn broken<T>(self, what: impl Into<String>) -> Outcome<T> {
        Err(Broken { promise: self, what: what.into() })
    }

    /// The promise is broken unless this holds.
    pub fn holds(self, held: bool, what: impl FnOnce() -> String) -> Outcome {
        if held { Ok(()) } else { self.broken(what()) }
    }
}
