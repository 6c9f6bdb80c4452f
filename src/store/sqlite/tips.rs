//! The ends of the node's own branches: what it writes next names them by seq and hash.
//!
//! A segment that names a parent which nobody ever wrote can't be taken by any peer, nor can
//! anything after it, for ever. So a node goes on only after changes whose rows are as they were
//! written. Their bytes alone may be damaged: a peer mends them.

use rusqlite::{Connection, OptionalExtension, params};

use super::super::{Owner, StoreError};
use super::blocks::{self, Blocks};
use super::reader::{CHANGE, arrival};
use crate::core::change::Damaged;
use crate::core::log::Tip;
use crate::words::{ClusterId, NodeId, Seq, Signature};

/// Checks the tips of the store's own node.
///
/// # Errors
/// One of them is not what was written.
pub(super) fn check(
    connection: &Connection,
    blocks: &mut Blocks,
    owner: Owner,
    tips: &[(NodeId, Tip)],
) -> Result<(), StoreError> {
    for (_, tip) in tips.iter().filter(|(of, _)| *of == owner.node) {
        let end = tip.head.next_seq;
        let sound = is_pruned(connection, owner, tip)?
            || match in_row(connection, tip)? {
                Some(sound) => sound,
                None => in_block(connection, blocks, owner, tip)?,
            };
        if !sound {
            let what = format!("the node's newest change, which ends before seq {end}");
            return Err(StoreError::Damaged(what));
        }
    }
    Ok(())
}

/// Whether the tip is all that stays of a segment that peers had pruned, and what the node signed.
fn is_pruned(connection: &Connection, owner: Owner, tip: &Tip) -> Result<bool, StoreError> {
    let mut query = connection.prepare(
        "SELECT p.signature FROM pruned p JOIN segments s ON s.id = p.segment
         WHERE s.name = ?1 AND s.side = ?2 AND p.next_seq = ?3 AND p.hash = ?4",
    )?;
    let head = &tip.head;
    let values = params![head.segment.0, tip.side, head.next_seq.0 as i64, head.hash.0];
    let signature = query.query_row(values, |row| Ok(Signature(row.get(0)?))).optional()?;
    Ok(signature.is_some_and(|signature| is_signed(owner.cluster, owner.node, tip, &signature)))
}

/// Whether the change in a row is the tip; none where it stands in no row.
fn in_row(connection: &Connection, tip: &Tip) -> Result<Option<bool>, StoreError> {
    let query = format!(
        "{CHANGE} WHERE s.name = ?1 AND s.side = ?2 AND c.first_seq < ?3
            ORDER BY c.first_seq DESC LIMIT 1"
    );
    let end = tip.head.next_seq;
    let values = params![tip.head.segment.0, tip.side, end.0 as i64];
    let found = connection.prepare(&query)?.query_row(values, arrival).optional()?;
    let Some(change) = found.map(|arrival| arrival.change).filter(|c| c.next_seq() == end) else {
        return Ok(None);
    };
    let sound = match change.check() {
        Ok(()) => true,
        Err(Damaged::Hash) => change.lost_bytes(),
        Err(Damaged::Shape | Damaged::Row) => false,
    };
    Ok(Some(sound && change.hash == tip.head.hash))
}

/// Whether the block that ends in the tip is whole, or at least its hash is what the node signed.
fn in_block(
    connection: &Connection,
    blocks: &mut Blocks,
    owner: Owner,
    tip: &Tip,
) -> Result<bool, StoreError> {
    let mut query = connection.prepare(
        "SELECT b.id, b.signature, s.id FROM blocks b JOIN segments s ON s.id = b.segment
         WHERE s.name = ?1 AND s.side = ?2 AND b.next_seq = ?3 AND b.hash = ?4",
    )?;
    let head = &tip.head;
    let values = params![head.segment.0, tip.side, head.next_seq.0 as i64, head.hash.0];
    let found = query.query_row(values, |row| {
        Ok((row.get::<_, i64>(0)?, Signature(row.get(1)?), row.get::<_, i64>(2)?))
    });
    let Some((block, signature, strand)) = found.optional()? else { return Ok(false) };
    match blocks.open(connection, block) {
        Ok(_) => Ok(blocks::at_seq(connection, strand, Seq(head.next_seq.0 - 1))? == Some(block)),
        Err(StoreError::Lost(_)) => Ok(is_signed(owner.cluster, owner.node, tip, &signature)),
        Err(error) => Err(error),
    }
}

fn is_signed(cluster: ClusterId, author: NodeId, tip: &Tip, signature: &Signature) -> bool {
    author.verify(cluster, tip.head.hash, signature)
}
