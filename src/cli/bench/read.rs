//! Reading: following, scanning, the newest of one topic, and the first answer after a start.

use std::collections::HashSet;
use std::path::Path;
use std::time::Instant;

use super::figure::{Figure, Samples, rate};
use super::ground::{Ground, cluster};
use super::trouble::BenchError;
use crate::node::measure::{OneTable, TopicTable, topic_name, topic_of};
use crate::node::{Config, Filter, Followed, From, Node, Query};
use crate::words::{DraftError, Topic};

/// How often a start is timed.
const STARTS: usize = 5;
/// How many topics are asked for their newest entries.
const TOPICS: u64 = 200;
/// How many entries of a topic are wanted.
const NEWEST: u32 = 100;
/// How many entries a page of a scan has.
const PAGE: usize = 10_000;
/// How many rows the topics' table gets at once.
const ROWS: u64 = 10_000;

/// Follows the log from its start to its end.
///
/// # Errors
/// See [`BenchError`]; so for every step.
pub async fn follow(ground: &Ground) -> Result<Vec<Figure>, BenchError> {
    let node = open(&ground.log().await?).await?;
    let table = OneTable::open(&ground.table()?)?;
    let started = Instant::now();
    let mut follow = node.follow(Filter::all(), From::Start).await?;
    let mut seen = 0_u64;
    while let Some(Followed::Entry { .. }) = follow.next().await? {
        seen += 1;
    }
    let ours = rate(seen, started.elapsed());
    drop(follow);
    node.shutdown().await?;
    let limit = scan_table(&table, ground.scale.entries)?;
    Ok(vec![
        Figure::new("follow from the start", ours, "entries/s")
            .beside("scan of one SQLite table", limit),
    ])
}

/// Opens a filled node, and asks it for its newest entry.
///
/// # Errors
/// See [`follow`].
pub async fn restart(ground: &Ground) -> Result<Vec<Figure>, BenchError> {
    let data = ground.log().await?;
    let file = ground.table()?;
    let (mut ours, mut plain) = (Samples::default(), Samples::default());
    for _ in 0..STARTS {
        let started = Instant::now();
        OneTable::open(&file)?.newest()?;
        plain.push_time(started.elapsed());
        let started = Instant::now();
        let node = open(&data).await?;
        let page = node.query(Query::merged().reverse().limit(1)).await?;
        ours.push_time(started.elapsed());
        node.shutdown().await?;
        if page.entries.is_empty() {
            return Err(BenchError::Wrong("a filled node answers with nothing".into()));
        }
    }
    Ok(vec![
        Figure::new("start until the first answer", ours.median(), "ms")
            .beside("the same of a SQLite table", plain.median()),
    ])
}

/// Everything in merged order, page by page.
///
/// # Errors
/// See [`follow`].
pub async fn scan(ground: &Ground) -> Result<Vec<Figure>, BenchError> {
    let node = open(&ground.merged_log().await?).await?;
    let table = OneTable::open(&ground.table()?)?;
    let started = Instant::now();
    let seen = scan_all(&node).await?;
    let ours = rate(seen, started.elapsed());
    node.shutdown().await?;
    if seen != ground.scale.entries {
        let what = format!("a scan shows {seen} of {} entries", ground.scale.entries);
        return Err(BenchError::Wrong(what));
    }
    let what = format!("full scan in merged order, {} authors", ground.scale.authors);
    let limit = scan_table(&table, ground.scale.entries)?;
    Ok(vec![Figure::new(what, ours, "entries/s").beside("scan of one SQLite table", limit)])
}

/// Reads all pages of a log in merged order, and returns how many entries they have.
///
/// # Errors
/// See [`follow`].
pub async fn scan_all(node: &Node) -> Result<u64, BenchError> {
    let mut query = Query::merged().limit(PAGE);
    let mut seen = 0;
    loop {
        let page = node.query(query.clone()).await?;
        seen += page.entries.len() as u64;
        match page.next {
            Some(next) => query = query.after(next),
            None => return Ok(seen),
        }
    }
}

/// The newest entries of one topic among many.
///
/// # Errors
/// See [`follow`].
pub async fn topic(ground: &Ground) -> Result<Vec<Figure>, BenchError> {
    let data = ground.merged_log().await?;
    let room = ground.room("topic")?;
    let topics = ground.many_topics();
    let mut table = TopicTable::create(&room.path().join("limit.sqlite"))?;
    for first in (0..ground.scale.entries).step_by(ROWS as usize) {
        let numbers = first..(first + ROWS).min(ground.scale.entries);
        let rows: Vec<_> = numbers
            .map(|n| (topic_name(topic_of(n, topics)), ground.payloads.payload(n)))
            .collect();
        table.insert(rows.iter().map(|(topic, payload)| (topic.as_str(), &payload[..])))?;
    }
    let node = open(&data).await?;
    let (mut ours, mut again, mut plain) =
        (Samples::default(), Samples::default(), Samples::default());
    // Spread over the log, and each topic once as long as there are enough.
    let step = (ground.scale.entries / TOPICS).max(1);
    let mut asked = HashSet::new();
    for number in (0..ground.scale.entries).step_by(step as usize) {
        let name = topic_name(topic_of(number, topics));
        if !asked.insert(name.clone()) && topics > TOPICS {
            continue;
        }
        let started = Instant::now();
        let rows = table.newest(&name, NEWEST)?;
        plain.push_time(started.elapsed());
        let topic = Topic::parse(&name).map_err(DraftError::from)?;
        let filter = Filter { topic: Some(topic), ..Filter::all() };
        let query = Query::merged().reverse().limit(NEWEST as usize).filter(filter);
        let started = Instant::now();
        let page = node.query(query.clone()).await?;
        ours.push_time(started.elapsed());
        let started = Instant::now();
        node.query(query).await?;
        again.push_time(started.elapsed());
        if page.entries.len() != rows.len() {
            let what = format!("{name} has {} entries, {} shown", rows.len(), page.entries.len());
            return Err(BenchError::Wrong(what));
        }
    }
    node.shutdown().await?;
    let what = format!("newest {NEWEST} of one topic among {topics}, median");
    Ok(vec![
        Figure::new(what, ours.median(), "ms").beside("indexed SQLite table", plain.median()),
        Figure::new("  the same, 99 of 100", ours.at(0.99), "ms")
            .beside("indexed SQLite table", plain.at(0.99)),
        Figure::new("  asked again, median", again.median(), "ms")
            .beside("indexed SQLite table", plain.median()),
    ])
}

/// Opens a node of the bench that has no peers.
///
/// # Errors
/// It can't start.
pub async fn open(data: &Path) -> Result<Node, BenchError> {
    Ok(Node::open(Config::new(data).cluster(cluster())).await?)
}

fn scan_table(table: &OneTable, rows: u64) -> Result<f64, BenchError> {
    let started = Instant::now();
    table.scan()?;
    Ok(rate(rows, started.elapsed()))
}
