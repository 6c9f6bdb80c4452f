//! Blocks: consecutive changes of one strand, sealed into one compact record.
//!
//! A change is a function of its place and its entries, so a block keeps only these, as columns, and
//! every byte of every change comes back when it is opened: [`BlockOpener`] builds them again, each
//! linked to the one before, and the hash of the last one must be the one that its author signed. So
//! whoever reads a block reads what was signed, or learns that it is damaged. `docs/storage.md` draws
//! the bytes.
//!
//! Why not an Automerge document: its columns are deflated as a whole, it holds the entries' CBOR
//! with times and names between the texts, and it must be read from the front. On real logs that is
//! 1.1 to 1.7 times `zstd -3` of the lines, and columns as here 1.0 to 1.3 times; and a reader of a
//! few entries would inflate thousands. Any set of blocks opens into changes that make the document.

use std::ops::Range;

use sha2::{Digest, Sha256};
use twox_hash::XxHash3_64;

use super::Sealed;
use super::rests::Rests;
use crate::core::change::{Change, Link, Place, SignedBlock, VerifyError, cut, rebuild};
use crate::core::log::Arrival;
use crate::core::segment::Opening;
use crate::words::entry::View;
use crate::words::limits::CHANGE_BYTES;
use crate::words::{ChangeHash, ClusterId, NodeId, SegmentId, Seq, Time};
use columns::Columns;
use frames::{Packer, Part, Unpacker};
use input::{Input, number};
use table::{Entries, Layout, Table, are_sound};

mod columns;
mod frames;
pub(super) mod input;
mod names;
mod pick;
mod table;
mod unpacked;
pub mod worth;

pub use unpacked::Unpacked;

/// The most entries of a block of several changes.
pub const BLOCK_ENTRIES: usize = 1_024;
/// The most bytes of changes in a block of several.
pub const BLOCK_BYTES: usize = 256 << 10;
/// How a record begins whose block begins its segment.
const FORM_OPENING: u8 = 5;
/// How any other one begins; the hash of the change before it follows.
const FORM_PREVIOUS: u8 = 6;
/// What the columns beside the data may take, unpacked: far more than honest ones do.
const COLUMNS_MOST: usize = 4 << 20;
/// What the data may take, unpacked.
const DATA_MOST: usize = CHANGE_BYTES + BLOCK_BYTES;

/// How many bytes of checksum end a record.
const CHECKSUM: usize = 8;

/// Says that a record is not the block that was sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the block is not as it was sealed")]
pub struct Damaged;

/// Where a block stands; what it hangs on is in the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stand<'a> {
    /// Who wrote it.
    pub author: NodeId,
    /// The segment that it belongs to.
    pub segment: SegmentId,
    /// The seq of the segment's first entry.
    pub segment_seq: Seq,
    /// How many changes of the segment stand before it.
    pub index: u32,
    /// The seq of its first entry.
    pub first_seq: Seq,
    /// The opening statement of the segment.
    pub opening: &'a str,
    /// The seq after the last entry.
    pub next_seq: Seq,
    /// The hash of the last change, which its author signed.
    pub last: ChangeHash,
}

impl Stand<'_> {
    fn seqs(&self) -> Range<Seq> {
        self.first_seq..self.next_seq
    }
}

/// Whether a record is as it was sealed, for the place where it stands. This reads it and opens
/// nothing.
pub fn is_whole(record: &[u8], stand: &Stand<'_>) -> bool {
    let Some(end) = record.len().checked_sub(CHECKSUM) else { return false };
    checksum(&record[..end], stand) == record[end..]
}

/// Seals changes into records, one after the other; it keeps the compressor's memory.
pub struct Sealer {
    packer: Packer,
    rests: Rests,
}

impl Sealer {
    /// A sealer with a compressor of its own.
    ///
    /// # Errors
    /// There is no memory for it.
    pub fn new() -> std::io::Result<Self> {
        Ok(Self { packer: Packer::new()?, rests: Rests::default() })
    }

    /// Seals consecutive changes of one strand.
    ///
    /// # Errors
    /// A change whose bytes can't be read.
    pub fn seal<'c>(
        &mut self,
        changes: impl IntoIterator<Item = &'c Change>,
    ) -> Result<Vec<u8>, Damaged> {
        let changes: Vec<&Change> = changes.into_iter().collect();
        let first = changes.first().ok_or(Damaged)?;
        let mut columns = Columns::of(changes.len());
        for change in &changes {
            columns.begin_change(change.count);
            let chunk = change.chunk().map_err(|_| Damaged)?;
            for entry in chunk.entries() {
                columns.push(&View::read(entry).map_err(|_| Damaged)?);
            }
            self.rests.look();
        }
        let (beside, data) = columns.join();
        let beside_packed = self.packer.one_frame(&beside)?;
        let data_packed = self.packer.frames(&data, &mut self.rests)?;
        let mut out = Vec::with_capacity(beside_packed.len() + data_packed.len() + 64);
        match first.link().map_err(|_| Damaged)? {
            Link::Opening(_) => out.push(FORM_OPENING),
            Link::Previous(hash) => {
                out.push(FORM_PREVIOUS);
                out.extend_from_slice(&hash.0);
            }
        }
        number(&mut out, beside.len() as u64);
        number(&mut out, data.len() as u64);
        number(&mut out, beside_packed.len() as u64);
        out.extend_from_slice(&beside_packed);
        out.extend_from_slice(&data_packed);
        let last = changes.last().ok_or(Damaged)?;
        let stand = Stand {
            author: first.author,
            segment: first.segment,
            segment_seq: first.segment_seq,
            index: first.index,
            first_seq: first.first_seq,
            opening: "",
            next_seq: last.next_seq(),
            last: last.hash,
        };
        let checksum = checksum(&out, &stand);
        out.extend_from_slice(&checksum);
        Ok(out)
    }
}

/// Says why changes were not packed. They stay as they are.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// They can't be read, or the record does not open as what it was packed of.
    #[error(transparent)]
    Damaged(#[from] Damaged),
    /// There is no memory for packing.
    #[error("no memory for packing: {0}")]
    Memory(#[from] std::io::Error),
}

/// Packs consecutive changes of one strand into a block, and opens it again to compare. This is for the
/// background: it rests now and then.
///
/// # Errors
/// See [`PackError`].
pub fn pack(arrivals: &[Arrival]) -> Result<Sealed, PackError> {
    let (Some(first), Some(last)) = (arrivals.first(), arrivals.last()) else {
        return Err(Damaged.into());
    };
    let (first, last) = (&first.change, &last.change);
    let mut sealer = Sealer { rests: Rests::begin(), ..Sealer::new()? };
    let record = sealer.seal(arrivals.iter().map(|arrival| &arrival.change))?;
    let opening = first.link().map_err(|_| Damaged)?.message();
    let stand = Stand {
        author: first.author,
        segment: first.segment,
        segment_seq: first.segment_seq,
        index: first.index,
        first_seq: first.first_seq,
        opening: &opening,
        next_seq: last.next_seq(),
        last: last.hash,
    };
    BlockOpener { rests: Rests::begin(), ..BlockOpener::new()? }.open(&record, &stand)?;
    let (first_seq, next_seq, hash) = (first.first_seq, last.next_seq(), last.hash);
    Ok(Sealed { strand: arrivals[0].strand(), first_seq, next_seq, hash, record })
}

/// Opens records; it keeps the decompressor's memory.
pub struct BlockOpener {
    unpacker: Unpacker,
    rests: Rests,
}

impl BlockOpener {
    /// An opener with a decompressor of its own.
    ///
    /// # Errors
    /// There is no memory for it.
    pub fn new() -> std::io::Result<Self> {
        Ok(Self { unpacker: Unpacker::new()?, rests: Rests::default() })
    }

    /// The changes of a block of our own, built again. The last one has the hash that its author
    /// signed, and so all of them are what was sealed.
    ///
    /// # Errors
    /// A record that leads to anything else.
    pub fn open(&mut self, record: &[u8], stand: &Stand<'_>) -> Result<Vec<Change>, Damaged> {
        is_whole(record, stand).then_some(()).ok_or(Damaged)?;
        let record = &record[..record.len() - CHECKSUM];
        let begun = begin(record, stand.opening).ok_or(Damaged)?;
        let changes = self.changes(begun, stand, Trust::Own).ok_or(Damaged)?;
        let ends =
            |change: &Change| change.hash == stand.last && change.next_seq() == stand.next_seq;
        if changes.last().is_some_and(ends) { Ok(changes) } else { Err(Damaged) }
    }

    /// The changes of a block that a stranger sent, built again and checked like those of a
    /// [`SignedRun`](crate::core::change::SignedRun), by the same rules.
    ///
    /// # Errors
    /// A block that its author did not sign in this form for this cluster.
    pub fn verify(
        &mut self,
        block: &SignedBlock,
        cluster: ClusterId,
    ) -> Result<Vec<Change>, VerifyError> {
        let place = &block.place;
        if matches!(&place.link, Link::Opening(opening) if opening.cluster != cluster) {
            return Err(VerifyError::Cluster);
        }
        let opening = place.link.message();
        if !place.author.is_sound() {
            return Err(VerifyError::WeakKey);
        }
        let stand = Stand {
            author: place.author,
            segment: place.segment,
            segment_seq: place.segment_seq,
            index: place.index,
            first_seq: place.first_seq,
            opening: &opening,
            next_seq: block.next_seq,
            last: ChangeHash([0; 32]), // not said: the signature says it
        };
        let end = block.record.len().checked_sub(CHECKSUM).ok_or(VerifyError::Record)?;
        let begun = begin(&block.record[..end], &opening).ok_or(VerifyError::Record)?;
        if begun.link != place.link {
            return Err(VerifyError::Record);
        }
        let changes = self.changes(begun, &stand, Trust::Nobody);
        let mut changes = changes.ok_or(VerifyError::Record)?;
        let last = changes.last_mut().filter(|last| last.next_seq() == block.next_seq);
        let last = last.ok_or(VerifyError::Record)?;
        if !last.author.verify(cluster, last.hash, &block.signature) {
            return Err(VerifyError::Signature);
        }
        last.signature = Some(block.signature);
        let stand = Stand { last: last.hash, ..stand };
        if is_whole(&block.record, &stand) { Ok(changes) } else { Err(VerifyError::Record) }
    }

    /// The changes of a record that begins so, built again.
    fn changes(
        &mut self,
        Begun { link, layout, packed }: Begun<'_>,
        stand: &Stand<'_>,
        trust: Trust,
    ) -> Option<Vec<Change>> {
        let [beside, data] = split_packed(packed)?;
        let beside = self.unpacker.part(beside)?;
        let table = Table::read(&beside, layout, &stand.seqs())?;
        if trust == Trust::Nobody {
            table.names.iter().all(|names| are_sound(*names)).then_some(())?;
        }
        let data = self.unpacker.data(data, table.sample)?;
        build(table.over(&data)?, (stand, link), trust, &mut self.rests)
    }
}

/// The columns beside the data, and the data, of what follows the link.
fn split_packed(packed: &[u8]) -> Option<[Part<'_>; 2]> {
    let mut input = Input { bytes: packed };
    let (beside, data) = (input.length(COLUMNS_MOST)?, input.length(DATA_MOST)?);
    let length = input.length(packed.len())?;
    let columns = input.take(length)?;
    Some([Part { packed: columns, length: beside }, Part { packed: input.bytes, length: data }])
}

/// The checksum over place and record, so that what is altered is noticed without opening it: zstd has
/// bits that mean nothing, and what is altered should be noticed all the same.
///
/// It tells what befell a record by chance: XXH3, which takes a tenth of the time that SHA-256 does. Nobody
/// trusts it against intent: who can write the record can write it, too. For that there are the hash and
/// the signature.
fn checksum(record: &[u8], stand: &Stand<'_>) -> [u8; CHECKSUM] {
    let mut place = Vec::with_capacity(76);
    place.extend_from_slice(&stand.segment.0);
    place.extend_from_slice(&stand.index.to_be_bytes());
    place.extend_from_slice(&stand.first_seq.0.to_be_bytes());
    place.extend_from_slice(&stand.next_seq.0.to_be_bytes());
    place.extend_from_slice(&stand.last.0);
    if matches!(record.first(), Some(1 | 2)) {
        let digest = Sha256::new().chain_update(place).chain_update(record).finalize();
        return std::array::from_fn(|at| digest[at]);
    }
    let seed = XxHash3_64::oneshot(&place);
    XxHash3_64::oneshot_with_seed(seed, record).to_be_bytes()
}

/// Whose record it is that is read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Trust {
    /// Our own: what it holds was checked when it was sealed.
    Own,
    /// A stranger's: every rule is checked.
    Nobody,
}

/// What a block hangs on, given the opening of its segment; none where the record is none of ours.
pub fn link(record: &[u8], opening: &str) -> Option<Link> {
    begin(record, opening).map(|begun| begun.link)
}

/// The beginning of a record.
struct Begun<'r> {
    link: Link,
    layout: Layout,
    /// What follows.
    packed: &'r [u8],
}

fn begin<'r>(record: &'r [u8], opening: &str) -> Option<Begun<'r>> {
    let mut input = Input { bytes: record };
    let &[form] = input.take(1)? else { return None };
    // Records of the forms 1 to 4 are read, and not written any more.
    let layout = match form {
        1 | 2 => Layout::Spelled,
        3 | 4 => Layout::Listed,
        FORM_OPENING | FORM_PREVIOUS => Layout::Grouped,
        _ => return None,
    };
    let link = match form % 2 == FORM_OPENING % 2 {
        true => Link::Opening(Opening::parse(opening).ok()?),
        false => Link::Previous(ChangeHash(input.take(32)?.try_into().ok()?)),
    };
    Some(Begun { link, layout, packed: input.bytes })
}

/// Builds the changes, each on the one before.
fn build(
    mut entries: Entries<'_>,
    (stand, link): (&Stand<'_>, Link),
    trust: Trust,
    rests: &mut Rests,
) -> Option<Vec<Change>> {
    let mut place = Place {
        author: stand.author,
        segment: stand.segment,
        segment_seq: stand.segment_seq,
        index: stand.index,
        first_seq: stand.first_seq,
        link,
    };
    let counts = std::mem::take(&mut entries.counts);
    let mut changes = Vec::with_capacity(counts.len());
    let (mut cbor, mut ends) = (Vec::new(), Vec::new());
    let mut before: Option<Time> = None;
    for count in counts {
        cbor.clear();
        ends.clear();
        let (mut first, mut last) = (None, Time::default());
        for _ in 0..count {
            let time = entries.write_next(&mut cbor, trust)?;
            let rises = first.is_none() || time > last;
            (trust == Trust::Own || rises).then_some(())?;
            last = time;
            (cbor.len() <= CHANGE_BYTES).then_some(())?; // a long name, used again and again
            first.get_or_insert(last);
            ends.push(cbor.len());
        }
        // A stranger's entries were checked one by one, and are spelled as we spell them.
        let change = rebuild(&place, &cut(&cbor, &ends), (first?, last)).ok()?;
        before.is_none_or(|before| change.first_time > before).then_some(())?;
        before = Some(change.last_time);
        place.index = place.index.checked_add(1)?;
        place.first_seq = change.next_seq();
        place.link = Link::Previous(change.hash);
        changes.push(change);
        rests.look();
    }
    entries.is_empty().then_some(changes)
}

#[cfg(test)]
mod tests;
