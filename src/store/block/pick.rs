//! Reading entries of a block: all of them, or a few, where to unpack all would cost several times as much.

use std::ops::Range;

use super::frames::Part;
use super::table::{Layout, Table};
use super::unpacked::Unpacked;
use super::{BlockOpener, CHECKSUM, Damaged, Stand, begin, is_whole, split_packed};
use crate::words::Seq;

/// Of so many entries of a block one is picked at most: where more are wanted all are read, and kept for
/// those who come next.
const SPARSE: usize = if cfg!(test) { 2 } else { 4 };

impl BlockOpener {
    /// All entries of a block of our own.
    ///
    /// # Errors
    /// The record is not as it was sealed.
    pub fn unpack_entries(
        &mut self,
        record: &[u8],
        stand: &Stand<'_>,
    ) -> Result<Unpacked, Damaged> {
        let ([beside, data], layout) = parts(record, stand)?;
        let beside = self.unpacker.part(beside).ok_or(Damaged)?;
        let table = Table::read(&beside, layout, &stand.seqs()).ok_or(Damaged)?;
        let rows = table.rows(data.length, |_, _| true).ok_or(Damaged)?;
        let data = self.unpacker.data(data, table.sample).ok_or(Damaged)?;
        Unpacked::new(stand, &table.names, rows, table.texts(), data)
    }

    /// The entries of a block of our own with seqs in a range whose tenant and topic are wanted. None
    /// where they are so many that reading all is better.
    ///
    /// # Errors
    /// The record is not as it was sealed.
    pub fn pick(
        &mut self,
        record: &[u8],
        stand: &Stand<'_>,
        seqs: &Range<Seq>,
        wanted: &dyn Fn(&str, &str) -> bool,
    ) -> Result<Option<Unpacked>, Damaged> {
        let ([beside, data], layout) = parts(record, stand)?;
        let beside = self.unpacker.part(beside).ok_or(Damaged)?;
        let table = Table::read(&beside, layout, &stand.seqs()).ok_or(Damaged)?;
        let of_names: Vec<bool> =
            table.names.iter().map(|[tenant, topic, ..]| wanted(tenant, topic)).collect();
        let is_wanted = |which: usize, before: usize| {
            of_names[which] && seqs.contains(&stand.first_seq.plus(before as u64))
        };
        let mut rows = table.rows(data.length, is_wanted).ok_or(Damaged)?;
        if rows.len() * SPARSE > table.entries() {
            return Ok(None);
        }
        let data = self.unpacker.around(data, table.sample, &mut rows).ok_or(Damaged)?;
        Unpacked::new(stand, &table.names, rows, table.texts(), data).map(Some)
    }
}

/// The parts of a record that is as it was sealed, and how it spells names.
pub(super) fn parts<'r>(
    record: &'r [u8],
    stand: &Stand<'_>,
) -> Result<([Part<'r>; 2], Layout), Damaged> {
    is_whole(record, stand).then_some(()).ok_or(Damaged)?;
    let begun = begin(&record[..record.len() - CHECKSUM], stand.opening).ok_or(Damaged)?;
    Ok((split_packed(begun.packed).ok_or(Damaged)?, begun.layout))
}
