//! A session as a viewer sees it: its newest transcript, and then what happens to it, live.
//!
//! A viewer that is told of a new transcript begins anew. What a transcript says at its beginning,
//! and kinds that are recorded only, are in what a viewer is given at first and not told live. A
//! viewer that falls behind, or whose transcript was cut or took another line, is given the
//! transcript again; it is never cut off.

use std::collections::VecDeque;

use super::name::SessionName;
use super::sessions::{Announce, announcements, listed, session_topic};
use super::tail::LAG;
use super::thread::read;
use super::transcript::{Follows, Origin, TRUNCATED_KIND, Transcript, topic_of};
use super::{SessionError, TenantLog};
use crate::core::series::Series;
use crate::node::series::{self, Most, Numbered};
use crate::node::{Bell, Delivery};
use crate::words::{Entry, EntryId, Topic};

/// How many entries are read ahead.
const AHEAD: Most = Most { entries: 256, bytes: 1 << 20 };

/// How many announcements are looked at for the newest.
const ANNOUNCEMENTS: usize = 1_024;

/// What a viewer is given at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scene {
    /// The newest transcript of the session.
    pub transcript: Transcript,
}

/// What a viewer is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mirrored {
    /// A new transcript has begun, and this is it: a viewer begins anew.
    Began(Scene),
    /// The transcript has one entry more.
    Entry(Box<Numbered>),
    /// The transcript is not what was told: this is what it is now.
    Reset(Scene),
}

/// A session, live.
pub struct Mirror {
    log: TenantLog,
    session: Series,
    bell: Bell,
    /// All announcements up to this ordinal were seen.
    announced: u64,
    shown: Shown,
    queue: VecDeque<Mirrored>,
}

/// The transcript that is shown.
struct Shown {
    thread: Topic,
    newest: Entry,
    /// All entries of its topic up to this ordinal were seen.
    at: u64,
    tip: EntryId,
    /// How many entries are here that follow one which has not arrived yet.
    waiting: u64,
}

impl TenantLog {
    /// The newest transcript of a session and what happens after it, each entry once.
    ///
    /// # Errors
    /// There is no such session here, or its transcript can't be read.
    pub async fn mirror(&self, session: &SessionName) -> Result<(Scene, Mirror), SessionError> {
        let bell = self.node.bell();
        let series = Series::thread(self.tenant.clone(), session_topic(session)?);
        let of = series.clone();
        let (announced, newest) = read(self, move |reader| {
            let end = reader.standing_of(&of)?.map_or(0, |standing| standing.entries);
            let all = announcements(reader, &of, ANNOUNCEMENTS)?;
            let entries = all.into_iter().map(|numbered| numbered.entry);
            Ok((end, entries.max_by_key(Entry::merged_key)))
        })
        .await?;
        let not_found = || SessionError::NotFound { what: "session", name: session.to_string() };
        let (shown, scene) = self.show(newest.ok_or_else(not_found)?).await?;
        let queue = VecDeque::new();
        let mirror = Mirror { log: self.clone(), session: series, bell, announced, shown, queue };
        Ok((scene, mirror))
    }

    /// The transcript that an announcement names.
    async fn show(&self, newest: Entry) -> Result<(Shown, Scene), SessionError> {
        let garbled = || SessionError::Corrupt {
            transcript: newest.body.topic.to_string(),
            place: 1,
            why: "its announcement can't be understood".to_owned(),
        };
        let name = listed(&newest).ok_or_else(garbled)?.transcript;
        let thread = topic_of(&name)?;
        let series = Series::thread(self.tenant.clone(), thread.clone());
        // What arrives between the two readings is seen twice, and told once: see `advance`.
        let at = read(self, move |reader| Ok(reader.standing_of(&series)?)).await?;
        let transcript = self.transcript(&name).await?;
        let (tip, waiting) = (transcript.tip, transcript.waiting);
        let at = at.map_or(0, |standing| standing.entries);
        Ok((Shown { thread, newest, at, tip, waiting }, Scene { transcript }))
    }
}

impl Mirror {
    /// What comes next; none when the node shuts down.
    ///
    /// # Errors
    /// The store or a transcript can't be read.
    ///
    /// # Cancel safety
    /// A call that is dropped loses nothing.
    pub async fn next(&mut self) -> Result<Option<Mirrored>, SessionError> {
        loop {
            if let Some(next) = self.queue.pop_front() {
                return Ok(Some(next));
            }
            if self.take_announcements().await? || self.advance().await? {
                continue;
            }
            if self.bell.ring().await.is_none() {
                return Ok(None);
            }
        }
    }

    /// Looks for new transcripts. Returns whether there was more to read.
    async fn take_announcements(&mut self) -> Result<bool, SessionError> {
        let run = self.read(self.session.clone(), self.announced).await?;
        let more = run.through > self.announced;
        let newer = |entry: &Entry| entry.merged_key() > self.shown.newest.merged_key();
        let announced = run.entries.into_iter().map(|numbered| numbered.entry);
        let newest = announced.filter(newer).max_by_key(Entry::merged_key);
        if let Some((newest, said)) = newest.and_then(|it| listed(&it).map(|said| (it, said))) {
            let (shown, scene) = self.log.show(newest).await?;
            self.shown = shown;
            match said.announce {
                Announce::Live => self.queue.push_back(Mirrored::Began(scene)),
                // What it began with is what viewers have; what was appended since is news.
                Announce::Quietly => {
                    (self.shown.at, self.shown.tip) = scene.transcript.begun_with()
                }
            }
        }
        self.announced = run.through;
        Ok(more)
    }

    /// Looks for more of the transcript that is shown. Returns whether there was more to read.
    async fn advance(&mut self) -> Result<bool, SessionError> {
        let series = Series::thread(self.log.tenant.clone(), self.shown.thread.clone());
        let of = series.clone();
        let end = read(&self.log, move |reader| Ok(reader.standing_of(&of)?)).await?;
        let end = end.map_or(0, |standing| standing.entries);
        if end - self.shown.at.min(end) > LAG {
            self.reset().await?;
            return Ok(true);
        }
        let run = self.read(series, self.shown.at).await?;
        let more = run.through > self.shown.at;
        if more && self.shown.waiting > 0 {
            return self.look_again().await; // what waited may follow what has come
        }
        let (mut at, mut tip, mut told) = (self.shown.at, self.shown.tip, VecDeque::new());
        for numbered in run.entries {
            let entry = &numbered.entry;
            let is_next = Follows::of(entry).is(tip);
            if !is_next || entry.body.kind.as_str() == TRUNCATED_KIND {
                return self.look_again().await;
            }
            (at, tip) = (numbered.ordinal, entry.id());
            if self.log.node.delivery(&entry.body.kind) != Delivery::RecordOnly {
                told.push_back(Mirrored::Entry(Box::new(numbered)));
            }
        }
        self.shown.at = run.through.max(at);
        self.shown.tip = tip;
        self.queue.append(&mut told);
        Ok(more)
    }

    /// Reads the transcript again where something happened that is not just one entry more.
    async fn look_again(&mut self) -> Result<bool, SessionError> {
        let (shown, scene) = self.log.show(self.shown.newest.clone()).await?;
        let told = self.shown.tip;
        self.shown = shown;
        if scene.transcript.tip != told {
            self.queue.push_back(Mirrored::Reset(scene));
        }
        Ok(true)
    }

    async fn reset(&mut self) -> Result<(), SessionError> {
        let (shown, scene) = self.log.show(self.shown.newest.clone()).await?;
        self.shown = shown;
        self.queue.push_back(Mirrored::Reset(scene));
        Ok(())
    }

    async fn read(&self, series: Series, after: u64) -> Result<series::Run, SessionError> {
        read(&self.log, move |reader| {
            let standing = reader.standing_of(&series)?.unwrap_or_default();
            let after = after.min(standing.entries);
            Ok(series::after(reader, (&series, &standing), after, AHEAD, &|_| true)?)
        })
        .await
    }
}

impl Scene {
    /// What the transcript came from.
    pub fn origin(&self) -> &Origin {
        &self.transcript.origin
    }
}
