//! The agenda: what happens next, in virtual time.

use std::collections::BTreeMap;
use std::fmt;

use super::clock::Moment;
use super::network::{ConnectionId, LinkId, Side};

/// Names a host: a machine with a disk, a clock and a place in the network.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostId(pub usize);

const NAMES: [&str; 10] =
    ["alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi", "ivan", "judy"];

impl fmt::Display for HostId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.get(self.0) {
            Some(name) => f.write_str(name),
            None => write!(f, "host{}", self.0),
        }
    }
}

impl fmt::Debug for HostId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Which lifetime of a host, from 1: what was meant for an earlier one doesn't reach a later one.
pub type LifeNumber = u32;

/// What happens at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// A connection is tried over a link.
    Dial(LinkId),
    /// The frame that comes next arrives at this end of a connection.
    Deliver(ConnectionId, Side),
    /// This end of a connection learns that the other has gone.
    HangUp(ConnectionId, Side),
    /// A link carries nothing any more.
    Cut(LinkId),
    /// A cut link carries again.
    Mend(LinkId),
    /// A process is started on a host.
    Start(HostId),
    /// Something is due in one lifetime of a host.
    Due(HostId, LifeNumber, Timer),
    /// A client appends at a host.
    Append(HostId),
    /// A producer emits at a host.
    Emit(HostId),
    /// A reader goes on reading at a host.
    Read(HostId),
    /// The liar does something.
    Lie(HostId),
    /// Something goes wrong.
    Trouble,
}

/// What is due in a lifetime.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Timer {
    /// The interval of an exchange has passed.
    Interval(ConnectionId),
    /// The other side has not said hello in time.
    HelloLate(ConnectionId),
    /// The oldest run that waits for verification has been verified.
    Verified(ConnectionId),
    /// The writer takes what has queued up.
    Write,
    /// The commit in flight returns.
    Commit,
    /// Exchanges hear that the store has grown.
    Bell,
    /// The recorder looks into the ring.
    Hear,
    /// Peers that don't answer are waited for no longer.
    PatienceEnds,
    /// Peers that answer are waited for no longer.
    RejoinEnds,
    /// A shutdown waits for the recorder no longer.
    GraceEnds,
    /// It is looked for what is worth a block.
    Seal,
    /// A block has been packed.
    Packed,
    /// It is looked for a segment that can go.
    Prune,
    /// The process is killed.
    Kill,
}

/// All that is to happen, in order; what was put in first comes first.
#[derive(Default)]
pub struct Agenda {
    events: BTreeMap<(Moment, u64), Event>,
    put: u64,
}

impl Agenda {
    /// Puts in what happens at a moment.
    pub fn put(&mut self, at: Moment, event: Event) {
        self.put += 1;
        self.events.insert((at, self.put), event);
    }

    /// Takes out what happens next.
    pub fn next(&mut self) -> Option<(Moment, Event)> {
        let ((at, _), event) = self.events.pop_first()?;
        Some((at, event))
    }
}
