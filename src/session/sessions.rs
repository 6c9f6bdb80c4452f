//! Sessions: the transcripts that belong together, how they begin, and how they are found.
//!
//! A session is the topic `session/S`, whose entries announce its transcripts. The first of them is
//! announced in the topic `sessions` of the tenant, too, in the same commit: from there sessions
//! are listed.

use super::event::Event;
use super::listing::{Asked, each_unarchived, list, listed};
use super::name::{SessionName, TranscriptName};
use super::thread::{Thread, read};
use super::transcript::{Announcement, Origin, topic_of};
use super::writing::{Extended, drafts, turn};
use super::{SessionError, TenantLog};
use crate::core::merge::Direction;
use crate::words::{Draft, Entry, EntryId, NodeId, Seq, Time, Topic};

/// The topic from which the sessions of a tenant are listed.
pub(super) const SESSIONS: &str = "sessions";

/// Where a new transcript belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The session, which begins with its first transcript.
    pub session: SessionName,
    /// The transcript.
    pub transcript: TranscriptName,
    /// What it comes from.
    pub origin: Origin,
    /// Whether viewers are told.
    pub announce: Announce,
}

/// Whether viewers of a session are told that a transcript has begun.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Announce {
    /// They are, and begin anew.
    #[default]
    Live,
    /// The transcript takes the place of the one before without a word: a restored session goes on
    /// where it was.
    Quietly,
}

/// A session in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The session.
    pub session: SessionName,
    /// When it began.
    pub began: Time,
    /// On which node.
    pub author: NodeId,
    /// How many transcripts it has.
    pub transcripts: u64,
    /// The newest of them.
    pub newest: TranscriptName,
}

/// A list of sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sessions {
    /// The newest first.
    pub sessions: Vec<Listed>,
    /// Where the next list goes on, on any node; none at the end.
    pub next: Option<Announced>,
}

/// A list of transcripts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transcripts {
    /// The newest first.
    pub transcripts: Vec<ListedTranscript>,
    /// Where the next list goes on, on any node; none at the end.
    pub next: Option<Announced>,
}

/// A transcript in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedTranscript {
    /// The transcript.
    pub transcript: TranscriptName,
    /// What it came from.
    pub origin: Origin,
    /// When it began.
    pub began: Time,
    /// On which node.
    pub author: NodeId,
    /// Whether viewers were told.
    pub announce: Announce,
}

/// Which announcement: the place of a session or a transcript in the list of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Announced {
    /// When it was made.
    pub time: Time,
    /// On which node.
    pub author: NodeId,
    /// Its seq.
    pub seq: Seq,
}

impl std::fmt::Display for Announced {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.time.bits(), self.author, self.seq)
    }
}

impl std::str::FromStr for Announced {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parsed = || {
            let mut parts = text.splitn(3, '.');
            let time = Time::from_bits(parts.next()?.parse().ok()?)?;
            let author = parts.next()?.parse().ok()?;
            Some(Self { time, author, seq: Seq(parts.next()?.parse().ok()?) })
        };
        parsed().ok_or("it is no cursor of a list of sessions or transcripts")
    }
}

impl Announced {
    pub(super) fn of(entry: &Entry) -> Self {
        Self { time: entry.time, author: entry.author, seq: entry.seq }
    }
}

impl TenantLog {
    /// Begins a transcript with its first events, in one commit.
    ///
    /// # Errors
    /// It is there already, what it comes from is not or is shorter, or the node appends nothing.
    pub async fn begin_transcript(
        &self,
        place: &Place,
        events: Vec<Event>,
    ) -> Result<Extended, SessionError> {
        let name = &place.transcript;
        let topic = topic_of(name)?;
        let events = drafts(events, |event| event.draft(&self.tenant, &topic))?;
        let _turn = turn(&self.tenant, name).await;
        if self.transcript_exists(name).await? {
            return Err(SessionError::Exists(name.to_string()));
        }
        self.check_origin(&place.origin).await?;
        let said = Announcement {
            session: place.session.to_string(),
            transcript: name.to_string(),
            origin: place.origin.clone(),
            quiet: place.announce == Announce::Quietly,
        };
        let session = session_topic(&place.session)?;
        let is_first = self.thread(session.clone()).standing().await?.is_none();
        let catalog = is_first.then(|| Topic::parse(SESSIONS)).transpose()?;
        let topics = catalog.into_iter().chain([session, topic.clone()]);
        let announcements = topics.map(|topic| said.draft(&self.tenant, topic));
        let mut all: Vec<Draft> = announcements.collect::<Result<_, _>>()?;
        let count = events.len();
        all.extend(events);
        let (ordinal, receipts) = self.thread(topic).append_drafts(all).await?;
        let tip = receipts.last().map(|receipt| receipt.id);
        let tip = tip.ok_or(crate::node::AppendError::Nothing)?;
        let own = receipts[receipts.len() - 1 - count].id;
        let forked = self.begins_elsewhere(name, own).await?;
        Ok(Extended { tip, ordinal, forked })
    }

    /// Whether another entry than this one begins a transcript: somebody chose the same name meanwhile.
    async fn begins_elsewhere(
        &self,
        name: &TranscriptName,
        own: EntryId,
    ) -> Result<bool, SessionError> {
        let (tenant, topic) = (self.tenant.clone(), topic_of(name)?);
        read(self, move |reader| {
            let asked = Asked { tenant, topic, direction: Direction::Forward, after: None };
            let two = asked.page(reader, 2)?.entries;
            Ok(two.iter().any(|entry| (entry.author, entry.seq) != (own.author, own.seq)))
        })
        .await
    }

    /// What a transcript comes from must be there; one that is summed up need not be readable.
    async fn check_origin(&self, origin: &Origin) -> Result<(), SessionError> {
        match origin {
            Origin::Start => Ok(()),
            Origin::Compaction { of } => {
                self.session_of(&TranscriptName::parse(of)?).await.map(drop)
            }
            Origin::Fork { of, at } => {
                let length = self.transcript_length(&TranscriptName::parse(of)?).await?;
                if *at > length {
                    let (transcript, wanted) = (of.clone(), *at);
                    return Err(SessionError::TooShort { transcript, length, wanted });
                }
                Ok(())
            }
        }
    }

    /// Whether a transcript has begun, as far as is known here.
    ///
    /// # Errors
    /// The store can't be read.
    pub async fn transcript_exists(&self, name: &TranscriptName) -> Result<bool, SessionError> {
        Ok(self.beginning_of(name).await?.is_some())
    }

    /// How many entries a transcript has along its line.
    ///
    /// # Errors
    /// As [`TenantLog::transcript`].
    pub async fn transcript_length(&self, name: &TranscriptName) -> Result<u64, SessionError> {
        self.tree(name, |tree, _| Ok(tree.line(None)?.length())).await
    }

    /// The session of a transcript.
    ///
    /// # Errors
    /// There is no such transcript here.
    pub async fn session_of(&self, name: &TranscriptName) -> Result<SessionName, SessionError> {
        let not_found = || SessionError::NotFound { what: "transcript", name: name.to_string() };
        let said = self.beginning_of(name).await?.ok_or_else(not_found)?;
        SessionName::parse(&said.session)
    }

    /// What begins a transcript, be it archived.
    async fn beginning_of(
        &self,
        name: &TranscriptName,
    ) -> Result<Option<Announcement>, SessionError> {
        let (tenant, topic) = (self.tenant.clone(), topic_of(name)?);
        let asked = Asked { tenant, topic, direction: Direction::Forward, after: None };
        let first = read(self, move |reader| Ok(asked.page(reader, 1)?.entries)).await?;
        Ok(first.first().and_then(Announcement::read))
    }

    /// Sessions, the newest first, after one that was listed before. The order is the same on every
    /// node.
    ///
    /// # Errors
    /// The store can't be read.
    pub async fn sessions(
        &self,
        after: Option<Announced>,
        limit: usize,
    ) -> Result<Sessions, SessionError> {
        let tenant = self.tenant.clone();
        read(self, move |reader| list(reader, &tenant, after, limit)).await
    }

    /// The transcripts of a session, the newest first, after one that was listed before. The order is
    /// the same on every node.
    ///
    /// # Errors
    /// There is no such session here.
    pub async fn transcripts(
        &self,
        session: &SessionName,
        after: Option<Announced>,
        limit: usize,
    ) -> Result<Transcripts, SessionError> {
        let (tenant, topic) = (self.tenant.clone(), session_topic(session)?);
        let asked = Asked { tenant, topic, direction: Direction::Backward, after };
        let listed = read(self, move |reader| {
            each_unarchived(reader, asked, limit, |_, entry| Ok(listed(entry)))
        });
        let (transcripts, next) = listed.await?;
        if transcripts.is_empty() && after.is_none() {
            let name = session.to_string();
            return Err(SessionError::NotFound { what: "session", name });
        }
        Ok(Transcripts { transcripts, next })
    }

    /// Notes what happened beside a transcript: it is no part of it. Returns the note's ordinal.
    ///
    /// # Errors
    /// There is no such transcript, or the node appends nothing.
    pub async fn trace(
        &self,
        name: &TranscriptName,
        events: Vec<Event>,
    ) -> Result<u64, SessionError> {
        self.session_of(name).await?;
        self.traces(name)?.append(events).await
    }

    /// What was noted beside a transcript, as a thread.
    ///
    /// # Errors
    /// None in practice: a name makes a topic.
    pub fn traces(&self, name: &TranscriptName) -> Result<Thread, SessionError> {
        Ok(self.thread(Topic::parse(&format!("trace/{name}"))?))
    }

    /// Whether the transcript can be read from its beginning to its end.
    ///
    /// # Errors
    /// It is not there, too long, or corrupt; the place is named.
    pub async fn check_transcript(&self, name: &TranscriptName) -> Result<(), SessionError> {
        self.tree(name, |tree, _| tree.line(None).map(drop)).await
    }
}

/// The topic of a session.
///
/// # Errors
/// None in practice: a name makes a topic.
pub(super) fn session_topic(name: &SessionName) -> Result<Topic, SessionError> {
    Ok(Topic::parse(&format!("session/{name}"))?)
}
