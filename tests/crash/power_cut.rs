//! Power cuts and kills, at every operation on the disk: no acknowledged commit is lost.

use fastrand::Rng;
use rusqlite::Connection;

use crate::disk::{Call, Disk, On, Operation};
use crate::history::{History, STORE, scratch};
use crate::intact;
use crate::platter::{Image, Platter, Survivors};
use crate::seed::{Sweep, Trying, rng, sweep};

/// Makes the crash image of one moment, and asserts that the store in it is whole.
fn crash(history: &History, platter: &Platter, done: usize, survivors: Survivors, rng: &mut Rng) {
    let _trying = Trying(format!("{survivors:?} survive a cut after operation {done}"));
    let image = platter.image(survivors, rng);
    let directory = scratch();
    image.write_to(directory.path());
    if rng.u8(..4) == 0 {
        stale_shm(&image, directory.path(), rng);
    }
    intact::holds_what_was_told(directory.path(), history, history.told(done));
}

/// Leaves the index of the write-ahead log behind as well, with whatever is in it: nobody syncs it.
fn stale_shm(image: &Image, directory: &std::path::Path, rng: &mut Rng) {
    if !image.file(STORE).is_empty() {
        let shm: Vec<u8> = (0..32_768).map(|_| rng.u8(..)).collect();
        std::fs::write(directory.join(format!("{STORE}-shm")), shm).unwrap();
    }
}

/// Cuts the power after every operation in which `choose` names survivors.
fn cut(history: &History, rng: &mut Rng, choose: impl Fn(usize, &[Operation], &mut Rng) -> Cuts) {
    let operations = history.disk.operations();
    let mut platter = Platter::default();
    let mut images = 0;
    for done in 0..=operations.len() {
        for survivors in choose(done, &operations, rng) {
            crash(history, &platter, done, survivors, rng);
            images += 1;
        }
        if let Some(next) = operations.get(done) {
            platter.apply(next);
        }
    }
    println!("{images} crash images of {} operations", operations.len());
}

/// So many commits of 256 KiB bring a checkpoint with them, twice over.
const CHECKPOINT_WITHIN: usize = 100;

type Cuts = Vec<Survivors>;

/// Before a sync most is at stake: so every kind of loss there, and one of them anywhere else.
fn everywhere(done: usize, operations: &[Operation], rng: &mut Rng) -> Cuts {
    match operations.get(done) {
        Some(Operation::Sync { .. } | Operation::SyncDirectory) => Survivors::EACH.to_vec(),
        _ => vec![Survivors::EACH[rng.usize(..Survivors::EACH.len())]],
    }
}

#[test]
fn a_power_cut_at_any_moment_loses_nothing_that_was_acknowledged() {
    let mut rng = rng();
    let (histories, rounds) = if sweep() == Sweep::Full { (8, 60) } else { (2, 30) };
    for _ in 0..histories {
        let mut history = History::begin();
        history.live(rounds, &mut rng);
        history.close();
        assert!(history.commits() > rounds / 3);
        cut(&history, &mut rng, everywhere);
    }
}

#[test]
fn a_power_cut_around_a_checkpoint_that_comes_by_itself_loses_nothing() {
    let mut rng = rng();
    let mut history = History::begin();
    // 8 MiB of log make a checkpoint; the commits after it write the log from its start again.
    let checkpoints = |history: &History| history.disk.calls(Call::Sync, On::Database);
    let before = checkpoints(&history);
    for _ in 0..CHECKPOINT_WITHIN {
        if checkpoints(&history) == before {
            history.append(64, 4_000);
        }
    }
    assert!(checkpoints(&history) > before, "no checkpoint was synced");
    (0..3).for_each(|_| history.append(8, 4_000));
    let chosen = if sweep() == Sweep::Full { 40 } else { 400 };
    cut(&history, &mut rng, |done, operations, rng| match operations.get(done) {
        Some(Operation::Sync { .. }) if rng.u8(..4) == 0 => vec![Survivors::Subset],
        _ if rng.usize(..chosen) == 0 => everywhere(done, operations, rng),
        _ => Vec::new(),
    });
}

/// The machinery above sees what it should: without the sync, the commit is gone.
#[test]
fn a_commit_without_a_sync_is_lost_in_a_power_cut() {
    for (synchronous, rows) in [("FULL", 1), ("OFF", 0)] {
        let directory = scratch();
        let disk = Disk::watch(directory.path());
        let connection = Connection::open(directory.path().join(STORE)).unwrap();
        let set_up = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; CREATE TABLE t (x);";
        connection.execute_batch(set_up).unwrap();
        connection.pragma_update(None, "synchronous", synchronous).unwrap();
        connection.execute("INSERT INTO t VALUES (1)", []).unwrap();
        let after = scratch();
        platter(&disk).image(Survivors::None, &mut Rng::with_seed(0)).write_to(after.path());
        let connection = Connection::open(after.path().join(STORE)).unwrap();
        let count = connection.query_row("SELECT count(*) FROM t", [], |row| row.get(0));
        assert_eq!(count, Ok(rows), "synchronous = {synchronous}");
    }
}

/// A disk as it is now.
fn platter(disk: &Disk) -> Platter {
    let mut platter = Platter::default();
    disk.operations().iter().for_each(|operation| platter.apply(operation));
    platter
}
