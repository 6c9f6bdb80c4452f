//! A thread: a topic of a tenant as a numbered list, to which events are appended and from which
//! they are loaded by ordinal; and whose beginning may be archived.

use super::event::Event;
use super::tail::{LAG, Snapshot, Tail};
use super::{SessionError, TenantLog};
use crate::core::series::{Series, Standing};
use crate::node::archiving::archiving;
use crate::node::series::{self, Most, Numbered};
use crate::node::{Delivery, Receipt};
use crate::store::{Reader, StoreError};
use crate::words::entry::View;
use crate::words::{Draft, Kind, Topic};

/// How many entries [`Thread::load_since`] reads from the store at once.
const LOADED_AT_ONCE: usize = 4_096;

/// A topic of a tenant as a numbered list.
///
/// Ordinals are 1, 2, 3, … without a hole in the order in which this node got the entries: a cursor
/// is an ordinal, and belongs to the node that gave it. They are the same on all nodes as long as
/// one node at a time writes the thread; where two write at once, nodes may number differently what
/// they all hold.
#[derive(Clone)]
pub struct Thread {
    log: TenantLog,
    topic: Topic,
    series: Series,
}

/// Where a thread stands on this node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ThreadStanding {
    /// The ordinal of the newest entry; 0 when there is none.
    pub end: u64,
    /// All entries up to this ordinal are archived: reading begins above it.
    pub watermark: u64,
}

/// What archiving did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Archived {
    /// How many entries were archived that had not been.
    pub count: u64,
}

/// Some entries of a thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The entries, in order of their ordinals.
    pub entries: Vec<Numbered>,
    /// The cursor after which the next page begins; none at the end.
    pub next: Option<u64>,
}

impl Thread {
    pub(super) fn new(log: TenantLog, topic: Topic) -> Self {
        let series = Series::thread(log.tenant.clone(), topic.clone());
        Self { log, topic, series }
    }

    /// The topic.
    pub fn topic(&self) -> &Topic {
        &self.topic
    }

    /// The log that it belongs to.
    pub fn log(&self) -> &TenantLog {
        &self.log
    }

    /// Appends events in one commit, all of them or none, and returns the ordinal of the last one.
    /// They are durable on this node then.
    ///
    /// # Errors
    /// An event that is not well-formed, or a node that appends nothing.
    ///
    /// # Cancel safety
    /// A call that is dropped may still append.
    pub async fn append(&self, events: Vec<Event>) -> Result<u64, SessionError> {
        let drafts: Result<Vec<Draft>, _> =
            events.into_iter().map(|event| event.draft(&self.log.tenant, &self.topic)).collect();
        self.append_drafts(drafts?).await.map(|(ordinal, _)| ordinal)
    }

    /// Appends drafts, the last of which belongs to this thread, and returns its ordinal.
    pub(super) async fn append_drafts(
        &self,
        drafts: Vec<Draft>,
    ) -> Result<(u64, Vec<Receipt>), SessionError> {
        let receipts = self.log.node.append_all(drafts).await?;
        let last = receipts.last().map(|receipt| receipt.offset).unwrap_or_default();
        let ordinal =
            self.read(move |reader, series| Ok(series::ordinal_at(reader, series, last)?)).await?;
        Ok((ordinal, receipts))
    }

    /// All entries above a cursor that are not archived, in order of their ordinals. Their memory is
    /// the caller's to bound: see [`Thread::page`].
    ///
    /// # Errors
    /// An unknown thread, a cursor past the end, or a store that can't be read.
    pub async fn load_since(&self, cursor: u64) -> Result<Vec<Numbered>, SessionError> {
        let mut entries = Vec::new();
        let mut at = Some(cursor);
        while let Some(cursor) = at {
            let page = self.page(cursor, Most::entries(LOADED_AT_ONCE)).await?;
            entries.extend(page.entries);
            at = page.next;
        }
        Ok(entries)
    }

    /// As [`Thread::load_since`], but not more than is said.
    ///
    /// # Errors
    /// As [`Thread::load_since`].
    pub async fn page(&self, cursor: u64, most: Most) -> Result<Page, SessionError> {
        self.read(move |reader, series| {
            let standing = known(reader, series)?;
            let end = standing.entries;
            if cursor > end {
                return Err(SessionError::CursorBeyondEnd { cursor, end });
            }
            let run = series::after(reader, (series, &standing), cursor, most, &|_| true)?;
            let next = (run.through < end).then_some(run.through);
            Ok(Page { entries: run.entries, next })
        })
        .await
    }

    /// Where the thread stands; none when nothing of it has arrived.
    ///
    /// # Errors
    /// The store can't be read.
    pub async fn standing(&self) -> Result<Option<ThreadStanding>, SessionError> {
        self.read(|reader, series| {
            let Some(standing) = reader.standing_of(series)? else { return Ok(None) };
            let one = Most { entries: 1, bytes: 1 };
            let run = series::after(reader, (series, &standing), 0, one, &|_| true)?;
            let first = run.entries.first().map(|numbered| numbered.ordinal - 1);
            let watermark = first.unwrap_or(standing.entries);
            Ok(Some(ThreadStanding { end: standing.entries, watermark }))
        })
        .await
    }

    /// Archives all entries up to an ordinal: reading from 0 begins above it from then on, here and,
    /// once the statement has arrived there, on every node. It returns how many entries that were
    /// not archived before. What was archived never comes back, and a lower watermark changes
    /// nothing. The entries stay in the log, where `query` and `verify` find them.
    ///
    /// What is archived are the very entries that this node has up to there. An entry that another
    /// node wrote meanwhile, and that was not here yet, is not one of them.
    ///
    /// # Errors
    /// An unknown thread, a watermark beyond the end, or a node that appends nothing.
    pub async fn archive_before(&self, watermark: u64) -> Result<Archived, SessionError> {
        let found = self
            .read(move |reader, series| {
                let standing = known(reader, series)?;
                let end = standing.entries;
                if watermark > end {
                    return Err(SessionError::WatermarkBeyondEnd { watermark, end });
                }
                Ok(archiving(reader, (series, &standing), watermark)?)
            })
            .await?;
        let count = found.count;
        if let Some(said) = found.statement(self.log.tenant.clone(), self.topic.clone())? {
            self.log.node.append(said).await?;
        }
        Ok(Archived { count })
    }

    /// What is there, the newest entries of it, and then what comes, each entry once: a snapshot and
    /// a live tail that belong together. Kinds that are recorded only are in the snapshot and not in
    /// the tail. A tail that falls behind is given a new snapshot.
    ///
    /// # Errors
    /// The store can't be read. A thread that nothing has arrived of yet is an empty one.
    pub async fn follow(&self, most: Most) -> Result<(Snapshot, Tail), SessionError> {
        let mut tail = self.tail(most).await?;
        Ok((tail.renew().await?, tail))
    }

    /// As [`Thread::follow`]; the snapshot is the first that the tail tells.
    ///
    /// # Errors
    /// The store can't be read.
    pub async fn tail(&self, most: Most) -> Result<Tail, SessionError> {
        let node = self.log.node.clone();
        let live = move |view: &View<'_>| {
            Kind::parse(view.kind).is_ok_and(|kind| node.delivery(&kind) != Delivery::RecordOnly)
        };
        let (node, series) = (self.log.node.clone(), self.series.clone());
        let mut tail = Tail::open(node, series, (most, LAG), live).await?;
        tail.forget();
        Ok(tail)
    }

    /// The newest entries, oldest first, as far as they are not archived.
    ///
    /// # Errors
    /// An unknown thread, or a store that can't be read.
    pub async fn latest(&self, most: Most) -> Result<Vec<Numbered>, SessionError> {
        self.read(move |reader, series| {
            let standing = known(reader, series)?;
            Ok(series::last(reader, (series, &standing), u64::MAX, most, &|_| true)?)
        })
        .await
    }

    pub(super) async fn read<T: Send + 'static>(
        &self,
        reading: impl FnOnce(&mut dyn Reader, &Series) -> Result<T, SessionError> + Send + 'static,
    ) -> Result<T, SessionError> {
        let series = self.series.clone();
        read(&self.log, move |reader| reading(reader, &series)).await
    }
}

/// Runs a reading whose errors are those of this layer.
pub(super) async fn read<T: Send + 'static>(
    log: &TenantLog,
    reading: impl FnOnce(&mut dyn Reader) -> Result<T, SessionError> + Send + 'static,
) -> Result<T, SessionError> {
    // A reading that found nothing wrong with the store must not cost its reader.
    let result = log.node.read(move |reader| match reading(reader) {
        Err(SessionError::Store(error)) => Err::<_, StoreError>(error),
        other => Ok(other),
    });
    result.await?
}

/// Where a thread stands that must be known.
pub(super) fn known(reader: &mut dyn Reader, series: &Series) -> Result<Standing, SessionError> {
    let standing = reader.standing_of(series)?.filter(|standing| standing.entries > 0);
    standing.ok_or_else(|| unknown(series))
}

fn unknown(series: &Series) -> SessionError {
    let tenant = series.tenant.clone();
    match series.topic.clone() {
        Some(topic) => SessionError::UnknownThread { tenant, topic },
        None => SessionError::NotFound { what: "tenant", name: tenant.to_string() },
    }
}
