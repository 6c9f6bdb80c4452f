//! Blocks: the record in which a peer, or our own disk, gives back many changes at once.
//!
//! No fuzzer finds a checksum or what a compressor makes. So the first byte of the input says how
//! much of a record the rest is, and what lacks is made here, as `docs/storage.md` draws it.

use bytes::Bytes;
use sha2::{Digest, Sha256};
use towline::core::change::{Change, Link, Place, SignedBlock, SignedRun, VerifyError};
use towline::core::segment::Opening;
use towline::store::block::{self, BlockOpener, Damaged, Sealer, Stand};
use towline::words::entry::View;
use towline::words::limits::SEGMENT_ENTRIES;
use towline::words::{ChangeHash, Seq, Signature};
use twox_hash::XxHash3_64;

use super::allocation::within;
use super::run::{self, Choices};
use super::{CLUSTER, Verdict};

/// What opening may take at its highest beyond the record: the unpacked columns and data, the CBOR
/// of one change, and the changes.
const MOST: usize = 64 << 20;

/// The bit of the columns' length that says that they have a sample.
pub const SAMPLED: u16 = 1 << 15;

/// What the first byte of an input means.
pub mod form {
    /// The rest is a record.
    pub const WHOLE: u8 = 0;
    /// The rest is a record without the checksum that ends it.
    pub const UNCHECKED: u8 = 1;
    /// The rest is the columns, behind their length in two bytes, and the data. The highest bit of the
    /// length says that a part of the data is their sample.
    pub const COLUMNS: u8 = 2;
    /// The rest is choices of which an honest block is made, and of what befalls it.
    pub const HONEST: u8 = 3;
}

pub fn block(bytes: &[u8]) -> Verdict {
    let (&[form, low, high], rest) = bytes.split_first_chunk().unwrap_or((&[0; 3], &[]));
    let entries = 1 + u64::from(u16::from_le_bytes([low, high])) % SEGMENT_ENTRIES;
    match form % (form::HONEST + 1) {
        form::WHOLE => record(rest, entries),
        form::UNCHECKED => record(&checked(rest, entries), entries),
        form::COLUMNS => {
            let (length, rest) = rest.split_first_chunk().unwrap_or((&[0; 2], &[]));
            let length = u16::from_le_bytes(*length);
            let (beside, data) = rest.split_at(usize::from(length & !SAMPLED).min(rest.len()));
            record(&checked(&packed(beside, data, length & SAMPLED != 0), entries), entries)
        }
        _ => honest(&bytes[1..]),
    }
}

/// The opening that every record stands behind whose links don't say otherwise.
pub fn opening() -> Opening {
    let author = run::author().node_id();
    let (first_seq, parents, nonce) = (Seq(0), Vec::new(), [4; 16]);
    Opening { cluster: CLUSTER, author, first_seq, parents, nonce }
}

/// A record of a stranger, of so many entries as it claims, in the place where its link puts it.
fn claim(record: &[u8], entries: u64) -> SignedBlock {
    let text = opening().text();
    let link = block::link(record, &text).unwrap_or_else(|| Link::Opening(opening()));
    let (index, first_seq) = match &link {
        Link::Opening(_) => (0, Seq(0)),
        Link::Previous(_) => (1, Seq(3)),
    };
    let (author, segment) = (run::author().node_id(), opening().segment());
    let place = Place { author, segment, segment_seq: Seq(0), index, first_seq, link };
    let next_seq = first_seq.plus(entries);
    SignedBlock {
        place,
        next_seq,
        signature: Signature([0; 64]),
        record: Bytes::copy_from_slice(record),
    }
}

/// Where a block stands, with the hash of its last change.
fn stand<'a>(block: &SignedBlock, opening: &'a str, last: ChangeHash) -> Stand<'a> {
    let place = &block.place;
    Stand {
        author: place.author,
        segment: place.segment,
        segment_seq: place.segment_seq,
        index: place.index,
        first_seq: place.first_seq,
        opening,
        next_seq: block.next_seq,
        last,
    }
}

/// A body behind which a checksum stands that fits it where it stands, if its last change is one
/// that doesn't exist.
fn checked(body: &[u8], entries: u64) -> Vec<u8> {
    let block = claim(body, entries);
    let place = [
        &block.place.segment.0[..],
        &block.place.index.to_be_bytes(),
        &block.place.first_seq.0.to_be_bytes(),
        &block.next_seq.0.to_be_bytes(),
        &[0; 32],
    ];
    let place = place.concat();
    match body.first() {
        Some(1 | 2) => {
            let digest = Sha256::new().chain_update(place).chain_update(body).finalize();
            [body, &digest[..8]].concat()
        }
        _ => {
            let seed = XxHash3_64::oneshot(&place);
            [body, &XxHash3_64::oneshot_with_seed(seed, body).to_be_bytes()].concat()
        }
    }
}

/// The body of a record with these columns and these data, half of which are the sample if it has one.
fn packed(beside: &[u8], data: &[u8], sampled: bool) -> Vec<u8> {
    let pack = |bytes: &[u8]| zstd::bulk::compress(bytes, 1).expect("it compresses");
    let (sample, rest) = data.split_at(if sampled { data.len() / 2 } else { 0 });
    let mut beside = beside.to_vec();
    if sampled {
        number(&mut beside, sample.len());
        beside.extend_from_slice(sample);
    }
    let (packed_beside, packed_rest) = (pack(&beside), pack(rest));
    let mut body = vec![if sampled { 5 } else { 3 }];
    for length in [beside.len(), data.len(), packed_beside.len()] {
        number(&mut body, length);
    }
    [body, packed_beside, packed_rest].concat()
}

fn number(out: &mut Vec<u8>, mut number: usize) {
    while number > 0x7f {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Nobody has signed it, so it is taken by neither way; what it is refused for tells how far it was
/// read.
fn record(record: &[u8], entries: u64) -> Verdict {
    let block = claim(record, entries);
    let mut opener = BlockOpener::new().expect("memory for a decompressor");
    let verified = verify(&mut opener, &block);
    let last = ChangeHash([0; 32]);
    let text = opening().text();
    let opened =
        within(6 * record.len() + MOST, || opener.open(record, &stand(&block, &text, last)));
    assert_eq!(opened, Err(Damaged), "the hash of a change is never zero");
    within(6 * record.len() + MOST, || {
        read_in_place(&mut opener, record, &stand(&block, &text, last))
    });
    match verified {
        Err(VerifyError::Signature) => Verdict::Taken,
        Err(_) => Verdict::Refused,
        Ok(_) => panic!("nobody signed it"),
    }
}

/// Reads entries of a record without building a change, whatever its columns say.
fn read_in_place(opener: &mut BlockOpener, record: &[u8], stand: &Stand<'_>) {
    if let Ok(unpacked) = opener.unpack_entries(record, stand) {
        (0..unpacked.len())
            .for_each(|at| assert_eq!(unpacked.view(at).is_some(), unpacked.draft(at).is_some()));
        assert_eq!(unpacked.times().is_some(), !unpacked.is_empty());
    }
    let even = |_: &str, topic: &str| topic.len().is_multiple_of(2);
    if let Ok(Some(picked)) = opener.pick(record, stand, &(Seq(0)..Seq(u64::MAX)), &even) {
        let seqs = stand.first_seq..stand.next_seq;
        assert!((0..picked.len()).all(|at| seqs.contains(&picked.place(at).0)));
        assert!(
            (0..picked.len()).all(|at| picked.view(at).is_none_or(|view| even("", view.topic)))
        );
    }
}

fn verify(opener: &mut BlockOpener, block: &SignedBlock) -> Result<Vec<Change>, VerifyError> {
    within(6 * block.record.len() + MOST, || opener.verify(block, CLUSTER))
}

/// A block is admitted exactly when a run of the same entries is; whatever befalls its record on
/// the way, it is refused, or gives what its author signed.
fn honest(choices: &[u8]) -> Verdict {
    let mut choices = Choices(choices);
    let (flip, at) = (choices.byte(), choices.number());
    let run = run::signed(&mut choices);
    let sound = run.clone().verify(CLUSTER);
    let Ok(built) = run::build(&run.place, &run.changes) else {
        return Verdict::Refused;
    };
    let (Some(last), Ok(record)) = (built.last(), sealed(&built)) else {
        return Verdict::Refused;
    };
    let SignedRun { place, signature, .. } = run;
    let next_seq = last.next_seq();
    let mut block = SignedBlock { place, next_seq, signature, record: record.into() };
    let mut opener = BlockOpener::new().expect("memory for a decompressor");
    assert_eq!(verify(&mut opener, &block).ok(), sound.clone().ok());
    let mut record = block.record.to_vec();
    let at = (at % record.len() as u64) as usize;
    record[at] ^= flip;
    block.record = record.into();
    match verify(&mut opener, &block) {
        Ok(changes) => {
            assert_eq!(flip, 0, "a record that was altered");
            admitted(&block, &changes);
        }
        Err(_) => assert!(flip != 0 || sound.is_err(), "a record that is whole"),
    }
    sound.into()
}

fn sealed(changes: &[Change]) -> Result<Vec<u8>, Damaged> {
    Sealer::new().expect("memory for a compressor").seal(changes)
}

/// Checks a block that came in a frame, where it is admitted.
pub fn arrives(block: &SignedBlock) {
    let mut opener = BlockOpener::new().expect("memory for a decompressor");
    if let Ok(changes) = verify(&mut opener, block) {
        admitted(block, &changes);
    }
}

/// What holds of changes that were admitted: a store that keeps the record gets the same changes
/// from it, and they go on from each other.
fn admitted(block: &SignedBlock, changes: &[Change]) {
    let (Some(first), Some(last)) = (changes.first(), changes.last()) else {
        panic!("a block of nothing");
    };
    assert_eq!(first.link().as_ref(), Ok(&block.place.link));
    for pair in changes.windows(2) {
        assert_eq!(pair[1].link(), Ok(Link::Previous(pair[0].hash)));
        assert_eq!(pair[1].first_seq, pair[0].next_seq());
        assert!(pair[0].last_time < pair[1].first_time);
    }
    assert_eq!((last.next_seq(), last.signature), (block.next_seq, Some(block.signature)));
    let text = block.place.link.message();
    let mut opener = BlockOpener::new().expect("memory for a decompressor");
    let mut kept =
        opener.open(&block.record, &stand(block, &text, last.hash)).expect("it is whole");
    if let Some(kept) = kept.last_mut() {
        kept.signature = Some(block.signature);
    }
    assert_eq!(kept, changes);
    let unpacked = opener.unpack_entries(&block.record, &stand(block, &text, last.hash));
    let unpacked = unpacked.expect("it is whole");
    let entries: Vec<_> =
        kept.iter().flat_map(|change| change.open().expect("whole").shared_entries()).collect();
    let as_kept = |(at, kept): (usize, &bytes::Bytes)| View::read(kept).ok() == unpacked.view(at);
    assert_eq!(unpacked.len(), entries.len());
    assert!(entries.iter().enumerate().all(as_kept));
}
