//! Where the corpus begins: what the real encoders write, and what people type.

use bytes::Bytes;
use towline::Draft;
use towline::core::change::{Change, Link, Place, SignedBlock, SignedRun, encode};
use towline::core::frame::{Frame, Wanted};
use towline::core::frontier::Head;
use towline::core::pruned::Pruned;
use towline::core::segment::{Opening, Parent};
use towline::net::link::pack;
use towline::node::cursor::Last;
use towline::node::{Addresses, Cursor, Order};
use towline::store::StoreId;
use towline::store::block::Sealer;
use towline::words::{
    ChangeHash, EmitNumber, EntryId, Gap, GapReason, NodeId, Offset, SegmentId, Seq, Time,
};

use super::decoders::block::{SAMPLED, form};
use super::decoders::{CLUSTER, run};

/// A seed: the target that takes it, its name among that target's seeds, and its bytes.
pub type Seed = (&'static str, &'static str, Vec<u8>);

/// All seeds. They are the same on every machine.
pub fn all() -> Vec<Seed> {
    [frames(), changes(), blocks(), requests(), lines(), words(), files()].concat()
}

fn after(byte: u8, rest: impl AsRef<[u8]>) -> Vec<u8> {
    [&[byte], rest.as_ref()].concat()
}

fn drafts() -> Vec<Draft> {
    let note = Draft::text("builds/7", "note", "it began – und ging weiter\n").expect("a draft");
    let tagged = note.clone().for_tenant("acme").expect("a tenant");
    let tagged = tagged.with_attribute("host", "a").expect("an attribute");
    let value = serde_json::json!({"from": "backlog", "to": ["coding", 1.5, null]});
    vec![
        note,
        tagged.with_attribute("subject", "x y").expect("an attribute"),
        Draft::json("story/42", "transition", &value).expect("a draft"),
        Draft::bytes("t", "k", "image/png", vec![0xff, 0x00, 0x89]).expect("a draft"),
        Draft::bytes("t", "k", "application/json", "").expect("a draft"),
    ]
}

fn entries() -> Vec<Bytes> {
    let timed = drafts().into_iter().zip(1_795_237_297_123..);
    timed.map(|(draft, millis)| draft.encode(Time::from_millis(millis))).collect()
}

/// The first place of a segment that continues after these.
fn opens(parents: Vec<Parent>) -> Place {
    let author = run::author().node_id();
    let first_seq = parents.iter().map(|parent| parent.next_seq).max().unwrap_or_default();
    let opening = Opening { cluster: CLUSTER, author, first_seq, parents, nonce: [4; 16] };
    let segment = opening.segment();
    let link = Link::Opening(opening);
    Place { author, segment, segment_seq: first_seq, index: 0, first_seq, link }
}

fn parents() -> Vec<Parent> {
    let parent = |n: u8| Parent { next_seq: Seq(n.into()), hash: ChangeHash([n; 32]) };
    vec![parent(5), parent(9)]
}

/// Two changes, one after the other, and the place of the second.
fn two_changes(parents: Vec<Parent>) -> ([Change; 2], Place, Place) {
    let (first, second) = (opens(parents), entries().split_off(3));
    let change = encode(&first, &entries()[..3]).expect("a sound change");
    let next = Place {
        index: 1,
        first_seq: change.next_seq(),
        link: Link::Previous(change.hash),
        ..first.clone()
    };
    let later = encode(&next, &second).expect("a sound change");
    ([change, later], first, next)
}

/// What stays of a segment that was pruned.
fn pruned(parents: Vec<Parent>) -> Pruned {
    let (built, place, _) = two_changes(parents);
    let Link::Opening(opening) = place.link else { panic!("it opens a segment") };
    let last = &built[1];
    Pruned {
        opening,
        changes: 2,
        next_seq: last.next_seq(),
        bytes: built.iter().map(|change| change.bytes.len() as u64).sum(),
        last_time: last.last_time,
        hash: last.hash,
        signature: run::author().sign(CLUSTER, last.hash),
    }
}

fn frames() -> Vec<Seed> {
    let head = |n: u8| Head {
        segment: SegmentId([n; 16]),
        next_seq: Seq(u64::from(n) << 20),
        hash: ChangeHash([n; 32]),
    };
    let (author, segment) = (NodeId([1; 32]), SegmentId([2; 16]));
    let wanted = Wanted { author, segment, from: Seq(3), to: Seq(5) };
    let heads = vec![
        (NodeId([1; 32]), vec![head(1)]),
        (NodeId([2; 32]), vec![head(2), head(3)]),
        (NodeId([3; 32]), Vec::new()),
    ];
    let hello =
        Frame::Hello { protocol: 1, cluster: CLUSTER, incarnation: 7, name: "alice".into() };
    let run = |parents, from: usize| {
        let (built, first, next) = two_changes(parents);
        let all = [entries()[..3].to_vec(), entries()[3..].to_vec()];
        let place = if from == 0 { first } else { next };
        let signature = run::author().sign(CLUSTER, built[1].hash);
        Frame::Run(Box::new(SignedRun { place, changes: all[from..].to_vec(), signature }))
    };
    let block = |parents, from: usize| {
        let (built, first, next) = two_changes(parents);
        let place = if from == 0 { first } else { next };
        let record = seal(&built[from..]).into();
        let signature = run::author().sign(CLUSTER, built[1].hash);
        let next_seq = built[1].next_seq();
        Frame::Block(Box::new(SignedBlock { place, next_seq, signature, record }))
    };
    let frames = [
        ("hello", hello),
        ("frontier", Frame::Frontier(heads.clone())),
        ("digest", Frame::Digest([7; 32])),
        ("ack", Frame::Ack(heads)),
        ("links", Frame::Links(vec![NodeId([1; 32]), NodeId([2; 32])])),
        ("elsewhere", Frame::Elsewhere(vec![NodeId([1; 32]), NodeId([2; 32])])),
        ("want", Frame::Want(vec![wanted])),
        ("pruned", Frame::Pruned(vec![pruned(Vec::new()), pruned(parents()[..1].to_vec())])),
        ("run-first", run(Vec::new(), 0)),
        ("run-joining", run(parents(), 0)),
        ("run-later", run(parents(), 1)),
        ("block-first", block(Vec::new(), 0)),
        ("block-joining", block(parents(), 0)),
        ("block-later", block(parents(), 1)),
    ];
    let packed = |payload: Vec<u8>| pack(payload).expect("it fits into a frame");
    let noise: Vec<u8> =
        (0..700u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    let links = [
        ("plain", packed(b"a frame".to_vec())),
        ("packed", packed(b"a line that comes again and again\n".repeat(100))),
        ("hardly-packed", packed([&noise[..], &noise[..]].concat())),
    ];
    let frames = frames.into_iter().map(|(name, frame)| ("frame", name, frame.encode()));
    frames.chain(links.into_iter().map(|(name, bytes)| ("link", name, bytes))).collect()
}

fn changes() -> Vec<Seed> {
    let ([first, later], place, _) = two_changes(parents());
    let ([alone, _], opening, _) = two_changes(Vec::new());
    let texts = [("joining", place), ("first", opening)].map(|(name, place)| match place.link {
        Link::Opening(opening) => ("opening", name, opening.text().into_bytes()),
        Link::Previous(_) => unreachable!("both open a segment"),
    });
    let mut many = Vec::new();
    for n in 0..100 {
        let draft = Draft::text("t", "k", "x".repeat(n % 3)).expect("a draft");
        many.push(draft.encode(Time::from_millis(n as u64)));
    }
    let many = encode(&opens(Vec::new()), &many).expect("a sound change");
    let chunks = [("first", alone), ("joining", first), ("later", later), ("many", many)];
    let chunks = chunks.map(|(name, change)| ("chunk", name, change.bytes[8..].to_vec()));
    let names = ["text", "attributes", "json", "octets", "empty"];
    let entries = names.into_iter().zip(entries()).map(|(n, entry)| ("entry", n, entry.to_vec()));
    // As `run` reads its choices: no parents, a nonce, index 0, and changes of entries.
    let runs: [Seed; 3] = [
        ("run", "one-entry", vec![1, 0, 5, 0, 1, 1, 0, 1, 2, b'1', b'2']),
        ("run", "two-changes", vec![1, 0, 5, 0, 2, 1, 0, 1, 1, b'1', 2, 0, 2, 1, b'2', 210, 3, 0]),
        ("run", "later", vec![0, 3, 0, 1, 4, 6, 1, 1, 0, 1, 1, b'1']),
    ];
    texts.into_iter().chain(chunks).chain(entries).chain(runs).collect()
}

fn seal(changes: &[Change]) -> Vec<u8> {
    Sealer::new().expect("memory for a compressor").seal(changes).expect("sound changes")
}

/// Records, and parts of records: see `decoders::block`.
fn blocks() -> Vec<Seed> {
    let (built, ..) = two_changes(Vec::new());
    let [first, later] = [seal(&built), seal(&built[1..])];
    // An input claims one entry more than its number says.
    let (five, two) = ([form::WHOLE, 4, 0], [form::WHOLE, 1, 0]);
    let unchecked = |record: &[u8]| record[..record.len() - 8].to_vec();
    // One change of three entries that share their names: no attributes, two bytes, a millisecond.
    let names = b"\x01\x07default\0\x01\x01t\0\x01\x01k\0\x01\x0atext/plain\0";
    let columns = [
        &[1, 3, 1][..],
        names,
        &[3, 0, 0, 0, 3, 0, 0, 0, 3, 2, 2, 2, 9, 0x80, 0x80, 4, 0x80, 0x80, 4, 0x80, 0x80, 4, 0],
    ]
    .concat();
    let length = columns.len() as u16;
    let of_columns = |length: u16| {
        [&[form::COLUMNS, 2, 0][..], &length.to_le_bytes(), &columns, b"a,b,c,"].concat()
    };
    let honest = |choices: &[u8]| [&[form::HONEST, 0, 0], choices].concat();
    vec![
        ("block", "whole", [&five[..], &first].concat()),
        ("block", "whole-later", [&two[..], &later].concat()),
        ("block", "unchecked", [&[form::UNCHECKED, 4, 0][..], &unchecked(&first)].concat()),
        ("block", "unchecked-later", [&[form::UNCHECKED, 1, 0][..], &unchecked(&later)].concat()),
        ("block", "columns", of_columns(length)),
        ("block", "columns-sampled", of_columns(length | SAMPLED)),
        (
            "block",
            "honest",
            honest(&[1, 0, 5, 0, 2, 1, 0, 1, 1, b'1', 2, 0, 2, 1, b'2', 210, 3, 0]),
        ),
        ("block", "honest-later", honest(&[0, 3, 0, 1, 4, 6, 1, 1, 0, 1, 1, b'1'])),
    ]
}

fn requests() -> Vec<Seed> {
    let one = r#"{"topic":"t","kind":"k","data":{"a":1e400,"b":[null,"\u0000\ud83d\ude00"]}}"#;
    let text = r#"{"topic":"t","kind":"k","content_type":"text/plain","data":"a\nb"}"#;
    let octets = r#"{"topic":"t","kind":"k","tenant":"acme","attributes":{"subject":"x"},"data_base64":"/wA="}"#;
    let problem =
        r#"{"topic":"t","kind":"k","content_type":"application/x+json; a=b","data":true}"#;
    let bodies = [
        ("one", after(0, one)),
        ("spread-out", after(0, one.replace(',', ",\r\n  "))),
        ("array", after(0, format!("[{one},\n {text},{octets}]"))),
        ("lines", after(1, format!("{one}\n\n{text}\n{octets}\n{problem}\n"))),
    ];
    let author = run::author().node_id();
    let filters = format!("author={author}&tenant=acme&topic=story%2F42&kind=k&grep=a+b&gaps=only");
    let parameters = [
        ("listing", after(0, format!("order=author&limit=7&reverse=true&{filters}"))),
        ("times", after(0, "since=1h30m&until=2026-11-21T05:01:37.123%2B01:00")),
        ("next-page", after(0, "order=arrival&after=o:0101010101010101.7")),
        ("stream", after(1, "after=o:0101010101010101.7&until_caught_up=true")),
        ("stream-last", after(1, "last=10")),
        ("acknowledged", after(2, "ack=peers=2&timeout=5s")),
    ];
    let bodies = bodies.into_iter().map(|(name, bytes)| ("bodies", name, bytes));
    bodies.chain(parameters.into_iter().map(|(name, bytes)| ("parameters", name, bytes))).collect()
}

fn lines() -> Vec<Seed> {
    let ndjson = concat!(
        r#"{"data":{"to":"coding"}}"#,
        "\n\n",
        r#"{"topic":"t","kind":"k","tenant":"x","attributes":{"c":"d"},"data_base64":"/wA="}"#,
        "\n",
        r#"{"content_type":"text/plain","data":"a\nb"}"#,
    );
    let lines: [(&str, Vec<u8>); 4] = [
        ("text", after(0, "one\ntwo \u{1b}[31m\r\n\nthree")),
        ("octets", after(2, b"\xff\xfe\n\x00\n")),
        ("drafts", after(1, ndjson)),
        ("drafts-completed", after(3, ndjson)),
    ];
    lines.into_iter().map(|(name, bytes)| ("command_line", name, bytes)).collect()
}

fn words() -> Vec<Seed> {
    let author = run::author().node_id();
    let segment = SegmentId([2; 16]);
    let id = EntryId { author, seq: Seq(7), segment: None };
    let names = [
        ("node", author.to_string()),
        ("segment", segment.to_string()),
        ("entry", id.to_string()),
        ("entry-of-a-branch", EntryId { segment: Some(segment), ..id }.to_string()),
        ("peer", format!("{author}@127.0.0.1:7117")),
        ("peer-ipv6", format!("{author}@[::1]:7117")),
        ("topic", "story/42 – äöü".to_owned()),
        ("kind", "towline.gap".to_owned()),
        ("time", "2026-11-21T06:01:37.123+01:00".to_owned()),
        ("zoned-time", "2026-11-21T06:01:37+01:00[Europe/Berlin]".to_owned()),
        ("duration", "1h30m".to_owned()),
        ("code", "e0301".to_owned()),
    ];
    let last = |order| {
        let (time, seq, change) = (Time::from_millis(1_000), Seq(3), ChangeHash([3; 32]));
        Some(Last { order, time, author, seq, segment, change })
    };
    let place = |last| Cursor { store: StoreId([1; 8]), offset: Offset(12), last }.to_string();
    let cursors = [
        ("arrival", place(None)),
        ("time", place(last(Order::Time))),
        ("author", place(last(Order::Author))),
    ];
    let gap = |reason| Gap::new(EmitNumber(3), EmitNumber(5), reason);
    let gaps = [("lag", gap(GapReason::Lag)), ("crash", gap(GapReason::Crash))];
    let gaps = gaps
        .map(|(name, gap)| ("gap", name, gap.draft().expect("constant names parse").data.to_vec()));
    let names = names.into_iter().map(|(name, text)| ("names", name, text.into_bytes()));
    let cursors = cursors.into_iter().map(|(name, text)| ("cursor", name, text.into_bytes()));
    names.chain(cursors).chain(gaps).collect()
}

fn files() -> Vec<Seed> {
    let (quic, http) = ("127.0.0.1:7117".to_owned(), "http://127.0.0.1:7118".to_owned());
    let addresses = Addresses { quic, http, node: run::author().node_id() };
    let addresses = serde_json::to_string(&addresses).expect("it is JSON") + "\n";
    let settings = concat!(
        "name = \"host \\\"a\\\"\"\nlisten = \"0.0.0.0:7117\"\nhttp = \"127.0.0.1:7118\"\n",
        "peers = [\"id@10.0.0.1:7117\"]\nemit_ring = 4_096\n",
        "[deliveries]\nheartbeat = \"broadcast_only\"\n\"a.b\" = \"record_only\"\n",
    );
    vec![
        ("directory", "key", after(0, format!("{}\n", "5f".repeat(32)))),
        ("directory", "cluster", after(1, format!("{CLUSTER}\n"))),
        ("directory", "addresses", after(2, addresses)),
        ("directory", "emit-counter", after(3, b"\0\0\0\0\0\x01\0\0BOOT\x01")),
        ("settings", "all", settings.into()),
        ("settings", "none", Vec::new()),
    ]
}
