use std::collections::{BTreeSet, HashSet};
use std::convert::Infallible;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::core::change::SignedRun;
use crate::core::change::encode;
use crate::core::disk::{Disk, end, parents_of};
use crate::core::document::{Contents, Document, DocumentError, contents};
use crate::core::frontier::Range;
use crate::words::entry::{OCTETS, View};
use crate::words::limits::PAYLOAD_BYTES;

const CLUSTER: ClusterId = ClusterId([9; 32]);
const ALICE: u8 = 1;
const BOB: u8 = 2;
const CAROL: u8 = 3;

/// 2026-11-21, in milliseconds.
const NOW: u64 = 1_795_237_297_000;
const TEN_YEARS: u64 = 10 * 365 * 24 * 3_600 * 1_000;

/// A node: its log, and what it has committed.
#[derive(Debug)]
struct Node {
    name: u8,
    /// Which of its lives this is.
    lifetime: u8,
    log: Log,
    disk: Disk,
    /// What was admitted and is not committed yet.
    unwritten: Vec<Arrival>,
}

fn identity(name: u8) -> Identity {
    Identity::from_secret(&[name; 32])
}

impl Node {
    fn new(name: u8) -> Self {
        Self::with(name, 0, Disk::default())
    }

    /// A node that starts from a disk.
    fn with(name: u8, lifetime: u8, disk: Disk) -> Self {
        let (tips, watermark) = (disk.tips(), disk.watermark());
        let log = Log::new(identity(name), CLUSTER, [lifetime; 16], tips, watermark, NOW);
        Self { name, lifetime, log, disk, unwritten: Vec::new() }
    }

    /// Ends this lifetime, and begins the next one.
    fn restart(&mut self) {
        self.restore(usize::MAX);
    }

    /// Loses the disk but for the oldest arrivals, and begins the next lifetime.
    fn restore(&mut self, arrivals: usize) {
        self.commit();
        let mut disk = std::mem::take(&mut self.disk);
        disk.0.truncate(arrivals);
        *self = Self::with(self.name, self.lifetime + 1, disk);
    }

    fn wipe(&mut self) {
        self.restore(0);
    }

    fn append_unwritten(&mut self, now: u64, drafts: &[Draft]) -> Vec<Change> {
        let arrivals = self.log.append(drafts, now).unwrap();
        self.unwritten.extend(arrivals.clone());
        arrivals.into_iter().map(|arrival| arrival.change).collect()
    }

    fn append_at(&mut self, now: u64, drafts: &[Draft]) -> Vec<Change> {
        let changes = self.append_unwritten(now, drafts);
        self.commit();
        changes
    }

    fn append(&mut self, count: usize) -> Vec<Change> {
        self.append_at(NOW, &drafts(count))
    }

    /// Appends one entry: one change.
    fn say(&mut self) -> Change {
        let mut changes = self.append(1);
        assert_eq!(changes.len(), 1);
        changes.remove(0)
    }

    fn hear_unwritten(&mut self, now: u64, changes: &[Change]) -> Applied {
        let changes = changes.to_vec();
        let applied = self.log.apply(changes, now, &mut self.disk).unwrap();
        self.unwritten.extend(applied.arrivals.clone());
        applied
    }

    fn hear_at(&mut self, now: u64, changes: &[Change]) -> Applied {
        let applied = self.hear_unwritten(now, changes);
        self.commit();
        applied
    }

    fn hear(&mut self, changes: &[Change]) -> Applied {
        self.hear_at(NOW, changes)
    }

    /// Hears what is expected to be taken in whole.
    fn take(&mut self, changes: &[Change]) {
        let applied = self.hear(changes);
        assert_eq!(applied.arrivals.len(), changes.len(), "{applied:?}");
    }

    fn commit(&mut self) {
        self.disk.commit(&std::mem::take(&mut self.unwritten));
        self.log.committed();
        self.check();
    }

    /// The commit fails and writes nothing: the log goes on from the disk.
    fn rewind(&mut self) {
        self.unwritten.clear();
        self.log.rewind(self.disk.tips(), self.disk.watermark());
        self.check();
    }

    fn check(&self) {
        assert_eq!(self.log.frontier(), self.disk.frontier(), "the log knows what is on its disk");
        assert_eq!(self.log.next_offset(), self.disk.watermark());
    }

    fn heads(&self, author: u8) -> Vec<Head> {
        self.log.frontier().heads(&identity(author).node_id()).to_vec()
    }

    fn changes(&self) -> Vec<Change> {
        self.disk.changes().cloned().collect()
    }
}

fn drafts(count: usize) -> Vec<Draft> {
    (0..count).map(|n| Draft::json("builds", "built", &n).unwrap()).collect()
}

fn large_drafts(count: usize, size: usize) -> Vec<Draft> {
    (0..count).map(|_| Draft::bytes("builds", "log", OCTETS, vec![7; size]).unwrap()).collect()
}

fn entries(changes: &[Change]) -> Vec<Bytes> {
    changes.iter().flat_map(|change| change.open().unwrap().shared_entries()).collect()
}

fn times(changes: &[Change]) -> Vec<Time> {
    entries(changes).iter().map(|entry| View::check(entry).unwrap().time).collect()
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

/// The start of a segment.
fn opens(author: u8, mut parents: Vec<Parent>) -> Place {
    parents.sort();
    let author = identity(author).node_id();
    let first_seq = parents.iter().map(|p| p.next_seq).max().unwrap_or_default();
    let opening = Opening { cluster: CLUSTER, author, first_seq, parents, nonce: [0xee; 16] };
    let segment = opening.segment();
    let link = Link::Opening(opening);
    Place { author, segment, segment_seq: first_seq, index: 0, first_seq, link }
}

/// A change of one entry at a time of its author's choosing, as a dishonest author may sign it.
fn forge(place: &Place, time: Time) -> Change {
    encode(place, &[Draft::text("builds", "built", "forged").unwrap().encode(time)]).unwrap()
}

/// A time after all that honest nodes write here.
fn later() -> Time {
    Time::from_millis(NOW + 1_000)
}

/// The change as its author signed it, on its way.
fn on_the_wire(author: u8, change: &Change) -> SignedRun {
    let Change { author: node, segment, segment_seq, index, first_seq, hash, .. } = *change;
    let link = change.link().unwrap();
    SignedRun {
        place: Place { author: node, segment, segment_seq, index, first_seq, link },
        changes: vec![entries(std::slice::from_ref(change))],
        signature: identity(author).sign(CLUSTER, hash),
    }
}

/// Xorshift: the same seed gives the same order again.
struct Shuffle(u64);

impl Shuffle {
    fn below(&mut self, most: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % most.max(1) as u64) as usize
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        (1..items.len()).rev().for_each(|at| items.swap(at, self.below(at + 1)));
    }
}

// Appending.

#[test]
fn seqs_are_contiguous_from_zero() {
    let mut alice = Node::new(ALICE);
    for count in [1, 3, 200, 1] {
        alice.append(count);
    }
    alice.restart();
    alice.append(7);
    let mut next = Seq(0);
    for change in alice.disk.changes() {
        assert_eq!(change.first_seq, next);
        next = change.next_seq();
    }
    assert_eq!(next, Seq(212));
}

#[test]
fn times_rise_though_the_wall_clock_steps_back_ten_years() {
    let mut alice = Node::new(ALICE);
    alice.append_at(NOW, &drafts(3));
    alice.append_at(NOW - TEN_YEARS, &drafts(3));
    alice.restart();
    alice.append_at(NOW - TEN_YEARS, &drafts(3));
    alice.append_at(NOW + 1, &drafts(3));
    let times = times(&alice.changes());
    assert!(times.windows(2).all(|pair| pair[0] < pair[1]), "{times:?}");
    assert_eq!(times[9], Time::from_millis(NOW + 1));
}

#[test]
fn a_lifetime_goes_on_in_its_segment() {
    let mut alice = Node::new(ALICE);
    let (first, second) = (alice.say(), alice.say());
    assert_eq!(second.segment, first.segment);
    assert_eq!(second.link(), Ok(Link::Previous(first.hash)));
    assert_eq!((first.index, second.index), (0, 1));
}

#[test]
fn a_new_lifetime_opens_a_segment_after_the_old_head() {
    let mut alice = Node::new(ALICE);
    let old = alice.append(3).remove(0);
    alice.restart();
    let new = alice.say();
    assert_ne!(new.segment, old.segment);
    assert_eq!((new.index, new.first_seq), (0, Seq(3)));
    assert_eq!(parents_of(&new), [end(&old)]);
}

#[test]
fn two_lifetimes_from_one_disk_write_different_segments() {
    let mut alice = Node::new(ALICE);
    alice.say();
    let mut copy = Node::with(ALICE, 77, alice.disk.clone());
    alice.restart();
    assert_ne!(alice.say().segment, copy.say().segment);
}

#[test]
fn drafts_over_4096_become_several_changes() {
    let mut alice = Node::new(ALICE);
    let changes = alice.append(4_097);
    assert_eq!(changes.iter().map(|c| c.count).collect::<Vec<_>>(), [4_096, 1]);
    assert_eq!(entries(&changes).len(), 4_097);
}

#[test]
fn a_segment_holds_8192_entries_at_most() {
    let mut alice = Node::new(ALICE);
    let changes = [alice.append(5_000), alice.append(5_000), alice.append(8_193)].concat();
    let places: Vec<_> = changes.iter().map(|c| (c.segment_seq.0, c.index, c.count)).collect();
    let expected = [
        (0, 0, 4_096),
        (0, 1, 904),
        (0, 2, 3_192),
        (8_192, 0, 1_808),
        (8_192, 1, 4_096),
        (8_192, 2, 2_288),
        (16_384, 0, 1_809),
    ];
    assert_eq!(places, expected);
    assert_eq!(parents_of(&changes[3]), [end(&changes[2])]);
}

#[test]
fn a_segment_holds_8_mib_at_most() {
    let mut alice = Node::new(ALICE);
    let mut bob = Node::new(BOB);
    for (count, size) in [(5, PAYLOAD_BYTES), (9, PAYLOAD_BYTES / 2), (300, 30_000), (3, 9)] {
        bob.take(&alice.append_at(NOW, &large_drafts(count, size)));
    }
    let segments: BTreeSet<SegmentId> = alice.disk.changes().map(|c| c.segment).collect();
    assert_eq!(segments.len(), 3, "18.5 MiB in all");
    for segment in segments {
        let bytes = alice.disk.tip(Strand::first(segment)).unwrap().bytes;
        assert!(bytes <= SEGMENT_BYTES, "{bytes}");
    }
}

#[test]
fn a_broken_draft_leaves_the_log_as_it_was() {
    let mut alice = Node::new(ALICE);
    alice.append(4);
    let mut broken = drafts(5_000);
    broken[4_500].data = vec![0; PAYLOAD_BYTES + 1].into();
    let refused = alice.log.append(&broken, NOW + 5);
    assert!(matches!(refused, Err(AppendError::Encode(EncodeError::Entry { index: 4_500, .. }))));
    alice.check();
    let next = alice.say();
    assert_eq!((next.index, next.first_seq), (1, Seq(4)));
    assert!(next.last_time < Time::from_millis(NOW + 1), "not even the clock has moved");
}

#[test]
fn an_append_of_nothing_is_refused() {
    assert_eq!(Node::new(ALICE).log.append(&[], NOW), Err(AppendError::Nothing));
}

#[test]
fn nothing_is_appended_after_the_end_of_time() {
    let mut alice = Node::new(ALICE);
    let last = forge(&opens(ALICE, Vec::new()), Time::from_bits(Time::MAX.bits() - 2).unwrap());
    alice.take(&[last]);
    assert_eq!(alice.log.append(&drafts(3), NOW), Err(AppendError::EndOfTime));
    alice.check();
    alice.append(2);
}

#[test]
fn what_is_rewound_leaves_no_hole_and_no_fork() {
    let (mut alice, mut bob) = (Node::new(ALICE), Node::new(BOB));
    alice.append_unwritten(NOW, &drafts(2));
    alice.rewind(); // the opening of her segment was never there
    let first = alice.say();
    alice.append_unwritten(NOW, &drafts(SEGMENT_ENTRIES as usize));
    let heard = bob.say();
    alice.hear_unwritten(NOW, std::slice::from_ref(&heard));
    alice.rewind(); // nor were a second segment, and what came from Bob
    let second = alice.say();
    assert_eq!((first.first_seq, second.first_seq), (Seq(0), Seq(1)));
    assert!(second.first_time > first.last_time);
    assert_eq!(alice.heads(ALICE).len(), 1);
    alice.take(std::slice::from_ref(&heard));
    bob.take(&alice.changes()[..2]);
    assert_eq!(alice.log.frontier(), bob.log.frontier());
}

#[test]
fn what_is_appended_passes_every_other_node() {
    let (mut alice, mut bob) = (Node::new(ALICE), Node::new(BOB));
    for change in alice.append(5_000) {
        let run = on_the_wire(ALICE, &change);
        assert_eq!(change.signature, Some(run.signature));
        bob.take(&run.verify(CLUSTER).unwrap());
    }
    assert_eq!(bob.changes(), alice.changes());
}

// Applying.

#[test]
fn applying_twice_changes_nothing() {
    let (mut alice, mut bob) = (Node::new(ALICE), Node::new(BOB));
    let mut changes = alice.append(5_000);
    alice.restart();
    changes.push(alice.say());
    bob.take(&changes);
    let before = bob.log.frontier();
    let again = bob.hear(&[&changes[..], &changes[..]].concat());
    assert_eq!(again, Applied { duplicates: 2 * changes.len(), ..Applied::default() });
    assert_eq!(bob.log.frontier(), before);
}

#[test]
fn what_is_not_committed_yet_is_known_all_the_same() {
    let mut alice = Node::new(ALICE);
    let said = alice.append_unwritten(NOW, &drafts(1));
    let mut bob = Node::new(BOB);
    assert_eq!(bob.hear_unwritten(NOW, &said).arrivals.len(), 1);
    let again = Applied { duplicates: 1, ..Applied::default() };
    assert_eq!(bob.hear_unwritten(NOW, &said), again);
    assert_eq!(alice.hear_unwritten(NOW, &said), again);
    let child = forge(&opens(ALICE, vec![end(&said[0])]), later());
    assert_eq!(bob.hear_unwritten(NOW, &[child]).arrivals.len(), 1);
    let next = alice.append_unwritten(NOW, &drafts(1));
    assert_eq!(bob.hear_unwritten(NOW, &next).arrivals.len(), 1);
    bob.commit();
    assert_eq!(bob.heads(ALICE).len(), 2);
}

#[test]
fn a_branch_that_was_joined_before_the_commit_goes_on() {
    let (old, _, mut alice) = wiped_alice();
    alice.hear_unwritten(NOW, &old[..1]);
    let join = alice.append_unwritten(NOW, &drafts(1));
    assert_eq!(parents_of(&join[0]).len(), 2);
    assert_eq!(alice.hear_unwritten(NOW, &old[1..]).arrivals.len(), 1);
    alice.commit();
    assert_eq!(alice.heads(ALICE).len(), 2);
}

#[test]
fn a_change_without_its_parent_waits_for_it() {
    let (mut alice, mut bob) = (Node::new(ALICE), Node::new(BOB));
    let first = alice.say();
    let second = alice.say();
    alice.restart();
    let third = alice.say();
    let waiting = bob.hear(&[third.clone(), second.clone()]);
    assert_eq!(waiting, Applied { pending: 2, ..Applied::default() });
    assert!(bob.log.frontier().is_empty());
    let arrivals = bob.hear(std::slice::from_ref(&first)).arrivals;
    let hashes: Vec<_> = arrivals.iter().map(|arrival| arrival.change.hash).collect();
    assert_eq!(hashes, [first.hash, second.hash, third.hash]);
    assert_eq!(bob.log.pending(), 0);
}

#[test]
fn what_waits_already_is_a_duplicate() {
    let (mut alice, mut bob) = (Node::new(ALICE), Node::new(BOB));
    alice.say();
    let second = alice.say();
    bob.hear(std::slice::from_ref(&second));
    assert_eq!(bob.hear(&[second]).duplicates, 1);
    assert_eq!(bob.log.pending(), 1);
}

/// What Bob says to a change that Alice signed dishonestly, after he took her first two changes.
fn bob_says(forged: impl FnOnce(&Change, &Change) -> Change) -> Applied {
    let (mut alice, mut bob) = (Node::new(ALICE), Node::new(BOB));
    let (first, second) = (alice.append(2).remove(0), alice.append(3).remove(0));
    bob.take(&[first.clone(), second.clone()]);
    let before = bob.log.frontier();
    let applied = bob.hear(&[forged(&first, &second)]);
    assert_eq!(bob.log.frontier(), before);
    assert!(applied.arrivals.is_empty());
    applied
}

fn refused(refusal: Refusal) -> Applied {
    Applied { refused: vec![(identity(ALICE).node_id(), refusal)], ..Applied::default() }
}

fn waits() -> Applied {
    Applied { pending: 1, ..Applied::default() }
}

#[test]
fn whoever_brings_a_parent_is_not_blamed_for_what_waited_for_it() {
    let (mut alice, mut bob) = (Node::new(ALICE), Node::new(BOB));
    let first = alice.say();
    let backdated = forge(&after(&first), Time::from_millis(NOW - 1_000));
    assert_eq!(bob.hear(&[backdated]), waits(), "a liar sends it ahead of its parent");
    let applied = bob.hear(&[first]); // an honest node sends the parent
    assert_eq!((applied.arrivals.len(), applied.discarded), (1, 1));
    assert_eq!(applied.refused, []);
}

#[test]
fn a_gap_in_the_seqs_is_refused() {
    let skip = |_: &Change, second: &Change| {
        let place = after(second);
        forge(&Place { first_seq: place.first_seq.plus(1), ..place }, later())
    };
    assert_eq!(bob_says(skip), refused(Refusal::Place));
}

#[test]
fn a_seq_said_twice_is_refused() {
    let back = |_: &Change, second: &Change| {
        let place = after(second);
        forge(&Place { first_seq: Seq(place.first_seq.0 - 1), ..place }, later())
    };
    assert_eq!(bob_says(back), refused(Refusal::Place));
}

#[test]
fn a_wrong_index_is_refused() {
    let skip = |_: &Change, second: &Change| {
        let place = after(second);
        forge(&Place { index: place.index + 1, ..place }, later())
    };
    assert_eq!(bob_says(skip), refused(Refusal::Place));
}

#[test]
fn a_change_that_follows_another_segment_is_not_admitted() {
    let stray = |_: &Change, second: &Change| {
        let segment = opens(ALICE, Vec::new()).segment;
        forge(&Place { segment, ..after(second) }, later())
    };
    let said = bob_says(stray);
    assert!(said == refused(Refusal::Place) || said == waits(), "{said:?}");
}

#[test]
fn the_last_seq_of_all_is_not_admitted() {
    let last = |_: &Change, _: &Change| {
        let parent = Parent { next_seq: Seq(u64::MAX - 1), hash: ChangeHash([7; 32]) };
        forge(&opens(ALICE, vec![parent]), later())
    };
    assert_eq!(bob_says(last), waits());
}

#[test]
fn a_parent_that_is_held_with_another_seq_is_no_parent() {
    let stretch = |_: &Change, second: &Change| {
        let Parent { next_seq, hash } = end(second);
        forge(&opens(ALICE, vec![Parent { next_seq: next_seq.plus(90), hash }]), later())
    };
    assert_eq!(bob_says(stretch), waits());
}

#[test]
fn a_parent_that_never_comes_is_waited_for() {
    let orphan = |_: &Change, second: &Change| {
        let never = Parent { next_seq: Seq(1), hash: ChangeHash([7; 32]) };
        forge(&opens(ALICE, vec![never, end(second)]), later())
    };
    assert_eq!(bob_says(orphan), waits());
    let orphan = |_: &Change, second: &Change| {
        let link = Link::Previous(ChangeHash([7; 32]));
        forge(&Place { first_seq: Seq(50), index: 7, link, ..after(second) }, later())
    };
    assert_eq!(bob_says(orphan), waits());
}

#[test]
fn a_time_that_does_not_rise_is_refused() {
    let stand = |_: &Change, second: &Change| forge(&after(second), second.last_time);
    assert_eq!(bob_says(stand), refused(Refusal::Time));
    let reopen =
        |_: &Change, second: &Change| forge(&opens(ALICE, vec![end(second)]), second.last_time);
    assert_eq!(bob_says(reopen), refused(Refusal::Time));
    let branch =
        |first: &Change, _: &Change| forge(&opens(ALICE, vec![end(first)]), first.last_time);
    assert_eq!(bob_says(branch), refused(Refusal::Time));
}

/// Another change at the place of one: what only a forger signs.
fn beside(change: &Change, time: Time) -> Change {
    let Change { author, segment, segment_seq, index, first_seq, .. } = *change;
    let link = change.link().unwrap();
    forge(&Place { author, segment, segment_seq, index, first_seq, link }, time)
}

#[test]
fn a_second_change_at_one_place_is_kept_beside_the_first() {
    for commit_between in [true, false] {
        let (mut alice, mut bob) = (Node::new(ALICE), Node::new(BOB));
        let (first, second, third) = (alice.say(), alice.say(), alice.say());
        bob.hear_unwritten(NOW, &[first.clone(), second.clone(), third.clone()]);
        if commit_between {
            bob.commit();
        }
        let (inside, at_start) = (beside(&second, later()), beside(&first, later()));
        let applied = bob.hear(&[inside.clone(), at_start.clone()]);
        assert_eq!(applied.forks, [inside.clone(), at_start.clone()]);
        let sides: Vec<u32> = applied.arrivals.iter().map(|arrival| arrival.side).collect();
        assert_eq!(sides, [1, 2]);
        let heads: HashSet<ChangeHash> = bob.heads(ALICE).iter().map(|head| head.hash).collect();
        assert_eq!(heads, HashSet::from([third.hash, inside.hash, at_start.hash]));
        assert_eq!(bob.hear(&[inside, at_start]).duplicates, 2);
    }
}

#[test]
fn a_side_of_a_fork_goes_on_and_forks_again() {
    let (mut alice, mut bob) = (Node::new(ALICE), Node::new(BOB));
    let (first, second) = (alice.say(), alice.say());
    bob.take(&[first.clone(), second.clone()]);
    let side = beside(&second, later());
    let longer = forge(&after(&side), Time::from_millis(NOW + 2_000));
    let other = forge(&after(&side), Time::from_millis(NOW + 3_000));
    bob.hear(&[longer.clone(), side.clone()]); // the later one waits
    bob.restart();
    let applied = bob.hear(&[other]);
    assert_eq!(applied.forks.len(), 1);
    assert_eq!(applied.arrivals[0].side, 2);
    assert_eq!(bob.heads(ALICE).len(), 3);
    let extents = bob.disk.extents(identity(ALICE).node_id());
    let off: Vec<_> = extents.iter().map(|e| (e.strand.side, e.forks_off)).collect();
    assert_eq!(off, [(0, None), (1, Some(0)), (2, Some(1))]);
}

#[test]
fn an_author_joins_the_sides_of_its_own_fork() {
    let mut alice = Node::new(ALICE);
    let (_, second) = (alice.say(), alice.say());
    alice.take(&[beside(&second, later())]);
    assert_eq!(alice.heads(ALICE).len(), 2);
    let joining = alice.say();
    assert_eq!(parents_of(&joining).len(), 2);
    assert_eq!(alice.heads(ALICE).len(), 1);
}

/// Only the distance of `first_seq` and `segment_seq` is in the hash of a later change, so that
/// whoever relays it can move both.
#[test]
fn an_honest_change_that_was_moved_on_its_way_proves_no_fork() {
    let (mut alice, mut bob) = (Node::new(ALICE), Node::new(BOB));
    let changes: Vec<Change> = (0..4).map(|_| alice.say()).collect();
    bob.take(&changes);
    let mut run = on_the_wire(ALICE, &changes[1]);
    run.place.segment_seq.0 += 1;
    run.place.first_seq.0 += 1;
    if let Ok(moved) = run.verify(CLUSTER) {
        assert_eq!(bob.hear(&moved), refused(Refusal::Place));
    }
}

#[test]
fn a_change_that_was_moved_on_its_way_does_not_keep_out_the_true_one() {
    let (mut alice, mut bob) = (Node::new(ALICE), Node::new(BOB));
    let (first, second) = (alice.say(), alice.say());
    let mut run = on_the_wire(ALICE, &second);
    run.place.segment_seq.0 += 1;
    run.place.first_seq.0 += 1;
    if let Ok(moved) = run.verify(CLUSTER) {
        bob.hear(&moved);
    }
    bob.hear(std::slice::from_ref(&second));
    bob.hear(&[first]);
    assert_eq!(bob.heads(ALICE)[0].hash, second.hash);
}

#[test]
fn a_change_under_another_authors_segment_proves_no_fork() {
    let (mut alice, mut carol) = (Node::new(ALICE), Node::new(CAROL));
    let changes: Vec<Change> = (0..3).map(|_| alice.say()).collect();
    carol.take(&changes);
    let bob = identity(BOB).node_id();
    let stray = forge(&Place { author: bob, ..after(&changes[0]) }, later());
    let applied = carol.hear(&[stray]);
    assert!(applied.arrivals.is_empty());
    assert!(applied.forks.is_empty(), "Bob has written nothing else");
}

#[test]
fn anothers_change_signed_again_does_not_keep_out_the_true_one() {
    let (mut alice, mut carol) = (Node::new(ALICE), Node::new(CAROL));
    let (first, second) = (alice.say(), alice.say());
    let mut stolen = on_the_wire(BOB, &second);
    stolen.place.author = identity(BOB).node_id();
    carol.hear(&stolen.verify(CLUSTER).unwrap());
    carol.hear(std::slice::from_ref(&second));
    carol.hear(&[first]);
    assert_eq!(carol.heads(ALICE)[0].hash, second.hash);
    assert!(carol.heads(BOB).is_empty());
}

/// Otherwise it would hang on the delivery whether a change is admitted, and nodes would part.
#[test]
fn anothers_change_is_no_parent_in_any_delivery() {
    let mut alice = Node::new(ALICE);
    let first = alice.say();
    let child = forge(&opens(BOB, vec![end(&first)]), later());
    let mut at_once = Node::new(CAROL);
    at_once.hear(&[first.clone(), child.clone()]);
    let mut one_by_one = Node::new(CAROL);
    one_by_one.hear(&[first]);
    one_by_one.hear(&[child]);
    assert_eq!(at_once.log.frontier(), one_by_one.log.frontier());
    assert!(at_once.heads(BOB).is_empty());
}

#[test]
fn a_segment_over_8_mib_is_refused() {
    let mut bob = Node::new(BOB);
    let mut place = opens(ALICE, Vec::new());
    let mut said = Vec::new();
    for n in 0..5 {
        let large = large_drafts(2, PAYLOAD_BYTES - 1_000);
        let times = [NOW + 2 * n, NOW + 2 * n + 1].map(Time::from_millis);
        let entries: Vec<Bytes> = large.iter().zip(times).map(|(d, t)| d.encode(t)).collect();
        let change = encode(&place, &entries).unwrap();
        place = after(&change);
        said.push(bob.hear(&[change]));
    }
    assert!(said[..4].iter().all(|applied| applied.arrivals.len() == 1));
    assert_eq!(said[4], refused(Refusal::Segment));
}

// Branches.

/// Alice loses her disk and appends alone: both branches, and herself without the old one.
fn wiped_alice() -> (Vec<Change>, Vec<Change>, Node) {
    let mut alice = Node::new(ALICE);
    let old = [alice.append(3), alice.append(4)].concat();
    alice.wipe();
    let new = vec![alice.say(), alice.say()];
    (old, new, alice)
}

#[test]
fn both_branches_of_a_wiped_author_are_kept_in_any_order() {
    let (old, new, _) = wiped_alice();
    let mut frontiers = Vec::new();
    for (one, two) in [(&old, &new), (&new, &old)] {
        let mut bob = Node::new(BOB);
        bob.take(one);
        bob.take(two);
        assert_eq!(bob.heads(ALICE).iter().map(|h| h.next_seq.0).collect::<Vec<_>>(), [2, 7]);
        frontiers.push(bob.log.frontier());
    }
    assert_eq!(frontiers[0], frontiers[1]);
}

#[test]
fn a_wiped_author_joins_its_branches_above_the_higher_seq() {
    let (old, new, mut alice) = wiped_alice();
    alice.take(&old);
    assert_eq!(alice.heads(ALICE).len(), 2);
    alice.restart();
    let join = alice.say();
    assert_eq!(parents_of(&join), [end(&new[1]), end(&old[1])]);
    assert_eq!(join.first_seq, Seq(7));
    assert_eq!(alice.heads(ALICE).len(), 1);
    let mut bob = Node::new(BOB);
    bob.take(&[&old[..], &new[..], std::slice::from_ref(&join)].concat());
    assert_eq!(bob.heads(ALICE), alice.heads(ALICE));
    assert_eq!(bob.hear(&[alice.say()]).arrivals.len(), 1);
}

#[test]
fn a_wiped_author_joins_its_branches_without_a_restart() {
    let (old, _, mut alice) = wiped_alice();
    alice.take(&old);
    assert_eq!(parents_of(&alice.say()).len(), 2);
    assert_eq!(alice.heads(ALICE).len(), 1);
    assert!(parents_of(&alice.say()).is_empty(), "it goes on in the segment that joined them");
}

#[test]
fn an_author_that_appends_while_it_takes_its_past_back_gets_all_of_it() {
    let (old, _, mut alice) = wiped_alice();
    alice.take(&old[..1]);
    alice.say();
    alice.take(&old[1..]);
    assert_eq!(alice.heads(ALICE).len(), 2);
    alice.say();
    assert_eq!(alice.heads(ALICE).len(), 1);
}

#[test]
fn a_branch_goes_on_after_another_has_left_it() {
    let mut alice = Node::new(ALICE);
    let (first, second, third) = (alice.say(), alice.say(), alice.say());
    alice.restore(1);
    let branch = alice.say();
    assert_eq!(parents_of(&branch), [end(&first)]);
    let mut one = Node::new(BOB);
    one.take(&[first.clone(), second.clone(), third.clone(), branch.clone()]);
    let mut two = Node::new(BOB);
    two.take(&[first.clone(), branch.clone(), second.clone(), third.clone()]);
    let mut three = Node::new(BOB);
    three.take(&[first, branch]);
    three.restart();
    three.take(&[second]);
    three.restart();
    three.take(&[third]);
    assert_eq!(one.heads(ALICE).len(), 2);
    assert_eq!(two.log.frontier(), one.log.frontier());
    assert_eq!(three.log.frontier(), one.log.frontier());
}

/// Which of two segments a parent lies in can't be told by its seq.
#[test]
fn a_branch_off_a_branch_does_not_cover_its_neighbour() {
    let mut alice = Node::new(ALICE);
    let first: Vec<Change> = (0..4).map(|_| alice.say()).collect();
    alice.restore(1);
    let second: Vec<Change> = (0..4).map(|_| alice.say()).collect();
    alice.restore(3); // the first change of the one, and two of the other
    let third = [alice.say()];
    let mut here = Node::new(BOB);
    here.take(&[&first[..], &second[..], &third[..]].concat());
    let (ranges, _) = here.disk.compare(identity(ALICE).node_id(), &alice.heads(ALICE));
    for change in &first[1..] {
        let sent = |range: &Range| {
            range.strand.segment == change.segment
                && (range.from..range.to).contains(&change.first_seq)
        };
        assert!(ranges.iter().any(sent), "{ranges:?}");
    }
}

/// Lifetimes of Alice that knew nothing of each other: one change each.
fn branches(count: usize) -> Vec<Change> {
    (1..).take(count).map(|life| Node::with(ALICE, life, Disk::default()).say()).collect()
}

#[test]
fn an_author_with_many_branches_stays_equal_with_the_others() {
    let (mut alice, mut bob) = (Node::new(ALICE), Node::new(BOB));
    let branches = branches(SEGMENT_PARENTS + 4);
    alice.take(&branches);
    bob.take(&branches);
    bob.take(&[alice.say()]);
    assert_eq!(bob.log.frontier(), alice.log.frontier());
    bob.take(&[alice.say()]);
    assert_eq!(bob.log.frontier(), alice.log.frontier());
    assert_eq!(bob.heads(ALICE).len(), 1);
}

#[test]
fn the_most_branches_of_an_author_can_still_be_joined() {
    let (mut alice, mut bob) = (Node::new(ALICE), Node::new(BOB));
    let branches = branches(BRANCHES + 1);
    bob.take(&branches[..BRANCHES]);
    assert_eq!(bob.hear(&branches[BRANCHES..]), refused(Refusal::Crowd));
    alice.take(&branches[..BRANCHES]);
    bob.take(&[alice.say()]);
    assert_eq!(bob.heads(ALICE).len(), BRANCHES - SEGMENT_PARENTS + 1);
}

/// The past of a node that forgets it: only for changes that nothing stands in the way of.
struct Forgotten;

impl Past for Forgotten {
    type Error = Infallible;

    fn sides(&mut self, _: NodeId, _: SegmentId) -> Result<Option<Sides>, Infallible> {
        Ok(None)
    }

    fn begins(&mut self, _: SegmentId, _: Seq, _: ChangeHash) -> Result<bool, Infallible> {
        Ok(false)
    }

    fn reach(&mut self, _: Strand) -> Result<Option<(Seq, u32)>, Infallible> {
        Ok(None)
    }

    fn standing(&mut self, _: NodeId, _: &Parent) -> Result<Option<Standing>, Infallible> {
        Ok(None)
    }
}

#[test]
fn a_node_keeps_10000_authors_at_most_and_is_one_of_them() {
    let Node { mut log, .. } = Node::new(ALICE);
    let stranger = |n: usize| {
        let mut place = opens(BOB, Vec::new());
        let Link::Opening(opening) = &mut place.link else { unreachable!() };
        opening.author.0[..8].copy_from_slice(&n.to_be_bytes());
        (place.author, place.segment) = (opening.author, opening.segment());
        forge(&place, later())
    };
    let strangers = (0..AUTHORS).map(stranger).collect();
    let applied = log.apply(strangers, NOW, &mut Forgotten).unwrap();
    assert_eq!(applied.refused.len(), 1);
    assert_eq!(applied.refused[0].1, Refusal::Crowd);
    log.append(&drafts(1), NOW).unwrap();
    assert_eq!(log.frontier().len(), AUTHORS);
}

// Time.

#[test]
fn a_time_ten_years_ahead_is_admitted_marked_and_not_followed() {
    let (mut alice, mut bob) = (Node::new(ALICE), Node::new(BOB));
    let ahead = alice.append_at(NOW + TEN_YEARS, &drafts(1));
    let applied = bob.hear(&ahead);
    assert!(applied.arrivals[0].skew);
    assert!(bob.say().first_time < Time::from_millis(NOW + 1));
    bob.restart();
    assert!(bob.say().first_time < Time::from_millis(NOW + 1));
}

#[test]
fn a_time_ten_years_behind_is_no_skew() {
    let (mut alice, mut bob) = (Node::new(ALICE), Node::new(BOB));
    assert!(!bob.hear(&alice.append_at(NOW - TEN_YEARS, &drafts(1))).arrivals[0].skew);
}

#[test]
fn an_entry_made_after_seeing_another_sorts_after_it() {
    let (mut alice, mut bob) = (Node::new(ALICE), Node::new(BOB));
    let seen = alice.append_at(NOW + 30_000, &drafts(5));
    bob.take(&seen);
    assert!(bob.say().first_time > seen[0].last_time);
}

#[test]
fn an_entry_sorts_after_what_was_seen_in_an_earlier_lifetime() {
    let (mut alice, mut bob) = (Node::new(ALICE), Node::new(BOB));
    let seen = alice.append_at(NOW + 30_000, &drafts(5));
    bob.take(&seen);
    bob.restart();
    assert!(bob.say().first_time > seen[0].last_time);
}

#[test]
fn an_author_follows_its_own_time_however_far_ahead() {
    let mut alice = Node::new(ALICE);
    let ahead = alice.append_at(NOW + TEN_YEARS, &drafts(1));
    alice.wipe();
    alice.take(&ahead);
    assert!(!alice.disk.0[0].skew);
    assert!(alice.say().first_time > ahead[0].last_time);
}

// Any history, in any order.

/// What happens to the authors, whose disks are their own.
#[derive(Clone, Debug)]
enum Act {
    Append {
        author: usize,
        entries: usize,
    },
    Restart {
        author: usize,
    },
    /// The disk is replaced by an older copy of itself.
    Restore {
        author: usize,
        arrivals: Index,
    },
    /// Another change is signed at the place of one that was ever signed.
    Fork {
        place: Index,
    },
    /// A part of what another holds arrives.
    Hear {
        author: usize,
        from: usize,
        skip: Index,
        take: usize,
    },
}

fn act(authors: usize) -> impl Strategy<Value = Act> {
    let author = 0..authors;
    let hear = (author.clone(), author.clone(), any::<Index>(), 1..12usize);
    prop_oneof![
        6 => (author.clone(), 1..5usize).prop_map(|(author, entries)| Act::Append { author, entries }),
        1 => author.clone().prop_map(|author| Act::Restart { author }),
        1 => (author, any::<Index>()).prop_map(|(author, arrivals)| Act::Restore { author, arrivals }),
        1 => any::<Index>().prop_map(|place| Act::Fork { place }),
        3 => hear.prop_map(|(author, from, skip, take)| Act::Hear { author, from, skip, take }),
    ]
}

fn history() -> impl Strategy<Value = (usize, Vec<Act>)> {
    (2..=4usize).prop_flat_map(|authors| (Just(authors), vec(act(authors), 1..40)))
}

fn hashes(changes: &[Change]) -> HashSet<ChangeHash> {
    changes.iter().map(|change| change.hash).collect()
}

/// Whether no author has forked a segment: only then do changes make one document.
fn unforked(changes: &[Change]) -> bool {
    let places: HashSet<_> = changes.iter().map(|c| (c.segment, c.index)).collect();
    places.len() == hashes(changes).len()
}

/// Lets the history happen: all authors as it leaves them, and all changes ever made.
fn play(authors: usize, acts: &[Act]) -> (Vec<Node>, Vec<Change>) {
    let mut nodes: Vec<Node> = (1..=authors).map(|name| Node::new(name as u8)).collect();
    let mut all = Vec::new();
    for (tick, act) in acts.iter().enumerate() {
        let now = NOW + tick as u64;
        match act {
            Act::Append { author, entries } => {
                all.extend(nodes[*author].append_unwritten(now, &drafts(*entries)));
            }
            Act::Restart { author } => nodes[*author].restart(),
            Act::Restore { author, arrivals } => {
                let most = nodes[*author].disk.0.len();
                nodes[*author].restore(arrivals.index(most + 1));
            }
            Act::Fork { place } => {
                if let Some(at) = place.index(all.len() + 1).checked_sub(1) {
                    let forged = beside(&all[at], all[at].first_time);
                    all.extend((!hashes(&all).contains(&forged.hash)).then_some(forged));
                }
            }
            Act::Hear { author, from, skip, take } => {
                let said = nodes[*from].changes();
                let skip = skip.index(said.len() + 1);
                let said: Vec<Change> = said.into_iter().skip(skip).take(*take).collect();
                nodes[*author].hear_unwritten(now, &said);
            }
        }
        // Now and then all that was admitted is committed: in groups, as a writer does.
        if tick % 3 == 0 || tick + 1 == acts.len() {
            nodes.iter_mut().for_each(Node::commit);
        }
    }
    (nodes, all)
}

/// Delivers the changes to a node in an order that the seed gives, some of them twice, in
/// deliveries of one to five.
fn deliver(node: &mut Node, changes: &[Change], seed: u64) {
    let mut shuffle = Shuffle(seed | 1);
    let mut deck = changes.to_vec();
    let again: Vec<_> = changes.iter().filter(|_| shuffle.below(4) == 0).cloned().collect();
    deck.extend(again);
    shuffle.shuffle(&mut deck);
    while !deck.is_empty() {
        let size = (1 + shuffle.below(5)).min(deck.len());
        let rest = deck.split_off(size);
        let applied = node.hear_unwritten(NOW, &deck);
        assert!(applied.refused.is_empty(), "{:?}", applied.refused);
        if shuffle.below(3) == 0 {
            node.commit();
        }
        deck = rest;
    }
    node.commit();
}

/// A node that only a part of the changes reached, by the seed.
fn reached_by_some(changes: &[Change], seed: u64) -> Node {
    let mut shuffle = Shuffle(seed | 1);
    let lost = 2 + shuffle.below(12);
    let some: Vec<_> = changes.iter().filter(|_| shuffle.below(lost) != 0).cloned().collect();
    let mut node = Node::new(99);
    deliver(&mut node, &some, seed);
    node
}

/// The changes of one node that another lacks by its heads.
fn lacking(here: &Node, there: &Node, authors: usize) -> Vec<Change> {
    let compare = |name: u8| here.disk.compare(identity(name).node_id(), &there.heads(name)).0;
    let ranges: Vec<Range> = (1..=authors as u8).flat_map(compare).collect();
    let lacks = |arrival: &&Arrival| {
        let first = arrival.change.first_seq;
        ranges.iter().any(|r| r.strand == arrival.strand() && (r.from..r.to).contains(&first))
    };
    here.disk.0.iter().filter(lacks).map(|arrival| arrival.change.clone()).collect()
}

/// The entries and heads of the document that arrivals make, in order.
fn document(changes: &[Change]) -> Contents {
    let mut document = Document::new().unwrap();
    changes.iter().for_each(|change| document.add(change).unwrap());
    let mut made = contents(&document.save().unwrap()).unwrap();
    made.entries.sort();
    made
}

#[test]
fn a_damaged_change_does_not_come_into_a_document() {
    let mut alice = Node::new(ALICE);
    let (first, mut second) = (alice.say(), alice.say());
    let mut bytes = second.bytes.to_vec();
    let entry = entries(std::slice::from_ref(&second)).remove(0);
    let at = bytes.windows(entry.len()).position(|bytes| bytes == entry);
    bytes[at.unwrap() + entry.len() - 1] ^= 1; // still a change that Automerge reads
    second.bytes = bytes.into();
    let mut made = Document::new().unwrap();
    made.add(&first).unwrap();
    assert!(
        matches!(made.add(&second), Err(DocumentError::Damaged { hash, .. }) if hash == second.hash)
    );
    assert_eq!(contents(&made.save().unwrap()).unwrap(), document(&[first]));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn the_same_changes_in_any_order_make_the_same_log(
        (authors, acts) in history(),
        seeds in any::<[u64; 3]>(),
    ) {
        let (nodes, all) = play(authors, &acts);
        let mut expected: Vec<Bytes> = entries(&all);
        expected.sort();
        let mut readers: Vec<Node> = nodes;
        readers.extend((0..2).map(|_| Node::new(99)));
        for (reader, seed) in readers.iter_mut().zip(seeds.iter().cycle()) {
            deliver(reader, &all, *seed);
            prop_assert_eq!(reader.log.pending(), 0);
            let mut held = entries(&reader.changes());
            held.sort();
            prop_assert_eq!(&held, &expected, "every entry once");
        }
        for pair in readers.windows(2) {
            prop_assert_eq!(pair[0].log.frontier(), pair[1].log.frontier());
            if unforked(&all) {
                prop_assert_eq!(document(&pair[0].changes()), document(&pair[1].changes()));
            }
        }
    }

    #[test]
    fn frontiers_are_equal_exactly_when_the_same_is_held(
        (authors, acts) in history(),
        seeds in any::<[u64; 2]>(),
    ) {
        let (_, all) = play(authors, &acts);
        let [one, two] = seeds.map(|seed| reached_by_some(&all, seed));
        let equal = one.log.frontier() == two.log.frontier();
        prop_assert_eq!(equal, one.disk.hashes() == two.disk.hashes());
        prop_assert_eq!(equal, one.log.frontier().digest() == two.log.frontier().digest());
    }

    #[test]
    fn what_another_lacks_is_found_by_its_heads(
        (authors, acts) in history(),
        seeds in any::<[u64; 2]>(),
    ) {
        let (_, all) = play(authors, &acts);
        // A head further on may lie on a side that is unknown here: that shows in the next round.
        prop_assume!(unforked(&all));
        let [here, there] = seeds.map(|seed| reached_by_some(&all, seed));
        let held_there = there.disk.hashes();
        for name in 1..=authors as u8 {
            let author = identity(name).node_id();
            let heads = there.heads(name);
            let (ranges, clear) = here.disk.compare(author, &heads);
            let simple = clear && here.heads(name).len() < 2;
            for change in here.disk.changes().filter(|change| change.author == author) {
                let holds = |range: &&Range| {
                    range.strand.segment == change.segment
                        && range.from <= change.first_seq
                        && change.next_seq() <= range.to
                };
                let sent = ranges.iter().filter(holds).count();
                let lacks = !held_there.contains(&change.hash);
                prop_assert!(sent == usize::from(lacks) || (sent == 1 && !simple), "{change:?}");
            }
        }
    }

    #[test]
    fn two_nodes_that_compare_heads_end_up_equal(
        (authors, acts) in history(),
        seeds in any::<[u64; 2]>(),
    ) {
        let (_, all) = play(authors, &acts);
        let [mut one, mut two] = seeds.map(|seed| reached_by_some(&all, seed));
        for _ in 0..4 * authors {
            let (for_two, for_one) = (lacking(&one, &two, authors), lacking(&two, &one, authors));
            one.hear(&for_one);
            two.hear(&for_two);
        }
        prop_assert_eq!(one.log.frontier(), two.log.frontier());
        prop_assert_eq!(one.disk.hashes(), two.disk.hashes());
    }

    #[test]
    fn the_union_of_all_nodes_is_one_list_with_every_entry_once((authors, acts) in history()) {
        let (nodes, all) = play(authors, &acts);
        prop_assume!(unforked(&all));
        let ends: BTreeSet<[u8; 32]> = all
            .iter()
            .filter(|change| all.iter().all(|c| c.link().unwrap() != Link::Previous(change.hash)))
            .map(|change| change.hash.0)
            .collect();
        let mut expected = entries(&all);
        expected.sort();
        // What the nodes hold, one after the other, and what was lost with an old disk.
        let held = nodes.iter().flat_map(|node| node.changes()).chain(all);
        let mut known = HashSet::new();
        let union: Vec<Change> = held.filter(|change| known.insert(change.hash)).collect();
        let Contents { entries: found, heads } = document(&union);
        prop_assert_eq!(found, expected);
        prop_assert!(heads.iter().eq(&ends) || union.is_empty());
    }

    #[test]
    fn an_author_that_holds_its_whole_past_has_one_head_after_its_next_entry(
        (authors, acts) in history(),
        seed in any::<u64>(),
    ) {
        let (mut nodes, all) = play(authors, &acts);
        let mut reader = Node::new(99);
        for (node, name) in nodes.iter_mut().zip(1..) {
            deliver(node, &all, seed);
            while node.heads(name).len() > 1 || node.heads(name).is_empty() {
                node.say();
            }
        }
        for node in &nodes {
            deliver(&mut reader, &node.changes(), seed);
        }
        for name in 1..=authors as u8 {
            prop_assert_eq!(reader.heads(name).len(), 1);
        }
    }
}
