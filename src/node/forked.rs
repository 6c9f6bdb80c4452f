//! Marks entries whose seq another entry of their author has, too: on another branch of its history,
//! or on another side of a segment that it forked.

use std::collections::BTreeMap;

use crate::store::{Reader, StoreError};
use crate::words::{Entry, NodeId, Seq};

/// Marks the entries that share their seq. Costs one look-up where no author ever branched.
///
/// # Errors
/// The store can't be read.
pub fn mark<'a>(
    reader: &mut dyn Reader,
    entries: impl IntoIterator<Item = &'a mut Entry>,
) -> Result<(), StoreError> {
    let branched = reader.branched()?;
    if branched.is_empty() {
        return Ok(());
    }
    let mut by_author: BTreeMap<NodeId, Vec<&mut Entry>> = BTreeMap::new();
    for entry in entries.into_iter().filter(|entry| branched.binary_search(&entry.author).is_ok()) {
        by_author.entry(entry.author).or_default().push(entry);
    }
    for (author, entries) in by_author {
        let seqs = || entries.iter().map(|entry| entry.seq);
        let (low, high) = (seqs().min().unwrap_or_default(), seqs().max().unwrap_or_default());
        let strands = reader.strands_around(author, low, high.plus(1))?;
        for entry in entries {
            let holds = |(first, next): &&(Seq, Seq)| *first <= entry.seq && entry.seq < *next;
            entry.forked = strands.iter().filter(holds).count() > 1;
        }
    }
    Ok(())
}
