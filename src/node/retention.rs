//! Retention: which entries a node lets go, and when.
//!
//! It is the node's own decision, and goes by whole segments that another one continues after: the newest
//! segment of every author stays. What a policy wants gone goes only when everybody holds it who should.
//!
//! Nothing here asks the wall clock what is old. Age is how long ago an entry came here, by the time for
//! which this node has run since: a clock that is set forward ten years makes nothing old, and a node that
//! was off keeps its entries longer.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::sync::OnceCell;

use super::archive::{self, ArchiveError, read_segment};
use super::archiving::archiving;
use super::reading::Reading;
use super::roster::Roster;
use super::sync::watch;
use super::writer::{AppendError, Writer};
use crate::core::segment::Strand;
use crate::core::series::{Series, Shares, Standing};
use crate::store::pruning::{Finished, Mark, Removal};
use crate::store::{Reader, StoreError};
use crate::words::entry::View;
use crate::words::{NodeId, Offset, Seq, Tenant, Topic};
pub use policy::{PAUSE, Retention, TopicRetention};
pub use report::{Overview, RetentionReport};
use weight::Weight;

mod policy;
mod report;
mod weight;

/// A mark is made whenever this part of the shortest age has passed.
const MARKS_PER_AGE: u32 = 32;
/// How many series are trimmed in one commit.
const TRIMMED_TOGETHER: usize = 64;
/// How long appends are left alone between two commits that remove something.
const BREATH: Duration = Duration::from_millis(20);
/// Of how many segments it is looked at a time whether anything in them is live.
const LOOKED_INTO: usize = 16;

/// Says why nothing, or not all, was removed. What was removed stays removed.
#[derive(Debug, thiserror::Error)]
pub enum RetentionError {
    /// The store can't be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The writer takes nothing at the moment.
    #[error(transparent)]
    Writer(#[from] AppendError),
    /// A segment can't be written where it belongs before it goes.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
}

/// What one look at the log came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Removed {
    /// How many segments went.
    pub segments: u64,
    /// How many entries.
    pub entries: u64,
    /// How many segments should go and are not held yet by everybody who should hold them.
    pub held_back: u64,
}

/// For how long a node has run.
#[derive(Debug)]
pub struct Running {
    began: Instant,
    /// For how many milliseconds it had when this lifetime began.
    before: OnceCell<u64>,
}

impl Default for Running {
    fn default() -> Self {
        Self { began: Instant::now(), before: OnceCell::new() }
    }
}

impl Running {
    /// For how many milliseconds, in all lifetimes, as far as marks were made.
    async fn running(&self, reading: &Reading) -> Result<u64, StoreError> {
        let before = self.before.get_or_try_init(async || {
            let marks = reading.run(|reader| reader.marks()).await?;
            Ok::<_, StoreError>(marks.last().map_or(0, |mark| mark.running))
        });
        let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        Ok(before.await?.saturating_add(now))
    }
}

/// The background work of a node.
pub struct Keeper {
    policy: Retention,
    reading: Reading,
    writer: Writer,
    roster: Arc<Roster>,
    clock: Arc<Running>,
    marked: Option<Instant>,
    /// Segments in which something was live when so much was archived.
    live: HashMap<Strand, u64>,
    /// What topics weigh of which so much is kept.
    weights: HashMap<Series, Weight>,
}

impl Keeper {
    /// The background work of a node that keeps this.
    pub fn new(policy: Retention, reading: Reading, writer: Writer, roster: Arc<Roster>) -> Self {
        let (clock, live, weights) = (Arc::default(), HashMap::new(), HashMap::new());
        Self { policy, reading, writer, roster, clock, marked: None, live, weights }
    }

    /// What can be said of it while it is at work.
    pub fn overview(&self) -> Overview {
        let policy = Arc::new(self.policy.clone());
        Overview { policy, reading: self.reading.clone(), clock: self.clock.clone() }
    }

    /// Looks now and then until the node closes.
    pub async fn run(keeper: Arc<tokio::sync::Mutex<Self>>, mut closing: watch::Receiver<bool>) {
        let pause = {
            let keeper = keeper.lock().await;
            if !keeper.policy.is_active() {
                return;
            }
            keeper.policy.pause
        };
        loop {
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                _ = closing.wait_for(|closing| *closing) => return,
            }
            let looked = tokio::select! {
                looked = async { keeper.lock().await.look().await } => looked,
                _ = closing.wait_for(|closing| *closing) => return,
            };
            match looked {
                Ok(Removed { segments: 0, .. }) => {}
                Ok(Removed { segments, entries, .. }) => {
                    tracing::info!(segments, entries, "removed what the retention lets go");
                }
                Err(RetentionError::Writer(error)) => tracing::debug!(%error, "nothing is removed"),
                Err(error) => tracing::warn!(%error, "what the retention lets go stays for now"),
            }
        }
    }

    /// Lets go what the policy wants gone.
    ///
    /// # Errors
    /// See [`RetentionError`].
    pub async fn look(&mut self) -> Result<Removed, RetentionError> {
        self.mark().await?;
        for topic in self.policy.topics.clone() {
            self.archive(topic).await?;
        }
        let chosen = self.chosen().await?;
        self.remove(chosen).await
    }

    /// Lets go all finished segments below an offset, whatever the policy; not before everybody holds
    /// them who should.
    ///
    /// # Errors
    /// See [`RetentionError`].
    pub async fn remove_below(&mut self, below: Offset) -> Result<Removed, RetentionError> {
        let finished = self.reading.run(|reader| reader.finished()).await?;
        self.remove(finished.into_iter().filter(|finished| finished.end <= below).collect()).await
    }

    /// Archives what is not kept of a topic, if there is anything.
    async fn archive(&mut self, kept: TopicRetention) -> Result<(), RetentionError> {
        let TopicRetention { tenant, topic, age, entries, bytes } = kept;
        let old = match age {
            Some(age) => self.older_than(age).await?,
            None => Offset(0),
        };
        let series = Series::thread(tenant.clone(), topic.clone());
        let (of, mut weight) = (series.clone(), self.weights.remove(&series).unwrap_or_default());
        let archiving = self.reading.run(move |reader| {
            let standing = reader.standing_of(&of)?.unwrap_or_default();
            let older = reader.entries_before(&of, old)?;
            let over = entries.map_or(0, |most| standing.entries.saturating_sub(most));
            let heavy = match bytes {
                Some(most) => weight.lighten(reader, (&of, &standing), most)?,
                None => 0,
            };
            let watermark = older.max(over).max(heavy);
            let archiving = archiving(reader, (&of, &standing), watermark)?;
            weight.expect(&archiving.through);
            Ok::<_, StoreError>((archiving, weight))
        });
        let (archiving, weight) = archiving.await?;
        let statement = archiving.statement(tenant, topic);
        if let Some(draft) = statement.map_err(|error| AppendError::Draft(error.into()))? {
            self.writer.append(vec![draft], None).await?;
        }
        self.weights.insert(series, weight);
        Ok(())
    }

    /// Notes how far the log is by now, if it is time to.
    async fn mark(&mut self) -> Result<(), RetentionError> {
        let Some(age) = self.policy.shortest_age() else { return Ok(()) };
        let every = age / MARKS_PER_AGE;
        if self.marked.is_some_and(|marked| marked.elapsed() < every) {
            return Ok(());
        }
        let (running, offset) =
            (self.clock.running(&self.reading).await?, *self.writer.watermark().borrow());
        let mark = Some(Mark { running, offset });
        self.writer.prune(Removal { mark, ..Removal::default() }).await?;
        self.marked = Some(Instant::now());
        Ok(())
    }

    /// The offset below which everything came longer ago than this.
    async fn older_than(&mut self, age: Duration) -> Result<Offset, StoreError> {
        let age = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        let Some(then) = self.clock.running(&self.reading).await?.checked_sub(age) else {
            return Ok(Offset(0));
        };
        let marks = self.reading.run(|reader| reader.marks()).await?;
        let before = marks.iter().take_while(|mark| mark.running <= then).last();
        Ok(before.map_or(Offset(0), |mark| mark.offset))
    }

    /// What the policy wants gone, the oldest first.
    async fn chosen(&mut self) -> Result<Vec<Finished>, RetentionError> {
        let old = match self.policy.age {
            Some(age) => self.older_than(age).await?,
            None => Offset(0),
        };
        let (end, gone, bytes, free, finished) = self
            .reading
            .run(|reader| {
                let gone = reader.gone()?.entries;
                let size = (reader.bytes()?, reader.free_bytes()?);
                Ok::<_, StoreError>((reader.watermark()?, gone, size.0, size.1, reader.finished()?))
            })
            .await?;
        let over = |held: u64, most: Option<u64>| most.map_or(0, |most| held.saturating_sub(most));
        let mut entries = over(end.0.saturating_sub(gone), self.policy.entries);
        let mut bytes = over(bytes.saturating_sub(free), self.policy.bytes);
        let mut chosen = Vec::new();
        let mut rest = Vec::new();
        for segment in finished {
            // A bound is kept from above: a segment goes only when the rest still reaches it.
            let many = entries >= segment.entries() && entries > 0;
            if segment.end <= old || many || bytes > 0 {
                entries = entries.saturating_sub(segment.entries());
                bytes = bytes.saturating_sub(segment.bytes);
                chosen.push(segment);
            } else {
                rest.push(segment);
            }
        }
        if self.policy.archived {
            chosen.extend(self.all_archived(rest).await?);
        }
        Ok(chosen)
    }

    /// Of these segments, those in which every entry is archived in its topic.
    async fn all_archived(
        &mut self,
        segments: Vec<Finished>,
    ) -> Result<Vec<Finished>, RetentionError> {
        let archived = self.reading.run(|reader| reader.archivals()).await?;
        let known = &mut self.live;
        known.retain(|strand, _| segments.iter().any(|segment| segment.strand == *strand));
        let unknown = |segment: &Finished| known.get(&segment.strand) != Some(&archived);
        let looked_into: Vec<Finished> =
            segments.into_iter().filter(unknown).take(LOOKED_INTO).collect();
        let mut dead = Vec::new();
        for segment in looked_into {
            let live = self.reading.run(move |reader| holds_live(reader, &segment)).await?;
            if live {
                self.live.insert(segment.strand, archived);
            } else {
                dead.push(segment);
            }
        }
        Ok(dead)
    }

    /// Removes segments, as far as everybody holds them who should, one commit at a time.
    async fn remove(&mut self, segments: Vec<Finished>) -> Result<Removed, RetentionError> {
        let mut removed = Removed::default();
        for segment in segments {
            if !self.is_held_elsewhere(&segment) {
                removed.held_back += 1;
                continue;
            }
            if let Some(directory) = self.policy.archive.clone() {
                let written =
                    move |reader: &mut dyn Reader| archive::write(reader, &segment, &directory);
                self.reading.run(written).await?;
            }
            let series = self.reading.run(move |reader| series_in(reader, &segment)).await?;
            let strands = vec![segment.strand];
            self.writer.prune(Removal { strands, ..Removal::default() }).await?;
            removed.segments += 1;
            removed.entries += segment.entries();
            for trimmed in series.chunks(TRIMMED_TOGETHER) {
                tokio::time::sleep(BREATH).await;
                let trimmed = trimmed.to_vec();
                self.writer.prune(Removal { trimmed, ..Removal::default() }).await?;
            }
            tokio::time::sleep(BREATH).await;
        }
        while removed.segments > 0 && self.writer.reclaim().await? {
            tokio::time::sleep(BREATH).await;
        }
        Ok(removed)
    }

    /// Whether as many peers hold a segment as should, and the archiver does.
    fn is_held_elsewhere(&self, segment: &Finished) -> bool {
        let Retention { peers: wanted, archiver, .. } = &self.policy;
        if *wanted == 0 && archiver.is_none() {
            return true;
        }
        let holders = self.roster.holders(&segment.author, segment.next_seq);
        let has = |archiver: &NodeId| holders.contains(archiver);
        holders.len() >= *wanted && archiver.as_ref().is_none_or(has)
    }
}

/// Whether any entry of a segment is not archived in its topic. Gaps, statements and whatever else
/// towline itself wrote are always live.
fn holds_live(reader: &mut dyn Reader, segment: &Finished) -> Result<bool, StoreError> {
    let mut standings: HashMap<(String, String), Option<Standing>> = HashMap::new();
    let mut live = false;
    read_segment(reader, segment, |reader, arrival| {
        let damaged = |e: &dyn std::fmt::Display| StoreError::Damaged(e.to_string());
        let chunk = arrival.change.chunk().map_err(|e| damaged(&e))?;
        for (seq, entry) in (arrival.change.first_seq.0..).map(Seq).zip(chunk.entries()) {
            let view = View::read(entry).map_err(|e| damaged(&e))?;
            let name = (view.tenant.to_owned(), view.topic.to_owned());
            if !standings.contains_key(&name) {
                let tenant = Tenant::parse(view.tenant).map_err(|e| damaged(&e))?;
                let topic = Topic::parse(view.topic).map_err(|e| damaged(&e))?;
                let standing = reader.standing_of(&Series::thread(tenant, topic))?;
                standings.insert(name.clone(), standing);
            }
            let standing = standings.get(&name).and_then(Option::as_ref);
            if !standing.is_some_and(|s| s.is_archived(arrival.change.author, seq)) {
                live = true;
                return Ok(false);
            }
        }
        Ok(true)
    })?;
    Ok(live)
}

/// The series that have entries in a segment.
fn series_in(reader: &mut dyn Reader, segment: &Finished) -> Result<Vec<Series>, StoreError> {
    let mut series = BTreeSet::new();
    let read = read_segment(reader, segment, |_, arrival| {
        let shares = Shares::of(&arrival.change).map_err(|e| StoreError::Damaged(e.to_string()))?;
        series.extend(shares.counts.into_iter().map(|(series, _)| series));
        Ok(true)
    });
    match read {
        // What is damaged goes all the same; its place in the index stays.
        Err(StoreError::Lost(_)) | Ok(()) => Ok(series.into_iter().collect()),
        Err(error) => Err(error),
    }
}
