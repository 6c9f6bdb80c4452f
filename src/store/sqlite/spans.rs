//! What a reader knows of all strands, brought up to date by what arrived since it last looked.
//!
//! A strand grows at its end only, and what is packed into blocks stays what it was. So after the first
//! look only those strands are read again of which something arrived, and a page of a listing costs no
//! statement for each segment of the log.

use std::collections::{BTreeMap, HashMap};

use rusqlite::{Connection, Row, params};

use super::super::{Span, StoreError};
use super::blocks::column;
use super::{seq, time};
use crate::core::segment::Strand;
use crate::words::{NodeId, Offset, SegmentId};

/// After so many new entries all strands are read again: it costs less than to look which have grown.
const MANY: u64 = 100_000;

/// The columns of a span, and the row of its strand. The newest change or block of each strand is looked
/// up: the view `held` would go through all blocks of the log. Times rise with seqs, so the highest of
/// both belong together. A strand of which nothing is held has no span.
/// Where the beginning of a strand was removed, it begins with what came of it after all.
const SPAN: &str = "SELECT a.node, s.name, s.side, s.start,
        max(coalesce((SELECT first_seq + count FROM changes WHERE segment = s.id
                ORDER BY first_seq DESC LIMIT 1), 0),
            coalesce((SELECT next_seq FROM blocks WHERE segment = s.id
                ORDER BY first_seq DESC LIMIT 1), 0)) AS next_seq,
        s.start_time,
        max(coalesce((SELECT last_time FROM changes WHERE segment = s.id
                ORDER BY first_seq DESC LIMIT 1), 0),
            coalesce((SELECT last_time FROM blocks WHERE segment = s.id
                ORDER BY first_seq DESC LIMIT 1), 0)),
        s.id,
        CASE WHEN EXISTS (SELECT 1 FROM pruned WHERE segment = s.id) THEN
            min(coalesce((SELECT first_seq FROM changes WHERE segment = s.id
                ORDER BY first_seq LIMIT 1), 9223372036854775807),
            coalesce((SELECT first_seq FROM blocks WHERE segment = s.id
                ORDER BY first_seq LIMIT 1), 9223372036854775807)) END,
        CASE WHEN EXISTS (SELECT 1 FROM pruned WHERE segment = s.id) THEN
            min(coalesce((SELECT first_time FROM changes WHERE segment = s.id
                ORDER BY first_seq LIMIT 1), 9223372036854775807),
            coalesce((SELECT first_time FROM blocks WHERE segment = s.id
                ORDER BY first_seq LIMIT 1), 9223372036854775807)) END
    FROM segments s CROSS JOIN authors a ON a.id = s.author";

/// The strands, as far as entries below an offset say.
#[derive(Default)]
pub(super) struct KnownSpans {
    upto: Offset,
    /// The newest pruning that they know of.
    prunings: i64,
    by_author: BTreeMap<NodeId, Vec<Span>>,
    /// Where the strand of a row stands among those of its author.
    places: HashMap<i64, usize>,
}

impl KnownSpans {
    /// All spans, or those of one author.
    pub fn of(&self, author: Option<NodeId>) -> Vec<Span> {
        match author {
            None => self.by_author.values().flatten().copied().collect(),
            Some(author) => self.by_author.get(&author).cloned().unwrap_or_default(),
        }
    }

    /// Reads what arrived below the watermark and isn't known yet.
    pub fn bring_to(
        &mut self,
        connection: &Connection,
        watermark: Offset,
    ) -> Result<(), StoreError> {
        let newest = "SELECT coalesce(max(id), 0) FROM pruned";
        let prunings = connection.prepare_cached(newest)?.query_row([], |row| row.get(0))?;
        if watermark == self.upto && prunings == self.prunings {
            return Ok(());
        }
        if prunings != self.prunings
            || watermark < self.upto
            || watermark.0 - self.upto.0 > MANY
            || self.by_author.is_empty()
        {
            *self = Self::default();
            let mut all = connection.prepare_cached(SPAN)?;
            let mut rows = all.query([])?;
            while let Some(row) = rows.next()? {
                self.put(read(row)?);
            }
        } else {
            self.read_grown(connection)?;
        }
        (self.upto, self.prunings) = (watermark, prunings);
        Ok(())
    }

    fn read_grown(&mut self, connection: &Connection) -> Result<(), StoreError> {
        let mut grown = connection.prepare_cached(
            "SELECT segment FROM changes WHERE offset >= ?1
             UNION SELECT b.segment FROM pieces p JOIN blocks b ON b.id = p.block
             WHERE p.offset >= coalesce((SELECT max(offset) FROM pieces WHERE offset <= ?1), 0)",
        )?;
        let grown = grown.query_map([column(self.upto.0)], |row| row.get::<_, i64>(0))?;
        let grown: Vec<i64> = grown.collect::<Result<_, _>>()?;
        let mut one = connection.prepare_cached(&format!("{SPAN} WHERE s.id = ?1"))?;
        for id in grown {
            let mut rows = one.query(params![id])?;
            while let Some(row) = rows.next()? {
                self.put(read(row)?);
            }
        }
        Ok(())
    }

    fn put(&mut self, (id, span): (i64, Span)) {
        if span.next_seq <= span.first_seq {
            return;
        }
        let spans = self.by_author.entry(span.author).or_default();
        let known = self.places.get(&id).and_then(|place| spans.get_mut(*place));
        // A row that was altered may name another author now.
        match known.filter(|known| known.strand == span.strand) {
            Some(known) => *known = span,
            None => {
                self.places.insert(id, spans.len());
                spans.push(span);
            }
        }
    }
}

fn read(row: &Row<'_>) -> rusqlite::Result<(i64, Span)> {
    let span = Span {
        author: NodeId(row.get(0)?),
        strand: Strand { segment: SegmentId(row.get(1)?), side: row.get(2)? },
        first_seq: seq(row.get::<_, Option<i64>>(8)?.unwrap_or(row.get(3)?)),
        next_seq: seq(row.get(4)?),
        first_time: time(row.get::<_, Option<i64>>(9)?.unwrap_or(row.get(5)?)),
        last_time: time(row.get(6)?),
    };
    Ok((row.get(7)?, span))
}
