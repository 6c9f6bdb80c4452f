//! What a node acknowledged, held against what is in its store.

use std::collections::HashMap;
use std::path::Path;

use towline::node::{OfflineLog, Page};
use towline::words::gap::Gap;
use towline::words::{Entry, EntryId, Seq};
use towline::{Order, Query};

/// Entries that were acknowledged: their ids and texts.
#[derive(Default)]
pub struct Told(Vec<(EntryId, String)>);

impl Told {
    pub fn add(&mut self, id: EntryId, text: impl Into<String>) {
        self.0.push((id, text.into()));
    }

    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The acknowledged texts, in order.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(_, text)| text.as_str())
    }

    /// Asserts that a store verifies, that it holds every acknowledged entry under its id and at
    /// most so many that were not acknowledged, and that the author's seqs have no hole. Gaps are
    /// the node's own, and don't count.
    #[track_caller]
    pub fn assert_kept_in(&self, place: &Path, unacknowledged: usize) {
        let mut log = OfflineLog::open(place).unwrap();
        let verified = log.verify(|_, _| {}).unwrap();
        let entries = entries(|query| log.query(&query).unwrap());
        assert_eq!(entries.len() as u64, verified.entries);
        for (place, entry) in entries.iter().enumerate() {
            assert_eq!(entry.seq, Seq(place as u64), "seqs are contiguous");
        }
        let mut held: HashMap<EntryId, String> = entries
            .iter()
            .filter(|entry| Gap::from_entry(entry).is_none())
            .map(|entry| (entry.id(), text(entry)))
            .collect();
        for (id, text) in &self.0 {
            assert_eq!(held.remove(id).as_ref(), Some(text), "{id} was acknowledged");
        }
        let more: Vec<_> = held.into_keys().collect();
        assert!(more.len() <= unacknowledged, "nobody was told of {more:?}");
    }
}

/// All entries of a log, author by author.
pub fn entries(mut ask: impl FnMut(Query) -> Page) -> Vec<Entry> {
    let mut query = Query::in_order(Order::Author).limit(10_000);
    let mut entries = Vec::new();
    loop {
        let page = ask(query.clone());
        entries.extend(page.entries);
        match page.next {
            Some(next) => query = query.after(next),
            None => return entries,
        }
    }
}

pub fn text(entry: &Entry) -> String {
    String::from_utf8_lossy(&entry.body.data).into_owned()
}
