//! What must hold of a store that is opened after a crash.

use std::path::Path;

use towline::core::merge::Direction;
use towline::node::verify::verify;
use towline::store::sqlite::SqliteStore;
use towline::store::{Batch, Store};
use towline::words::{Draft, Offset};

use crate::history::{Contents, History, STORE, bare, log, owner};

/// Asserts that a store holds every commit that was acknowledged, and of the one that was not yet,
/// all or nothing; and that its node goes on from there.
#[track_caller]
pub fn holds_what_was_told(directory: &Path, history: &History, told: usize) {
    let path = directory.join(STORE);
    let mut store = SqliteStore::open(&path, owner(), [8; 8]).unwrap();
    let held = read(&store, history.commits());
    let mut possible = told..=(told + 1).min(history.commits());
    let commits = possible.find(|commits| history.contents(*commits) == held);
    assert!(
        commits.is_some(),
        "{told} commits were acknowledged, and the store holds {} entries and {:?}",
        held.arrivals.iter().map(|arrival| arrival.change.count).sum::<u32>(),
        held.emits,
    );
    if told > 0 {
        assert_eq!(store.reader().unwrap().id().0, [7; 8], "the store keeps its name");
    }
    goes_on(&mut store, &held);
    drop(store);
    let store = SqliteStore::open(&path, owner(), [8; 8]).unwrap();
    let again = read(&store, history.commits());
    assert_eq!(again.arrivals[..held.arrivals.len()], held.arrivals);
    assert_eq!(again.arrivals.len(), held.arrivals.len() + 1);
}

/// What a store holds. Keys are looked for by the names that so many commits gave them.
pub fn read(store: &SqliteStore, commits: usize) -> Contents {
    let mut reader = store.reader().unwrap();
    let arrivals = reader.arrivals(Offset(0), Direction::Forward, usize::MAX).unwrap();
    let entries: u64 = arrivals.iter().map(|arrival| u64::from(arrival.change.count)).sum();
    assert_eq!(reader.watermark(), Ok(Offset(entries)));
    let verified = verify(&mut *reader, |_, _| {}).unwrap();
    assert_eq!(verified.entries, entries);
    let mut key = |n| reader.key(&format!("key {n}")).unwrap();
    let keys = (0..commits).filter_map(&mut key).collect();
    let (frontier, emits) = (reader.frontier().unwrap(), reader.emits().unwrap());
    let arrivals = arrivals.into_iter().map(bare).collect();
    Contents { arrivals, frontier, emits, keys }
}

/// A new lifetime of the node appends, and takes no seq that is taken.
#[track_caller]
fn goes_on(store: &mut SqliteStore, held: &Contents) {
    let mut log = log(crate::history::SECRET, 99, Some(store));
    assert_eq!(log.frontier(), held.frontier);
    let me = log.node();
    let own = held.arrivals.iter().filter(|arrival| arrival.change.author == me);
    let next = own.map(|arrival| arrival.change.next_seq()).max().unwrap_or_default();
    let drafts = [Draft::text("t", "k", "after the crash").unwrap()];
    let arrivals = log.append(&drafts, 1_795_237_400_000).unwrap();
    assert_eq!(arrivals[0].change.first_seq, next);
    store.commit(&Batch { arrivals, ..Batch::default() }).unwrap();
    verify(&mut *store.reader().unwrap(), |_, _| {}).unwrap();
}
