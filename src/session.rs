//! Sessions, threads, feeds and transitions: what programs that kept a log of their own on one host
//! had there, on top of the replicated log.
//!
//! Everything here is made of ordinary entries, so it is signed, replicated and equal on all nodes.
//! [`TenantLog`] is the log of one tenant: nothing that it returns or appends belongs to another.
//!
//! | file | what it is | its entries |
//! |---|---|---|
//! | `thread` | a topic as a numbered list: append, load since, archive | the topic's |
//! | `tail`, `feed` | a snapshot and what comes, of a topic or of the whole tenant | none of its own |
//! | `transcript`, `tree`, `part`, `sessions`, `listing`, `writing` | sessions and their transcripts, which may fork, in pages | topics `sessions`, `session/S`, `transcript/T`, `trace/T` |
//! | `mirror` | a session as a viewer sees it live | none |
//! | `transition` | the steps of state machines | kind `transition` |
//! | `persona` | named filters | topic `towline.personas` |
//! | `context` | the recent log of a topic as text for a language model | none |
//!
//! Invariant: this layer keeps nothing in memory that grows with the log, and nothing on disk
//! beside the log.

use crate::node::persona::PERSONA_TERMS;
use crate::node::{AppendError, Node, QueryError, StoreError};
use crate::words::{Code, DraftError, EntryId, NameError, Tenant, Topic};
use transcript::AFTER;

mod context;
mod event;
mod feed;
mod listing;
mod mirror;
mod name;
mod part;
mod persona;
mod sessions;
mod tail;
mod thread;
mod transcript;
mod transition;
mod tree;
mod writing;

pub use crate::node::Numbered;
pub use context::CONTEXT_CHARACTERS;
pub use event::Event;
pub use feed::{Feed, FeedFrom};
pub use mirror::{Mirror, Mirrored, Scene, Seen};
pub use name::{SessionName, TranscriptName};
pub use persona::Personas;
pub use sessions::{Announce, Announced, Listed, ListedTranscript, Place, Sessions, Transcripts};
pub use tail::{Next, Snapshot, Tail, Told};
pub use thread::{Archived, Page, Thread, ThreadStanding};
pub use transcript::{Fork, Origin, TRANSCRIPT_BYTES, TRANSCRIPT_ENTRIES, Transcript, Window};
pub use transition::{Steps, Transition, Transitions};
pub use writing::{Extended, TranscriptWriter};

/// The log of one tenant. Cloning the handle is cheap.
#[derive(Clone)]
pub struct TenantLog {
    node: Node,
    tenant: Tenant,
}

impl TenantLog {
    /// The log of a tenant, as a node holds it.
    ///
    /// # Errors
    /// The tenant is that of towline's own entries.
    pub fn new(node: Node, tenant: Tenant) -> Result<Self, SessionError> {
        Ok(Self { node, tenant: tenant.open_to_callers().map_err(DraftError::from)? })
    }

    /// The tenant.
    pub fn tenant(&self) -> &Tenant {
        &self.tenant
    }

    /// The node that holds it.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// A topic as a numbered list.
    pub fn thread(&self, topic: Topic) -> Thread {
        Thread::new(self.clone(), topic)
    }

    /// Everything of the tenant, in order of arrival.
    pub fn feed(&self) -> Feed {
        Feed::new(self.clone())
    }

    /// The steps of state machines.
    pub fn transitions(&self) -> Transitions {
        Transitions::new(self.clone())
    }
}

/// Says why something could not be done or answered. Where it was to append, nothing was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// Nothing of this thread has arrived on this node.
    #[error("nothing of the thread {topic:?} of tenant {tenant} has arrived on this node")]
    UnknownThread {
        /// The tenant.
        tenant: Tenant,
        /// The topic.
        topic: Topic,
    },
    /// A cursor lies behind the newest entry.
    #[error("the cursor {cursor} lies past the end: the newest entry is {end}")]
    CursorBeyondEnd {
        /// The cursor given.
        cursor: u64,
        /// The ordinal of the newest entry.
        end: u64,
    },
    /// A watermark lies behind the newest entry.
    #[error("the watermark {watermark} lies beyond the end: the newest entry is {end}")]
    WatermarkBeyondEnd {
        /// The watermark given.
        watermark: u64,
        /// The ordinal of the newest entry.
        end: u64,
    },
    /// An event names another tenant or topic than the log that it was given to.
    #[error("the event belongs to the {what} {found:?}, and this is the log of {expected:?}")]
    Foreign {
        /// «tenant» or «topic».
        what: &'static str,
        /// The name in the event.
        found: String,
        /// The name of the log.
        expected: String,
    },
    /// A name of a session, a transcript or a persona is not well-formed.
    #[error(
        "a {what} is 1 to {} letters, digits, '.', '_', '-' or ':', not {found:?}",
        name::NAME_BYTES
    )]
    InvalidName {
        /// «session», «transcript» or «persona».
        what: &'static str,
        /// The name given.
        found: String,
    },
    /// There is no such session, transcript or persona, or it has not arrived on this node.
    #[error("there is no {what} {name:?} here; it may not have arrived yet")]
    NotFound {
        /// «session», «transcript» or «persona».
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// There is no such entry in the transcript, or it has not arrived on this node.
    #[error("the transcript {transcript:?} has no entry {entry} here")]
    NoSuchEntry {
        /// The transcript.
        transcript: String,
        /// The entry.
        entry: EntryId,
    },
    /// What stands at a place of a transcript can't be understood, or its bytes were damaged.
    #[error("the transcript {transcript:?} is corrupt at place {place}: {why}")]
    Corrupt {
        /// The transcript.
        transcript: String,
        /// The ordinal in its topic, from 1 on.
        place: u64,
        /// What is wrong there.
        why: String,
    },
    /// The transcript is there already.
    #[error("the transcript {0:?} is there already")]
    Exists(String),
    /// A transcript is shorter than was said.
    #[error("the transcript {transcript:?} has only {length} of {wanted} entries")]
    TooShort {
        /// The transcript.
        transcript: String,
        /// How many entries it has.
        length: u64,
        /// How many were named.
        wanted: u64,
    },
    /// The transcript has too many entries to be read, or too many bytes to be read as a whole.
    #[error(
        "the transcript {0:?} is over {TRANSCRIPT_ENTRIES} entries, or over {TRANSCRIPT_BYTES} bytes \
         and not read in pages; begin a new one that is compacted from it"
    )]
    TooLong(String),
    /// The beginning of the transcript was removed from this node: what is left follows nothing.
    #[error("the beginning of the transcript {0:?} was removed by what this node retains")]
    Removed(String),
    /// An event says itself what it follows.
    #[error("the attribute {AFTER:?} is towline's own: what an event follows is said beside it")]
    SaysWhatItFollows,
    /// A persona names too much.
    #[error(
        "a persona names at most {PERSONA_TERMS} kinds, topics and values of attributes, of each"
    )]
    PersonaTooLarge,
    /// An event is not well-formed.
    #[error(transparent)]
    Draft(#[from] DraftError),
    /// The node appends nothing.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// What is asked for has no answer.
    #[error(transparent)]
    Query(QueryError),
    /// The store can't be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<QueryError> for SessionError {
    fn from(error: QueryError) -> Self {
        match error {
            QueryError::Store(error) => Self::Store(error),
            other => Self::Query(other),
        }
    }
}

impl From<NameError> for SessionError {
    fn from(error: NameError) -> Self {
        Self::Draft(error.into())
    }
}

impl SessionError {
    /// The code that people and programs see.
    pub fn code(&self) -> Code {
        match self {
            Self::UnknownThread { .. } => Code::UnknownThread,
            Self::CursorBeyondEnd { .. } => Code::CursorBeyondEnd,
            Self::WatermarkBeyondEnd { .. } => Code::WatermarkBeyondEnd,
            Self::Foreign { .. } => Code::Foreign,
            Self::InvalidName { .. } | Self::SaysWhatItFollows => Code::Name,
            Self::NotFound { .. } | Self::NoSuchEntry { .. } => Code::NotFound,
            Self::Corrupt { .. } => Code::Corrupt,
            Self::Exists(_) => Code::Exists,
            Self::TooShort { .. } => Code::TooShort,
            Self::TooLong(_) | Self::PersonaTooLarge => Code::TooLarge,
            Self::Removed(_) => Code::Removed,
            Self::Draft(DraftError::PayloadTooLarge { .. }) => Code::TooLarge,
            Self::Draft(DraftError::Json(_)) => Code::Malformed,
            Self::Draft(_) => Code::Name,
            Self::Append(error) => match error {
                AppendError::Nothing => Code::Nothing,
                AppendError::Draft(error) => Self::Draft(error.clone()).code(),
                AppendError::KeyReused(_) => Code::KeyReused,
                AppendError::KeyRemoved(_) => Code::Removed,
                AppendError::DiskFull(_) => Code::DiskFull,
                AppendError::Log(_) | AppendError::Poisoned(_) => Code::Poisoned,
                AppendError::Closed => Code::Closing,
            },
            Self::Query(QueryError::Cursor(_)) => Code::Cursor,
            Self::Query(QueryError::Limit(_)) => Code::Usage,
            Self::Query(QueryError::Store(_)) | Self::Store(_) => Code::Store,
        }
    }
}
