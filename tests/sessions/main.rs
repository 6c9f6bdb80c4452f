//! Sessions, threads, feeds, mirrors, transitions and contexts, on nodes of both stores and on
//! clusters.

mod cluster;
mod live;
mod scale;
#[path = "../support/mod.rs"]
mod support;
mod threads;
mod transcripts;
mod transitions;

use towline::session::{Event, Numbered, SessionName, TenantLog, TranscriptName};
use towline::words::{Tenant, Topic};
use towline::{Config, Node};

/// A node in memory, and one in a directory that lives as long as it.
pub async fn both() -> [(Node, Option<tempfile::TempDir>); 2] {
    let directory = tempfile::tempdir().unwrap();
    let memory = Node::open(Config::in_memory()).await.unwrap();
    let sqlite = Node::open(Config::new(directory.path())).await.unwrap();
    [(memory, None), (sqlite, Some(directory))]
}

pub fn log(node: &Node, tenant: &str) -> TenantLog {
    TenantLog::new(node.clone(), Tenant::parse(tenant).unwrap()).unwrap()
}

pub fn topic(text: &str) -> Topic {
    Topic::parse(text).unwrap()
}

pub fn session(text: &str) -> SessionName {
    SessionName::parse(text).unwrap()
}

pub fn transcript(text: &str) -> TranscriptName {
    TranscriptName::parse(text).unwrap()
}

pub fn says(text: &str) -> Event {
    Event::text("message", text).unwrap()
}

pub fn text(numbered: &Numbered) -> String {
    String::from_utf8_lossy(&numbered.entry.body.data).into_owned()
}

pub fn texts(entries: &[Numbered]) -> Vec<String> {
    entries.iter().map(text).collect()
}

pub fn numbered(entries: &[Numbered]) -> Vec<(u64, String)> {
    entries.iter().map(|it| (it.ordinal, text(it))).collect()
}

/// What is to come soon: a test that waits longer has failed.
pub async fn soon<T>(coming: impl Future<Output = T>) -> T {
    tokio::time::timeout(support::PATIENCE, coming).await.expect("it was to come, and did not")
}
