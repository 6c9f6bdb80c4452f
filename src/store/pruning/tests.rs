//! What every store promises of segments whose entries it removes.

use super::*;
use crate::core::log::Adopted;
use crate::core::pruned::Pruned;
use crate::core::segment::Opening;
use crate::core::series::{Series, Stretch};
use crate::store::pruning::{Finished, Mark};
use crate::words::{Tenant, Topic};

/// Removes what was finished first, if anything is, as the node does: entries, then index.
pub fn prune_oldest(store: &mut dyn Store) {
    let finished = store.reader().unwrap().finished().unwrap();
    let pruned = finished.iter().take(1).map(|finished| finished.strand).collect();
    store.commit(&Batch { pruned, ..Batch::default() }).unwrap();
    let trimmed = vec![Series::feed(Tenant::default()), thread()];
    store.commit(&Batch { trimmed, ..Batch::default() }).unwrap();
}

/// Where all entries of these tests are.
fn thread() -> Series {
    Series::thread(Tenant::default(), Topic::parse("t").unwrap())
}

pub fn answers_alike(one: &mut dyn Reader, two: &mut dyn Reader) -> Result<(), TestCaseError> {
    prop_assert_eq!(one.pruned(None), two.pruned(None));
    prop_assert_eq!(one.gone(), two.gone());
    prop_assert_eq!(one.marks(), two.marks());
    let finished = |reader: &mut dyn Reader| {
        let finished = reader.finished().unwrap().into_iter();
        finished.map(|finished| Finished { bytes: 0, ..finished }).collect::<Vec<_>>()
    };
    prop_assert_eq!(finished(one), finished(two));
    let end = one.watermark().unwrap();
    for at in (0..=end.0).map(Offset) {
        prop_assert_eq!(one.hole_at(at), two.hole_at(at));
        if one.hole_at(at).unwrap().is_some() {
            prop_assert_eq!(one.end_at(at), two.end_at(at));
        }
        let zones = |reader: &mut dyn Reader| {
            let zones = reader.zones_by_arrival(at, Direction::Forward, 1).unwrap();
            zones.first().map(|zone| zone.offsets.contains(&at))
        };
        prop_assert_eq!(zones(one), zones(two));
    }
    for pruned in one.pruned(None).unwrap() {
        for next in pruned.first_seq().0..=pruned.next_seq.0 + 1 {
            for hash in [pruned.hash, ChangeHash([0; 32])] {
                let parent = Parent { next_seq: Seq(next), hash };
                let author = pruned.author();
                prop_assert_eq!(one.standing(author, &parent), two.standing(author, &parent));
                let head = Head { next_seq: Seq(next), hash, ..pruned.head() };
                prop_assert_eq!(one.locate(&head), two.locate(&head));
            }
        }
    }
    let ordinals = |reader: &mut dyn Reader, from, direction| {
        let read = reader.of_series(&thread(), from, direction, 300).unwrap();
        read.into_iter().map(|(stretch, _)| stretch).collect::<Vec<Stretch>>()
    };
    let entries = one.standing_of(&thread()).unwrap();
    prop_assert_eq!(&entries, &two.standing_of(&thread()).unwrap());
    for from in 0..=entries.map_or(0, |standing| standing.entries) + 1 {
        for direction in [Direction::Forward, Direction::Backward] {
            prop_assert_eq!(ordinals(one, from, direction), ordinals(two, from, direction));
        }
        prop_assert_eq!(
            one.entries_before(&thread(), Offset(from)),
            two.entries_before(&thread(), Offset(from))
        );
    }
    Ok(())
}

/// Two segments of one author, with an entry of another one in the middle of the first.
fn two_segments(store: &mut dyn Store) -> (World, Vec<Arrival>) {
    let mut world = World::new(2);
    let mut all = world.write(0, 3, 1_000, store);
    all.extend(world.write(1, 1, 1_001, store));
    all.extend(world.write(0, 2, 1_002, store));
    world.restart(0, 50, store);
    all.extend(world.write(0, 4, 1_003, store));
    (world, all)
}

fn first_segment(all: &[Arrival]) -> Strand {
    all[0].strand()
}

fn prune(store: &mut dyn Store, strand: Strand) {
    store.commit(&Batch { pruned: vec![strand], ..Batch::default() }).unwrap();
}

#[test]
fn only_a_segment_that_another_one_continues_can_be_pruned() {
    for mut stored in stores() {
        let store = &mut *stored.store;
        let (_, all) = two_segments(store);
        let finished = store.reader().unwrap().finished().unwrap();
        assert_eq!(finished.iter().map(|f| f.strand).collect::<Vec<_>>(), [first_segment(&all)]);
        assert_eq!((finished[0].entries(), finished[0].end), (5, Offset(6)));
        prune(store, all[3].strand()); // the tip, and nothing happens
        prune(store, all[1].strand());
        assert_eq!(store.reader().unwrap().gone().unwrap().entries, 0);
    }
}

#[test]
fn a_segment_of_an_author_who_forked_is_kept() {
    for mut stored in stores() {
        let store = &mut *stored.store;
        let (mut world, all) = two_segments(store);
        world.fork(&all[2].change, store);
        assert_eq!(store.reader().unwrap().finished(), Ok(Vec::new()));
        prune(store, first_segment(&all));
        assert_eq!(store.reader().unwrap().gone().unwrap().entries, 0);
    }
}

#[test]
fn what_is_left_keeps_its_offsets_seqs_and_ordinals() {
    for mut stored in stores() {
        let store = &mut *stored.store;
        let (mut world, all) = two_segments(store);
        prune(store, first_segment(&all));
        let trimmed = vec![thread(), Series::feed(Tenant::default())];
        store.commit(&Batch { trimmed, ..Batch::default() }).unwrap();
        let mut reader = store.reader().unwrap();
        let left: Vec<Arrival> =
            all.iter().filter(|a| a.strand() != first_segment(&all)).cloned().collect();
        let read = reader.arrivals(Offset(0), Direction::Forward, usize::MAX).unwrap();
        assert_eq!(bare(read), bare(left.clone()));
        let mut back = reader.arrivals(Offset(10), Direction::Backward, usize::MAX).unwrap();
        back.reverse();
        assert_eq!(bare(back), bare(left.clone()));
        assert_eq!(reader.hole_at(Offset(1)), Ok(Some(Offset(0)..Offset(3))));
        assert_eq!(reader.hole_at(Offset(3)), Ok(None));
        assert_eq!(reader.hole_at(Offset(5)), Ok(Some(Offset(4)..Offset(6))));
        assert_eq!(reader.watermark(), Ok(Offset(10)));
        assert_eq!(reader.scan(Offset(0), 9).unwrap().0.len(), 2);
        let ordinals = reader.of_series(&thread(), 0, Direction::Forward, usize::MAX).unwrap();
        let ordinals: Vec<_> = ordinals.iter().map(|(s, _)| (s.before, s.count)).collect();
        assert_eq!(ordinals, [(3, 1), (6, 4)]);
        assert_eq!(reader.standing_of(&thread()).unwrap().unwrap().hidden, 3);
        assert_eq!(reader.find(all[0].change.author, Seq(1)), Ok(Vec::new()));
        reader.check_structure().unwrap();
        // The log goes on from there, also after the store was opened again.
        let offset = store.resume().unwrap().next_offset;
        assert_eq!(offset, Offset(10));
        let more = world.write(0, 2, 1_004, store);
        assert_eq!(offsets(&more), [10]);
    }
}

#[test]
fn of_a_pruned_segment_its_signed_end_stays_and_nothing_of_it_joins_the_log_again() {
    for mut stored in stores() {
        let store = &mut *stored.store;
        let (mut world, all) = two_segments(store);
        let frontier = store.reader().unwrap().frontier();
        let extents = store.reader().unwrap().extents(all[0].change.author);
        prune(store, first_segment(&all));
        let mut reader = store.reader().unwrap();
        assert_eq!(reader.frontier(), frontier);
        assert_eq!(reader.extents(all[0].change.author), extents);
        let pruned: Vec<Pruned> = reader.pruned(None).unwrap();
        assert_eq!(pruned.len(), 1);
        assert_eq!((pruned[0].changes, pruned[0].next_seq), (2, Seq(5)));
        assert_eq!(pruned[0].check(CLUSTER), Ok(()));
        let (author, last) = (all[0].change.author, &all[2].change);
        let end = Parent { next_seq: Seq(5), hash: last.hash };
        assert_eq!(reader.standing(author, &end).unwrap().unwrap().tip.last_time, last.last_time);
        let again = [all[0].change.clone(), all[2].change.clone()];
        let applied = world.here.apply(again.to_vec(), 2_000, &mut *reader).unwrap();
        assert_eq!((applied.duplicates, applied.arrivals.len(), applied.pending), (2, 0, 0));
    }
}

/// A node restored from an old backup continues after a change that was pruned here: its author says
/// so, and nobody can know better.
#[test]
fn a_segment_that_continues_inside_a_pruned_one_joins_as_a_branch() {
    for mut stored in stores() {
        let store = &mut *stored.store;
        let (mut world, all) = two_segments(store);
        prune(store, first_segment(&all));
        let old = all[0].change.clone();
        world.restore(0, &old);
        let arrived = world.write(0, 1, 1_005, store);
        assert_eq!(arrived.len(), 1);
        assert_eq!(store.reader().unwrap().frontier().unwrap().heads(&old.author).len(), 2);
    }
}

#[test]
fn what_no_peer_holds_any_more_is_taken_over_and_what_follows_joins() {
    for mut stored in stores() {
        let store = &mut *stored.store;
        let (_, all) = two_segments(store);
        prune(store, first_segment(&all));
        let chain = store.reader().unwrap().pruned(None).unwrap();
        for held in [0, 1] {
            for mut late in stores() {
                let late = &mut *late.store;
                let mut world = World::new(2);
                // What came of the segment before it was pruned elsewhere stays.
                world.hear(all[..held].iter().map(|a| a.change.clone()).collect(), 0, late);
                let mut past = late.reader().unwrap();
                let nothing = world.here.adopt(chain.clone(), &mut *past).unwrap();
                assert_eq!(nothing, None, "its author has not vouched for it");
                let next = all[3].change.clone();
                let applied = world.here.apply(vec![next.clone()], 0, &mut *past).unwrap();
                assert_eq!(applied.pending, 1);
                let adopted = world.here.adopt(chain.clone(), &mut *past).unwrap().unwrap();
                let Adopted { pruned: adopted, waited } = adopted;
                assert_eq!((&adopted, &waited), (&chain, &vec![next]));
                let arrivals = world.here.apply(waited, 0, &mut *past).unwrap().arrivals;
                // What was removed follows what is held of it, and may still come: before and after.
                let removed = vec![all[2].change.clone()];
                let before = world.here.apply(removed.clone(), 0, &mut *past).unwrap();
                assert_eq!((before.duplicates, before.arrivals.len()), (1, 0));
                late.commit(&Batch { adopted, arrivals, ..Batch::default() }).unwrap();
                world.here.committed();
                let mut reader = late.reader().unwrap();
                let after = world.here.apply(removed, 0, &mut *reader).unwrap();
                assert_eq!((after.duplicates, after.arrivals.len()), (1, 0));
                assert_eq!(reader.frontier(), Ok(world.here.frontier()));
                assert_eq!(reader.branched(), Ok(Vec::new()));
                assert_eq!(reader.pruned(None), Ok(chain.clone()));
                let there = reader.arrivals(Offset(0), Direction::Forward, usize::MAX).unwrap();
                assert_eq!(there.len(), held + 1);
                reader.check_structure().unwrap();
            }
        }
    }
}

/// A node restored from an old backup went on from where this one holds its segment in part.
#[test]
fn what_stays_of_a_segment_is_taken_over_though_a_branch_continues_inside_it() {
    for mut stored in stores() {
        let (_, all) = two_segments(&mut *stored.store);
        prune(&mut *stored.store, first_segment(&all));
        let chain = stored.store.reader().unwrap().pruned(None).unwrap();
        for mut late in stores() {
            let late = &mut *late.store;
            let (mut world, author) = (World::new(2), all[0].change.author);
            world.hear(vec![all[0].change.clone()], 0, late);
            world.restore(0, &all[0].change);
            let branch = world.write(0, 1, 1_005, late);
            let mut past = late.reader().unwrap();
            world.here.apply(vec![all[3].change.clone()], 0, &mut *past).unwrap();
            let Adopted { pruned, waited } =
                world.here.adopt(chain.clone(), &mut *past).unwrap().unwrap();
            assert_eq!(pruned, chain);
            let arrivals = world.here.apply(waited, 0, &mut *past).unwrap().arrivals;
            late.commit(&Batch { adopted: pruned, arrivals, ..Batch::default() }).unwrap();
            world.here.committed();
            let mut reader = late.reader().unwrap();
            let frontier = reader.frontier().unwrap();
            assert_eq!(frontier, world.here.frontier());
            let ends =
                |head: &Head| [&branch[0], &all[3]].map(|a| a.change.hash).contains(&head.hash);
            assert!(frontier.heads(&author).len() == 2 && frontier.heads(&author).iter().all(ends));
            assert_eq!(reader.branched(), Ok(vec![author]));
            reader.check_structure().unwrap();
        }
    }
}

#[test]
fn a_chain_with_a_hole_or_of_a_forger_is_not_taken_over() {
    let mut stored = stores().into_iter().next().unwrap();
    let (_, all) = two_segments(&mut *stored.store);
    prune(&mut *stored.store, first_segment(&all));
    let chain = stored.store.reader().unwrap().pruned(None).unwrap();
    let elsewhere = Parent { next_seq: Seq(0), hash: ChangeHash([7; 32]) };
    let opening = Opening { parents: vec![elsewhere], ..chain[0].opening.clone() };
    let shorter = Pruned { next_seq: Seq(4), ..chain[0].clone() };
    for wrong in [Pruned { opening, ..chain[0].clone() }, shorter] {
        let mut late = stores().into_iter().next().unwrap();
        let mut world = World::new(2);
        world.hear(vec![all[3].change.clone()], 0, &mut *late.store);
        let mut past = late.store.reader().unwrap();
        assert_eq!(world.here.adopt(vec![wrong], &mut *past).unwrap(), None);
        assert!(late.store.reader().unwrap().frontier().unwrap().is_empty());
    }
}

#[test]
fn marks_of_running_time_are_kept_in_order() {
    for mut stored in stores() {
        for (running, offset) in [(5, 1), (9, 4), (9, 6)] {
            let mark = Some(Mark { running, offset: Offset(offset) });
            stored.store.commit(&Batch { mark, ..Batch::default() }).unwrap();
        }
        let marks = stored.store.reader().unwrap().marks().unwrap();
        let marks: Vec<_> = marks.iter().map(|mark| (mark.running, mark.offset.0)).collect();
        assert_eq!(marks, [(5, 1), (9, 6)]);
    }
}

#[test]
fn the_room_of_what_was_removed_is_given_back() {
    let (_directory, path) = sqlite_file();
    let mut store = SqliteStore::open(&path, owner(), [1; 8]).unwrap();
    let mut world = World::new(1);
    for lifetime in 0..3 {
        for _ in 0..8 {
            let mut state = u64::from(lifetime) + 1;
            let mut letter = || {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                char::from(b'A' + (state >> 58) as u8)
            };
            let noise: String = (0..80_000).map(|_| letter()).collect();
            let draft = Draft::text("t", "k", noise).unwrap();
            let written = world.logs[0].append(&[draft], 1_000).unwrap();
            world.logs[0].committed();
            let changes = written.into_iter().map(|arrival| arrival.change).collect();
            world.hear(changes, 1_000, &mut store);
        }
        world.restart(0, 90 + lifetime, &mut store);
    }
    world.write(0, 1, 1_000, &mut store);
    let size = |path: &std::path::Path| std::fs::metadata(path).unwrap().len();
    let checkpoint = |path: &std::path::Path| {
        let connection = rusqlite::Connection::open(path).unwrap();
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    };
    checkpoint(&path);
    let before = size(&path);
    for _ in 0..3 {
        prune_oldest(&mut store);
    }
    while store.reclaim().unwrap() {}
    checkpoint(&path);
    let after = size(&path);
    assert!(after < before, "{before} bytes before, {after} after");
    store.reader().unwrap().check_structure().unwrap();
}
