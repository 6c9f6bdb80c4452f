//! Damage to a store that nobody runs on: what is read back is right and whole, or an error names
//! the damage; and nothing panics.

use std::path::Path;

use fastrand::Rng;

use crate::history::{History, STORE, scratch};
use crate::platter::{Image, Platter, Survivors};
use crate::seed::{Sweep, Trying, rng, sweep};

mod going_on;
mod truth;
mod wounds;

use truth::{Truth, Verdict};
use wounds::{WAL, Wound};

/// A store with a past of two authors, as it was after a clean end, and as a copy of the directory
/// would have been before.
struct Patient {
    truth: Truth,
    older: Image,
    live: Image,
    closed: Image,
}

impl Patient {
    fn new(rng: &mut Rng) -> Self {
        let image = |history: &History| {
            let mut platter = Platter::default();
            history.disk.operations().iter().for_each(|operation| platter.apply(operation));
            platter.image(Survivors::All, &mut Rng::with_seed(0))
        };
        let mut history = History::begin();
        history.live(20, rng);
        let older = image(&history);
        // Small entries, so that much of the file is rows and indices.
        for _ in 0..40 {
            match rng.u8(..9) {
                0 => history.seal(),
                1..=4 => history.append(rng.usize(1..4), rng.usize(1..20)),
                _ => history.receive(rng.usize(1..4), rng.usize(1..20)),
            }
        }
        let live = image(&history);
        history.vacuum(); // so that every page of the file is needed
        history.close();
        let closed = image(&history);
        let directory = scratch();
        closed.write_to(directory.path());
        Self { truth: Truth::of(directory.path(), &history), older, live, closed }
    }
}

/// Damages a copy, and says what a reader of it finds.
fn verdict(truth: &Truth, image: &Image, wound: &Wound) -> Result<Verdict, String> {
    let _trying = Trying(format!("{wound:?}"));
    let directory = scratch();
    wound.inflict(image).write_to(directory.path());
    truth.compare(directory.path())
}

/// Asserts that no wound makes the store serve what isn't right.
#[track_caller]
fn assert_never_served(
    truth: &Truth,
    image: &Image,
    wounds: impl IntoIterator<Item = Wound>,
) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    let mut wrong = Vec::new();
    for wound in wounds {
        match verdict(truth, image, &wound) {
            Ok(verdict) => verdicts.push(verdict),
            Err(what) => wrong.push(format!("{wound:?}: {what}")),
        }
    }
    let count = |wanted| verdicts.iter().filter(|verdict| **verdict == wanted).count();
    println!(
        "{} damaged, {} lost commits, {} whole",
        count(Verdict::Damaged),
        count(Verdict::Lost),
        count(Verdict::Whole)
    );
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        wrong.len() + verdicts.len(),
        wrong.join("\n")
    );
    verdicts
}

fn cases(pinned: usize) -> usize {
    if sweep() == Sweep::Full { pinned * 10 } else { pinned }
}

#[test]
fn an_unharmed_store_is_whole() {
    let patient = Patient::new(&mut rng());
    let found = verdict(&patient.truth, &patient.closed, &Wound::None);
    assert_eq!(found, Ok(Verdict::Whole));
    assert_eq!(verdict(&patient.truth, &patient.live, &Wound::None), Ok(Verdict::Whole));
}

#[test]
fn a_flipped_bit_in_the_file_is_never_served() {
    let mut rng = rng();
    let patient = Patient::new(&mut rng);
    let size = patient.closed.file(STORE).len();
    let flips = (0..cases(150)).map(|_| Wound::flip(STORE, size, &mut rng));
    let verdicts = assert_never_served(&patient.truth, &patient.closed, flips);
    assert!(verdicts.contains(&Verdict::Damaged));
}

#[test]
fn a_flipped_bit_of_a_change_is_never_served_and_always_found() {
    let mut rng = rng();
    let patient = Patient::new(&mut rng);
    for _ in 0..cases(40) {
        let directory = scratch();
        patient.closed.write_to(directory.path());
        let flipped = flip_in_change(directory.path(), &mut rng);
        let _trying = Trying(flipped);
        assert_eq!(patient.truth.compare(directory.path()), Ok(Verdict::Damaged));
    }
}

/// Flips a bit in the bytes of some change, and says which.
fn flip_in_change(directory: &Path, rng: &mut Rng) -> String {
    let database = rusqlite::Connection::open(directory.join(STORE)).unwrap();
    let (table, key, column) = match rng.bool() {
        true => ("changes", "offset", "bytes"),
        false => ("blocks", "id", "record"),
    };
    let choose = format!("SELECT {key}, {column} FROM {table} ORDER BY {key} LIMIT 1 OFFSET ?1");
    let count = format!("SELECT count(*) FROM {table}");
    let count: i64 = database.query_row(&count, [], |row| row.get(0)).unwrap();
    let (offset, mut bytes): (i64, Vec<u8>) = database
        .query_row(&choose, [rng.i64(..count)], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap();
    let (at, bit) = (rng.usize(..bytes.len()), rng.u8(..8));
    bytes[at] ^= 1 << bit;
    let update = format!("UPDATE {table} SET {column} = ?1 WHERE {key} = ?2");
    assert_eq!(database.execute(&update, (bytes, offset)), Ok(1));
    format!("bit {bit} of byte {at} of {column} at {key} {offset} is flipped")
}

#[test]
fn a_page_of_zeros_noise_or_another_place_is_never_served() {
    let mut rng = rng();
    let patient = Patient::new(&mut rng);
    let size = patient.closed.file(STORE).len();
    let pages = (0..cases(1000)).map(|_| Wound::page(size, &mut rng));
    let verdicts = assert_never_served(&patient.truth, &patient.closed, pages);
    assert!(verdicts.contains(&Verdict::Damaged));
}

/// The commits that the write-ahead log loses leave no trace in the file. That they are missing is
/// not yet noticed; that what is there is right, is.
#[test]
fn a_damaged_write_ahead_log_loses_its_end_and_nothing_else() {
    let mut rng = rng();
    let patient = Patient::new(&mut rng);
    let size = patient.live.file(WAL).len();
    assert!(size > 40_000, "the log holds commits");
    let flips = (0..cases(50)).map(|_| Wound::flip(WAL, size, &mut rng)).collect::<Vec<_>>();
    let cuts = (0..cases(20)).map(|_| Wound::Short { file: WAL, size: rng.usize(..size) });
    let wounds = flips.into_iter().chain(cuts).chain([Wound::Gone { file: WAL }]);
    let verdicts = assert_never_served(&patient.truth, &patient.live, wounds);
    assert!(verdicts.contains(&Verdict::Lost));
    assert!(!verdicts.contains(&Verdict::Damaged), "what is left verifies");
}

#[test]
fn a_file_that_ends_early_is_never_served() {
    let mut rng = rng();
    let patient = Patient::new(&mut rng);
    let size = patient.closed.file(STORE).len();
    let cuts = (0..cases(40)).map(|_| Wound::Short { file: STORE, size: rng.usize(1..size) });
    let verdicts = assert_never_served(&patient.truth, &patient.closed, cuts);
    assert!(verdicts.iter().all(|verdict| *verdict == Verdict::Damaged));
}

#[test]
fn an_older_copy_holds_what_there_was_then() {
    let patient = Patient::new(&mut rng());
    let verdict = verdict(&patient.truth, &patient.older, &Wound::None);
    assert_eq!(verdict, Ok(Verdict::Lost));
}
