//! Pruning: a node removes the oldest segment that another one continues, as `src/node/retention.rs`
//! does; and takes over what stays of segments that nobody brings.

use std::collections::BTreeSet;
use std::ops::Range;

use towline::core::log::Past;
use towline::core::pruned::Pruned;
use towline::core::segment::Parent;
use towline::store::pruning::PruningReader;
use towline::store::{Batch, Reader};
use towline::words::{ChangeHash, NodeId, Seq};

use super::agenda::Timer;
use super::clock::{MILLI, SECOND};
use super::coverage::Mark;
use super::group::Command;
use super::network::ConnectionId;
use super::node::Node;
use super::promise::Outcome;
use super::stage::Stage;
use super::story::Happening;

/// How long a node waits for entries that a peer has removed, in milliseconds.
pub const PATIENCE: u64 = 2 * SECOND / MILLI;

impl Node {
    /// Lets go the oldest segment of an author who has one history.
    ///
    /// Of one who may have two, a fork that begins below what was removed is not seen here any more, and
    /// is elsewhere: so much is said in the documentation.
    ///
    /// # Errors
    /// The store can't be read.
    pub fn prune(&mut self, stage: &mut Stage) -> Outcome {
        let name = self.this_life();
        let (Some(life), Some(every)) = (&mut self.life, stage.scenario.prune_every) else {
            return Ok(());
        };
        if !stage.is_chaos() {
            return Ok(());
        }
        let wait = stage.dice.between(MILLI, every);
        stage.due(wait, name, Timer::Prune);
        let unharmed = |author: &NodeId| stage.oracle.is_unharmed(author);
        let finished = life.store.finished()?;
        let Some(oldest) = finished.into_iter().find(|it| unharmed(&it.author)) else {
            return Ok(());
        };
        let (host, entries) = (self.host, oldest.entries());
        stage.tell(Happening::Prunes { host, entries });
        self.enqueue(Command::Prune(oldest.strand), stage);
        Ok(())
    }

    /// An interval has passed at a connection: what nobody brings is taken over.
    ///
    /// # Errors
    /// The store can't be read.
    pub fn take_over(&mut self, at: ConnectionId, stage: &mut Stage) -> Outcome {
        let now = stage.now.0 / MILLI;
        let Some(life) = &mut self.life else { return Ok(()) };
        let own = life.store.frontier()?;
        let Some(exchange) = life.exchanges.get_mut(&at) else { return Ok(()) };
        for (author, end) in exchange.offers.ends() {
            let parent = Parent { next_seq: end.next_seq, hash: end.hash };
            if life.store.standing(author, &parent)?.is_some() {
                exchange.adopted((author, end), false);
            }
        }
        for chain in exchange.offers.due(now, PATIENCE, &own) {
            self.enqueue(Command::Adopt(at, chain), stage);
        }
        Ok(())
    }

    /// A batch is on the disk: the oracle learns what was removed and what was taken over.
    pub fn note_pruning(&mut self, batch: &Batch, stage: &mut Stage) {
        for pruned in &batch.adopted {
            stage.oracle.holds(self.host, pruned.author(), pruned.next_seq);
        }
        let mut removed: BTreeSet<ChangeHash> = BTreeSet::new();
        for strand in &batch.pruned {
            removed.extend(self.disk.ledger.changes_of(strand.segment));
        }
        stage.coverage.add(Mark::Removed, u64::from(!removed.is_empty()));
        stage.coverage.add(Mark::TakenOver, u64::from(!batch.adopted.is_empty()));
        stage.oracle.remove(removed);
    }
}

/// What is not at a node any more, or never was: seqs by author.
pub type Gone = Vec<(NodeId, Range<Seq>)>;

/// What is not there of what these stand for.
pub fn gone(pruned: &[Pruned]) -> Gone {
    pruned.iter().map(|it| (it.author(), it.first_seq()..it.next_seq)).collect()
}

/// Whether an entry may be missing.
pub fn is_gone(gone: &[&Gone], author: NodeId, seq: Seq) -> bool {
    gone.iter().copied().flatten().any(|(of, seqs)| *of == author && seqs.contains(&seq))
}
