//! Pruning in the store in memory.

use std::ops::Range;

use super::super::StoreError;
use super::super::pruning::{Finished, Gone, Mark, PruningReader, joined};
use super::series::HeldSeries;
use super::{Contents, Held, MemoryStore};
use crate::core::log::{Arrival, Standing, Tip};
use crate::core::pruned::Pruned;
use crate::core::segment::{Parent, Strand};
use crate::core::series::Series;
use crate::words::{NodeId, Offset, Seq, Signature};

impl Held {
    /// The seq after the last entry that can be read.
    pub(super) fn kept_end(&self, contents: &Contents) -> Seq {
        let newest = self.changes.last_key_value();
        let newest = newest.and_then(|(_, offset)| contents.arrivals.get(offset));
        newest.map_or(self.first_seq, |arrival| arrival.change.next_seq())
    }

    fn stays(&self) -> Option<Pruned> {
        Some(Pruned {
            opening: self.opening.clone()?,
            changes: self.tip.changes,
            next_seq: self.tip.head.next_seq,
            bytes: self.tip.bytes,
            last_time: self.tip.last_time,
            hash: self.tip.head.hash,
            signature: self.pruned?,
        })
    }
}

impl Contents {
    /// Removes the entries of a finished segment. Returns where they were.
    pub(super) fn prune(&mut self, strand: Strand) -> Vec<Range<Offset>> {
        let Some(signature) =
            self.strands.get(&strand).and_then(|held| self.prunable(strand, held))
        else {
            return Vec::new();
        };
        let Some(held) = self.strands.get_mut(&strand) else { return Vec::new() };
        held.pruned = Some(signature);
        let gone = std::mem::take(&mut held.changes);
        let gone = gone.values().filter_map(|offset| self.arrivals.remove(offset));
        let gone = joined(gone.map(|arrival| arrival.offset..arrival.end()).collect());
        self.blocks.retain(|(of, _), _| *of != strand);
        let holes = self.holes.drain(..).chain(gone.iter().cloned()).collect();
        self.holes = joined(holes);
        gone
    }

    /// The signature of a segment's last change, where it can be pruned.
    fn prunable(&self, strand: Strand, held: &Held) -> Option<Signature> {
        let finished = !held.is_tip && strand.side == 0 && held.pruned.is_none();
        let (_, newest) = held.changes.last_key_value()?;
        let signature = self.arrivals.get(newest)?.change.signature;
        signature.filter(|_| finished && !self.branched.contains(&held.author))
    }

    /// Writes what stays of a segment whose entries no peer holds any more.
    pub(super) fn adopt(&mut self, pruned: &Pruned) {
        let author = pruned.author();
        self.join_tips(author, &pruned.opening.parents);
        let strand = pruned.strand();
        if !self.strands.contains_key(&strand) {
            self.note_branch(author);
        }
        let held = self.strands.entry(strand).or_insert_with(|| Held {
            author,
            opening: Some(pruned.opening.clone()),
            parents: pruned.opening.parents.clone(),
            forks_off: None,
            tip: pruned.tip(),
            first_seq: pruned.first_seq(),
            first_time: pruned.last_time,
            is_tip: true,
            changes: std::collections::BTreeMap::new(),
            pruned: None,
        });
        held.tip = pruned.tip();
        held.pruned = Some(pruned.signature);
    }

    /// Removes what the index says of the oldest entries of a series, as far as they are gone.
    pub(super) fn trim(&mut self, series: &Series) {
        let Some(mut held) = self.series.remove(series) else { return };
        held.trim(|stretch| self.hole_at(stretch.offset).is_some());
        self.series.insert(series.clone(), held);
    }

    pub(super) fn hole_at(&self, at: Offset) -> Option<Range<Offset>> {
        let after = self.holes.partition_point(|hole| hole.start <= at);
        let hole = self.holes.get(after.checked_sub(1)?)?;
        (hole.end > at).then(|| hole.clone())
    }

    /// The last change of a pruned segment; or one before it, of which nothing is known but that a
    /// segment of its author names it.
    pub(super) fn standing_pruned(&self, author: NodeId, parent: &Parent) -> Option<Standing> {
        let around = |held: &&Held| {
            let (first, end) = (held.first_seq, held.tip.head.next_seq);
            held.author == author
                && held.pruned.is_some()
                && first < parent.next_seq
                && parent.next_seq <= end
        };
        let held = self.strands.values().find(around)?;
        let Tip { head, .. } = held.tip;
        if parent.next_seq == head.next_seq {
            let standing = || Standing { tip: held.tip.clone(), followed: !held.is_tip };
            return (head.hash == parent.hash).then(standing);
        }
        if parent.next_seq <= held.kept_end(self) {
            return None;
        }
        let mut head = head;
        (head.next_seq, head.hash) = (parent.next_seq, parent.hash);
        let last_time = held.first_time.min(held.tip.last_time);
        let tip = Tip { head, changes: 0, bytes: 0, last_time, ..held.tip.clone() };
        Some(Standing { tip, followed: true })
    }
}

impl PruningReader for MemoryStore {
    fn finished(&mut self) -> Result<Vec<Finished>, StoreError> {
        let contents = self.read();
        let mut all = Vec::new();
        for (strand, held) in &contents.strands {
            if contents.prunable(*strand, held).is_none() {
                continue;
            }
            let changes = held.changes.values().filter_map(|offset| contents.arrivals.get(offset));
            let newest =
                held.changes.last_key_value().and_then(|(_, at)| contents.arrivals.get(at));
            all.push(Finished {
                author: held.author,
                strand: *strand,
                first_seq: held.first_seq,
                next_seq: held.tip.head.next_seq,
                last_time: held.tip.last_time,
                end: newest.map_or(Offset(0), Arrival::end),
                bytes: changes.map(|arrival| arrival.change.bytes.len() as u64).sum(),
            });
        }
        all.sort_by_key(|finished| (finished.end, finished.first_seq));
        Ok(all)
    }

    fn pruned(&mut self, author: Option<NodeId>) -> Result<Vec<Pruned>, StoreError> {
        let contents = self.read();
        let wanted = |held: &&Held| author.is_none_or(|author| held.author == author);
        let held = contents.strands.values().filter(wanted);
        let mut all: Vec<Pruned> = held.filter_map(Held::stays).collect();
        all.sort_by_key(|pruned| (pruned.author(), pruned.first_seq()));
        Ok(all)
    }

    fn hole_at(&mut self, at: Offset) -> Result<Option<Range<Offset>>, StoreError> {
        Ok(self.read().hole_at(at))
    }

    fn gone(&mut self) -> Result<Gone, StoreError> {
        let contents = self.read();
        Ok(Gone {
            entries: contents.holes.iter().map(|hole| hole.end.0 - hole.start.0).sum(),
            segments: contents.strands.values().filter(|held| held.pruned.is_some()).count() as u64,
            below: contents.holes.last().map_or(Offset(0), |hole| hole.end),
        })
    }

    fn removed_within(&mut self, offsets: Range<Offset>) -> Result<bool, StoreError> {
        let contents = self.read();
        let before = contents.holes.partition_point(|hole| hole.start < offsets.end);
        let last = before.checked_sub(1).and_then(|last| contents.holes.get(last));
        Ok(last.is_some_and(|hole| hole.end > offsets.start))
    }

    fn archivals(&mut self) -> Result<u64, StoreError> {
        let contents = self.read();
        let through = contents.series.values().flat_map(HeldSeries::archived);
        Ok(through.map(|through| through.0 + 1).sum())
    }

    fn marks(&mut self) -> Result<Vec<Mark>, StoreError> {
        let contents = self.read();
        let marks = contents.marks.iter();
        Ok(marks.map(|(running, offset)| Mark { running: *running, offset: *offset }).collect())
    }
}
