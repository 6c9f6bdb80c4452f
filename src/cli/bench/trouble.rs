//! Why a measurement did not come about.

use crate::node::sealing::SealError;
use crate::node::{
    AppendError, DirectoryError, EmitError, NodeError, QueryError, ReplicationError,
    RetentionError, StoreError,
};
use crate::words::DraftError;

/// Says why a measurement did not come about.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// A node can't be opened.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// A data directory can't be made.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// An append failed.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// Peers did not get the entries in time.
    #[error(transparent)]
    Replication(#[from] ReplicationError),
    /// An emit failed.
    #[error(transparent)]
    Emit(#[from] EmitError),
    /// A query or a follower failed.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// A store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A log can't be sealed.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// A thread can't be read.
    #[error(transparent)]
    Session(#[from] crate::session::SessionError),
    /// Entries can't be removed.
    #[error(transparent)]
    Retention(#[from] RetentionError),
    /// A payload can't be a draft.
    #[error(transparent)]
    Draft(#[from] DraftError),
    /// The HTTP server can't be had.
    #[error(transparent)]
    Bind(#[from] crate::http::BindError),
    /// A file or a connection fails.
    #[error("a file or a connection fails: {0}")]
    Io(#[from] std::io::Error),
    /// A task ended.
    #[error("a task ended: {0}")]
    Task(#[from] tokio::task::JoinError),
    /// A node did not do what it promises.
    #[error("{0}")]
    Wrong(String),
}
