//! Reads our own changes back, without Automerge and without copying.
//!
//! A change that [`encode`](super::encode) built has one fixed shape, so reading it takes a header
//! and two columns. Layout of the chunk (source: the Automerge binary format,
//! <https://automerge.org/automerge-binary-format-spec/>):
//!
//! ```text
//! 85 6f 4a 83 | checksum (4) | 01 | length | dependencies | actor | seq | start op | time
//!   | message | other actors | column table | columns | extra bytes
//! ```
//!
//! The hash of a change is the SHA-256 of all that follows the checksum, and the checksum is its
//! first four bytes. [`Chunk::open`] compares it first: what the disk altered is never read.

use std::ops::Range;

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::{FIRST_OP, Link};
use crate::core::segment::Opening;
use crate::words::limits::CHANGE_ENTRIES;
use crate::words::{ChangeHash, SegmentId};

/// What every Automerge chunk starts with.
pub(super) const MAGIC: [u8; 4] = [0x85, 0x6f, 0x4a, 0x83];
/// Where in the chunk the hashed bytes start: after the magic number and the checksum.
pub(super) const HASHED_FROM: usize = 8;
/// The column of value lengths and types.
pub(super) const VALUE_META: u64 = 0x56;
/// The column of the values' bytes.
pub(super) const VALUE: u64 = 0x57;
/// The type of a `bytes` scalar, in the low four bits of its length.
pub(super) const BYTES_TYPE: u64 = 7;

/// Says that stored bytes are not the change that they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Damaged {
    /// They hash to something else.
    #[error("the stored bytes don't hash to the change's hash")]
    Hash,
    /// They hash as expected but are no change of this log.
    #[error("the stored bytes are no change of this log")]
    Shape,
    /// They are a change, and what is stored beside them says other things of it.
    #[error("the stored place, count or times are not the change's")]
    Row,
}

/// What stands before the columns of a chunk.
#[derive(Clone, Copy, Debug)]
struct Head<'a> {
    dependency: ChangeHash,
    /// The segment's id.
    actor: &'a [u8],
    seq: u64,
    start_op: u64,
    message: &'a str,
}

/// A change's chunk, taken apart.
#[derive(Clone, Debug)]
pub struct Chunk<'a> {
    bytes: &'a Bytes,
    head: Head<'a>,
    /// The encoded entries: ranges of `bytes`.
    entries: Vec<Range<usize>>,
}

impl<'a> Chunk<'a> {
    /// Opens a stored chunk whose hash is known.
    ///
    /// # Errors
    /// Bytes with another hash, or of another shape.
    pub fn open(bytes: &'a Bytes, hash: ChangeHash) -> Result<Self, Damaged> {
        let (start, hashed) = bytes.split_at_checked(HASHED_FROM).ok_or(Damaged::Hash)?;
        let whole = start[..4] == MAGIC && start[4..] == hash.0[..4];
        if !whole || Sha256::digest(hashed)[..] != hash.0 {
            return Err(Damaged::Hash);
        }
        Self::trusted(bytes)
    }

    /// The hash that bytes have, whoever says so: what is in them may be anything.
    ///
    /// # Errors
    /// They are no chunk, or the checksum at their head is not theirs.
    pub fn hash(bytes: &Bytes) -> Result<ChangeHash, Damaged> {
        let (start, hashed) = bytes.split_at_checked(HASHED_FROM).ok_or(Damaged::Hash)?;
        let hash: [u8; 32] = Sha256::digest(hashed).into();
        let whole = start[..MAGIC.len()] == MAGIC && start[MAGIC.len()..] == hash[..4];
        if whole { Ok(ChangeHash(hash)) } else { Err(Damaged::Hash) }
    }

    /// Opens a chunk whose hash has been compared already.
    ///
    /// # Errors
    /// Bytes of another shape.
    pub fn trusted(bytes: &'a Bytes) -> Result<Self, Damaged> {
        Self::read(bytes).ok_or(Damaged::Shape)
    }

    fn read(bytes: &'a Bytes) -> Option<Self> {
        let mut input = Input { bytes, at: HASHED_FROM };
        let head = input.head()?;
        for _ in 0..input.number()? {
            input.prefixed()?; // the other actor: genesis
        }
        let (meta, values) = input.value_columns()?;
        let entries = entry_ranges(bytes.get(meta)?, values)?;
        Some(Self { bytes, head, entries })
    }

    /// What the change hangs on.
    ///
    /// # Errors
    /// A message that is no opening statement.
    pub fn link(&self) -> Result<Link, Damaged> {
        link(&self.head)
    }

    /// Whether the chunk stands in this segment, after so many changes and entries of it.
    pub(super) fn stands(&self, segment: SegmentId, index: u32, entries: u64) -> bool {
        self.head.actor == segment.0
            && self.head.seq == u64::from(index) + 1
            && self.head.start_op == FIRST_OP + entries
    }

    /// The segment that the chunk says it stands in, after how many changes and entries of it.
    pub fn place(&self) -> Option<(SegmentId, u32, u64)> {
        let segment = SegmentId(self.head.actor.try_into().ok()?);
        let index = u32::try_from(self.head.seq.checked_sub(1)?).ok()?;
        Some((segment, index, self.head.start_op.checked_sub(FIRST_OP)?))
    }

    /// How many entries the change holds.
    pub fn count(&self) -> usize {
        self.entries.len()
    }

    /// The encoded entries, borrowed, in order.
    pub fn entries(&self) -> impl DoubleEndedIterator<Item = &'a [u8]> + ExactSizeIterator + '_ {
        self.entries.iter().map(|range| &self.bytes[range.clone()])
    }

    /// The encoded entries, sharing the chunk's memory.
    pub fn shared_entries(&self) -> Vec<Bytes> {
        self.entries.iter().map(|range| self.bytes.slice(range.clone())).collect()
    }
}

/// Whether bytes carry the checksum of this hash, and have another one.
pub(super) fn is_altered(bytes: &Bytes, hash: ChangeHash) -> bool {
    let Some((start, hashed)) = bytes.split_at_checked(HASHED_FROM) else { return false };
    start[MAGIC.len()..] == hash.0[..4] && start[MAGIC.len()..] != Sha256::digest(hashed)[..4]
}

/// What a change hangs on, read from the head of bytes that need no check any more.
pub(super) fn link_of(bytes: &Bytes) -> Result<Link, Damaged> {
    let mut input = Input { bytes, at: HASHED_FROM };
    link(&input.head().ok_or(Damaged::Shape)?)
}

fn link(head: &Head<'_>) -> Result<Link, Damaged> {
    if head.message.is_empty() {
        return Ok(Link::Previous(head.dependency));
    }
    Opening::parse(head.message).map(Link::Opening).map_err(|_| Damaged::Shape)
}

/// Cuts the value column into entries by the run-length encoded lengths.
fn entry_ranges(meta: &[u8], values: Range<usize>) -> Option<Vec<Range<usize>>> {
    let mut input = Input { bytes: meta, at: 0 };
    let mut entries = Vec::new();
    let mut at = values.start;
    let mut push = |value: u64| {
        (value & 0xf == BYTES_TYPE && entries.len() < CHANGE_ENTRIES).then_some(())?;
        let end = at.checked_add(usize::try_from(value >> 4).ok()?)?;
        (end <= values.end).then_some(())?;
        entries.push(at..end);
        at = end;
        Some(())
    };
    while input.at < meta.len() {
        match input.signed()? {
            run @ 1.. => {
                let value = input.number()?;
                (0..run).try_for_each(|_| push(value))?;
            }
            0 => return None, // a run of nulls: none of ours
            literals => {
                for _ in 0..literals.unsigned_abs() {
                    push(input.number()?)?;
                }
            }
        }
    }
    (at == values.end && !entries.is_empty()).then_some(entries)
}

/// A place in bytes that are read from front to back; every read can fail, none can panic.
struct Input<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Input<'a> {
    fn byte(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(length)?;
        let taken = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    /// An unsigned LEB128 number.
    fn number(&mut self) -> Option<u64> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    /// A signed LEB128 number.
    fn signed(&mut self) -> Option<i64> {
        let mut number = 0i64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= i64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                let sign = shift + 7 < 64 && byte & 0x40 != 0;
                return Some(if sign { number | (-1 << (shift + 7)) } else { number });
            }
        }
        None
    }

    /// Reads up to the other actors: the one dependency, and the message.
    fn head(&mut self) -> Option<Head<'a>> {
        (self.byte()? == 1).then_some(())?;
        let length = self.length()?;
        (self.at.checked_add(length)? == self.bytes.len()).then_some(())?;
        (self.number()? == 1).then_some(())?;
        let dependency = ChangeHash(self.take(32)?.try_into().ok()?);
        let actor = self.prefixed()?;
        let (seq, start_op) = (self.number()?, self.number()?);
        self.number()?; // time: skipped, its sign doesn't matter
        let message = std::str::from_utf8(self.prefixed()?).ok()?;
        Some(Head { dependency, actor, seq, start_op, message })
    }

    fn length(&mut self) -> Option<usize> {
        usize::try_from(self.number()?).ok()
    }

    fn prefixed(&mut self) -> Option<&'a [u8]> {
        let length = self.length()?;
        self.take(length)
    }

    /// Reads the column table, and says where the lengths and the values of the entries lie.
    fn value_columns(&mut self) -> Option<(Range<usize>, Range<usize>)> {
        let mut columns = Vec::new();
        for _ in 0..self.number()? {
            columns.push((self.number()?, self.length()?));
        }
        let (mut meta, mut values) = (None, None);
        let mut at = self.at;
        for (column, length) in columns {
            let range = at..at.checked_add(length)?;
            at = range.end;
            match column {
                VALUE_META => meta = Some(range),
                VALUE => values = Some(range),
                _ => {}
            }
        }
        (at <= self.bytes.len()).then_some(())?;
        Some((meta?, values?))
    }
}
