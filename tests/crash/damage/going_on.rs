//! A node that is started on a damaged store: what it writes then, its peers can take.

use std::path::Path;

use towline::core::change::Change;
use towline::core::merge::Direction;
use towline::node::Storage;
use towline::store::Store;
use towline::store::sqlite::SqliteStore;
use towline::{Config, Draft, Node};

use super::{Patient, cases};
use crate::damage::wounds::Wound;
use crate::history::{SECRET, STORE, log, owner, scratch};
use crate::platter::Image;
use crate::seed::{Trying, rng};

/// Starts a node, lets it append, and reads what it wrote; nothing when it refuses.
async fn write_on(directory: &Path) -> Option<Vec<Change>> {
    let store = SqliteStore::open(&directory.join(STORE), owner(), [7; 8]).ok()?;
    let before = store.reader().ok()?.watermark().ok()?;
    let storage = Storage::Opened { secret: SECRET, store: Box::new(store) };
    let node = Node::open(Config::with_storage(storage)).await.ok()?;
    let draft = Draft::text("t", "k", "on a damaged store").unwrap();
    let appended = node.append(draft).await;
    let read = node.read(move |reader| reader.arrivals(before, Direction::Forward, usize::MAX));
    let written = read.await;
    drop(node.shutdown().await);
    appended.ok()?;
    Some(written.ok()?.into_iter().map(|arrival| arrival.change).collect())
}

/// Whether a node with an unharmed copy takes these changes.
fn takes(unharmed: &Image, changes: &[Change]) -> bool {
    let directory = scratch();
    unharmed.write_to(directory.path());
    let mut store = SqliteStore::open(&directory.path().join(STORE), owner(), [7; 8]).unwrap();
    let mut log = log([9; 32], 0, Some(&mut store));
    let mut past = store.reader().unwrap();
    let applied = log.apply(changes.to_vec(), 0, &mut *past).unwrap();
    applied.arrivals.len() == changes.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_node_writes_on_a_damaged_store_its_peers_can_take() {
    let mut rng = rng();
    let patient = Patient::new(&mut rng);
    let size = patient.closed.file(STORE).len();
    let mut wrong = Vec::new();
    let mut refused = 0;
    for _ in 0..cases(1500) {
        let wound = Wound::flip(STORE, size, &mut rng);
        let _trying = Trying(format!("{wound:?}"));
        let directory = scratch();
        wound.inflict(&patient.closed).write_to(directory.path());
        match write_on(directory.path()).await {
            Some(changes) if !takes(&patient.closed, &changes) => wrong.push(wound),
            Some(_) => {}
            None => refused += 1,
        }
    }
    println!("{refused} refused");
    assert!(wrong.is_empty(), "{wrong:#?}");
}
