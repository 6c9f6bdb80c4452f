//! The network: links between hosts, and connections over them that carry frames in order.
//!
//! A link can be cut in either direction: what is sent then waits in the stream, as it does in QUIC,
//! until the link is mended or a side gives the connection up. A hostile link also loses, repeats
//! and reorders frames inside a connection, which no honest network does; the digest repairs that.

use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;

use super::agenda::{Agenda, Event, HostId};
use super::clock::{MILLI, Moment};
use super::dice::Dice;

/// How many frames a stream holds on their way.
const WINDOW: usize = 4; // full: the session is not asked for more

/// Names a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub usize);

/// Names a connection; a later one has a higher number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(usize);

/// One end of a link, and of its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    Left,
    Right,
}

impl Side {
    /// Both of them.
    pub const BOTH: [Self; 2] = [Self::Left, Self::Right];

    /// The other end.
    pub fn other(self) -> Self {
        match self {
            Self::Left => Self::Right,
            Self::Right => Self::Left,
        }
    }
}

/// How a link treats the frames of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Temper {
    /// All arrive, in order.
    Honest,
    /// Some are lost, repeated or overtaken.
    Hostile,
}

/// What became of the frame that was to arrive.
pub enum Arrival {
    /// It is there.
    Frame(Bytes),
    /// It was lost on the way.
    Lost,
    /// It waits until the link is mended, or the connection has gone.
    Nothing,
}

/// What a hostile link did to a frame that arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mischief {
    None,
    Repeated,
    Overtaken,
}

/// Two hosts that may be connected.
pub struct Link {
    ends: [HostId; 2],
    /// Whether it carries what each end sends.
    carries: [bool; 2],
    temper: Temper,
    /// Whether a dial is on the agenda.
    dialing: bool,
    /// Whether it is ever used again.
    abandoned: bool,
}

#[derive(Default)]
struct Stream {
    frames: VecDeque<Bytes>,
    /// Whether the first frame has arrived: a hostile link spares it.
    begun: bool,
    /// How many arrivals wait for the link to be mended.
    stalled: usize,
    last_arrival: Moment,
}

struct Connection {
    link: LinkId,
    open: [bool; 2],
    /// What each end sends.
    streams: [Stream; 2],
}

/// All links and connections.
pub struct Network {
    links: Vec<Link>,
    connections: Vec<Connection>,
    /// The longest that a frame takes.
    pub delay: u64,
}

impl Network {
    /// No links yet; a frame takes at most so long.
    pub fn new(delay: u64) -> Self {
        Self { links: Vec::new(), connections: Vec::new(), delay }
    }

    /// Adds a link between two hosts.
    pub fn link(&mut self, ends: [HostId; 2]) -> LinkId {
        let (carries, temper) = ([true; 2], Temper::Honest);
        self.links.push(Link { ends, carries, temper, dialing: false, abandoned: false });
        LinkId(self.links.len() - 1)
    }

    /// All links that are still used.
    pub fn links(&self) -> Vec<LinkId> {
        (0..self.links.len()).filter(|at| !self.links[*at].abandoned).map(LinkId).collect()
    }

    /// The links of a host.
    pub fn links_of(&self, host: HostId) -> Vec<LinkId> {
        let mut links = self.links();
        links.retain(|link| self.ends(*link).contains(&host));
        links
    }

    /// The hosts at the ends of a link.
    pub fn ends(&self, link: LinkId) -> [HostId; 2] {
        self.links[link.0].ends
    }

    /// The host at one end of a connection.
    pub fn host(&self, connection: ConnectionId, side: Side) -> HostId {
        self.ends(self.connections[connection.0].link)[side as usize]
    }

    /// Moves one end of a link to another host; its connections are as they were.
    pub fn move_end(&mut self, link: LinkId, from: HostId, to: HostId) {
        let ends = &mut self.links[link.0].ends;
        ends.iter_mut().filter(|end| **end == from).for_each(|end| *end = to);
    }

    /// Never uses a link again.
    pub fn abandon(&mut self, link: LinkId) {
        self.links[link.0].abandoned = true;
    }

    /// Makes a link lose, repeat and reorder frames, or stop doing so.
    pub fn temper(&mut self, link: LinkId, temper: Temper) {
        self.links[link.0].temper = temper;
    }

    /// Carries nothing more of what one end sends.
    pub fn cut(&mut self, link: LinkId, side: Side) {
        self.links[link.0].carries[side as usize] = false;
    }

    /// Whether a link carries both ways.
    pub fn is_whole(&self, link: LinkId) -> bool {
        self.links[link.0].carries == [true; 2]
    }

    /// Carries everything again: what waited goes on its way.
    pub fn mend(&mut self, link: LinkId, now: Moment, agenda: &mut Agenda) {
        self.links[link.0].carries = [true; 2];
        for (at, connection) in self.connections.iter_mut().enumerate() {
            if connection.link != link {
                continue;
            }
            for side in Side::BOTH {
                let stream = &mut connection.streams[side as usize];
                for _ in 0..std::mem::take(&mut stream.stalled) {
                    stream.last_arrival = stream.last_arrival.max(now).after(MILLI);
                    let event = Event::Deliver(ConnectionId(at), side.other());
                    agenda.put(stream.last_arrival, event);
                }
            }
        }
    }

    /// Tries a connection soon, unless one is being tried.
    pub fn dial_at(&mut self, link: LinkId, at: Moment, agenda: &mut Agenda) {
        let entry = &mut self.links[link.0];
        if !entry.dialing && !entry.abandoned {
            entry.dialing = true;
            agenda.put(at, Event::Dial(link));
        }
    }

    /// The connection that both ends of a link have open, if there is one.
    pub fn standing(&self, link: LinkId) -> Option<ConnectionId> {
        let stands = |c: &Connection| c.link == link && c.open == [true; 2];
        self.connections.iter().rposition(stands).map(ConnectionId)
    }

    /// The dial of a link has come to its turn: whether a connection can be made now.
    pub fn dialed(&mut self, link: LinkId) -> bool {
        let entry = &mut self.links[link.0];
        entry.dialing = false;
        entry.carries == [true; 2] && !entry.abandoned
    }

    /// Makes a connection over a link.
    pub fn open(&mut self, link: LinkId) -> ConnectionId {
        let streams = [Stream::default(), Stream::default()];
        self.connections.push(Connection { link, open: [true; 2], streams });
        ConnectionId(self.connections.len() - 1)
    }

    /// The link of a connection.
    pub fn link_of(&self, connection: ConnectionId) -> LinkId {
        self.connections[connection.0].link
    }

    /// Closes one end of a connection; whether the other end still has it open.
    pub fn close(&mut self, connection: ConnectionId, side: Side) -> bool {
        let connection = &mut self.connections[connection.0];
        connection.open[side as usize] = false;
        connection.streams[side.other() as usize].frames.clear();
        connection.open[side.other() as usize]
    }

    /// Whether one end has a connection open that is of no use any more.
    pub fn is_dead(&self, connection: ConnectionId, side: Side) -> bool {
        let Connection { link, open, .. } = &self.connections[connection.0];
        open[side as usize] && (!open[side.other() as usize] || !self.is_whole(*link))
    }

    /// Whether what one end sends gets through at the moment.
    pub fn carries(&self, connection: ConnectionId, side: Side) -> bool {
        self.links[self.connections[connection.0].link.0].carries[side as usize]
    }

    /// Whether one end may send a frame now.
    pub fn has_room(&self, connection: ConnectionId, side: Side) -> bool {
        let connection = &self.connections[connection.0];
        connection.open[side as usize] && connection.streams[side as usize].frames.len() < WINDOW
    }

    /// Sends a frame from one end.
    pub fn send(
        &mut self,
        (connection, side): (ConnectionId, Side),
        frame: Bytes,
        now: Moment,
        (agenda, dice): (&mut Agenda, &mut Dice),
    ) {
        let entry = &mut self.connections[connection.0];
        if !entry.open[side.other() as usize] {
            return; // nobody is there to read it
        }
        let stream = &mut entry.streams[side as usize];
        let arrival = now.after(dice.between(50, self.delay)).max(stream.last_arrival);
        stream.frames.push_back(frame);
        stream.last_arrival = arrival;
        agenda.put(arrival, Event::Deliver(connection, side.other()));
    }

    /// The frame that arrives at one end now, and what the link did to it.
    pub fn deliver(
        &mut self,
        connection: ConnectionId,
        to: Side,
        now: Moment,
        (agenda, dice): (&mut Agenda, &mut Dice),
    ) -> (Arrival, Mischief) {
        let entry = &mut self.connections[connection.0];
        let link = &self.links[entry.link.0];
        let from = to.other() as usize;
        if !entry.open[to as usize] {
            return (Arrival::Nothing, Mischief::None);
        }
        let stream = &mut entry.streams[from];
        if !link.carries[from] {
            stream.stalled += 1;
            return (Arrival::Nothing, Mischief::None);
        }
        let hostile = link.temper == Temper::Hostile && stream.begun;
        stream.begun = true;
        let overtaken = hostile && stream.frames.len() > 1 && dice.percent(20);
        let at = if overtaken { 1 + dice.below(stream.frames.len() - 1) } else { 0 };
        let Some(frame) = stream.frames.remove(at) else {
            return (Arrival::Nothing, Mischief::None);
        };
        if hostile && dice.percent(10) {
            return (Arrival::Lost, Mischief::None);
        }
        if hostile && dice.percent(10) {
            stream.frames.push_back(frame.clone());
            agenda.put(now.after(dice.between(1, self.delay)), Event::Deliver(connection, to));
            return (Arrival::Frame(frame), Mischief::Repeated);
        }
        let mischief = if overtaken { Mischief::Overtaken } else { Mischief::None };
        (Arrival::Frame(frame), mischief)
    }
}

/// The hosts that are reached from one over links, those that are nearest first: at each place of what is
/// returned those that lie one link further away. The way leads only over hosts that let it pass.
pub fn rings(
    from: HostId,
    links: &[[HostId; 2]],
    passes: impl Fn(HostId) -> bool,
) -> Vec<BTreeSet<HostId>> {
    let mut rings = vec![BTreeSet::from([from])];
    loop {
        let reached: BTreeSet<HostId> = rings.iter().flatten().copied().collect();
        let near = links.iter().filter(|ends| ends.iter().any(|end| reached.contains(end)));
        let near = near.flatten().copied().filter(|host| passes(*host) && !reached.contains(host));
        let ring: BTreeSet<HostId> = near.collect();
        if ring.is_empty() {
            return rings;
        }
        rings.push(ring);
    }
}
