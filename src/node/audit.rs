//! The self-audit at start: a node reads its own newest changes back before it goes on after them.

use crate::core::change::Change;
use crate::core::merge::Direction;
use crate::store::damage::{Lost, Part};
use crate::store::{Batch, Resume, Store, StoreError};
use crate::words::{ClusterId, Identity};

/// Reads the newest change of every branch of the node's own, hashes it, and verifies its signature.
/// It costs as much as there are branches, however long the log is.
///
/// A change whose bytes were altered is noted, not served, and asked for of the peers. One whose
/// signature alone was altered is signed again, which gives the very same signature: no peer may
/// ever have had it.
///
/// # Errors
/// The store can't be read or written.
pub fn audit(
    store: &mut dyn Store,
    identity: &Identity,
    cluster: ClusterId,
    resume: &Resume,
) -> Result<(), StoreError> {
    let me = identity.node_id();
    let mut reader = store.reader()?;
    for (_, tip) in resume.tips.iter().filter(|(author, _)| *author == me) {
        let read = reader.of_strand(tip.strand(), tip.head.next_seq, Direction::Backward, 1);
        let newest = match read {
            Ok(newest) => newest,
            Err(StoreError::Lost(lost)) => {
                tracing::error!(%lost, "this node's own newest change is damaged: asking the peers");
                continue;
            }
            Err(error) => return Err(error),
        };
        let Some(arrival) = newest.first() else {
            let end = tip.head.next_seq;
            return Err(StoreError::Damaged(format!("no own change ends before seq {end}")));
        };
        let Change { hash, signature, .. } = &arrival.change;
        if signature.is_some_and(|signature| me.verify(cluster, *hash, &signature)) {
            continue;
        }
        let lost = Lost { part: Part::Signature, ..Lost::of(arrival) };
        tracing::error!(%lost, "the signature of this node's own newest change is damaged");
        let signature = Some(identity.sign(cluster, *hash));
        let signed = Change { signature, ..arrival.change.clone() };
        match store.commit(&Batch { mended: vec![(lost, vec![signed])], ..Batch::default() }) {
            Err(StoreError::Full(_)) => drop(store.damages().note(lost)),
            done => done?,
        }
    }
    Ok(())
}
