//! Which changes are worth a block.

use super::{BLOCK_BYTES, BLOCK_ENTRIES};
use crate::core::log::Arrival;

/// Changes that come together become a block at once from so many entries on, or so many bytes.
pub const DIRECT: Enough = Enough { entries: 128, bytes: 32 << 10 };

/// How much is worth a block.
#[derive(Clone, Copy)]
pub struct Enough {
    /// So many entries.
    pub entries: usize,
    /// Or so many bytes.
    pub bytes: usize,
}

impl Enough {
    /// Changes in rows become a block from so many entries on, or so many bytes.
    pub const LATER: Self = Self { entries: 512, bytes: 128 << 10 };
    /// However few they are: nothing more will follow them soon.
    pub const ANY: Self = Self { entries: 1, bytes: 1 };

    /// Whether a change alone is so much.
    pub fn is_reached(self, arrival: &Arrival) -> bool {
        let change = &arrival.change;
        change.count as usize >= self.entries || change.bytes.len() >= self.bytes
    }
}

/// How many of the changes, which arrive together, become one block at once, if any do.
pub fn direct(arrivals: &[Arrival]) -> Option<usize> {
    block_length(arrivals, DIRECT)
}

/// How many of the changes make one block: consecutive ones of one strand, up to a signed one.
pub fn block_length(arrivals: &[Arrival], enough: Enough) -> Option<usize> {
    let (mut entries, mut bytes, mut best) = (0, 0, None);
    for (at, arrival) in arrivals.iter().enumerate() {
        let change = &arrival.change;
        let follows = at == 0 || {
            let before = &arrivals[at - 1];
            before.strand() == arrival.strand() && before.change.next_seq() == change.first_seq
        };
        entries += change.count as usize;
        bytes += change.bytes.len();
        if !follows || (at > 0 && (entries > BLOCK_ENTRIES || bytes > BLOCK_BYTES)) {
            break;
        }
        if change.signature.is_some() && (entries >= enough.entries || bytes >= enough.bytes) {
            best = Some(at + 1);
        }
    }
    best
}
