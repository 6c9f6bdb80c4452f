use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::words::limits::SEGMENT_ENTRIES;

fn id<const N: usize>() -> impl Strategy<Value = [u8; N]> {
    any::<u8>().prop_map(|n| [n; N])
}

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![0..300u64, any::<u64>(), Just(u64::MAX), Just(1 << 32)]
}

fn heads() -> impl Strategy<Value = Heads> {
    let head = (id(), number(), id()).prop_map(|(segment, next_seq, hash)| Head {
        segment: SegmentId(segment),
        next_seq: Seq(next_seq),
        hash: ChangeHash(hash),
    });
    vec((id().prop_map(NodeId), vec(head, 0..4)), 0..5)
}

fn link(author: NodeId, first_seq: Seq) -> impl Strategy<Value = Link> {
    let parent = |(next_seq, hash)| Parent { next_seq: Seq(next_seq), hash: ChangeHash(hash) };
    let parents = vec((number(), id()).prop_map(parent), 0..=SEGMENT_PARENTS);
    let opening = (id(), parents, id()).prop_map(move |(cluster, parents, nonce)| {
        Link::Opening(Opening { cluster: ClusterId(cluster), author, first_seq, parents, nonce })
    });
    prop_oneof![id().prop_map(|hash| Link::Previous(ChangeHash(hash))), opening]
}

fn place() -> impl Strategy<Value = Place> {
    let named = (id(), number()).prop_flat_map(|(author, first_seq)| {
        let (author, first_seq) = (NodeId(author), Seq(first_seq));
        (Just(author), Just(first_seq), link(author, first_seq))
    });
    let place = |((author, first_seq, link), segment, segment_seq, index)| {
        let (segment, segment_seq) = (SegmentId(segment), Seq(segment_seq));
        Place { author, segment, segment_seq, index, first_seq, link }
    };
    (named, id(), number(), any::<u32>()).prop_map(place)
}

fn run() -> impl Strategy<Value = SignedRun> {
    let entry = vec(any::<u8>(), 0..300).prop_map(Bytes::from);
    let changes = vec(vec(entry, 0..5), 0..4);
    (place(), changes, any::<u8>()).prop_map(|(place, changes, s)| SignedRun {
        place,
        changes,
        signature: Signature([s; 64]),
    })
}

fn block() -> impl Strategy<Value = SignedBlock> {
    let record = vec(any::<u8>(), 0..300).prop_map(Bytes::from);
    let entries = 1..SEGMENT_ENTRIES;
    (place(), entries, record, any::<u8>())
        .prop_filter("seqs end", |(place, entries, ..)| {
            place.first_seq.0.checked_add(*entries).is_some()
        })
        .prop_map(|(place, entries, record, s)| SignedBlock {
            next_seq: place.first_seq.plus(entries),
            place,
            signature: Signature([s; 64]),
            record,
        })
}

fn wanted() -> impl Strategy<Value = Vec<Wanted>> {
    let wanted = (id(), id(), number(), number()).prop_map(|(author, segment, from, to)| Wanted {
        author: NodeId(author),
        segment: SegmentId(segment),
        from: Seq(from),
        to: Seq(to),
    });
    vec(wanted, 0..4)
}

fn pruned() -> impl Strategy<Value = Vec<Pruned>> {
    let parent = (number(), id())
        .prop_map(|(next, hash)| Parent { next_seq: Seq(next), hash: ChangeHash(hash) });
    let bits = number().prop_map(|bits| bits.min(Time::MAX.bits()));
    let segment = (
        id(),
        number(),
        vec(parent, 0..3),
        any::<u32>(),
        (number(), number()),
        bits,
        (id(), any::<u8>()),
    );
    (id(), id(), vec(segment, 1..4)).prop_map(|(author, cluster, segments)| {
        let (author, cluster) = (NodeId(author), ClusterId(cluster));
        let one = |(nonce, first, parents, changes, (next, bytes), time, (hash, s))| Pruned {
            opening: Opening { cluster, author, first_seq: Seq(first), parents, nonce },
            changes,
            next_seq: Seq(next),
            bytes,
            last_time: Time::from_bits(time).unwrap(),
            hash: ChangeHash(hash),
            signature: Signature([s; 64]),
        };
        segments.into_iter().map(one).collect()
    })
}

fn frame() -> impl Strategy<Value = Frame> {
    let hello = (number(), id(), number(), "[^\\p{Cc}]{0,16}");
    prop_oneof![
        hello.prop_map(|(protocol, cluster, incarnation, name)| {
            Frame::Hello { protocol, cluster: ClusterId(cluster), incarnation, name }
        }),
        block().prop_map(|block| Frame::Block(Box::new(block))),
        heads().prop_map(Frame::Frontier),
        id().prop_map(Frame::Digest),
        heads().prop_map(Frame::Ack),
        vec(id().prop_map(NodeId), 0..5).prop_map(Frame::Links),
        vec(id().prop_map(NodeId), 0..5).prop_map(Frame::Elsewhere),
        run().prop_map(|run| Frame::Run(Box::new(run))),
        wanted().prop_map(Frame::Want),
        pruned().prop_map(Frame::Pruned),
    ]
}

fn read(bytes: &[u8]) -> Result<Frame, FrameError> {
    Frame::decode(&Bytes::copy_from_slice(bytes))
}

proptest! {
    #[test]
    fn every_frame_reads_back_as_it_was_written(frame in frame()) {
        prop_assert_eq!(read(&frame.encode()), Ok(frame));
    }

    #[test]
    fn every_truncation_is_refused(frame in frame()) {
        let bytes = frame.encode();
        for length in 0..bytes.len() {
            prop_assert!(read(&bytes[..length]).is_err(), "{length} of {} bytes", bytes.len());
        }
    }

    #[test]
    fn trailing_bytes_are_refused(frame in frame(), more in vec(any::<u8>(), 1..9)) {
        prop_assert!(read(&[frame.encode(), more].concat()).is_err());
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in vec(any::<u8>(), 0..300)) {
        let _ = read(&bytes);
    }

    /// What is read says the same when it is written: there is one spelling of everything.
    #[test]
    fn a_distorted_frame_is_refused_or_says_something_else(
        frame in frame(),
        splices in vec((any::<Index>(), 0..3usize, vec(any::<u8>(), 0..3)), 1..3),
    ) {
        let mut bytes = frame.encode();
        for (at, cut, insert) in splices {
            let at = at.index(bytes.len());
            let end = bytes.len().min(at + cut);
            bytes.splice(at..end, insert);
            if bytes.is_empty() {
                break;
            }
        }
        if let Ok(other) = read(&bytes) {
            prop_assert_eq!(other.encode(), bytes);
        }
    }
}

// What only a stranger writes: a frame by hand.

/// A frame that `write` spells out.
fn by_hand(
    write: impl FnOnce(
        &mut Encoder<&mut Vec<u8>>,
    ) -> Result<(), minicbor::encode::Error<std::convert::Infallible>>,
) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(&mut Encoder::new(&mut bytes)).unwrap();
    bytes
}

fn hello_named(name: &str) -> Vec<u8> {
    by_hand(|e| e.array(5)?.u8(0)?.u64(1)?.bytes(&[9; 32])?.u64(7)?.str(name)?.ok())
}

fn no_frame(why: &str) -> Result<Frame, FrameError> {
    Err(FrameError(why.to_owned()))
}

fn replace(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let at = bytes.windows(from.len()).position(|window| window == from).unwrap();
    [&bytes[..at], to, &bytes[at + from.len()..]].concat()
}

#[test]
fn an_empty_frame_is_refused() {
    assert!(read(&[]).is_err());
}

#[test]
fn an_unknown_kind_is_refused() {
    assert_eq!(read(&[0x82, 7, 0]), no_frame("kind 7 with 2 items"));
    assert_eq!(read(&[0x81, 0x18, 200]), no_frame("kind 200 with 1 items"));
}

#[test]
fn a_kind_with_another_number_of_items_is_refused() {
    for (kind, items) in [(0, 4), (1, 3), (2, 1), (3, 3), (4, 9), (5, 8)] {
        let bytes = by_hand(|e| e.array(items)?.u8(kind)?.ok());
        assert_eq!(read(&bytes), no_frame(&format!("kind {kind} with {items} items")));
    }
}

#[test]
fn a_longer_integer_than_needed_is_refused() {
    let hello = hello_named("a");
    assert!(read(&hello).is_ok());
    for (short, wide) in [
        (&[0x85, 0, 1][..], &[0x85, 0x18, 0, 1][..]), // the kind
        (&[0x85, 0, 1], &[0x85, 0, 0x18, 1]),         // a number
        (&[0x85, 0, 1], &[0x98, 5, 0, 1]),            // the length of an array
        (&[0x58, 32], &[0x59, 0, 32]),                // the length of bytes
        (&[0x61, b'a'], &[0x78, 1, b'a']),            // the length of a text
    ] {
        let why = no_frame("not in deterministic encoding");
        assert_eq!(read(&replace(&hello, short, wide)), why, "{wide:02x?}");
    }
}

#[test]
fn an_indefinite_length_is_refused() {
    let indefinite = no_frame("an array of indefinite length");
    assert_eq!(read(&[0x9f, 1, 0x80, 0xff]), indefinite);
    assert_eq!(read(&[0x82, 1, 0x9f, 0xff]), indefinite);
    assert_eq!(read(&[0x82, 4, 0x9f, 0xff]), indefinite);
    let hello = hello_named("a");
    assert!(read(&replace(&hello, &[0x61, b'a'], &[0x7f, 0x61, b'a', 0xff])).is_err());
    let bytes = by_hand(|e| e.array(2)?.u8(2)?.begin_bytes()?.bytes(&[9; 32])?.end()?.ok());
    assert!(read(&bytes).is_err());
}

#[test]
fn another_type_than_expected_is_refused() {
    let digest = |item: &[u8]| read(&[&[0x82, 2], item].concat());
    for item in [&[0x60][..], &[0x80], &[0xa0], &[0xf6], &[0x20], &[0xfb, 0, 0, 0, 0, 0, 0, 0, 0]] {
        assert!(digest(item).is_err(), "{item:02x?}");
    }
    assert!(digest(&[&[0xc0, 0x58, 32][..], &[9; 32]].concat()).is_err(), "a tag");
}

#[test]
fn deep_nesting_is_refused() {
    assert!(read(&[0x81; 100_000]).is_err());
    assert!(read(&[&[0x82, 1][..], &[0x81; 100_000]].concat()).is_err());
}

#[test]
fn an_id_of_another_length_is_refused() {
    for length in [0, 31, 33] {
        let bytes = by_hand(|e| e.array(2)?.u8(2)?.bytes(&vec![9; length])?.ok());
        assert_eq!(read(&bytes), no_frame(&format!("{length} bytes where 32 belong")));
    }
}

#[test]
fn a_name_is_64_bytes_of_printable_text_at_most() {
    assert!(read(&hello_named(&"x".repeat(NODE_NAME_BYTES))).is_ok());
    let wrong = no_frame("a name that is too long or holds control characters");
    for name in [&"x".repeat(NODE_NAME_BYTES + 1), "a\u{1b}[31m", "a\nb", "\0"] {
        assert_eq!(read(&hello_named(name)), wrong, "{name:?}");
    }
    assert!(read(&replace(&hello_named("a"), &[0x61, b'a'], &[0x61, 0xff])).is_err(), "no UTF-8");
}

#[test]
fn a_count_that_nothing_follows_is_refused() {
    for kind in [1, 3, 4] {
        for count in [1, 9_999, u64::MAX] {
            let bytes = by_hand(|e| e.array(2)?.u8(kind)?.array(count)?.ok());
            assert!(read(&bytes).is_err());
        }
    }
}

fn refused_for_length(frame: &Frame) -> bool {
    read(&frame.encode()).is_err_and(|FrameError(why)| why.starts_with("an array of"))
}

#[test]
fn a_frame_names_10000_authors_at_most() {
    let heads = |count: usize| vec![(NodeId([1; 32]), Vec::new()); count];
    let links = |count: usize| vec![NodeId([1; 32]); count];
    for frame in [Frame::Frontier(heads(AUTHORS)), Frame::Links(links(AUTHORS))] {
        assert_eq!(read(&frame.encode()), Ok(frame));
    }
    assert!(refused_for_length(&Frame::Frontier(heads(AUTHORS + 1))));
    assert!(refused_for_length(&Frame::Ack(heads(AUTHORS + 1))));
    assert!(refused_for_length(&Frame::Links(links(AUTHORS + 1))));
    assert!(refused_for_length(&Frame::Elsewhere(links(AUTHORS + 1))));
}

#[test]
fn a_frame_names_8192_pruned_segments_at_most_and_one_at_least() {
    let opening = Opening {
        cluster: ClusterId([1; 32]),
        author: NodeId([2; 32]),
        first_seq: Seq(0),
        parents: Vec::new(),
        nonce: [3; 16],
    };
    let one = Pruned {
        opening,
        changes: 1,
        next_seq: Seq(1),
        bytes: 1,
        last_time: Time::default(),
        hash: ChangeHash([4; 32]),
        signature: Signature([5; 64]),
    };
    let chain = |count: usize| Frame::Pruned(vec![one.clone(); count]);
    assert_eq!(read(&chain(PRUNED_CHAIN).encode()), Ok(chain(PRUNED_CHAIN)));
    assert!(refused_for_length(&chain(PRUNED_CHAIN + 1)));
    assert!(read(&chain(0).encode()).is_err());
}

#[test]
fn a_frame_names_64_heads_of_an_author_at_most() {
    let head = Head { segment: SegmentId([1; 16]), next_seq: Seq(1), hash: ChangeHash([1; 32]) };
    let frontier = |count: usize| Frame::Frontier(vec![(NodeId([1; 32]), vec![head; count])]);
    assert!(read(&frontier(BRANCHES).encode()).is_ok());
    assert!(refused_for_length(&frontier(BRANCHES + 1)));
}

/// A run whose changes hold these counts of empty entries.
fn run_of(counts: &[usize]) -> Frame {
    let changes = counts.iter().map(|&count| vec![Bytes::new(); count]).collect();
    let link = Link::Previous(ChangeHash([3; 32]));
    let (author, segment) = (NodeId([1; 32]), SegmentId([2; 16]));
    let (segment_seq, first_seq) = (Seq(4), Seq(5));
    let place = Place { author, segment, segment_seq, index: 1, first_seq, link };
    let signature = Signature([6; 64]);
    Frame::Run(Box::new(SignedRun { place, changes, signature }))
}

#[test]
fn a_run_holds_8192_changes_at_most() {
    assert!(read(&run_of(&[0; RUN_CHANGES]).encode()).is_ok());
    assert!(refused_for_length(&run_of(&[0; RUN_CHANGES + 1])));
}

#[test]
fn a_change_of_a_run_holds_4096_entries_at_most() {
    assert!(read(&run_of(&[CHANGE_ENTRIES]).encode()).is_ok());
    assert!(refused_for_length(&run_of(&[CHANGE_ENTRIES + 1])));
}

/// An entry takes 32 bytes of memory and may take one on the wire: without this bound, a frame of
/// 16 MiB would take half a gigabyte.
#[test]
fn a_run_holds_no_more_entries_than_a_segment() {
    let full = [CHANGE_ENTRIES; SEGMENT_ENTRIES as usize / CHANGE_ENTRIES];
    assert!(read(&run_of(&full).encode()).is_ok());
    assert!(read(&run_of(&[&full[..], &[1]].concat()).encode()).is_err());
}

#[test]
fn an_opening_names_16_parents_at_most() {
    let opened = |count: usize| {
        let Frame::Run(mut run) = run_of(&[1]) else { unreachable!() };
        let Place { author, first_seq, .. } = run.place;
        let parents = vec![Parent { next_seq: Seq(1), hash: ChangeHash([7; 32]) }; count];
        let cluster = ClusterId([8; 32]);
        let opening = Opening { cluster, author, first_seq, parents, nonce: [9; 16] };
        run.place.link = Link::Opening(opening);
        Frame::Run(run)
    };
    assert!(read(&opened(SEGMENT_PARENTS).encode()).is_ok());
    assert!(refused_for_length(&opened(SEGMENT_PARENTS + 1)));
}

#[test]
fn entries_share_the_memory_of_their_frame() {
    let Frame::Run(mut run) = run_of(&[1]) else { unreachable!() };
    run.changes[0][0] = Bytes::from(vec![7; 1_000]);
    let bytes = Bytes::from(Frame::Run(run).encode());
    let Ok(Frame::Run(read)) = Frame::decode(&bytes) else { panic!("it is a run") };
    assert!(bytes.as_ptr_range().contains(&read.changes[0][0].as_ptr()));
}

#[test]
fn a_hello_has_the_same_bytes_for_ever() {
    let cluster = ClusterId([0xcc; 32]);
    let hello = Frame::Hello { protocol: 1, cluster, incarnation: 300, name: "edge".into() };
    let expected = format!("8500015820{}19012c6465646765", "cc".repeat(32));
    assert_eq!(hex::encode(hello.encode()), expected);
}

#[test]
fn a_run_has_the_same_bytes_for_ever() {
    let expected = [
        "8905",
        &format!("5820{}", "01".repeat(32)), // author
        &format!("50{}", "02".repeat(16)),   // segment
        "04",                                // the segment's seq
        "01",                                // index
        "05",                                // first seq
        &format!("5820{}", "03".repeat(32)), // the change before
        &format!("5840{}", "06".repeat(64)), // signature
        "82824040",                          // two changes; two entries
        "8140",                              // one entry
    ];
    assert_eq!(hex::encode(run_of(&[2, 1]).encode()), expected.concat());
}
