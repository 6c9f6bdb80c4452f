//! What a restarted node shows must be durable, even where the process before it was not told so.
//!
//! A process that ends between a write and its sync leaves a commit in the system's memory. The
//! next one finds it there, and can't see that it isn't on the disk. If it told a peer, and the
//! power went, the node would write those seqs again with other content: it would have forked
//! itself.

use std::sync::Arc;

use bytes::Bytes;
use fastrand::Rng;
use towline::core::log::Arrival;
use towline::core::merge::Direction;
use towline::node::Storage;
use towline::store::sqlite::SqliteStore;
use towline::store::{Reader, Store, StoreError};
use towline::words::Offset;
use towline::{Config, Draft, Node};

use crate::disk::{Disk, Operation};
use crate::history::{History, SECRET, STORE, owner, scratch};
use crate::platter::{Image, Platter, Survivors};
use crate::seed::{Trying, rng};

/// What became of the pages that no sync had reached.
#[derive(Clone, Copy, Debug)]
enum Pages {
    /// The process was killed: the next sync writes them.
    Dirty,
    /// A sync had failed: the system holds them for clean, and shows them as long as it keeps them.
    Forgotten,
}

/// What a node shows that finds `cached` where only `durable` is on the disk, and what of that is
/// there after a power cut right then.
fn shown_and_kept(durable: &Image, cached: &Image, pages: Pages) -> (Vec<Arrival>, Vec<Arrival>) {
    let directory = scratch();
    cached.write_to(directory.path());
    let disk = Disk::watch(directory.path());
    for (name, content) in cached.files() {
        adopt(&disk, name, durable.file(name), content, pages);
    }
    let store = SqliteStore::open(&directory.path().join(STORE), owner(), [7; 8]).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let storage = Storage::Opened { secret: SECRET, store: Box::new(store) };
    let (node, shown) = runtime.block_on(async {
        let node = Node::open(Config::with_storage(storage)).await.unwrap();
        node.append(Draft::text("t", "k", "another life").unwrap()).await.unwrap();
        let shown = node.read(arrivals).await.unwrap();
        (node, shown)
    });
    let mut platter = Platter::default();
    disk.operations().iter().for_each(|operation| platter.apply(operation));
    let after = scratch();
    platter.image(Survivors::None, &mut Rng::with_seed(0)).write_to(after.path());
    let store = SqliteStore::open(&after.path().join(STORE), owner(), [7; 8]).unwrap();
    let kept = arrivals(&mut *store.reader().unwrap()).unwrap();
    runtime.block_on(node.shutdown()).unwrap();
    (shown, kept)
}

fn arrivals(reader: &mut dyn Reader) -> Result<Vec<Arrival>, StoreError> {
    reader.arrivals(Offset(0), Direction::Forward, usize::MAX)
}

/// Makes a file known to the disk: what is durable of it, and what the system shows.
fn adopt(disk: &Arc<Disk>, name: &str, durable: &[u8], cached: &[u8], pages: Pages) {
    let inode = disk.opened(name);
    let write = |bytes| Operation::Write { inode, at: 0, bytes: Bytes::copy_from_slice(bytes) };
    disk.note(write(durable));
    disk.note(Operation::Sync { inode });
    disk.note(Operation::SyncDirectory);
    disk.note(Operation::Truncate { inode, size: cached.len() });
    disk.note(write(cached));
    if let Pages::Forgotten = pages {
        disk.note(Operation::FailedSync { inode });
    }
}

#[test]
fn a_restarted_node_shows_nothing_that_a_power_cut_takes_back() {
    let mut rng = rng();
    let mut history = History::begin();
    history.live(20, &mut rng);
    history.close();
    let mut platter = Platter::default();
    let mut unlike = 0;
    for (done, operation) in history.disk.operations().iter().enumerate() {
        if let Operation::Sync { .. } = operation
            && history.told(done) > 0
        {
            let durable = platter.image(Survivors::None, &mut rng);
            let cached = platter.image(Survivors::All, &mut rng);
            for pages in [Pages::Dirty, Pages::Forgotten] {
                let _trying = Trying(format!("{pages:?} pages after operation {done}"));
                let (shown, kept) = shown_and_kept(&durable, &cached, pages);
                assert!(kept.starts_with(&shown), "{} of {} are kept", kept.len(), shown.len());
            }
            unlike += usize::from(durable != cached);
        }
        platter.apply(operation);
    }
    assert!(unlike > 5, "there was something to lose {unlike} times");
}
