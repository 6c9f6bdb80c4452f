use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::core::log::Log;
use crate::words::entry::OCTETS;
use crate::words::{ClusterId, Draft, Identity, Offset};

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
    let mut log = Log::new(identity, ClusterId([9; 32]), [2; 16], [], Offset(0), 0);
    let append = |(at, drafts): (usize, &Vec<Draft>)| log.append(drafts, at as u64 / 2).unwrap();
    groups.iter().enumerate().flat_map(append).map(|arrival| arrival.change).collect()
}

fn opening(changes: &[Change]) -> String {
    match changes[0].link().unwrap() {
        Link::Opening(opening) => opening.text(),
        Link::Previous(_) => unreachable!("the first change opens the segment"),
    }
}

fn stand<'a>(first: &Change, opening: &'a str) -> Stand<'a> {
    Stand {
        author: first.author,
        segment: first.segment,
        segment_seq: first.segment_seq,
        index: first.index,
        first_seq: first.first_seq,
        opening,
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
        let last = changes.last().unwrap().hash;
        let opened = BlockOpener::new().unwrap().open(&record, &stand(&changes[0], &opening), last);
        changes.iter_mut().for_each(|change| change.signature = None);
        prop_assert_eq!(opened, Ok(changes));
    }

    #[test]
    fn a_flipped_bit_is_noticed(groups in vec(vec(draft(), 1..4), 1..4), at in any::<usize>()) {
        let changes = changes(&groups);
        let (opening, last) = (opening(&changes), changes.last().unwrap().hash);
        let mut record = Sealer::new().unwrap().seal(&changes).unwrap();
        let bit = at % (record.len() * 8);
        record[bit / 8] ^= 1 << (bit % 8);
        let opened = BlockOpener::new().unwrap().open(&record, &stand(&changes[0], &opening), last);
        prop_assert_eq!(opened, Err(Damaged));
    }

    #[test]
    fn garbage_is_refused(record in vec(any::<u8>(), 0..200)) {
        let first = changes(&[vec![Draft::text("t", "k", "x").unwrap()]]).remove(0);
        let opening = opening(std::slice::from_ref(&first));
        let mut opener = BlockOpener::new().unwrap();
        prop_assert_eq!(opener.open(&record, &stand(&first, &opening), first.hash), Err(Damaged));
    }
}

#[test]
fn names_that_repeat_are_kept_once() {
    let drafts: Vec<Draft> =
        (0..1_000).map(|n| Draft::text("a/topic", "kind", n.to_string()).unwrap()).collect();
    let changes = changes(&[drafts]);
    let record = Sealer::new().unwrap().seal(&changes).unwrap();
    assert!(record.len() < 4_000, "{} bytes", record.len());
}
