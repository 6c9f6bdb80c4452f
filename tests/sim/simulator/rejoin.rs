//! The rejoin of a node: before it appends, it lets its peers give back what it wrote in earlier
//! lives, as `src/node/network.rs` does.

use std::collections::BTreeSet;

use super::agenda::{HostId, Timer};
use super::clock::SECOND;
use super::coverage::Mark;
use super::group::Command;
use super::node::Node;
use super::promise::Outcome;
use super::stage::Stage;
use super::story::Happening;

/// How long a start waits for peers that don't answer.
const REJOIN: u64 = 2 * SECOND;
/// How long it waits for peers that answer and claim more of this node than they send.
const REJOIN_MOST: u64 = 60 * SECOND;

/// How far a start has come in getting back what it wrote in earlier lives.
pub struct Rejoin {
    /// The peers that were named.
    named: Vec<HostId>,
    /// The peers all of whose share of this node is held here.
    pub settled: BTreeSet<HostId>,
    patient: bool,
    /// Whether appends may begin.
    pub joined: bool,
}

impl Rejoin {
    /// A rejoin that waits for these peers.
    pub fn new(named: Vec<HostId>) -> Self {
        Self { named, settled: BTreeSet::new(), patient: true, joined: false }
    }
}

impl Node {
    /// Waits for the named peers from now on.
    ///
    /// # Errors
    /// What follows breaks a promise.
    pub fn begin_rejoin(&mut self, stage: &mut Stage) -> Outcome {
        stage.due(REJOIN, self.this_life(), Timer::PatienceEnds);
        stage.due(REJOIN_MOST, self.this_life(), Timer::RejoinEnds);
        self.look_at_rejoin(stage)
    }

    /// Peers that don't answer are waited for no longer.
    ///
    /// # Errors
    /// What follows breaks a promise.
    pub fn lose_patience(&mut self, stage: &mut Stage) -> Outcome {
        if let Some(life) = &mut self.life {
            life.rejoin.patient = false;
        }
        self.look_at_rejoin(stage)
    }

    /// Begins to append if every named peer has settled, or can't be waited for.
    ///
    /// # Errors
    /// What follows breaks a promise.
    pub fn look_at_rejoin(&mut self, stage: &mut Stage) -> Outcome {
        let Some(life) = &self.life else {
            return Ok(());
        };
        let Rejoin { named, settled, patient, joined } = &life.rejoin;
        let greeted = |peer: &HostId| {
            life.exchanges.values().any(|exchange| exchange.is_greeted() && exchange.peer == *peer)
        };
        let open = |peer: &HostId| !settled.contains(peer) && (*patient || greeted(peer));
        if *joined || named.iter().any(open) {
            return Ok(());
        }
        self.join(stage)
    }

    /// Begins to append, whoever has settled.
    ///
    /// # Errors
    /// What follows breaks a promise.
    pub fn join(&mut self, stage: &mut Stage) -> Outcome {
        let Some(life) = self.life.as_mut().filter(|life| !life.rejoin.joined) else {
            return Ok(());
        };
        life.rejoin.joined = true;
        let settled = life.rejoin.settled.len();
        let all = settled == life.rejoin.named.len();
        stage.count(if all { Mark::RejoinsSettled } else { Mark::RejoinsAlone });
        stage.tell(Happening::Joined { host: self.host, settled });
        for request in std::mem::take(&mut life.waiting) {
            self.enqueue(Command::Append(request), stage);
        }
        self.begin_recording(stage)
    }
}
