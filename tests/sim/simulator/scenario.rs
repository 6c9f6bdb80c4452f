//! The scenario: what a seed decides before anything happens.
//!
//! No run has every fault. Each draws the faults that it may meet, so that some runs show what one
//! fault does alone, and others what an unlikely mixture does (source: Groce et al., «Swarm
//! Testing», 2012).

use super::clock::{MILLI, SECOND};
use super::dice::Dice;

/// How hosts are linked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topology {
    /// Each with each.
    Mesh,
    /// One after the other.
    Line,
    /// All with the first one.
    Star,
    /// Any connected graph.
    Random,
}

/// What may go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trouble {
    /// A process is killed at once.
    Kill,
    /// A process is killed when it reaches a certain point.
    KillAt,
    /// A machine loses its power.
    PowerLoss,
    /// A process is told to end.
    Shutdown,
    /// A disk is replaced by an older copy of it.
    Rollback,
    /// A disk is lost, and its key is kept.
    LoseDisk,
    /// A commit fails.
    CommitError,
    /// A disk becomes slow.
    SlowDisk,
    /// A process stands still for a while.
    Suspend,
    /// A link carries nothing in one direction, or in both.
    Cut,
    /// A link breaks again and again.
    Flap,
    /// A host loses all its links.
    CutOff,
    /// A link loses, repeats and reorders frames.
    Hostile,
    /// The recorder falls asleep.
    Nap,
    /// A wall clock jumps.
    ClockJump,
    /// A key and a disk are copied to another machine, and run there.
    Twin,
    /// A disk flips a bit of a change that another node holds, too.
    Damage,
}

const TROUBLES: [Trouble; 17] = [
    Trouble::Kill,
    Trouble::KillAt,
    Trouble::PowerLoss,
    Trouble::Shutdown,
    Trouble::Rollback,
    Trouble::LoseDisk,
    Trouble::CommitError,
    Trouble::SlowDisk,
    Trouble::Suspend,
    Trouble::Cut,
    Trouble::Flap,
    Trouble::CutOff,
    Trouble::Hostile,
    Trouble::Nap,
    Trouble::ClockJump,
    Trouble::Twin,
    Trouble::Damage,
];

/// What becomes of the liar when the network heals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LiarsEnd {
    /// It leaves.
    Leaves,
    /// It stays connected, and says nothing more.
    FallsSilent,
    /// It stays connected, and goes on making false claims.
    KeepsClaiming,
}

/// How much clients write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writing {
    /// A few small entries at a time.
    Little,
    /// Now and then more entries than a change or a segment holds.
    Many,
    /// Now and then entries of many kilobytes.
    Large,
}

/// What a seed decides before anything happens.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// How many honest nodes there are.
    pub nodes: usize,
    /// How they are linked.
    pub topology: Topology,
    /// How many of them come late, with an empty disk.
    pub late: usize,
    /// How long things go wrong.
    pub chaos: u64,
    /// What may go wrong.
    pub troubles: Vec<Trouble>,
    /// How long it is between two troubles, at most.
    pub trouble_every: u64,
    /// How long it is between two requests at a node, at most.
    pub append_every: u64,
    /// How long it is between two bursts of events at a node, at most; none when nothing is emitted.
    pub emit_every: Option<u64>,
    /// How many events the ring holds.
    pub ring: usize,
    /// How much clients write.
    pub writing: Writing,
    /// The longest that a frame takes.
    pub delay: u64,
    /// The longest that a commit takes.
    pub commit: u64,
    /// How long it is between two looks for what is worth a block, at most; none when small changes
    /// stay in rows.
    pub seal_every: Option<u64>,
    /// How long it is between two looks for a segment that can go, at most; none when all stays.
    pub prune_every: Option<u64>,
    /// What becomes of the liar, if there is one.
    pub liar: Option<LiarsEnd>,
}

impl Scenario {
    /// Draws a scenario.
    pub fn draw(dice: &mut Dice) -> Self {
        let nodes = 2 + dice.below(6);
        let topologies = [Topology::Mesh, Topology::Line, Topology::Star, Topology::Random];
        let topology = topologies[dice.below(4)];
        let troubles = TROUBLES.iter().copied().filter(|_| dice.percent(40)).collect();
        let ends = [LiarsEnd::Leaves, LiarsEnd::FallsSilent, LiarsEnd::KeepsClaiming];
        let writing = match dice.below(20) {
            0 => Writing::Many,
            1 => Writing::Large,
            _ => Writing::Little,
        };
        let emits = dice.percent(60);
        let seals = dice.percent(60);
        let prunes = dice.percent(30);
        Self {
            nodes,
            topology,
            late: if dice.percent(25) { 1 } else { 0 },
            chaos: dice.between(2, 8) * SECOND,
            troubles,
            trouble_every: dice.between(200, 1_500) * MILLI,
            append_every: dice.between(150, 900) * MILLI * (nodes as u64) / 3,
            emit_every: emits.then(|| dice.between(50, 600) * MILLI),
            ring: 1 << dice.between(1, 5),
            writing,
            delay: dice.between(1, 150) * MILLI,
            commit: dice.between(1, 30) * MILLI,
            seal_every: seals.then(|| dice.between(50, 1_500) * MILLI),
            prune_every: prunes.then(|| dice.between(100, 2_000) * MILLI),
            liar: if dice.percent(35) { dice.pick(&ends) } else { None },
        }
    }
}
