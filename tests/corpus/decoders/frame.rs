//! Frames: all that a peer can say.

use bytes::Bytes;
use towline::core::frame::Frame;

use super::allocation::within;
use super::{CLUSTER, Verdict, block, run};

pub fn frame(bytes: &[u8]) -> Verdict {
    let input = Bytes::copy_from_slice(bytes);
    // What the input says is held and written again. Beyond its own length the input can ask for
    // 8,192 changes and 8,192 entries of one byte each, and for the words of an error.
    let decoded = within(6 * bytes.len() + (1 << 20), || Frame::decode(&input));
    if let Ok(frame) = &decoded {
        assert_eq!(frame.encode(), bytes, "one frame has one spelling");
        match frame {
            Frame::Run(run) => {
                if let Ok(changes) = run.clone().verify(CLUSTER) {
                    run::admitted(run, &changes);
                }
            }
            Frame::Block(block) => block::arrives(block),
            _ => {}
        }
    }
    decoded.into()
}
