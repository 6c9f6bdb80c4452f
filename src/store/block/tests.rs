use proptest::collection::vec;
use proptest::prelude::*;

use super::input::text;
use super::*;
use crate::core::log::Log;
use crate::words::entry::OCTETS;
use crate::words::limits::CHANGE_ENTRIES;
use crate::words::{ClusterId, Draft, Identity, Offset};

const CLUSTER: ClusterId = ClusterId([9; 32]);

fn draft() -> impl Strategy<Value = Draft> {
    let tenant = prop_oneof![Just("default"), Just("acme")];
    let topic = "[a-c]{1,3}";
    let kind = prop_oneof![Just("log"), Just("transition")];
    let content_type = prop_oneof![Just(OCTETS), Just("application/json")];
    let attributes = vec(("[a-z]{1,5}", ".{0,20}"), 0..3);
    (tenant, topic, kind, content_type, attributes, vec(any::<u8>(), 0..300)).prop_map(
        |(tenant, topic, kind, content_type, attributes, data)| {
            let draft = Draft::bytes(&topic, kind, content_type, data).unwrap();
            let draft = draft.for_tenant(tenant).unwrap();
            attributes.iter().fold(draft, |draft, (k, v)| draft.with_attribute(k, v).unwrap())
        },
    )
}

/// Consecutive changes of one segment.
fn changes(groups: &[Vec<Draft>]) -> Vec<Change> {
    let identity = Identity::from_secret(&[1; 32]);
    let mut log = Log::new(identity, CLUSTER, [2; 16], [], Offset(0), 0);
    let append = |(at, drafts): (usize, &Vec<Draft>)| log.append(drafts, at as u64 / 2).unwrap();
    groups.iter().enumerate().flat_map(append).map(|arrival| arrival.change).collect()
}

fn opening(changes: &[Change]) -> String {
    match changes[0].link().unwrap() {
        Link::Opening(opening) => opening.text(),
        Link::Previous(_) => unreachable!("the first change opens the segment"),
    }
}

fn stand<'a>(changes: &[Change], opening: &'a str) -> Stand<'a> {
    let (first, last) = (&changes[0], &changes[changes.len() - 1]);
    Stand {
        author: first.author,
        segment: first.segment,
        segment_seq: first.segment_seq,
        index: first.index,
        first_seq: first.first_seq,
        opening,
        next_seq: last.next_seq(),
        last: last.hash,
    }
}

proptest! {
    #[test]
    fn what_was_sealed_opens_as_it_was(
        groups in vec(vec(draft(), 1..8), 1..8),
        from in 0..8usize,
    ) {
        let mut changes = changes(&groups);
        let opening = opening(&changes);
        let mut changes = changes.split_off(from.min(groups.len() - 1));
        let record = Sealer::new().unwrap().seal(&changes).unwrap();
        let opened = BlockOpener::new().unwrap().open(&record, &stand(&changes, &opening));
        changes.iter_mut().for_each(|change| change.signature = None);
        prop_assert_eq!(opened, Ok(changes));
    }

    #[test]
    fn a_flipped_bit_is_noticed(groups in vec(vec(draft(), 1..4), 1..4), at in any::<usize>()) {
        let changes = changes(&groups);
        let opening = opening(&changes);
        let mut record = Sealer::new().unwrap().seal(&changes).unwrap();
        let bit = at % (record.len() * 8);
        record[bit / 8] ^= 1 << (bit % 8);
        let opened = BlockOpener::new().unwrap().open(&record, &stand(&changes, &opening));
        prop_assert_eq!(opened, Err(Damaged));
    }

    #[test]
    fn garbage_is_refused(record in vec(any::<u8>(), 0..200)) {
        let changes = changes(&[vec![Draft::text("t", "k", "x").unwrap()]]);
        let opening = opening(&changes);
        let mut opener = BlockOpener::new().unwrap();
        prop_assert_eq!(opener.open(&record, &stand(&changes, &opening)), Err(Damaged));
    }
}

/// A block as it travels.
fn travelling(changes: &[Change]) -> SignedBlock {
    let first = &changes[0];
    let last = &changes[changes.len() - 1];
    let place = Place {
        author: first.author,
        segment: first.segment,
        segment_seq: first.segment_seq,
        index: first.index,
        first_seq: first.first_seq,
        link: first.link().unwrap(),
    };
    let record = Sealer::new().unwrap().seal(changes).unwrap().into();
    SignedBlock { place, next_seq: last.next_seq(), signature: last.signature.unwrap(), record }
}

fn verify(block: &SignedBlock) -> Result<Vec<Change>, VerifyError> {
    BlockOpener::new().unwrap().verify(block, CLUSTER)
}

#[test]
fn a_block_that_travelled_is_what_its_author_signed() {
    let drafts = |n: usize| vec![Draft::text("t", "k", n.to_string()).unwrap(); n];
    let changes = changes(&[drafts(3), drafts(2), drafts(4)]);
    for from in [0, 1] {
        let verified = verify(&travelling(&changes[from..])).unwrap();
        assert_eq!(verified.last(), changes.last());
        assert_eq!(verified.len(), changes.len() - from);
    }
}

#[test]
fn a_block_that_claims_something_else_is_refused() {
    let drafts = |n: usize| vec![Draft::text("t", "k", n.to_string()).unwrap(); n];
    let changes = changes(&[drafts(3), drafts(2), drafts(4)]);
    let honest = travelling(&changes[1..]);
    let alter: [fn(&mut SignedBlock); 9] = [
        |block| block.place.author = Identity::from_secret(&[9; 32]).node_id(),
        |block| block.place.author = NodeId([0; 32]),
        |block| block.place.segment.0[0] ^= 1,
        |block| block.place.index += 1,
        |block| block.place.first_seq = block.place.first_seq.plus(1),
        |block| block.next_seq = block.next_seq.plus(1),
        |block| block.place.link = Link::Previous(ChangeHash([7; 32])),
        |block| block.signature.0[3] ^= 1,
        |block| block.record = block.record.slice(..block.record.len() - 1),
    ];
    assert!(verify(&honest).is_ok());
    for (at, alter) in alter.into_iter().enumerate() {
        let mut block = honest.clone();
        alter(&mut block);
        assert!(verify(&block).is_err(), "{at}");
    }
    let elsewhere = BlockOpener::new().unwrap().verify(&travelling(&changes), ClusterId([8; 32]));
    assert_eq!(elsewhere, Err(VerifyError::Cluster));
}

/// The rules for entries hold whatever they travel in.
#[test]
fn an_entry_that_no_author_may_write_is_refused_in_a_block_too() {
    let identity = Identity::from_secret(&[1; 32]);
    let mut place = travelling(&changes(&[vec![Draft::text("t", "k", "x").unwrap()]])).place;
    let view = View {
        time: Time::from_millis(1),
        tenant: "default",
        topic: "",
        kind: "k",
        attributes: Vec::new(),
        content_type: "text/plain",
        data: b"no topic",
    };
    let mut entry = Vec::new();
    view.write(&mut entry);
    let mut change = rebuild(&place, &[&entry[..]], (view.time, view.time)).unwrap();
    change.signature = Some(identity.sign(CLUSTER, change.hash));
    place.first_seq = change.first_seq;
    assert_eq!(verify(&travelling(&[change])), Err(VerifyError::Record));
}

#[test]
fn names_that_repeat_are_kept_once() {
    let drafts: Vec<Draft> =
        (0..1_000).map(|n| Draft::text("a/topic", "kind", n.to_string()).unwrap()).collect();
    let changes = changes(&[drafts]);
    let record = Sealer::new().unwrap().seal(&changes).unwrap();
    assert!(record.len() < 4_000, "{} bytes", record.len());
}

#[test]
fn a_record_in_the_place_of_another_is_noticed_without_opening_it() {
    let all = changes(&[vec![Draft::text("t", "k", "x").unwrap(); 3]]);
    let opening = opening(&all);
    let here = || stand(&all, &opening);
    let new = Sealer::new().unwrap().seal(&all).unwrap();
    for record in [as_before(&all, &here(), true), as_before(&all, &here(), false), new] {
        assert!(is_whole(&record, &here()));
        let elsewhere = [
            Stand { segment: SegmentId([9; 16]), ..here() },
            Stand { index: 1, ..here() },
            Stand { first_seq: Seq(1), ..here() },
            Stand { next_seq: Seq(4), ..here() },
            Stand { last: ChangeHash([9; 32]), ..here() },
        ];
        assert!(elsewhere.iter().all(|stand| !is_whole(&record, stand)));
    }
}

/// Changes as a record of one of the forms that were written before: the data lies in the order of the
/// entries and has no sample, and at first names were spelled out, and the checksum was another one.
fn as_before(changes: &[Change], stand: &Stand<'_>, is_spelled: bool) -> Vec<u8> {
    let chunks: Vec<_> = changes.iter().map(|change| change.chunk().unwrap()).collect();
    let entries = chunks.iter().flat_map(|chunk| chunk.entries());
    let views: Vec<View<'_>> = entries.map(|entry| View::read(entry).unwrap()).collect();
    let (mut beside, mut names, mut data) = (Vec::new(), Vec::new(), Vec::new());
    let mut columns: [Vec<u8>; 5] = Default::default();
    let mut time = 0;
    for view in &views {
        let named = [view.tenant, view.topic, view.kind, view.content_type];
        let which = names.iter().position(|known| *known == named).unwrap_or_else(|| {
            names.push(named);
            names.len() - 1
        });
        let rises = view.time.bits() - time;
        time = view.time.bits();
        let numbers = [which as u64, view.attributes.len() as u64, view.data.len() as u64, rises];
        numbers.iter().zip(&mut columns).for_each(|(value, column)| number(column, *value));
        let texts = view.attributes.iter().flat_map(|(key, value)| [key, value]);
        texts.for_each(|it| text(&mut columns[4], it));
        data.extend_from_slice(view.data);
    }
    number(&mut beside, changes.len() as u64);
    changes.iter().for_each(|change| number(&mut beside, u64::from(change.count)));
    number(&mut beside, names.len() as u64);
    if is_spelled {
        names.iter().flatten().for_each(|name| text(&mut beside, name));
    } else {
        for at in 0..4 {
            number(&mut beside, names.len() as u64);
            names.iter().for_each(|names| text(&mut beside, names[at]));
            (0..names.len()).for_each(|which| number(&mut beside, which as u64));
        }
    }
    for column in columns {
        number(&mut beside, column.len() as u64);
        beside.extend_from_slice(&column);
    }
    let mut record = match changes[0].link().unwrap() {
        Link::Opening(_) => vec![if is_spelled { 1 } else { 3 }],
        Link::Previous(hash) => [&[if is_spelled { 2 } else { 4 }], &hash.0[..]].concat(),
    };
    let mut packer = Packer::new().unwrap();
    let beside_packed = packer.one_frame(&beside).unwrap();
    for length in [beside.len(), data.len(), beside_packed.len()] {
        number(&mut record, length as u64);
    }
    record.extend(beside_packed);
    data.chunks(700).for_each(|piece| record.extend(packer.one_frame(piece).unwrap()));
    let place = [
        &stand.segment.0[..],
        &stand.index.to_be_bytes(),
        &stand.first_seq.0.to_be_bytes(),
        &stand.next_seq.0.to_be_bytes(),
        &stand.last.0,
    ];
    if is_spelled {
        let digest = Sha256::digest([&place.concat()[..], &record].concat());
        record.extend_from_slice(&digest[..CHECKSUM]);
    } else {
        let seed = XxHash3_64::oneshot(&place.concat());
        record.extend(XxHash3_64::oneshot_with_seed(seed, &record).to_be_bytes());
    }
    record
}

#[test]
fn a_record_as_it_was_written_before_is_read_and_checked_as_ever() {
    let drafts = |n: usize| {
        let draft = |n: usize| {
            let draft = Draft::text(["t", "u"][n % 2], "k", "x".repeat(n * 7)).unwrap();
            if n.is_multiple_of(3) { draft.with_attribute("n", "y").unwrap() } else { draft }
        };
        (0..n).map(draft)
    };
    let all = changes(&[drafts(30).collect(), drafts(20).collect()]);
    let opening = opening(&all);
    for (changes, is_spelled) in
        [(&all[..1], true), (&all[1..], true), (&all[..1], false), (&all[1..], false)]
    {
        let stand = stand(changes, &opening);
        let new = Sealer::new().unwrap().seal(changes).unwrap();
        let mut record = as_before(changes, &stand, is_spelled);
        let mut opener = BlockOpener::new().unwrap();
        assert_eq!(opener.open(&record, &stand), opener.open(&new, &stand));
        let wanted = |_: &str, topic: &str| topic == "u";
        let seqs = stand.first_seq..stand.first_seq.plus(9);
        let mut picked = |record: &[u8]| {
            let picked = opener.pick(record, &stand, &seqs, &wanted).unwrap().unwrap();
            let all = opener.unpack_entries(record, &stand).unwrap();
            (encoded(&picked), encoded(&all), opener.kinds(record, &stand))
        };
        assert_eq!(picked(&record), picked(&new));
        for at in [0, 1, 40, record.len() - 1] {
            record[at] ^= 8;
            assert_eq!(opener.open(&record, &stand), Err(Damaged), "byte {at}");
            record[at] ^= 8;
        }
    }
}

/// zstd would take what begins so for a dictionary that was trained, and fail, or worse.
#[test]
fn data_that_begins_like_a_trained_dictionary_is_sealed_like_any_other() {
    let draft = |n: u8| {
        let data = [&[0x37, 0xa4, 0x30, 0xec, n][..], &[n; 3_000]].concat();
        Draft::bytes("t", "k", OCTETS, data).unwrap()
    };
    let changes = changes(&[(0..40).map(draft).collect()]);
    let opening = opening(&changes);
    let stand = stand(&changes, &opening);
    let record = Sealer::new().unwrap().seal(&changes).unwrap();
    let mut opener = BlockOpener::new().unwrap();
    assert_eq!(opener.open(&record, &stand).unwrap()[0].bytes, changes[0].bytes);
    let picked = opener.pick(&record, &stand, &(Seq(7)..Seq(9)), &|_, _| true).unwrap().unwrap();
    assert_eq!(encoded(&picked), of_topic(&changes, "t", 7)[..2]);
}

/// Entries of many topics that take turns: those of one lie together, so that few frames are unpacked.
#[test]
fn entries_of_a_topic_lie_together() {
    let draft = |n: usize| {
        let text = format!("{n} {}", "abcdefghij".repeat(n % 90));
        Draft::text(&format!("t{}", n % 50), ["k", "l"][n % 3 % 2], text).unwrap()
    };
    let changes = changes(&[(0..1_000).map(draft).collect()]);
    let opening = opening(&changes);
    let stand = stand(&changes, &opening);
    let record = Sealer::new().unwrap().seal(&changes).unwrap();
    let mut opener = BlockOpener::new().unwrap();
    let all = opener.unpack_entries(&record, &stand).unwrap();
    let entries = encoded(&all);
    assert_eq!(entries.len(), 1_000);
    for n in [0, 7, 49] {
        let topic = format!("t{n}");
        let wanted = |_: &str, name: &str| name == topic;
        let picked = opener.pick(&record, &stand, &(Seq(0)..Seq(1_000)), &wanted);
        let picked = encoded(&picked.unwrap().unwrap());
        assert_eq!(picked, of_topic(&changes, &topic, 0), "{topic}");
        let of_all = entries.iter().filter(|(seq, _)| seq.0 % 50 == n);
        assert!(picked.iter().eq(of_all), "{topic}");
    }
    let chunk = changes[0].chunk().unwrap();
    let views: Vec<View<'_>> = chunk.entries().map(|entry| View::read(entry).unwrap()).collect();
    let mut columns = Columns::of(1);
    columns.begin_change(1_000);
    views.iter().for_each(|view| columns.push(view));
    let (_, data) = columns.join();
    for kind in ["k", "l"] {
        let of_names = views.iter().filter(|view| (view.topic, view.kind) == ("t7", kind));
        let together = of_names.map(|view| view.data).collect::<Vec<_>>().concat();
        assert!(data.windows(together.len()).any(|piece| piece == together), "{kind}");
    }
}

/// A block of a stranger: its columns, whatever they say, packed behind a checksum.
fn forged(beside: &[u8], data: &[u8], entries: u64) -> SignedBlock {
    let mut block = travelling(&changes(&[vec![Draft::text("t", "k", "x").unwrap()]]));
    block.next_seq = block.place.first_seq.plus(entries);
    let mut packer = Packer::new().unwrap();
    let packed_beside = packer.one_frame(beside).unwrap();
    let packed_data = packer.frames(data, &mut Rests::default()).unwrap();
    let mut record = vec![FORM_OPENING];
    for length in [beside.len(), data.len(), packed_beside.len()] {
        number(&mut record, length as u64);
    }
    record.extend([packed_beside, packed_data, vec![0; CHECKSUM]].concat());
    SignedBlock { record: record.into(), ..block }
}

/// Three megabytes that stand 4,096 times in a change would be twelve gigabytes of CBOR.
#[test]
fn a_long_name_that_many_entries_share_is_refused_before_it_is_written_for_all() {
    let mut columns = Columns::of(1);
    columns.begin_change(CHANGE_ENTRIES as u32);
    let name = "x".repeat(3 << 20);
    for millis in 0..CHANGE_ENTRIES as u64 {
        let time = Time::from_millis(millis + 1);
        let (attributes, data) = (Vec::new(), &b""[..]);
        let (tenant, kind, content_type) = ("default", "k", "text/plain");
        columns.push(&View { time, tenant, topic: &name, kind, attributes, content_type, data });
    }
    let block = forged(&columns.join().0, b"", CHANGE_ENTRIES as u64);
    assert!(block.record.len() < 20_000, "{} bytes", block.record.len());
    assert_eq!(verify(&block), Err(VerifyError::Record));
}

#[test]
fn a_block_of_more_or_fewer_entries_than_it_claims_is_refused() {
    let changes = changes(&[vec![Draft::text("t", "k", "x").unwrap(); 3]]);
    let honest = travelling(&changes);
    for entries in [0, 1, 2, 4, 8_192] {
        let next_seq = honest.place.first_seq.plus(entries);
        let block = SignedBlock { next_seq, ..honest.clone() };
        assert_eq!(verify(&block), Err(VerifyError::Record), "{entries}");
    }
}

/// The entries of changes, and those of them that are of a topic.
fn of_topic(changes: &[Change], topic: &str, from: u64) -> Vec<(Seq, Vec<u8>)> {
    let entries = changes.iter().flat_map(|change| {
        let first = change.first_seq;
        let chunk = change.chunk().unwrap();
        let entries: Vec<&[u8]> = chunk.entries().collect();
        let numbered = (0..).zip(entries);
        numbered.map(move |(at, bytes)| (first.plus(at), Vec::from(bytes))).collect::<Vec<_>>()
    });
    entries
        .filter(|(seq, bytes)| seq.0 >= from && View::read(bytes).unwrap().topic == topic)
        .collect()
}

/// The entries that were read of a block.
fn encoded(read: &Unpacked) -> Vec<(Seq, Vec<u8>)> {
    let entry = |at| {
        let (view, mut bytes) = (read.view(at).unwrap(), Vec::new());
        view.write(&mut bytes);
        let (seq, time) = read.place(at);
        assert_eq!((read.draft(at), time), (view.to_draft().ok(), view.time));
        (seq, bytes)
    };
    (0..read.len()).map(entry).collect()
}

#[test]
fn entries_that_are_picked_are_those_of_the_block_across_frames() {
    let draft = |n: usize| {
        let topic = if n % 8 == 3 { "wanted" } else { "other" };
        let data: Vec<u8> = (0..3_000).map(|at| (at * n % 251) as u8).collect();
        let draft = Draft::bytes(topic, "k", OCTETS, data).unwrap();
        if n.is_multiple_of(3) { draft.with_attribute("n", &n.to_string()).unwrap() } else { draft }
    };
    let changes = changes(&[(0..64).map(draft).collect()]);
    let opening = opening(&changes);
    let stand = stand(&changes, &opening);
    let mut record = Sealer::new().unwrap().seal(&changes).unwrap();
    let mut opener = BlockOpener::new().unwrap();
    let wanted = |_: &str, topic: &str| topic == "wanted";
    for from in [0, 20, 60] {
        let picked = opener.pick(&record, &stand, &(Seq(from)..Seq(64)), &wanted).unwrap();
        assert_eq!(encoded(&picked.unwrap()), of_topic(&changes, "wanted", from), "from {from}");
    }
    let all = opener.pick(&record, &stand, &(Seq(0)..Seq(64)), &|_, _| true);
    assert!(all.unwrap().is_none(), "much of it is better read whole");
    let middle = record.len() / 2;
    record[middle] ^= 1;
    assert!(opener.pick(&record, &stand, &(Seq(0)..Seq(64)), &wanted).is_err());
}

#[test]
fn entries_that_are_unpacked_are_those_of_the_block() {
    let draft = |n: usize| {
        let draft = Draft::text("t", "k", "x".repeat(n * 400)).unwrap();
        if n.is_multiple_of(3) { draft.with_attribute("n", &n.to_string()).unwrap() } else { draft }
    };
    let changes = changes(&[(0..40).map(draft).collect()]);
    let opening = opening(&changes);
    let stand = stand(&changes, &opening);
    let mut record = Sealer::new().unwrap().seal(&changes).unwrap();
    let mut opener = BlockOpener::new().unwrap();
    assert_eq!(opener.open(&record, &stand).unwrap()[0].bytes, changes[0].bytes);
    let unpacked = opener.unpack_entries(&record, &stand).unwrap();
    assert_eq!(encoded(&unpacked), of_topic(&changes, "t", 0));
    assert_eq!(unpacked.within(&(Seq(7)..Seq(u64::MAX))), 7..40);
    assert_eq!(unpacked.within(&(Seq(9)..Seq(3))), 3..3);
    assert_eq!(unpacked.times(), Some((changes[0].first_time, changes[0].last_time)));
    let middle = record.len() / 2;
    record[middle] ^= 1;
    assert!(opener.unpack_entries(&record, &stand).is_err());
}

#[test]
fn a_block_whose_data_is_one_frame_is_read_as_ever() {
    let drafts = |n: usize| (0..n).map(|n| Draft::text("t", "k", n.to_string()).unwrap()).collect();
    let changes = changes(&[drafts(40)]);
    let opening = opening(&changes);
    let record = Sealer::new().unwrap().seal(&changes).unwrap();
    let mut opener = BlockOpener::new().unwrap();
    let stand = stand(&changes, &opening);
    let picked = opener.pick(&record, &stand, &(Seq(7)..Seq(9)), &|_, _| true).unwrap().unwrap();
    assert_eq!(encoded(&picked), of_topic(&changes, "t", 7)[..2]);
}
