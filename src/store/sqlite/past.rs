//! What the log asks of its past, answered from rows and blocks.

use rusqlite::{OptionalExtension, params};

use super::super::StoreError;
use super::blocks::column;
use super::reader::SqliteReader;
use super::{seq, time};
use crate::core::frontier::Head;
use crate::core::log::{Past, Sides, Standing, Tip};
use crate::core::segment::{Parent, Strand};
use crate::words::{ChangeHash, NodeId, SegmentId, Seq};

impl Past for SqliteReader {
    type Error = StoreError;

    fn sides(&mut self, author: NodeId, segment: SegmentId) -> Result<Option<Sides>, StoreError> {
        let mut query = self.connection.prepare_cached(
            "SELECT count(*), min(s.first_seq), max(p.next_seq)
             FROM segments s JOIN authors a ON a.id = s.author LEFT JOIN pruned p ON p.segment = s.id
             WHERE s.name = ?1 AND a.node = ?2",
        )?;
        let (count, segment_seq, pruned) =
            query.query_row(params![segment.0, author.0], |row| {
                Ok((
                    row.get(0)?,
                    row.get::<_, Option<i64>>(1)?,
                    row.get::<_, Option<i64>>(2)?.map(seq),
                ))
            })?;
        Ok(segment_seq.map(|found| Sides { count, segment_seq: seq(found), pruned }))
    }

    fn begins(
        &mut self,
        segment: SegmentId,
        seq: Seq,
        hash: ChangeHash,
    ) -> Result<bool, StoreError> {
        self.at_once(|reader| reader.begins_at(segment, seq, hash))
    }

    fn reach(&mut self, strand: Strand) -> Result<Option<(Seq, u32)>, StoreError> {
        let query = "SELECT next_seq, changes FROM held WHERE name = ?1 AND side = ?2";
        let mut query = self.connection.prepare_cached(query)?;
        let found = query.query_row(params![strand.segment.0, strand.side], |row| {
            Ok((seq(row.get(0)?), row.get(1)?))
        });
        Ok(found.optional()?)
    }

    fn standing(
        &mut self,
        author: NodeId,
        parent: &Parent,
    ) -> Result<Option<Standing>, StoreError> {
        self.at_once(|reader| reader.stands(author, parent))
    }
}

impl SqliteReader {
    fn begins_at(
        &mut self,
        segment: SegmentId,
        seq: Seq,
        hash: ChangeHash,
    ) -> Result<bool, StoreError> {
        let mut query = self.connection.prepare_cached(
            "SELECT 1 FROM segments s JOIN changes c ON c.segment = s.id
             WHERE s.name = ?1 AND c.first_seq = ?2 AND c.hash = ?3",
        )?;
        if query.exists(params![segment.0, column(seq.0), hash.0])? {
            return Ok(true);
        }
        drop(query);
        for row in self.strands_of(segment)? {
            let found = self.opened_at(row, seq)?;
            let begins = found.is_some_and(|(opened, at)| {
                let change = &opened.arrivals[at].change;
                change.first_seq == seq && change.hash == hash
            });
            if begins {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn stands(&mut self, author: NodeId, parent: &Parent) -> Result<Option<Standing>, StoreError> {
        let in_row = self.standing_in_row(author, parent)?;
        if in_row.is_some() {
            return Ok(in_row);
        }
        let pruned = self.standing_pruned(author, parent)?;
        if pruned.is_some() {
            return Ok(pruned);
        }
        let Some(last) = parent.next_seq.0.checked_sub(1).map(Seq) else { return Ok(None) };
        let mut query = self.connection.prepare_cached(
            "SELECT s.id, s.name, s.side, s.first_seq, s.head
             FROM held s JOIN authors a ON a.id = s.author
             WHERE a.node = ?1 AND s.start < ?2 AND s.next_seq >= ?2 ORDER BY s.start DESC",
        )?;
        let strands = query.query_map(params![author.0, column(parent.next_seq.0)], |row| {
            let segment = SegmentId(row.get(1)?);
            let head = Head { segment, next_seq: parent.next_seq, hash: parent.hash };
            Ok((
                row.get::<_, i64>(0)?,
                head,
                row.get(2)?,
                seq(row.get(3)?),
                ChangeHash(row.get(4)?),
            ))
        })?;
        let strands: Vec<_> = strands.collect::<Result<_, _>>()?;
        drop(query);
        for (row, head, side, segment_seq, newest) in strands {
            let Some((opened, at)) = self.opened_at(row, last)? else { continue };
            let change = &opened.arrivals[at].change;
            if change.next_seq() == parent.next_seq && change.hash == parent.hash {
                let (changes, last_time) = (change.index + 1, change.last_time);
                let bytes = opened.so_far(at);
                let tip = Tip { head, side, segment_seq, changes, bytes, last_time };
                return Ok(Some(Standing { tip, followed: newest != parent.hash }));
            }
        }
        Ok(None)
    }

    /// The last change of a pruned segment; or one before it, of which nothing is known but that a
    /// segment of its author names it.
    fn standing_pruned(
        &self,
        author: NodeId,
        parent: &Parent,
    ) -> Result<Option<Standing>, StoreError> {
        let mut query = self.connection.prepare_cached(
            "SELECT s.name, s.first_seq, s.start_time, p.changes, p.next_seq, p.bytes, p.last_time,
                p.hash, s.id, h.head
             FROM segments s JOIN authors a ON a.id = s.author CROSS JOIN pruned p ON p.segment = s.id
                JOIN held h ON h.id = s.id
             WHERE a.node = ?1 AND s.start < ?2 AND p.next_seq >= ?2
             ORDER BY s.start DESC LIMIT 1",
        )?;
        let found = query.query_row(params![author.0, column(parent.next_seq.0)], |row| {
            let head = Head {
                segment: SegmentId(row.get(0)?),
                next_seq: parent.next_seq,
                hash: parent.hash,
            };
            let (segment_seq, end) = (seq(row.get(1)?), seq(row.get(4)?));
            let begun = Tip {
                head,
                side: 0,
                segment_seq,
                changes: 0,
                bytes: 0,
                last_time: time(row.get(2)?).min(time(row.get(6)?)),
            };
            let last = Tip {
                changes: row.get(3)?,
                bytes: row.get::<_, i64>(5)? as u64,
                last_time: time(row.get(6)?),
                ..begun.clone()
            };
            let hash = ChangeHash(row.get(7)?);
            let followed = ChangeHash(row.get(9)?) != hash;
            let standing = match parent.next_seq == end {
                true => (hash == parent.hash).then_some(Standing { tip: last, followed }),
                false => Some(Standing { tip: begun, followed: true }),
            };
            Ok((row.get::<_, i64>(8)?, standing))
        });
        let Some((row, standing)) = found.optional()? else { return Ok(None) };
        let gone = self.gone_in(row)?;
        Ok(standing.filter(|_| gone.is_some_and(|gone| gone.start < parent.next_seq)))
    }

    /// The rows of a segment's strands.
    fn strands_of(&self, segment: SegmentId) -> Result<Vec<i64>, StoreError> {
        let query = "SELECT id FROM segments WHERE name = ?1";
        let mut query = self.connection.prepare_cached(query)?;
        let rows = query.query_map([segment.0], |row| row.get(0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    fn standing_in_row(
        &self,
        author: NodeId,
        parent: &Parent,
    ) -> Result<Option<Standing>, StoreError> {
        let mut query = self.connection.prepare_cached(
            "SELECT s.name, s.side, s.first_seq, c.position + 1, c.so_far, c.last_time,
                s.head != c.hash
             FROM held s JOIN authors a ON a.id = s.author JOIN changes c ON c.segment = s.id
                AND c.first_seq = (SELECT max(first_seq) FROM changes
                    WHERE segment = s.id AND first_seq < ?2)
             WHERE a.node = ?1 AND s.start < ?2 AND s.next_seq >= ?2
                AND c.first_seq + c.count = ?2 AND c.hash = ?3
             ORDER BY s.start DESC LIMIT 1",
        )?;
        let values = params![author.0, column(parent.next_seq.0), parent.hash.0];
        let standing = query.query_row(values, |row| {
            let segment = SegmentId(row.get(0)?);
            let head = Head { segment, next_seq: parent.next_seq, hash: parent.hash };
            let tip = Tip {
                head,
                side: row.get(1)?,
                segment_seq: seq(row.get(2)?),
                changes: row.get(3)?,
                bytes: row.get::<_, i64>(4)? as u64,
                last_time: time(row.get(5)?),
            };
            Ok(Standing { tip, followed: row.get(6)? })
        });
        Ok(standing.optional()?)
    }
}
