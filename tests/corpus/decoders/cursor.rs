//! Cursors: a place that a client brings back, or makes up.

use std::cell::RefCell;

use towline::Query;
use towline::core::log::Log;
use towline::node::query::page;
use towline::node::{Cursor, Order};
use towline::store::memory::MemoryStore;
use towline::store::{Batch, Owner, Reader, Store, StoreId};
use towline::words::{Draft, Identity, Offset};

use super::Verdict;
use super::{CLUSTER, run};

thread_local! {
    /// Reading leaves it as it is.
    static LOG: RefCell<Box<dyn Reader>> = RefCell::new(log());
}

pub fn cursor(bytes: &[u8]) -> Verdict {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return Verdict::Refused;
    };
    let parsed = text.parse::<Cursor>();
    if let Ok(cursor) = &parsed {
        assert_eq!(cursor.to_string(), text, "one place has one text");
        LOG.with_borrow_mut(|log| read_on(&mut **log, *cursor));
    }
    parsed.into()
}

/// Reads on from the cursor in every order: to the end, a page at a time.
fn read_on(log: &mut dyn Reader, cursor: Cursor) {
    let cursor = Cursor { store: log.id(), ..cursor };
    for order in [Order::Time, Order::Arrival, Order::Author] {
        for query in [Query::in_order(order), Query::in_order(order).reverse()] {
            let mut query = query.limit(7).after(cursor);
            let mut seen = 0;
            while let Ok(found) = page(log, &query) {
                seen += found.entries.len();
                assert!(seen <= ENTRIES, "no listing holds more than the log");
                let Some(next) = found.next else { break };
                query = query.after(next);
            }
        }
    }
}

const ENTRIES: usize = 20;

/// A log of two authors, in changes of five entries.
fn log() -> Box<dyn Reader> {
    let me = run::author();
    let owner = Owner { node: me.node_id(), cluster: CLUSTER };
    let mut store = MemoryStore::new(StoreId([1; 8]), owner);
    let mut past = store.reader().expect("a memory store opens");
    let log_of = |identity| Log::new(identity, CLUSTER, [5; 16], [], Offset(0), 0);
    let (mut mine, mut other) = (log_of(me), log_of(Identity::from_secret(&[2; 32])));
    for call in 0..2 {
        let draft = |n: usize| Draft::text("topic", "kind", n.to_string()).expect("a draft");
        let drafts: Vec<Draft> = (0..ENTRIES / 4).map(draft).collect();
        let append = |log: &mut Log| log.append(&drafts, 1_000 + call).expect("it is early");
        let mut arrivals = append(&mut mine);
        let theirs = append(&mut other).into_iter().map(|arrival| arrival.change).collect();
        let applied = mine.apply(theirs, 1_000, &mut *past).expect("a memory store reads");
        arrivals.extend(applied.arrivals);
        store.commit(&Batch { arrivals, ..Batch::default() }).expect("a memory store writes");
        mine.committed();
    }
    assert_eq!(past.watermark(), Ok(Offset(ENTRIES as u64)));
    past
}
