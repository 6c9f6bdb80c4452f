//! Trouble: what goes wrong on purpose, and when.

use std::collections::{BTreeMap, BTreeSet};

use towline::core::merge::Direction;
use towline::store::damage::Lost;
use towline::store::{Reader, StoreError, StoreId};
use towline::words::{ChangeHash, Offset};

use super::agenda::{Event, HostId};
use super::clock::{Jump, MILLI, SECOND};
use super::coverage::Mark;
use super::network::{LinkId, Side, Temper, rings};
use super::node::{Ending, KillPoint, Node};
use super::promise::Outcome;
use super::scenario::Trouble;
use super::stage::Stage;
use super::story::Happening;
use super::world::{Resident, World};

impl World {
    /// Something of what this run may meet goes wrong, and the next thing later.
    ///
    /// # Errors
    /// A promise is broken by what follows.
    pub fn trouble(&mut self) -> Outcome {
        if !self.stage.is_chaos() {
            return Ok(());
        }
        let wait = self.stage.dice.between(MILLI, self.stage.scenario.trouble_every);
        self.stage.put(wait, Event::Trouble);
        let Some(trouble) = self.stage.dice.pick(&self.stage.scenario.troubles) else {
            return Ok(());
        };
        match trouble {
            Trouble::Cut | Trouble::Flap | Trouble::Hostile => {
                let links = self.stage.network.links();
                if let Some(link) = self.stage.dice.pick(&links) {
                    self.trouble_link(trouble, link);
                }
                Ok(())
            }
            _ => {
                let hosts: Vec<HostId> = self.nodes().map(|node| node.host).collect();
                match self.stage.dice.pick(&hosts) {
                    Some(host) => self.trouble_host(trouble, host),
                    None => Ok(()),
                }
            }
        }
    }

    fn trouble_link(&mut self, trouble: Trouble, link: LinkId) {
        let [one, other] = self.stage.network.ends(link);
        let what = match trouble {
            Trouble::Flap => {
                self.stage.count(Mark::Flaps);
                for turn in 0..self.stage.dice.between(2, 6) {
                    let at = turn * 300 * MILLI + self.stage.dice.between(0, 150) * MILLI;
                    self.stage.put(at, Event::Cut(link));
                    self.stage.put(at + 150 * MILLI, Event::Mend(link));
                }
                "flaps"
            }
            Trouble::Hostile => {
                self.stage.network.temper(link, Temper::Hostile);
                "turns hostile"
            }
            _ => {
                let sides = [&Side::BOTH[..1], &Side::BOTH[1..], &Side::BOTH];
                let sides = sides[self.stage.dice.below(3)];
                self.stage.count(if sides.len() == 2 {
                    Mark::CutsBothWays
                } else {
                    Mark::CutsOneWay
                });
                self.cut(link, sides);
                self.mend_later([link]);
                if sides.len() == 2 { "is cut" } else { "is cut one way" }
            }
        };
        self.stage.tell(Happening::Cut { one, other, what });
    }

    /// Carries nothing more of what these ends send. Either end gives a connection up in time.
    pub fn cut(&mut self, link: LinkId, sides: &[Side]) {
        sides.iter().for_each(|side| self.stage.network.cut(link, *side));
        if let Some(connection) = self.stage.network.standing(link) {
            for side in Side::BOTH {
                let wait = self.stage.dice.between(300, 3_000) * MILLI;
                self.stage.put(wait, Event::HangUp(connection, side));
            }
        }
    }

    fn mend_later(&mut self, links: impl IntoIterator<Item = LinkId>) {
        let wait = self.stage.dice.between(200, 4_000) * MILLI;
        links.into_iter().for_each(|link| self.stage.put(wait, Event::Mend(link)));
    }

    fn trouble_host(&mut self, trouble: Trouble, host: HostId) -> Outcome {
        match trouble {
            Trouble::Rollback | Trouble::LoseDisk => return self.destroy(trouble, host),
            Trouble::Twin => return self.copy_key(host),
            Trouble::Damage => return self.damage(host),
            Trouble::CutOff => {
                let links = self.stage.network.links_of(host);
                links.iter().for_each(|link| self.cut(*link, &Side::BOTH));
                self.mend_later(links);
                self.stage.count(Mark::CutOff);
                self.stage.tell(Happening::Trouble { host, what: "is cut off", much: 0 });
            }
            _ => {
                if let Resident::Node(node) = &mut self.hosts[host.0] {
                    return trouble_node(trouble, node, &mut self.stage);
                }
            }
        }
        Ok(())
    }

    /// Replaces a disk by an older copy of it, or by an empty one.
    fn destroy(&mut self, trouble: Trouble, host: HostId) -> Outcome {
        let Resident::Node(node) = &mut self.hosts[host.0] else {
            return Ok(());
        };
        let stage = &mut self.stage;
        node.end(Ending::Killed, stage)?;
        let before = node.disk.ledger.clone();
        let own = before.leaves(&node.id());
        let what = if trouble == Trouble::Rollback {
            stage.count(Mark::Rollbacks);
            let kept = stage.dice.below(node.disk.batches() + 1);
            node.disk.roll_back(kept)?;
            "its disk is replaced by an older copy"
        } else {
            stage.count(Mark::DisksLost);
            node.disk.lose(StoreId(stage.dice.bytes()));
            "its disk is lost"
        };
        node.readings.forget();
        if node.disk.ledger.leaves(&node.id()) != own {
            stage.oracle.harm(node.id());
        }
        let lost: BTreeSet<ChangeHash> = before.beyond(&node.disk.ledger).copied().collect();
        stage.tell(Happening::Trouble { host, what, much: lost.len() as i64 });
        stage.oracle.uproot(host, &lost);
        let kept = |hash: &&ChangeHash| self.nodes().any(|node| node.disk.ledger.holds(hash));
        let nowhere = lost.iter().filter(|hash| !kept(hash)).copied().collect();
        let forgiven = self.stage.oracle.forgive(&nowhere);
        self.stage.coverage.add(Mark::Forgiven, forgiven);
        Ok(())
    }

    /// Flips a bit in a change, or in a block, that another node holds, too.
    fn damage(&mut self, host: HostId) -> Outcome {
        let Resident::Node(node) = &mut self.hosts[host.0] else {
            return Ok(());
        };
        let Some(life) = &mut node.life else {
            return Ok(());
        };
        let at = self.stage.dice.below(node.disk.ledger.entries() as usize) as u64;
        let read = match life.store.arrivals(Offset(at), Direction::Forward, 1) {
            Err(StoreError::Lost(_)) => return Ok(()), // it is damaged already
            read => read?,
        };
        let Some(kept) = read.first().and_then(|arrival| life.store.kept_with(arrival.offset))
        else {
            return Ok(());
        };
        if !self.can_be_mended(host, &kept) {
            return Ok(());
        }
        let (what, much) = ("a bit flips at offset", kept.0.offset.0 as i64);
        self.stage.coverage.add(Mark::BlocksDamaged, u64::from(kept.1.len() > 1));
        self.stage.tell(Happening::Trouble { host, what, much });
        if let Resident::Node(node) = &mut self.hosts[host.0]
            && let Some(life) = &node.life
        {
            node.disk.damage(kept, &life.store)?;
        }
        Ok(())
    }

    /// Whether another node can send what is to be damaged. A block is mended as a whole, by a node
    /// that has all of it; so where several changes are lost at once, nothing else of their segment is.
    fn can_be_mended(&self, host: HostId, (lost, changes): &(Lost, Vec<ChangeHash>)) -> bool {
        let segment = lost.strand.segment;
        let is_spoilt = |node: &Node| node.disk.is_damaged_in(segment);
        let mut others = self.nodes().filter(|node| node.host != host);
        match changes.as_slice() {
            [change] if !self.nodes().any(|node| node.disk.has_damaged_block(segment)) => {
                others.any(|node| node.disk.holds_whole(change))
            }
            _ => {
                !self.nodes().any(is_spoilt)
                    && others.any(|node| changes.iter().all(|hash| node.disk.holds_whole(hash)))
            }
        }
    }

    /// Nobody can mend a change of which every copy that reaches the node is damaged or gone: that is
    /// taken back.
    ///
    /// # Errors
    /// What follows breaks a promise.
    pub fn repair_the_irreparable(&mut self) -> Outcome {
        let links: Vec<[HostId; 2]> =
            self.honest_links().into_iter().map(|link| self.stage.network.ends(link)).collect();
        let mut lost: BTreeMap<HostId, BTreeSet<ChangeHash>> = BTreeMap::new();
        for node in self.nodes() {
            let irreparable = node.disk.damaged().filter(|hash| !self.reaches(node, hash, &links));
            lost.insert(node.host, irreparable.copied().collect());
        }
        for resident in &mut self.hosts {
            if let Resident::Node(node) = resident
                && let Some(lost) = lost.get(&node.host).filter(|lost| !lost.is_empty())
            {
                node.end(Ending::Killed, &mut self.stage)?;
                node.disk.repair(lost);
            }
        }
        Ok(())
    }

    /// Whether a change comes to a node from one that holds it whole. It doesn't come through one that has
    /// removed its segment, and takes nothing of that any more.
    fn reaches(&self, node: &Node, hash: &ChangeHash, links: &[[HostId; 2]]) -> bool {
        let segment = node.disk.ledger.segment_of(hash);
        let takes = |other: &&Node| !segment.is_some_and(|it| other.disk.ledger.is_closed(it));
        let takers: BTreeMap<HostId, &Node> =
            self.nodes().filter(takes).map(|other| (other.host, other)).collect();
        let rings = rings(node.host, links, |host| takers.contains_key(&host));
        let mut reached = rings.iter().flatten().filter_map(|host| takers.get(host));
        reached.any(|taker| taker.disk.holds_whole(hash))
    }

    /// Copies a node's key and disk to another machine, which takes over some of its links. The
    /// other nodes stay connected without either of the two.
    fn copy_key(&mut self, host: HostId) -> Outcome {
        let others: Vec<HostId> = self.nodes().map(|n| n.host).filter(|h| *h != host).collect();
        let links: Vec<LinkId> = self.stage.network.links_of(host);
        let to_node = |link: &LinkId| {
            self.stage.network.ends(*link).iter().all(|end| *end == host || others.contains(end))
        };
        let links: Vec<LinkId> = links.into_iter().filter(to_node).collect();
        let has_twin = self.nodes().count() > self.stage.scenario.nodes;
        if links.len() < 2 || has_twin || !self.is_connected(&others) {
            return Ok(());
        }
        let twin = HostId(self.hosts.len());
        let moved = &links[..1 + self.stage.dice.below(links.len() - 1)];
        let Resident::Node(node) = &mut self.hosts[host.0] else {
            return Ok(());
        };
        let stage = &mut self.stage;
        for link in moved {
            if let Some(connection) = stage.network.standing(*link) {
                node.leave(connection, "its other machine takes over", stage)?;
            }
            stage.network.move_end(*link, host, twin);
        }
        let (identity, disk, wall) = (node.identity.clone(), node.disk.clone(), node.wall);
        let copy = Node::new(twin, identity, disk, wall);
        stage.ids.push(copy.id());
        stage.oracle.harm(copy.id());
        stage.oracle.copied(host, twin);
        stage.count(Mark::Twins);
        stage.tell(Happening::Trouble { host, what: "is copied to host", much: twin.0 as i64 });
        stage.put(20 * MILLI, Event::Start(twin));
        self.hosts.push(Resident::Node(Box::new(copy)));
        self.bring_clients(twin, 20 * MILLI);
        Ok(())
    }

    /// Whether these hosts reach each other over links among themselves.
    fn is_connected(&self, hosts: &[HostId]) -> bool {
        let links = self.stage.network.links().into_iter();
        let links: Vec<[HostId; 2]> = links.map(|link| self.stage.network.ends(link)).collect();
        let Some(first) = hosts.first() else { return true };
        let reached = rings(*first, &links, |host| hosts.contains(&host));
        reached.iter().flatten().count() == hosts.len()
    }
}

fn trouble_node(trouble: Trouble, node: &mut Node, stage: &mut Stage) -> Outcome {
    let host = node.host;
    let tell = |stage: &mut Stage, what: &'static str, much: u64| {
        stage.tell(Happening::Trouble { host, what, much: much as i64 });
    };
    match trouble {
        Trouble::Kill => {
            stage.count(Mark::KilledAnywhere);
            return node.end(Ending::Killed, stage);
        }
        Trouble::PowerLoss => {
            stage.count(Mark::PowerLosses);
            node.disk.counter = None;
            return node.end(Ending::PowerCut, stage);
        }
        Trouble::Shutdown => {
            let mut grace = stage.dice.between(0, 2_000) * MILLI;
            if stage.dice.percent(30) {
                // A burst comes at the last moment, and there is no time to write it.
                node.emit(5, stage);
                grace = 0;
            }
            tell(stage, "is told to end, ms", grace / MILLI);
            return node.shut_down(grace, stage);
        }
        Trouble::KillAt => node.armed = stage.dice.pick(&KillPoint::ALL),
        Trouble::CommitError => node.commit_fails = true,
        Trouble::SlowDisk => {
            let slow = stage.dice.percent(50);
            node.disk.latency = if slow { SECOND } else { stage.scenario.commit };
            tell(stage, "a commit takes at most, ms", node.disk.latency / MILLI);
        }
        Trouble::Suspend => {
            let wait = stage.dice.between(100, 4_000) * MILLI;
            node.suspended = node.suspended.max(stage.now.after(wait)); // frames wait for the end that was known when they came
            stage.count(Mark::Suspended);
            tell(stage, "stands still, ms", wait / MILLI);
        }
        Trouble::Nap => {
            let wait = stage.dice.between(100, 3_000) * MILLI;
            node.nap = stage.now.after(wait);
            tell(stage, "its recorder sleeps, ms", wait / MILLI);
        }
        Trouble::ClockJump => {
            let millis = stage.dice.between(0, 240_000) as i64 - 120_000;
            let jumps = [Jump::Millis(millis), Jump::Decade, Jump::DecadeBack, Jump::Right];
            node.wall.jump(jumps[stage.dice.below(4)]);
            stage.count(Mark::ClockJumps);
            tell(stage, "its clock jumps, and shows", node.wall.read(stage.now));
        }
        _ => {}
    }
    Ok(())
}
