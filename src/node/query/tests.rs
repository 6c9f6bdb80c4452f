//! Listings against a plain look at every entry, over all stores; and what is read for them.

use proptest::prelude::*;

use super::*;
use crate::core::log::{Arrival, Log};
use crate::node::follow::read_on;
use crate::node::persona::Persona;
use crate::store::memory::MemoryStore;
use crate::store::sqlite::SqliteStore;
use crate::store::{Batch, Owner, Store, StoreId, block};
use crate::words::gap::{Gap, GapReason};
use crate::words::{ClusterId, Draft, EmitNumber, Identity, Kind, Tenant, Time, Topic};

const CLUSTER: ClusterId = ClusterId([9; 32]);
const TENANTS: [&str; 2] = ["acme", "default"];
const TOPICS: [&str; 3] = ["t", "u", "v"];
const KINDS: [&str; 3] = ["note", "call", "towline.gap"];

fn owner() -> Owner {
    Owner { node: Identity::from_secret(&[1; 32]).node_id(), cluster: CLUSTER }
}

/// Who writes: two authors, and one of them once more with another lifetime, so that it branches.
fn authors() -> Vec<Log> {
    let log = |(key, lifetime): (u8, u8)| {
        let identity = Identity::from_secret(&[key; 32]);
        Log::new(identity, CLUSTER, [lifetime; 16], [], Offset(0), 0)
    };
    [(2, 2), (3, 3), (2, 4)].map(log).into()
}

/// How a store is filled and kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kept {
    Memory,
    /// In memory, and what comes after a while isn't indexed.
    HalfIndexed,
    Rows,
    Blocks,
}

/// A store, and who writes into it.
struct World {
    store: Box<dyn Store>,
    memory: Option<MemoryStore>,
    here: Log,
    authors: Vec<Log>,
    _directory: tempfile::TempDir,
}

impl World {
    fn new(kept: Kept) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let memory = MemoryStore::new(StoreId([1; 8]), owner());
        let store: Box<dyn Store> = match kept {
            Kept::Memory | Kept::HalfIndexed => Box::new(memory.clone()),
            Kept::Rows | Kept::Blocks => {
                let path = directory.path().join("log.sqlite");
                Box::new(SqliteStore::open(&path, owner(), [1; 8]).unwrap())
            }
        };
        let here = Log::new(Identity::from_secret(&[1; 32]), CLUSTER, [1; 16], [], Offset(0), 0);
        let memory = (kept == Kept::HalfIndexed).then_some(memory);
        Self { store, memory, here, authors: authors(), _directory: directory }
    }

    fn write(&mut self, author: usize, drafts: &[Draft], now: u64) -> Vec<Arrival> {
        let written = self.authors[author].append(drafts, now).unwrap();
        self.authors[author].committed();
        written
    }

    fn hear(&mut self, arrivals: Vec<Arrival>, now: u64) {
        let changes = arrivals.into_iter().map(|arrival| arrival.change).collect();
        let mut past = self.store.reader().unwrap();
        let applied = self.here.apply(changes, now, &mut *past).unwrap();
        assert!(applied.refused.is_empty() && applied.pending == 0);
        let batch = Batch { arrivals: applied.arrivals, ..Batch::default() };
        self.store.commit(&batch).unwrap();
        self.here.committed();
    }

    fn pack(&mut self) {
        let mut reader = self.store.reader().unwrap();
        for arrivals in reader.sealable(Offset(u64::MAX)).unwrap() {
            let sealed = vec![block::pack(&arrivals).unwrap()];
            self.store.commit(&Batch { sealed, ..Batch::default() }).unwrap();
        }
    }
}

/// A change that an author writes, and whether all that it wrote since comes here then.
#[derive(Clone, Debug)]
struct Write {
    author: usize,
    entries: Vec<(usize, usize, usize)>,
    later: u64,
    comes: bool,
}

fn write() -> impl Strategy<Value = Write> {
    let entry = (0..TENANTS.len(), 0..TOPICS.len(), 0..KINDS.len());
    let entries = proptest::collection::vec(entry, 1..5);
    (0..3usize, entries, 0..3u64, any::<bool>()).prop_map(|(author, entries, later, comes)| Write {
        author,
        entries,
        later,
        comes,
    })
}

fn draft((tenant, topic, kind): (usize, usize, usize)) -> Draft {
    if KINDS[kind] == "towline.gap" {
        return Gap::new(EmitNumber(0), EmitNumber(3), GapReason::Lag).draft().unwrap();
    }
    let draft = Draft::text(TOPICS[topic], KINDS[kind], format!("{tenant}{topic}{kind}")).unwrap();
    draft.for_tenant(TENANTS[tenant]).unwrap()
}

fn filled(kept: Kept, writes: &[Write]) -> World {
    let mut world = World::new(kept);
    let mut waiting: Vec<Vec<Arrival>> = vec![Vec::new(); 3];
    let mut now = 1_000;
    for (place, Write { author, entries, later, comes }) in writes.iter().enumerate() {
        now += later;
        let drafts: Vec<Draft> = entries.iter().copied().map(draft).collect();
        let written = world.write(*author, &drafts, now);
        waiting[*author].extend(written);
        if *comes {
            let comes = std::mem::take(&mut waiting[*author]);
            world.hear(comes, now);
        }
        if kept == Kept::Blocks && place % 5 == 4 {
            world.pack();
        }
        if place * 2 == writes.len() & !1
            && let Some(memory) = &world.memory
        {
            memory.stop_indexing();
        }
    }
    world
}

fn filter() -> impl Strategy<Value = Filter> {
    let id = |key: u8| Identity::from_secret(&[key; 32]).node_id();
    let author = proptest::option::weighted(0.3, (2..5u8).prop_map(id));
    let names = (
        proptest::option::of(0..TENANTS.len() + 1),
        proptest::option::weighted(0.6, 0..TOPICS.len() + 1),
        proptest::option::weighted(0.3, 0..KINDS.len()),
    );
    let times = proptest::option::weighted(0.3, 998..1_040u64);
    let gaps =
        prop_oneof![4 => Just(Gaps::AsEntries), 2 => Just(Gaps::Always), 1 => Just(Gaps::Only)];
    let persona =
        proptest::option::weighted(0.2, proptest::collection::btree_set(0..TOPICS.len(), 0..3));
    (author, names, (times.clone(), times), gaps, persona).prop_map(
        |(author, (tenant, topic, kind), (since, until), gaps, persona)| Filter {
            author,
            tenant: tenant.map(|n| Tenant::parse(TENANTS.get(n).unwrap_or(&"nobody")).unwrap()),
            topic: topic.map(|n| Topic::parse(TOPICS.get(n).unwrap_or(&"nothing")).unwrap()),
            kind: kind.map(|n| Kind::parse(KINDS[n]).unwrap()),
            since: since.map(Time::from_millis),
            until: until.map(Time::from_millis),
            grep: None,
            persona: persona.map(|topics| Persona {
                topics: topics.into_iter().map(|n| TOPICS[n].to_owned()).collect(),
                ..Persona::default()
            }),
            gaps,
        },
    )
}

fn order() -> impl Strategy<Value = (Order, Direction)> {
    let order = prop_oneof![Just(Order::Time), Just(Order::Arrival), Just(Order::Author)];
    (order, prop_oneof![Just(Direction::Forward), Just(Direction::Backward)])
}

/// Every entry, in order of arrival.
fn everything(reader: &mut dyn Reader) -> Vec<Entry> {
    let arrivals = reader.arrivals(Offset(0), Direction::Forward, usize::MAX).unwrap();
    let all = arrivals.iter().flat_map(|arrival| Filter::all().all_entries(arrival).unwrap());
    let mut entries: Vec<Entry> = all.collect();
    forked::mark(reader, &mut entries).unwrap();
    entries
}

/// A listing as it should be, by looking at every entry.
fn looked_through(reader: &mut dyn Reader, query: &Query) -> Vec<Entry> {
    let mut entries = everything(reader);
    entries.retain(|entry| query.filter.passes(entry));
    let spans = reader.spans(None).unwrap();
    let first_seq =
        |entry: &Entry| spans.iter().find(|s| s.strand.segment == entry.segment).unwrap().first_seq;
    match query.order {
        Order::Arrival => {}
        Order::Time => entries.sort_by_key(Entry::merged_key),
        Order::Author => entries.sort_by_key(|e| (e.author, first_seq(e), e.segment, e.seq)),
    }
    if query.direction == Direction::Backward {
        entries.reverse();
    }
    entries
}

/// All pages of a listing.
fn paged(reader: &mut dyn Reader, query: &Query) -> Vec<Entry> {
    let (mut query, mut entries) = (query.clone(), Vec::new());
    loop {
        let page = page(reader, &query).unwrap();
        assert!(page.entries.len() <= query.limit);
        entries.extend(page.entries);
        match page.next {
            Some(next) => query.after = Some(next),
            None => return entries,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_listing_is_what_a_look_at_every_entry_gives(
        writes in proptest::collection::vec(write(), 1..24),
        queries in proptest::collection::vec((filter(), order(), 1..9usize), 12),
    ) {
        for kept in [Kept::Memory, Kept::HalfIndexed, Kept::Rows, Kept::Blocks] {
            let world = filled(kept, &writes);
            let mut reader = world.store.reader().unwrap();
            for (filter, (order, direction), limit) in &queries {
                let mut query = Query::in_order(*order).filter(filter.clone()).limit(*limit);
                query.direction = *direction;
                let expected = looked_through(&mut *reader, &query);
                prop_assert_eq!(paged(&mut *reader, &query), expected, "{:?} {:?}", kept, query);
            }
        }
    }

    #[test]
    fn a_follower_meets_what_passes_from_any_place_on(
        writes in proptest::collection::vec(write(), 1..24),
        filters in proptest::collection::vec((filter(), 0..40u64, 0..6usize), 12),
    ) {
        for kept in [Kept::Memory, Kept::HalfIndexed, Kept::Rows, Kept::Blocks] {
            let world = filled(kept, &writes);
            let mut reader = world.store.reader().unwrap();
            let end = reader.watermark().unwrap();
            for (filter, at, count) in &filters {
                let mut passing = everything(&mut *reader);
                passing.retain(|entry| filter.passes(entry));
                let newest = passing.iter().rev().nth(count.saturating_sub(1));
                let expected = newest.map_or(Offset(0), |entry| entry.offset);
                let expected = if *count == 0 { end } else { expected };
                prop_assert_eq!(offset_of_last(&mut *reader, filter, *count).unwrap(), expected);
                let (mut at, mut met) = (Offset(*at).min(end), Vec::new());
                passing.retain(|entry| entry.offset >= at);
                while at < end {
                    let (entries, next) = read_on(&mut *reader, filter, at).unwrap();
                    prop_assert!(next > at);
                    met.extend(entries);
                    at = next;
                }
                forked::mark(&mut *reader, &mut met).unwrap();
                prop_assert_eq!(met, passing, "{:?} {:?}", kept, filter);
            }
        }
    }
}

/// 120 blocks of 128 entries by two authors in turn, a millisecond apart. Blocks 10, 50 and 90 hold an
/// entry of the topic `rare`; every tenth block one of the kind `call`.
fn known() -> (World, Vec<Arrival>) {
    let mut world = World::new(Kept::Blocks);
    let mut all = Vec::new();
    for number in 0..120_u64 {
        let mut drafts = vec![Draft::text("common", "note", "x").unwrap(); 128];
        if number % 40 == 10 {
            drafts[64] = Draft::text("rare", "note", "found").unwrap();
        }
        if number % 10 == 3 {
            drafts[0] = Draft::text("common", "call", "x").unwrap();
        }
        let written = world.write(number as usize % 2, &drafts, 1_000 + number);
        all.extend(written.clone());
        world.hear(written, 1_000 + number);
    }
    (world, all)
}

fn explained(world: &World, query: &Query) -> Explanation {
    let mut reader = world.store.reader().unwrap();
    let (page, explanation) = explain(&mut *reader, query).unwrap();
    assert_eq!(explanation.returned, page.entries.len() as u64);
    for sort in [explanation.blocks, explanation.changes] {
        assert_eq!(sort.held, sort.pruned.sum() + sort.not_needed + sort.read);
    }
    explanation
}

fn of_topic(topic: &str) -> Filter {
    Filter { topic: Some(Topic::parse(topic).unwrap()), ..Filter::all() }
}

#[test]
fn a_rare_topic_is_read_from_the_blocks_that_hold_it() {
    let (world, all) = known();
    let bytes = [10, 50, 90].iter().map(|n| all[*n].change.bytes.len() as u64).sum::<u64>();
    for order in [Order::Time, Order::Arrival, Order::Author] {
        for direction in [Direction::Forward, Direction::Backward] {
            let query = Query { order, direction, ..Query::merged().filter(of_topic("rare")) };
            let Explanation { index, blocks, changes, looked_at, returned, bytes: decoded } =
                explained(&world, &query);
            let index = index.unwrap();
            assert_eq!(index.series, ["default/rare"]);
            assert_eq!((index.entries, index.changes), (3, Some(3)));
            assert_eq!((blocks.held, blocks.read, blocks.pruned.topic), (120, 3, 117), "{order:?}");
            assert_eq!((changes.held, changes.read), (0, 0));
            assert_eq!(returned, 3);
            // They are picked out of the blocks.
            assert_eq!(looked_at, 3, "{order:?} {direction:?}");
            assert!(decoded < bytes / 100, "{decoded} of {bytes} bytes");
        }
    }
    let one = Query::merged().filter(of_topic("rare")).limit(1).reverse();
    let blocks = explained(&world, &one).blocks;
    // One block for the entry, and one to learn that there is another page.
    assert_eq!((blocks.read, blocks.not_needed, blocks.pruned.topic), (2, 1, 117));
    let nothing = explained(&world, &Query::merged().filter(of_topic("nothing")));
    assert_eq!((nothing.blocks.read, nothing.blocks.pruned.topic), (0, 120));
}

#[test]
fn times_and_authors_prune_what_cant_match() {
    let (world, all) = known();
    let author = all[0].change.author;
    for order in [Order::Time, Order::Arrival, Order::Author] {
        for direction in [Direction::Forward, Direction::Backward] {
            let filter = Filter {
                since: Some(Time::from_millis(1_020)),
                until: Some(Time::from_millis(1_026)),
                ..Filter::all()
            };
            let query = Query { order, direction, limit: 10_000, ..Query::merged() };
            let explained_times = explained(&world, &query.clone().filter(filter.clone()));
            let Explanation { index, blocks, returned, .. } = explained_times;
            assert_eq!(index, None);
            assert_eq!((blocks.read, blocks.pruned.time), (6, 114), "{order:?} {direction:?}");
            assert_eq!(returned, 6 * 128);
            let filter = Filter { author: Some(author), ..filter };
            let Explanation { blocks, .. } = explained(&world, &query.filter(filter));
            assert_eq!((blocks.read, blocks.pruned.author, blocks.pruned.time), (3, 60, 57));
        }
    }
}

#[test]
fn blocks_without_the_kind_are_not_opened() {
    let (world, _) = known();
    for order in [Order::Time, Order::Arrival, Order::Author] {
        let filter = Filter { kind: Some(Kind::parse("call").unwrap()), ..Filter::all() };
        let query = Query { order, ..Query::merged().filter(filter) };
        let Explanation { blocks, looked_at, returned, .. } = explained(&world, &query);
        assert_eq!((blocks.read, blocks.pruned.kind), (12, 108), "{order:?}");
        assert_eq!((looked_at, returned), (12 * 128, 12));
    }
}

#[test]
fn a_page_in_the_middle_reads_what_it_shows() {
    let (world, _) = known();
    let mut reader = world.store.reader().unwrap();
    let mut query = Query::merged().limit(256);
    for _ in 0..20 {
        query.after = page(&mut *reader, &query).unwrap().next;
    }
    let Explanation { blocks, returned, .. } = explained(&world, &query);
    assert_eq!(returned, 256);
    // Two blocks for the page, the one that it goes on from, and what both authors' runs read ahead.
    assert!(blocks.read <= 12, "{blocks:?}");
    assert_eq!(blocks.held, blocks.read + blocks.not_needed);
}

#[test]
fn a_gap_is_one_by_its_topic_too() {
    let mut world = World::new(Kept::Rows);
    let gap = Gap::new(EmitNumber(0), EmitNumber(3), GapReason::Lag).draft().unwrap();
    let elsewhere = Draft { topic: Topic::parse("elsewhere").unwrap(), ..gap.clone() };
    let written = world.write(0, &[gap, elsewhere], 1_000);
    world.hear(written, 1_000);
    let mut reader = world.store.reader().unwrap();
    let listed = page(&mut *reader, &gaps()).unwrap().entries;
    let topics: Vec<&str> = listed.iter().map(|entry| entry.body.topic.as_str()).collect();
    assert_eq!(topics, ["gaps"]);
}
