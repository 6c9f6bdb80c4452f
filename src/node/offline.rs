//! The log of a data directory, read while no node runs on it, or beside one that does.

use std::path::Path;

use serde::Serialize;

use super::export::{self, ExportError};
use super::forks::{self, ForkReport};
use super::query::{self, Page, Query, QueryError};
use super::verify::{self, Verified, VerifyError};
use crate::store::sqlite::SqliteReader;
use crate::store::{EmitMark, OpenError, Reader, StoreError};
use crate::words::{ClusterId, Entry, EntryId, NodeId};

/// A store that is only read. It is seen as it was when it was opened, whatever a running node
/// appends meanwhile.
pub struct OfflineLog {
    reader: Box<SqliteReader>,
}

/// What can be said of a log without its node; the fields have the names of
/// [`Status`](super::Status).
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// The node that it belongs to.
    pub node: NodeId,
    /// Its cluster.
    pub cluster: ClusterId,
    /// The version of towline that reads it.
    pub version: &'static str,
    /// Always `stopped`: nobody answers for the node.
    pub state: &'static str,
    /// How many entries the log holds.
    pub entries: u64,
    /// Of how many authors.
    pub authors: usize,
    /// The offset that the next entry takes.
    pub offset: String,
    /// The digest of its frontier.
    pub frontier: String,
    /// How many events are accounted for.
    pub emitted: u64,
    /// How many of them were recorded.
    pub recorded: u64,
    /// How many of them were dropped, by the gaps.
    pub dropped: u64,
    /// How many gaps were written.
    pub gaps: u64,
    /// The authors that ever branched.
    pub branched: usize,
    /// Bytes on disk, everything counted.
    pub bytes: u64,
}

impl OfflineLog {
    /// Opens a store: a data directory, or the store's file itself.
    ///
    /// # Errors
    /// There is no store, or it is none that this towline can read. Nothing was touched.
    pub fn open(place: &Path) -> Result<Self, OpenError> {
        let reader = if place.is_dir() {
            SqliteReader::open(&super::directory::store_path(place))?
        } else {
            SqliteReader::open(place)?
        };
        let reader = Box::new(reader.snapshot()?);
        Ok(Self { reader })
    }

    /// A page of the log.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub fn query(&mut self, query: &Query) -> Result<Page, QueryError> {
        query::page(&mut *self.reader, query)
    }

    /// One entry; two or more where branches of its author share the seq.
    ///
    /// # Errors
    /// The store can't be read.
    pub fn get(&mut self, id: EntryId) -> Result<Vec<Entry>, QueryError> {
        Ok(query::find(&mut *self.reader, id)?)
    }

    /// Where authors have signed two histories.
    ///
    /// # Errors
    /// The store can't be read.
    pub fn forks(&mut self) -> Result<Vec<ForkReport>, StoreError> {
        forks::list(&mut *self.reader)
    }

    /// What can be said of the log.
    ///
    /// # Errors
    /// The store can't be read.
    pub fn summary(&mut self) -> Result<Summary, StoreError> {
        let owner = self.reader.owner();
        let frontier = self.reader.frontier()?;
        let offset = self.reader.watermark()?;
        let EmitMark { recorded, dropped, gaps, next, .. } = self.reader.emits()?;
        Ok(Summary {
            node: owner.node,
            cluster: owner.cluster,
            version: env!("CARGO_PKG_VERSION"),
            state: "stopped",
            entries: offset.0,
            authors: frontier.len(),
            offset: offset.to_string(),
            frontier: hex::encode(frontier.digest()),
            emitted: next.0,
            recorded,
            dropped,
            gaps,
            branched: self.reader.branched()?.len(),
            bytes: self.reader.bytes()?,
        })
    }

    /// Verifies every entry. `progress` is told how many entries of how many are done.
    ///
    /// # Errors
    /// The first bad place, or that the store can't be read.
    pub fn verify(&mut self, progress: impl FnMut(u64, u64)) -> Result<Verified, VerifyError> {
        verify::verify(&mut *self.reader, progress)
    }

    /// The log, or what one author wrote of it, as the bytes of one Automerge document.
    ///
    /// # Errors
    /// See [`ExportError`].
    pub fn document(&mut self, author: Option<NodeId>) -> Result<Vec<u8>, ExportError> {
        export::document(&mut *self.reader, author)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::{Config, Node};
    use crate::words::Draft;

    #[tokio::test]
    async fn a_log_is_seen_as_it_was_when_it_was_opened() {
        let directory = tempfile::tempdir().unwrap();
        let node = Node::open(Config::new(directory.path())).await.unwrap();
        let draft = || Draft::text("t", "k", "x").unwrap();
        node.append(draft()).await.unwrap();
        let mut log = OfflineLog::open(directory.path()).unwrap();
        node.append(draft()).await.unwrap();
        let verified = log.verify(|_, _| {}).unwrap();
        assert_eq!((verified.entries, log.summary().unwrap().entries), (1, 1));
        node.shutdown().await.unwrap();
    }
}
