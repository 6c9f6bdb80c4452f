use bytes::Bytes;

use super::*;
use crate::words::{SegmentId, Time};

const PARENT: ChangeHash = ChangeHash([9; 32]);

fn author(n: u32) -> NodeId {
    let mut id = [1; 32];
    id[..4].copy_from_slice(&n.to_be_bytes());
    NodeId(id)
}

fn hash(n: u32) -> ChangeHash {
    let mut hash = [0; 32];
    hash[..4].copy_from_slice(&n.to_be_bytes());
    ChangeHash(hash)
}

/// A change that counts for so many bytes.
fn change(of: u32, n: u32, bytes: usize) -> Change {
    Change {
        author: author(of),
        segment: SegmentId([7; 16]),
        segment_seq: Seq(0),
        index: 1,
        first_seq: Seq(1),
        count: 1,
        first_time: Time::default(),
        last_time: Time::default(),
        hash: hash(n),
        signature: None,
        bytes: Bytes::from(vec![0; bytes - OVERHEAD]),
    }
}

fn hashes(released: &[Change]) -> Vec<ChangeHash> {
    released.iter().map(|change| change.hash).collect()
}

#[test]
fn what_waits_comes_out_once() {
    let mut pool = Pending::default();
    assert_eq!(pool.park(PARENT, change(1, 1, 1_000)), Parked::Waits);
    assert_eq!(pool.park(PARENT, change(1, 1, 1_000)), Parked::Twice);
    assert_eq!(pool.release(&PARENT).len(), 1);
    assert!(pool.release(&PARENT).is_empty());
    assert!(pool.is_empty() && pool.ages.is_empty());
    assert!(pool.by_author.is_empty() && pool.by_share.is_empty());
    assert_eq!(pool.bytes, 0);
}

#[test]
fn what_waits_for_one_parent_comes_out_as_it_came() {
    let mut pool = Pending::default();
    for n in [5, 3, 4, 1] {
        assert_eq!(pool.park(PARENT, change(n, n, 1_000)), Parked::Waits);
    }
    pool.park(hash(7), change(2, 2, 1_000));
    assert_eq!(hashes(&pool.release(&PARENT)), [5, 3, 4, 1].map(hash));
    assert_eq!(pool.len(), 1);
}

#[test]
fn a_change_whose_place_was_moved_waits_beside_the_true_one() {
    let mut pool = Pending::default();
    let moved = Change { segment_seq: Seq(5), ..change(1, 1, 1_000) };
    assert_eq!(pool.park(PARENT, moved), Parked::Waits);
    assert_eq!(pool.park(PARENT, change(1, 1, 1_000)), Parked::Waits);
    assert_eq!(pool.release(&PARENT).len(), 2);
}

#[test]
fn an_authors_oldest_makes_room_for_its_newest() {
    let mut pool = Pending::default();
    let most = (PENDING_BYTES_PER_AUTHOR / 1_024) as u32;
    for n in 0..10_000 {
        let parked = pool.park(hash(n % 251), change(1, n, 1_024));
        let expected = if n < most { Parked::Waits } else { Parked::Dropped };
        assert_eq!(parked, expected);
    }
    assert_eq!(pool.len(), most as usize);
    assert!(hashes(&pool.release(&hash(9_999 % 251))).contains(&hash(9_999)));
    assert_eq!(pool.park(PARENT, change(2, 1, 1_024)), Parked::Waits, "others have room");
}

#[test]
fn a_large_change_takes_the_room_of_several() {
    let mut pool = Pending::default();
    for n in 0..4_096 {
        pool.park(PARENT, change(1, n, 1_024));
    }
    assert_eq!(pool.park(PARENT, change(1, 9_000, 1 << 20)), Parked::Dropped);
    assert_eq!(pool.len(), 4_096 - 1_024 + 1);
    assert_eq!(pool.bytes, PENDING_BYTES_PER_AUTHOR);
}

#[test]
fn many_authors_together_cannot_crowd_out_one_more() {
    let mut pool = Pending::default();
    let authors = 1_000;
    for n in 0..200_000 {
        pool.park(PARENT, change(n % authors, n, 1_024));
    }
    assert!(pool.bytes <= PENDING_BYTES);
    for n in 0..60 {
        pool.park(hash(1), change(authors + 1, n, 1_024));
    }
    assert!(pool.bytes <= PENDING_BYTES);
    assert_eq!(pool.release(&hash(1)).len(), 60, "an author with less than the others is kept");
}
