//! A block's entries as they lie in it: unpacked, and read without building its changes again.
//!
//! Building them takes several times as long as reading them, and only their hashes come of it. As for
//! what is [picked](super::pick), the checksum covers the place, the record and the hash of the last
//! change.

use std::ops::Range;

use super::{BlockOpener, CHECKSUM, Damaged, Stand, Table, is_whole, split_link};
use crate::core::merge::common;
use crate::words::entry::View;
use crate::words::{Seq, Time};

/// The entries of a block, unpacked.
pub struct Unpacked {
    seqs: Range<Seq>,
    beside: Vec<u8>,
    data: Vec<u8>,
}

impl BlockOpener {
    /// Unpacks the entries of a block of our own, which are read when they are asked for.
    ///
    /// # Errors
    /// The record is not as it was sealed.
    pub fn unpack_entries(
        &mut self,
        record: &[u8],
        stand: &Stand<'_>,
    ) -> Result<Unpacked, Damaged> {
        is_whole(record, stand).then_some(()).ok_or(Damaged)?;
        let (_, packed) =
            split_link(&record[..record.len() - CHECKSUM], stand.opening).ok_or(Damaged)?;
        let (beside, data) = self.unpack(packed).ok_or(Damaged)?;
        Ok(Unpacked { seqs: stand.first_seq..stand.next_seq, beside, data })
    }
}

impl Unpacked {
    /// How many bytes it takes in memory.
    pub fn size(&self) -> usize {
        self.beside.len() + self.data.len()
    }

    /// Calls with each entry that has one of these seqs, in order.
    ///
    /// # Errors
    /// What a call returns, and `damaged` where the entries are not what a block holds: calls for
    /// those before it were made.
    pub fn each<E>(
        &self,
        seqs: &Range<Seq>,
        damaged: impl Fn() -> E,
        mut call: impl FnMut(Seq, &View<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let table = Table::read(&self.beside, &self.seqs).ok_or_else(&damaged)?;
        let mut entries = table.entries(&self.data);
        let seqs = common(seqs, &self.seqs);
        for _ in self.seqs.start.0..seqs.start.0 {
            entries.skip().ok_or_else(&damaged)?;
        }
        for seq in (seqs.start.0..seqs.end.0).map(Seq) {
            let view = entries.next_view().ok_or_else(&damaged)?;
            call(seq, &view)?;
        }
        if seqs.end < self.seqs.end || entries.is_empty() { Ok(()) } else { Err(damaged()) }
    }

    /// The times of the first and the last entry; none where they are not what a block holds.
    pub fn times(&self) -> Option<(Time, Time)> {
        let Table { columns: [_, _, _, mut times, _], .. } = Table::read(&self.beside, &self.seqs)?;
        let first = times.number()?;
        let mut last = first;
        while !times.bytes.is_empty() {
            last = last.checked_add(times.number()?)?;
        }
        Some((Time::from_bits(first)?, Time::from_bits(last)?))
    }
}
