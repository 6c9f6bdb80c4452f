//! A node's side of its connections: what it does when one stands, carries a frame, or goes; the
//! other half of what `src/node/exchange.rs` does.

use bytes::Bytes;
use towline::core::frontier::Head;
use towline::core::log::Applied;
use towline::core::session::Parties;
use towline::store::Store;
use towline::store::memory::MemoryStore;
use towline::words::NodeId;

use super::agenda::{Event, Timer};
use super::clock::{MILLI, SECOND};
use super::coverage::Mark;
use super::exchange::{Exchange, Heard, INTERVAL};
use super::group::Command;
use super::ledger::Ledger;
use super::network::{ConnectionId, Side};
use super::node::Node;
use super::promise::{Outcome, Promise};
use super::stage::Stage;
use super::story::Happening;

/// How long a peer may take to say hello.
const HANDSHAKE: u64 = 5 * SECOND;

impl Node {
    fn exchange(&mut self, at: ConnectionId) -> Option<&mut Exchange> {
        self.life.as_mut()?.exchanges.get_mut(&at)
    }

    /// A connection stands: it replaces any older one with the same host.
    ///
    /// # Errors
    /// What follows breaks a promise.
    pub fn connect(&mut self, end: (ConnectionId, Side), stage: &mut Stage) -> Outcome {
        let peer = stage.network.host(end.0, end.1.other());
        let Some(life) = &self.life else {
            return Ok(());
        };
        let parties = Parties {
            me: self.id(),
            cluster: self.cluster,
            incarnation: life.incarnation,
            name: self.host.to_string(),
            peer: stage.id(peer),
        };
        let old = life.exchanges.values().find(|exchange| exchange.peer == peer);
        if let Some(old) = old.map(|old| old.connection) {
            self.leave(old, "replaced by another connection", stage)?;
        }
        if let Some(life) = &mut self.life {
            life.exchanges.insert(end.0, Exchange::new(end, peer, parties));
        }
        stage.due(HANDSHAKE, self.this_life(), Timer::HelloLate(end.0));
        self.advance(end.0, stage)
    }

    /// Whether a frame of this connection can be handled now.
    pub fn can_receive(&self, at: ConnectionId) -> bool {
        let exchange = self.life.as_ref().and_then(|life| life.exchanges.get(&at));
        exchange.is_none_or(Exchange::has_room)
    }

    /// A frame has arrived.
    ///
    /// # Errors
    /// It breaks a promise.
    pub fn receive(&mut self, at: ConnectionId, bytes: &Bytes, stage: &mut Stage) -> Outcome {
        let name = self.this_life();
        let Some(exchange) = self.exchange(at) else {
            return Ok(());
        };
        match exchange.hear(bytes, stage) {
            Err(why) => return self.blame(at, &why, stage),
            Ok(Heard::Noted) => {}
            Ok(Heard::Wanted(list)) => {
                if let Some(life) = &mut self.life
                    && let Some(exchange) = life.exchanges.get_mut(&at)
                {
                    exchange.want(&list, &mut life.store)?;
                }
            }
            Ok(Heard::Greeted) => {
                stage.due(0, name, Timer::Interval(at));
                self.tell_links(stage)?;
            }
            Ok(Heard::Run) => {
                let takes = stage.dice.between(50, MILLI);
                stage.due(takes, name, Timer::Verified(at));
            }
        }
        self.advance(at, stage)
    }

    /// The oldest run of a connection has been verified.
    pub fn verified(&mut self, at: ConnectionId, stage: &mut Stage) {
        if let Some(changes) = self.exchange(at).and_then(Exchange::next_verified) {
            self.enqueue(Command::Apply(at, changes), stage);
        }
    }

    /// Learns what became of the changes of a run.
    ///
    /// # Errors
    /// An honest peer is accused.
    pub fn settle(&mut self, at: ConnectionId, applied: &Applied, stage: &mut Stage) -> Outcome {
        self.note_applied(applied, stage)?;
        let Some(exchange) = self.exchange(at) else {
            return Ok(());
        };
        exchange.settle();
        match applied.refused.iter().find(|(_, refusal)| refusal.blames_sender()) {
            Some((_, refusal)) => self.blame(at, &refusal.to_string(), stage),
            None => Ok(()),
        }
    }

    fn note_applied(&self, applied: &Applied, stage: &mut Stage) -> Outcome {
        let Applied { duplicates, pending, dropped, refused, discarded, .. } = applied;
        stage.coverage.add(Mark::Duplicates, *duplicates as u64);
        stage.coverage.add(Mark::Parked, *pending as u64);
        stage.coverage.add(Mark::Crowded, *dropped as u64);
        stage.coverage.add(Mark::Refused, refused.len() as u64);
        stage.coverage.add(Mark::Discarded, *discarded as u64);
        let (host, pending, dropped) = (self.host, *pending, *dropped);
        let refusals = refused.len() + discarded;
        if pending + dropped + refusals > 0 {
            stage.tell(Happening::NotAdmitted { host, pending, dropped, refused: refusals });
        }
        // A liar can send an honest change as if it stood elsewhere; without one, none is refused.
        let blameless = refusals == 0 || stage.oracle.has_liars();
        Promise::OnlySigned.holds(blameless, || format!("{host} refuses {refused:?}"))
    }

    /// Closes a connection because of what the other side did.
    fn blame(&mut self, at: ConnectionId, why: &str, stage: &mut Stage) -> Outcome {
        let host = self.host;
        let Some((peer, id)) = self.exchange(at).map(|e| (e.peer, e.peer_id())) else {
            return Ok(());
        };
        stage.count(Mark::Violations);
        Promise::OnlySigned.holds(!stage.oracle.is_honest(&id), || {
            format!("{host} accuses {peer}, which is honest: {why}")
        })?;
        self.leave(at, why, stage)
    }

    /// Ends one end of a connection, and tells the other if it can.
    ///
    /// # Errors
    /// What follows breaks a promise.
    pub fn leave(&mut self, at: ConnectionId, why: &str, stage: &mut Stage) -> Outcome {
        let removed = self.life.as_mut().and_then(|life| life.exchanges.remove(&at));
        let Some(Exchange { side, peer, .. }) = removed else {
            return Ok(());
        };
        stage.tell(Happening::Closed { host: self.host, peer, why: why.into() });
        if stage.network.close(at, side) {
            let told = stage.network.carries(at, side);
            let wait = if told { stage.scenario.delay } else { stage.dice.between(1, 3) * SECOND };
            stage.put(wait, Event::HangUp(at, side.other()));
        }
        let link = stage.network.link_of(at);
        let soon = stage.now.after(stage.dice.between(50, 300) * MILLI);
        stage.network.dial_at(link, soon, &mut stage.agenda);
        self.tell_links(stage)?;
        self.look_at_rejoin(stage)
    }

    /// The other end has gone, or the link has been silent for too long.
    ///
    /// # Errors
    /// What follows breaks a promise.
    pub fn hang_up(&mut self, at: ConnectionId, stage: &mut Stage) -> Outcome {
        self.leave(at, "the connection is gone", stage)
    }

    /// The peer has not said hello in time.
    ///
    /// # Errors
    /// What follows breaks a promise.
    pub fn expect_hello(&mut self, at: ConnectionId, stage: &mut Stage) -> Outcome {
        match self.exchange(at) {
            Some(exchange) if !exchange.is_greeted() => self.leave(at, "no hello in time", stage),
            _ => Ok(()),
        }
    }

    /// The interval of an exchange has passed.
    ///
    /// # Errors
    /// What follows breaks a promise.
    pub fn pass_interval(&mut self, at: ConnectionId, stage: &mut Stage) -> Outcome {
        let name = self.this_life();
        let Some(life) = &mut self.life else {
            return Ok(());
        };
        if self.disk.damaged().next().is_some() {
            life.scrub()?; // elsewhere it would find nothing
        }
        let lost = life.store.damages().all();
        if let Some(exchange) = life.exchanges.get_mut(&at) {
            exchange.pass_interval(&lost);
            stage.due(INTERVAL, name, Timer::Interval(at));
        }
        self.take_over(at, stage)?;
        self.advance(at, stage)
    }

    /// What a peer offered was taken over: it is asked for what follows.
    ///
    /// # Errors
    /// What follows breaks a promise.
    pub fn adopted(&mut self, at: ConnectionId, end: (NodeId, Head), stage: &mut Stage) -> Outcome {
        if let Some(exchange) = self.exchange(at) {
            exchange.adopted(end, true);
        }
        self.advance(at, stage)
    }

    /// The store has grown: every exchange hears of it.
    ///
    /// # Errors
    /// What follows breaks a promise.
    pub fn ring_bell(&mut self, stage: &mut Stage) -> Outcome {
        self.in_each_exchange(stage, Exchange::grow)
    }

    /// Every exchange hears whom this node is connected with.
    fn tell_links(&mut self, stage: &mut Stage) -> Outcome {
        let Some(life) = &self.life else {
            return Ok(());
        };
        let greeted = life.exchanges.values().filter(|exchange| exchange.is_greeted());
        let mut links: Vec<NodeId> = greeted.map(Exchange::peer_id).collect();
        links.sort();
        self.in_each_exchange(stage, |exchange, _, _| {
            exchange.link(links.clone());
            Ok(())
        })
    }

    fn in_each_exchange(
        &mut self,
        stage: &mut Stage,
        change: impl Fn(&mut Exchange, &mut MemoryStore, &Ledger) -> Outcome,
    ) -> Outcome {
        let Some(life) = &mut self.life else {
            return Ok(());
        };
        for exchange in life.exchanges.values_mut().filter(|exchange| exchange.is_greeted()) {
            change(exchange, &mut life.store, &self.disk.ledger)?;
        }
        let connections: Vec<ConnectionId> = life.exchanges.keys().copied().collect();
        connections.into_iter().try_for_each(|at| self.advance(at, stage))
    }

    /// A frame may be sent over a connection, or something happened there.
    ///
    /// # Errors
    /// What is said breaks a promise.
    pub fn advance(&mut self, at: ConnectionId, stage: &mut Stage) -> Outcome {
        let Some(life) = &mut self.life else {
            return Ok(());
        };
        let Some(mut exchange) = life.exchanges.remove(&at) else {
            return Ok(());
        };
        let others = &life.exchanges;
        let held = |peer: &NodeId, author: &NodeId| {
            let same = others.values().filter(|other| other.peer_id() == *peer);
            same.filter_map(|other| other.peer_holds(author)).max().unwrap_or_default()
        };
        let advanced = exchange.advance((&mut life.store, &self.disk.ledger), held, stage);
        let settled = exchange.is_settled().then_some(exchange.peer);
        life.exchanges.insert(at, exchange);
        advanced?;
        if settled.is_some_and(|peer| life.rejoin.settled.insert(peer)) {
            return self.look_at_rejoin(stage);
        }
        Ok(())
    }
}
