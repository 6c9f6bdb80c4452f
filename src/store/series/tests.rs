//! Series: both stores against a model that is a list of entries.

use super::*;
use crate::core::archive::Cut;
use crate::core::series::{Series, Standing};
use crate::words::entry::View;
use crate::words::{Tenant, Topic};

const TENANTS: [&str; 2] = ["acme", "default"];
const TOPICS: [&str; 2] = ["t", "u"];

fn thread(tenant: usize, topic: usize) -> Series {
    let tenant = Tenant::parse(TENANTS[tenant]).unwrap();
    Series::thread(tenant, Topic::parse(TOPICS[topic]).unwrap())
}

fn all_series() -> Vec<Series> {
    let threads = (0..4).map(|n| thread(n / 2, n % 2));
    let feeds = TENANTS.iter().map(|tenant| Series::feed(Tenant::parse(tenant).unwrap()));
    threads.chain(feeds).collect()
}

/// What one author writes in one change: entries of threads, or what it archives of one.
#[derive(Clone, Debug)]
enum Write {
    Notes(Vec<(usize, usize)>),
    Archive(usize, usize, u64),
}

fn write() -> impl Strategy<Value = (usize, Write)> {
    let notes = proptest::collection::vec((0..2usize, 0..2usize), 1..6).prop_map(Write::Notes);
    let archive = (0..2usize, 0..2usize, 0..12u64).prop_map(|(a, b, n)| Write::Archive(a, b, n));
    (0..2usize, prop_oneof![4 => notes, 1 => archive])
}

/// Everything that arrived, in order: author, seq, tenant, topic.
type Model = Vec<(NodeId, Seq, String, String)>;

fn of_model(model: &Model, series: &Series) -> Vec<(NodeId, Seq)> {
    let topic = series.topic.as_ref().map(Topic::as_str);
    let held = model.iter().filter(|(_, _, tenant, of)| {
        tenant == series.tenant.as_str() && topic.is_none_or(|topic| topic == of)
    });
    held.map(|(author, seq, ..)| (*author, *seq)).collect()
}

fn play(writes: &[(usize, Write)], store: &mut dyn Store) -> (Model, Vec<(Series, NodeId, Seq)>) {
    let mut world = World::new(2);
    let (mut model, mut cuts) = (Model::new(), Vec::new());
    for (now, (author, write)) in (1_000..).zip(writes) {
        let note = |(tenant, topic): &(usize, usize)| {
            let draft = Draft::text(TOPICS[*topic], "note", "x").unwrap();
            draft.for_tenant(TENANTS[*tenant]).unwrap()
        };
        let drafts: Vec<Draft> = match write {
            Write::Notes(notes) => notes.iter().map(note).collect(),
            Write::Archive(tenant, topic, seq) => {
                let Series { tenant, topic } = thread(*tenant, *topic);
                let whose = world.logs[1 - author].node();
                let through = [(whose, Seq(*seq))].into();
                let cut = Cut::new(tenant, topic.unwrap(), through);
                cuts.push((cut.series(), whose, Seq(*seq)));
                vec![cut.draft().unwrap()]
            }
        };
        let written = world.logs[*author].append(&drafts, now).unwrap();
        world.logs[*author].committed();
        let changes = written.into_iter().map(|arrival| arrival.change).collect();
        for arrival in world.hear(changes, now, store) {
            for (at, bytes) in (0..).zip(arrival.change.chunk().unwrap().entries()) {
                let view = View::read(bytes).unwrap();
                let (tenant, topic) = (view.tenant.to_owned(), view.topic.to_owned());
                model.push((
                    arrival.change.author,
                    arrival.change.first_seq.plus(at),
                    tenant,
                    topic,
                ));
            }
        }
    }
    (model, cuts)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn both_stores_number_entries_as_a_list_does(writes in proptest::collection::vec(write(), 1..20)) {
        for mut stored in stores() {
            let (model, cuts) = play(&writes, &mut *stored.store);
            let mut reader = stored.store.reader().unwrap();
            reader.check_structure().unwrap();
            for series in all_series() {
                let listed = of_model(&model, &series);
                let standing = reader.standing_of(&series).unwrap();
                let cut = cuts.iter().any(|(of, ..)| *of == series);
                prop_assert_eq!(standing.is_some(), cut || !listed.is_empty());
                let standing = standing.unwrap_or_default();
                prop_assert_eq!(standing.entries, listed.len() as u64);
                hides_what_the_cuts_say(&standing, &listed, &cuts, &series)?;
                reads_from_everywhere(&mut *reader, &series, &listed)?;
            }
        }
    }
}

fn hides_what_the_cuts_say(
    standing: &Standing,
    listed: &[(NodeId, Seq)],
    cuts: &[(Series, NodeId, Seq)],
    series: &Series,
) -> Result<(), TestCaseError> {
    let hidden = |(author, seq): &(NodeId, Seq)| {
        cuts.iter().any(|(of, whose, through)| of == series && whose == author && seq <= through)
    };
    for entry in listed {
        prop_assert_eq!(standing.is_archived(entry.0, entry.1), hidden(entry));
    }
    // A change that is cut in two is not said to be hidden, and what came later may be.
    let first = listed.iter().take_while(|entry| hidden(entry)).count() as u64;
    prop_assert!(standing.hidden <= first);
    Ok(())
}

fn reads_from_everywhere(
    reader: &mut dyn Reader,
    series: &Series,
    listed: &[(NodeId, Seq)],
) -> Result<(), TestCaseError> {
    let end = listed.len() as u64;
    for from in 0..=end + 1 {
        let ahead = reader.of_series(series, from, Direction::Forward, usize::MAX).unwrap();
        let same = reader.stretches(series, from, Direction::Forward, 100).unwrap();
        prop_assert_eq!(ahead.iter().map(|(it, _)| *it).collect::<Vec<_>>(), same);
        let first = ahead.first().map_or(end, |(it, _)| it.before);
        prop_assert!(first < from.max(1));
        prop_assert_eq!(ahead.last().map_or(end, |(it, _)| it.end()), end);
        let read: Vec<(NodeId, Seq)> = ahead.iter().flat_map(|(_, a)| held(series, a)).collect();
        prop_assert_eq!(&read[..], &listed[first as usize..]);
        let mut back = reader.of_series(series, from, Direction::Backward, usize::MAX).unwrap();
        back.reverse();
        let last = back.last().map_or(0, |(it, _)| it.end());
        prop_assert!(last >= from.min(end));
        let read: Vec<(NodeId, Seq)> = back.iter().flat_map(|(_, a)| held(series, a)).collect();
        prop_assert_eq!(&read[..], &listed[..last as usize]);
        for (stretch, _) in &ahead {
            prop_assert_eq!(reader.entries_before(series, stretch.offset), Ok(stretch.before));
            prop_assert_eq!(
                reader.entries_before(series, stretch.offset.plus(1)),
                Ok(stretch.end())
            );
        }
    }
    Ok(())
}

fn held(series: &Series, arrival: &Arrival) -> Vec<(NodeId, Seq)> {
    let chunk = arrival.change.chunk().unwrap();
    let numbered = (0..).map(|at| arrival.change.first_seq.plus(at)).zip(chunk.entries());
    let of_series = numbered.filter(|(_, bytes)| series.holds(&View::read(bytes).unwrap()));
    of_series.map(|(seq, _)| (arrival.change.author, seq)).collect()
}

/// A store as version 3 left it: the same tables without the index, and what came after that.
#[test]
fn an_older_file_is_indexed_when_it_is_opened() {
    let (_directory, path) = sqlite_file();
    let mut store = SqliteStore::open(&path, owner(), [1; 8]).unwrap();
    let notes = |n: usize| (n % 2, Write::Notes(vec![(0, n % 2), (1, 0), (0, 0)]));
    let writes: Vec<(usize, Write)> =
        (0..9).map(notes).chain([(0, Write::Archive(0, 0, 4))]).collect();
    play(&writes, &mut store);
    let answers = |store: &SqliteStore| {
        let mut reader = store.reader().unwrap();
        all_series()
            .into_iter()
            .map(move |series| {
                let standing = reader.standing_of(&series).unwrap();
                (standing, reader.stretches(&series, 0, Direction::Forward, 1_000).unwrap())
            })
            .collect::<Vec<_>>()
    };
    let before = answers(&store);
    drop(store);
    let connection = rusqlite::Connection::open(&path).unwrap();
    let without = "DROP TABLE archived; DROP TABLE stretches; DROP TABLE series;
        DROP VIEW kept; DROP TABLE pruned; DROP TABLE holes; DROP TABLE marks;
        PRAGMA user_version = 3";
    let (_, held) = include_str!("../sqlite/schema/3.sql").split_once("DROP VIEW held;").unwrap();
    connection.execute_batch(&format!("DROP VIEW held; {without}; {held}")).unwrap();
    drop(connection);
    let store = SqliteStore::open(&path, owner(), [1; 8]).unwrap();
    assert_eq!(answers(&store), before);
    store.reader().unwrap().check_structure().unwrap();
}

#[test]
fn an_index_that_was_altered_is_found_out() {
    for alter in [
        "UPDATE stretches SET count = 2 WHERE before = 0",
        "DELETE FROM stretches WHERE before = 0",
        "UPDATE stretches SET before = 4 WHERE before = 3",
        "INSERT INTO stretches SELECT series, 100, 1, 0, author, first_seq, next_seq FROM stretches LIMIT 1",
    ] {
        let (_directory, path) = sqlite_file();
        let mut store = SqliteStore::open(&path, owner(), [1; 8]).unwrap();
        let writes = [(0, Write::Notes(vec![(0, 0); 3])), (1, Write::Notes(vec![(0, 0), (1, 1)]))];
        play(&writes, &mut store);
        rusqlite::Connection::open(&path).unwrap().execute_batch(alter).unwrap();
        let mut reader = store.reader().unwrap();
        assert!(matches!(reader.check_structure(), Err(StoreError::Damaged(_))), "{alter}");
    }
    let (_directory, path) = sqlite_file();
    let mut store = SqliteStore::open(&path, owner(), [1; 8]).unwrap();
    play(&[(0, Write::Notes(vec![(0, 0); 3]))], &mut store);
    let alter = "UPDATE stretches SET count = 2";
    rusqlite::Connection::open(&path).unwrap().execute_batch(alter).unwrap();
    let mut reader = store.reader().unwrap();
    let read = reader.of_series(&thread(0, 0), 0, Direction::Forward, usize::MAX);
    assert!(matches!(read, Err(StoreError::Damaged(_))));
}
