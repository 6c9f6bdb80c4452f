//! A store that SQLite can't read any more: what is left of it is carried over, nothing is deleted,
//! and a peer has the rest.

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use support::{Member, config, members, merged, note, texts, until_equal};
use tempfile::TempDir;
use towline::Node;
use towline::node::salvage::{Report, salvage};
use towline::node::{OfflineLog, VerifyError};

/// How many entries the patient holds: half its own, half of its peer.
const ENTRIES: usize = 120;

/// A node's data directory as a kill left it, and a peer that has the same log.
struct Patient {
    directory: TempDir,
    members: Vec<Member>,
    texts: BTreeSet<String>,
}

impl Patient {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let patient = Self { directory, members: members(2), texts: BTreeSet::new() };
        let (a, b) = (patient.open("peer", 0).await, patient.open("before", 1).await);
        for n in 0..ENTRIES / 4 {
            // Some fit a page with others, some take many pages.
            let size = if n % 7 == 3 { 20_000 } else { 10 + n };
            let text = |name: &str| format!("{name}{n} {}", "x".repeat(size));
            for (name, node) in [("a", &a), ("b", &b)] {
                node.append(note("t", &text(name))).await.unwrap();
                node.append(note("t", &text(&format!("{name}'")))).await.unwrap();
                if n == ENTRIES / 8 {
                    node.seal().await.unwrap(); // the first of a segment in a block, others in rows
                }
            }
        }
        until_equal(&[&a, &b], ENTRIES as u64).await;
        let texts = texts(&merged(&b).await).into_iter().collect();
        b.shutdown().await.unwrap();
        a.shutdown().await.unwrap();
        Self { texts, ..patient }
    }

    fn home(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    async fn open(&self, name: &str, me: usize) -> Node {
        let (own, other) = (&self.members[me], &self.members[1 - me]);
        Node::open(config(&self.home(name), own, &[other])).await.unwrap()
    }

    /// The node's home, without its peer in reach.
    fn alone(&self, name: &str) -> towline::Config {
        let mut config = config(&self.home(name), &self.members[1], &[]);
        config.listen = None;
        config
    }

    /// A copy of the home, whose store the test damages.
    fn damaged(&self, name: &str, damage: impl FnOnce(&mut Vec<u8>)) -> PathBuf {
        let home = self.home(name);
        copy(&self.home("before"), &home);
        let store = home.join("log.sqlite");
        let mut bytes = fs::read(&store).unwrap();
        damage(&mut bytes);
        fs::write(&store, bytes).unwrap();
        home
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for file in fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

fn noise(bytes: &mut [u8]) {
    let mut rng = fastrand::Rng::with_seed(7);
    bytes.iter_mut().for_each(|byte| *byte = rng.u8(..));
}

/// Salvages a home that can't be used as it is, and returns what is carried over.
async fn salvaged(patient: &Patient, name: &str) -> Report {
    let home = patient.home(name);
    let damaged = fs::read(home.join("log.sqlite")).unwrap();
    assert!(Node::open(patient.alone(name)).await.is_err(), "the node doesn't start as it is");
    let report = salvage(&home).unwrap();
    let aside = report.aside.as_ref().unwrap();
    assert_eq!(fs::read(aside.join("log.sqlite")).unwrap(), damaged, "nothing is deleted");
    report
}

/// The node starts alone, holds so many entries, each as it was, and goes on.
async fn goes_on_alone(patient: &Patient, name: &str, entries: usize) {
    let node = Node::open(patient.alone(name)).await.unwrap();
    let held = texts(&merged(&node).await);
    assert_eq!(held.len(), entries);
    assert!(held.iter().all(|text| patient.texts.contains(text)), "nothing out of thin air");
    node.append(note("t", "alone")).await.unwrap();
    node.shutdown().await.unwrap();
}

/// The peer brings back the rest, before the node appends.
async fn goes_on_with_its_peer(patient: &Patient, name: &str) {
    let a = patient.open("peer", 0).await;
    let b = patient.open(name, 1).await;
    let receipt = b.append(note("t", "again")).await.unwrap();
    assert_eq!(receipt.id.seq.0, ENTRIES as u64 / 2, "above all of its own");
    until_equal(&[&a, &b], ENTRIES as u64 + 1).await;
    assert_eq!(texts(&merged(&a).await), texts(&merged(&b).await));
    let status = b.status().await.unwrap();
    assert_eq!((status.branched, status.missing), (0, None));
    b.shutdown().await.unwrap();
    a.shutdown().await.unwrap();
    let verified = OfflineLog::open(&patient.home(name)).unwrap().verify(|_, _| {});
    assert_eq!(verified.unwrap().entries, ENTRIES as u64 + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_whose_first_page_is_noise_is_carried_over_as_a_whole() {
    let patient = Patient::new().await;
    patient.damaged("noise", |bytes| noise(&mut bytes[..4_096]));
    let report = salvaged(&patient, "noise").await;
    assert_eq!(report.salvaged.unwrap().entries, ENTRIES as u64);
    assert_eq!(report.missing, None);
    goes_on_alone(&patient, "noise", ENTRIES).await;
    patient.damaged("again", |bytes| noise(&mut bytes[..4_096]));
    salvaged(&patient, "again").await;
    goes_on_with_its_peer(&patient, "again").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_whose_schema_is_malformed_is_carried_over_as_a_whole() {
    let patient = Patient::new().await;
    patient.damaged("schema", |bytes| noise(&mut bytes[100..4_096]));
    let report = salvaged(&patient, "schema").await;
    assert_eq!(report.salvaged.unwrap().entries, ENTRIES as u64);
    goes_on_with_its_peer(&patient, "schema").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_store_that_lost_its_second_half_the_first_is_carried_over() {
    let patient = Patient::new().await;
    patient.damaged("half", |bytes| bytes.truncate(bytes.len() / 2));
    let report = salvage(&patient.home("half")).unwrap();
    let entries = report.salvaged.unwrap().entries as usize;
    assert!((10..ENTRIES).contains(&entries), "{entries}");
    assert!(report.missing.is_some());
    goes_on_with_its_peer(&patient, "half").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_of_zeros_begins_anew_and_says_what_is_missing() {
    let patient = Patient::new().await;
    patient.damaged("zeros", |bytes| bytes.fill(0));
    let report = salvaged(&patient, "zeros").await;
    assert_eq!(report.salvaged.unwrap().entries, 0);
    let missing = report.missing.unwrap();
    assert_eq!((missing.entries, missing.own), (ENTRIES as u64, ENTRIES as u64 / 2));
    goes_on_alone(&patient, "zeros", 0).await;
    patient.damaged("again", |bytes| bytes.fill(0));
    salvaged(&patient, "again").await;
    goes_on_with_its_peer(&patient, "again").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stands_in_a_write_ahead_log_is_carried_over() {
    let patient = Patient::new().await;
    let home = patient.home("killed");
    copy(&patient.home("before"), &home);
    let node = Node::open(patient.alone("killed")).await.unwrap();
    for n in 0..20 {
        node.append(note("t", &format!("late {n} {}", "y".repeat(n * 500)))).await.unwrap();
    }
    copy(&home, &patient.home("copy"));
    node.shutdown().await.unwrap();
    let home = patient.home("copy");
    for file in ["log.sqlite", "log.sqlite-wal"] {
        let mut bytes = fs::read(home.join(file)).unwrap();
        noise(&mut bytes[..24]);
        fs::write(home.join(file), bytes).unwrap();
    }
    let report = salvage(&home).unwrap();
    assert_eq!(report.salvaged.unwrap().entries, ENTRIES as u64 + 20);
    assert_eq!(report.missing, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_altered_is_not_carried_over() {
    let patient = Patient::new().await;
    for seed in 0..20 {
        let home = patient.damaged(&format!("altered {seed}"), |bytes| {
            let mut rng = fastrand::Rng::with_seed(seed);
            noise(&mut bytes[..100]);
            for _ in 0..30 {
                let at = rng.usize(..bytes.len());
                bytes[at] ^= 1 << rng.u8(..8);
            }
        });
        let report = salvage(&home).unwrap();
        let mut log = OfflineLog::open(&home).unwrap();
        match log.verify(|_, _| {}) {
            Ok(_) | Err(VerifyError::Missing(_)) => {}
            Err(error) => panic!("seed {seed}: {error}"),
        }
        let held = log.query(&towline::Query::merged().limit(1_000)).unwrap();
        assert_eq!(held.entries.len() as u64, report.salvaged.unwrap().entries);
        let altered = texts(&held.entries).into_iter().find(|text| !patient.texts.contains(text));
        assert_eq!(altered, None, "seed {seed}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_verifies_stays_as_it_is() {
    let patient = Patient::new().await;
    let home = patient.home("before");
    let before = fs::read(home.join("log.sqlite")).unwrap();
    let report = salvage(&home).unwrap();
    assert!(report.damage.is_none() && report.aside.is_none() && report.missing.is_none());
    assert_eq!(fs::read(home.join("log.sqlite")).unwrap(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_of_a_running_node_or_of_another_is_not_touched() {
    let patient = Patient::new().await;
    let node = Node::open(patient.alone("before")).await.unwrap();
    assert!(salvage(&patient.home("before")).is_err(), "a node runs there");
    node.shutdown().await.unwrap();
    let home = patient.damaged("other", |_| {});
    fs::copy(patient.home("peer").join("log.sqlite"), home.join("log.sqlite")).unwrap();
    assert!(salvage(&home).is_err(), "it belongs to the peer");
    assert!(home.join("log.sqlite").exists());
}
