//! The Automerge chunk of a change, as our own disk gives it back.

use bytes::Bytes;
use sha2::{Digest, Sha256};
use towline::core::change::{Chunk, Damaged, Link};
use towline::words::ChangeHash;
use towline::words::limits::CHANGE_ENTRIES;

use super::Verdict;
use super::allocation::within;

pub fn chunk(bytes: &[u8]) -> Verdict {
    let given = Bytes::copy_from_slice(bytes);
    let other = ChangeHash([0; 32]);
    assert_eq!(Chunk::open(&given, other).err(), Some(Damaged::Hash));
    let (whole, hash) = hashing(bytes);
    let most = 4 * bytes.len() + 48 * CHANGE_ENTRIES; // the columns, and the places of the entries
    let opened = within(most, || Chunk::open(&whole, hash));
    if let Ok(chunk) = &opened {
        assert!((1..=CHANGE_ENTRIES).contains(&chunk.count()));
        let total: usize = chunk.entries().map(<[u8]>::len).sum();
        assert!(total <= bytes.len(), "entries that overlap");
        assert!(chunk.entries().eq(chunk.shared_entries().iter().map(Bytes::as_ref)));
        if let Ok(Link::Opening(opening)) = chunk.link() {
            assert_eq!(opening.check(), Ok(()));
        }
    }
    opened.into()
}

/// The bytes behind a magic number and a checksum that fit them, so that their shape is what counts.
pub fn hashing(bytes: &[u8]) -> (Bytes, ChangeHash) {
    let hash: [u8; 32] = Sha256::digest(bytes).into();
    let magic = [0x85, 0x6f, 0x4a, 0x83];
    ([&magic[..], &hash[..4], bytes].concat().into(), ChangeHash(hash))
}
