//! Sessions: the transcripts that belong together, how they begin, and how they are found.
//!
//! A session is the topic `session/S`, whose entries announce its transcripts. The first of them is
//! announced in the topic `sessions` of the tenant, too, in the same commit: from there sessions
//! are listed.

use std::collections::BTreeMap;

use super::event::Event;
use super::name::{SessionName, TranscriptName};
use super::thread::{Thread, read};
use super::transcript::{Announcement, Origin, TRANSCRIPT_KIND, Tree, topic_of};
use super::writing::{Extended, drafts};
use super::{SessionError, TenantLog};
use crate::core::series::{Series, Standing};
use crate::node::series::{self, Most, Numbered};
use crate::store::Reader;
use crate::words::entry::View;
use crate::words::{ChangeHash, Draft, Entry, NodeId, SegmentId, Seq, Tenant, Time, Topic};

/// The topic from which the sessions of a tenant are listed.
const SESSIONS: &str = "sessions";
/// How many announcements are read at once.
const READ_AT_ONCE: usize = 1_024;
/// How many transcripts of one session are listed at most, the newest ones.
const TRANSCRIPTS: usize = 10_000;

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

/// A place in merged order.
type Key = (Time, NodeId, Seq, SegmentId, ChangeHash);

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

/// Which announcement: the place of a session in the list of all.
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
        parsed().ok_or("it is no cursor of a list of sessions")
    }
}

impl Announced {
    fn of(entry: &Entry) -> Self {
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
        all.extend(events);
        let (ordinal, receipts) = self.thread(topic).append_drafts(all).await?;
        let tip = receipts.last().map(|receipt| receipt.id);
        let tip = tip.ok_or(crate::node::AppendError::Nothing)?;
        Ok(Extended { tip, ordinal, forked: false })
    }

    /// What a transcript comes from must be there.
    async fn check_origin(&self, origin: &Origin) -> Result<(), SessionError> {
        let (of, at) = match origin {
            Origin::Start => return Ok(()),
            Origin::Fork { of, at } => (of, *at),
            Origin::Compaction { of } => (of, 0),
        };
        let line = self.transcript(&TranscriptName::parse(of)?).await?;
        if at > line.length {
            let (transcript, length) = (of.clone(), line.length);
            return Err(SessionError::TooShort { transcript, length, wanted: at });
        }
        Ok(())
    }

    /// Whether a transcript has begun, as far as is known here.
    ///
    /// # Errors
    /// The store can't be read.
    pub async fn transcript_exists(&self, name: &TranscriptName) -> Result<bool, SessionError> {
        let series = Series::thread(self.tenant.clone(), topic_of(name)?);
        read(self, move |reader| {
            // What is archived has been there all the same.
            let standing = reader.standing_of(&series)?.unwrap_or_default();
            let whole = Standing { archived: [].into(), hidden: 0, ..standing };
            let one = Most { entries: 1, bytes: 1 };
            let run = series::after(reader, (&series, &whole), 0, one, &is_announcement)?;
            Ok(!run.entries.is_empty())
        })
        .await
    }

    /// How many entries a transcript has along its line.
    ///
    /// # Errors
    /// As [`TenantLog::transcript`].
    pub async fn transcript_length(&self, name: &TranscriptName) -> Result<u64, SessionError> {
        Ok(self.transcript(name).await?.length)
    }

    /// The session of a transcript.
    ///
    /// # Errors
    /// As [`TenantLog::transcript`].
    pub async fn session_of(&self, name: &TranscriptName) -> Result<SessionName, SessionError> {
        Ok(self.transcript(name).await?.session)
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

    /// The transcripts of a session, the newest first.
    ///
    /// # Errors
    /// There is no such session here.
    pub async fn transcripts(
        &self,
        session: &SessionName,
    ) -> Result<Vec<ListedTranscript>, SessionError> {
        let series = Series::thread(self.tenant.clone(), session_topic(session)?);
        let mut found =
            read(self, move |reader| announcements(reader, &series, TRANSCRIPTS)).await?;
        if found.is_empty() {
            let name = session.to_string();
            return Err(SessionError::NotFound { what: "session", name });
        }
        found.sort_by_key(|numbered| std::cmp::Reverse(numbered.entry.merged_key()));
        Ok(found.iter().filter_map(|numbered| listed(&numbered.entry)).collect())
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
        let (tenant, name) = (self.tenant.clone(), name.clone());
        read(self, move |reader| Tree::read(reader, &tenant, &name)?.line(None).map(drop)).await
    }
}

/// The topic of a session.
///
/// # Errors
/// None in practice: a name makes a topic.
pub(super) fn session_topic(name: &SessionName) -> Result<Topic, SessionError> {
    Ok(Topic::parse(&format!("session/{name}"))?)
}

/// The announcement that an entry makes, for a list.
pub(super) fn listed(entry: &Entry) -> Option<ListedTranscript> {
    let said = Announcement::read(entry)?;
    Some(ListedTranscript {
        transcript: TranscriptName::parse(&said.transcript).ok()?,
        origin: said.origin,
        began: entry.time,
        author: entry.author,
        announce: if said.quiet { Announce::Quietly } else { Announce::Live },
    })
}

/// The newest announcements of a topic.
pub(super) fn announcements(
    reader: &mut dyn Reader,
    series: &Series,
    most: usize,
) -> Result<Vec<Numbered>, SessionError> {
    let standing = reader.standing_of(series)?.unwrap_or_default();
    let most = Most::entries(most);
    Ok(series::last(reader, (series, &standing), u64::MAX, most, &is_announcement)?)
}

fn is_announcement(view: &View<'_>) -> bool {
    view.kind == TRANSCRIPT_KIND
}

/// Sessions in merged order, the newest first. The whole catalogue is read, in pieces, and as many
/// are kept as are listed: entries that came late belong to the past.
fn list(
    reader: &mut dyn Reader,
    tenant: &Tenant,
    after: Option<Announced>,
    limit: usize,
) -> Result<Sessions, SessionError> {
    let series = Series::thread(tenant.clone(), Topic::parse(SESSIONS)?);
    let standing = reader.standing_of(&series)?.unwrap_or_default();
    let mut newest: BTreeMap<Key, Entry> = BTreeMap::new();
    let mut at = 0;
    while at < standing.entries {
        let most = Most::entries(READ_AT_ONCE);
        let run = series::after(reader, (&series, &standing), at, most, &|_| true)?;
        at = run.through;
        for Numbered { entry, .. } in run.entries {
            let key = entry.merged_key();
            if after.is_none_or(|after| Announced::of(&entry) < after) {
                newest.insert(key, entry);
            }
            if newest.len() > limit {
                newest.pop_first();
            }
        }
    }
    let oldest = newest.first_key_value().filter(|_| newest.len() == limit);
    let next = oldest.map(|(_, entry)| Announced::of(entry));
    let mut sessions = Vec::new();
    for entry in newest.into_values().rev() {
        sessions.extend(describe(reader, tenant, &entry)?);
    }
    Ok(Sessions { sessions, next })
}

/// A session as its first announcement and those of its transcripts say. None for a second
/// announcement of the same session, made where the first was not known yet.
fn describe(
    reader: &mut dyn Reader,
    tenant: &Tenant,
    entry: &Entry,
) -> Result<Option<Listed>, SessionError> {
    let Some(said) = Announcement::read(entry) else { return Ok(None) };
    let Ok(session) = SessionName::parse(&said.session) else { return Ok(None) };
    let series = Series::thread(tenant.clone(), session_topic(&session)?);
    let all = announcements(reader, &series, TRANSCRIPTS)?;
    let first = all.iter().map(|it| &it.entry).min_by_key(|entry| entry.merged_key());
    let is_first = |first: &Entry| (first.author, first.seq) == (entry.author, entry.seq.plus(1));
    let newest = all.iter().map(|it| &it.entry).max_by_key(|entry| entry.merged_key());
    let Some(newest) = newest.and_then(listed) else { return Ok(None) };
    if all.len() < TRANSCRIPTS && !first.is_some_and(is_first) {
        return Ok(None);
    }
    Ok(Some(Listed {
        session,
        began: entry.time,
        author: entry.author,
        transcripts: all.len() as u64,
        newest: newest.transcript,
    }))
}
