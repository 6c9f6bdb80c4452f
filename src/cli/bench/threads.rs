//! One thread among many of many tenants: its newest entries loaded, and a follow begun.

use std::time::Instant;

use super::figure::{Figure, Samples};
use super::ground::{CALLERS, GROUP, Ground, all_of, cluster, settle};
use super::read::open;
use super::trouble::BenchError;
use crate::node::measure::{TopicTable, topic_name, topic_of};
use crate::node::series::Most;
use crate::node::{Config, Node};
use crate::session::{TenantLog, Thread};
use crate::words::{Draft, DraftError, Tenant, Topic};

/// How many threads are asked, each once before any is asked again.
const ASKED: u64 = 1_000;
/// How many entries above its cursor a thread is asked for.
const SINCE: u64 = 10;
/// The same, of a snapshot with which a follow begins.
const SNAPSHOT: usize = 10;

/// Loads the end of one thread after the other, and begins to follow it.
///
/// # Errors
/// See [`BenchError`].
pub async fn threads(ground: &Ground) -> Result<Vec<Figure>, BenchError> {
    let room = ground.room("threads")?;
    let node = Node::open(Config::new(room.path()).cluster(cluster())).await?;
    fill(ground, &node).await?;
    settle(&node).await?;
    node.shutdown().await?;
    let table = table(ground, &room.path().join("limit.sqlite"))?;
    let node = open(room.path()).await?;
    let (first, again) = (load(ground, &node).await?, load(ground, &node).await?);
    let follows = follow(ground, &node).await?;
    let mut limit = Samples::default();
    for number in asked(ground) {
        let began = Instant::now();
        table.newest(&topic_name(number), SINCE as u32)?;
        limit.push_time(began.elapsed());
    }
    node.shutdown().await?;
    let beside = |what: &str, samples: &Samples, share| {
        let figure = Figure::new(what, samples.at(share), "ms");
        figure.beside("newest of an indexed SQLite table", limit.at(share))
    };
    let what = format!("newest {SINCE} of one thread among {}, median", ground.scale.threads);
    Ok(vec![
        beside(&what, &first, 0.5),
        beside("  the same, 99 of 100", &first, 0.99),
        beside("  asked again, median", &again, 0.5),
        beside("a follow of a thread begun, median", &follows, 0.5),
        beside("  the same, 99 of 100", &follows, 0.99),
    ])
}

/// Asks threads for what is above a cursor near their end.
async fn load(ground: &Ground, node: &Node) -> Result<Samples, BenchError> {
    let mut samples = Samples::default();
    for number in asked(ground) {
        let thread = thread(ground, node, number)?;
        let end = thread.standing().await?.unwrap_or_default().end;
        if end == 0 {
            continue;
        }
        let cursor = end.saturating_sub(SINCE);
        let began = Instant::now();
        let loaded = thread.load_since(cursor).await?;
        samples.push_time(began.elapsed());
        if loaded.len() as u64 != end - cursor {
            let what = format!("{} of {} entries of thread {number}", loaded.len(), end - cursor);
            return Err(BenchError::Wrong(what));
        }
    }
    Ok(samples)
}

/// Begins to follow threads, as far as there are enough such that were not asked before.
async fn follow(ground: &Ground, node: &Node) -> Result<Samples, BenchError> {
    let mut samples = Samples::default();
    for number in asked(ground) {
        let thread = thread(ground, node, (number + 1) % ground.scale.threads)?;
        let began = Instant::now();
        let _following = thread.follow(Most::entries(SNAPSHOT)).await?;
        samples.push_time(began.elapsed());
    }
    Ok(samples)
}

/// The numbers of threads that are asked, spread over all.
fn asked(ground: &Ground) -> impl Iterator<Item = u64> + use<> {
    let threads = ground.scale.threads;
    (0..threads).step_by((threads / ASKED).max(1) as usize)
}

fn thread(ground: &Ground, node: &Node, number: u64) -> Result<Thread, BenchError> {
    let log = TenantLog::new(node.clone(), tenant(ground, number)?)?;
    Ok(log.thread(Topic::parse(&topic_name(number)).map_err(DraftError::from)?))
}

fn tenant(ground: &Ground, thread: u64) -> Result<Tenant, BenchError> {
    let name = format!("tenant-{:03}", thread % ground.scale.tenants);
    Ok(Tenant::parse(&name).map_err(DraftError::from)?)
}

/// Appends all entries, in groups.
async fn fill(ground: &Ground, node: &Node) -> Result<(), BenchError> {
    let mut tasks = tokio::task::JoinSet::new();
    let tenants: Result<Vec<Tenant>, BenchError> =
        (0..ground.scale.tenants).map(|number| tenant(ground, number)).collect();
    let tenants = std::sync::Arc::new(tenants?);
    for caller in 0..CALLERS {
        let (node, payloads, scale) = (node.clone(), ground.payloads.clone(), ground.scale);
        let tenants = tenants.clone();
        tasks.spawn(async move {
            let mut first = caller * GROUP;
            while first < scale.entries {
                let count = GROUP.min(scale.entries - first);
                let drafts = payloads.drafts(first, count, scale.threads)?;
                let of_tenant = |(number, draft): (u64, Draft)| {
                    let thread = topic_of(number, scale.threads);
                    let tenant = tenants[(thread % scale.tenants) as usize].clone();
                    Draft { tenant, ..draft }
                };
                node.append_all((first..).zip(drafts).map(of_tenant).collect()).await?;
                first += CALLERS * GROUP;
            }
            Ok(())
        });
    }
    all_of(tasks).await
}

/// A table that holds the same entries.
fn table(ground: &Ground, path: &std::path::Path) -> Result<TopicTable, BenchError> {
    let mut table = TopicTable::create(path)?;
    for first in (0..ground.scale.entries).step_by(GROUP as usize) {
        let count = GROUP.min(ground.scale.entries - first);
        let rows: Vec<_> = (first..first + count)
            .map(|n| (topic_name(topic_of(n, ground.scale.threads)), ground.payloads.payload(n)))
            .collect();
        table.insert(rows.iter().map(|(topic, payload)| (topic.as_str(), &payload[..])))?;
    }
    Ok(table)
}
