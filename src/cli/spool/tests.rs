use std::fs::OpenOptions;
use std::io::Write;

use super::*;
use crate::words::json::DraftJson;

fn batch(text: &str) -> Batch {
    let json = serde_json::json!({"topic": "t", "kind": "k", "data": text});
    let draft: DraftJson = serde_json::from_value(json).unwrap();
    let mut batch = Batch::default();
    batch.push(&draft).unwrap();
    batch
}

fn gap(count: u64) -> Result<Batch, Failure> {
    Ok(batch(&format!("{count} dropped")))
}

fn next(spool: &Spool) -> Record {
    match spool.next().unwrap() {
        Next::Record(record) => record,
        other => panic!("{other:?}"),
    }
}

fn texts(spool: &Spool) -> Vec<String> {
    let mut texts = Vec::new();
    while let Next::Record(record) = spool.next().unwrap() {
        let draft: serde_json::Value = serde_json::from_slice(&record.body).unwrap();
        texts.push(draft["data"].as_str().unwrap().to_owned());
        spool.sent(&record).unwrap();
    }
    texts
}

fn lasting(directory: &tempfile::TempDir, most: u64) -> Result<Spool, Failure> {
    Spool::lasting(directory.path(), most, Full::Drop)
}

fn passing(home: &tempfile::TempDir, most: u64, full: Full) -> Spool {
    Spool::passing(home.path(), most, full).unwrap()
}

#[test]
fn what_one_process_left_the_next_one_sends_under_the_same_keys() {
    let directory = tempfile::tempdir().unwrap();
    let spool = lasting(&directory, SPOOL_BYTES).unwrap();
    spool.push(&batch("one"), gap).unwrap();
    spool.push(&batch("two"), gap).unwrap();
    let first = spool.next().unwrap();
    drop(spool);
    // The process died in the middle of a record.
    let mut file = OpenOptions::new().append(true).open(directory.path().join("spool")).unwrap();
    file.write_all(b"{\"key\":\"x\",\"count\":1,\"bytes\":99}\n{").unwrap();
    let again = lasting(&directory, SPOOL_BYTES).unwrap();
    assert_eq!((again.left(), again.next().unwrap()), (2, first));
    again.push(&batch("three"), gap).unwrap();
    assert_eq!(texts(&again), ["one", "two", "three"]);
    assert_eq!(std::fs::metadata(again.path()).unwrap().len(), 0);
}

#[test]
fn what_finds_no_room_is_counted_and_said_in_its_place() {
    let directory = tempfile::tempdir().unwrap();
    let spool = lasting(&directory, 400).unwrap();
    spool.push(&batch("1"), gap).unwrap();
    spool.keep(&next(&spool)).unwrap();
    for text in ["2", "3", "4", "5", "6", "7"] {
        spool.push(&batch(text), gap).unwrap();
    }
    let kept = texts(&spool);
    let dropped = 7 - kept.len();
    assert!(kept.len() > 1 && dropped > 0, "{kept:?}");
    spool.push(&batch("8"), gap).unwrap();
    assert_eq!(texts(&spool), [format!("{dropped} dropped"), "8".to_owned()]);
    spool.finish(gap).unwrap();
    assert_eq!(spool.next().unwrap(), Next::Over);
}

#[test]
fn what_was_dropped_last_is_said_at_the_end() {
    let home = tempfile::tempdir().unwrap();
    let spool = passing(&home, 1, Full::Drop);
    spool.push(&batch("kept"), gap).unwrap();
    spool.keep(&next(&spool)).unwrap();
    spool.push(&batch("dropped"), gap).unwrap();
    spool.finish(gap).unwrap();
    assert_eq!(texts(&spool), ["kept", "1 dropped"]);
}

#[test]
fn lines_wait_for_room_while_the_node_answers_and_those_of_a_file_always() {
    let home = tempfile::tempdir().unwrap();
    for (full, is_away) in [(Full::Drop, false), (Full::Wait, true)] {
        let spool = &passing(&home, 100, full);
        spool.push(&batch("1"), gap).unwrap();
        let first = next(spool);
        if is_away {
            spool.keep(&first).unwrap();
        }
        assert!(spool.must_wait(&spool.state(), 50) && !spool.must_drop(&spool.state(), 50));
        std::thread::scope(|scope| {
            let pushing = scope.spawn(|| spool.push(&batch("2"), gap));
            spool.sent(&first).unwrap();
            pushing.join().unwrap().unwrap();
        });
        assert_eq!(texts(spool), ["2"]);
    }
}

#[test]
fn a_spool_that_passes_is_on_the_disk_only_while_the_node_is_away() {
    let home = tempfile::tempdir().unwrap();
    let is_there = || std::fs::read_dir(home.path()).unwrap().next().is_some();
    let spool = passing(&home, SPOOL_BYTES, Full::Drop);
    for _ in 0..2 {
        spool.push(&batch("while it answers"), gap).unwrap();
        assert!(!is_there());
        assert_eq!(texts(&spool), ["while it answers"]);
        spool.push(&batch("unanswered"), gap).unwrap();
        let unanswered = next(&spool);
        spool.keep(&unanswered).unwrap();
        spool.push(&batch("while it is away"), gap).unwrap();
        assert!(is_there());
        assert_eq!((spool.left(), next(&spool)), (2, unanswered));
        assert_eq!(texts(&spool), ["unanswered", "while it is away"]);
        assert!(!is_there());
    }
}

#[test]
fn what_a_process_left_is_found_once_it_has_ended() {
    let home = tempfile::tempdir().unwrap();
    let spool = passing(&home, SPOOL_BYTES, Full::Drop);
    spool.push(&batch("unsent"), gap).unwrap();
    spool.keep(&next(&spool)).unwrap();
    assert_eq!(forgotten(home.path()), []);
    let directory = spool.directory().to_owned();
    drop(spool);
    assert_eq!(forgotten(home.path()), [(directory, 1)]);
}

#[test]
fn a_spool_has_one_process() {
    let directory = tempfile::tempdir().unwrap();
    let _spool = lasting(&directory, SPOOL_BYTES).unwrap();
    assert_eq!(lasting(&directory, SPOOL_BYTES).unwrap_err().exit(), 1);
}
