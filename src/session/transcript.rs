//! Transcripts: what was said in a session, in order; and where two writers went on from one place,
//! both of what they said.
//!
//! A transcript is the topic `transcript/T`. Its first entry, of kind `towline.transcript`, says to
//! which session it belongs and what it came from. Every other entry follows one: the entry that
//! its attribute `towline.after` names, and without that attribute the one before it of its author.
//! So entries form a tree, and writers that extend the same entry don't overwrite each other: the
//! transcript has a *fork* there. The line of a transcript takes the child that is first in merged
//! order wherever it forks, so all nodes that hold the same entries read the same line; every other
//! branch is read by naming an entry of it. An entry of kind `towline.truncated` cuts the line that
//! it follows to its first `to` entries.

use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use super::name::{SessionName, TranscriptName};
use super::thread::read;
use super::tree::Tree;
use super::{SessionError, TenantLog};
use crate::node::series::{Most, Numbered};
use crate::store::Reader;
use crate::words::{Draft, DraftError, Entry, EntryId, Kind, NodeId, Seq, Tenant, Time, Topic};

/// The kind of a transcript's first entry, and of what announces it.
pub const TRANSCRIPT_KIND: &str = "towline.transcript";
/// The kind of an entry that cuts a line.
pub const TRUNCATED_KIND: &str = "towline.truncated";
/// The attribute that names the entry which an entry follows.
pub const AFTER: &str = "towline.after";
/// How many entries a transcript may have, all branches counted.
pub const TRANSCRIPT_ENTRIES: usize = 250_000;
/// How many bytes of payload a transcript has at most that is read as a whole.
pub const TRANSCRIPT_BYTES: usize = 64 << 20;
/// How many transcripts this process looks into at the same time, of whatever node.
static TREES: Semaphore = Semaphore::const_new(4); // full: a reader waits

/// What a transcript came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "origin", rename_all = "snake_case")]
pub enum Origin {
    /// From nothing.
    Start,
    /// From another transcript, at a place in it.
    Fork {
        /// The other transcript.
        of: String,
        /// How many of its entries came before.
        at: u64,
    },
    /// From another transcript, which it sums up.
    Compaction {
        /// The other transcript.
        of: String,
    },
}

/// What the first entry of a transcript says, and what announces it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Announcement {
    pub session: String,
    pub transcript: String,
    #[serde(flatten)]
    pub origin: Origin,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub quiet: bool,
}

impl Announcement {
    pub fn draft(&self, tenant: &Tenant, topic: Topic) -> Result<Draft, DraftError> {
        let data = serde_json::to_vec(self).map_err(|e| DraftError::Json(e.to_string()))?;
        Ok(Draft::of_towline(tenant.clone(), topic, Kind::parse(TRANSCRIPT_KIND)?, data))
    }

    pub fn read(entry: &Entry) -> Option<Self> {
        let is_one = entry.body.kind.as_str() == TRANSCRIPT_KIND;
        is_one.then(|| serde_json::from_slice(&entry.body.data).ok()).flatten()
    }
}

/// What an entry that cuts a line says.
#[derive(Serialize, Deserialize)]
pub(super) struct Truncation {
    /// How many entries are left.
    pub to: u64,
}

/// Which entries of a line are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Window {
    /// The first ones.
    #[default]
    First,
    /// Those after an entry of the line.
    After(EntryId),
    /// The last ones before an entry of the line.
    Before(EntryId),
    /// The last ones.
    Newest,
}

/// A transcript along one line, or a page of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transcript {
    /// The session that it belongs to.
    pub session: SessionName,
    /// Its name.
    pub name: TranscriptName,
    /// What it came from.
    pub origin: Origin,
    /// When it began.
    pub began: Time,
    /// The entry that begins it, which is not one of its entries: ordinal and name.
    pub beginning: (u64, EntryId),
    /// The entries that were asked for, in order, but for those that are archived.
    pub entries: Vec<Numbered>,
    /// How many entries of the line come before these, archived ones counted.
    pub preceding: u64,
    /// The entry after which the line goes on: see [`Window::After`]. None at its end.
    pub next: Option<EntryId>,
    /// How many entries the line has, archived ones counted.
    pub length: u64,
    /// The entry that the next one follows.
    pub tip: EntryId,
    /// How many branches leave the line.
    pub branches: u64,
    /// Those of them that leave it where these entries are: the first 1,000.
    pub forks: Vec<Fork>,
    /// How many entries are here that follow one which has not arrived yet, or was removed.
    pub waiting: u64,
    /// The last of the entries with which it began: its ordinal, and its name.
    pub(super) begun_with: (u64, EntryId),
}

/// A branch that leaves a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fork {
    /// Its first entry: reading through it reads the branch.
    pub first: EntryId,
    /// How many entries of the line come before it.
    pub at: u64,
}

/// What an entry follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Follows {
    /// Nothing: it begins a transcript.
    Nothing,
    /// An entry that may still be on its way.
    Named(EntryId),
    /// The entry before it of its author, which must be there.
    Own(NodeId, Option<Seq>),
    /// Nobody can say.
    Garbled,
}

impl Follows {
    /// What an entry follows.
    pub fn of(entry: &Entry) -> Self {
        let after = entry.body.attributes.get(AFTER).map(String::as_str);
        Self::said((entry.author, entry.seq), entry.body.kind.as_str(), after)
    }

    /// What an entry of this kind follows, that says so or doesn't.
    pub fn said((author, seq): (NodeId, Seq), kind: &str, after: Option<&str>) -> Self {
        match after {
            _ if kind == TRANSCRIPT_KIND => Self::Nothing,
            Some(text) => text.parse().map_or(Self::Garbled, Self::Named),
            None => Self::Own(author, seq.0.checked_sub(1).map(Seq)),
        }
    }

    /// Whether it is this entry.
    pub fn is(self, id: EntryId) -> bool {
        match self {
            Self::Named(named) => (named.author, named.seq) == (id.author, id.seq),
            Self::Own(author, seq) => (author, seq) == (id.author, Some(id.seq)),
            Self::Nothing | Self::Garbled => false,
        }
    }
}

impl TenantLog {
    /// A transcript along its line, as a whole.
    ///
    /// # Errors
    /// It is not there, corrupt, or too long.
    pub async fn transcript(&self, name: &TranscriptName) -> Result<Transcript, SessionError> {
        self.transcript_through(name, None).await
    }

    /// A transcript along the line that passes through an entry: any branch of it, as a whole.
    ///
    /// # Errors
    /// As [`TenantLog::transcript`], or the entry is not in it.
    pub async fn transcript_through(
        &self,
        name: &TranscriptName,
        through: Option<EntryId>,
    ) -> Result<Transcript, SessionError> {
        let most = Most { entries: TRANSCRIPT_ENTRIES, bytes: TRANSCRIPT_BYTES };
        let read = self.transcript_part(name, through, Window::First, most).await?;
        match read.next {
            Some(_) => Err(SessionError::TooLong(name.to_string())),
            None => Ok(read),
        }
    }

    /// A page of a transcript, along the line that passes through an entry, or else through that of the
    /// window, or else along its line. What it takes in memory is the page, and about a hundred bytes
    /// for each entry of the transcript while it is made; it takes time for each of them.
    ///
    /// # Errors
    /// The transcript is not there, has over [`TRANSCRIPT_ENTRIES`] or is corrupt; an entry is not on
    /// the line.
    pub async fn transcript_part(
        &self,
        name: &TranscriptName,
        through: Option<EntryId>,
        window: Window,
        most: Most,
    ) -> Result<Transcript, SessionError> {
        self.tree(name, move |tree, reader| tree.part(reader, through, window, most)).await
    }

    /// Reads how a transcript hangs together, and what is asked of that.
    pub(super) async fn tree<T: Send + 'static>(
        &self,
        name: &TranscriptName,
        ask: impl FnOnce(&Tree, &mut dyn Reader) -> Result<T, SessionError> + Send + 'static,
    ) -> Result<T, SessionError> {
        let place = TREES.acquire().await.ok();
        let (tenant, name) = (self.tenant.clone(), name.clone());
        read(self, move |reader| {
            let _place = place;
            ask(&Tree::read(reader, &tenant, &name)?, reader)
        })
        .await
    }
}

/// The topic of a transcript.
///
/// # Errors
/// None in practice: a name makes a topic.
pub(super) fn topic_of(name: &TranscriptName) -> Result<Topic, SessionError> {
    Ok(Topic::parse(&format!("transcript/{name}"))?)
}
