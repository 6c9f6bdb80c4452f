//! What can be said of a retention: what there is, what is gone, and what is kept.

use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;

use super::Running;
use super::policy::Retention;
use crate::node::reading::Reading;
use crate::store::StoreError;
use crate::store::pruning::{Finished, Gone};
use crate::words::NodeId;

/// What is kept and what is gone; the JSON of `/v1/retention`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RetentionReport {
    /// How many entries are held.
    pub held: u64,
    /// How many were removed, in how many segments, and below which offset.
    #[serde(flatten)]
    pub gone: Gone,
    /// How many segments could go now, if a policy wanted it.
    pub finished: u64,
    /// How many entries they have.
    pub finished_entries: u64,
    /// For how many milliseconds this node has run, in all lifetimes since it first noted that.
    pub running_millis: u64,
    /// What is kept.
    pub policy: PolicyReport,
}

/// A policy as people read it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PolicyReport {
    /// Seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub age_seconds: Option<u64>,
    /// Entries.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entries: Option<u64>,
    /// Bytes on disk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Whether what is archived goes.
    pub archived: bool,
    /// How many peers must hold what goes.
    pub peers: usize,
    /// Who must.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub archiver: Option<NodeId>,
    /// Where it is written first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub archive: Option<PathBuf>,
}

/// What can be said of a retention while it is at work. Cloning it is cheap.
#[derive(Clone)]
pub struct Overview {
    pub(super) policy: Arc<Retention>,
    pub(super) reading: Reading,
    pub(super) clock: Arc<Running>,
}

impl Overview {
    /// What there is and what is gone.
    ///
    /// # Errors
    /// The store can't be read.
    pub async fn report(&self) -> Result<RetentionReport, StoreError> {
        let running_millis = self.clock.running(&self.reading).await?;
        let (end, gone, finished) = self
            .reading
            .run(|reader| {
                Ok::<_, StoreError>((reader.watermark()?, reader.gone()?, reader.finished()?))
            })
            .await?;
        let Retention { age, entries, bytes, archived, peers, archiver, archive, .. } =
            self.policy.as_ref().clone();
        let age_seconds = age.map(|age| age.as_secs());
        Ok(RetentionReport {
            held: end.0.saturating_sub(gone.entries),
            gone,
            finished: finished.len() as u64,
            finished_entries: finished.iter().map(Finished::entries).sum(),
            running_millis,
            policy: PolicyReport {
                age_seconds,
                entries,
                bytes,
                archived,
                peers,
                archiver,
                archive,
            },
        })
    }
}
