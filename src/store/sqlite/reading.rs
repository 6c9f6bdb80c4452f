//! Reading the log in order: changes that stand in rows of their own, and blocks, as one sequence.
//!
//! At every offset and every seq that is held stands exactly one of the two. What neither holds,
//! between what is held, is a hole where entries were removed, or else damage.

use std::ops::Range;
use std::sync::Arc;

use rusqlite::{OptionalExtension, params};

use super::super::{Reader, StoreError, whole};
use super::blocks::{self, Opened, column};
use super::pruning::hole_at;
use super::reader::{CHANGE, KnownStrand, SqliteReader, arrival, offset};
use super::seq;
use crate::core::change::Change;
use crate::core::frontier::Head;
use crate::core::log::Arrival;
use crate::core::segment::Strand;
use crate::core::session::Passed;
use crate::words::{ChangeHash, NodeId, Offset, SegmentId, Seq};

/// What was read so far, and how much more is wanted.
struct Taken {
    arrivals: Vec<Arrival>,
    bytes: usize,
    most: usize,
}

impl Taken {
    fn at_most(most: usize) -> Self {
        Self { arrivals: Vec::new(), bytes: 0, most }
    }

    fn has_room(&self) -> bool {
        self.bytes < self.most
    }

    fn push(&mut self, arrival: Arrival) {
        self.bytes += arrival.change.bytes.len();
        self.arrivals.push(arrival);
    }

    /// Takes changes of a block as long as there is room and they go on as they should.
    fn push_while<'a>(
        &mut self,
        arrivals: impl Iterator<Item = &'a Arrival>,
        mut goes_on: impl FnMut(&Arrival) -> bool,
    ) {
        for arrival in arrivals {
            if !self.has_room() || !goes_on(arrival) {
                return;
            }
            self.push(arrival.clone());
        }
    }
}

/// Whether a change goes on where the reading is: it moves the place on.
type GoesOn<'a> = &'a mut dyn FnMut(&Arrival) -> bool;

/// Why a reading of rows came to an end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// There are no more rows, or no more room.
    Rows,
    /// The next row doesn't go on where the one before ended. A block must stand between them.
    Hole,
}

/// How many strands are known by their row; one more, and they are looked up again.
const KNOWN_STRANDS: usize = 1_024;

impl SqliteReader {
    pub(super) fn arrivals_from(
        &mut self,
        from: Offset,
        most: usize,
    ) -> Result<Vec<Arrival>, StoreError> {
        self.arrivals_between(from..Offset(u64::MAX), most)
    }

    /// The ones that hold entries with these offsets.
    pub(super) fn arrivals_between(
        &mut self,
        offsets: Range<Offset>,
        most: usize,
    ) -> Result<Vec<Arrival>, StoreError> {
        let (from, to) = (offsets.start, offsets.end);
        let mut taken = Taken::at_most(most);
        let (mut at, mut end) = (from, End::Rows);
        while taken.has_room() && at < to {
            let before = at;
            let mut goes_on = |arrival: &Arrival| {
                let on = arrival.offset <= at && at < arrival.end() && at < to;
                at = if on { arrival.end() } else { at };
                on
            };
            if let Some((id, _)) = blocks::at_offset(&self.connection, before)? {
                let opened = self.open_block(id)?;
                let first = opened.at_offset(before);
                taken.push_while(opened.arrivals[first..].iter(), goes_on);
            } else {
                let condition = "WHERE c.offset >= coalesce(
                        (SELECT max(offset) FROM changes WHERE offset <= ?1), 0)
                        AND c.offset + c.count > ?1 AND c.offset < ?2
                     ORDER BY c.offset";
                let values = params![column(before.0), column(to.0)];
                end = self.rows(condition, values, &mut taken, &mut goes_on)?;
            }
            if at == before {
                let Some(hole) = hole_at(&self.connection, at)? else { break };
                at = hole.end;
            }
        }
        if taken.has_room() && at < to && (end == End::Hole || self.watermark()? > at) {
            return Err(StoreError::Damaged(format!("no change is found at offset {at}")));
        }
        Ok(taken.arrivals)
    }

    /// The ones that end at or below an offset, the newest first.
    pub(super) fn arrivals_before(
        &mut self,
        from: Offset,
        most: usize,
    ) -> Result<Vec<Arrival>, StoreError> {
        let mut taken = Taken::at_most(most);
        let mut at = from.min(self.watermark()?);
        while taken.has_room() && at > Offset(0) {
            let before = at;
            let newest = Offset(at.0 - 1);
            let started = !taken.arrivals.is_empty();
            let mut goes_on = |arrival: &Arrival| {
                let on = arrival.end() == at;
                at = if on { arrival.offset } else { at };
                on
            };
            if let Some((id, _)) = blocks::at_offset(&self.connection, newest)? {
                let opened = self.open_block(id)?;
                let holds = opened.at_offset(newest);
                let last = holds
                    + usize::from(opened.arrivals.get(holds).is_some_and(|a| a.end() <= before));
                let piece = opened.arrivals.get(holds).map_or(Offset(0), |a| a.offset);
                if last == holds && !started {
                    at = piece; // the change is cut by the offset: it doesn't end below it
                } else {
                    taken.push_while(opened.arrivals[..last].iter().rev(), goes_on);
                }
            } else {
                let condition = "WHERE c.offset < ?1 ORDER BY c.offset DESC";
                let cut = self.row_around(before)?;
                if let Some(start) = cut.filter(|_| !started) {
                    at = start;
                } else {
                    self.rows(condition, [column(before.0)], &mut taken, &mut goes_on)?;
                }
            }
            if at == before {
                let Some(hole) = hole_at(&self.connection, newest)? else {
                    let what = format!("no change is found below offset {at}");
                    return Err(StoreError::Damaged(what));
                };
                at = hole.start;
            }
        }
        Ok(taken.arrivals)
    }

    /// Where ends what holds an offset: the piece of a block, or a change in a row.
    pub(super) fn end_of_place(&self, at: Offset) -> Result<Offset, StoreError> {
        if let Some((_, end)) = blocks::at_offset(&self.connection, at)? {
            return Ok(end);
        }
        let mut query = self.connection.prepare_cached(
            "SELECT offset + count FROM changes WHERE offset <= ?1 ORDER BY offset DESC LIMIT 1",
        )?;
        let end = query.query_row([column(at.0)], |row| Ok(offset(row.get(0)?))).optional()?;
        match end.filter(|end| *end > at) {
            Some(end) => Ok(end),
            None => Ok(hole_at(&self.connection, at)?.map_or(at.plus(1), |hole| hole.end)),
        }
    }

    /// Where the change in a row begins that holds entries on both sides of an offset.
    fn row_around(&self, at: Offset) -> Result<Option<Offset>, StoreError> {
        let mut query = self.connection.prepare_cached(
            "SELECT offset, offset + count FROM changes WHERE offset < ?1
             ORDER BY offset DESC LIMIT 1",
        )?;
        let found =
            query.query_row([column(at.0)], |row| Ok((offset(row.get(0)?), offset(row.get(1)?))));
        Ok(found.optional()?.filter(|(_, end)| *end > at).map(|(start, _)| start))
    }

    /// From the one that holds a seq, as far as changes hold seqs below `to`.
    pub(super) fn strand_from(
        &mut self,
        row: i64,
        (from, to): (Seq, Seq),
        most: usize,
    ) -> Result<Vec<Arrival>, StoreError> {
        let mut taken = Taken::at_most(most);
        let (mut at, mut end) = (from, End::Rows);
        while taken.has_room() && at < to {
            let before = at;
            let mut goes_on = |arrival: &Arrival| {
                let Change { first_seq, .. } = arrival.change;
                let on = first_seq <= at && at < arrival.change.next_seq() && at < to;
                at = if on { arrival.change.next_seq() } else { at };
                on
            };
            if let Some(id) = blocks::at_seq(&self.connection, row, before)? {
                let opened = self.open_block(id)?;
                let first = opened.at_seq(before);
                taken.push_while(opened.arrivals[first..].iter(), goes_on);
            } else {
                let condition = "WHERE c.segment = ?1 AND c.first_seq >= coalesce(
                        (SELECT max(first_seq) FROM changes WHERE segment = ?1 AND first_seq <= ?2), 0)
                        AND c.first_seq + c.count > ?2 AND c.first_seq < ?3
                     ORDER BY c.first_seq";
                let values = params![row, column(before.0), column(to.0)];
                end = self.rows(condition, values, &mut taken, &mut goes_on)?;
            }
            if at == before {
                let gone = self.gone_in(row)?.filter(|gone| gone.contains(&at));
                let Some(gone) = gone else { break };
                at = gone.end;
            }
        }
        if taken.has_room() && at < to && (end == End::Hole || self.is_held_above(row, at)?) {
            return Err(StoreError::Damaged(format!(
                "a change is missing at seq {at} of a segment"
            )));
        }
        Ok(taken.arrivals)
    }

    fn is_held_above(&self, row: i64, at: Seq) -> Result<bool, StoreError> {
        let mut query = self.connection.prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM changes WHERE segment = ?1 AND first_seq > ?2)
                OR EXISTS (SELECT 1 FROM blocks WHERE segment = ?1 AND first_seq > ?2)",
        )?;
        Ok(query.query_row(params![row, column(at.0)], |row| row.get(0))?)
    }

    /// From the one that holds the entry before a seq, down to the one that holds `start`.
    pub(super) fn strand_before(
        &mut self,
        row: i64,
        start: Seq,
        from: Seq,
        most: usize,
    ) -> Result<Vec<Arrival>, StoreError> {
        let mut taken = Taken::at_most(most);
        let mut at = from.min(self.end_of(row)?);
        while taken.has_room() && at > start {
            let before = at;
            let mut goes_on = |arrival: &Arrival| {
                let Change { first_seq, .. } = arrival.change;
                let on = first_seq < at && at <= arrival.change.next_seq() && at > start;
                at = if on { first_seq } else { at };
                on
            };
            let last = Seq(before.0 - 1);
            if let Some(id) = blocks::at_seq(&self.connection, row, last)? {
                let opened = self.open_block(id)?;
                let holds = opened.at_seq(last);
                taken.push_while(opened.arrivals[..=holds].iter().rev(), goes_on);
            } else {
                let condition = "WHERE c.segment = ?1 AND c.first_seq < ?2
                        AND c.first_seq + c.count > ?3 ORDER BY c.first_seq DESC";
                let values = params![row, column(before.0), column(start.0)];
                self.rows(condition, values, &mut taken, &mut goes_on)?;
            }
            if at == before {
                let gone = self.gone_in(row)?.filter(|gone| gone.contains(&last));
                let Some(gone) = gone else {
                    let what = format!("a change is missing below seq {at} of a segment");
                    return Err(StoreError::Damaged(what));
                };
                at = gone.start;
            }
        }
        Ok(taken.arrivals)
    }

    /// The seq after the last entry of a strand.
    fn end_of(&self, row: i64) -> Result<Seq, StoreError> {
        let mut query =
            self.connection.prepare_cached("SELECT next_seq FROM kept WHERE id = ?1")?;
        Ok(query.query_row([row], |row| Ok(seq(row.get(0)?))).optional()?.unwrap_or(Seq(0)))
    }

    /// Takes changes that stand in rows, as long as there is room and they go on.
    fn rows(
        &mut self,
        condition: &str,
        values: impl rusqlite::Params,
        taken: &mut Taken,
        goes_on: GoesOn<'_>,
    ) -> Result<End, StoreError> {
        let mut query = self.connection.prepare_cached(&format!("{CHANGE} {condition}"))?;
        let mut rows = query.query(values)?;
        while taken.has_room()
            && let Some(row) = rows.next()?
        {
            let arrival = arrival(row)?;
            if !goes_on(&arrival) {
                return Ok(End::Hole);
            }
            whole(&arrival, &self.damages)?;
            self.openings.check(&self.connection, row.get(14)?, &arrival.change)?;
            taken.push(arrival);
        }
        Ok(End::Rows)
    }

    fn open_block(&mut self, id: i64) -> Result<Arc<Opened>, StoreError> {
        let opened = self.blocks.open(&self.connection, id)?;
        if let Some(first) = opened.arrivals.first() {
            self.openings.check(&self.connection, opened.strand, &first.change)?;
        }
        Ok(opened)
    }

    /// A strand's row.
    pub(super) fn strand_row(&mut self, strand: Strand) -> Result<Option<KnownStrand>, StoreError> {
        if let Some(known) = self.strands.get(&strand) {
            return Ok(Some(*known));
        }
        let query = "SELECT s.id, s.start, a.node FROM segments s JOIN authors a ON a.id = s.author
             WHERE s.name = ?1 AND s.side = ?2";
        let mut query = self.connection.prepare_cached(query)?;
        let found = query.query_row(params![strand.segment.0, strand.side], |row| {
            let (start, author) = (seq(row.get(1)?), NodeId(row.get(2)?));
            Ok(KnownStrand { row: row.get(0)?, start, author, strand })
        });
        let found = found.optional()?;
        if let Some(known) = found {
            if self.strands.len() >= KNOWN_STRANDS {
                self.strands.clear();
            }
            self.strands.insert(strand, known);
        }
        Ok(found)
    }

    pub(super) fn pass(
        &mut self,
        from: Offset,
        limit: usize,
    ) -> Result<(Vec<Passed>, Offset), StoreError> {
        let mut passed = Vec::new();
        let mut at = from;
        while passed.len() < limit {
            let before = at;
            if let Some((id, _)) = blocks::at_offset(&self.connection, at)? {
                let opened = self.open_block(id)?;
                for arrival in &opened.arrivals[opened.at_offset(at)..] {
                    if passed.len() == limit || arrival.offset > at {
                        break;
                    }
                    at = arrival.end();
                    passed.push(Passed::of(arrival));
                }
            } else {
                at = self.pass_rows(at, limit, &mut passed)?;
            }
            if at == before {
                let Some(hole) = hole_at(&self.connection, at)? else { break };
                at = hole.end;
            }
        }
        Ok((passed, at))
    }

    /// Changes that stand in rows, without their bytes.
    fn pass_rows(
        &self,
        from: Offset,
        limit: usize,
        passed: &mut Vec<Passed>,
    ) -> Result<Offset, StoreError> {
        let mut query = self.connection.prepare_cached(
            "SELECT a.node, s.name, c.first_seq, c.count, c.hash, c.offset, s.side
             FROM changes c JOIN segments s ON s.id = c.segment JOIN authors a ON a.id = s.author
             WHERE c.offset >= coalesce((SELECT max(offset) FROM changes WHERE offset <= ?1), 0)
                AND c.offset + c.count > ?1
             ORDER BY c.offset LIMIT ?2",
        )?;
        let mut rows = query.query(params![column(from.0), column(limit as u64)])?;
        let mut at = from;
        while passed.len() < limit
            && let Some(row) = rows.next()?
        {
            let (first_seq, count) = (seq(row.get(2)?), u64::from(row.get::<_, u32>(3)?));
            let begins = offset(row.get(5)?);
            if begins > at {
                break;
            }
            let head = Head {
                segment: SegmentId(row.get(1)?),
                next_seq: first_seq.plus(count),
                hash: ChangeHash(row.get(4)?),
            };
            passed.push(Passed { author: NodeId(row.get(0)?), first_seq, head, side: row.get(6)? });
            at = begins.plus(count);
        }
        Ok(at)
    }

    /// The strand on which a change ends at a head.
    pub(super) fn located(&mut self, head: &Head) -> Result<Option<Strand>, StoreError> {
        let mut sides = self.connection.prepare_cached(
            "SELECT (SELECT c.first_seq + c.count = ?2 AND c.hash = ?3 FROM changes c
                WHERE c.segment = s.id AND c.first_seq < ?2 ORDER BY c.first_seq DESC LIMIT 1),
                s.side, s.id
             FROM segments s WHERE s.name = ?1",
        )?;
        let values = params![head.segment.0, column(head.next_seq.0), head.hash.0];
        let mut rows = sides.query(values)?;
        let mut others = Vec::new();
        while let Some(row) = rows.next()? {
            let strand = Strand { segment: head.segment, side: row.get(1)? };
            if row.get::<_, Option<bool>>(0)? == Some(true) {
                return Ok(Some(strand));
            }
            others.push((strand, row.get::<_, i64>(2)?));
        }
        drop(rows);
        drop(sides);
        let Some(last) = head.next_seq.0.checked_sub(1).map(Seq) else { return Ok(None) };
        for (strand, row) in others {
            if self.block_end(row, last)? == Some((head.next_seq, head.hash)) {
                return Ok(Some(strand));
            }
            let ends =
                |change: &Change| change.next_seq() == head.next_seq && change.hash == head.hash;
            if self.is_pruned_at(row, head)? {
                return Ok(Some(strand));
            }
            let found = self.opened_at(row, last)?;
            if found.is_some_and(|(opened, at)| ends(&opened.arrivals[at].change)) {
                return Ok(Some(strand));
            }
        }
        Ok(None)
    }

    /// Whether the strand of a row is pruned, and a head of it is its last change or one before that,
    /// of which nothing is known any more.
    fn is_pruned_at(&self, row: i64, head: &Head) -> Result<bool, StoreError> {
        let Some(gone) = self.gone_in(row)? else { return Ok(false) };
        let query = "SELECT hash FROM pruned WHERE segment = ?1";
        let mut query = self.connection.prepare_cached(query)?;
        let hash = ChangeHash(query.query_row([row], |row| row.get(0))?);
        let inside = gone.start < head.next_seq && head.next_seq < gone.end;
        Ok(inside || (head.next_seq, head.hash) == (gone.end, hash))
    }

    /// Where the block that holds a seq of a strand ends, and what it hashes to, without opening it.
    pub(super) fn block_end(
        &self,
        row: i64,
        at: Seq,
    ) -> Result<Option<(Seq, ChangeHash)>, StoreError> {
        let mut query = self.connection.prepare_cached(
            "SELECT next_seq, hash FROM blocks WHERE segment = ?1 AND first_seq <= ?2
             ORDER BY first_seq DESC LIMIT 1",
        )?;
        let found = query.query_row(params![row, column(at.0)], |row| {
            Ok((seq(row.get(0)?), ChangeHash(row.get(1)?)))
        });
        Ok(found.optional()?.filter(|(next, _)| *next > at))
    }

    /// The block that holds a seq of a strand, and which of its changes does. None where no block
    /// does, or it is damaged, which is noted: nothing is known of what is in it.
    pub(super) fn opened_at(
        &mut self,
        row: i64,
        at: Seq,
    ) -> Result<Option<(Arc<Opened>, usize)>, StoreError> {
        let Some(id) = blocks::at_seq(&self.connection, row, at)? else { return Ok(None) };
        match self.open_block(id) {
            Ok(opened) => {
                let change = opened.at_seq(at);
                Ok((change < opened.arrivals.len()).then_some((opened, change)))
            }
            Err(StoreError::Lost(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
