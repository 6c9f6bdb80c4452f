//! The phases of a run: things go wrong, everything heals, the nodes become equal, say a last word
//! each, and are looked at.

use super::agenda::{Event, HostId};
use super::clock::{MILLI, Moment, SECOND};
use super::coverage::Mark;
use super::exchange::INTERVAL;
use super::network::{ConnectionId, LinkId, Temper, rings};
use super::node::Node;
use super::promise::{Outcome, Promise};
use super::pruning::PATIENCE;
use super::stage::Phase;
use super::story::Happening;
use super::world::{Resident, World};

/// How many intervals equality may take between nodes that are all linked with each other.
const INTERVALS: u64 = 3;
/// How many it may take for each hop in other clusters: one digest shows that the other differs, and
/// after the next one it is sent what it still lacks, whoever should have sent it.
const INTERVALS_A_HOP: u64 = 2;
/// How many more it may take where a liar has told every node another history, the last one just before:
/// of an author of whom each side has something that the other doesn't know, one branch goes at a time.
const INTERVALS_OF_LIES: u64 = 3;
/// How many more it may take for each hop where nodes let segments go: so long a node that lacks them
/// waits for somebody who has them, and then asks for what follows.
const INTERVALS_OF_PATIENCE: u64 = PATIENCE * MILLI / INTERVAL + 2;
/// How long an entry may take over a link while nothing is wrong.
const HOP: u64 = 100 * MILLI;
/// How long it may take until all links stand and all nodes run.
const MENDING: u64 = 20 * SECOND;
/// How long it may take until all nodes append again: a peer may lie about what it holds of them.
const REJOINING: u64 = 65 * SECOND;
/// How often the nodes are compared.
const LOOK: u64 = 20 * MILLI;

impl World {
    /// Runs a seed from its beginning to its end.
    ///
    /// # Errors
    /// A promise was broken.
    pub fn run(&mut self) -> Outcome {
        self.phase("things go wrong");
        self.run_until(Moment(self.stage.scenario.chaos))?;
        self.phase("everything heals");
        self.heal()?;
        self.wait("all links stand", MENDING, Self::is_mended)?;
        self.converge()?;
        self.wait("all nodes append and record", REJOINING, Self::is_idle)?;
        self.phase("last words");
        self.say_last_words();
        self.wait("the last words are on disk", INTERVAL, Self::is_idle)?;
        self.hear_promptly()?;
        self.converge()?;
        self.rest()?;
        self.phase("the verdict");
        self.judge()
    }

    fn phase(&mut self, what: &'static str) {
        self.stage.tell(Happening::Phase { what });
    }

    fn run_until(&mut self, end: Moment) -> Outcome {
        while self.stage.now < end {
            self.step()?;
        }
        Ok(())
    }

    /// Waits for a condition.
    fn wait(&mut self, what: &str, most: u64, reached: fn(&Self) -> bool) -> Outcome {
        let began = self.stage.now;
        while !reached(self) {
            let waited = self.stage.now.since(began);
            Promise::Converges
                .holds(waited < most, || format!("not so after {} s: {what}", most / SECOND))?;
            self.run_until(self.stage.now.after(LOOK))?;
        }
        Ok(())
    }

    /// Nothing goes wrong any more; what is wrong is put right, but for the clocks.
    fn heal(&mut self) -> Outcome {
        let stage = &mut self.stage;
        stage.phase = Phase::Calm;
        stage.network.delay = 5 * MILLI;
        for link in stage.network.links() {
            stage.network.temper(link, Temper::Honest);
            stage.network.mend(link, stage.now, &mut stage.agenda);
            stage.network.dial_at(link, stage.now.after(MILLI), &mut stage.agenda);
        }
        for resident in &mut self.hosts {
            if let Resident::Node(node) = resident {
                node.disk.latency = MILLI;
                (node.armed, node.commit_fails) = (None, false);
                node.nap = self.stage.now;
                self.stage.put(0, Event::Start(node.host));
            }
        }
        self.repair_the_irreparable()?;
        self.send_liars_away()
    }

    /// A liar that leaves is never heard of again.
    fn send_liars_away(&mut self) -> Outcome {
        let leaves =
            |host: &HostId| matches!(&self.hosts[host.0], Resident::Liar(liar) if !liar.stays());
        let mut links = self.stage.network.links();
        links.retain(|link| self.stage.network.ends(*link).iter().any(leaves));
        for link in links {
            self.stage.network.abandon(link);
            if let Some(connection) = self.stage.network.standing(link) {
                let [victim, _] = self.stage.network.ends(link); // the liar came last
                if let Resident::Node(node) = &mut self.hosts[victim.0] {
                    node.leave(connection, "the liar has left", &mut self.stage)?;
                }
            }
        }
        Ok(())
    }

    /// Whether all nodes run, and every link between honest nodes carries a session.
    fn is_mended(&self) -> bool {
        let awake = |node: &Node| node.life.is_some() && node.suspended <= self.stage.now;
        let exchanges =
            self.nodes().filter_map(|n| n.life.as_ref()).flat_map(|l| l.exchanges.values());
        let greeted: Vec<ConnectionId> =
            exchanges.filter(|e| e.is_greeted()).map(|e| e.connection).collect();
        let stands = |link| {
            let standing = self.stage.network.standing(link);
            standing.is_some_and(|at| greeted.iter().filter(|other| **other == at).count() == 2)
        };
        self.nodes().all(awake) && self.honest_links().into_iter().all(stands)
    }

    /// Whether every node appends, has answered all requests, and has recorded all events.
    fn is_idle(&self) -> bool {
        let idle = |node: &Node| {
            node.life.as_ref().is_some_and(|life| {
                life.rejoin.joined
                    && life.unanswered == 0
                    && life.recorder.is_idle()
                    && life.emitter.is_empty()
                    && life.queue.is_empty()
                    && life.flight.is_none()
            })
        };
        self.nodes().all(idle)
    }

    /// Whether all honest nodes hold the same, and can read it.
    fn is_equal(&self) -> bool {
        if self.nodes().any(|node| node.disk.damaged().next().is_some()) {
            return false;
        }
        let mut frontiers = self.nodes().map(|node| node.disk.ledger.frontier());
        let first = frontiers.next();
        frontiers.all(|frontier| Some(frontier) == first)
    }

    /// Waits until all honest nodes hold the same, and counts the intervals.
    fn converge(&mut self) -> Outcome {
        self.phase("the nodes become equal");
        let began = self.stage.now;
        let lies = if self.stage.oracle.has_liars() { INTERVALS_OF_LIES } else { 0 };
        let pruned = match self.stage.scenario.prune_every {
            Some(_) => INTERVALS_OF_PATIENCE * self.hops(),
            None => 0,
        };
        let intervals = INTERVALS.max(INTERVALS_A_HOP * self.hops() + 1) + lies + pruned;
        self.wait("all nodes hold the same", intervals * INTERVAL, Self::is_equal)?;
        let took = self.stage.now.since(began).div_ceil(INTERVAL);
        self.stage.coverage.equal_after(took as usize);
        Ok(())
    }

    /// What an author writes who has one history travels at once, and waits for no digest.
    fn hear_promptly(&mut self) -> Outcome {
        // Where a connection that still stands lost a frontier, which none does that is honest, a digest
        // has to repair that first.
        let has_lost_frames = self.stage.coverage.count(Mark::FramesLost) > 0;
        if self.stage.oracle.is_anybody_harmed() || has_lost_frames {
            return Ok(());
        }
        let most = self.hops() * HOP;
        self.wait("the last words are everywhere", most, Self::is_equal)
    }

    /// How many links lie between the two honest nodes that are furthest from each other.
    fn hops(&self) -> u64 {
        let links: Vec<[HostId; 2]> =
            self.honest_links().into_iter().map(|link| self.stage.network.ends(link)).collect();
        let far = |node: &Node| rings(node.host, &links, |_| true).len() as u64 - 1;
        self.nodes().map(far).max().unwrap_or_default()
    }

    /// The links between honest nodes.
    pub fn honest_links(&self) -> Vec<LinkId> {
        let honest = |host: &HostId| matches!(self.hosts[host.0], Resident::Node(_));
        let mut links = self.stage.network.links();
        links.retain(|link| self.stage.network.ends(*link).iter().all(honest));
        links
    }

    /// Nodes that are equal have nothing more to say than digests.
    fn rest(&mut self) -> Outcome {
        self.phase("rest");
        self.run_until(self.stage.now.after(2 * INTERVAL))?;
        let before = self.stage.busy_frames;
        self.run_until(self.stage.now.after(INTERVAL))?;
        let said = self.stage.busy_frames - before;
        Promise::Bounded.holds(said == 0, || {
            format!("equal nodes sent each other {said} frames in an interval")
        })
    }

    /// Every node appends once more, and emits if there was emitting.
    fn say_last_words(&mut self) {
        let emits = self.stage.scenario.emit_every.is_some();
        for resident in &mut self.hosts {
            if let Resident::Node(node) = resident {
                node.append(1, 16, &mut self.stage);
                if emits {
                    node.emit(3, &mut self.stage);
                }
            }
        }
    }
}
