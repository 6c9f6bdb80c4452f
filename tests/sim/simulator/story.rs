//! The story of a run: what happened, for the trace hash, and the end of it for whoever reads of a
//! failure.

use std::collections::VecDeque;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::agenda::HostId;
use super::clock::Moment;

/// How many of the last happenings are told when a run fails.
const TOLD: usize = 40;

/// What happened, in words that a failing seed prints.
#[derive(Clone, Debug, Hash)]
pub enum Happening {
    /// A process started, with so many entries on its disk.
    Started { host: HostId, life: u32, entries: u64 },
    /// A process ended.
    Ended { host: HostId, how: &'static str },
    /// Two hosts connected.
    Connected { one: HostId, other: HostId },
    /// One side of a connection ended it, or found it gone.
    Closed { host: HostId, peer: HostId, why: String },
    /// A frame was sent.
    Sent { from: HostId, to: HostId, frame: &'static str, bytes: usize },
    /// A frame was received.
    Received { host: HostId, from: HostId, frame: &'static str },
    /// The network lost, repeated or overtook a frame.
    Mangled { from: HostId, to: HostId, how: &'static str },
    /// Changes were packed into a block.
    Packs { host: HostId, changes: usize, entries: u64 },
    /// A segment is to go.
    Prunes { host: HostId, entries: u64 },
    /// A commit began.
    Commits { host: HostId, changes: usize, entries: u64, mark: bool },
    /// A commit returned.
    Committed { host: HostId, watermark: u64 },
    /// A request was answered.
    Acknowledged { host: HostId, first_seq: u64, count: usize },
    /// The rejoin ended, and appends begin.
    Joined { host: HostId, settled: usize },
    /// Changes were not admitted.
    NotAdmitted { host: HostId, pending: usize, dropped: usize, refused: usize },
    /// Something went wrong on purpose.
    Trouble { host: HostId, what: &'static str, much: i64 },
    /// Something went wrong on purpose with a link.
    Cut { one: HostId, other: HostId, what: &'static str },
    /// The liar did something.
    Lied { host: HostId, to: HostId, trick: &'static str },
    /// A phase of the run began.
    Phase { what: &'static str },
}

impl fmt::Display for Happening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Started { host, life, entries } => {
                write!(f, "{host} starts, life {life}, {entries} entries on disk")
            }
            Self::Ended { host, how } => write!(f, "{host} ends: {how}"),
            Self::Connected { one, other } => write!(f, "{one} and {other} connect"),
            Self::Closed { host, peer, why } => write!(f, "{host} leaves {peer}: {why}"),
            Self::Sent { from, to, frame, bytes } => {
                write!(f, "{from} -> {to}: {frame}, {bytes} bytes")
            }
            Self::Received { host, from, frame } => write!(f, "{host} <- {from}: {frame}"),
            Self::Mangled { from, to, how } => write!(f, "a frame {from} -> {to} is {how}"),
            Self::Packs { host, changes, entries } => {
                write!(f, "{host} packs {changes} changes, {entries} entries")
            }
            Self::Prunes { host, entries } => write!(f, "{host} lets go {entries} entries"),
            Self::Commits { host, changes, entries, mark } => {
                let mark = if *mark { ", emit mark" } else { "" };
                write!(f, "{host} commits {changes} changes, {entries} entries{mark}")
            }
            Self::Committed { host, watermark } => write!(f, "{host} has {watermark} on disk"),
            Self::Acknowledged { host, first_seq, count } => {
                write!(f, "{host} acknowledges {count} from seq {first_seq}")
            }
            Self::Joined { host, settled } => {
                write!(f, "{host} has rejoined, {settled} peers settled")
            }
            Self::NotAdmitted { host, pending, dropped, refused } => {
                write!(f, "{host}: {pending} wait, {dropped} dropped, {refused} refused")
            }
            Self::Trouble { host, what, much } => write!(f, "!! {host}: {what} ({much})"),
            Self::Cut { one, other, what } => write!(f, "!! {one} - {other}: {what}"),
            Self::Lied { host, to, trick } => write!(f, "?? {host} to {to}: {trick}"),
            Self::Phase { what } => write!(f, "== {what}"),
        }
    }
}

impl Happening {
    /// Whether it happens all the time, and says nothing when the end of a story is told.
    fn is_routine(&self) -> bool {
        matches!(self, Self::Sent { frame: "digest", .. } | Self::Received { frame: "digest", .. })
    }
}

/// Whether a story is told while it happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Telling {
    /// Every happening is printed.
    Aloud,
    /// Only the end is kept.
    Quiet,
}

/// What happened so far.
pub struct Story {
    telling: Telling,
    hash: DefaultHasher,
    last: VecDeque<(Moment, Happening)>,
}

impl Story {
    /// A story that begins.
    pub fn new(telling: Telling) -> Self {
        Self { telling, hash: DefaultHasher::new(), last: VecDeque::new() }
    }

    /// Adds what happened.
    pub fn tell(&mut self, now: Moment, happening: Happening) {
        (now, &happening).hash(&mut self.hash);
        if self.telling == Telling::Aloud {
            println!("{now}  {happening}");
        }
        if happening.is_routine() {
            return;
        }
        if self.last.len() == TOLD {
            self.last.pop_front();
        }
        self.last.push_back((now, happening));
    }

    /// Adds bytes that passed, for the trace hash alone.
    pub fn absorb(&mut self, bytes: &[u8]) {
        self.hash.write(bytes);
    }

    /// The hash of all that happened: equal for two runs of one seed.
    pub fn hash(&self) -> u64 {
        self.hash.finish()
    }

    /// The last happenings, a line each.
    pub fn end(&self) -> String {
        let line = |(at, happening): &(Moment, Happening)| format!("  {at}  {happening}\n");
        self.last.iter().map(line).collect()
    }
}
