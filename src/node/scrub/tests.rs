use super::*;
use crate::core::log::Log;
use crate::store::block;
use crate::store::memory::MemoryStore;
use crate::store::{Batch, Owner, Store, StoreId};
use crate::words::{ClusterId, Draft, Identity};

const CLUSTER: ClusterId = ClusterId([9; 32]);

/// A store in which two authors take turns, and each one's changes are a block.
fn interleaved() -> MemoryStore {
    let log = |n: u8| Log::new(Identity::from_secret(&[n; 32]), CLUSTER, [n; 16], [], Offset(0), 0);
    let (mut here, mut authors) = (log(1), [log(2), log(3)]);
    let mut store =
        MemoryStore::new(StoreId([1; 8]), Owner { node: here.node(), cluster: CLUSTER });
    let mut past = store.reader().unwrap();
    for turn in 0..6u64 {
        let author = &mut authors[turn as usize % 2];
        let draft = Draft::text("t", "k", turn.to_string()).unwrap();
        let written = author.append([&draft], 1_000 + turn).unwrap();
        author.committed();
        let changes = written.into_iter().map(|arrival| arrival.change).collect();
        let arrivals = here.apply(changes, 1_000 + turn, &mut *past).unwrap().arrivals;
        store.commit(&Batch { arrivals, ..Batch::default() }).unwrap();
        here.committed();
    }
    let worth = past.sealable(Offset(u64::MAX)).unwrap();
    let sealed: Vec<_> = worth.iter().map(|arrivals| block::pack(arrivals).unwrap()).collect();
    assert_eq!(sealed.len(), 2);
    store.commit(&Batch { sealed, ..Batch::default() }).unwrap();
    store
}

/// The block's entries have the offsets 0, 2 and 4. Three entries after the first of them would be an
/// offset that lies before the last.
#[test]
fn the_scrub_comes_to_the_end_of_a_log_with_a_damaged_block_in_pieces() {
    let mut store = interleaved();
    store.damage(Offset(2)).unwrap();
    let (mut at, mut seen) = (Offset(0), Vec::new());
    for _ in 0..6 {
        at = piece(&mut store, at).unwrap();
        seen.push(at.0);
    }
    assert_eq!(seen, [1, 3, 5, 6, 0, 1]);
    assert_eq!(store.damages().all().len(), 1);
}
