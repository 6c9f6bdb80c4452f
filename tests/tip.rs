//! What a database loses without a word is noticed, told, and fetched back from the peers.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use support::{Member, config, members, merged, note, texts, until, until_equal};
use tempfile::TempDir;
use towline::node::{OfflineLog, State, VerifyError};
use towline::store::tip;
use towline::{Config, Node};

const STORE: [&str; 3] = ["log.sqlite", "log.sqlite-wal", "log.sqlite-shm"];

/// Two members, and a disk for both.
struct Two {
    directory: TempDir,
    members: Vec<Member>,
}

impl Two {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap(), members: members(2) }
    }

    fn home(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    async fn open(&self, name: &str, me: usize) -> Node {
        let (own, other) = (&self.members[me], &self.members[1 - me]);
        Node::open(config(&self.home(name), own, &[other])).await.unwrap()
    }

    /// Opens the second member without its peer.
    async fn open_alone(&self, name: &str) -> Node {
        let mut alone = config(&self.home(name), &self.members[1], &[]);
        alone.listen = None;
        Node::open(alone).await.unwrap()
    }
}

/// Copies a data directory as a machine would find it if its process were killed now.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for file in fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

/// Puts the database of another directory in place of this one's; all else stays.
fn replace_store(home: &Path, with: &Path) {
    for file in STORE {
        drop(fs::remove_file(home.join(file)));
        drop(fs::copy(with.join(file), home.join(file)));
    }
}

async fn append(node: &Node, texts: impl IntoIterator<Item = &'static str>) {
    for text in texts {
        node.append(note("t", text)).await.unwrap();
    }
}

fn missing(home: &Path) -> Option<(u64, u64)> {
    match OfflineLog::open(home).unwrap().verify(|_, _| {}) {
        Ok(_) => None,
        Err(VerifyError::Missing(missing)) => Some((missing.entries, missing.own)),
        Err(error) => panic!("{error}"),
    }
}

/// Node `b` with five entries of its own, which `a` holds: killed, and three of the five lost in a
/// way of the test's. Returns whether it says so, and goes on above what the peer brings back.
async fn loses(lose: impl FnOnce(&Path)) {
    let two = Two::new();
    let a = two.open("a", 0).await;
    let b = two.open("b", 1).await;
    append(&b, ["b0", "b1"]).await;
    b.shutdown().await.unwrap();
    let b = two.open("b", 1).await;
    append(&b, ["b2", "b3", "b4"]).await;
    until_equal(&[&a, &b], 5).await;
    let killed = two.home("killed");
    copy(&two.home("b"), &killed);
    b.shutdown().await.unwrap();
    assert_eq!(missing(&killed), None);
    lose(&killed);
    let (entries, own) = missing(&killed).unwrap();
    assert!(entries == own && (1..=3).contains(&own), "{entries} {own}");

    let b = two.open("killed", 1).await;
    let receipt = b.append(note("t", "again")).await.unwrap();
    assert_eq!(receipt.id.seq.0, 5, "above all that the peer brought back");
    until_equal(&[&a, &b], 6).await;
    assert_eq!(texts(&merged(&b).await), ["b0", "b1", "b2", "b3", "b4", "again"]);
    let status = b.status().await.unwrap();
    assert_eq!((status.missing, status.branched, b.metrics().missing.get()), (None, 0, 0));
    b.shutdown().await.unwrap();
    assert_eq!(missing(&killed), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_bit_in_the_write_ahead_log_is_noticed_and_what_it_hid_comes_back() {
    loses(|home| {
        let log = home.join("log.sqlite-wal");
        let mut bytes = fs::read(&log).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x10;
        fs::write(&log, bytes).unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncated_write_ahead_log_is_noticed_and_its_end_comes_back() {
    loses(|home| {
        let log = fs::OpenOptions::new().write(true).open(home.join("log.sqlite-wal")).unwrap();
        log.set_len(log.metadata().unwrap().len() / 2).unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_write_ahead_log_is_noticed_and_comes_back() {
    loses(|home| {
        fs::remove_file(home.join("log.sqlite-wal")).unwrap();
        fs::remove_file(home.join("log.sqlite-shm")).unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_database_is_noticed_and_comes_back() {
    let two = Two::new();
    let a = two.open("a", 0).await;
    let b = two.open("b", 1).await;
    append(&a, ["a0"]).await;
    append(&b, ["b0", "b1"]).await;
    until_equal(&[&a, &b], 3).await;
    b.shutdown().await.unwrap();
    for file in STORE {
        drop(fs::remove_file(two.home("b").join(file)));
    }
    a.shutdown().await.unwrap();
    let b = two.open_alone("b").await;
    let lost = b.status().await.unwrap().missing.unwrap();
    assert_eq!((lost.entries, lost.own), (3, 2));
    b.shutdown().await.unwrap();
    let b = two.open("b", 1).await;
    let a = two.open("a", 0).await;
    assert_eq!(b.append(note("t", "again")).await.unwrap().id.seq.0, 2);
    until_equal(&[&a, &b], 4).await;
    assert_eq!(b.status().await.unwrap().missing, None);
}

/// Appends while an older copy of the database is kept, then puts that back.
async fn with_an_older_copy(two: &Two) -> Node {
    let a = two.open("a", 0).await;
    let b = two.open("b", 1).await;
    append(&b, ["b0", "b1"]).await;
    until_equal(&[&a, &b], 2).await;
    b.shutdown().await.unwrap();
    copy(&two.home("b"), &two.home("older"));
    let b = two.open("b", 1).await;
    append(&b, ["b2", "b3", "b4"]).await;
    until_equal(&[&a, &b], 5).await;
    b.shutdown().await.unwrap();
    replace_store(&two.home("b"), &two.home("older"));
    a
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_database_put_back_is_noticed_and_no_seq_is_used_twice() {
    let two = Two::new();
    let a = with_an_older_copy(&two).await;
    assert_eq!(missing(&two.home("b")), Some((3, 3)));
    let b = two.open("b", 1).await;
    assert_eq!(b.append(note("t", "again")).await.unwrap().id.seq.0, 5);
    until_equal(&[&a, &b], 6).await;
    let status = b.status().await.unwrap();
    assert_eq!((status.missing, status.branched), (None, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_lost_entries_waits_longer_before_it_appends() {
    let two = Two::new();
    let a = with_an_older_copy(&two).await;
    a.shutdown().await.unwrap();
    let b = two.open("b", 1).await;
    let mut append = std::pin::pin!(b.append(note("t", "again")));
    let waited = tokio::time::timeout(Duration::from_secs(4), &mut append).await;
    assert!(waited.is_err(), "two seconds are for those who lost nothing");
    let a = two.open("a", 0).await;
    assert_eq!(append.await.unwrap().id.seq.0, 5);
    until_equal(&[&a, &b], 6).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_alone_with_an_older_database_says_so_appends_and_joins_later() {
    let two = Two::new();
    let a = with_an_older_copy(&two).await;
    a.shutdown().await.unwrap();
    let b = two.open_alone("b").await;
    let status = b.status().await.unwrap();
    let lost = status.missing.unwrap();
    assert_eq!((lost.entries, lost.own, status.state), (3, 3, State::Degraded));
    assert!(status.trouble.unwrap().contains("lost 3 entries"));
    assert_eq!(b.metrics().missing.get(), 3);
    assert_eq!(b.append(note("t", "alone")).await.unwrap().id.seq.0, 2);
    b.shutdown().await.unwrap();
    assert!(missing(&two.home("b")).is_some(), "what it appends doesn't hide what it lost");

    let b = two.open("b", 1).await;
    assert!(b.status().await.unwrap().missing.is_some());
    let a = two.open("a", 0).await;
    until_equal(&[&a, &b], 6).await;
    until(&[&b], |statuses| statuses[0].missing.is_none()).await;
    let joined = b.append(note("t", "joined")).await.unwrap();
    assert_eq!(joined.id.seq.0, 6, "after the entry that says which branches are joined");
    until_equal(&[&a, &b], 8).await;
    b.shutdown().await.unwrap();
    assert_eq!(missing(&two.home("b")), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tip_that_is_older_than_the_database_is_no_alarm() {
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path().join("home");
    let node = Node::open(Config::new(&home)).await.unwrap();
    append(&node, ["a"]).await;
    let older = fs::read(home.join("tip")).unwrap();
    append(&node, ["b", "c"]).await;
    node.shutdown().await.unwrap();
    fs::write(home.join("tip"), older).unwrap();
    assert_eq!(missing(&home), None);
    let node = Node::open(Config::new(&home)).await.unwrap();
    let status = node.status().await.unwrap();
    assert_eq!((status.missing, status.state), (None, State::Ok));
    let now = tip::look(&home.join("tip")).unwrap().unwrap();
    assert_eq!(now.newest.next_offset.0, 3, "the start brings it up to date");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_store_that_is_restored_on_purpose_is_whole() {
    let two = Two::new();
    let a = with_an_older_copy(&two).await;
    a.shutdown().await.unwrap();
    tip::forget(&two.home("b").join("tip")).unwrap();
    assert_eq!(missing(&two.home("b")), None);
    let b = two.open_alone("b").await;
    let status = b.status().await.unwrap();
    assert_eq!((status.missing, status.state), (None, State::Ok));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_process_has_remembered_all_that_it_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path().join("home");
    let node = Node::open(Config::new(&home)).await.unwrap();
    for n in 1..20 {
        let receipt = node.append(note("t", "x")).await.unwrap();
        let remembered = tip::look(&home.join("tip")).unwrap().unwrap();
        assert_eq!(remembered.newest.next_offset.0, n);
        assert_eq!(remembered.newest.own.unwrap().hash, receipt.hash);
    }
}
