//! One suite over both stores: each fact is tested on SQLite and in memory.

use proptest::prelude::*;

use super::memory::MemoryStore;
use super::sqlite::{SqliteReader, SqliteStore};
use super::*;
use crate::core::change::{Change, Place, encode};
use crate::core::frontier::Range;
use crate::core::log::{Log, Sides};
use crate::core::segment::Parent;
use crate::words::{ChangeHash, Draft, Identity, SegmentId};

// What this suite shares is private to it, so the file is a part of it.
#[path = "fixtures/tests.rs"]
mod fixtures;
#[path = "pruning/tests.rs"]
mod pruning;
#[path = "series/tests.rs"]
mod series;

const CLUSTER: ClusterId = ClusterId([9; 32]);

fn identity(n: u8) -> Identity {
    Identity::from_secret(&[n; 32])
}

fn owner() -> Owner {
    Owner { node: identity(1).node_id(), cluster: CLUSTER }
}

/// A store under test; the directory lives as long as it.
struct Stored {
    store: Box<dyn Store>,
    _directory: tempfile::TempDir,
}

/// A store in which all changes are packed into blocks at every second commit.
struct Packed(Box<dyn Store>, u64);

impl Store for Packed {
    fn resume(&mut self) -> Result<Resume, StoreError> {
        self.0.resume()
    }

    fn commit(&mut self, batch: &Batch) -> Result<(), StoreError> {
        self.0.commit(batch)?;
        self.1 += 1;
        if self.1 % 2 == 1 {
            return Ok(());
        }
        let mut reader = self.0.reader()?;
        for arrivals in reader.sealable(Offset(u64::MAX))? {
            let sealed = vec![block::pack(&arrivals).unwrap()];
            self.0.commit(&Batch { sealed, ..Batch::default() })?;
        }
        Ok(())
    }

    fn opener(&self) -> Opener {
        self.0.opener()
    }

    fn damages(&self) -> Damages {
        self.0.damages()
    }
}

/// All kinds of stores: in memory and SQLite, with rows and with blocks.
fn stores() -> [Stored; 4] {
    let directory = || tempfile::tempdir().unwrap();
    let [one, two, three, four] = [(); 4].map(|()| directory());
    let sqlite = |directory: &tempfile::TempDir| {
        SqliteStore::open(&directory.path().join("log.sqlite"), owner(), [1; 8]).unwrap()
    };
    let (rows, packed) = (sqlite(&one), Packed(Box::new(sqlite(&two)), 0));
    let memory = || MemoryStore::new(StoreId([1; 8]), owner());
    [
        Stored { store: Box::new(memory()), _directory: three },
        Stored { store: Box::new(Packed(Box::new(memory()), 0)), _directory: four },
        Stored { store: Box::new(rows), _directory: one },
        Stored { store: Box::new(packed), _directory: two },
    ]
}

/// What a store keeps of changes for good: a block drops all signatures but its last.
fn bare(arrivals: impl IntoIterator<Item = Arrival>) -> Vec<Arrival> {
    let bare = |mut arrival: Arrival| {
        arrival.change.signature = None;
        arrival
    };
    arrivals.into_iter().map(bare).collect()
}

/// Authors whose changes are committed in one store.
struct World {
    logs: Vec<Log>,
    here: Log,
}

impl World {
    fn new(authors: u8) -> Self {
        let log = |n: u8| Log::new(identity(n), CLUSTER, [n; 16], [], Offset(0), 0);
        Self { logs: (2..2 + authors).map(log).collect(), here: log(1) }
    }

    /// An author writes a change of so many entries, and it arrives here.
    fn write(
        &mut self,
        author: usize,
        entries: usize,
        now: u64,
        store: &mut dyn Store,
    ) -> Vec<Arrival> {
        let draft = |n: usize| Draft::text("t", "k", format!("{author}/{n}")).unwrap();
        let drafts: Vec<Draft> = (0..entries).map(draft).collect();
        let written = self.logs[author].append(&drafts, now).unwrap();
        self.logs[author].committed();
        self.hear(written.into_iter().map(|arrival| arrival.change).collect(), now, store)
    }

    /// An author writes another change at the place of one that it wrote, and it arrives here.
    fn fork(&mut self, change: &Change, store: &mut dyn Store) -> Vec<Arrival> {
        let Change { author, segment, segment_seq, index, first_seq, .. } = *change;
        let link = change.link().unwrap();
        let place = Place { author, segment, segment_seq, index, first_seq, link };
        let draft = Draft::text("t", "k", "another history").unwrap();
        let forged = encode(&place, &[draft.encode(change.first_time)]).unwrap();
        self.hear(vec![forged], 0, store)
    }

    /// An author starts anew, from what arrived here of it: its next change opens a segment.
    fn restart(&mut self, author: usize, lifetime: u8, store: &mut dyn Store) {
        let n = 2 + author as u8;
        let of_author = |(node, _): &(NodeId, Tip)| *node == identity(n).node_id();
        let tips = store.resume().unwrap().tips.into_iter().filter(of_author);
        self.logs[author] = Log::new(identity(n), CLUSTER, [lifetime; 16], tips, Offset(0), 0);
    }

    /// An author starts anew from a backup that ends with the first change of its segment.
    fn restore(&mut self, author: usize, last: &Change) {
        let Change { segment, segment_seq, hash, last_time, .. } = *last;
        let head = Head { segment, next_seq: last.next_seq(), hash };
        let bytes = last.bytes.len() as u64;
        let tip = Tip { head, side: 0, segment_seq, changes: 1, bytes, last_time };
        let (identity, lifetime) = (identity(2 + author as u8), [60; 16]);
        let tips = [(last.author, tip)];
        self.logs[author] = Log::new(identity, CLUSTER, lifetime, tips, Offset(0), 0);
    }

    fn hear(&mut self, changes: Vec<Change>, now: u64, store: &mut dyn Store) -> Vec<Arrival> {
        let mut past = store.reader().unwrap();
        let applied = self.here.apply(changes, now, &mut *past).unwrap();
        assert!(applied.refused.is_empty());
        store.commit(&Batch { arrivals: applied.arrivals.clone(), ..Batch::default() }).unwrap();
        self.here.committed();
        applied.arrivals
    }

    /// Two authors take turns: 2 entries, then 3, then 1, …
    fn filled(store: &mut dyn Store) -> (Self, Vec<Arrival>) {
        let mut world = Self::new(2);
        let mut all = Vec::new();
        for (turn, entries) in [2, 3, 1, 4, 2, 5, 1].into_iter().enumerate() {
            all.extend(world.write(turn % 2, entries, 1_000 + turn as u64, store));
        }
        (world, all)
    }
}

fn offsets(arrivals: &[Arrival]) -> Vec<u64> {
    arrivals.iter().map(|arrival| arrival.offset.0).collect()
}

#[test]
fn what_is_committed_reads_back_as_it_was() {
    for mut stored in stores() {
        let (_, all) = World::filled(&mut *stored.store);
        let mut reader = stored.store.reader().unwrap();
        let read = reader.arrivals(Offset(0), Direction::Forward, usize::MAX).unwrap();
        assert_eq!(bare(read), bare(all.clone()));
        assert_eq!(reader.watermark(), Ok(Offset(18)));
        let mut back = reader.arrivals(Offset(18), Direction::Backward, usize::MAX).unwrap();
        back.reverse();
        assert_eq!(bare(back), bare(all));
    }
}

#[test]
fn a_read_begins_with_the_change_that_holds_the_offset() {
    for mut stored in stores() {
        World::filled(&mut *stored.store);
        let mut reader = stored.store.reader().unwrap();
        let mut from = |at, direction| offsets(&reader.arrivals(Offset(at), direction, 1).unwrap());
        // Changes begin at 0, 2, 5, 6, 10, 12 and 17.
        assert_eq!(from(0, Direction::Forward), [0]);
        assert_eq!(from(4, Direction::Forward), [2]);
        assert_eq!(from(5, Direction::Forward), [5]);
        assert_eq!(from(18, Direction::Forward), [] as [u64; 0]);
        assert_eq!(from(18, Direction::Backward), [17]);
        assert_eq!(from(4, Direction::Backward), [0]);
        assert_eq!(from(1, Direction::Backward), [] as [u64; 0]);
    }
}

#[test]
fn a_read_takes_no_more_than_it_is_told() {
    for mut stored in stores() {
        let (_, all) = World::filled(&mut *stored.store);
        let mut reader = stored.store.reader().unwrap();
        let two = all[0].change.bytes.len() + 1;
        let read = reader.arrivals(Offset(0), Direction::Forward, two).unwrap();
        assert_eq!(offsets(&read), [0, 2]);
        let (passed, next) = reader.scan(Offset(1), 3).unwrap();
        assert_eq!((passed.len(), next), (3, Offset(6)));
    }
}

#[test]
fn a_scan_names_what_the_changes_are() {
    for mut stored in stores() {
        let (_, all) = World::filled(&mut *stored.store);
        let mut reader = stored.store.reader().unwrap();
        let (passed, next) = reader.scan(Offset(0), 100).unwrap();
        assert_eq!(next, Offset(18));
        for (passed, Arrival { change, .. }) in passed.iter().zip(&all) {
            assert_eq!((passed.author, passed.first_seq), (change.author, change.first_seq));
            assert_eq!((passed.head.hash, passed.head.segment), (change.hash, change.segment));
            assert_eq!(passed.head.next_seq, change.next_seq());
        }
        assert_eq!(reader.scan(Offset(18), 100), Ok((Vec::new(), Offset(18))));
    }
}

#[test]
fn a_writer_resumes_where_it_was() {
    for mut stored in stores() {
        let (world, _) = World::filled(&mut *stored.store);
        let resume = stored.store.resume().unwrap();
        assert_eq!(resume.next_offset, Offset(18));
        let again = Log::new(identity(1), CLUSTER, [7; 16], resume.tips, resume.next_offset, 0);
        assert_eq!(again.frontier(), world.here.frontier());
        assert_eq!(stored.store.reader().unwrap().frontier(), Ok(world.here.frontier()));
    }
}

#[test]
fn a_segment_reads_from_any_entry_in_both_directions() {
    for mut stored in stores() {
        let (_, all) = World::filled(&mut *stored.store);
        let strand = all[0].strand(); // the first author's: 2, 1, 2, 1 entries
        let mut reader = stored.store.reader().unwrap();
        let mut firsts = |from, direction| {
            let read = reader.of_strand(strand, Seq(from), direction, usize::MAX).unwrap();
            read.iter().map(|arrival| arrival.change.first_seq.0).collect::<Vec<_>>()
        };
        assert_eq!(firsts(0, Direction::Forward), [0, 2, 3, 5]);
        assert_eq!(firsts(4, Direction::Forward), [3, 5]);
        assert_eq!(firsts(6, Direction::Forward), [] as [u64; 0]);
        assert_eq!(firsts(6, Direction::Backward), [5, 3, 2, 0]);
        assert_eq!(firsts(3, Direction::Backward), [2, 0]);
        let unknown =
            reader.of_strand(Strand::first(SegmentId([0; 16])), Seq(0), Direction::Forward, 1);
        assert_eq!(unknown, Ok(Vec::new()));
    }
}

#[test]
fn a_time_is_found_in_a_segment() {
    for mut stored in stores() {
        let (_, all) = World::filled(&mut *stored.store);
        let strand = all[0].strand(); // written at 1,000, 1,002, 1,004 and 1,006 ms
        let mut reader = stored.store.reader().unwrap();
        // The entries at these seqs are the first ones at or after the times.
        for (millis, seq) in [(0, 0), (1_001, 2), (1_002, 2), (1_003, 3), (1_006, 5)] {
            let zone = reader.zone_at(strand, Time::from_millis(millis)).unwrap().unwrap();
            assert!(zone.seqs.contains(&Seq(seq)), "{millis}: {zone:?}");
            assert!(zone.last_time >= Time::from_millis(millis), "{millis}: {zone:?}");
        }
        assert_eq!(reader.zone_at(strand, Time::from_millis(1_007)), Ok(None));
    }
}

#[test]
fn an_entry_is_found_by_author_and_seq() {
    for mut stored in stores() {
        let (_, all) = World::filled(&mut *stored.store);
        let author = all[1].change.author;
        let mut reader = stored.store.reader().unwrap();
        let found = reader.find(author, Seq(4)).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].change.first_seq, Seq(3));
        assert_eq!(reader.find(author, Seq(12)), Ok(Vec::new()));
        assert_eq!(reader.find(author, Seq(u64::MAX)), Ok(Vec::new()));
        assert_eq!(reader.find(NodeId([0; 32]), Seq(0)), Ok(Vec::new()));
    }
}

#[test]
fn the_past_answers_by_place_end_and_parent() {
    for mut stored in stores() {
        let (_, all) = World::filled(&mut *stored.store);
        let change = &all[3].change;
        let mut reader = stored.store.reader().unwrap();
        let Change { author, segment, first_seq, hash, last_time, .. } = *change;
        assert_eq!(reader.begins(segment, first_seq, hash), Ok(true));
        assert_eq!(reader.begins(segment, first_seq.plus(1), hash), Ok(false));
        let sides = Sides { count: 1, segment_seq: change.segment_seq, pruned: None };
        assert_eq!(reader.sides(author, segment), Ok(Some(sides)));
        assert_eq!(reader.sides(all[0].change.author, segment), Ok(None));
        let head = Head { segment, next_seq: change.next_seq(), hash };
        assert_eq!(reader.locate(&head), Ok(Some(all[3].strand())));
        assert_eq!(reader.locate(&Head { next_seq: first_seq, ..head }), Ok(None));
        let parent = Parent { next_seq: change.next_seq(), hash };
        let standing = reader.standing(author, &parent).unwrap().unwrap();
        assert_eq!((standing.tip.last_time, standing.followed), (last_time, true));
        assert_eq!((standing.tip.head, standing.tip.changes), (head, change.index + 1));
        let other = Parent { hash: ChangeHash([0; 32]), ..parent };
        assert_eq!(reader.standing(author, &other), Ok(None));
    }
}

#[test]
fn both_sides_of_a_forked_segment_are_kept() {
    for mut stored in stores() {
        let store = &mut *stored.store;
        let mut world = World::new(1);
        let first = world.write(0, 2, 1_000, store).remove(0).change;
        let second = world.write(0, 3, 1_001, store).remove(0).change;
        let beside = world.fork(&second, store).remove(0);
        let start = world.fork(&first, store).remove(0);
        assert_eq!((beside.side, start.side), (1, 2));
        let author = first.author;
        let mut reader = store.reader().unwrap();
        assert_eq!(reader.frontier(), Ok(world.here.frontier()));
        assert_eq!(world.here.frontier().heads(&author).len(), 3);
        let extents = reader.extents(author).unwrap();
        let sides: Vec<_> = extents
            .iter()
            .map(|e| (e.strand.side, e.first_seq.0, e.next_seq.0, e.forks_off))
            .collect();
        assert_eq!(sides, [(0, 0, 5, None), (2, 0, 1, None), (1, 2, 3, Some(0))]);
        assert_eq!(reader.find(author, Seq(0)).unwrap().len(), 2);
        assert_eq!(reader.find(author, Seq(2)).unwrap().len(), 2);
        assert_eq!(reader.branched(), Ok(vec![author]));
        let around = reader.strands_around(author, Seq(1), Seq(3));
        assert_eq!(around, Ok(vec![(Seq(0), Seq(5)), (Seq(2), Seq(3))]));
        let resume = store.resume().unwrap();
        let again = Log::new(identity(1), CLUSTER, [7; 16], resume.tips, resume.next_offset, 0);
        assert_eq!(again.frontier(), world.here.frontier());
    }
}

#[test]
fn the_recorders_mark_and_the_keys_are_part_of_the_commit() {
    for mut stored in stores() {
        let mark = EmitMark {
            next: EmitNumber(5),
            reserved: EmitNumber(9),
            recorded: 4,
            dropped: 1,
            gaps: 1,
        };
        let key = KeyRecord { key: "k".into(), digest: [7; 32], first_seq: Seq(3), count: 2 };
        let batch = Batch { emits: Some(mark), keys: vec![key.clone()], ..Batch::default() };
        stored.store.commit(&batch).unwrap();
        let mut reader = stored.store.reader().unwrap();
        assert_eq!(reader.emits(), Ok(mark));
        assert_eq!(reader.key("k"), Ok(Some(key)));
        assert_eq!(reader.key("other"), Ok(None));
        assert_eq!(stored.store.resume().unwrap().emits, mark);
    }
}

/// The author lost its newest change and went on without it; then that change comes after all.
#[test]
fn a_segment_that_another_continues_after_may_go_on_as_a_branch() {
    for mut stored in stores() {
        let store = &mut *stored.store;
        let mut world = World::new(1);
        let first = world.write(0, 2, 1_000, store).remove(0).change;
        let draft = [Draft::text("t", "k", "lost and found").unwrap()];
        let lost = world.logs[0].append(&draft, 1_001).unwrap().remove(0).change;
        let mut restored = Log::new(identity(2), CLUSTER, [77; 16], [], Offset(0), 0);
        let mut past = store.reader().unwrap();
        restored.apply(vec![first.clone()], 0, &mut *past).unwrap();
        world.logs[0] = restored;
        world.write(0, 1, 1_002, store);
        let applied = world.here.apply(vec![lost.clone()], 1_002, &mut *past).unwrap();
        let arrivals = applied.arrivals;
        assert_eq!(arrivals.len(), 1);
        store.commit(&Batch { arrivals, ..Batch::default() }).unwrap();
        let frontier = store.reader().unwrap().frontier().unwrap();
        assert_eq!(frontier, world.here.frontier());
        assert_eq!(frontier.heads(&first.author).len(), 2);
        assert_eq!(store.resume().unwrap().tips.len(), 2);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn all_stores_answer_alike(
        writes in proptest::collection::vec((0..3usize, 1..9usize, 0..5u64, 0..10u8), 1..25),
    ) {
        let mut readers = Vec::new();
        let mut kept = Vec::new();
        for mut stored in stores() {
            let mut world = World::new(3);
            let mut now = 0;
            for (author, entries, later, fork) in &writes {
                now += later;
                match fork {
                    1 => world.restart(*author, 100 + now as u8, &mut *stored.store),
                    2 => pruning::prune_oldest(&mut *stored.store),
                    _ => {}
                }
                let written = world.write(*author, *entries, now, &mut *stored.store);
                if *fork == 0 {
                    world.fork(&written[0].change, &mut *stored.store);
                }
            }
            readers.push(stored.store.reader().unwrap());
            kept.push(stored);
        }
        let [one, others @ ..] = &mut readers[..] else { unreachable!() };
        for two in others {
            answers_alike(&mut **one, &mut **two)?;
        }
    }
}

fn answers_alike<'a>(
    one: &'a mut dyn Reader,
    two: &'a mut dyn Reader,
) -> Result<(), TestCaseError> {
    prop_assert_eq!(one.frontier(), two.frontier());
    pruning::answers_alike(one, two)?;
    let end = one.watermark().unwrap();
    prop_assert_eq!(Ok(end), two.watermark());
    for at in 0..=end.0 {
        for direction in [Direction::Forward, Direction::Backward] {
            let read = [&mut *one, &mut *two]
                .map(|reader| reader.arrivals(Offset(at), direction, 700).map(bare));
            let offsets = [0, 1].map(|n: usize| read[n].as_ref().map(|read| offsets(read)));
            prop_assert_eq!(&offsets[0], &offsets[1], "from {} {:?}", at, direction);
            prop_assert_eq!(&read[0], &read[1]);
        }
        prop_assert_eq!(one.scan(Offset(at), 3), two.scan(Offset(at), 3));
    }
    let mut spans = [one.spans(None).unwrap(), two.spans(None).unwrap()];
    spans.iter_mut().for_each(|spans| spans.sort_by_key(|span| span.strand));
    prop_assert_eq!(&spans[0], &spans[1]);
    for span in &spans[0] {
        prop_assert_eq!(one.extents(span.author), two.extents(span.author));
        let (first, next) = (span.first_seq, span.next_seq);
        prop_assert_eq!(
            one.strands_around(span.author, first, next),
            two.strands_around(span.author, first, next)
        );
        prop_assert_eq!(
            one.sides(span.author, span.strand.segment),
            two.sides(span.author, span.strand.segment)
        );
        for extent in one.extents(span.author).unwrap() {
            let Extent { strand, next_seq, hash, .. } = extent;
            let parent = Parent { next_seq, hash };
            prop_assert_eq!(one.standing(span.author, &parent), two.standing(span.author, &parent));
            let head = Head { segment: strand.segment, next_seq, hash };
            prop_assert_eq!(one.locate(&head), Ok(Some(strand)));
            prop_assert_eq!(two.locate(&head), Ok(Some(strand)));
        }
        for seq in span.first_seq.0..=span.next_seq.0 {
            for direction in [Direction::Forward, Direction::Backward] {
                let read = [&mut *one, &mut *two].map(|reader| {
                    reader.of_strand(span.strand, Seq(seq), direction, 500).map(bare)
                });
                prop_assert_eq!(&read[0], &read[1]);
            }
            let mut found = [one.find(span.author, Seq(seq)), two.find(span.author, Seq(seq))]
                .map(|found| bare(found.unwrap()));
            found.iter_mut().for_each(|found| found.sort_by_key(Arrival::strand));
            prop_assert_eq!(&found[0], &found[1]);
        }
        for millis in 0..span.last_time.millis() + 2 {
            let time = Time::from_millis(millis);
            let (of_one, of_two) = (one.zone_at(span.strand, time), two.zone_at(span.strand, time));
            match (of_one.unwrap(), of_two.unwrap()) {
                (Some(one), Some(two)) => prop_assert!(two.seqs.contains(&one.seqs.start)),
                (one, two) => prop_assert_eq!(one, two),
            }
        }
    }
    Ok(())
}

// What follows is SQLite's alone.

fn sqlite_file() -> (tempfile::TempDir, std::path::PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log.sqlite");
    (directory, path)
}

#[test]
fn a_reopened_file_holds_what_was_committed() {
    let (_directory, path) = sqlite_file();
    let mut store = SqliteStore::open(&path, owner(), [1; 8]).unwrap();
    let (_, all) = World::filled(&mut store);
    drop(store);
    let store = SqliteStore::open(&path, owner(), [2; 8]).unwrap();
    let mut reader = store.reader().unwrap();
    assert_eq!(reader.id(), StoreId([1; 8]));
    assert_eq!(reader.arrivals(Offset(0), Direction::Forward, usize::MAX), Ok(all));
}

#[test]
fn a_file_of_a_newer_version_is_refused_untouched() {
    let (_directory, path) = sqlite_file();
    drop(SqliteStore::open(&path, owner(), [1; 8]).unwrap());
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    drop(connection);
    let before = std::fs::read(&path).unwrap();
    let opened = SqliteStore::open(&path, owner(), [1; 8]).map(|_| ());
    assert_eq!(opened, Err(OpenError::Newer { found: 99, known: sqlite::VERSION }));
    assert_eq!(SqliteReader::open(&path).map(|_| ()), opened);
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[test]
fn a_file_of_another_program_is_refused_untouched() {
    let (_directory, path) = sqlite_file();
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection.execute_batch("CREATE TABLE theirs (x)").unwrap();
    drop(connection);
    let before = std::fs::read(&path).unwrap();
    assert!(matches!(SqliteStore::open(&path, owner(), [1; 8]), Err(OpenError::Foreign(_))));
    assert_eq!(std::fs::read(&path).unwrap(), before);
    std::fs::write(&path, "not a database at all, but long enough to have a header of its own")
        .unwrap();
    assert!(matches!(SqliteStore::open(&path, owner(), [1; 8]), Err(OpenError::Foreign(_))));
}

#[test]
fn a_file_of_another_node_or_cluster_is_refused() {
    let (_directory, path) = sqlite_file();
    drop(SqliteStore::open(&path, owner(), [1; 8]).unwrap());
    let node = Owner { node: NodeId([5; 32]), ..owner() };
    let cluster = Owner { cluster: ClusterId([5; 32]), ..owner() };
    for other in [node, cluster] {
        assert!(matches!(SqliteStore::open(&path, other, [1; 8]), Err(OpenError::Owner { .. })));
    }
}

#[test]
fn a_flipped_payload_byte_is_never_served() {
    let (_directory, path) = sqlite_file();
    let mut store = SqliteStore::open(&path, owner(), [1; 8]).unwrap();
    World::filled(&mut store);
    let connection = rusqlite::Connection::open(&path).unwrap();
    let flip = "UPDATE changes SET bytes = CAST(replace(CAST(bytes AS TEXT), '1/2', '1/7') AS BLOB)
        WHERE offset = 2 RETURNING instr(bytes, '1/7')";
    let flipped: i64 = connection.query_row(flip, [], |row| row.get(0)).unwrap();
    assert!(flipped > 0);
    let mut reader = store.reader().unwrap();
    let read = reader.arrivals(Offset(2), Direction::Forward, 1);
    assert!(matches!(read, Err(StoreError::Lost(_))), "{read:?}");
}

/// What is stored beside the bytes of a change is not in them, and can be altered like them.
#[test]
fn a_flipped_row_is_never_served() {
    for flip in [
        "count = count + 1",
        "position = position + 1",
        "first_seq = first_seq + 90",
        "first_time = first_time - 1",
        "last_time = last_time + 1",
        "hash = zeroblob(32)",
    ] {
        let (_directory, path) = sqlite_file();
        let mut store = SqliteStore::open(&path, owner(), [1; 8]).unwrap();
        World::filled(&mut store);
        let connection = rusqlite::Connection::open(&path).unwrap();
        let update = format!("UPDATE changes SET {flip} WHERE offset = 2");
        assert_eq!(connection.execute(&update, []), Ok(1));
        let read = store.reader().unwrap().arrivals(Offset(2), Direction::Forward, 1);
        assert!(matches!(read, Err(StoreError::Lost(_))), "{flip}: {read:?}");
    }
}

#[test]
fn a_damaged_change_is_noted_and_written_again_at_its_offset() {
    for damaged in ["bytes = zeroblob(length(bytes))", "hash = zeroblob(32)"] {
        let (_directory, path) = sqlite_file();
        let mut store = SqliteStore::open(&path, owner(), [1; 8]).unwrap();
        let (_, all) = World::filled(&mut store);
        let connection = rusqlite::Connection::open(&path).unwrap();
        let update = format!("UPDATE changes SET {damaged} WHERE offset = 5");
        assert_eq!(connection.execute(&update, []), Ok(1));
        let mut reader = store.reader().unwrap();
        assert!(reader.arrivals(Offset(0), Direction::Forward, usize::MAX).is_err());
        let [lost] = store.damages().all()[..] else { panic!("one change is lost") };
        assert_eq!((lost.offset, lost.strand), (Offset(5), all[2].strand()));
        let mended = vec![(lost, vec![all[2].change.clone()])];
        store.commit(&Batch { mended, ..Batch::default() }).unwrap();
        assert_eq!(store.damages().all(), []);
        let read = reader.arrivals(Offset(0), Direction::Forward, usize::MAX);
        assert_eq!(read, Ok(all));
    }
}

/// How many rows a table has.
fn rows(path: &std::path::Path, table: &str) -> i64 {
    let connection = rusqlite::Connection::open(path).unwrap();
    connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
}

#[test]
fn a_large_change_is_a_block_at_once_and_a_small_one_a_row() {
    let (_directory, path) = sqlite_file();
    let mut store = SqliteStore::open(&path, owner(), [1; 8]).unwrap();
    let mut world = World::new(1);
    world.write(0, 300, 1_000, &mut store);
    world.write(0, 3, 1_001, &mut store);
    assert_eq!((rows(&path, "blocks"), rows(&path, "changes")), (1, 1));
    assert_eq!(store.reader().unwrap().frontier(), Ok(world.here.frontier()));
}

#[test]
fn many_small_changes_become_one_block_in_the_place_of_their_rows() {
    let (_directory, path) = sqlite_file();
    let mut store = SqliteStore::open(&path, owner(), [1; 8]).unwrap();
    let mut world = World::new(2);
    let turn = |n: u64| (n as usize % 2, 100, 1_000 + n);
    let written: Vec<Arrival> = (0..12)
        .map(turn)
        .flat_map(|(author, entries, now)| world.write(author, entries, now, &mut store))
        .collect();
    let mut reader = store.reader().unwrap();
    assert_eq!(rows(&path, "changes"), 12);
    let worth = reader.sealable(Offset(0)).unwrap();
    assert_eq!(worth.iter().map(Vec::len).collect::<Vec<_>>(), [6, 6]);
    let sealed = worth.iter().map(|arrivals| block::pack(arrivals).unwrap()).collect();
    store.commit(&Batch { sealed, ..Batch::default() }).unwrap();
    assert_eq!((rows(&path, "changes"), rows(&path, "blocks")), (0, 2));
    assert_eq!(reader.sealable(Offset(u64::MAX)), Ok(Vec::new()));
    let read = reader.arrivals(Offset(0), Direction::Forward, usize::MAX).unwrap();
    assert_eq!(bare(read), bare(written));
}

#[test]
fn an_altered_block_is_never_served() {
    for flip in [
        "record = CAST(substr(record, 1, length(record) - 9) || zeroblob(9) AS BLOB)",
        "position = position + 1",
        "first_seq = first_seq + 1",
        "next_seq = next_seq + 1",
        "first_time = first_time - 1",
        "last_time = last_time + 1",
        "hash = zeroblob(32)",
        "arrivals = zeroblob(2)",
    ] {
        let (_directory, path) = sqlite_file();
        let mut store = SqliteStore::open(&path, owner(), [1; 8]).unwrap();
        World::new(1).write(0, 300, 1_000, &mut store);
        let connection = rusqlite::Connection::open(&path).unwrap();
        assert_eq!(connection.execute(&format!("UPDATE blocks SET {flip}"), []), Ok(1));
        let read = store.reader().unwrap().arrivals(Offset(0), Direction::Forward, 1);
        assert!(matches!(read, Err(StoreError::Lost(_))), "{flip}: {read:?}");
    }
}

#[test]
fn a_damaged_block_is_mended_by_what_comes_in_several_runs() {
    let (_directory, path) = sqlite_file();
    let mut store = SqliteStore::open(&path, owner(), [1; 8]).unwrap();
    let mut world = World::new(1);
    let write = |n: u64| world.write(0, 100, 1_000 + n, &mut store);
    let written: Vec<Arrival> = (0..6).flat_map(write).collect();
    let mut reader = store.reader().unwrap();
    let worth = reader.sealable(Offset(0)).unwrap();
    let sealed = worth.iter().map(|arrivals| block::pack(arrivals).unwrap()).collect();
    store.commit(&Batch { sealed, ..Batch::default() }).unwrap();
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection.execute("UPDATE blocks SET record = zeroblob(length(record))", []).unwrap();
    assert!(reader.arrivals(Offset(7), Direction::Forward, 1).is_err());
    let mut mender = mending::Mender::default();
    let mut come = |changes: &[Arrival]| {
        let mut changes = changes.iter().map(|arrival| arrival.change.clone()).collect();
        mender.mend(&mut *reader, &store.damages(), &mut changes).unwrap()
    };
    assert_eq!(come(&written[..2]), []);
    assert_eq!(come(&written[3..]), [], "the third one is missing");
    let mended = come(&written[2..3]);
    assert_eq!(mended.len(), 1);
    store.commit(&Batch { mended, ..Batch::default() }).unwrap();
    assert_eq!(store.damages().all(), []);
    let read = reader.arrivals(Offset(0), Direction::Forward, usize::MAX).unwrap();
    assert_eq!(bare(read), bare(written));
}

/// Two authors take turns, and each one's changes are a block; the first one's is damaged.
fn with_a_damaged_block(store: &mut dyn Store, damage: impl FnOnce()) -> Vec<Arrival> {
    let mut world = World::new(2);
    let turn = |n: u64| world.write(n as usize % 2, 1, 1_000 + n, store);
    let written = (0..6).flat_map(turn).collect();
    let worth = store.reader().unwrap().sealable(Offset(u64::MAX)).unwrap();
    let sealed = worth.iter().map(|arrivals| block::pack(arrivals).unwrap()).collect();
    store.commit(&Batch { sealed, ..Batch::default() }).unwrap();
    damage();
    written
}

#[test]
fn what_lies_between_the_pieces_of_a_damaged_block_is_read() {
    let (_directory, path) = sqlite_file();
    let mut sqlite = SqliteStore::open(&path, owner(), [1; 8]).unwrap();
    let mut memory = MemoryStore::new(StoreId([1; 8]), owner());
    let held = memory.clone();
    let spoil = "UPDATE blocks SET record = zeroblob(8) WHERE arrivals IN
        (SELECT arrivals FROM blocks JOIN pieces ON block = blocks.id WHERE offset = 2)";
    let written = with_a_damaged_block(&mut sqlite, || {
        assert_eq!(rusqlite::Connection::open(&path).unwrap().execute(spoil, []), Ok(1));
    });
    with_a_damaged_block(&mut memory, || held.damage(Offset(2)).unwrap());
    for store in [&mut sqlite as &mut dyn Store, &mut memory] {
        let mut reader = store.reader().unwrap();
        let (mut at, mut read, mut lost) = (Offset(0), Vec::new(), 0);
        while at < Offset(6) {
            let stretch = ranges::stretch(&mut *reader, at, usize::MAX).unwrap();
            assert!(stretch.next > at);
            (at, lost) = (stretch.next, lost + usize::from(stretch.lost.is_some()));
            read.extend(stretch.arrivals);
        }
        assert_eq!((offsets(&read), lost), (vec![1, 3, 5], 3));
        assert_eq!(bare(read), bare(written.iter().skip(1).step_by(2).cloned()));
    }
}

#[test]
fn what_is_whole_before_what_is_damaged_is_sent() {
    let (_directory, path) = sqlite_file();
    let mut sqlite = SqliteStore::open(&path, owner(), [1; 8]).unwrap();
    let mut memory = MemoryStore::new(StoreId([1; 8]), owner());
    let held = memory.clone();
    let mut written = Vec::new();
    for store in [&mut sqlite as &mut dyn Store, &mut memory] {
        let mut world = World::new(1);
        written = (0..4).flat_map(|n| world.write(0, 1, 1_000 + n, store)).collect();
    }
    let spoil = "UPDATE changes SET bytes = zeroblob(length(bytes)) WHERE offset = 2";
    assert_eq!(rusqlite::Connection::open(&path).unwrap().execute(spoil, []), Ok(1));
    held.damage(Offset(2)).unwrap();
    let (author, strand) = (written[0].change.author, written[0].strand());
    for store in [&mut sqlite as &mut dyn Store, &mut memory] {
        let mut reader = store.reader().unwrap();
        let mut sent = |from| {
            let range = Range { author, strand, from: Seq(from), to: Seq(4) };
            let run = ranges::fetch(&mut *reader, range).unwrap();
            run.map(|run| run.next_seq())
        };
        assert_eq!([0, 1, 2, 3].map(&mut sent), [Some(Seq(1)), Some(Seq(2)), None, Some(Seq(4))]);
    }
}

/// A row was damaged and noted, and then a block, packed when it was whole, took its place.
#[test]
fn a_block_that_took_the_place_of_a_damaged_row_is_not_overwritten_by_what_mends_the_row() {
    for mut stored in stores() {
        let mut world = World::new(1);
        let write = |n: u64| world.write(0, 1, 1_000 + n, &mut *stored.store);
        let written: Vec<Arrival> = (0..3).flat_map(write).collect();
        let mut reader = stored.store.reader().unwrap();
        let worth = reader.sealable(Offset(u64::MAX)).unwrap();
        let sealed: Vec<Sealed> =
            worth.iter().map(|arrivals| block::pack(arrivals).unwrap()).collect();
        stored.store.commit(&Batch { sealed, ..Batch::default() }).unwrap();
        let mended = vec![(damage::Lost::of(&written[0]), vec![written[0].change.clone()])];
        stored.store.commit(&Batch { mended, ..Batch::default() }).unwrap();
        let read = reader.arrivals(Offset(0), Direction::Forward, usize::MAX);
        assert_eq!(read.map(bare), Ok(bare(written)));
    }
}

/// What waited for the rest of a block joins the log with it.
#[test]
fn a_record_is_kept_for_the_changes_that_it_was_packed_of_only() {
    let mut store = MemoryStore::new(StoreId([1; 8]), owner());
    let mut world = World::new(1);
    let write = |n: u64| world.write(0, 1, 1_000 + n, &mut store);
    let written: Vec<Arrival> = (0..3).flat_map(write).collect();
    let changes: Vec<Change> = written.iter().map(|arrival| arrival.change.clone()).collect();
    let came = || Came::of(&changes[..2], bytes::Bytes::from_static(b"record")).unwrap();
    let kept = came().kept(&written[..2]).unwrap();
    assert_eq!((kept.offset, kept.changes), (Offset(0), 2));
    assert_eq!(came().kept(&written[1..]), None, "the first was here, the third had waited");
    assert_eq!(came().kept(&written), None);
    assert_eq!(came().kept(&written[..1]), None);
    assert_eq!(came().kept(&[]), None);
    let longer = vec![0; 1 + changes[0].bytes.len()];
    assert_eq!(Came::of(&changes[..1], longer.into()), None, "it packs nothing");
}

/// Both sides are asked for, and come mixed.
#[test]
fn a_damaged_block_of_a_forked_segment_is_mended_though_the_other_side_comes_too() {
    let mut store = MemoryStore::new(StoreId([1; 8]), owner());
    let mut world = World::new(1);
    let write = |n: u64| world.write(0, 1, 1_000 + n, &mut store);
    let written: Vec<Arrival> = (0..6).flat_map(write).collect();
    let forked = [0, 3].map(|at| world.fork(&written[at].change, &mut store).remove(0));
    let mut reader = store.reader().unwrap();
    let worth = reader.sealable(Offset(u64::MAX)).unwrap();
    let sealed = worth.iter().map(|arrivals| block::pack(arrivals).unwrap()).collect();
    store.commit(&Batch { sealed, ..Batch::default() }).unwrap();
    store.damage(Offset(0)).unwrap();
    assert!(reader.arrivals(Offset(0), Direction::Forward, 1).is_err());
    let mut mender = mending::Mender::default();
    let mut come = |changes: &[Arrival]| {
        let mut changes = changes.iter().map(|arrival| arrival.change.clone()).collect();
        mender.mend(&mut *reader, &store.damages(), &mut changes).unwrap()
    };
    assert_eq!(come(&written[..2]), []);
    assert_eq!(come(&forked[..1]), []);
    assert_eq!(come(&written[2..4]), []);
    assert_eq!(come(&forked[1..]), []);
    let mended = come(&written[4..]);
    let changes: Vec<ChangeHash> = mended[0].1.iter().map(|change| change.hash).collect();
    assert_eq!(changes, written.iter().map(|arrival| arrival.change.hash).collect::<Vec<_>>());
    store.commit(&Batch { mended, ..Batch::default() }).unwrap();
    assert_eq!(store.damages().all(), []);
}

/// The sides of a fork begin at one seq, and both are sent for what is lost there.
fn mends_by_the_right_side(store: &mut dyn Store, damage: impl FnOnce()) {
    let mut world = World::new(1);
    let written: Vec<Arrival> = (0..3).flat_map(|n| world.write(0, 1, 1_000 + n, store)).collect();
    let forked = world.fork(&written[1].change, store).remove(0);
    damage();
    let mut reader = store.reader().unwrap();
    assert!(reader.arrivals(Offset(1), Direction::Forward, 1).is_err());
    let mut mender = mending::Mender::default();
    let mut come = |change: &Change| {
        let mut changes = vec![change.clone()];
        mender.mend(&mut *reader, &store.damages(), &mut changes).unwrap()
    };
    assert_eq!(come(&forked.change), []);
    let mended = come(&written[1].change);
    assert_eq!(mended[0].1, [written[1].change.clone()]);
    store.commit(&Batch { mended, ..Batch::default() }).unwrap();
    let read = reader.arrivals(Offset(0), Direction::Forward, usize::MAX);
    assert_eq!(read.map(bare), Ok(bare(written.into_iter().chain([forked]))));
}

#[test]
fn a_damaged_change_is_not_mended_by_the_other_side_of_its_fork() {
    let (_directory, path) = sqlite_file();
    let mut store = SqliteStore::open(&path, owner(), [1; 8]).unwrap();
    mends_by_the_right_side(&mut store, || {
        let spoil = "UPDATE changes SET bytes = zeroblob(length(bytes)) WHERE offset = 1";
        assert_eq!(rusqlite::Connection::open(&path).unwrap().execute(spoil, []), Ok(1));
    });
    let mut store = MemoryStore::new(StoreId([1; 8]), owner());
    let held = store.clone();
    mends_by_the_right_side(&mut store, || held.damage(Offset(1)).unwrap());
}

#[test]
fn a_batch_that_fails_leaves_nothing_behind() {
    let (_directory, path) = sqlite_file();
    let mut store = SqliteStore::open(&path, owner(), [1; 8]).unwrap();
    let (_, all) = World::filled(&mut store);
    let mut world = World::new(3);
    let mut elsewhere = MemoryStore::new(StoreId([2; 8]), owner());
    let mut good = world.write(2, 1, 5_000, &mut elsewhere).remove(0);
    good.offset = Offset(18);
    // The second change of the batch takes a place that is taken.
    let batch = Batch { arrivals: vec![good, all[0].clone()], ..Batch::default() };
    assert!(matches!(store.commit(&batch), Err(StoreError::Failed(_))));
    let mut reader = store.reader().unwrap();
    assert_eq!(reader.watermark(), Ok(Offset(18)));
    assert_eq!(reader.frontier().unwrap().len(), 2);
}
