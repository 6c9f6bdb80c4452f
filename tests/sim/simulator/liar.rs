//! The liar: a member with a valid key that keeps to no rule.
//!
//! It speaks the protocol well enough to be heard, and then makes branches, equivocates, claims what
//! it doesn't have, replays and alters what it hears, floods, and falls silent.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use towline::core::change::{Link, SignedBlock, SignedRun};
use towline::core::frame::{Frame, Heads, PROTOCOL, WANTED, Wanted};
use towline::core::frontier::Head;
use towline::words::limits::PAYLOAD_BYTES;
use towline::words::{ChangeHash, NodeId, SegmentId, Seq, Signature, Time};

use super::agenda::{Event, HostId};
use super::clock::{MILLI, WallClock};
use super::coverage::Mark;
use super::forgery::{Course, Forger, Mind, after, run_of};
use super::network::{ConnectionId, Side};
use super::scenario::LiarsEnd;
use super::stage::Stage;
use super::story::Happening;
use super::trick::Trick;

/// How many frames of others it remembers.
const HEARD: usize = 32;
/// How many histories it tells at most.
const MINDS: usize = 12;

struct Line {
    side: Side,
    silent: bool,
    outbox: VecDeque<Bytes>,
}

/// A member that lies.
pub struct Liar {
    host: HostId,
    forger: Forger,
    wall: WallClock,
    lines: BTreeMap<ConnectionId, Line>,
    /// The histories that it tells.
    minds: Vec<Mind>,
    /// Runs that it heard, as bytes.
    heard: VecDeque<Bytes>,
    /// The last frontier that it heard.
    frontier: Heads,
    end: LiarsEnd,
    flooded: bool,
}

impl Liar {
    /// A liar on its host.
    pub fn new(host: HostId, forger: Forger, end: LiarsEnd) -> Self {
        Self {
            host,
            forger,
            wall: WallClock::default(),
            lines: BTreeMap::new(),
            minds: vec![Mind::default()],
            heard: VecDeque::new(),
            frontier: Vec::new(),
            end,
            flooded: false,
        }
    }

    /// Its name among nodes.
    pub fn id(&self) -> NodeId {
        self.forger.identity.node_id()
    }

    /// A connection stands: it says hello, as everybody does.
    pub fn connect(&mut self, (at, side): (ConnectionId, Side), stage: &mut Stage) {
        let others = self
            .lines
            .iter()
            .filter(|(other, _)| stage.network.link_of(**other) == stage.network.link_of(at));
        let old: Vec<ConnectionId> = others.map(|(other, _)| *other).collect();
        old.into_iter().for_each(|other| self.hang_up(other, stage));
        self.lines.insert(at, Line { side, silent: false, outbox: VecDeque::new() });
        self.say(at, &self.hello(stage.dice.between(0, u64::MAX)), stage);
    }

    fn hello(&self, incarnation: u64) -> Frame {
        let (cluster, name) = (self.forger.cluster, self.host.to_string());
        Frame::Hello { protocol: PROTOCOL, cluster, incarnation, name }
    }

    /// A connection has gone.
    pub fn hang_up(&mut self, at: ConnectionId, stage: &mut Stage) {
        if let Some(Line { side, .. }) = self.lines.remove(&at)
            && stage.network.close(at, side)
        {
            stage.put(stage.scenario.delay, Event::HangUp(at, side.other()));
        }
        let link = stage.network.link_of(at);
        let soon = stage.now.after(stage.dice.between(50, 300) * MILLI);
        stage.network.dial_at(link, soon, &mut stage.agenda);
    }

    /// A frame has arrived: it may be of use.
    pub fn receive(&mut self, bytes: &Bytes) {
        match Frame::decode(bytes) {
            Ok(Frame::Run(_) | Frame::Block(_)) => {
                if self.heard.len() == HEARD {
                    self.heard.pop_front();
                }
                self.heard.push_back(bytes.clone());
            }
            Ok(Frame::Frontier(heads)) => self.frontier = heads,
            _ => {}
        }
    }

    /// Sends what waits while there is room.
    pub fn flush(&mut self, at: ConnectionId, stage: &mut Stage) {
        let Some(line) = self.lines.get_mut(&at) else { return };
        while stage.network.has_room(at, line.side)
            && let Some(frame) = line.outbox.pop_front()
        {
            stage.send((at, line.side), "a liar's frame", frame);
        }
    }

    fn say(&mut self, at: ConnectionId, frame: &Frame, stage: &mut Stage) {
        self.say_bytes(at, Bytes::from(frame.encode()), stage);
    }

    fn say_bytes(&mut self, at: ConnectionId, bytes: Bytes, stage: &mut Stage) {
        if let Some(line) = self.lines.get_mut(&at).filter(|line| !line.silent) {
            line.outbox.push_back(bytes);
        }
        self.flush(at, stage);
    }

    /// Sends a run, packed now and then.
    fn say_run(&mut self, at: ConnectionId, run: SignedRun, stage: &mut Stage) {
        let packed = if stage.dice.percent(25) { self.forger.pack(&run) } else { None };
        let frame = match packed {
            Some(block) => Frame::Block(Box::new(block)),
            None => Frame::Run(Box::new(run)),
        };
        self.say(at, &frame, stage);
    }

    /// Whether it stays when the network heals.
    pub fn stays(&self) -> bool {
        self.end != LiarsEnd::Leaves
    }

    /// Does one thing, and the next one later.
    pub fn lie(&mut self, stage: &mut Stage) {
        let calm = !stage.is_chaos();
        if calm && self.end != LiarsEnd::KeepsClaiming {
            return;
        }
        let delay = stage.dice.between(20, if calm { 2_000 } else { 250 }) * MILLI;
        stage.put(delay, Event::Lie(self.host));
        let lines: Vec<ConnectionId> = self.lines.keys().copied().collect();
        let Some(at) = stage.dice.pick(&lines) else { return };
        let dice = &mut stage.dice;
        let trick = if calm { Trick::draw_claim(dice) } else { Trick::draw(dice) };
        let side = self.lines[&at].side;
        let to = stage.network.host(at, side.other());
        stage.tell(Happening::Lied { host: self.host, to, trick: trick.words() });
        stage.count(Mark::Lies);
        self.play(trick, at, stage);
    }

    fn play(&mut self, trick: Trick, at: ConnectionId, stage: &mut Stage) {
        match trick {
            Trick::TellsHistory => self.tell_history(at, stage),
            Trick::MakesBranch => self.part(Course::Anew, stage),
            Trick::Equivocates => self.part(Course::On, stage),
            Trick::Replays => self.replay(at, stage),
            Trick::Alters | Trick::Displaces | Trick::Usurps => self.pervert(trick, at, stage),
            Trick::SignsBadly | Trick::SkipsSeqs | Trick::GoesBackInTime => {
                self.break_rule(trick, at, stage);
            }
            Trick::SendsOrphan => self.send_orphans(1, 10, at, stage),
            Trick::FloodsOrphans => self.send_orphans(20, 500, at, stage),
            Trick::SendsLargeOrphans => {
                if !std::mem::replace(&mut self.flooded, true) {
                    self.send_orphans(5, PAYLOAD_BYTES - 64, at, stage);
                }
            }
            Trick::SendsGarbage => {
                let garbage: [u8; 40] = stage.dice.bytes();
                self.say_bytes(at, Bytes::copy_from_slice(&garbage), stage);
            }
            Trick::SaysHelloAgain => self.say(at, &self.hello(7), stage),
            Trick::FallsSilent => self.lines.get_mut(&at).into_iter().for_each(|l| l.silent = true),
            _ => {
                let frame = self.claim(trick, stage);
                self.say(at, &frame, stage);
            }
        }
    }

    /// Goes on with one of its histories, and tells all of it, or the end of it.
    fn tell_history(&mut self, at: ConnectionId, stage: &mut Stage) {
        let which = stage.dice.below(self.minds.len());
        if stage.dice.percent(70) {
            let mind = &self.minds[which];
            let place = mind.next_place(&self.forger, &mut stage.dice);
            let time = mind.next_time(self.wall.read(stage.now));
            let count = 1 + stage.dice.below(3);
            let entries = self.forger.entries(count, 5, time, &mut stage.dice);
            if let Some(change) = self.forger.sign(&place, &entries) {
                stage.oracle.signed(&change);
                self.minds[which].add(change);
            }
        }
        let mut runs = self.minds[which].runs();
        if stage.dice.percent(30) {
            let last = runs.pop();
            runs = last.into_iter().collect();
        }
        if stage.dice.percent(20) {
            stage.dice.shuffle(&mut runs);
        }
        runs.into_iter().for_each(|run| self.say_run(at, run, stage));
    }

    /// Makes another history of one that it tells.
    fn part(&mut self, course: Course, stage: &mut Stage) {
        if self.minds.len() == MINDS {
            return;
        }
        let mind = &self.minds[stage.dice.below(self.minds.len())];
        if mind.changes.is_empty() {
            return;
        }
        let changes = 1 + stage.dice.below(mind.changes.len());
        let other = mind.part(changes, course);
        self.minds.push(other);
    }

    fn replay(&mut self, at: ConnectionId, stage: &mut Stage) {
        if let Some(heard) = self.heard.get(stage.dice.below(self.heard.len())).cloned() {
            self.say_bytes(at, heard, stage);
        }
    }

    /// Sends what it heard from others, changed.
    fn pervert(&mut self, trick: Trick, at: ConnectionId, stage: &mut Stage) {
        let heard = self.heard.get(stage.dice.below(self.heard.len())).cloned();
        let mut run = match heard.map(|bytes| Frame::decode(&bytes)) {
            Some(Ok(Frame::Run(run))) => *run,
            Some(Ok(Frame::Block(block))) => {
                if trick == Trick::Alters {
                    return self.alter_block(*block, at, stage);
                }
                let Some(run) = self.forger.unpack(&block) else { return };
                run
            }
            _ => return,
        };
        match trick {
            Trick::Alters => {
                let time = Time::from_millis(self.wall.read(stage.now));
                let count = run.changes[0].len();
                run.changes[0] = self.forger.entries(count, 3, time, &mut stage.dice);
            }
            Trick::Displaces => {
                if matches!(run.place.link, Link::Opening(_)) {
                    return; // an opening says its place itself
                }
                let by = stage.dice.between(1, 9);
                run.place.segment_seq = run.place.segment_seq.plus(by);
                run.place.first_seq = run.place.first_seq.plus(by);
            }
            _ => {
                let Some(usurped) = self.forger.usurp(&run) else { return };
                stage.oracle.signed(&usurped);
                let Some(as_own) = run_of(&[usurped]) else { return };
                run = as_own;
            }
        }
        self.say_run(at, run, stage);
    }

    /// Flips a bit of a block's record.
    fn alter_block(&mut self, mut block: SignedBlock, at: ConnectionId, stage: &mut Stage) {
        let mut record = block.record.to_vec();
        let bit = stage.dice.below(record.len() * 8);
        record[bit / 8] ^= 1 << (bit % 8);
        block.record = record.into();
        self.say(at, &Frame::Block(Box::new(block)), stage);
    }

    /// Signs what breaks one rule.
    fn break_rule(&mut self, trick: Trick, at: ConnectionId, stage: &mut Stage) {
        let which = stage.dice.below(self.minds.len());
        let Some(last) = self.minds[which].last().cloned() else { return };
        let mut place = after(&last);
        let mut time = self.minds[which].next_time(self.wall.read(stage.now));
        match trick {
            Trick::SkipsSeqs => match stage.dice.below(3) {
                0 => place.first_seq = place.first_seq.plus(1 + stage.dice.between(0, 5)),
                1 => place.index += 1,
                _ => place.segment_seq = place.segment_seq.plus(1),
            },
            Trick::GoesBackInTime => time = Time::from_millis(last.last_time.millis() / 2),
            _ => {}
        }
        let entries = self.forger.entries(1, 5, time, &mut stage.dice);
        let Some(change) = self.forger.sign(&place, &entries) else { return };
        let Some(mut run) = run_of(std::slice::from_ref(&change)) else { return };
        if trick == Trick::SignsBadly {
            run.signature = Signature(stage.dice.bytes());
        } else {
            stage.oracle.signed(&change);
        }
        // It comes before what it hangs on, now and then.
        let runs = [vec![run], self.minds[which].runs()];
        let [first, second] = runs;
        let in_order = stage.dice.percent(50);
        let (first, second) = if in_order { (second, first) } else { (first, second) };
        first.into_iter().chain(second).for_each(|run| self.say_run(at, run, stage));
    }

    fn send_orphans(&mut self, count: usize, size: usize, at: ConnectionId, stage: &mut Stage) {
        for _ in 0..count {
            let place = self.forger.orphan(&mut stage.dice);
            let time = Time::from_millis(self.wall.read(stage.now));
            let entries = self.forger.entries(1, size, time, &mut stage.dice);
            let Some(change) = self.forger.sign(&place, &entries) else { continue };
            stage.oracle.signed(&change);
            if let Some(run) = run_of(std::slice::from_ref(&change)) {
                self.say_run(at, run, stage);
            }
        }
    }

    /// A claim that nothing stands behind.
    fn claim(&mut self, trick: Trick, stage: &mut Stage) -> Frame {
        let dice = &mut stage.dice;
        match trick {
            Trick::ClaimsDigest => Frame::Digest(dice.bytes()),
            Trick::ClaimsLinks => Frame::Links(stage.ids.clone()),
            Trick::ClaimsLosses => {
                let heads = self.frontier.iter().take(WANTED / 2);
                let lost =
                    heads.flat_map(|(author, heads)| heads.iter().take(2).map(|h| (*author, h)));
                let wanted = |(author, head): (NodeId, &Head)| {
                    let (from, to) = (dice.between(0, head.next_seq.0), dice.between(0, u64::MAX));
                    Wanted { author, segment: head.segment, from: Seq(from), to: Seq(to) }
                };
                Frame::Want(lost.map(wanted).collect())
            }
            Trick::ClaimsAuthors => {
                let made_up = |_| (NodeId(dice.bytes()), vec![made_up_head(dice)]);
                Frame::Frontier((0..300).map(made_up).collect())
            }
            _ => {
                let mut heads = self.frontier.clone();
                for head in heads.iter_mut().flat_map(|(_, heads)| heads) {
                    match dice.below(4) {
                        0 => *head = made_up_head(dice),
                        1 => head.next_seq = head.next_seq.plus(dice.between(1, 1_000)),
                        2 => head.hash = ChangeHash(dice.bytes()),
                        _ => {}
                    }
                }
                match trick {
                    Trick::ClaimsHeads => Frame::Frontier(heads),
                    _ => Frame::Ack(heads),
                }
            }
        }
    }
}

fn made_up_head(dice: &mut super::dice::Dice) -> Head {
    let next_seq = Seq(dice.between(0, 1 << 20));
    Head { next_seq, hash: ChangeHash(dice.bytes()), segment: SegmentId(dice.bytes()) }
}
