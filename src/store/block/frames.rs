//! The packed parts of a record: the columns, one zstd frame, and the data, in frames so small that a
//! reader of a few entries unpacks little beside them.
//!
//! A small frame alone packs badly, since zstd must see a text once before it can say that it comes again.
//! So the data's first bytes, its sample, stand with the columns, which every reader unpacks anyway, and
//! are the dictionary of all frames of the rest. On real logs, frames of 8 KiB with a sample of 2 KiB take
//! no more than frames of 16 KiB do without one.

use std::io::Cursor;
use std::ops::Range;

use zstd::zstd_safe::{
    CCtx, DCtx, MAGIC_DICTIONARY, compress_bound, find_frame_compressed_size,
    get_frame_content_size,
};

use super::unpacked::Row;
use super::{DATA_MOST, Damaged};
use crate::store::rests::Rests;

/// How hard zstd tries. With a sample, what 3 makes is no smaller, and takes a fifth longer.
const LEVEL: i32 = 1;
/// How many bytes of data are packed together.
const FRAME: usize = 8 << 10;
/// How many bytes of data are the sample.
pub(super) const SAMPLE: usize = 2 << 10;

/// Packs parts of records; it keeps the memory that this takes.
pub(super) struct Packer(CCtx<'static>);

impl Packer {
    /// # Errors
    /// There is no memory for it.
    pub fn new() -> std::io::Result<Self> {
        CCtx::try_create().map(Self).ok_or_else(|| std::io::ErrorKind::OutOfMemory.into())
    }

    /// Packs a part that is one frame.
    pub fn one_frame(&mut self, bytes: &[u8]) -> Result<Vec<u8>, Damaged> {
        let mut packed = Vec::with_capacity(compress_bound(bytes.len()));
        self.0.compress(&mut packed, bytes, LEVEL).map_err(|_| Damaged)?;
        Ok(packed)
    }

    /// Packs the data behind its sample.
    pub fn frames(&mut self, data: &[u8], rests: &mut Rests) -> Result<Vec<u8>, Damaged> {
        let (sample, rest) = data.split_at(data.len().min(SAMPLE));
        let mut packed = Vec::with_capacity(rest.len() / 4);
        let mut frame = Vec::with_capacity(compress_bound(FRAME));
        let dictionary = dictionary(sample);
        for piece in rest.chunks(FRAME) {
            let done = self.0.compress_using_dict(&mut frame, piece, dictionary, LEVEL);
            done.map_err(|_| Damaged)?;
            packed.extend_from_slice(&frame);
            rests.look();
        }
        Ok(packed)
    }
}

/// What zstd is given as a dictionary. Bytes that look like one that was trained would be read as one, so
/// they are none.
fn dictionary(sample: &[u8]) -> &[u8] {
    if sample.starts_with(&MAGIC_DICTIONARY.to_le_bytes()) { &[] } else { sample }
}

/// A part of a record that is packed by itself, and its length unpacked.
#[derive(Clone, Copy)]
pub(super) struct Part<'r> {
    pub packed: &'r [u8],
    pub length: usize,
}

/// Unpacks parts of records; it keeps the memory that this takes.
pub(super) struct Unpacker(DCtx<'static>);

impl Unpacker {
    /// # Errors
    /// There is no memory for it.
    pub fn new() -> std::io::Result<Self> {
        DCtx::try_create().map(Self).ok_or_else(|| std::io::ErrorKind::OutOfMemory.into())
    }

    /// A part, however many frames it is.
    pub fn part(&mut self, part: Part<'_>) -> Option<Vec<u8>> {
        self.data(part, &[])
    }

    /// All of the data, of which the sample is there already.
    pub fn data(&mut self, Part { packed, length }: Part<'_>, sample: &[u8]) -> Option<Vec<u8>> {
        let rest = length.checked_sub(sample.len())?;
        let mut data = Vec::with_capacity(length);
        data.extend_from_slice(sample);
        let unpacked = self.append(&mut data, packed, rest, sample)?;
        (unpacked == rest).then_some(data)
    }

    /// Unpacks frames behind what a buffer holds. Returns how many bytes they are; more than so many are
    /// none.
    fn append(
        &mut self,
        out: &mut Vec<u8>,
        packed: &[u8],
        most: usize,
        sample: &[u8],
    ) -> Option<usize> {
        let before = out.len();
        out.reserve_exact(most);
        let mut free = Cursor::new(out);
        free.set_position(before as u64);
        let unpacked = self.0.decompress_using_dict(&mut free, packed, dictionary(sample));
        unpacked.ok().filter(|unpacked| *unpacked <= most)
    }

    /// The data of these rows, which lie there now as they do in what is returned. Only those frames are
    /// unpacked in which one of them lies.
    pub fn around(
        &mut self,
        Part { mut packed, length }: Part<'_>,
        sample: &[u8],
        rows: &mut [Row],
    ) -> Option<Vec<u8>> {
        let mut wanted = Wanted::of(rows);
        if wanted.lies_in(0..sample.len()) {
            wanted.take(0, sample)?;
        }
        let (mut at, mut piece) = (sample.len(), Vec::new());
        while !packed.is_empty() {
            let (frame, rest) =
                packed.split_at_checked(find_frame_compressed_size(packed).ok()?)?;
            let size = usize::try_from(get_frame_content_size(frame).ok()??).ok()?;
            let end = at + Some(size).filter(|size| *size <= DATA_MOST)?;
            if wanted.lies_in(at..end) {
                piece.clear();
                (self.append(&mut piece, frame, size, sample)? == size).then_some(())?;
                wanted.take(at, &piece)?;
            }
            (at, packed) = (end, rest);
        }
        let Wanted { order, data, .. } = wanted;
        let mut start = 0;
        for row in order {
            let row = &mut rows[row];
            let end = start + (row.data.end - row.data.start);
            (row.data, start) = (start..end, end);
        }
        (at == length && start as usize == data.len()).then_some(data)
    }
}

/// Rows in the order of their data, which is gathered piece by piece.
struct Wanted<'r> {
    rows: &'r [Row],
    order: Vec<usize>,
    /// How many of them lie before the next piece.
    done: usize,
    data: Vec<u8>,
}

impl<'r> Wanted<'r> {
    fn of(rows: &'r [Row]) -> Self {
        let mut order: Vec<usize> = (0..rows.len()).collect();
        order.sort_by_key(|row| rows[*row].data.start);
        Self { rows, order, done: 0, data: Vec::new() }
    }

    /// Whether some of it lies in the next piece.
    fn lies_in(&mut self, piece: Range<usize>) -> bool {
        let is_before = |row: &usize| self.rows[*row].data.end as usize <= piece.start;
        self.done += self.order[self.done..].iter().take_while(|row| is_before(row)).count();
        let next = self.order.get(self.done);
        next.is_some_and(|row| (self.rows[*row].data.start as usize) < piece.end)
    }

    /// Takes what lies in a piece that begins here.
    fn take(&mut self, at: usize, piece: &[u8]) -> Option<()> {
        let end = at + piece.len();
        for row in &self.order[self.done..] {
            let (from, to) =
                (self.rows[*row].data.start as usize, self.rows[*row].data.end as usize);
            if from >= end {
                break;
            }
            self.data.extend_from_slice(piece.get(from.max(at) - at..to.min(end) - at)?);
        }
        Some(())
    }
}
