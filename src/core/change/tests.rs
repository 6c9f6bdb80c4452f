use std::ops::RangeInclusive;

use automerge::ScalarValue;
use automerge::legacy::{ElementId, OpId};
use proptest::collection::vec;
use proptest::prelude::*;
use sha2::{Digest, Sha256};

use super::*;
use crate::core::segment::Parent;
use crate::words::entry::OCTETS;
use crate::words::limits::PAYLOAD_BYTES;
use crate::words::{Draft, Identity};

const CLUSTER: ClusterId = ClusterId([9; 32]);

fn alice() -> Identity {
    Identity::from_secret(&[1; 32])
}

fn mallory() -> Identity {
    Identity::from_secret(&[2; 32])
}

/// An entry with a payload of `size` bytes, written in millisecond `millis`.
fn entry(millis: u64, size: usize) -> Bytes {
    let data = vec![millis as u8; size];
    Draft::bytes("builds", "built", OCTETS, data).unwrap().encode(Time::from_millis(millis))
}

/// Small entries, one for each of the milliseconds.
fn entries(millis: RangeInclusive<u64>) -> Vec<Bytes> {
    millis.map(|n| entry(n, 3)).collect()
}

/// The start of a segment that continues after `parents`.
fn opens(author: &Identity, parents: Vec<Parent>) -> Place {
    let first_seq = parents.iter().map(|p| p.next_seq).max().unwrap_or_default();
    let author = author.node_id();
    let opening = Opening { cluster: CLUSTER, author, first_seq, parents, nonce: [4; 16] };
    let segment = opening.segment();
    let link = Link::Opening(opening);
    Place { author, segment, segment_seq: first_seq, index: 0, first_seq, link }
}

/// The place right after a change.
fn after(change: &Change) -> Place {
    Place {
        author: change.author,
        segment: change.segment,
        segment_seq: change.segment_seq,
        index: change.index + 1,
        first_seq: change.next_seq(),
        link: Link::Previous(change.hash),
    }
}

/// A run as its author sends it, signed by `signer`.
fn run_by(signer: &Identity, start: Place, changes: Vec<Vec<Bytes>>) -> SignedRun {
    let mut place = start.clone();
    let mut hash = ChangeHash([0; 32]);
    for entries in &changes {
        let change = encode(&place, entries).unwrap();
        hash = change.hash;
        place = after(&change);
    }
    SignedRun { place: start, changes, signature: signer.sign(CLUSTER, hash) }
}

/// Three changes of Alice at the start of her first segment.
fn first_run() -> SignedRun {
    let changes = vec![entries(1..=2), entries(3..=5), entries(6..=6)];
    run_by(&alice(), opens(&alice(), Vec::new()), changes)
}

/// Two changes of Alice that follow [`first_run`]'s first.
fn second_run() -> SignedRun {
    let first = encode(&opens(&alice(), Vec::new()), &entries(1..=2)).unwrap();
    run_by(&alice(), after(&first), vec![entries(3..=5), entries(6..=6)])
}

/// What becomes of a run that somebody altered on its way.
fn altered(mut run: SignedRun, alter: impl FnOnce(&mut SignedRun)) -> VerifyError {
    assert!(run.clone().verify(CLUSTER).is_ok(), "the run was sound before");
    alter(&mut run);
    run.verify(CLUSTER).unwrap_err()
}

fn refused_in_change(index: usize, error: EncodeError) -> VerifyError {
    VerifyError::Encode { index, error }
}

/// The entries of a change as Automerge reads them.
fn by_automerge(change: &Change) -> (automerge::ExpandedChange, Vec<Vec<u8>>) {
    let read = automerge::Change::from_bytes(change.bytes.to_vec()).unwrap().decode();
    let values = read.operations.iter().map(|op| match &op.action {
        OpType::Put(ScalarValue::Bytes(bytes)) => bytes.clone(),
        other => panic!("an operation that writes no entry: {other:?}"),
    });
    let values = values.collect();
    (read, values)
}

#[test]
fn genesis_is_the_same_for_ever() {
    assert_eq!(
        genesis().hash().to_string(),
        "55ca52d9a28777446160a566a03c8efe5f798df5b3ed045427f62fda07f7acd4"
    );
}

#[test]
fn a_change_has_the_same_hash_for_ever() {
    let parents = vec![
        Parent { next_seq: Seq(5), hash: ChangeHash([7; 32]) },
        Parent { next_seq: Seq(9), hash: ChangeHash([6; 32]) },
    ];
    let place = opens(&alice(), parents);
    let first = encode(&place, &entries(1_795_237_297_123..=1_795_237_297_223)).unwrap();
    let draft = Draft::json("builds", "built", &true).unwrap();
    let draft = draft.for_tenant("acme").unwrap().with_attribute("host", "a").unwrap();
    let second = draft.encode(Time::from_millis(1_795_237_299_000));
    let second = encode(&after(&first), &[second]).unwrap();
    let found = [place.segment.to_string(), first.hash.to_string(), second.hash.to_string()];
    let pinned = [
        "09dffcb35414fa83087d5297be0f73b2",
        "411a6eb497bb86c61f4aea1dcf05bb849e6b43fe9fa2a57a62a548c8b270e0da",
        "480942dc5d70fd5823fc622429a43714cdf2943da383c7ca16689f5cdc1a2e1a",
    ];
    assert_eq!(found, pinned);
}

#[test]
fn automerge_reads_the_opening_change_of_a_segment() {
    let place = opens(&alice(), Vec::new());
    let change = encode(&place, &entries(70_000..=70_002)).unwrap();
    let (read, values) = by_automerge(&change);
    let Link::Opening(opening) = &place.link else { panic!("it opens a segment") };
    assert_eq!(read.actor_id, ActorId::from(place.segment.0));
    assert_eq!((read.seq, read.start_op.get(), read.time), (1, 2, 70));
    assert_eq!(read.deps, [genesis().hash()]);
    assert_eq!(read.message, Some(opening.text()));
    assert_eq!(read.hash.unwrap().0, change.hash.0);
    assert!(read.extra_bytes.is_empty());
    assert_eq!(values, entries(70_000..=70_002));
}

#[test]
fn automerge_reads_a_later_change_of_a_segment() {
    let first = encode(&opens(&alice(), Vec::new()), &entries(1..=7)).unwrap();
    let change = encode(&after(&first), &entries(8..=9)).unwrap();
    let (read, values) = by_automerge(&change);
    assert_eq!(read.actor_id, ActorId::from(first.segment.0));
    assert_eq!((read.seq, read.start_op.get()), (2, 9));
    assert_eq!(read.deps, [automerge::ChangeHash(first.hash.0)]);
    assert_eq!(read.message, None);
    assert_eq!(values, entries(8..=9));
}

#[test]
fn each_entry_is_inserted_after_the_one_before_it() {
    let first = encode(&opens(&alice(), Vec::new()), &entries(1..=3)).unwrap();
    let second = encode(&after(&first), &entries(4..=5)).unwrap();
    let list = ObjectId::Id(OpId(1, ActorId::from(GENESIS_ACTOR)));
    let mut expected = vec![Key::Seq(ElementId::Head)];
    let element = |counter| Key::Seq(ElementId::Id(OpId(counter, ActorId::from(first.segment.0))));
    expected.extend((2..6).map(element));
    let mut found = Vec::new();
    for change in [&first, &second] {
        for op in by_automerge(change).0.operations {
            assert!(op.insert && op.pred.is_empty());
            assert_eq!(op.obj, list);
            found.push(op.key);
        }
    }
    assert_eq!(found, expected);
}

/// Payload sizes in runs of equal ones, as Automerge's run-length encoding tells them apart.
fn sizes() -> impl Strategy<Value = Vec<usize>> {
    let size = prop_oneof![3 => 0..40usize, 1 => 0..6_000usize];
    let runs = vec((size, prop_oneof![3 => Just(1), 1 => 1..60usize]), 1..40);
    let sizes = |runs: Vec<(usize, usize)>| -> Vec<usize> {
        runs.into_iter()
            .flat_map(|(size, count)| std::iter::repeat_n(size, count))
            .take(299)
            .collect()
    };
    runs.prop_map(sizes)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn our_reader_and_automerge_give_the_same_entries(before in sizes(), sizes in sizes()) {
        let entries = |from: usize, sizes: &[usize]| -> Vec<Bytes> {
            sizes.iter().zip(from..).map(|(&size, millis)| entry(millis as u64, size)).collect()
        };
        let first = encode(&opens(&alice(), Vec::new()), &entries(1, &before)).unwrap();
        let written = entries(1_000, &sizes);
        let place = after(&first);
        let change = encode(&place, &written).unwrap();
        let chunk = change.open().unwrap();
        prop_assert_eq!(chunk.count(), written.len());
        prop_assert!(chunk.entries().eq(written.iter().map(|entry| &entry[..])));
        prop_assert_eq!(chunk.shared_entries(), &written[..]);
        prop_assert_eq!(chunk.link(), Ok(place.link.clone()));
        prop_assert_eq!(change.link(), Ok(place.link));
        prop_assert_eq!(by_automerge(&change).1, written);
        prop_assert_eq!(first.link(), Ok(opens(&alice(), Vec::new()).link));
    }

    #[test]
    fn a_run_survives_its_verification_whole(cuts in vec(1..40usize, 1..12)) {
        let mut millis = 0..;
        let one = |count: &usize| -> Vec<Bytes> {
            millis.by_ref().take(*count).map(|n| entry(n, (n % 50) as usize)).collect()
        };
        let changes: Vec<Vec<Bytes>> = cuts.iter().map(one).collect();
        let run = run_by(&alice(), opens(&alice(), Vec::new()), changes.clone());
        let verified = run.verify(CLUSTER).unwrap();
        for (change, entries) in verified.iter().zip(&changes) {
            prop_assert_eq!(&change.open().unwrap().shared_entries(), entries);
        }
        prop_assert_eq!(verified.len(), changes.len());
    }

    #[test]
    fn any_bytes_are_opened_without_a_panic(bytes in vec(any::<u8>(), 0..400)) {
        prop_assert!(Chunk::open(&bytes.clone().into(), ChangeHash([0; 32])).is_err());
        look_at(bytes);
    }

    /// As above, near to what is valid: most bytes are those of a change.
    #[test]
    fn a_distorted_change_is_opened_without_a_panic(
        splices in vec((any::<prop::sample::Index>(), 0..4usize, vec(any::<u8>(), 0..10)), 1..4),
    ) {
        let mut bytes = encode(&first_run().place, &entries(1..=9)).unwrap().bytes.to_vec();
        for (at, cut, insert) in splices {
            let at = at.index(bytes.len());
            let end = bytes.len().min(at + cut);
            bytes.splice(at..end, insert);
        }
        look_at(bytes);
    }
}

/// Opens bytes as if they hashed to what is expected, and reads all that they say.
fn look_at(mut bytes: Vec<u8>) {
    let Some(hashed) = bytes.get(8..) else { return };
    let hash = ChangeHash(Sha256::digest(hashed).into());
    bytes[..4].copy_from_slice(&[0x85, 0x6f, 0x4a, 0x83]);
    bytes[4..8].copy_from_slice(&hash.0[..4]);
    let bytes = Bytes::from(bytes);
    if let Ok(chunk) = Chunk::open(&bytes, hash) {
        let _ = chunk.link();
        assert_eq!(chunk.entries().len(), chunk.shared_entries().len());
    }
}

#[test]
fn each_flipped_bit_is_noticed() {
    let change = encode(&first_run().place, &entries(1..=9)).unwrap();
    for bit in 0..change.bytes.len() * 8 {
        let mut bytes = change.bytes.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let opened = Chunk::open(&bytes.into(), change.hash).map(|_| ());
        assert_eq!(opened, Err(Damaged::Hash), "bit {bit}");
    }
}

#[test]
fn each_truncation_is_noticed() {
    let change = encode(&first_run().place, &entries(1..=9)).unwrap();
    for length in 0..change.bytes.len() {
        let opened = Chunk::open(&change.bytes.slice(..length), change.hash).map(|_| ());
        assert_eq!(opened, Err(Damaged::Hash), "{length} bytes");
    }
}

/// What a chunk by hand is opened as, with the columns of the values' lengths and bytes.
fn opened(lengths: &[u8], values: &[u8]) -> Result<Vec<Bytes>, Damaged> {
    let hash = &[3; 32][..];
    let columns = [&[2, 0x56, lengths.len() as u8, 0x57, values.len() as u8], lengths, values];
    let numbers = [1, 2, 0, 0, 0]; // seq, start op, time, no message, no other actors
    let body = [&[1], hash, &[1, 9], &numbers, &columns.concat()].concat();
    let bytes = [&[0; 8], &[1, body.len() as u8][..], &body].concat();
    let hash = ChangeHash(Sha256::digest(&bytes[8..]).into());
    let start = [0x85, 0x6f, 0x4a, 0x83, hash.0[0], hash.0[1], hash.0[2], hash.0[3]];
    let bytes = [&start, &bytes[8..]].concat().into();
    Chunk::open(&bytes, hash).map(|chunk| chunk.shared_entries())
}

#[test]
fn a_change_by_hand_is_read() {
    assert_eq!(opened(&[0x02, 0x17], b"ab"), Ok(vec!["a".into(), "b".into()])); // twice one byte
    assert_eq!(opened(&[0x7e, 0x17, 0x27], b"abc"), Ok(vec!["a".into(), "bc".into()]));
}

#[test]
fn lengths_that_do_not_fit_the_values_are_damage() {
    for lengths in [
        &[0x01, 0x37][..],         // three bytes of two
        &[0x01, 0x17],             // one byte of two
        &[0x03, 0x17],             // three times one byte
        &[0x7d, 0x17, 0x17, 0x17], // the same, spelled out
        &[0x7d, 0x17, 0x17],       // three are announced and two there
        &[0x02, 0x16],             // texts
        &[0x00, 0x02, 0x02, 0x17], // two nulls first
        &[0x02],                   // twice nothing
        &[],
    ] {
        assert_eq!(opened(lengths, b"ab"), Err(Damaged::Shape), "{lengths:02x?}");
    }
    assert_eq!(opened(&[], b""), Err(Damaged::Shape));
}

#[test]
fn a_quintillion_of_empty_values_is_damage() {
    let huge = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x3f, 0x07];
    assert_eq!(opened(&huge, b""), Err(Damaged::Shape));
}

#[test]
fn a_change_of_another_program_is_not_ours() {
    let stranger = genesis();
    let bytes = Bytes::copy_from_slice(stranger.raw_bytes());
    let opened = Chunk::open(&bytes, ChangeHash(stranger.hash().0)).map(|_| ());
    assert_eq!(opened, Err(Damaged::Shape));
}

#[test]
fn what_an_author_signed_is_verified() {
    let changes = first_run().verify(CLUSTER).unwrap();
    let places: Vec<_> = changes.iter().map(|c| (c.index, c.first_seq.0, c.count)).collect();
    assert_eq!(places, [(0, 0, 2), (1, 2, 3), (2, 5, 1)]);
    let last = changes.last().unwrap();
    assert_eq!((last.first_time, last.last_time), (Time::from_millis(6), Time::from_millis(6)));
}

#[test]
fn a_run_may_start_at_any_change() {
    let changes = first_run().verify(CLUSTER).unwrap();
    assert_eq!(second_run().verify(CLUSTER).unwrap(), changes[1..]);
}

#[test]
fn the_newest_signature_vouches_for_the_whole_run() {
    let run = first_run();
    let signatures = run.clone().verify(CLUSTER).unwrap().into_iter().map(|c| c.signature);
    assert!(signatures.eq([None, None, Some(run.signature)]));
}

#[test]
fn a_run_for_another_cluster_is_refused() {
    let other = ClusterId([8; 32]);
    assert_eq!(first_run().verify(other), Err(VerifyError::Cluster));
    assert_eq!(second_run().verify(other), Err(VerifyError::Signature));
}

#[test]
fn a_run_signed_with_another_authors_key_is_refused() {
    let SignedRun { place, changes, .. } = first_run();
    let forged = run_by(&mallory(), place, changes);
    assert_eq!(forged.verify(CLUSTER), Err(VerifyError::Signature));
}

#[test]
fn a_run_under_another_authors_name_is_refused() {
    let rename = |run: &mut SignedRun| run.place.author = mallory().node_id();
    assert_eq!(altered(first_run(), rename), refused_in_change(0, EncodeError::Place));
    assert_eq!(altered(second_run(), rename), VerifyError::Signature);
}

#[test]
fn a_flipped_bit_of_the_signature_is_refused() {
    for bit in [0, 100, 255, 256, 300, 511] {
        let flip = |run: &mut SignedRun| run.signature.0[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(altered(second_run(), flip), VerifyError::Signature, "bit {bit}");
    }
}

#[test]
fn an_altered_entry_is_refused() {
    let alter = |run: &mut SignedRun| run.changes[0][1] = entry(4, 4);
    assert_eq!(altered(second_run(), alter), VerifyError::Signature);
}

#[test]
fn a_removed_entry_is_refused() {
    for at in 0..3 {
        let remove = |run: &mut SignedRun| drop(run.changes[0].remove(at));
        assert_eq!(altered(second_run(), remove), VerifyError::Signature, "entry {at}");
    }
}

#[test]
fn an_added_entry_is_refused() {
    let add = |run: &mut SignedRun| run.changes[1].push(entry(7, 3));
    assert_eq!(altered(second_run(), add), VerifyError::Signature);
}

#[test]
fn reordered_entries_are_refused() {
    let swap = |run: &mut SignedRun| run.changes[0].swap(0, 1);
    assert_eq!(altered(second_run(), swap), refused_in_change(0, EncodeError::Time(1)));
}

#[test]
fn a_removed_change_is_refused() {
    let remove = |run: &mut SignedRun| drop(run.changes.remove(1));
    assert_eq!(altered(first_run(), remove), VerifyError::Signature);
}

#[test]
fn entries_cut_into_other_changes_are_refused() {
    let join = |run: &mut SignedRun| {
        let second = run.changes.remove(1);
        run.changes[0].extend(second);
    };
    assert_eq!(altered(second_run(), join), VerifyError::Signature);
}

#[test]
fn a_wrong_index_is_refused() {
    let shift = |run: &mut SignedRun| run.place.index += 1;
    assert_eq!(altered(first_run(), shift), refused_in_change(0, EncodeError::Place));
    assert_eq!(altered(second_run(), shift), VerifyError::Signature);
    let first = |run: &mut SignedRun| run.place.index = 0;
    assert_eq!(altered(second_run(), first), refused_in_change(0, EncodeError::Place));
    let last = |run: &mut SignedRun| run.place.index = u32::MAX;
    assert_eq!(altered(second_run(), last), refused_in_change(0, EncodeError::Place));
}

#[test]
fn a_wrong_first_seq_is_refused() {
    let shift = |run: &mut SignedRun| run.place.first_seq.0 += 1;
    assert_eq!(altered(first_run(), shift), refused_in_change(0, EncodeError::Place));
    assert_eq!(altered(second_run(), shift), VerifyError::Signature);
    let last = |run: &mut SignedRun| run.place.first_seq = Seq(u64::MAX);
    assert_eq!(altered(second_run(), last), refused_in_change(0, EncodeError::Place));
}

#[test]
fn a_wrong_seq_of_the_segment_is_refused() {
    let shift = |run: &mut SignedRun| run.place.segment_seq.0 += 1;
    assert_eq!(altered(first_run(), shift), refused_in_change(0, EncodeError::Place));
    assert_eq!(altered(second_run(), shift), VerifyError::Signature);
}

#[test]
fn another_segment_is_refused() {
    let rename = |run: &mut SignedRun| run.place.segment = SegmentId([5; 16]);
    assert_eq!(altered(first_run(), rename), refused_in_change(0, EncodeError::Place));
    assert_eq!(altered(second_run(), rename), VerifyError::Signature);
}

#[test]
fn a_wrong_previous_change_is_refused() {
    let relink = |run: &mut SignedRun| run.place.link = Link::Previous(ChangeHash([5; 32]));
    assert_eq!(altered(second_run(), relink), VerifyError::Signature);
}

#[test]
fn an_opening_in_the_middle_of_a_segment_is_refused() {
    let relink = |run: &mut SignedRun| run.place.link = first_run().place.link;
    assert_eq!(altered(second_run(), relink), refused_in_change(0, EncodeError::Place));
}

#[test]
fn an_opening_that_says_something_else_is_refused() {
    let alter = |change: &dyn Fn(&mut Opening)| {
        altered(first_run(), |run| {
            let Link::Opening(opening) = &mut run.place.link else {
                return;
            };
            change(opening);
            run.place.segment = opening.segment();
        })
    };
    let place = refused_in_change(0, EncodeError::Place);
    assert_eq!(alter(&|opening| opening.author = mallory().node_id()), place);
    assert_eq!(alter(&|opening| opening.first_seq = Seq(1)), place);
    let stray = |next_seq| Parent { next_seq: Seq(next_seq), hash: ChangeHash([5; 32]) };
    assert_eq!(alter(&|opening| opening.parents.push(stray(1))), place);
    assert_eq!(alter(&|opening| opening.parents.push(stray(0))), VerifyError::Signature);
    assert_eq!(alter(&|opening| opening.nonce = [5; 16]), VerifyError::Signature);
}

#[test]
fn a_weak_key_vouches_for_nothing() {
    let (neutral, of_order_four, no_point) = (1, 0, 2);
    for y in [neutral, of_order_four, no_point] {
        let mut key = [0; 32];
        key[0] = y;
        let rename = |run: &mut SignedRun| run.place.author = NodeId(key);
        assert_eq!(altered(second_run(), rename), VerifyError::WeakKey);
    }
}

#[test]
fn an_empty_run_is_refused() {
    assert_eq!(altered(second_run(), |run| run.changes.clear()), VerifyError::Empty);
}

#[test]
fn a_change_without_an_entry_is_refused() {
    let empty = |run: &mut SignedRun| run.changes[1].clear();
    assert_eq!(altered(second_run(), empty), refused_in_change(1, EncodeError::Count(0)));
}

#[test]
fn a_change_holds_4096_entries_at_most() {
    let place = first_run().place;
    assert!(encode(&place, &entries(1..=4_096)).is_ok());
    let over = |run: &mut SignedRun| run.changes[1] = entries(6..=4_102);
    assert_eq!(altered(second_run(), over), refused_in_change(1, EncodeError::Count(4_097)));
}

#[test]
fn a_change_holds_its_bound_of_bytes_at_most() {
    let frame = entry(1, PAYLOAD_BYTES).len() - PAYLOAD_BYTES;
    let full = vec![entry(1, PAYLOAD_BYTES), entry(2, CHANGE_BYTES - PAYLOAD_BYTES - 2 * frame)];
    assert_eq!(full.iter().map(Bytes::len).sum::<usize>(), CHANGE_BYTES);
    assert!(encode(&first_run().place, &full).is_ok());
    let over = SignedRun { changes: vec![[full, vec![entry(3, 0)]].concat()], ..first_run() };
    let error = EncodeError::Bytes(CHANGE_BYTES + entry(3, 0).len());
    assert_eq!(over.verify(CLUSTER), Err(refused_in_change(0, error)));
}

#[test]
fn a_segment_holds_8192_entries_at_most() {
    let full = vec![entries(1..=4_096), entries(4_097..=8_192)];
    let run = run_by(&alice(), opens(&alice(), Vec::new()), full);
    let over = |run: &mut SignedRun| run.changes.push(entries(8_193..=8_193));
    assert_eq!(altered(run, over), refused_in_change(2, EncodeError::Place));
}

#[test]
fn times_that_do_not_rise_are_refused() {
    for millis in [[1, 2, 2], [1, 3, 2]] {
        let stand = |run: &mut SignedRun| run.changes[0] = millis.map(|n| entry(n, 3)).to_vec();
        assert_eq!(altered(second_run(), stand), refused_in_change(0, EncodeError::Time(2)));
    }
}

#[test]
fn times_that_do_not_rise_from_change_to_change_are_refused() {
    for millis in [5, 4] {
        let first = encode(&opens(&alice(), Vec::new()), &entries(1..=2)).unwrap();
        let changes = vec![entries(3..=5), entries(millis..=6)];
        let run = run_by(&alice(), after(&first), changes);
        assert_eq!(run.verify(CLUSTER), Err(refused_in_change(1, EncodeError::Time(0))));
    }
}

#[test]
fn an_entry_in_another_spelling_is_refused() {
    let mut wide = entry(3, 3).to_vec();
    wide.push(0);
    let alter = |run: &mut SignedRun| run.changes[0][0] = wide.into();
    let refused = altered(second_run(), alter);
    let entry_is_wrong = |error: &EncodeError| matches!(error, EncodeError::Entry { index: 0, .. });
    assert!(matches!(&refused, VerifyError::Encode { index: 0, error } if entry_is_wrong(error)));
}

#[test]
fn seqs_end_before_they_wrap_around() {
    let parent = |next_seq| vec![Parent { next_seq: Seq(next_seq), hash: ChangeHash([7; 32]) }];
    let last = encode(&opens(&alice(), parent(u64::MAX - 1)), &entries(1..=1)).unwrap();
    assert_eq!(last.next_seq(), Seq(u64::MAX));
    let over = encode(&opens(&alice(), parent(u64::MAX)), &entries(1..=1));
    assert_eq!(over, Err(EncodeError::Place));
}

/// The same change, built by Automerge's own encoder.
fn written_by_automerge(place: &Place, entries: &[Bytes], last_time: Time) -> automerge::Change {
    let segment = ActorId::from(place.segment.0);
    let start = place.first_seq.0 - place.segment_seq.0;
    let operation = |(index, entry): (usize, &Bytes)| Op {
        action: OpType::Put(ScalarValue::Bytes(entry.to_vec())),
        obj: ObjectId::Id(OpId(LIST_OP, ActorId::from(GENESIS_ACTOR))),
        key: Key::Seq(match start + index as u64 {
            0 => ElementId::Head,
            after => ElementId::Id(OpId(FIRST_OP + after - 1, segment.clone())),
        }),
        pred: Vec::new().into(),
        insert: true,
    };
    let (dependency, message) = match &place.link {
        Link::Opening(opening) => (genesis().hash(), Some(opening.text())),
        Link::Previous(hash) => (automerge::ChangeHash(hash.0), None),
    };
    automerge::Change::from(ExpandedChange {
        operations: entries.iter().enumerate().map(operation).collect(),
        actor_id: segment.clone(),
        author: None,
        hash: None,
        seq: u64::from(place.index) + 1,
        start_op: NonZeroU64::MIN.saturating_add(FIRST_OP - 1 + start),
        time: (last_time.millis() / 1_000) as i64,
        message,
        deps: vec![dependency],
        extra_bytes: Vec::new(),
    })
}

proptest! {
    #[test]
    fn a_change_is_byte_for_byte_what_automerge_writes(
        sizes in vec(prop_oneof![Just(3usize), 0..6usize, 0..40_000usize], 1..12),
        more in 0..600usize,
        start in prop_oneof![Just(0u64), 1..4u64, 60..70u64, 7_000..7_500u64],
        millis in prop_oneof![1..100_000u64, 1_700_000_000_000..1_900_000_000_000u64],
    ) {
        let sizes = sizes.into_iter().chain(std::iter::repeat_n(3, more));
        let entries: Vec<Bytes> = (millis..).zip(sizes).map(|(at, size)| entry(at, size)).collect();
        let mut place = opens(&alice(), Vec::new());
        if start > 0 {
            place.first_seq = Seq(start);
            place.index = (start / 2) as u32 + 1;
            place.link = Link::Previous(ChangeHash([7; 32]));
        }
        let change = encode(&place, &entries).unwrap();
        let expected = written_by_automerge(&place, &entries, change.last_time);
        prop_assert_eq!(change.hash.0, expected.hash().0);
        prop_assert_eq!(&change.bytes[..], expected.raw_bytes());
    }
}
