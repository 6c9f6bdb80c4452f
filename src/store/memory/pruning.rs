//! Pruning in the store in memory.

use std::ops::Range;

use super::super::pruning::{Finished, Gone, Mark, PruningReader};
use super::super::{Span, StoreError};
use super::series::HeldSeries;
use super::{Contents, Held, MemoryStore};
use crate::core::frontier::Head;
use crate::core::log::{Arrival, Standing, Tip};
use crate::core::merge::joined;
use crate::core::pruned::Pruned;
use crate::core::segment::{Parent, Strand};
use crate::core::series::Series;
use crate::words::{NodeId, Offset, Seq};

impl Held {
    /// Its seqs whose entries were removed, or never came before others removed them.
    fn gone(&self, contents: &Contents) -> Option<Range<Seq>> {
        let end = self.pruned.as_ref()?.next_seq;
        let before = self.changes.range(..end).next_back();
        let before = before.and_then(|(_, offset)| contents.arrivals.get(offset));
        Some(before.map_or(self.first_seq, |arrival| arrival.change.next_seq())..end)
    }
}

impl Contents {
    /// Removes the entries of a finished segment. Returns where they were.
    pub(super) fn prune(&mut self, strand: Strand) -> Vec<Range<Offset>> {
        let found = self.strands.get(&strand).and_then(|held| self.prunable(strand, held));
        let (Some(pruned), Some(held)) = (found, self.strands.get_mut(&strand)) else {
            return Vec::new();
        };
        held.pruned = Some(pruned);
        let gone = std::mem::take(&mut held.changes);
        let gone = gone.values().filter_map(|offset| self.arrivals.remove(offset));
        let gone = joined(gone.map(|arrival| arrival.offset..arrival.end()).collect());
        self.blocks.retain(|(of, _), _| *of != strand);
        let holes = self.holes.drain(..).chain(gone.iter().cloned()).collect();
        self.holes = joined(holes);
        gone
    }

    /// What stays of a segment, where it can be pruned.
    fn prunable(&self, strand: Strand, held: &Held) -> Option<Pruned> {
        let finished = !held.is_tip && strand.side == 0 && held.pruned.is_none();
        if !finished || self.branched.contains(&held.author) {
            return None;
        }
        let (_, newest) = held.changes.last_key_value()?;
        Some(Pruned {
            opening: held.opening.clone()?,
            changes: held.tip.changes,
            next_seq: held.tip.head.next_seq,
            bytes: held.tip.bytes,
            last_time: held.tip.last_time,
            hash: held.tip.head.hash,
            signature: self.arrivals.get(newest)?.change.signature?,
        })
    }

    /// What can be read of a strand; none where nothing can.
    pub(super) fn span_of(&self, strand: Strand, held: &Held) -> Option<Span> {
        let arrival = |(_, offset): (&Seq, &Offset)| self.arrivals.get(offset);
        let (first, last) = (held.changes.first_key_value(), held.changes.last_key_value());
        let (first, last) = (first.and_then(arrival)?, last.and_then(arrival)?);
        Some(Span {
            author: held.author,
            strand,
            first_seq: first.change.first_seq,
            next_seq: last.change.next_seq(),
            first_time: first.change.first_time,
            last_time: last.change.last_time,
        })
    }

    /// Whether a strand is pruned, and a head of it is its last change or one before that, of which
    /// nothing is known any more.
    pub(super) fn is_pruned_at(&self, strand: Strand, head: &Head) -> bool {
        let Some(held) = self.strands.get(&strand) else { return false };
        let (Some(pruned), Some(gone)) = (&held.pruned, held.gone(self)) else { return false };
        let inside = gone.start < head.next_seq && head.next_seq < gone.end;
        inside || pruned.head() == *head
    }

    /// Writes what stays of a segment whose entries no peer holds any more.
    pub(super) fn adopt(&mut self, pruned: &Pruned) {
        let author = pruned.author();
        self.join_tips(author, &pruned.opening.parents);
        let strand = pruned.strand();
        if self.strands.get(&strand).is_none_or(|held| !held.is_tip) {
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
        held.is_tip = true;
        held.pruned = Some(pruned.clone());
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
        let of_author = self.strands.values().filter(|held| held.author == author);
        let mut pruned = of_author.filter_map(|held| Some((held, held.pruned.as_ref()?)));
        let (held, pruned) = pruned.find(|(held, pruned)| {
            held.first_seq < parent.next_seq && parent.next_seq <= pruned.next_seq
        })?;
        let tip = pruned.tip();
        if parent.next_seq == pruned.next_seq {
            let followed = held.tip.head != tip.head;
            return (pruned.hash == parent.hash).then_some(Standing { tip, followed });
        }
        if parent.next_seq <= held.gone(self)?.start {
            return None;
        }
        let head = Head { next_seq: parent.next_seq, hash: parent.hash, ..tip.head };
        let last_time = held.first_time.min(pruned.last_time);
        let tip = Tip { head, changes: 0, bytes: 0, last_time, ..tip };
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
        let mut all: Vec<Pruned> = held.filter_map(|held| held.pruned.clone()).collect();
        all.sort_by_key(|pruned| (pruned.author(), pruned.first_seq()));
        Ok(all)
    }

    fn gone_of(&mut self, strand: Strand) -> Result<Option<Range<Seq>>, StoreError> {
        let contents = self.read();
        Ok(contents.strands.get(&strand).and_then(|held| held.gone(&contents)))
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
