//! Picking a few entries of a block, where opening all of it would cost ten times as much.
//!
//! The checksum covers the place, the record and the hash of the last change, so that what was altered
//! on the disk is noticed as it is when a block is opened. What is not done is to build the changes
//! again: the record was compared with what was signed when it was packed.

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;
use zstd::zstd_safe::{find_frame_compressed_size, get_frame_content_size};

use super::{
    BlockOpener, CHECKSUM, DATA_MOST, Damaged, Part, Stand, Table, is_whole, split_link,
    split_packed,
};
use crate::words::entry::View;
use crate::words::limits::ATTRIBUTES;
use crate::words::{Seq, Time};

/// Of so many entries of a block one is picked at most: where more are wanted it is opened, and kept
/// open for those who come next.
const SPARSE: usize = if cfg!(test) { 2 } else { 4 };

/// An entry that was picked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PickedEntry {
    /// Its seq.
    pub seq: Seq,
    /// The entry, encoded.
    pub bytes: Bytes,
}

/// An entry that is wanted, and where its payload lies in the data.
struct Wanted<'a> {
    seq: Seq,
    view: View<'a>,
    data: Range<usize>,
}

impl BlockOpener {
    /// The entries of a block of our own with seqs in a range whose tenant and topic are wanted, in order.
    /// None where they are so many that opening it is better.
    ///
    /// # Errors
    /// The record is not as it was sealed.
    pub fn pick(
        &mut self,
        record: &[u8],
        stand: &Stand<'_>,
        seqs: &Range<Seq>,
        wanted: &dyn Fn(&str, &str) -> bool,
    ) -> Result<Option<Vec<PickedEntry>>, Damaged> {
        is_whole(record, stand).then_some(()).ok_or(Damaged)?;
        self.pick_whole(&record[..record.len() - CHECKSUM], stand, seqs, wanted).ok_or(Damaged)
    }

    fn pick_whole(
        &mut self,
        record: &[u8],
        stand: &Stand<'_>,
        seqs: &Range<Seq>,
        wanted: &dyn Fn(&str, &str) -> bool,
    ) -> Option<Option<Vec<PickedEntry>>> {
        let (_, packed) = split_link(record, stand.opening)?;
        let [beside, data] = split_packed(packed)?;
        let beside = self.unpack_part(beside)?;
        let table = Table::read(&beside, &(stand.first_seq..stand.next_seq))?;
        let all: usize = table.counts.iter().sum();
        let found = find(table, stand.first_seq, data.length, seqs, wanted)?;
        if found.len() * SPARSE > all {
            return Some(None);
        }
        let ranges = found.iter().map(|wanted| wanted.data.clone());
        let pieces = self.unpack_around(data, ranges.collect())?;
        let picked = found.into_iter().map(|Wanted { seq, view, data }| {
            let data = cut(&pieces, data)?;
            let mut bytes = Vec::with_capacity(data.len() + 96);
            View { data: &data, ..view }.write(&mut bytes);
            Some(PickedEntry { seq, bytes: bytes.into() })
        });
        Some(Some(picked.collect::<Option<_>>()?))
    }

    /// Unpacks those frames of the data in which one of these ranges lies, which are in order.
    fn unpack_around(
        &mut self,
        Part { mut packed, length }: Part<'_>,
        ranges: Vec<Range<usize>>,
    ) -> Option<Vec<(usize, Vec<u8>)>> {
        let (mut at, mut pieces) = (0, Vec::new());
        while !packed.is_empty() {
            let (frame, rest) =
                packed.split_at_checked(find_frame_compressed_size(packed).ok()?)?;
            let size = usize::try_from(get_frame_content_size(frame).ok()??).ok()?;
            let end = at + Some(size).filter(|size| *size <= DATA_MOST)?;
            let first = ranges.partition_point(|range| range.end <= at);
            if ranges[first..].iter().take_while(|range| range.start < end).next().is_some() {
                pieces.push((at, self.unpack_part(Part { packed: frame, length: size })?));
            }
            (at, packed) = (end, rest);
        }
        (at == length).then_some(pieces)
    }
}

/// The entries that are wanted.
fn find<'a>(
    Table { counts, names, columns }: Table<'a>,
    first: Seq,
    length: usize,
    seqs: &Range<Seq>,
    wanted: &dyn Fn(&str, &str) -> bool,
) -> Option<Vec<Wanted<'a>>> {
    let [mut which, mut attributes, mut lengths, mut times, mut texts] = columns;
    let of_names: Vec<bool> =
        names.iter().map(|[tenant, topic, ..]| wanted(tenant, topic)).collect();
    let (mut time, mut at, mut found) = (0_u64, 0_usize, Vec::new());
    for before in 0..counts.iter().sum::<usize>() {
        let name = usize::try_from(which.number()?).ok()?;
        time = time.checked_add(times.number()?)?;
        let count = attributes.length(ATTRIBUTES)?;
        let end = at.checked_add(lengths.length(length)?)?;
        let seq = first.plus(before as u64);
        if !*of_names.get(name)? || !seqs.contains(&seq) {
            (0..2 * count).try_for_each(|_| texts.skip_text())?;
        } else {
            let attributes = (0..count).map(|_| Some((texts.text()?, texts.text()?)));
            let attributes = attributes.collect::<Option<_>>()?;
            let [tenant, topic, kind, content_type] = names[name];
            let time = Time::from_bits(time)?;
            let data: &[u8] = &[];
            let view = View { time, tenant, topic, kind, attributes, content_type, data };
            found.push(Wanted { seq, view, data: at..end });
        }
        at = end;
    }
    (at == length).then_some(found)
}

/// A range of the data, of which some pieces were unpacked.
fn cut(pieces: &[(usize, Vec<u8>)], range: Range<usize>) -> Option<Cow<'_, [u8]>> {
    if range.is_empty() {
        return Some(Cow::Borrowed(&[]));
    }
    let holds = pieces.partition_point(|(start, piece)| start + piece.len() <= range.start);
    let (start, piece) = pieces.get(holds)?;
    if let Some(whole) = piece.get(range.start.checked_sub(*start)?..range.end - start) {
        return Some(Cow::Borrowed(whole));
    }
    let mut joined = Vec::with_capacity(range.len());
    for (start, piece) in &pieces[holds..] {
        let from = range.start.max(*start);
        let to = range.end.min(start + piece.len());
        if from < to && from == range.start + joined.len() {
            joined.extend_from_slice(piece.get(from - start..to - start)?);
        }
    }
    (joined.len() == range.len()).then_some(Cow::Owned(joined))
}
