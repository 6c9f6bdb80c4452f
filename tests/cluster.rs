//! Clusters of real nodes on loopback: gossip, relaying, rejoining.

mod support;

use std::collections::BTreeSet;
use std::time::Duration;

use support::{Member, all, config, members, merged, note, texts, until_equal};
use towline::node::{Order, Query};
use towline::{Config, Draft, Node};

async fn open(
    directory: &tempfile::TempDir,
    name: &str,
    member: &Member,
    others: &[&Member],
) -> Node {
    Node::open(config(&directory.path().join(name), member, others)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn three_nodes_print_the_same_merged_log() {
    let directory = tempfile::tempdir().unwrap();
    let m = members(3);
    let a = open(&directory, "a", &m[0], &[&m[1], &m[2]]).await;
    let b = open(&directory, "b", &m[1], &[&m[0], &m[2]]).await;
    let c = open(&directory, "c", &m[2], &[&m[0], &m[1]]).await;
    for round in 0..20 {
        for (name, node) in [("a", &a), ("b", &b), ("c", &c)] {
            node.append(note("t", &format!("{name}{round}"))).await.unwrap();
        }
    }
    until_equal(&[&a, &b, &c], 60).await;
    let log = merged(&a).await;
    assert_eq!(texts(&log).iter().collect::<BTreeSet<_>>().len(), 60);
    for node in [&b, &c] {
        assert_eq!(texts(&merged(node).await), texts(&log));
    }
    for node in [&a, &b, &c] {
        node.shutdown().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_reach_a_node_that_only_a_third_one_knows() {
    let directory = tempfile::tempdir().unwrap();
    let m = members(3);
    let a = open(&directory, "a", &m[0], &[&m[1]]).await;
    let b = open(&directory, "b", &m[1], &[&m[0], &m[2]]).await;
    let c = open(&directory, "c", &m[2], &[&m[1]]).await;
    a.append(note("t", "from a")).await.unwrap();
    c.append(note("t", "from c")).await.unwrap();
    until_equal(&[&a, &b, &c], 2).await;
    assert_eq!(texts(&merged(&a).await), texts(&merged(&c).await));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_away_catches_up() {
    let directory = tempfile::tempdir().unwrap();
    let m = members(2);
    let a = open(&directory, "a", &m[0], &[&m[1]]).await;
    let b = open(&directory, "b", &m[1], &[&m[0]]).await;
    b.append(note("t", "before")).await.unwrap();
    until_equal(&[&a, &b], 1).await;
    b.shutdown().await.unwrap();
    let drafts = (0..10_000).map(|n| note("t", &format!("line {n}"))).collect();
    a.append_all(drafts).await.unwrap();
    let b = open(&directory, "b", &m[1], &[&m[0]]).await;
    until_equal(&[&a, &b], 10_001).await;
    let receipt = b.append(note("t", "after")).await.unwrap();
    assert_eq!(receipt.id.seq.0, 1);
    until_equal(&[&a, &b], 10_002).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_node_gets_each_author_from_one_of_two_peers() {
    let directory = tempfile::tempdir().unwrap();
    let m = members(3);
    let a = open(&directory, "a", &m[0], &[&m[1], &m[2]]).await;
    let b = open(&directory, "b", &m[1], &[&m[0], &m[2]]).await;
    // A change takes 1 MiB on its way, so that the bounds of an exchange hold however slow a node is: 2 MiB
    // that were sent and not read, and 16 MiB that were read and are not committed. And it has 256 entries:
    // of whom few are lacking is asked of all.
    let mut random = fastrand::Rng::with_seed(7);
    for node in [&a, &b] {
        for _ in 0..30 {
            let mut draft = || {
                let mut data = vec![0; 4 << 10];
                random.fill(&mut data);
                Draft::bytes("t", "k", "application/octet-stream", data).unwrap()
            };
            node.append_all((0..256).map(|_| draft()).collect()).await.unwrap();
        }
    }
    until_equal(&[&a, &b], 15_360).await;
    let c = open(&directory, "c", &m[2], &[&m[0], &m[1]]).await;
    until_equal(&[&a, &b, &c], 15_360).await;
    // What was on its way before it was known who is asked for what comes twice, and nothing else.
    let twice = c.metrics().duplicates.get();
    assert!(twice < 30, "{twice} of 60 changes came twice");
    assert_eq!(c.status().await.unwrap().catching_up, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_disk_was_lost_gets_its_own_entries_back_and_goes_on_above_them() {
    let directory = tempfile::tempdir().unwrap();
    let m = members(2);
    let a = open(&directory, "a", &m[0], &[&m[1]]).await;
    let b = open(&directory, "b", &m[1], &[&m[0]]).await;
    for n in 0..5 {
        b.append(note("t", &format!("b{n}"))).await.unwrap();
    }
    until_equal(&[&a, &b], 5).await;
    b.shutdown().await.unwrap();
    for file in ["log.sqlite", "log.sqlite-wal", "log.sqlite-shm", "emitted"] {
        drop(std::fs::remove_file(directory.path().join("b").join(file)));
    }
    let b = open(&directory, "b", &m[1], &[&m[0]]).await;
    let receipt = b.append(note("t", "again")).await.unwrap();
    assert_eq!(receipt.id.seq.0, 5);
    until_equal(&[&a, &b], 6).await;
    assert_eq!(texts(&merged(&a).await), ["b0", "b1", "b2", "b3", "b4", "again"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_node_that_appended_alone_keeps_both_branches_and_joins_them() {
    let directory = tempfile::tempdir().unwrap();
    let m = members(2);
    let a = open(&directory, "a", &m[0], &[&m[1]]).await;
    let b = open(&directory, "b", &m[1], &[&m[0]]).await;
    b.append(note("t", "old 0")).await.unwrap();
    b.append(note("t", "old 1")).await.unwrap();
    until_equal(&[&a, &b], 2).await;
    a.shutdown().await.unwrap();
    b.shutdown().await.unwrap();
    for file in ["log.sqlite", "log.sqlite-wal", "log.sqlite-shm"] {
        drop(std::fs::remove_file(directory.path().join("b").join(file)));
    }
    let b = open(&directory, "b", &m[1], &[&m[0]]).await;
    let alone = b.append(note("t", "alone")).await.unwrap();
    assert_eq!(alone.id.seq.0, 0);
    let a = open(&directory, "a", &m[0], &[&m[1]]).await;
    until_equal(&[&a, &b], 3).await;
    let joined = b.append(note("t", "joined")).await.unwrap();
    assert_eq!(joined.id.seq.0, 3, "after the entry that says which branches are joined");
    until_equal(&[&a, &b], 5).await;
    assert_eq!(texts(&merged(&a).await), texts(&merged(&b).await));
    for node in [&a, &b] {
        let of_b = all(node, Query::in_order(Order::Author)).await;
        let forked = of_b.iter().filter(|entry| entry.forked).count();
        assert_eq!((of_b.len(), forked), (5, 2));
        assert_eq!(node.get(alone.id).await.unwrap().len(), 2, "both entries of the one seq");
        let forks = node.forks().await.unwrap();
        assert_eq!(forks.len(), 1);
        assert!(forks[0].joined);
        assert_eq!(
            (forks[0].author, forks[0].seq, forks[0].sides.len()),
            (b.id(), alone.id.seq, 2)
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_is_refused_in_the_handshake() {
    let directory = tempfile::tempdir().unwrap();
    let m = members(2);
    let a = open(&directory, "a", &m[0], &[]).await;
    let b = open(&directory, "b", &m[1], &[&m[0]]).await;
    a.append(note("t", "secret")).await.unwrap();
    b.append(note("t", "hello?")).await.unwrap();
    support::until(&[&a], |_| a.metrics().violations.get() > 0).await;
    assert_eq!(b.status().await.unwrap().entries, 1);
    assert_eq!(a.status().await.unwrap().entries, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_of_another_cluster_is_refused() {
    let m = members(2);
    let directory = tempfile::tempdir().unwrap();
    let a = open(&directory, "a", &m[0], &[&m[1]]).await;
    let mut other = config(&directory.path().join("b"), &m[1], &[&m[0]]);
    other.cluster = Some(towline::words::ClusterId([8; 32]));
    let b = Node::open(other).await.unwrap();
    a.append(note("t", "ours")).await.unwrap();
    support::until(&[&a, &b], |_| {
        a.metrics().violations.get() > 0 && b.metrics().violations.get() > 0
    })
    .await;
    assert_eq!(b.status().await.unwrap().entries, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_append_can_wait_for_its_peers() {
    let directory = tempfile::tempdir().unwrap();
    let m = members(2);
    let a = open(&directory, "a", &m[0], &[&m[1]]).await;
    let receipt = a.append(note("t", "x")).await.unwrap();
    let next = receipt.id.seq.plus(1);
    let alone = a.wait_replicated(next, 1, Duration::from_millis(20)).await;
    assert!(alone.is_err());
    let b = open(&directory, "b", &m[1], &[&m[0]]).await;
    a.wait_replicated(next, 1, support::PATIENCE).await.unwrap();
    assert_eq!(b.status().await.unwrap().entries, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_alone_appends_at_once() {
    let node = Node::open(Config::in_memory()).await.unwrap();
    assert_eq!(node.append(note("t", "x")).await.unwrap().id.seq.0, 0);
}

/// Flips a bit in the newest change of a store that no node runs on.
fn flip_a_bit(store: &std::path::Path) {
    let connection = rusqlite::Connection::open(store).unwrap();
    let newest = "SELECT offset, bytes FROM changes ORDER BY offset DESC LIMIT 1";
    let (offset, mut bytes): (i64, Vec<u8>) =
        connection.query_row(newest, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    let last = bytes.len() - 5;
    bytes[last] ^= 1;
    let update = "UPDATE changes SET bytes = ?2 WHERE offset = ?1";
    connection.execute(update, rusqlite::params![offset, bytes]).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_the_disk_damaged_is_never_served_and_mended_by_a_peer() {
    let directory = tempfile::tempdir().unwrap();
    let m = members(2);
    let a = open(&directory, "a", &m[0], &[&m[1]]).await;
    let b = open(&directory, "b", &m[1], &[&m[0]]).await;
    a.append(note("t", "first")).await.unwrap();
    let receipt = a.append(note("t", "the one that the disk alters")).await.unwrap();
    until_equal(&[&a, &b], 2).await;
    a.shutdown().await.unwrap();
    b.shutdown().await.unwrap();
    flip_a_bit(&directory.path().join("a").join("log.sqlite"));

    let a = open(&directory, "a", &m[0], &[&m[1]]).await;
    assert_eq!(a.metrics().damaged.get(), 1);
    assert_eq!(a.status().await.unwrap().damaged, 1, "its own newest change is read at the start");
    let served = a.query(Query::merged()).await;
    assert!(served.is_err(), "{served:?}");
    assert_eq!(a.status().await.unwrap().damaged, 1);
    let b = open(&directory, "b", &m[1], &[&m[0]]).await;
    support::until(&[&a, &b], |_| a.metrics().mended.get() == 1).await;
    assert_eq!(texts(&merged(&a).await), ["first", "the one that the disk alters"]);
    assert_eq!(a.get(receipt.id).await.unwrap()[0].offset, receipt.offset);
    assert_eq!(a.status().await.unwrap().damaged, 0);
    a.shutdown().await.unwrap();
    let mut log = towline::node::OfflineLog::open(&directory.path().join("a")).unwrap();
    assert_eq!(log.verify(|_, _| {}).unwrap().entries, 2);
}

/// The blocks of a node's store, by segment and first seq.
fn blocks(directory: &tempfile::TempDir, name: &str) -> Vec<(Vec<u8>, i64, Vec<u8>)> {
    let path = directory.path().join(name).join("log.sqlite");
    let store = rusqlite::Connection::open(path).unwrap();
    let mut blocks = store
        .prepare(
            "SELECT s.name, b.first_seq, b.record FROM blocks b JOIN segments s ON s.id = b.segment
             ORDER BY s.name, b.first_seq",
        )
        .unwrap();
    let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
    blocks.query_map([], row).unwrap().map(Result::unwrap).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_travels_as_it_is_kept_and_small_changes_are_packed_where_they_came() {
    let directory = tempfile::tempdir().unwrap();
    let m = members(2);
    let a = open(&directory, "a", &m[0], &[&m[1]]).await;
    for group in 0..5 {
        let drafts = (0..1_000).map(|n| note("t", &format!("{group}/{n}"))).collect();
        a.append_all(drafts).await.unwrap();
    }
    for n in 0..50 {
        a.append(note("t", &format!("small {n}"))).await.unwrap();
    }
    let b = open(&directory, "b", &m[1], &[&m[0]]).await;
    until_equal(&[&a, &b], 5_050).await;
    assert_eq!(blocks(&directory, "a").len(), 5);
    assert_eq!(blocks(&directory, "b"), blocks(&directory, "a"));
    for node in [&a, &b] {
        node.seal().await.unwrap();
    }
    assert_eq!(blocks(&directory, "b").len(), 6);
    assert_eq!(texts(&merged(&a).await), texts(&merged(&b).await));
    for node in [a, b] {
        node.shutdown().await.unwrap();
    }
    for name in ["a", "b"] {
        let mut log = towline::node::OfflineLog::open(&directory.path().join(name)).unwrap();
        assert_eq!(log.verify(|_, _| {}).unwrap().entries, 5_050);
    }
}

/// Flips a bit of the newest signature in a store that no node runs on.
fn flip_a_signature(store: &std::path::Path) {
    let connection = rusqlite::Connection::open(store).unwrap();
    for table in ["changes", "blocks"] {
        let newest = format!("SELECT rowid, signature FROM {table} ORDER BY 1 DESC LIMIT 1");
        let found = connection.query_row(&newest, [], |row| Ok((row.get(0)?, row.get(1)?)));
        let Ok((row, mut signature)): rusqlite::Result<(i64, [u8; 64])> = found else { continue };
        signature[40] ^= 1;
        let update = format!("UPDATE {table} SET signature = ?2 WHERE rowid = ?1");
        connection.execute(&update, rusqlite::params![row, signature]).unwrap();
        return;
    }
    panic!("there is no change");
}

fn verified(directory: &std::path::Path) -> Option<u64> {
    let mut log = towline::node::OfflineLog::open(directory).unwrap();
    log.verify(|_, _| {}).ok().map(|verified| verified.entries)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_own_newest_change_whose_signature_the_disk_alters_is_signed_again_at_the_start() {
    for entries in [1, 300] {
        let directory = tempfile::tempdir().unwrap();
        let m = members(2);
        let home = directory.path().join("a");
        let a = open(&directory, "a", &m[0], &[&m[1]]).await;
        a.append_all(vec![note("t", "nobody else has it"); entries]).await.unwrap();
        a.shutdown().await.unwrap();
        flip_a_signature(&home.join("log.sqlite"));
        assert_eq!(verified(&home), None);

        let a = open(&directory, "a", &m[0], &[&m[1]]).await;
        let b = open(&directory, "b", &m[1], &[&m[0]]).await;
        until_equal(&[&a, &b], entries as u64).await;
        assert_eq!(b.metrics().violations.get(), 0);
        a.shutdown().await.unwrap();
        assert_eq!(verified(&home), Some(entries as u64));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signature_that_the_disk_altered_is_never_sent_and_mended_by_a_peer() {
    for entries in [1, 300] {
        let directory = tempfile::tempdir().unwrap();
        let m = members(3);
        let home = directory.path().join("a");
        let a = open(&directory, "a", &m[0], &[&m[1]]).await;
        let b = open(&directory, "b", &m[1], &[&m[0]]).await;
        b.append_all(vec![note("t", "of b"); entries as usize]).await.unwrap();
        until_equal(&[&a, &b], entries).await;
        a.shutdown().await.unwrap();
        b.shutdown().await.unwrap();
        flip_a_signature(&home.join("log.sqlite"));

        let a = open(&directory, "a", &m[0], &[&m[1], &m[2]]).await;
        let c = open(&directory, "c", &m[2], &[&m[0]]).await;
        support::until(&[&a], |statuses| statuses[0].damaged == 1).await;
        assert_eq!(c.status().await.unwrap().entries, 0);
        let b = open(&directory, "b", &m[1], &[&m[0]]).await;
        until_equal(&[&a, &b, &c], entries).await;
        assert_eq!((c.metrics().violations.get(), a.metrics().mended.get()), (0, 1));
        a.shutdown().await.unwrap();
        assert_eq!(verified(&home), Some(entries));
    }
}
