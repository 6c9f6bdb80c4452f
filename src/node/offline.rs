//! The log of a data directory, read while no node runs on it, or beside one that does.

use std::path::Path;

use serde::Serialize;

use super::archive::{self, ArchiveError, Written};
use super::directory::{store_path, tip_path};
use super::explain::Explanation;
use super::export::{self, ExportError};
use super::forks::{self, ForkReport};
use super::proof;
use super::proven::ProofJson;
use super::query::{self, Page, Query, QueryError};
use super::verify::{self, Verified, VerifyError};
use crate::store::pruning::PruningReader;
use crate::store::sqlite::SqliteReader;
use crate::store::tip::{self, Missing, Newest, Remembered};
use crate::store::{EmitMark, OpenError, Owner, Reader, StoreError};
use crate::words::{ClusterId, Entry, EntryId, NodeId};

/// A store that is only read. It is seen as it was when it was opened, whatever a running node
/// appends meanwhile.
pub struct OfflineLog {
    reader: Box<SqliteReader>,
    missing: Option<Missing>,
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
    /// How many entries it held once and has removed.
    pub removed: u64,
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
    /// What the store lost, if anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing: Option<Missing>,
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
        if !place.is_dir() {
            let reader = SqliteReader::open(place)?.snapshot()?;
            return Ok(Self { reader: Box::new(reader), missing: None });
        }
        // First the tip, and then the snapshot: a running node commits before it remembers.
        let remembered = tip::look(&tip_path(place)).map_err(|error| {
            StoreError::Failed(format!("the tip beside the store can't be read: {error}"))
        })?;
        let mut reader = SqliteReader::open(&store_path(place))?.snapshot()?;
        let missing = match remembered {
            Some(remembered) => missing(&remembered, &mut reader)?,
            None => None,
        };
        Ok(Self { reader: Box::new(reader), missing })
    }

    /// Whom the store belongs to.
    pub fn owner(&self) -> Owner {
        self.reader.owner()
    }

    /// What the store lost and is not back, if anything.
    pub fn missing(&self) -> Option<Missing> {
        self.missing
    }

    /// A page of the log.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub fn query(&mut self, query: &Query) -> Result<Page, QueryError> {
        query::page(&mut *self.reader, query)
    }

    /// A page of the log, and what was read for it.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub fn explain(&mut self, query: &Query) -> Result<(Page, Explanation), QueryError> {
        query::explain(&mut *self.reader, query)
    }

    /// One entry; two or more where branches of its author share the seq.
    ///
    /// # Errors
    /// The store can't be read.
    pub fn get(&mut self, id: EntryId) -> Result<Vec<Entry>, QueryError> {
        Ok(query::find(&mut *self.reader, id)?)
    }

    /// Whether an entry that is not here was removed.
    ///
    /// # Errors
    /// The store can't be read.
    pub fn is_removed(&mut self, id: EntryId) -> Result<bool, StoreError> {
        query::is_removed(&mut *self.reader, id)
    }

    /// The proof of an entry; two or more where branches share the seq.
    ///
    /// # Errors
    /// The store can't be read.
    pub fn proofs(&mut self, id: EntryId) -> Result<Vec<ProofJson>, StoreError> {
        Ok(proof::proofs(&mut *self.reader, id)?.iter().map(ProofJson::from).collect())
    }

    /// Where authors have signed two histories.
    ///
    /// # Errors
    /// The store can't be read.
    pub fn forks(&mut self) -> Result<Vec<ForkReport>, StoreError> {
        forks::list(&mut *self.reader)
    }

    /// Writes all finished segments to a directory, as far as they are not there.
    ///
    /// # Errors
    /// See [`ArchiveError`]. What was written before stays.
    pub fn archive(&mut self, directory: &Path) -> Result<Written, ArchiveError> {
        archive::write_all(&mut *self.reader, directory, |_, _| {})
    }

    /// What can be said of the log.
    ///
    /// # Errors
    /// The store can't be read.
    pub fn summary(&mut self) -> Result<Summary, StoreError> {
        let owner = self.reader.owner();
        let frontier = self.reader.frontier()?;
        let offset = self.reader.watermark()?;
        let removed = self.reader.gone()?.entries;
        let EmitMark { recorded, dropped, gaps, next, .. } = self.reader.emits()?;
        Ok(Summary {
            node: owner.node,
            cluster: owner.cluster,
            version: env!("CARGO_PKG_VERSION"),
            state: "stopped",
            entries: offset.0.saturating_sub(removed),
            removed,
            authors: frontier.len(),
            offset: offset.to_string(),
            frontier: hex::encode(frontier.digest()),
            emitted: next.0,
            recorded,
            dropped,
            gaps,
            missing: self.missing,
            branched: self.reader.branched()?.len(),
            bytes: self.reader.bytes()?,
        })
    }

    /// Verifies every entry, and that none of the newest is missing. `progress` is told how many entries of how many are done.
    ///
    /// # Errors
    /// The first bad place, or that the store can't be read.
    pub fn verify(&mut self, progress: impl FnMut(u64, u64)) -> Result<Verified, VerifyError> {
        let verified = verify::verify(&mut *self.reader, progress)?;
        self.missing.map_or(Ok(verified), |missing| Err(VerifyError::Missing(missing)))
    }

    /// The log, or what one author wrote of it, as the bytes of one Automerge document.
    ///
    /// # Errors
    /// See [`ExportError`].
    pub fn document(&mut self, author: Option<NodeId>) -> Result<Vec<u8>, ExportError> {
        export::document(&mut *self.reader, author)
    }
}

fn missing(
    remembered: &Remembered,
    reader: &mut dyn Reader,
) -> Result<Option<Missing>, StoreError> {
    let own = reader.frontier()?.heads(&reader.owner().node).last().copied();
    let found = Newest { next_offset: reader.watermark()?, own };
    tip::compare(remembered, &found, reader)
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
