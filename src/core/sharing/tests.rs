use super::*;
use crate::core::frontier::Head;
use crate::words::{ChangeHash, SegmentId};

const ME: NodeId = NodeId([0; 32]);

fn node(n: u8) -> NodeId {
    NodeId([n; 32])
}

fn held(entries: &[(u8, u64)]) -> Frontier {
    let mut own = Frontier::default();
    for (author, next) in entries {
        let (hash, segment) = (ChangeHash([*author; 32]), SegmentId([*author; 16]));
        own.insert(node(*author), Head { next_seq: Seq(*next), hash, segment });
    }
    own
}

fn peer(n: u8, holds: &[(u8, u64)]) -> (NodeId, Holds) {
    (node(n), holds.iter().map(|(author, next)| (node(*author), Seq(*next))).collect())
}

/// Authors 11 to 14, of whom two peers hold 100,000 entries each.
fn two_full_peers() -> [(NodeId, Holds); 2] {
    let all = [(11, 100_000), (12, 100_000), (13, 100_000), (14, 100_000)];
    [peer(1, &all), peer(2, &all)]
}

fn look(sharing: &mut Sharing, now: u64, own: &Frontier, peers: &[(NodeId, Holds)]) -> bool {
    let peers: Vec<(NodeId, &Holds)> = peers.iter().map(|(peer, holds)| (*peer, holds)).collect();
    sharing.look(now, ME, own, &peers)
}

fn kept(sharing: &Sharing) -> [BTreeSet<NodeId>; 2] {
    [1, 2].map(|n| sharing.elsewhere(&node(n)).into_iter().collect())
}

#[test]
fn each_author_is_asked_of_one_peer_and_both_get_as_much() {
    let mut sharing = Sharing::default();
    assert!(look(&mut sharing, 0, &held(&[]), &two_full_peers()));
    let [one, two] = kept(&sharing);
    assert_eq!((one.len(), two.len()), (2, 2));
    assert!(one.is_disjoint(&two), "each of the four is asked of one peer");
    assert!(!look(&mut sharing, 1, &held(&[(11, 10)]), &two_full_peers()), "and stays there");
}

#[test]
fn one_peer_alone_is_asked_for_everything() {
    let mut sharing = Sharing::default();
    let [one, _] = two_full_peers();
    assert!(!look(&mut sharing, 0, &held(&[]), &[one, peer(2, &[(11, 5)])]));
    assert_eq!(kept(&sharing), [BTreeSet::new(), BTreeSet::new()]);
}

#[test]
fn an_author_that_goes_on_is_asked_itself_though_others_said_later_what_they_hold() {
    let mut sharing = Sharing::default();
    let peers = [peer(1, &[(2, 100_000)]), peer(2, &[(2, 50_000)]), peer(3, &[(2, 90_000)])];
    assert!(look(&mut sharing, 0, &held(&[]), &peers));
    let keep = [1, 2, 3].map(|n| sharing.elsewhere(&node(n)));
    assert_eq!(keep, [vec![node(2)], vec![], vec![node(2)]]);
}

#[test]
fn a_little_is_asked_of_nobody() {
    let mut sharing = Sharing::default();
    let near = held(&[(11, 99_000), (12, 99_000), (13, 99_000), (14, 99_000)]);
    assert!(!look(&mut sharing, 0, &near, &two_full_peers()));
}

#[test]
fn what_a_peer_had_to_bring_is_asked_elsewhere_when_it_goes() {
    let mut sharing = Sharing::default();
    let third = peer(3, &[(11, 100_000), (12, 100_000), (13, 100_000), (14, 100_000)]);
    let [one, two] = two_full_peers();
    look(&mut sharing, 0, &held(&[]), &[one.clone(), two.clone(), third.clone()]);
    let of_two =
        |sharing: &Sharing| sharing.parts.values().filter(|part| part.peer == node(2)).count();
    assert_eq!(of_two(&sharing), 1);
    assert!(look(&mut sharing, 10, &held(&[]), &[one, third]));
    assert_eq!((of_two(&sharing), sharing.parts.len()), (0, 4));
}

#[test]
fn a_peer_that_brings_nothing_loses_its_part() {
    let mut sharing = Sharing::default();
    let peers = two_full_peers();
    look(&mut sharing, 0, &held(&[]), &peers);
    let stalls: Vec<NodeId> = sharing.elsewhere(&node(1)); // what peer 2 is asked for
    let brought: Vec<u8> = (11..15).filter(|n| !stalls.contains(&node(*n))).collect();
    for now in (1_000..STALLED_MILLIS).step_by(1_000) {
        let own: Vec<(u8, u64)> = brought.iter().map(|n| (*n, now)).collect();
        assert!(!look(&mut sharing, now, &held(&own), &peers));
    }
    let own: Vec<(u8, u64)> = brought.iter().map(|n| (*n, STALLED_MILLIS)).collect();
    assert!(look(&mut sharing, STALLED_MILLIS, &held(&own), &peers));
    let [one, two] = kept(&sharing);
    assert_eq!((one.len(), two.len()), (0, 4), "peer 1 is asked for all of it");
}

#[test]
fn what_is_nearly_here_may_come_from_anybody() {
    let mut sharing = Sharing::default();
    let peers = two_full_peers();
    look(&mut sharing, 0, &held(&[]), &peers);
    let near = held(&[(11, 99_500), (12, 99_500), (13, 99_500), (14, 99_500)]);
    assert!(look(&mut sharing, 1_000, &near, &peers));
    assert_eq!(kept(&sharing), [BTreeSet::new(), BTreeSet::new()]);
}

#[test]
fn progress_says_how_much_lacks_and_when_it_will_be_here() {
    let mut sharing = Sharing::default();
    let peers = [peer(1, &[(11, 100_000)])];
    look(&mut sharing, 0, &held(&[]), &peers);
    let started = Progress { lacking: 100_000, per_second: 0, eta_seconds: None };
    assert_eq!(sharing.progress(), Some(started));
    look(&mut sharing, 2_000, &held(&[(11, 20_000)]), &peers);
    let going = Progress { lacking: 80_000, per_second: 10_000, eta_seconds: Some(8) };
    assert_eq!(sharing.progress(), Some(going));
    look(&mut sharing, 10_000, &held(&[(11, 100_000)]), &peers);
    assert_eq!(sharing.progress(), None);
}

#[test]
fn the_rate_is_one_of_the_last_seconds() {
    let mut sharing = Sharing::default();
    let peers = [peer(1, &[(11, 1_000_000)])];
    for second in 0..100 {
        let entries = if second < 50 { second * 1_000 } else { 50_000 + (second - 50) * 10_000 };
        look(&mut sharing, second * 1_000, &held(&[(11, entries)]), &peers);
    }
    assert_eq!(sharing.progress().unwrap().per_second, 10_000);
}

#[test]
fn of_members_that_claim_thousands_of_authors_few_are_shared_out() {
    let many = |n: u8| {
        let author = |at: u16| NodeId(std::array::from_fn(|byte| at.to_be_bytes()[byte % 2] | 1));
        (node(n), (0..u16::MAX).map(|at| (author(at), Seq(u64::MAX))).collect())
    };
    let mut sharing = Sharing::default();
    assert!(look(&mut sharing, 0, &held(&[]), &[many(1), many(2)]));
    let [one, two] = kept(&sharing);
    assert_eq!(one.len() + two.len(), PARTS);
    assert_eq!(sharing.progress().map(|progress| progress.lacking), Some(u64::MAX));
}
