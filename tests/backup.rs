//! Backups and the way back: damage is never carried over, and a restored node doesn't fork itself.

mod support;

use std::path::Path;

use support::{config, members, merged, note, texts, until_equal};
use tempfile::TempDir;
use towline::node::backup::{self, BackupError, Existing, Keys};
use towline::node::{Config, OfflineLog};
use towline::{Draft, Node};

async fn written(data: &Path, entries: u32) {
    let node = Node::open(Config::new(data)).await.unwrap();
    for n in 0..entries {
        node.append(note("t", &n.to_string())).await.unwrap();
    }
    node.shutdown().await.unwrap();
}

/// Spoils the second change of a store.
fn damage(store: &Path) {
    let database = rusqlite::Connection::open(store).unwrap();
    let flip = "UPDATE changes SET hash = zeroblob(32) WHERE offset = 1";
    assert_eq!(database.execute(flip, []).unwrap(), 1);
}

fn make(data: &Path, file: &Path) -> Result<backup::Backup, BackupError> {
    backup::make(data, file, Keys::Include, Existing::Keep, |_| {})
}

fn refill(file: &Path, data: &Path) -> Result<backup::Backup, BackupError> {
    backup::restore(file, data, Existing::Replace, |_| {})
}

#[tokio::test]
async fn a_damaged_store_gives_no_backup() {
    let home = TempDir::new().unwrap();
    let (data, file) = (home.path().join("data"), home.path().join("log"));
    written(&data, 3).await;
    damage(&data.join("log.sqlite"));
    assert!(matches!(make(&data, &file), Err(BackupError::Verify(_))));
    let left: Vec<_> = std::fs::read_dir(home.path()).unwrap().collect();
    assert_eq!(left.len(), 1, "{left:?}");
}

#[tokio::test]
async fn a_damaged_backup_restores_nothing() {
    let home = TempDir::new().unwrap();
    let (data, file) = (home.path().join("data"), home.path().join("log"));
    written(&data, 3).await;
    make(&data, &file).unwrap();
    damage(&file);
    assert!(matches!(refill(&file, &data), Err(BackupError::Verify(_))));
    assert!(!data.join("restoring.sqlite").exists());
    assert_eq!(OfflineLog::open(&data).unwrap().verify(|_, _| {}).unwrap().entries, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_node_takes_its_tail_back_before_it_appends() {
    let home = TempDir::new().unwrap();
    let (data, file) = (home.path().join("a"), home.path().join("log"));
    let m = members(2);
    let a = Node::open(config(&data, &m[0], &[&m[1]])).await.unwrap();
    let b = Node::open(config(&home.path().join("b"), &m[1], &[&m[0]])).await.unwrap();
    a.append(note("t", "before")).await.unwrap();
    make(&data, &file).unwrap();
    let drafts: Vec<Draft> = (0..2_000).map(|n| note("t", &format!("after {n}"))).collect();
    a.append_all(drafts).await.unwrap();
    until_equal(&[&a, &b], 2_001).await;
    a.shutdown().await.unwrap();

    let restored = refill(&file, &data).unwrap();
    assert_eq!(restored.verified.entries, 1);
    let a = Node::open(config(&data, &m[0], &[&m[1]])).await.unwrap();
    let receipt = a.append(note("t", "again")).await.unwrap();
    assert_eq!(receipt.id.seq.0, 2_001);
    until_equal(&[&a, &b], 2_002).await;
    assert_eq!(texts(&merged(&a).await), texts(&merged(&b).await));
    assert_eq!((a.status().await.unwrap().branched, a.forks().await.unwrap().len()), (0, 0));
    a.shutdown().await.unwrap();
    b.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_restored_alone_makes_a_branch_that_is_joined() {
    let home = TempDir::new().unwrap();
    let (data, file) = (home.path().join("a"), home.path().join("log"));
    let m = members(2);
    let a = Node::open(config(&data, &m[0], &[&m[1]])).await.unwrap();
    let b = Node::open(config(&home.path().join("b"), &m[1], &[&m[0]])).await.unwrap();
    a.append(note("t", "before")).await.unwrap();
    make(&data, &file).unwrap();
    a.append(note("t", "lost with the disk")).await.unwrap();
    until_equal(&[&a, &b], 2).await;
    a.shutdown().await.unwrap();
    b.shutdown().await.unwrap();

    refill(&file, &data).unwrap();
    let a = Node::open(config(&data, &m[0], &[&m[1]])).await.unwrap();
    a.append(note("t", "alone")).await.unwrap();
    let b = Node::open(config(&home.path().join("b"), &m[1], &[&m[0]])).await.unwrap();
    until_equal(&[&a, &b], 3).await;
    a.shutdown().await.unwrap();
    let a = Node::open(config(&data, &m[0], &[&m[1]])).await.unwrap();
    a.append(note("t", "joined")).await.unwrap();
    until_equal(&[&a, &b], 5).await;
    let kinds = merged(&b).await.iter().map(|e| e.body.kind.to_string()).collect::<Vec<_>>();
    assert_eq!(kinds.iter().filter(|kind| *kind == "towline.rollback").count(), 1, "{kinds:?}");
    assert_eq!(texts(&merged(&a).await), texts(&merged(&b).await));
    a.shutdown().await.unwrap();
    b.shutdown().await.unwrap();
}
