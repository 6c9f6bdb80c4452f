//! The verdict: what must be true of every node when a run has come to rest.

use std::collections::{BTreeMap, BTreeSet};

use towline::core::forks::ForkKind;
use towline::node::forks;
use towline::node::query::{Query, page};
use towline::store::Reader;
use towline::store::pruning::PruningReader;
use towline::words::{ChangeHash, Entry, NodeId, SegmentId, Seq};

use super::agenda::HostId;
use super::coverage::{Coverage, Mark};
use super::node::{Life, Node};
use super::promise::{Outcome, Promise};
use super::pruning::{Gone, gone, is_gone};
use super::world::{Resident, World};

/// How many entries of the merged log are read at once.
const PAGE: usize = 1_000;

impl World {
    /// Looks at every node.
    ///
    /// # Errors
    /// A promise was broken.
    pub fn judge(&mut self) -> Outcome {
        let mut found: Vec<(HostId, Found)> = Vec::new();
        for resident in &mut self.hosts {
            if let Resident::Node(node) = resident {
                found.push((node.host, judge_node(node, &mut self.stage.coverage)?));
            }
        }
        let [(_, first), others @ ..] = &found[..] else {
            return Ok(());
        };
        for (host, other) in others {
            judge_equal(*host, first, other)?;
        }
        judge_order(&first.log)?;
        self.judge_acknowledged(&first.log)
    }

    /// Every acknowledged entry that could be kept is in the log, with what its client gave.
    fn judge_acknowledged(&self, log: &[Entry]) -> Outcome {
        let place = |entry: &Entry| (entry.author, entry.seq, entry.change);
        let by_place: BTreeMap<(NodeId, Seq, ChangeHash), &Entry> =
            log.iter().map(|entry| (place(entry), entry)).collect();
        for acked in self.stage.oracle.acknowledged() {
            let name = || format!("{}:{} of {}", acked.author.short(), acked.seq.0, acked.host);
            match by_place.get(&(acked.author, acked.seq, acked.hash)) {
                Some(entry) => {
                    let same = entry.body.data == acked.data;
                    Promise::AcknowledgedSurvives
                        .holds(same, || format!("{} was altered", name()))?;
                }
                None => Promise::AcknowledgedSurvives
                    .holds(acked.forgiven || self.stage.oracle.is_removed(&acked.hash), || {
                        format!("{} is lost", name())
                    })?,
            }
        }
        Ok(())
    }
}

/// What a node shows of each fork: by author and seq, the changes that stand there.
type Forks = BTreeMap<(NodeId, Seq), BTreeSet<(SegmentId, ChangeHash)>>;

/// What a node says when a run has come to rest.
struct Found {
    log: Vec<Entry>,
    forks: Forks,
    gone: Gone,
}

/// What must be true of one node.
fn judge_node(node: &mut Node, coverage: &mut Coverage) -> Outcome<Found> {
    node.readings.check_kept(&node.disk.ledger)?;
    judge_emits(node)?;
    let Some(life) = &mut node.life else {
        return Promise::Converges.broken(format!("{} does not run", node.host));
    };
    node.readings.read_on(&mut life.store, &node.disk.ledger)?;
    let gone = gone(&life.store.pruned(None)?);
    Ok(Found { log: merged(life)?, forks: forks_shown(life, coverage)?, gone })
}

/// The forks that a node shows.
fn forks_shown(life: &mut Life, coverage: &mut Coverage) -> Outcome<Forks> {
    let mut shown = Forks::new();
    for fork in forks::list(&mut life.store)? {
        coverage.add(if fork.kind == ForkKind::Branch { Mark::Branches } else { Mark::Forks }, 1);
        let sides = fork.sides.iter().map(|side| (side.segment, side.change));
        shown.entry((fork.author, fork.seq)).or_default().extend(sides);
    }
    Ok(shown)
}

/// The whole merged log of a node.
fn merged(life: &mut Life) -> Outcome<Vec<Entry>> {
    let reader: &mut dyn Reader = &mut life.store;
    let mut query = Query::merged().limit(PAGE);
    let mut log = Vec::new();
    loop {
        let page = page(reader, &query);
        let page = page.or_else(|error| Promise::NoPanic.broken(error.to_string()))?;
        log.extend(page.entries);
        match page.next {
            Some(next) => query = query.after(next),
            None => return Ok(log),
        }
    }
}

/// At rest, what was emitted is recorded or stated in a gap.
fn judge_emits(node: &Node) -> Outcome {
    let Some(life) = &node.life else {
        return Ok(());
    };
    let (emitted, mark) = (life.emitter.emitted(), node.disk.ledger.mark);
    let accounted = mark.recorded + mark.dropped;
    Promise::GapsTile.holds(emitted == mark.next && accounted == emitted.0, || {
        format!("{} has emitted {emitted}, and accounts for {accounted}", node.host)
    })
}

/// Two nodes print the same merged log, but for the offsets, and show the same forks.
fn judge_equal(host: HostId, one: &Found, other: &Found) -> Outcome {
    let same = |a: &Entry, b: &Entry| {
        a.merged_key() == b.merged_key() && a.body == b.body && a.forked == b.forked
    };
    // What one of them has let go is not compared.
    let both = |entry: &&Entry| !is_gone(&[&one.gone, &other.gone], entry.author, entry.seq);
    let logs = [one, other].map(|found| found.log.iter().filter(both).collect::<Vec<_>>());
    let differs = logs[0].iter().zip(&logs[1]).position(|(a, b)| !same(a, b));
    let (ours, theirs) = (logs[0].len(), logs[1].len());
    Promise::Converges.holds(differs.is_none() && ours == theirs, || {
        format!("{host}: the merged log differs at {differs:?}: {ours} entries, and {theirs}")
    })?;
    let forks = [one, other].map(|found| {
        let mut forks = found.forks.clone();
        forks.retain(|(author, seq), _| !is_gone(&[&one.gone, &other.gone], *author, *seq));
        forks
    });
    Promise::Converges
        .holds(forks[0] == forks[1], || format!("{host} shows other forks than the first node"))
}

/// Merged order rises strictly, and with it each author's time on a branch.
fn judge_order(log: &[Entry]) -> Outcome {
    let rises = log.windows(2).all(|pair| pair[0].merged_key() < pair[1].merged_key());
    Promise::Converges.holds(rises, || "the merged log is not in order".into())
}
