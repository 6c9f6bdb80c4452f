//! Bugs that are planted on purpose, so that it can be seen that the tests find them.
//!
//! Without the feature `planted-bugs`, which nothing but `scripts/planted` turns on, none of them is
//! in the program. With it, the environment variable `TOWLINE_PLANTED` names the one that is.

/// A bug that can be planted, named for what then happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// A caller has its receipt before the commit.
    AckBeforeCommit,
    /// A commit returns, and callers, peers and readers hear of it, before it is synced: gossip
    /// before persist.
    NoSync,
    /// A restarted node writes its seqs from 0 on.
    SeqReused,
    /// What the recorder missed is not stated.
    GapDropped,
    /// Of two changes at one place, the one that came first is kept.
    FirstSeenWins,
    /// Signatures that other implementations would refuse are accepted, and weak keys, too.
    LaxSignatures,
    /// What the disk altered is handed out.
    DamageServed,
    /// Differing digests lead to nothing.
    DigestIgnored,
    /// What is remembered outside the database is not looked at.
    TipIgnored,
}

#[cfg(feature = "planted-bugs")]
impl Bug {
    fn name(self) -> &'static str {
        match self {
            Self::AckBeforeCommit => "ack-before-commit",
            Self::NoSync => "no-sync",
            Self::SeqReused => "seq-reused",
            Self::GapDropped => "gap-dropped",
            Self::FirstSeenWins => "first-seen-wins",
            Self::LaxSignatures => "lax-signatures",
            Self::DamageServed => "damage-served",
            Self::DigestIgnored => "digest-ignored",
            Self::TipIgnored => "tip-ignored",
        }
    }
}

/// Whether this bug is planted.
#[cfg(feature = "planted-bugs")]
pub fn planted(bug: Bug) -> bool {
    static PLANTED: std::sync::LazyLock<Option<String>> =
        std::sync::LazyLock::new(|| std::env::var("TOWLINE_PLANTED").ok());
    PLANTED.as_deref() == Some(bug.name())
}

/// Whether this bug is planted: never, in this build.
#[cfg(not(feature = "planted-bugs"))]
#[inline(always)]
pub const fn planted(_: Bug) -> bool {
    false
}
