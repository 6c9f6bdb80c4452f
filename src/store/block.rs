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

use std::collections::HashMap;
use std::ops::Range;

use sha2::{Digest, Sha256};
use twox_hash::XxHash3_64;
use zstd::bulk::{Compressor, Decompressor};

use super::Sealed;
use crate::core::change::{Change, Link, Place, SignedBlock, VerifyError, cut, rebuild};
use crate::core::log::Arrival;
use crate::core::segment::Opening;
use crate::words::entry::View;
use crate::words::limits::{ATTRIBUTES, CHANGE_BYTES, CHANGE_ENTRIES};
use crate::words::{ChangeHash, ClusterId, NodeId, SegmentId, Seq, Time};

mod names;
mod pick;
mod unpacked;
pub mod worth;

pub use unpacked::Unpacked;

/// The most entries of a block of several changes.
pub const BLOCK_ENTRIES: usize = 1_024;
/// The most bytes of changes in a block of several.
pub const BLOCK_BYTES: usize = 256 << 10;
/// How a record begins whose block begins its segment.
const FORM_OPENING: u8 = 3;
/// How any other one begins; the hash of the change before it follows.
const FORM_PREVIOUS: u8 = 4;
/// The same of records that spell names otherwise, and end in another checksum. They are read, and not
/// written any more.
const OLD_OPENING: u8 = 1;
const OLD_PREVIOUS: u8 = 2;
/// How hard zstd tries: 3 is a sixth smaller than 1, and takes half as long again.
const LEVEL: i32 = 3;
/// What the columns beside the data may take, unpacked: far more than honest ones do.
const COLUMNS_MOST: usize = 4 << 20;
/// How many bytes of data are packed together: whoever wants a few entries unpacks no more than these, and
/// a twentieth is all that larger ones would save.
const FRAME: usize = 16 << 10;
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
    compressor: Compressor<'static>,
}

impl Sealer {
    /// A sealer with a compressor of its own.
    ///
    /// # Errors
    /// There is no memory for it.
    pub fn new() -> std::io::Result<Self> {
        Ok(Self { compressor: Compressor::new(LEVEL)? })
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
        let mut columns = Columns::default();
        number(&mut columns.head, changes.len() as u64);
        for change in &changes {
            number(&mut columns.head, u64::from(change.count));
            let chunk = change.chunk().map_err(|_| Damaged)?;
            for entry in chunk.entries() {
                columns.push(&View::read(entry).map_err(|_| Damaged)?);
            }
        }
        let data = std::mem::take(&mut columns.data);
        let beside = columns.join();
        let beside_packed = one_frame(&mut self.compressor, &beside)?;
        let data_packed = frames(&mut self.compressor, &data)?;
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

/// Packs data, [`FRAME`] by [`FRAME`]; one frame at least, also where there is nothing to pack.
fn frames(compressor: &mut Compressor<'_>, data: &[u8]) -> Result<Vec<u8>, Damaged> {
    let mut packed = Vec::with_capacity(data.len() / 4);
    for piece in data.chunks(FRAME).chain(data.is_empty().then_some(data)) {
        packed.extend(one_frame(compressor, piece)?);
    }
    Ok(packed)
}

fn one_frame(compressor: &mut Compressor<'_>, bytes: &[u8]) -> Result<Vec<u8>, Damaged> {
    compressor.compress(bytes).map_err(|_| Damaged)
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

/// Packs consecutive changes of one strand into a block, and opens it again to compare.
///
/// # Errors
/// See [`PackError`].
pub fn pack(arrivals: &[Arrival]) -> Result<Sealed, PackError> {
    let (Some(first), Some(last)) = (arrivals.first(), arrivals.last()) else {
        return Err(Damaged.into());
    };
    let (first, last) = (&first.change, &last.change);
    let record = Sealer::new()?.seal(arrivals.iter().map(|arrival| &arrival.change))?;
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
    BlockOpener::new()?.open(&record, &stand)?;
    let (first_seq, next_seq, hash) = (first.first_seq, last.next_seq(), last.hash);
    Ok(Sealed { strand: arrivals[0].strand(), first_seq, next_seq, hash, record })
}

/// Opens records; it keeps the decompressor's memory.
pub struct BlockOpener {
    decompressor: Decompressor<'static>,
}

impl BlockOpener {
    /// An opener with a decompressor of its own.
    ///
    /// # Errors
    /// There is no memory for it.
    pub fn new() -> std::io::Result<Self> {
        Ok(Self { decompressor: Decompressor::new()? })
    }

    /// The changes of a block of our own, built again. The last one has the hash that its author
    /// signed, and so all of them are what was sealed.
    ///
    /// # Errors
    /// A record that leads to anything else.
    pub fn open(&mut self, record: &[u8], stand: &Stand<'_>) -> Result<Vec<Change>, Damaged> {
        is_whole(record, stand).then_some(()).ok_or(Damaged)?;
        let record = &record[..record.len() - CHECKSUM];
        let Begun { link, layout, packed } = begin(record, stand.opening).ok_or(Damaged)?;
        let (beside, data) = self.unpack(packed).ok_or(Damaged)?;
        let columns = (&beside[..], &data[..]);
        let changes = read(columns, layout, (stand, link), Trust::Own).ok_or(Damaged)?;
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
        let Begun { link, layout, packed } =
            begin(&block.record[..end], &opening).ok_or(VerifyError::Record)?;
        if link != place.link {
            return Err(VerifyError::Record);
        }
        let (beside, data) = self.unpack(packed).ok_or(VerifyError::Record)?;
        let changes = read((&beside, &data), layout, (&stand, link), Trust::Nobody);
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

    /// Unpacks what follows the link.
    fn unpack(&mut self, packed: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
        let [beside, data] = split_packed(packed)?;
        Some((self.unpack_part(beside)?, self.unpack_part(data)?))
    }

    fn unpack_part(&mut self, Part { packed, length }: Part<'_>) -> Option<Vec<u8>> {
        let unpacked = self.decompressor.decompress(packed, length).ok()?;
        (unpacked.len() == length).then_some(unpacked)
    }
}

/// A part of a record that is packed by itself, and its length unpacked.
struct Part<'r> {
    packed: &'r [u8],
    length: usize,
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
    if matches!(record.first(), Some(&(OLD_OPENING | OLD_PREVIOUS))) {
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
    let link = match form {
        FORM_OPENING | OLD_OPENING => Link::Opening(Opening::parse(opening).ok()?),
        FORM_PREVIOUS | OLD_PREVIOUS => {
            Link::Previous(ChangeHash(input.take(32)?.try_into().ok()?))
        }
        _ => return None,
    };
    let is_old = matches!(form, OLD_OPENING | OLD_PREVIOUS);
    let layout = if is_old { Layout::Spelled } else { Layout::Listed };
    Some(Begun { link, layout, packed: input.bytes })
}

/// Names that many entries share: tenant, topic, kind, content type.
type Names<'a> = [&'a str; 4];

/// A block's entries, as columns.
#[derive(Default)]
struct Columns {
    /// How many entries each change holds.
    head: Vec<u8>,
    /// The distinct names, in the order of their first entry: which texts they are.
    names: Vec<[u32; 4]>,
    texts_of: [Texts; 4],
    known: HashMap<[u32; 4], u64>,
    newest: Option<([u32; 4], u64)>,
    /// For each entry: which names, how many attributes, how long the data.
    which: Vec<u8>,
    attributes: Vec<u8>,
    lengths: Vec<u8>,
    /// Times, each as what it rises above the one before.
    times: Vec<u8>,
    time: u64,
    /// The texts of attributes.
    texts: Vec<u8>,
    data: Vec<u8>,
}

/// The distinct texts of one sort of name, in the order of their first entry.
#[derive(Default)]
struct Texts {
    spelled: Vec<u8>,
    known: HashMap<String, u32>,
    newest: (String, u32),
}

impl Texts {
    fn which(&mut self, wanted: &str) -> u32 {
        let (newest, which) = &mut self.newest;
        if newest == wanted && !self.known.is_empty() {
            return *which;
        }
        let next = self.known.len() as u32;
        *which = match self.known.get(wanted) {
            Some(known) => *known,
            None => {
                text(&mut self.spelled, wanted);
                *self.known.entry(wanted.to_owned()).or_insert(next)
            }
        };
        newest.clear();
        newest.push_str(wanted);
        *which
    }
}

impl Columns {
    fn push(&mut self, view: &View<'_>) {
        let which = self.which_names(view);
        number(&mut self.which, which);
        number(&mut self.attributes, view.attributes.len() as u64);
        for (key, value) in &view.attributes {
            text(&mut self.texts, key);
            text(&mut self.texts, value);
        }
        number(&mut self.lengths, view.data.len() as u64);
        number(&mut self.times, view.time.bits().wrapping_sub(self.time));
        self.time = view.time.bits();
        self.data.extend_from_slice(view.data);
    }

    fn which_names(&mut self, view: &View<'_>) -> u64 {
        let texts = [view.tenant, view.topic, view.kind, view.content_type];
        let spelled: [u32; 4] = std::array::from_fn(|at| self.texts_of[at].which(texts[at]));
        if let Some((newest, which)) = self.newest
            && newest == spelled
        {
            return which;
        }
        let next = self.names.len() as u64;
        let which = *self.known.entry(spelled).or_insert(next);
        if which == next {
            self.names.push(spelled);
        }
        self.newest = Some((spelled, which));
        which
    }

    /// All columns but the data, each behind its length.
    fn join(self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.head.len() + self.lengths.len() * 6 + 256);
        out.extend_from_slice(&self.head);
        number(&mut out, self.names.len() as u64);
        for (at, texts) in self.texts_of.iter().enumerate() {
            number(&mut out, texts.known.len() as u64);
            out.extend_from_slice(&texts.spelled);
            self.names.iter().for_each(|names| number(&mut out, u64::from(names[at])));
        }
        for column in [self.which, self.attributes, self.lengths, self.times, self.texts] {
            number(&mut out, column.len() as u64);
            out.extend_from_slice(&column);
        }
        out
    }
}

fn read(
    (beside, data): (&[u8], &[u8]),
    layout: Layout,
    start: (&Stand<'_>, Link),
    trust: Trust,
) -> Option<Vec<Change>> {
    let mut table = Table::read(beside, layout, &start.0.seqs())?;
    if trust == Trust::Nobody {
        table.names.iter().all(|names| are_sound(*names)).then_some(())?;
    }
    let counts = std::mem::take(&mut table.counts);
    build(table.over(data), &counts, start, trust)
}

/// How a record spells names.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Layout {
    /// All texts of each.
    Spelled,
    /// The distinct texts, and which of them each has.
    Listed,
}

fn read_names<'a>(input: &mut Input<'a>, all: usize, layout: Layout) -> Option<Vec<Names<'a>>> {
    let distinct = input.length(all)?;
    // Each takes four bytes at least.
    (distinct <= input.bytes.len() / 4).then_some(())?;
    let mut names: Vec<Names<'_>> = Vec::with_capacity(distinct);
    if layout == Layout::Spelled {
        for _ in 0..distinct {
            names.push([input.text()?, input.text()?, input.text()?, input.text()?]);
        }
        return Some(names);
    }
    names.resize(distinct, [""; 4]);
    let mut texts: Vec<&str> = Vec::new();
    for at in 0..4 {
        texts.clear();
        for _ in 0..input.length(distinct)? {
            texts.push(input.text()?);
        }
        for names in &mut names {
            names[at] = *texts.get(usize::try_from(input.number()?).ok()?)?;
        }
    }
    Some(names)
}

/// What stands beside the data, unpacked.
struct Table<'a> {
    /// How many entries each change holds.
    counts: Vec<usize>,
    names: Vec<Names<'a>>,
    /// Which names, how many attributes, lengths of data, times, texts of attributes.
    columns: [Input<'a>; 5],
}

impl<'a> Table<'a> {
    fn read(beside: &'a [u8], layout: Layout, seqs: &Range<Seq>) -> Option<Self> {
        let mut input = Input { bytes: beside };
        // Nothing is made room for that the block has no entries for: a few bytes unpack to millions.
        let all = seqs.end.0.checked_sub(seqs.start.0)?;
        let all = usize::try_from(all).ok()?;
        let changes = input.length(all)?;
        let counts: Vec<usize> =
            (0..changes).map(|_| input.length(CHANGE_ENTRIES)).collect::<Option<_>>()?;
        (counts.iter().sum::<usize>() == all).then_some(())?;
        let names = read_names(&mut input, all, layout)?;
        let mut column = || {
            let length = input.length(beside.len())?;
            Some(Input { bytes: input.take(length)? })
        };
        let columns = [column()?, column()?, column()?, column()?, column()?];
        input.bytes.is_empty().then_some(Self { counts, names, columns })
    }

    /// How many entries the block holds.
    fn entries(&self) -> usize {
        self.counts.iter().sum()
    }

    /// The texts of attributes.
    fn texts(&self) -> &'a [u8] {
        self.columns[4].bytes
    }

    fn over(self, data: &'a [u8]) -> Entries<'a> {
        let Self { names, columns: [which, attributes, lengths, times, texts], .. } = self;
        let data = Input { bytes: data };
        Entries { names, which, attributes, lengths, times, texts, time: 0, data }
    }
}

/// Builds the changes, each on the one before.
fn build(
    mut entries: Entries<'_>,
    counts: &[usize],
    (stand, link): (&Stand<'_>, Link),
    trust: Trust,
) -> Option<Vec<Change>> {
    let mut place = Place {
        author: stand.author,
        segment: stand.segment,
        segment_seq: stand.segment_seq,
        index: stand.index,
        first_seq: stand.first_seq,
        link,
    };
    let mut changes = Vec::with_capacity(counts.len());
    let (mut cbor, mut ends) = (Vec::new(), Vec::new());
    let mut before: Option<Time> = None;
    for &count in counts {
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
    }
    entries.is_empty().then_some(changes)
}

/// Whether names are such as an entry may have.
fn are_sound([tenant, topic, kind, content_type]: Names<'_>) -> bool {
    let (time, attributes, data): (_, _, &[u8]) = (Time::default(), Vec::new(), &[]);
    let view = View { time, tenant, topic, kind, attributes, content_type, data };
    view.check_names().is_ok()
}

/// The entries of an unpacked block, one after the other.
struct Entries<'a> {
    names: Vec<Names<'a>>,
    which: Input<'a>,
    attributes: Input<'a>,
    lengths: Input<'a>,
    times: Input<'a>,
    texts: Input<'a>,
    time: u64,
    data: Input<'a>,
}

impl<'a> Entries<'a> {
    fn next_view(&mut self) -> Option<View<'a>> {
        let [tenant, topic, kind, content_type] =
            *self.names.get(usize::try_from(self.which.number()?).ok()?)?;
        self.time = self.time.checked_add(self.times.number()?)?;
        let time = Time::from_bits(self.time)?;
        let attributes = self.attributes.length(ATTRIBUTES)?;
        let attributes = (0..attributes)
            .map(|_| Some((self.texts.text()?, self.texts.text()?)))
            .collect::<Option<_>>()?;
        let length = self.lengths.length(self.data.bytes.len())?;
        let data = self.data.take(length)?;
        Some(View { time, tenant, topic, kind, attributes, content_type, data })
    }

    /// Writes the next entry's CBOR, and returns its time.
    fn write_next(&mut self, out: &mut Vec<u8>, trust: Trust) -> Option<Time> {
        let view = self.next_view()?;
        if trust == Trust::Nobody {
            view.check_content().ok()?;
        }
        view.write(out);
        Some(view.time)
    }

    fn is_empty(&self) -> bool {
        let columns = [&self.which, &self.attributes, &self.lengths, &self.times, &self.texts];
        columns.iter().all(|column| column.bytes.is_empty()) && self.data.bytes.is_empty()
    }
}

/// Bytes that are read from front to back; every read can fail, none can panic.
#[derive(Clone, Copy)]
struct Input<'a> {
    bytes: &'a [u8],
}

impl<'a> Input<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.bytes.split_at_checked(length)?;
        self.bytes = rest;
        Some(taken)
    }

    /// An unsigned LEB128 number.
    #[inline]
    fn number(&mut self) -> Option<u64> {
        // Most are one byte, or two.
        match *self.bytes {
            [one @ 0..0x80, ref rest @ ..] => {
                self.bytes = rest;
                Some(u64::from(one))
            }
            [low, high @ 0..0x80, ref rest @ ..] => {
                self.bytes = rest;
                Some(u64::from(low & 0x7f) | u64::from(high) << 7)
            }
            _ => self.long_number(),
        }
    }

    fn long_number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.bytes.split_first()?;
            self.bytes = rest;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    /// A number that is at most `most`.
    #[inline]
    fn length(&mut self, most: usize) -> Option<usize> {
        usize::try_from(self.number()?).ok().filter(|length| *length <= most)
    }

    #[inline]
    fn skip_text(&mut self) -> Option<()> {
        let length = self.length(self.bytes.len())?;
        self.take(length).map(drop)
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = self.length(self.bytes.len())?;
        std::str::from_utf8(self.take(length)?).ok()
    }
}

fn number(out: &mut Vec<u8>, mut number: u64) {
    while number > 0x7f {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn text(out: &mut Vec<u8>, text: &str) {
    number(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests;
