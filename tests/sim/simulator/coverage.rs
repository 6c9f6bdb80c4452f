//! What a set of runs has reached: a fault that never happens is not tested.

macro_rules! marks {
    ($($name:ident,)*) => {
        /// A kind of event that runs are meant to reach.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Mark { $($name,)* }

        const ALL: &[Mark] = &[$(Mark::$name,)*];
    };
}

marks! {
    // The writer.
    Commits, GroupCommits, Acknowledged, AppendsOverChanges, AppendsOverSegments, LargeAppends,
    CommitErrorsKept, CommitErrorsLost,
    // Processes.
    KilledAtStart, KilledBeforeCommit, KilledInCommitKept, KilledInCommitLost, KilledAfterCommit,
    KilledAfterAck, KilledBeforeGap, KilledAnywhere, PowerLosses, Shutdowns, Restarts, Suspended,
    LateJoiners, RejoinsSettled, RejoinsAlone,
    // Disks and clocks.
    Rollbacks, DisksLost, Twins, ClockJumps, Forgiven, Quarantined,
    // The network.
    CutsOneWay, CutsBothWays, Flaps, CutOff, FramesLost, FramesRepeated, FramesOvertaken,
    // The log.
    Branches, BranchesJoined, Forks, Relayed, Parked, Crowded, Duplicates, Refused, Discarded,
    Pruned, Removed, TakenOver,
    // Blocks.
    BlocksSealed, BlocksSent, BlocksReceived, BlocksKept, BlocksDamaged, BlocksMended,
    // Emitted events.
    GapsOfLag, GapsOfCrash, GapsOfShutdown, EmitsExhausted,
    // Liars.
    Lies, Violations,
}

/// How often each kind of event was reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coverage {
    counts: [u64; ALL.len()],
    /// Runs by the number of intervals that they took to be equal after healing.
    equal_after: Vec<u64>,
}

impl Default for Coverage {
    fn default() -> Self {
        Self { counts: [0; ALL.len()], equal_after: Vec::new() }
    }
}

impl Coverage {
    /// Counts what was reached.
    pub fn add(&mut self, mark: Mark, count: u64) {
        self.counts[mark as usize] += count;
    }

    /// How often that was reached.
    pub fn count(&self, mark: Mark) -> u64 {
        self.counts[mark as usize]
    }

    /// Notes how many intervals a run took to be equal after healing.
    pub fn equal_after(&mut self, intervals: usize) {
        if self.equal_after.len() <= intervals {
            self.equal_after.resize(intervals + 1, 0);
        }
        self.equal_after[intervals] += 1;
    }

    /// The share of convergences that took at most so many intervals, in percent.
    pub fn equal_within(&self, intervals: usize) -> u64 {
        let within: u64 = self.equal_after.iter().take(intervals + 1).sum();
        100 * within / self.equal_after.iter().sum::<u64>().max(1)
    }

    /// Adds what another run has reached.
    pub fn merge(&mut self, other: &Self) {
        for (sum, count) in self.counts.iter_mut().zip(other.counts) {
            *sum += count;
        }
        for (intervals, runs) in other.equal_after.iter().enumerate() {
            (0..*runs).for_each(|_| self.equal_after(intervals));
        }
    }

    /// What was never reached.
    pub fn unreached(&self) -> Vec<Mark> {
        let never = |mark: &&Mark| self.count(**mark) == 0;
        ALL.iter().filter(never).copied().collect()
    }

    /// The totals, a line each.
    pub fn table(&self) -> String {
        let line = |mark: &Mark| format!("  {:>10}  {mark:?}\n", self.count(*mark));
        let counts: String = ALL.iter().map(line).collect();
        let (after, within) = (&self.equal_after, self.equal_within(3));
        format!("{counts}  equal after 0, 1, … intervals: {after:?}; {within} % after at most 3\n")
    }
}
