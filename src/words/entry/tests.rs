use proptest::prelude::*;

use super::*;

fn draft() -> impl Strategy<Value = Draft> {
    let attributes = proptest::collection::btree_map("[a-z]{1,8}", ".{0,20}", 0..5);
    let content_type = prop_oneof![Just(JSON), Just(TEXT), Just("image/png")];
    let data = proptest::collection::vec(any::<u8>(), 0..200);
    ("[a-z.]{1,9}", "[a-z/ ]{1,30}", "[a-z.]{1,20}", attributes, content_type, data).prop_map(
        |(tenant, topic, kind, attributes, content_type, data)| Draft {
            tenant: Tenant::parse(&tenant).unwrap(),
            topic: Topic::parse(&topic).unwrap(),
            kind: Kind::parse(&kind).unwrap(),
            attributes,
            content_type: content_type.into(),
            data: data.into(),
        },
    )
}

proptest! {
    #[test]
    fn an_entry_reads_back_as_it_was_written(draft in draft(), millis in 0..1u64 << 47) {
        let time = Time::from_millis(millis);
        let bytes = draft.encode(time);
        let view = View::check(&bytes).unwrap();
        prop_assert_eq!(view.time, time);
        prop_assert_eq!(view.to_draft().unwrap(), draft);
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = View::check(&bytes);
    }

    #[test]
    fn a_flipped_byte_is_refused_or_says_something_else(draft in draft(), at in any::<prop::sample::Index>(), bit in 0..8u8) {
        let bytes = draft.encode(Time::from_millis(5));
        let mut other = bytes.to_vec();
        other[at.index(bytes.len())] ^= 1 << bit;
        if let Ok(view) = View::check(&other) {
            let mut again = Vec::new();
            view.write(&mut again);
            prop_assert_eq!(again, other);
        }
    }
}

#[test]
fn trailing_bytes_are_refused() {
    let mut bytes = Draft::text("t", "k", "x").unwrap().encode(Time::default()).to_vec();
    bytes.push(0);
    assert!(View::check(&bytes).is_err());
}

#[test]
fn a_longer_integer_than_needed_is_refused() {
    let bytes = Draft::text("t", "k", "x").unwrap().encode(Time::default());
    // {0: 0, …} becomes {0: 0 in two bytes, …}
    let mut wide = bytes.to_vec();
    wide.splice(2..3, [0x18, 0x00]);
    assert!(View::read(&wide).is_ok());
    assert!(View::check(&wide).is_err());
}

#[test]
fn a_spelled_out_default_is_refused() {
    let draft = Draft::text("t", "k", "x").unwrap();
    let mut out = Vec::new();
    let mut e = Encoder::new(&mut out);
    e.map(6).unwrap().u8(0).unwrap().u64(0).unwrap();
    e.u8(1).unwrap().str("default").unwrap();
    e.u8(2).unwrap().str("t").unwrap().u8(3).unwrap().str("k").unwrap();
    e.u8(5).unwrap().str(TEXT).unwrap().u8(6).unwrap().bytes(&draft.data).unwrap();
    assert!(View::read(&out).is_ok());
    assert!(View::check(&out).is_err());
}

#[test]
fn a_payload_at_the_bound_is_taken_and_one_above_is_not() {
    assert!(Draft::bytes("t", "k", OCTETS, vec![0; PAYLOAD_BYTES]).is_ok());
    let over = Draft::bytes("t", "k", OCTETS, vec![0; PAYLOAD_BYTES + 1]);
    assert!(matches!(over, Err(DraftError::PayloadTooLarge { .. })));
    assert!(Draft::bytes("t", "k", OCTETS, Vec::new()).is_ok());
}
