//! Changes that their authors did not sign so, and changes that fit nowhere.

use towline::core::change::{Place, SignedRun};
use towline::core::frame::Frame;
use towline::core::pruned::Pruned;
use towline::core::segment::{Opening, Parent};
use towline::words::{ChangeHash, NodeId, Seq, Signature, Time};

use crate::liar::{Liar, Line};
use crate::scribe::{Scribe, frame};
use crate::support::{PATIENCE, until};
use crate::victim::{CLUSTER, Victim, identity};

/// The group order of Ed25519, little-endian.
const L: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

fn scribe(n: u8) -> Scribe {
    Scribe::new(identity(n), CLUSTER, 0)
}

/// A run of an author that nobody has met, with something changed after it was signed.
fn damaged(damage: impl FnOnce(&mut SignedRun)) -> SignedRun {
    let mut run = scribe(70).run(&["one", "two"]);
    damage(&mut run);
    run
}

/// The same S, plus the group order: the equation still holds.
fn with_another_s(Signature(mut bytes): Signature) -> Signature {
    let mut carry = 0;
    for (byte, l) in bytes[32..].iter_mut().zip(L) {
        let sum = u16::from(*byte) + u16::from(l) + carry;
        (*byte, carry) = (sum as u8, sum >> 8);
    }
    Signature(bytes)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_its_author_did_not_sign_is_refused_before_the_store() {
    let weak = {
        let mut id = [0; 32];
        id[0] = 1;
        NodeId(id)
    };
    let mut other_cluster = scribe(70);
    other_cluster.cluster.0[0] ^= 1;
    let cases: [(SignedRun, &str); 8] = [
        (damaged(|run| run.signature.0[5] ^= 1), "the signature is not the author's"),
        (damaged(|run| run.signature = with_another_s(run.signature)), "the signature is not"),
        (damaged(|run| run.changes[0].reverse()), "its time doesn't rise"),
        (damaged(|run| drop(run.changes[0].pop())), "the signature is not the author's"),
        (damaged(|run| run.changes.clear()), "a run without a change"),
        (other_cluster.run(&["one"]), "the signature is not the author's"),
        (
            {
                let mut later = scribe(70);
                later.run(&["one"]);
                let mut run = later.run(&["two"]);
                run.place.author = weak;
                run.signature = Signature([0; 64]);
                run.signature.0[0] = 1;
                run
            },
            "the author's key is weak",
        ),
        (
            {
                let mut later = scribe(70);
                later.run(&["one"]);
                let mut run = later.run(&["two"]);
                run.place.author = identity(2).node_id();
                run
            },
            "the signature is not the author's",
        ),
    ];
    Victim::refuses(cases.map(|(run, why)| (frame(run), why))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn places_that_contradict_themselves_are_refused() {
    let at = |change: fn(&mut Place)| {
        let mut later = scribe(70);
        later.run(&["one"]);
        let mut run = later.run(&["two"]);
        change(&mut run.place);
        run
    };
    let cases = [
        at(|place| place.first_seq = Seq(u64::MAX)),
        at(|place| (place.segment_seq, place.first_seq) = (Seq(u64::MAX - 1), Seq(u64::MAX))),
        at(|place| place.first_seq = Seq(8_192)),
        at(|place| place.segment_seq = Seq(2)),
        at(|place| place.index = u32::MAX),
        at(|place| place.index = 0),
    ];
    let (victim, liars) = Victim::and_liars(cases.len() as u8).await;
    for (run, liar) in cases.into_iter().zip(&liars) {
        let mut line = liar.greet().await;
        line.say(&frame(run)).await;
        let said = line.closed().await;
        assert!(said.contains("the place in the segment is out of bounds"), "{said}");
    }
    victim.until_violations(liars.len() as u64).await;
    victim.still_serves().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_its_author_did_not_sign_of_a_pruned_segment_is_refused() {
    let author = identity(70);
    let opening = Opening {
        cluster: CLUSTER,
        author: author.node_id(),
        first_seq: Seq(0),
        parents: Vec::new(),
        nonce: [7; 16],
    };
    let hash = ChangeHash([8; 32]);
    let signed = Pruned {
        opening,
        changes: 2,
        next_seq: Seq(9),
        bytes: 900,
        last_time: Time::from_millis(1),
        hash,
        signature: author.sign(CLUSTER, hash),
    };
    let damaged = |damage: fn(&mut Pruned)| {
        let mut pruned = signed.clone();
        damage(&mut pruned);
        Frame::Pruned(vec![pruned])
    };
    Victim::refuses([
        (damaged(|pruned| pruned.signature.0[5] ^= 1), "its signature is not its author's"),
        (damaged(|pruned| pruned.hash.0[5] ^= 1), "its signature is not its author's"),
        (
            damaged(|pruned| pruned.opening.author = identity(2).node_id()),
            "its signature is not its author's",
        ),
        (damaged(|pruned| pruned.opening.cluster.0[0] ^= 1), "its opening can't stand"),
        (damaged(|pruned| pruned.opening.first_seq = Seq(1)), "its opening can't stand"),
        (damaged(|pruned| pruned.next_seq = Seq(8_193)), "its counts are out of bounds"),
        (damaged(|pruned| pruned.changes = 10), "its counts are out of bounds"),
    ])
    .await;
}

/// Sends a run, and waits until the victim has made something of it.
async fn send(line: &mut Line, run: SignedRun) {
    line.say(&frame(run)).await;
}

async fn one_liar() -> (Victim, Liar, Line) {
    let (victim, mut liars) = Victim::and_liars(1).await;
    let liar = liars.remove(0);
    let line = liar.greet().await;
    (victim, liar, line)
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_after_a_hole_wait_for_it() {
    let (victim, _liar, mut line) = one_liar().await;
    let entries = victim.node.status().await.unwrap().entries;
    let mut author = scribe(70);
    let runs = [(); 3].map(|()| author.run(&["x"]));
    let [first, second, third] = runs;
    send(&mut line, third).await;
    send(&mut line, second).await;
    until(&[&victim.node], |_| victim.node.metrics().pending.get() == 2).await;
    assert_eq!(victim.node.status().await.unwrap().entries, entries);
    send(&mut line, first).await;
    until(&[&victim.node], |statuses| statuses[0].entries == entries + 3).await;
    until(&[&victim.node], |_| victim.node.metrics().pending.get() == 0).await;
    assert!(line.stands());
    victim.still_serves().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_segment_waits_for_parents_that_never_come() {
    let (victim, _liar, mut line) = one_liar().await;
    let entries = victim.node.status().await.unwrap().entries;
    let nobody =
        |n: u8, next_seq: u64| Parent { next_seq: Seq(next_seq), hash: ChangeHash([n; 32]) };
    let mut waiting = 0;
    for parents in
        [vec![nobody(1, 1)], vec![nobody(1, u64::MAX - 9_000)], vec![nobody(1, 5), nobody(2, 5)]]
    {
        let mut author = Scribe::after(identity(70), CLUSTER, waiting, &parents);
        send(&mut line, author.run(&["x"])).await;
        waiting += 1;
    }
    until(&[&victim.node], |_| victim.node.metrics().pending.get() == waiting as i64).await;
    assert_eq!(victim.node.status().await.unwrap().entries, entries);
    assert!(line.stands());
    victim.still_serves().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_segment_that_begins_at_the_end_of_all_numbers_is_refused() {
    let (victim, _liar, mut line) = one_liar().await;
    let end = Parent { next_seq: Seq(u64::MAX), hash: ChangeHash([1; 32]) };
    let mut run = scribe(70).run(&["x"]);
    let opening = Scribe::after(identity(70), CLUSTER, 0, &[end]);
    run.place = opening.place;
    send(&mut line, run).await;
    assert!(line.closed().await.contains("out of bounds"));
    victim.until_violations(1).await;
    victim.still_serves().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_never_join_the_log_closes_the_connection() {
    let (victim, liars) = Victim::and_liars(1).await;
    let mut line = liars[0].greet().await;
    let mut author = scribe(70);
    send(&mut line, author.run(&["first"])).await;
    author.time = Time::from_millis(1);
    send(&mut line, author.run(&["before it"])).await;
    let said = line.closed().await;
    assert!(said.contains("its time doesn't rise above the change that it names"), "{said}");
    victim.until_violations(1).await;
    assert_eq!(victim.node.metrics().refused.get(), 1);
    victim.still_serves().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_changes_at_one_place_harm_nobody_else() {
    let (victim, _liar, mut line) = one_liar().await;
    let mut author = scribe(70);
    send(&mut line, author.run(&["both have this"])).await;
    let mut forked = author.clone();
    for (author, text) in [(&mut author, "one history"), (&mut forked, "and another")] {
        send(&mut line, author.run(&[text])).await;
        send(&mut line, author.run(&[text])).await;
    }
    // Both are kept, with what their author signed, and relayed.
    until(&[&victim.node, &victim.honest], |both| both.iter().all(|it| it.branched == 1)).await;
    let [fork] = &victim.node.forks().await.unwrap()[..] else { panic!("there is one fork") };
    assert_eq!((fork.author, fork.sides.len()), (identity(70).node_id(), 2));
    victim.still_serves().await;
    assert!(line.stands(), "whoever relays a fork is not to blame");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_full_of_what_never_fits_is_bounded_and_in_nobodys_way() {
    let (victim, _liar, mut line) = one_liar().await;
    let text = "x".repeat(1_000);
    for segment in 0..10 {
        let mut author = Scribe::new(identity(70), CLUSTER, segment);
        author.run(&["this one never comes"]);
        for _ in 0..1_000 {
            send(&mut line, author.run(&[&text])).await;
        }
    }
    let crowded_out = || victim.node.metrics().crowded_out.get();
    until(&[&victim.node], |_| crowded_out() > 0).await;
    assert!(victim.node.metrics().pending.get() < 4_200, "4 MiB of one author wait at most");
    // What is new finds room all the same, and joins the log once what it waits for has come.
    let mut honest = Scribe::new(identity(70), CLUSTER, 99);
    let (first, second) = (honest.run(&["first"]), honest.run(&["second"]));
    send(&mut line, second).await;
    send(&mut line, first).await;
    let both = |status: &towline::node::Status| status.authors == 3;
    until(&[&victim.node, &victim.honest], |statuses| statuses.iter().all(both)).await;
    let frontier = victim.node.frontier().await.unwrap().frontier;
    assert_eq!(frontier.next_seq(&identity(70).node_id()), Seq(2));
    assert!(line.stands());
    victim.still_serves().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn frontiers_full_of_lies_stop_nobody() {
    let (victim, _liar, mut line) = one_liar().await;
    let head = |n: u32, next_seq: u64| towline::core::frontier::Head {
        segment: towline::words::SegmentId([n as u8; 16]),
        next_seq: Seq(next_seq),
        hash: ChangeHash([7; 32]),
    };
    let author = |n: u32| {
        let mut id = [5; 32];
        id[..4].copy_from_slice(&n.to_be_bytes());
        NodeId(id)
    };
    let strangers = (0..9_990).map(|n| (author(n), vec![head(n, u64::MAX)]));
    let known = [victim.node.id(), victim.honest.id()]
        .map(|id: NodeId| (id, (0..64).map(|n| head(n, u64::MAX - u64::from(n))).collect()));
    let lies: Vec<_> = strangers.chain(known).collect();
    for _ in 0..20 {
        line.say(&Frame::Frontier(lies.clone())).await;
        line.say(&Frame::Ack(lies.clone())).await;
        line.say(&Frame::Links(lies.iter().map(|(author, _)| *author).collect())).await;
    }
    victim.still_serves().await;
    assert!(line.stands());
    let heard = tokio::time::timeout(PATIENCE, line.hear()).await;
    assert!(heard.is_ok(), "and the liar is still answered");
}
