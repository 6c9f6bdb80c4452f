//! Reading entries of a block: all of them, or a few, where to unpack all would cost several times as much.

use std::ops::Range;

use zstd::zstd_safe::{find_frame_compressed_size, get_frame_content_size};

use super::unpacked::{Row, Unpacked};
use super::{
    BlockOpener, CHECKSUM, DATA_MOST, Damaged, Layout, Part, Stand, Table, begin, is_whole,
    split_packed,
};
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
        let length = data.length;
        let beside = self.unpack_part(beside).ok_or(Damaged)?;
        let data = self.unpack_part(data).ok_or(Damaged)?;
        let table = Table::read(&beside, layout, &stand.seqs()).ok_or(Damaged)?;
        let rows = table.rows(length, |_, _| true).ok_or(Damaged)?;
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
        let beside = self.unpack_part(beside).ok_or(Damaged)?;
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
        let data = self.unpack_around(data, &mut rows).ok_or(Damaged)?;
        Unpacked::new(stand, &table.names, rows, table.texts(), data).map(Some)
    }

    /// The data of these rows, which lie there now as they do in what is returned. Only those frames are
    /// unpacked in which one of them lies.
    fn unpack_around(
        &mut self,
        Part { mut packed, length }: Part<'_>,
        rows: &mut [Row],
    ) -> Option<Vec<u8>> {
        let (mut at, mut next, mut data) = (0, 0, Vec::new());
        while !packed.is_empty() {
            let (frame, rest) =
                packed.split_at_checked(find_frame_compressed_size(packed).ok()?)?;
            let size = usize::try_from(get_frame_content_size(frame).ok()??).ok()?;
            let end = at + Some(size).filter(|size| *size <= DATA_MOST)?;
            next += rows[next..].partition_point(|row| row.data.end as usize <= at);
            let within = rows[next..].iter().take_while(|row| (row.data.start as usize) < end);
            let mut within = within.peekable();
            if within.peek().is_some() {
                let piece = self.unpack_part(Part { packed: frame, length: size })?;
                for row in within {
                    let (from, to) = (row.data.start as usize, row.data.end as usize);
                    data.extend_from_slice(piece.get(from.max(at) - at..to.min(end) - at)?);
                }
            }
            (at, packed) = (end, rest);
        }
        let mut start = 0;
        for row in rows {
            let end = start + (row.data.end - row.data.start);
            (row.data, start) = (start..end, end);
        }
        (at == length && start as usize == data.len()).then_some(data)
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
