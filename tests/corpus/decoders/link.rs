//! What travels on a link: a head, and a payload that may be compressed.

use towline::net::link::{Head, pack, unpack};
use towline::words::limits::{FRAME_BYTES, FRAME_BYTES_UNPACKED};

use super::Verdict;
use super::allocation::within;

pub fn link(bytes: &[u8]) -> Verdict {
    let packed = within(3 * bytes.len() + (1 << 20), || pack(bytes.to_vec()));
    arrives_as(&packed.expect("an input is no longer than a frame"), bytes);
    let Some((head, rest)) = bytes.split_first_chunk() else {
        return Verdict::Refused;
    };
    let Ok(head) = Head::read(*head) else {
        return Verdict::Refused;
    };
    assert!((1..=FRAME_BYTES).contains(&head.length));
    let payload = rest.get(..head.length).unwrap_or(rest);
    // A buffer that grows holds its old self and twice as much for a moment.
    let unpacked = within(4 * FRAME_BYTES_UNPACKED, || unpack(head.form, payload.to_vec()));
    if let Ok(unpacked) = &unpacked {
        assert!(unpacked.len() <= FRAME_BYTES_UNPACKED);
        if let Ok(packed) = pack(unpacked.clone()) {
            arrives_as(&packed, unpacked);
        }
    }
    unpacked.into()
}

/// Checks that a frame that we send is read as it was.
fn arrives_as(packed: &[u8], frame: &[u8]) {
    let Some((head, payload)) = packed.split_first_chunk() else {
        panic!("a packed frame has a head");
    };
    match Head::read(*head) {
        Ok(head) => {
            assert_eq!(head.length, payload.len());
            assert_eq!(unpack(head.form, payload.to_vec()).as_deref(), Ok(frame));
        }
        Err(_) => assert!(frame.is_empty(), "an empty frame is all that can't be sent"),
    }
}
