//! The ends of the node's own branches: what it writes next names them by seq and hash.
//!
//! A segment that names a parent which nobody ever wrote can't be taken by any peer, nor can
//! anything after it, for ever. So a node goes on only after changes whose rows are as they were
//! written. Their bytes alone may be damaged: a peer mends them.

use rusqlite::{Connection, params};

use super::super::StoreError;
use super::reader::{CHANGE, arrival};
use crate::core::change::Damaged;
use crate::core::log::Tip;
use crate::words::NodeId;

/// Checks the tips of one author.
///
/// # Errors
/// One of them is not what was written.
pub(super) fn check(
    connection: &Connection,
    author: NodeId,
    tips: &[(NodeId, Tip)],
) -> Result<(), StoreError> {
    let query = format!(
        "{CHANGE} WHERE s.name = ?1 AND s.side = ?2 AND c.first_seq < ?3
            ORDER BY c.first_seq DESC LIMIT 1"
    );
    let mut query = connection.prepare(&query)?;
    for (_, tip) in tips.iter().filter(|(of, _)| *of == author) {
        let end = tip.head.next_seq;
        let values = params![tip.head.segment.0, tip.side, end.0 as i64];
        let change = query.query_row(values, arrival)?.change;
        let sound = match change.check() {
            Ok(()) => true,
            Err(Damaged::Hash) => change.lost_bytes(),
            Err(Damaged::Shape | Damaged::Row) => false,
        };
        if !sound || change.hash != tip.head.hash || change.next_seq() != end {
            let what = format!("the node's newest change, which ends before seq {end}");
            return Err(StoreError::Damaged(what));
        }
    }
    Ok(())
}
