//! Files as older versions wrote them.

use super::super::sqlite;
use super::*;
use crate::words::entry::View;

/// The file holds six entries of one author in two lifetimes, as version 1 wrote them.
#[test]
fn a_file_of_version_1_is_migrated_and_holds_what_it_held() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log.sqlite");
    std::fs::write(&path, include_bytes!("../fixtures/version-1.sqlite")).unwrap();
    let older = SqliteReader::open(&path).err();
    assert_eq!(older, Some(OpenError::Older { found: 1, known: sqlite::VERSION }));
    let digits = |text: &str| text.parse::<NodeId>().unwrap();
    let node = digits("3f2e38bd1eead5c27ba031e81828929b8249546913a7b12054cfad2f38d0f55a");
    let cluster = digits("406c3be9b7d5149f253e8aae755b2bea8d5d737c22bd0a92c0ef6c571de51175");
    let owner = Owner { node, cluster: ClusterId(cluster.0) };
    let mut store = SqliteStore::open(&path, owner, [7; 8]).unwrap();
    let mut reader = store.reader().unwrap();
    assert_eq!(reader.watermark(), Ok(Offset(6)));
    let spans = reader.spans(None).unwrap();
    assert_eq!(spans.len(), 2);
    let all = reader.arrivals(Offset(0), Direction::Forward, usize::MAX).unwrap();
    assert!(all.iter().all(|arrival| arrival.side == 0));
    let tips = store.resume().unwrap().tips;
    assert_eq!(tips[0].1.head.next_seq, Seq(6));
    let digest = hex::encode(reader.frontier().unwrap().digest());
    assert_eq!(digest, "342f8132c286aaa5f8b0278cb806464a09232d43b84ecfb489d6630f26c41340");
}

/// The file holds 508 entries of one author, of which the first 300 and the next 200 are blocks of the forms
/// 3 and 4.
#[test]
fn a_file_with_blocks_of_older_forms_holds_what_it_held() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log.sqlite");
    std::fs::write(&path, include_bytes!("../fixtures/blocks-3-4.sqlite")).unwrap();
    let mut reader = SqliteReader::open(&path).unwrap();
    let all = reader.arrivals(Offset(0), Direction::Forward, usize::MAX).unwrap();
    let counts: Vec<u32> = all.iter().map(|arrival| arrival.change.count).collect();
    assert_eq!(counts, [300, 200, 1, 1, 1, 1, 1, 1, 1, 1]);
    let digest = hex::encode(reader.frontier().unwrap().digest());
    assert_eq!(digest, "e133e1eaadd711b134196bfcae613cdac55ceb9271a74b3f0c289f258c7430cf");

    let mut cold = SqliteReader::open(&path).unwrap();
    for arrival in &all[..2] {
        let change = &arrival.change;
        let seqs = change.first_seq..change.next_seq();
        let wanted = |tenant: &str, topic: &str| (tenant, topic) == ("default", "c/d");
        let picked = cold.pick(arrival.strand(), &seqs, Direction::Forward, Some(&wanted));
        let picked = picked.unwrap().unwrap();
        let mut found = Vec::new();
        let each = |_, seq, view: &View<'_>| {
            found.push((seq, view.to_draft().unwrap()));
            Ok(())
        };
        picked.each(each).unwrap();
        let chunk = change.chunk().unwrap();
        let views = (0..).zip(chunk.entries()).map(|(at, bytes)| {
            (change.first_seq.plus(at), View::read(bytes).unwrap().to_draft().unwrap())
        });
        let held = views.filter(|(_, draft)| draft.topic.as_str() == "c/d");
        assert_eq!(found, held.collect::<Vec<_>>());
    }
}
