//! The world: the hosts of a run, and what happens to them, one event at a time.

use towline::store::{Owner, StoreId};
use towline::words::{ClusterId, Identity};

use super::agenda::{Agenda, Event, HostId, Timer};
use super::clock::{MILLI, Moment, WallClock};
use super::coverage::{Coverage, Mark};
use super::dice::Dice;
use super::disk::Disk;
use super::forgery::Forger;
use super::liar::Liar;
use super::network::{Arrival, ConnectionId, LinkId, Mischief, Network, Side};
use super::node::{Ending, Node};
use super::oracle::Oracle;
use super::promise::{Outcome, Promise};
use super::scenario::{LiarsEnd, Scenario, Topology};
use super::stage::{Phase, Stage};
use super::story::{Happening, Story};

/// Who lives on a host.
pub enum Resident {
    Node(Box<Node>),
    Liar(Box<Liar>),
}

/// A run: all hosts, and what they share.
pub struct World {
    pub hosts: Vec<Resident>,
    pub stage: Stage,
}

impl World {
    /// The world of a seed, before anything has happened.
    pub fn new(seed: u64, story: Story) -> Self {
        let mut dice = Dice::new(seed);
        let scenario = Scenario::draw(&mut dice);
        let network = Network::new(scenario.delay);
        let stage = Stage {
            now: Moment::default(),
            phase: Phase::Chaos,
            scenario,
            dice,
            agenda: Agenda::default(),
            network,
            oracle: Oracle::default(),
            coverage: Coverage::default(),
            story,
            ids: Vec::new(),
            busy_frames: 0,
        };
        let mut world = Self { hosts: Vec::new(), stage };
        world.settle();
        world
    }

    /// Puts nodes on hosts, and links between them.
    fn settle(&mut self) {
        let cluster = ClusterId(self.stage.dice.bytes());
        let nodes = self.stage.scenario.nodes;
        for at in 0..nodes {
            self.add_node(cluster, nodes - at <= self.stage.scenario.late);
        }
        self.link_nodes();
        if let Some(end) = self.stage.scenario.liar {
            self.add_liar(cluster, end);
        }
        self.stage.put(self.stage.scenario.trouble_every, Event::Trouble);
    }

    fn add_node(&mut self, cluster: ClusterId, late: bool) {
        let host = HostId(self.hosts.len());
        let stage = &mut self.stage;
        let identity = Identity::from_secret(&stage.dice.bytes());
        let owner = Owner { node: identity.node_id(), cluster };
        let disk = Disk::new(owner, StoreId(stage.dice.bytes()), stage.scenario.commit);
        let offset = stage.dice.between(0, 10_000) as i64 - 5_000;
        let drift = stage.dice.between(0, 400) as i64 - 200;
        let node = Node::new(host, identity, disk, WallClock::new(offset, drift));
        stage.ids.push(node.id());
        self.hosts.push(Resident::Node(Box::new(node)));
        let stage = &mut self.stage;
        let latest = if late { stage.scenario.chaos } else { 50 * MILLI };
        let start = stage.dice.between(0, latest);
        if late {
            stage.count(Mark::LateJoiners);
        }
        stage.put(start, Event::Start(host));
        self.bring_clients(host, start);
    }

    /// Lets clients come to a host from then on.
    pub fn bring_clients(&mut self, host: HostId, from: u64) {
        for event in [Event::Append(host), Event::Emit(host), Event::Read(host)] {
            let delay = from + self.stage.dice.between(1, 500) * MILLI;
            self.stage.put(delay, event);
        }
    }

    fn link_nodes(&mut self) {
        let Stage { network, dice, scenario, .. } = &mut self.stage;
        let chosen = |a: usize, b: usize, dice: &mut Dice| match scenario.topology {
            Topology::Mesh => true,
            Topology::Line => b == a + 1,
            Topology::Star => a == 0,
            Topology::Random => a == b / 2 || dice.percent(30), // a tree, and some more
        };
        for b in 1..scenario.nodes {
            for a in 0..b {
                if chosen(a, b, dice) {
                    network.link([HostId(a), HostId(b)]);
                }
            }
        }
    }

    fn add_liar(&mut self, cluster: ClusterId, end: LiarsEnd) {
        let host = HostId(self.hosts.len());
        let stage = &mut self.stage;
        let identity = Identity::from_secret(&stage.dice.bytes());
        let liar = Liar::new(host, Forger { identity, cluster }, end);
        stage.ids.push(liar.id());
        stage.oracle.distrust(liar.id());
        let mut victims: Vec<HostId> = (0..stage.scenario.nodes).map(HostId).collect();
        stage.dice.shuffle(&mut victims);
        victims.truncate(1 + stage.dice.below(stage.scenario.nodes));
        for victim in victims {
            let link = stage.network.link([victim, host]);
            stage.network.dial_at(link, Moment(100 * MILLI), &mut stage.agenda);
        }
        stage.put(200 * MILLI, Event::Lie(host));
        self.hosts.push(Resident::Liar(Box::new(liar)));
    }

    /// The honest nodes.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.hosts.iter().filter_map(|resident| match resident {
            Resident::Node(node) => Some(&**node),
            Resident::Liar(_) => None,
        })
    }

    /// Lets the next event happen.
    ///
    /// # Errors
    /// It breaks a promise.
    pub fn step(&mut self) -> Outcome {
        let Some((at, event)) = self.stage.agenda.next() else {
            return Promise::Converges.broken("nothing happens any more");
        };
        self.stage.now = at;
        if let Some(wakes) = self.host_of(event).and_then(|host| self.suspended(host)) {
            self.stage.agenda.put(wakes, event);
            return Ok(());
        }
        match event {
            Event::Dial(link) => self.dial(link),
            Event::Deliver(connection, side) => self.deliver(connection, side),
            Event::HangUp(connection, side) => self.hang_up(connection, side),
            Event::Cut(link) => {
                // A link that was flapping flaps no more once everything has healed.
                if self.stage.is_chaos() {
                    self.cut(link, &Side::BOTH);
                }
                Ok(())
            }
            Event::Mend(link) => {
                let Stage { network, agenda, now, .. } = &mut self.stage;
                network.mend(link, *now, agenda);
                Ok(())
            }
            Event::Trouble => self.trouble(),
            Event::Lie(host) => {
                if let Resident::Liar(liar) = &mut self.hosts[host.0] {
                    liar.lie(&mut self.stage);
                }
                Ok(())
            }
            _ => self.at_node(event),
        }
    }

    fn at_node(&mut self, event: Event) -> Outcome {
        let (Event::Start(host)
        | Event::Append(host)
        | Event::Emit(host)
        | Event::Read(host)
        | Event::Due(host, ..)) = event
        else {
            return Ok(());
        };
        let Resident::Node(node) = &mut self.hosts[host.0] else {
            return Ok(());
        };
        let stage = &mut self.stage;
        match event {
            Event::Start(_) => node.start(stage),
            Event::Append(_) => {
                node.serve_append(stage);
                Ok(())
            }
            Event::Emit(_) => {
                node.serve_emit(stage);
                Ok(())
            }
            Event::Read(_) => node.serve_read(stage),
            Event::Due(_, life, timer) if node.lives(life) => due(node, timer, stage),
            _ => Ok(()),
        }
    }

    /// The host that an event happens at, where it is one.
    fn host_of(&self, event: Event) -> Option<HostId> {
        match event {
            Event::Deliver(connection, side) | Event::HangUp(connection, side) => {
                Some(self.stage.network.host(connection, side))
            }
            Event::Start(host)
            | Event::Due(host, ..)
            | Event::Append(host)
            | Event::Emit(host)
            | Event::Read(host) => Some(host),
            _ => None,
        }
    }

    /// When a host that stands still goes on.
    fn suspended(&self, host: HostId) -> Option<Moment> {
        match &self.hosts[host.0] {
            Resident::Node(node) => Some(node.suspended).filter(|until| *until > self.stage.now),
            Resident::Liar(_) => None,
        }
    }

    fn dial(&mut self, link: LinkId) -> Outcome {
        let reachable = self.stage.network.dialed(link);
        if self.stage.network.standing(link).is_some() {
            return Ok(());
        }
        let ends = self.stage.network.ends(link);
        let up = |host: HostId| match &self.hosts[host.0] {
            Resident::Node(node) => node.life.is_some() && self.suspended(host).is_none(),
            Resident::Liar(_) => true,
        };
        if !reachable || !ends.into_iter().all(up) {
            let wait = if self.stage.is_chaos() { self.stage.dice.between(50, 400) } else { 30 };
            let Stage { network, agenda, now, .. } = &mut self.stage;
            network.dial_at(link, now.after(wait * MILLI), agenda);
            return Ok(());
        }
        let connection = self.stage.network.open(link);
        let [one, other] = ends;
        self.stage.tell(Happening::Connected { one, other });
        for (host, side) in ends.into_iter().zip(Side::BOTH) {
            match &mut self.hosts[host.0] {
                Resident::Node(node) => node.connect((connection, side), &mut self.stage)?,
                Resident::Liar(liar) => liar.connect((connection, side), &mut self.stage),
            }
        }
        Ok(())
    }

    fn deliver(&mut self, connection: ConnectionId, side: Side) -> Outcome {
        let (to, from) = (
            self.stage.network.host(connection, side),
            self.stage.network.host(connection, side.other()),
        );
        if let Resident::Node(node) = &self.hosts[to.0]
            && !node.can_receive(connection)
        {
            self.stage.put(MILLI, Event::Deliver(connection, side));
            return Ok(());
        }
        let Stage { network, agenda, dice, now, .. } = &mut self.stage;
        let (arrival, mischief) = network.deliver(connection, side, *now, (agenda, dice));
        match mischief {
            Mischief::None => {}
            Mischief::Repeated => self.mangled((from, to), "repeated", Mark::FramesRepeated),
            Mischief::Overtaken => self.mangled((from, to), "overtaken", Mark::FramesOvertaken),
        }
        match arrival {
            Arrival::Nothing => return Ok(()),
            Arrival::Lost => self.mangled((from, to), "lost", Mark::FramesLost),
            Arrival::Frame(frame) => match &mut self.hosts[to.0] {
                Resident::Node(node) => node.receive(connection, &frame, &mut self.stage)?,
                Resident::Liar(liar) => liar.receive(&frame),
            },
        }
        match &mut self.hosts[from.0] {
            Resident::Node(node) => node.advance(connection, &mut self.stage),
            Resident::Liar(liar) => {
                liar.flush(connection, &mut self.stage);
                Ok(())
            }
        }
    }

    fn mangled(&mut self, (from, to): (HostId, HostId), how: &'static str, mark: Mark) {
        self.stage.count(mark);
        self.stage.tell(Happening::Mangled { from, to, how });
    }

    fn hang_up(&mut self, connection: ConnectionId, side: Side) -> Outcome {
        if !self.stage.network.is_dead(connection, side) {
            return Ok(());
        }
        let host = self.stage.network.host(connection, side);
        match &mut self.hosts[host.0] {
            Resident::Node(node) => node.hang_up(connection, &mut self.stage),
            Resident::Liar(liar) => {
                liar.hang_up(connection, &mut self.stage);
                Ok(())
            }
        }
    }
}

/// What is due in the present life of a node.
fn due(node: &mut Node, timer: Timer, stage: &mut Stage) -> Outcome {
    match timer {
        Timer::Interval(connection) => node.pass_interval(connection, stage),
        Timer::HelloLate(connection) => node.expect_hello(connection, stage),
        Timer::Verified(connection) => {
            node.verified(connection, stage);
            Ok(())
        }
        Timer::Write => node.write(stage),
        Timer::Commit => node.committed(stage),
        Timer::Bell => node.ring_bell(stage),
        Timer::Hear => node.hear(stage),
        Timer::PatienceEnds => node.lose_patience(stage),
        Timer::RejoinEnds => node.join(stage),
        Timer::GraceEnds => node.end_grace(stage),
        Timer::Seal => node.seal(stage),
        Timer::Prune => node.prune(stage),
        Timer::Packed => {
            node.packed(stage);
            Ok(())
        }
        Timer::Kill => {
            stage.count(Mark::KilledAnywhere);
            node.end(Ending::Killed, stage)
        }
    }
}
