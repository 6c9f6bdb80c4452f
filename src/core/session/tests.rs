use std::collections::BTreeSet;

use bytes::Bytes;

use super::*;
use crate::core::change::{Change, Place};
use crate::core::disk::{Disk, head_of};
use crate::core::log::{Applied, Arrival, Log};
use crate::core::segment::Opening;
use crate::words::{ChangeHash, Draft, Identity, Signature, Time};

const CLUSTER: ClusterId = ClusterId([9; 32]);
const NOW: u64 = 1_795_237_297_000;
const ALICE: usize = 0;
const BOB: usize = 1;
const CAROL: usize = 2;

fn identity(host: usize) -> Identity {
    Identity::from_secret(&[host as u8 + 1; 32])
}

fn node(host: usize) -> NodeId {
    identity(host).node_id()
}

/// A node as the sessions see it: a log, a disk, and a writer that persists what comes.
struct Host {
    name: usize,
    lifetime: u8,
    log: Log,
    disk: Disk,
    /// What came and is not persisted yet.
    queue: VecDeque<Vec<Change>>,
    sessions: BTreeMap<usize, Session>,
}

impl Host {
    fn new(name: usize, lifetime: u8, disk: Disk) -> Self {
        let (tips, watermark) = (disk.tips(), disk.watermark());
        let log = Log::new(identity(name), CLUSTER, [lifetime; 16], tips, watermark, NOW);
        let (queue, sessions) = (VecDeque::new(), BTreeMap::new());
        Self { name, lifetime, log, disk, queue, sessions }
    }

    fn persist(&mut self, arrivals: Vec<Arrival>) {
        if !arrivals.is_empty() {
            self.disk.0.extend(arrivals);
            self.sessions.values_mut().for_each(Session::handle_growth);
        }
    }

    fn append(&mut self, count: usize) {
        let drafts = vec![Draft::json("builds", "built", &self.name).unwrap(); count];
        let arrivals = self.log.append(&drafts, NOW).unwrap();
        self.persist(arrivals);
    }

    fn write(&mut self) -> Option<Applied> {
        let changes = self.queue.pop_front()?;
        let mut applied = self.log.apply(changes, NOW, &mut self.disk.clone()).unwrap();
        assert!(applied.refused.is_empty(), "{:?}", applied.refused);
        self.persist(std::mem::take(&mut applied.arrivals));
        Some(applied)
    }

    /// What the other lacks, and the authors of whom it has heads that lead nowhere here.
    fn compare(&self, theirs: &Heads) -> (Vec<Range>, HashSet<NodeId>) {
        let (mut ranges, mut ahead) = (Vec::new(), HashSet::new());
        for author in self.disk.authors() {
            let heads = theirs.iter().filter(|(named, _)| *named == author);
            let heads: Vec<Head> = heads.flat_map(|(_, heads)| heads).copied().collect();
            let (missing, clear) = self.disk.compare(author, &heads);
            ranges.extend(missing);
            ahead.extend((!clear).then_some(author));
        }
        (ranges, ahead)
    }

    fn scan(&self, from: Offset, limit: usize) -> (Vec<Passed>, Offset) {
        let ahead = self.disk.0.iter().filter(|arrival| arrival.offset >= from).take(limit);
        let passed: Vec<Passed> = ahead
            .map(|Arrival { change, side, .. }| Passed {
                author: change.author,
                first_seq: change.first_seq,
                head: head_of(change),
                side: *side,
            })
            .collect();
        let entries = |passed: &Passed| passed.head.next_seq.0 - passed.first_seq.0;
        let next = from.plus(passed.iter().map(entries).sum());
        (passed, next)
    }

    /// So many changes from the start of the range, and on to the first one that is signed.
    fn fetch(&self, range: &Range, changes: usize) -> Option<SignedRun> {
        let of_strand = self.disk.of_strand(range.strand);
        let from: Vec<&Change> = of_strand.filter(|c| c.first_seq >= range.from).collect();
        let first = from.first().filter(|first| first.first_seq == range.from)?;
        let inside = from.iter().filter(|change| change.first_seq < range.to).count();
        let mut ends = inside.min(changes)..=from.len();
        let end = ends.find(|&end| from[end - 1].signature.is_some())?;
        Some(SignedRun {
            place: Place {
                author: first.author,
                segment: first.segment,
                segment_seq: first.segment_seq,
                index: first.index,
                first_seq: first.first_seq,
                link: first.link().unwrap(),
            },
            changes: from[..end].iter().map(|c| c.open().unwrap().shared_entries()).collect(),
            signature: from[end - 1].signature?,
        })
    }
}

/// Xorshift: the same seed gives the same run again.
struct Chance(u64);

impl Chance {
    fn below(&mut self, most: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % most.max(1) as u64) as usize
    }

    fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())]
    }
}

/// What may happen next.
#[derive(Clone, Copy, Debug)]
enum Event {
    Poll(usize, usize),
    Deliver(usize, usize),
    Write(usize),
}

/// Hosts and the wires between them.
struct World {
    hosts: Vec<Host>,
    chance: Chance,
    /// Frames on their way, in order, by sender and receiver.
    wires: BTreeMap<(usize, usize), VecDeque<Bytes>>,
    /// Wires that swallow what is sent.
    dead: BTreeSet<(usize, usize)>,
    /// Writers that stand still.
    stopped: BTreeSet<usize>,
    /// Sessions that have nothing to do until something happens to them.
    idle: BTreeSet<(usize, usize)>,
    /// What was sent since somebody last looked, by sender and receiver.
    sent: Vec<(usize, usize, Frame)>,
    /// How many changes came to a host that had them.
    duplicates: usize,
}

impl World {
    fn new(hosts: usize, seed: u64) -> Self {
        Self {
            hosts: (0..hosts).map(|name| Host::new(name, 0, Disk::default())).collect(),
            chance: Chance(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
            wires: BTreeMap::new(),
            dead: BTreeSet::new(),
            stopped: BTreeSet::new(),
            idle: BTreeSet::new(),
            sent: Vec::new(),
            duplicates: 0,
        }
    }

    /// Connected hosts that have told each other all that they had to say.
    fn settled(hosts: usize, wires: &[(usize, usize)], seed: u64) -> Self {
        let mut world = Self::new(hosts, seed);
        wires.iter().for_each(|(one, two)| world.connect(*one, *two));
        world.settle();
        world
    }

    /// A full mesh in which every host knows of all connections.
    fn mesh(hosts: usize, seed: u64) -> Self {
        let wires: Vec<_> = (0..hosts).flat_map(|a| (a + 1..hosts).map(move |b| (a, b))).collect();
        let mut world = Self::settled(hosts, &wires, seed);
        world.tell_links();
        world
    }

    fn connect(&mut self, one: usize, two: usize) {
        self.disconnect(one, two);
        for (me, peer) in [(one, two), (two, one)] {
            let host = &mut self.hosts[me];
            let parties = Parties {
                me: node(me),
                cluster: CLUSTER,
                incarnation: u64::from(host.lifetime),
                name: format!("host {me}"),
                peer: node(peer),
            };
            host.sessions.insert(peer, Session::new(parties));
        }
    }

    fn disconnect(&mut self, one: usize, two: usize) {
        for (me, peer) in [(one, two), (two, one)] {
            self.hosts[me].sessions.remove(&peer);
            self.wires.remove(&(me, peer));
            self.idle.remove(&(me, peer));
        }
    }

    /// Every host says on every connection whom it is connected with.
    fn tell_links(&mut self) {
        for host in &mut self.hosts {
            let links: Vec<NodeId> = host.sessions.keys().map(|peer| node(*peer)).collect();
            host.sessions.values_mut().for_each(|session| session.handle_links(links.clone()));
        }
        self.wake();
        self.settle();
    }

    /// A host's process ends and starts again, with about the oldest `kept` arrivals on its disk: no
    /// run was written in part.
    fn restart(&mut self, host: usize, kept: usize) {
        let peers: Vec<usize> = self.hosts[host].sessions.keys().copied().collect();
        peers.iter().for_each(|peer| self.disconnect(host, *peer));
        let Host { lifetime, disk, .. } = &mut self.hosts[host];
        disk.0.truncate(kept);
        while disk.0.pop_if(|last| last.change.signature.is_none()).is_some() {}
        self.hosts[host] = Host::new(host, *lifetime + 1, std::mem::take(disk));
        peers.iter().for_each(|peer| self.connect(host, *peer));
    }

    fn append(&mut self, host: usize, count: usize) {
        self.hosts[host].append(count);
        self.wake();
    }

    fn wake(&mut self) {
        self.idle.clear();
    }

    /// All intervals pass at once.
    fn interval(&mut self) {
        let sessions = self.hosts.iter_mut().flat_map(|host| host.sessions.values_mut());
        sessions.for_each(Session::handle_interval);
        self.wake();
        self.settle();
    }

    fn events(&self) -> Vec<Event> {
        let mut events = Vec::new();
        for (me, host) in self.hosts.iter().enumerate() {
            let awake = host.sessions.keys().filter(|peer| !self.idle.contains(&(me, **peer)));
            events.extend(awake.map(|peer| Event::Poll(me, *peer)));
            if !host.queue.is_empty() && !self.stopped.contains(&me) {
                events.push(Event::Write(me));
            }
        }
        let busy = self.wires.iter().filter(|(_, frames)| !frames.is_empty());
        events.extend(busy.map(|((from, to), _)| Event::Deliver(*from, *to)));
        events
    }

    /// Lets happen what can, in an order that the seed gives, until nothing more happens.
    fn settle(&mut self) {
        for _ in 0..100_000 {
            let events = self.events();
            if events.is_empty() {
                return;
            }
            let event = self.chance.pick(&events);
            self.happen(event);
        }
        panic!("the world does not come to rest");
    }

    /// Lets a few things happen, fewer than `most`.
    fn go_on(&mut self, most: usize) {
        for _ in 0..self.chance.below(most) {
            let events = self.events();
            if !events.is_empty() {
                let event = self.chance.pick(&events);
                self.happen(event);
            }
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Poll(me, peer) => self.poll(me, peer),
            Event::Deliver(from, to) => self.deliver(from, to),
            Event::Write(me) => {
                if let Some(applied) = self.hosts[me].write() {
                    self.duplicates += applied.duplicates;
                    self.wake();
                }
            }
        }
    }

    fn poll(&mut self, me: usize, peer: usize) {
        let host = &mut self.hosts[me];
        let Some(mut session) = host.sessions.remove(&peer) else {
            return;
        };
        match session.poll() {
            None => drop(self.idle.insert((me, peer))),
            Some(Step::Send(frame)) => {
                if !self.dead.contains(&(me, peer)) {
                    self.wires.entry((me, peer)).or_default().push_back(frame.encode().into());
                }
                self.sent.push((me, peer, frame));
            }
            Some(Step::ReadFrontier) => session.handle_own_frontier(&host.log.frontier()),
            Some(Step::Compare(theirs)) => {
                let (ranges, ahead) = host.compare(&theirs);
                let watermark = host.disk.watermark();
                let held = |peer: &NodeId, author: &NodeId| {
                    let other = host.sessions.values().find(|other| other.parties.peer == *peer);
                    other.and_then(|other| other.peer_holds(author)).unwrap_or_default()
                };
                session.handle_compared(ranges, &ahead, watermark, held);
            }
            Some(Step::Scan(from)) => {
                let (passed, next) = host.scan(from, 1 + self.chance.below(4));
                session.handle_scanned(&passed, next);
            }
            Some(Step::Fetch(range)) => {
                let run = host.fetch(&range, 1 + self.chance.below(3));
                session.handle_fetched(run.map(Travelling::Run));
            }
        }
        host.sessions.insert(peer, session);
    }

    fn deliver(&mut self, from: usize, to: usize) {
        let Some(bytes) = self.wires.get_mut(&(from, to)).and_then(VecDeque::pop_front) else {
            return;
        };
        let host = &mut self.hosts[to];
        let session = host.sessions.get_mut(&from).expect("a wire ends in a session");
        match session.handle_frame(Frame::decode(&bytes).unwrap()).unwrap() {
            Received::Run(run) => {
                host.queue.push_back(run.verify(CLUSTER).unwrap());
            }
            Received::Wanted(wanted) => {
                let range = |wanted: &Wanted| Range {
                    author: wanted.author,
                    strand: Strand::first(wanted.segment),
                    from: wanted.from,
                    to: wanted.to,
                };
                session.handle_wanted(wanted.iter().map(range).collect());
            }
            Received::Block(_) | Received::Pruned(_) => {
                unreachable!("these hosts keep no blocks, and prune nothing")
            }
            Received::Noted | Received::Greeted { .. } => {}
        }
        self.idle.remove(&(to, from));
    }

    /// The runs that were sent since somebody last looked: from whom, to whom, how many entries.
    fn runs(&mut self) -> Vec<(usize, usize, usize)> {
        let run = |(from, to, frame)| match frame {
            Frame::Run(run) => Some((from, to, run.changes.iter().map(Vec::len).sum())),
            _ => None,
        };
        let mut runs: Vec<_> = self.sent.drain(..).filter_map(run).collect();
        runs.sort_unstable();
        runs
    }

    fn entries(&self, host: usize) -> u64 {
        self.hosts[host].disk.watermark().0
    }

    fn equal(&self) -> bool {
        self.hosts.windows(2).all(|pair| pair[0].log.frontier() == pair[1].log.frontier())
    }

    /// What a host knows its peer to hold, and what the peer holds.
    fn held(&self, me: usize, peer: usize) -> (BTreeMap<NodeId, Seq>, BTreeMap<NodeId, Seq>) {
        let known = self.hosts[me].sessions[&peer].held_by_peer();
        let frontier = self.hosts[peer].log.frontier();
        let holds = frontier.iter().map(|(author, _)| (*author, frontier.next_seq(author)));
        (known.map(|(author, next)| (*author, next)).collect(), holds.collect())
    }
}

/// The fact must hold in whatever order things happen.
fn in_any_order(fact: impl Fn(u64)) {
    for seed in 1..=40 {
        let told = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| fact(seed)));
        told.unwrap_or_else(|panic| {
            eprintln!("with the seed {seed}");
            std::panic::resume_unwind(panic)
        });
    }
}

const PAIR: &[(usize, usize)] = &[(ALICE, BOB)];
const CHAIN: &[(usize, usize)] = &[(ALICE, BOB), (BOB, CAROL)];

#[test]
fn an_empty_node_gets_everything() {
    in_any_order(|seed| {
        let mut world = World::new(2, seed);
        (1..9).for_each(|count| world.append(ALICE, count));
        world.restart(ALICE, usize::MAX);
        (1..9).for_each(|count| world.append(ALICE, count));
        world.connect(ALICE, BOB);
        world.settle();
        assert_eq!(world.entries(BOB), 72);
        assert!(world.equal());
        assert_eq!(world.duplicates, 0);
    });
}

#[test]
fn both_sides_get_what_they_lack() {
    in_any_order(|seed| {
        let mut world = World::new(2, seed);
        world.append(ALICE, 5);
        world.append(BOB, 7);
        world.connect(ALICE, BOB);
        world.settle();
        assert!(world.equal());
        assert_eq!(world.runs(), [(ALICE, BOB, 5), (BOB, ALICE, 7)]);
    });
}

#[test]
fn equal_nodes_send_no_run() {
    in_any_order(|seed| {
        let mut world = World::settled(2, PAIR, seed);
        world.append(ALICE, 5);
        world.append(BOB, 7);
        world.settle();
        world.connect(ALICE, BOB);
        world.runs();
        world.settle();
        world.interval();
        assert_eq!(world.runs(), []);
    });
}

#[test]
fn equal_nodes_say_only_digests_at_an_interval() {
    let mut world = World::settled(2, PAIR, 1);
    world.append(ALICE, 5);
    world.settle();
    world.interval();
    world.sent.clear();
    world.interval();
    assert!(world.sent.iter().all(|(_, _, frame)| matches!(frame, Frame::Digest(_))));
    assert_eq!(world.sent.len(), 2);
}

#[test]
fn a_peer_ahead_needs_nothing() {
    in_any_order(|seed| {
        let mut world = World::settled(2, PAIR, seed);
        world.append(ALICE, 5);
        world.settle();
        world.disconnect(ALICE, BOB);
        world.append(ALICE, 3);
        world.restart(ALICE, usize::MAX);
        world.append(ALICE, 2);
        world.runs();
        world.connect(ALICE, BOB);
        world.settle();
        let back: Vec<_> = world.runs().into_iter().filter(|(from, ..)| *from == BOB).collect();
        assert_eq!(back, [], "Bob was behind, and sends what Alice has");
        assert!(world.equal());
    });
}

#[test]
fn live_entries_flow() {
    in_any_order(|seed| {
        let mut world = World::settled(2, PAIR, seed);
        for round in 1..6 {
            world.append(ALICE, round);
            world.append(BOB, 1);
            world.settle();
            assert!(world.equal());
        }
        assert_eq!(world.runs().iter().map(|(.., entries)| entries).sum::<usize>(), 20);
    });
}

#[test]
fn what_is_appended_while_catching_up_is_sent_once() {
    in_any_order(|seed| {
        let mut world = World::new(2, seed);
        (0..9).for_each(|_| world.append(ALICE, 1));
        world.connect(ALICE, BOB);
        for _ in 0..60 {
            world.go_on(3);
            world.append(ALICE, 1);
        }
        world.settle();
        assert_eq!(world.entries(BOB), 69);
        assert_eq!(world.runs().iter().map(|(.., entries)| entries).sum::<usize>(), 69);
    });
}

#[test]
fn an_entry_is_relayed_along_a_chain() {
    in_any_order(|seed| {
        let mut world = World::settled(3, CHAIN, seed);
        world.append(ALICE, 5);
        world.append(CAROL, 2);
        world.settle();
        assert!(world.equal());
        let runs = [(ALICE, BOB, 5), (BOB, ALICE, 2), (BOB, CAROL, 5), (CAROL, BOB, 2)];
        assert_eq!(world.runs(), runs);
    });
}

#[test]
fn in_a_full_mesh_each_entry_reaches_each_node_once() {
    in_any_order(|seed| {
        for hosts in [3, 4] {
            let mut world = World::mesh(hosts, seed);
            world.runs();
            (0..hosts).for_each(|author| world.append(author, author + 1));
            world.settle();
            assert!(world.equal());
            let runs = world.runs();
            assert_eq!(runs.len(), hosts * (hosts - 1));
            assert!(runs.iter().all(|(from, _, entries)| *entries == from + 1), "from its author");
            assert_eq!(world.duplicates, 0);
        }
    });
}

/// Alice and Carol hold what both wrote; Bob is empty, connected with both, and asks each for its own.
fn shared_out(seed: u64) -> World {
    let mut world = World::settled(3, &[(ALICE, CAROL)], seed);
    for _ in 0..9 {
        world.append(ALICE, 3);
        world.append(CAROL, 4);
    }
    world.settle();
    world.runs();
    for (peer, other) in [(ALICE, CAROL), (CAROL, ALICE)] {
        world.connect(peer, BOB);
        let session = world.hosts[BOB].sessions.get_mut(&peer).unwrap();
        session.handle_elsewhere(vec![node(other)]);
    }
    world.wake();
    world
}

#[test]
fn what_is_asked_of_another_peer_is_not_sent() {
    in_any_order(|seed| {
        let mut world = shared_out(seed);
        world.settle();
        world.interval();
        assert!(world.equal());
        assert_eq!(world.duplicates, 0);
        let mut sent = [0; 3];
        world.runs().into_iter().for_each(|(from, _, entries)| sent[from] += entries);
        assert_eq!(sent, [27, 0, 36]);
    });
}

#[test]
fn what_a_peer_need_not_keep_any_more_still_comes_from_its_author_only() {
    in_any_order(|seed| {
        let mut world = World::mesh(3, seed);
        world.runs();
        for elsewhere in [vec![node(ALICE)], Vec::new()] {
            world.append(ALICE, 2);
            world.go_on(20);
            let session = world.hosts[CAROL].sessions.get_mut(&BOB).unwrap();
            session.handle_elsewhere(elsewhere);
            world.wake();
        }
        world.settle();
        assert!(world.equal());
        assert_eq!(world.duplicates, 0);
        assert!(world.runs().iter().all(|(from, ..)| *from == ALICE));
    });
}

#[test]
fn what_a_peer_was_to_bring_comes_from_another_when_it_is_gone() {
    in_any_order(|seed| {
        let mut world = shared_out(seed);
        world.go_on(30);
        world.disconnect(CAROL, BOB);
        world.disconnect(CAROL, ALICE);
        let session = world.hosts[BOB].sessions.get_mut(&ALICE).unwrap();
        session.handle_elsewhere(Vec::new());
        world.wake();
        world.settle();
        world.interval();
        assert_eq!(world.entries(BOB), 63, "Alice has brought Carol's part, too");
    });
}

#[test]
fn a_cut_session_goes_on_where_it_was() {
    in_any_order(|seed| {
        let mut world = World::new(2, seed);
        (0..9).for_each(|_| world.append(ALICE, 3));
        world.connect(ALICE, BOB);
        world.go_on(60);
        world.disconnect(ALICE, BOB);
        while world.hosts[BOB].write().is_some() {}
        world.runs();
        let held = world.entries(BOB) as usize;
        world.connect(ALICE, BOB);
        world.settle();
        assert!(world.equal());
        let sent: usize = world.runs().iter().map(|(.., entries)| entries).sum();
        assert_eq!((sent, world.duplicates), (27 - held, 0));
    });
}

#[test]
fn an_author_is_not_sent_its_own_entries() {
    in_any_order(|seed| {
        let ring = [(ALICE, BOB), (BOB, CAROL), (CAROL, ALICE)];
        let mut world = World::settled(3, &ring, seed);
        world.dead.insert((ALICE, BOB));
        world.append(ALICE, 5);
        world.settle();
        assert!(world.equal(), "Bob has it from Carol");
        assert!(world.runs().iter().all(|(_, to, _)| *to != ALICE));
    });
}

#[test]
fn under_load_in_a_full_mesh_no_entry_is_sent_twice() {
    in_any_order(|seed| {
        let mut world = World::mesh(3, seed);
        world.runs();
        for _ in 0..30 {
            let author = world.chance.below(3);
            world.append(author, 2);
            world.go_on(20);
        }
        world.settle();
        assert!(world.equal());
        assert_eq!(world.duplicates, 0);
        assert_eq!(world.runs().iter().map(|(.., entries)| entries).sum::<usize>(), 2 * 60);
    });
}

#[test]
fn a_lost_relay_is_repaired_after_digests() {
    in_any_order(|seed| {
        let mut world = World::mesh(3, seed);
        world.dead.insert((ALICE, CAROL));
        world.append(ALICE, 5);
        world.settle();
        assert_eq!((world.entries(BOB), world.entries(CAROL)), (5, 0), "Bob leaves it to Alice");
        world.interval();
        world.interval();
        assert_eq!(world.entries(CAROL), 5);
    });
}

#[test]
fn a_repair_sends_no_entry_twice() {
    in_any_order(|seed| {
        let mut world = World::mesh(3, seed);
        world.append(ALICE, 9);
        world.settle();
        world.dead.insert((ALICE, CAROL));
        world.append(ALICE, 5);
        world.settle();
        world.runs();
        (0..3).for_each(|_| world.interval());
        let to_carol: Vec<_> = world.runs().into_iter().filter(|(_, to, _)| *to == CAROL).collect();
        let by_alice = (ALICE, CAROL, 5); // it is lost each time
        let by_bob: Vec<_> = to_carol.into_iter().filter(|run| *run != by_alice).collect();
        assert_eq!(by_bob, [(BOB, CAROL, 5)]);
    });
}

/// Seven nodes hold what an eighth one lacks that hears them, and has no time to write.
#[test]
fn to_a_node_that_stands_still_few_send_the_same_and_ever_more_seldom() {
    const LAST: usize = 7;
    in_any_order(|seed| {
        let mut world = World::mesh(8, seed);
        world.append(ALICE, 1);
        world.settle();
        world.interval();
        world.stopped.insert(LAST);
        world.append(ALICE, 5);
        world.settle();
        world.runs();
        let mut sent = [0; 8];
        for _ in 0..8 {
            world.interval();
            let to_last = |(_, to, _): &(usize, usize, usize)| *to == LAST;
            world.runs().into_iter().filter(to_last).for_each(|(from, ..)| sent[from] += 1);
        }
        assert_eq!(sent[ALICE], 3, "after one interval, two more, and four more");
        sent.sort_unstable();
        assert_eq!(sent, [0, 2, 2, 3, 3, 3, 3, 3], "two wait until four others have sent it");
        world.stopped.clear();
        world.settle();
        assert!(world.equal());
    });
}

#[test]
fn two_sides_with_branches_converge() {
    in_any_order(|seed| {
        let mut world = World::settled(3, &[(ALICE, BOB)], seed);
        world.append(ALICE, 5);
        world.append(ALICE, 4);
        world.settle();
        world.disconnect(ALICE, BOB);
        world.restart(ALICE, 1); // the second append is gone
        world.append(ALICE, 2);
        world.connect(ALICE, CAROL);
        world.settle();
        assert_eq!((world.entries(BOB), world.entries(CAROL)), (9, 7));
        world.connect(BOB, CAROL);
        world.settle();
        world.interval();
        world.interval();
        assert!(world.equal());
        assert_eq!(world.entries(ALICE), 11);
        world.append(ALICE, 1);
        world.settle();
        assert!(world.equal());
        assert_eq!(world.hosts[BOB].log.frontier().heads(&node(ALICE)).len(), 1);
    });
}

#[test]
fn a_wiped_node_gets_its_own_entries_back() {
    in_any_order(|seed| {
        let mut world = World::settled(3, CHAIN, seed);
        world.append(ALICE, 5);
        world.settle();
        world.restart(ALICE, 0);
        world.settle();
        assert_eq!(world.entries(ALICE), 5);
        assert!(world.equal());
    });
}

/// A copied key: two nodes write under one name, and both go on.
#[test]
fn the_lower_branch_arrives_while_the_higher_one_goes_on() {
    in_any_order(|seed| {
        let mut world = World::settled(2, PAIR, seed);
        let mut higher = Host::new(CAROL, 1, Disk::default());
        let mut lower = Host::new(CAROL, 2, Disk::default());
        let say = |world: &mut World, author: &mut Host, count| {
            author.append(count);
            let change = author.disk.0.last().map(|arrival| arrival.change.clone());
            world.hosts[ALICE].queue.push_back(change.into_iter().collect());
        };
        say(&mut world, &mut higher, 100);
        world.settle();
        for _ in 0..6 {
            say(&mut world, &mut higher, 1);
            say(&mut world, &mut lower, 1);
            world.settle();
            world.interval();
        }
        let lag = world.entries(ALICE) - world.entries(BOB);
        assert!(lag <= 3, "Bob lacks {lag} of the lower branch, six intervals later");
    });
}

// What each side knows of the other.

#[test]
fn acks_tell_what_the_peer_has_persisted() {
    in_any_order(|seed| {
        for mut world in [World::settled(3, CHAIN, seed), World::mesh(4, seed)] {
            for round in 1..4 {
                (0..world.hosts.len()).for_each(|host| world.append(host, round));
                world.settle();
            }
            world.interval();
            for me in 0..world.hosts.len() {
                for peer in world.hosts[me].sessions.keys() {
                    let (known, holds) = world.held(me, *peer);
                    assert_eq!(known, holds, "{me} of {peer}");
                }
            }
        }
    });
}

#[test]
fn in_a_full_mesh_only_its_author_hears_at_once_that_an_entry_is_held() {
    in_any_order(|seed| {
        let mut world = World::mesh(4, seed);
        world.sent.clear();
        world.append(ALICE, 5);
        world.settle();
        let acks = |(from, to, frame): &(usize, usize, Frame)| {
            matches!(frame, Frame::Ack(_)).then_some((*from, *to))
        };
        let acks: BTreeSet<(usize, usize)> =
            world.sent.drain(..).filter_map(|it| acks(&it)).collect();
        assert_eq!(acks, [(BOB, ALICE), (CAROL, ALICE), (3, ALICE)].into());
        assert_eq!(world.held(BOB, CAROL).0.get(&node(ALICE)), None);
        world.interval();
        assert_eq!(world.held(BOB, CAROL).0.get(&node(ALICE)), Some(&Seq(5)));
    });
}

#[test]
fn what_is_sent_and_not_persisted_is_not_held() {
    in_any_order(|seed| {
        let mut world = World::settled(2, PAIR, seed);
        world.stopped.insert(BOB);
        world.append(ALICE, 5);
        world.settle();
        world.interval();
        assert!(world.held(ALICE, BOB).0.is_empty());
        world.stopped.clear();
        world.settle();
        assert_eq!(world.held(ALICE, BOB).0, [(node(ALICE), Seq(5))].into());
    });
}

#[test]
fn both_branches_of_an_author_are_acknowledged() {
    in_any_order(|seed| {
        let mut world = World::settled(2, PAIR, seed);
        world.append(ALICE, 1);
        world.settle();
        let (mut higher, mut lower) =
            (Host::new(CAROL, 1, Disk::default()), Host::new(CAROL, 2, Disk::default()));
        higher.append(9);
        lower.append(4);
        for author in [higher, lower] {
            world.hosts[ALICE].queue.push_back(author.disk.changes().cloned().collect());
        }
        world.settle();
        assert!(world.equal());
        assert_eq!(world.held(ALICE, BOB).0.get(&node(CAROL)), Some(&Seq(9)));
    });
}

#[test]
fn more_authors_than_a_cluster_has_are_not_remembered() {
    let mut session = greeted();
    for round in 0..3u8 {
        let author =
            |n: usize| NodeId(std::array::from_fn(|at| [round, n as u8, (n >> 8) as u8][at % 3]));
        let head =
            Head { next_seq: Seq(1), hash: ChangeHash([1; 32]), segment: SegmentId([1; 16]) };
        let heads = (0..AUTHORS).map(|n| (author(n), vec![head])).collect();
        assert_eq!(session.handle_frame(Frame::Ack(heads)), Ok(Received::Noted));
    }
    assert_eq!(session.held_by_peer().count(), AUTHORS);
}

// The beginning of a session, and what no honest node does.

fn session() -> Session {
    let (me, peer) = (node(ALICE), node(BOB));
    Session::new(Parties { me, cluster: CLUSTER, incarnation: 3, name: "alice".into(), peer })
}

fn hello(protocol: u64, cluster: ClusterId) -> Frame {
    Frame::Hello { protocol, cluster, incarnation: 7, name: "bob".into() }
}

fn greeted() -> Session {
    let mut session = session();
    let greeting = session.handle_frame(hello(PROTOCOL, CLUSTER));
    assert_eq!(greeting, Ok(Received::Greeted { name: "bob".into(), incarnation: 7 }));
    session
}

/// The frames that a session of a node with entries sends now.
fn said_by(session: &mut Session) -> Vec<Frame> {
    let mut host = Host::new(ALICE, 0, Disk::default());
    host.append(5);
    session.handle_growth();
    let mut said = Vec::new();
    while let Some(step) = session.poll() {
        match step {
            Step::Send(frame) => said.push(frame),
            Step::ReadFrontier => session.handle_own_frontier(&host.log.frontier()),
            other => panic!("{other:?}"),
        }
    }
    said
}

#[test]
fn before_the_peers_hello_nothing_but_hello_is_said() {
    let mut session = session();
    session.handle_links(vec![node(CAROL)]);
    session.handle_interval();
    let said = said_by(&mut session);
    assert!(matches!(&said[..], [Frame::Hello { protocol: PROTOCOL, cluster: CLUSTER, .. }]));
}

#[test]
fn before_the_peers_frontier_nothing_of_the_log_is_sent() {
    let mut session = greeted();
    session.handle_links(vec![node(CAROL)]);
    let said = said_by(&mut session);
    let expected = matches!(&said[..], [Frame::Hello { .. }, Frame::Links(_), Frame::Frontier(_)]);
    assert!(expected, "{said:?}");
    session.handle_interval();
    assert!(matches!(said_by(&mut session)[..], [Frame::Digest(_)]));
    assert_eq!(session.handle_frame(Frame::Links(vec![node(CAROL)])), Ok(Received::Noted));
    assert_eq!(said_by(&mut session), []);
    assert!(!session.is_quiet());
}

#[test]
fn a_first_frame_that_is_no_hello_is_a_violation() {
    let frames = [
        Frame::Frontier(Vec::new()),
        Frame::Digest([0; 32]),
        Frame::Ack(Vec::new()),
        Frame::Links(Vec::new()),
    ];
    for frame in frames {
        assert_eq!(session().handle_frame(frame), Err(Violation::Hello));
    }
}

#[test]
fn a_second_hello_is_a_violation() {
    assert_eq!(greeted().handle_frame(hello(PROTOCOL, CLUSTER)), Err(Violation::Hello));
}

#[test]
fn another_protocol_is_a_violation() {
    for other in [0, PROTOCOL + 1, u64::MAX] {
        let said = session().handle_frame(hello(other, CLUSTER));
        assert_eq!(said, Err(Violation::Protocol(other)));
    }
}

#[test]
fn another_cluster_is_a_violation() {
    let said = session().handle_frame(hello(PROTOCOL, ClusterId([8; 32])));
    assert_eq!(said, Err(Violation::Cluster));
}

#[test]
fn after_a_violation_the_session_has_greeted_nobody() {
    let mut session = session();
    assert!(session.handle_frame(hello(PROTOCOL, ClusterId([8; 32]))).is_err());
    assert_eq!(session.handle_frame(Frame::Digest([0; 32])), Err(Violation::Hello));
}

#[test]
fn a_range_that_the_store_no_longer_holds_is_passed_over() {
    let mut session = greeted();
    assert_eq!(session.handle_frame(Frame::Frontier(Vec::new())), Ok(Received::Noted));
    said_until_compare(&mut session);
    let range = |n| {
        let strand = Strand::first(SegmentId([n; 16]));
        Range { author: node(CAROL), strand, from: Seq(0), to: Seq(5) }
    };
    session.handle_compared(vec![range(1), range(2)], &HashSet::new(), Offset(0), |_, _| Seq(0));
    assert_eq!(session.poll(), Some(Step::Fetch(range(1))));
    session.handle_fetched(None);
    assert_eq!(session.poll(), Some(Step::Fetch(range(2))));
}

/// Were it left out, the other might never be asked for its frontier.
#[test]
fn what_a_node_lost_it_asks_for_and_gets() {
    let mut world = World::settled(2, &[(ALICE, BOB)], 7);
    world.append(ALICE, 3);
    world.append(ALICE, 2);
    world.settle();
    let of_alice = world.hosts[BOB].disk.0[1].clone();
    let (segment, from, to) =
        (of_alice.change.segment, of_alice.change.first_seq, of_alice.change.next_seq());
    let lost = Wanted { author: node(ALICE), segment, from, to };
    world.duplicates = 0;
    world.hosts[BOB].sessions.get_mut(&ALICE).unwrap().handle_lost(vec![lost]);
    world.wake();
    world.settle();
    assert!(
        world
            .sent
            .iter()
            .any(|(from, _, frame)| { *from == BOB && *frame == Frame::Want(vec![lost]) })
    );
    assert_eq!(world.duplicates, 1, "the change that it lost, and no other");
}

#[test]
fn an_interval_says_the_digest_though_the_frontier_is_due_too() {
    let mut session = greeted();
    said_by(&mut session);
    session.handle_interval();
    assert_eq!(session.handle_frame(Frame::Digest([0; 32])), Ok(Received::Noted));
    let said = said_by(&mut session);
    assert!(matches!(said[..], [Frame::Frontier(_), Frame::Digest(_)]), "{said:?}");
}

#[test]
fn what_a_stranger_says_of_seqs_does_no_harm() {
    let mut chance = Chance(7);
    let mut session = greeted();
    for _ in 0..5_000 {
        let number = [0, 1, 9, u64::MAX - 1, u64::MAX];
        let mut head = || Head {
            next_seq: Seq(chance.pick(&number)),
            hash: ChangeHash([chance.below(3) as u8; 32]),
            segment: SegmentId([chance.below(200) as u8; 16]),
        };
        let heads = vec![(node(CAROL), vec![head(), head()])];
        let frame = if chance.below(2) == 0 { Frame::Ack(heads) } else { Frame::Frontier(heads) };
        assert_eq!(session.handle_frame(frame), Ok(Received::Noted));
        said_until_compare(&mut session);
    }
    assert!(session.known.values().all(|known| known.heads.len() <= BRANCHES));
}

/// What stays of an author's first segment.
fn pruned(end: u64) -> Vec<Pruned> {
    let (cluster, author) = (CLUSTER, node(CAROL));
    let opening =
        Opening { cluster, author, first_seq: Seq(0), parents: Vec::new(), nonce: [1; 16] };
    let (hash, signature) = (ChangeHash([2; 32]), Signature([3; 64]));
    let (next_seq, last_time) = (Seq(end), Time::default());
    vec![Pruned { opening, changes: 1, next_seq, bytes: 1, last_time, hash, signature }]
}

/// A frame may be lost with what carried it: what was told is told again, ever more seldom.
#[test]
fn of_what_was_removed_the_other_is_told_until_it_holds_it() {
    let mut session = greeted();
    let mut told = |chain: Vec<Pruned>| {
        session.handle_pruned(vec![chain]);
        let said = std::iter::from_fn(|| match session.poll() {
            Some(Step::Send(frame)) => Some(frame),
            _ => None,
        });
        said.filter(|frame| matches!(frame, Frame::Pruned(_))).count()
    };
    let at: Vec<u64> = (1..=20).filter(|_| told(pruned(9)) > 0).collect();
    assert_eq!(at, [1, 2, 4, 8, 16]);
    assert_eq!((told(pruned(12)), told(pruned(12)), told(pruned(12))), (1, 1, 0), "it is more now");
}

fn said_until_compare(session: &mut Session) {
    while let Some(step) = session.poll() {
        match step {
            Step::Send(_) => {}
            Step::ReadFrontier => session.handle_own_frontier(&Frontier::default()),
            Step::Compare(_) => return,
            other => panic!("{other:?}"),
        }
    }
}

// Any world.

/// What may become of a disk when its host starts again.
#[derive(Clone, Copy, PartialEq)]
enum Disks {
    Kept,
    Restored,
}

/// Appends, restarts, wires that come and go or swallow what is sent; and then all is connected.
fn healed(hosts: usize, disks: Disks, seed: u64) -> World {
    let mut world = World::new(hosts, seed);
    for _ in 0..60 {
        let (one, two) = (world.chance.below(hosts), world.chance.below(hosts));
        match world.chance.below(12) {
            0..5 => {
                let count = 1 + world.chance.below(4);
                world.append(one, count);
            }
            5 => world.interval(),
            6 => world.tell_links(),
            7 if one != two => world.connect(one, two),
            8 => world.disconnect(one, two),
            9 if one != two => drop(world.dead.insert((one, two))),
            10 => {
                let held = world.hosts[one].disk.0.len();
                let restored = disks == Disks::Restored && world.chance.below(2) == 0;
                let kept = if restored { world.chance.below(held) } else { held };
                world.restart(one, kept);
            }
            _ => {}
        }
        world.go_on(30);
    }
    // What was cut off is connected anew, and every node with one before it.
    for (one, two) in std::mem::take(&mut world.dead) {
        world.disconnect(one, two);
    }
    for host in 1..hosts {
        let before = world.chance.below(host);
        world.connect(before, host);
    }
    world.settle();
    world.tell_links();
    world
}

#[test]
fn after_healing_all_nodes_are_equal_within_three_intervals() {
    for seed in 1..=300 {
        let mut world = healed(2 + seed as usize % 3, Disks::Kept, seed);
        (0..3).for_each(|_| world.interval());
        assert!(world.equal(), "with the seed {seed}");
        world.runs();
        world.interval();
        assert_eq!(world.runs(), [], "with the seed {seed}");
    }
}

/// On a branched author a node may wait for the other to send first, at each hop.
#[test]
fn after_healing_all_branches_are_everywhere_within_two_intervals_for_each_hop() {
    for seed in 1..=300 {
        let hosts = 2 + seed as usize % 3;
        let mut world = healed(hosts, Disks::Restored, seed);
        (0..2 * (hosts - 1)).for_each(|_| world.interval());
        assert!(world.equal(), "with the seed {seed}");
        world.runs();
        world.interval();
        assert_eq!(world.runs(), [], "with the seed {seed}");
    }
}
