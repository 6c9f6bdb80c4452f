//! The oracle: what was signed, what was acknowledged, and who may have lost something.
//!
//! It sees every change at the moment when its author signs it and every receipt, and nothing of how
//! the log, the sessions or the stores work.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytes::Bytes;
use towline::core::change::Change;
use towline::words::{ChangeHash, NodeId, SegmentId, Seq};

use super::agenda::HostId;
use super::ledger::Ledger;
use super::promise::{Outcome, Promise};

/// Where a signed change stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Signed {
    segment: SegmentId,
    segment_seq: Seq,
    index: u32,
    first_seq: Seq,
    count: u32,
}

/// An entry that a client was told to be durable.
#[derive(Clone, Debug)]
pub struct Acknowledged {
    /// Where it was given.
    pub host: HostId,
    /// Who wrote it.
    pub author: NodeId,
    /// Its seq.
    pub seq: Seq,
    /// The change that holds it.
    pub hash: ChangeHash,
    /// What the client gave.
    pub data: Bytes,
    /// Whether its disk was destroyed since.
    pub uprooted: bool,
    /// Whether all disks that held it were destroyed: then it may be lost.
    pub forgiven: bool,
}

/// All that is known to have been signed and acknowledged.
#[derive(Default)]
pub struct Oracle {
    signed: HashMap<(NodeId, ChangeHash), Signed>,
    acknowledged: Vec<Acknowledged>,
    /// Nodes that may have two branches: a disk of theirs was destroyed, or their key was copied.
    harmed: BTreeSet<NodeId>,
    /// Nodes that sign whatever they like.
    liars: BTreeSet<NodeId>,
    /// How far each host has ever held each author.
    most_held: BTreeMap<(HostId, NodeId), Seq>,
    /// Changes that some node has let go.
    removed: BTreeSet<ChangeHash>,
}

impl Oracle {
    /// Notes that an author signed a change.
    pub fn signed(&mut self, change: &Change) {
        let Change { segment, segment_seq, index, first_seq, count, .. } = *change;
        let place = Signed { segment, segment_seq, index, first_seq, count };
        self.signed.insert((change.author, change.hash), place);
    }

    /// Notes a node that may have two branches from now on.
    pub fn harm(&mut self, author: NodeId) {
        self.harmed.insert(author);
    }

    /// Notes a node that signs whatever it likes.
    pub fn distrust(&mut self, author: NodeId) {
        self.liars.insert(author);
        self.harmed.insert(author);
    }

    /// Whether a node never had a reason to have two branches.
    pub fn is_unharmed(&self, author: &NodeId) -> bool {
        !self.harmed.contains(author)
    }

    /// Whether any node had a reason to have two branches.
    pub fn is_anybody_harmed(&self) -> bool {
        !self.harmed.is_empty()
    }

    /// Whether a node keeps to the rules.
    pub fn is_honest(&self, author: &NodeId) -> bool {
        !self.liars.contains(author)
    }

    /// How far a host has ever held an author.
    pub fn most_held(&self, host: HostId, author: &NodeId) -> Seq {
        self.most_held.get(&(host, *author)).copied().unwrap_or_default()
    }

    /// Notes how far a host holds an author.
    pub fn holds(&mut self, host: HostId, author: NodeId, next_seq: Seq) {
        let most = self.most_held.entry((host, author)).or_default();
        *most = next_seq.max(*most);
    }

    /// Notes changes that a node has let go.
    pub fn remove(&mut self, changes: BTreeSet<ChangeHash>) {
        self.removed.extend(changes);
    }

    /// Whether some node has let go a change.
    pub fn is_removed(&self, hash: &ChangeHash) -> bool {
        self.removed.contains(hash)
    }

    /// Notes a host whose disk begins as a copy of another's.
    pub fn copied(&mut self, from: HostId, to: HostId) {
        let of_original = self.most_held.iter().filter(|((host, _), _)| *host == from);
        let copies = of_original.map(|((_, author), seq)| ((to, *author), *seq));
        self.most_held.extend(copies.collect::<Vec<_>>());
    }

    /// Whether somebody signs whatever it likes.
    pub fn has_liars(&self) -> bool {
        !self.liars.is_empty()
    }

    /// Notes a receipt.
    ///
    /// # Errors
    /// The entry isn't on the disk.
    pub fn acknowledge(&mut self, entry: Acknowledged, ledger: &Ledger) -> Outcome {
        Promise::PersistBeforeTelling.holds(ledger.holds(&entry.hash), || {
            format!("{}:{} was acknowledged too early", entry.author.short(), entry.seq.0)
        })?;
        self.acknowledged.push(entry);
        Ok(())
    }

    /// All receipts.
    pub fn acknowledged(&self) -> &[Acknowledged] {
        &self.acknowledged
    }

    /// A disk was destroyed, and these changes on it.
    pub fn uproot(&mut self, host: HostId, lost: &BTreeSet<ChangeHash>) {
        let of_disk = |entry: &&mut Acknowledged| entry.host == host && lost.contains(&entry.hash);
        self.acknowledged.iter_mut().filter(of_disk).for_each(|entry| entry.uprooted = true);
    }

    /// No disk holds these changes any more. How many entries are lost with them.
    pub fn forgive(&mut self, lost: &BTreeSet<ChangeHash>) -> u64 {
        let of_lost = |entry: &&mut Acknowledged| lost.contains(&entry.hash);
        let forgiven = self.acknowledged.iter_mut().filter(of_lost);
        forgiven.map(|entry| entry.forgiven = true).count() as u64
    }

    /// Checks a change that a node has just written to its disk.
    ///
    /// # Errors
    /// Its author did not sign it, or it stands elsewhere, or an author without a reason has two
    /// branches.
    pub fn check_written(&mut self, host: HostId, change: &Change, ledger: &Ledger) -> Outcome {
        let most = self.most_held.entry((host, change.author)).or_default();
        *most = change.next_seq().max(*most);
        let place = || format!("the change at {}:{}", change.author.short(), change.first_seq.0);
        let Change { segment, segment_seq, index, first_seq, count, .. } = *change;
        let here = Signed { segment, segment_seq, index, first_seq, count };
        let signed = self.signed.get(&(change.author, change.hash));
        Promise::OnlySigned.holds(signed == Some(&here), || {
            format!("{} is not what its author signed: {here:?}, not {signed:?}", place())
        })?;
        let branches = ledger.leaves(&change.author).len();
        let may_branch = !self.is_unharmed(&change.author);
        Promise::Contiguous.holds(branches == 1 || may_branch, || {
            format!("{} makes a branch, and its author has lost nothing", place())
        })
    }

    /// Checks that every entry that was acknowledged at a host is on its disk.
    ///
    /// # Errors
    /// One is missing, and the disk was not destroyed.
    pub fn check_kept(&self, host: HostId, ledger: &Ledger) -> Outcome {
        let here = self.acknowledged.iter().filter(|entry| entry.host == host && !entry.uprooted);
        for entry in here {
            Promise::AcknowledgedSurvives.holds(ledger.holds(&entry.hash), || {
                format!("seq {} is not on the disk of {host} any more", entry.seq.0)
            })?;
        }
        Ok(())
    }
}
