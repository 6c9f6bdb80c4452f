//! The stage: all that the hosts of a run share.

use bytes::Bytes;
use towline::core::frame::Frame;
use towline::words::NodeId;

use super::agenda::{Agenda, Event, HostId, LifeNumber, Timer};
use super::clock::Moment;
use super::coverage::{Coverage, Mark};
use super::dice::Dice;
use super::network::{ConnectionId, Network, Side};
use super::oracle::Oracle;
use super::scenario::Scenario;
use super::story::{Happening, Story};

/// What the run is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Things go wrong, and clients write.
    Chaos,
    /// Nothing goes wrong any more.
    Calm,
}

/// All that the hosts of a run share.
pub struct Stage {
    pub now: Moment,
    pub phase: Phase,
    pub scenario: Scenario,
    pub dice: Dice,
    pub agenda: Agenda,
    pub network: Network,
    pub oracle: Oracle,
    pub coverage: Coverage,
    pub story: Story,
    /// The nodes that live on the hosts.
    pub ids: Vec<NodeId>,
    /// How many frames other than digests honest nodes have sent each other.
    pub busy_frames: u64,
}

impl Stage {
    /// Puts an event on the agenda, so many microseconds from now.
    pub fn put(&mut self, delay: u64, event: Event) {
        self.agenda.put(self.now.after(delay), event);
    }

    /// Puts an event of a host's lifetime on the agenda.
    pub fn due(&mut self, delay: u64, (host, life): (HostId, LifeNumber), timer: Timer) {
        self.put(delay, Event::Due(host, life, timer));
    }

    /// Tells what happened.
    pub fn tell(&mut self, happening: Happening) {
        self.story.tell(self.now, happening);
    }

    /// Counts one thing that was reached.
    pub fn count(&mut self, mark: Mark) {
        self.coverage.add(mark, 1);
    }

    /// The node that lives on a host.
    pub fn id(&self, host: HostId) -> NodeId {
        self.ids[host.0]
    }

    /// Whether things go wrong at the moment.
    pub fn is_chaos(&self) -> bool {
        self.phase == Phase::Chaos
    }

    /// Sends a frame from one end of a connection.
    pub fn send(&mut self, end: (ConnectionId, Side), what: &'static str, frame: Bytes) {
        let (from, to) = (self.network.host(end.0, end.1), self.network.host(end.0, end.1.other()));
        self.story.absorb(&frame);
        self.tell(Happening::Sent { from, to, frame: what, bytes: frame.len() });
        self.network.send(end, frame, self.now, (&mut self.agenda, &mut self.dice));
    }
}

/// A frame's kind in words.
pub fn kind(frame: &Frame) -> &'static str {
    match frame {
        Frame::Hello { .. } => "hello",
        Frame::Frontier(_) => "frontier",
        Frame::Digest(_) => "digest",
        Frame::Ack(_) => "ack",
        Frame::Links(_) => "links",
        Frame::Elsewhere(_) => "elsewhere",
        Frame::Run(_) => "run",
        Frame::Block(_) => "block",
        Frame::Want(_) => "want",
        Frame::Pruned(_) => "pruned",
    }
}
