//! A session as a viewer sees it: its newest transcript, and then what happens to it, live.
//!
//! A viewer that is told of a new transcript begins anew. What a transcript says at its beginning,
//! and kinds that are recorded only, are in what a viewer is given at first and not told live. A
//! viewer that falls behind, or whose transcript was cut or took another line, is given the
//! transcript again; it is never cut off.

use std::collections::{HashSet, VecDeque};

use super::listing::{listed, newest_of};
use super::name::{SessionName, TranscriptName};
use super::sessions::{Announce, session_topic};
use super::tail::LAG;
use super::thread::read;
use super::transcript::{Follows, Origin, TRUNCATED_KIND, Transcript, Window, topic_of};
use super::{SessionError, TenantLog};
use crate::core::series::Series;
use crate::node::kept::Kept;
use crate::node::series::{self, Most, Numbered};
use crate::node::{Bell, Delivery};
use crate::words::{Entry, EntryId, NodeId, Seq, Topic};

/// How many entries are read ahead.
const AHEAD: Most = Most { entries: 256, bytes: 1 << 20 };
/// How many entries of other branches are remembered, so that what follows them is known to be aside.
const ASIDE: usize = 1_024; // full: all are forgotten, and the transcript is looked at again
/// Nothing of what a transcript says.
const NOTHING: Most = Most { entries: 0, bytes: 0 };

/// What a viewer is given at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scene {
    /// The newest transcript of the session: its newest entries.
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

/// What a viewer would be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// The transcript has one entry more.
    Entry(Box<Numbered>),
    /// A new transcript has begun; it is not read yet: see [`Mirror::renew`].
    Began,
    /// The transcript is not what was told, and is not read yet.
    Reset,
}

/// A session, live.
pub struct Mirror {
    log: TenantLog,
    session: Series,
    bell: Bell,
    /// How much of a transcript is given at once.
    most: Most,
    /// All announcements up to this ordinal were seen.
    announced: u64,
    shown: Shown,
    /// What is to be read anew, of the transcript that this entry announces.
    due: Option<(Due, Entry)>,
    queue: VecDeque<Numbered>,
    /// The room that the queue takes.
    room: Kept,
    /// Where the viewer is, and where it was before it was told of the last entry.
    told: Place,
    before: Place,
}

/// What is to be read anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    Began,
    Reset,
}

/// A place in a transcript: all entries of its topic up to an ordinal were seen, and the line ends in an
/// entry.
#[derive(Clone, Copy, Debug)]
struct Place {
    at: u64,
    tip: EntryId,
}

/// The transcript that is shown.
struct Shown {
    name: TranscriptName,
    thread: Topic,
    newest: Entry,
    /// What was seen, and is in the queue or was told.
    place: Place,
    /// How many entries are here that follow one which has not arrived yet.
    waiting: u64,
    /// Entries of other branches.
    aside: HashSet<(NodeId, Seq)>,
}

impl TenantLog {
    /// The newest transcript of a session, its newest entries, and what happens after them, each once.
    ///
    /// # Errors
    /// There is no such session here, or its transcript can't be read.
    pub async fn mirror(
        &self,
        session: &SessionName,
        most: Most,
    ) -> Result<(Scene, Mirror), SessionError> {
        self.watch(session, most, most).await
    }

    /// As [`TenantLog::mirror`]; the transcript is the first that the mirror tells.
    ///
    /// # Errors
    /// There is no such session here, or its transcript can't be read.
    pub async fn mirror_later(
        &self,
        session: &SessionName,
        most: Most,
    ) -> Result<Mirror, SessionError> {
        let (_, mut mirror) = self.watch(session, most, NOTHING).await?;
        mirror.forget();
        Ok(mirror)
    }

    async fn watch(
        &self,
        session: &SessionName,
        most: Most,
        now: Most,
    ) -> Result<(Scene, Mirror), SessionError> {
        let bell = self.node.bell();
        let series = Series::thread(self.tenant.clone(), session_topic(session)?);
        let (of, tenant, name) = (series.clone(), self.tenant.clone(), session.clone());
        let (announced, newest) = read(self, move |reader| {
            let end = reader.entries_of(&of)?;
            Ok((end, newest_of(reader, &tenant, &name)?))
        })
        .await?;
        let not_found = || SessionError::NotFound { what: "session", name: session.to_string() };
        let (shown, scene) = self.show(newest.ok_or_else(not_found)?, now).await?;
        let mirror = Mirror {
            log: self.clone(),
            session: series,
            bell,
            most,
            announced,
            due: None,
            queue: VecDeque::new(),
            room: Kept::default(),
            told: shown.place,
            before: shown.place,
            shown,
        };
        Ok((scene, mirror))
    }

    /// The newest entries of the transcript that an announcement names.
    async fn show(&self, newest: Entry, most: Most) -> Result<(Shown, Scene), SessionError> {
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
        let transcript = self.transcript_part(&name, None, Window::Newest, most).await?;
        let at = at.map_or(0, |standing| standing.entries);
        let place = Place { at, tip: transcript.tip };
        let (waiting, aside) = (transcript.waiting, HashSet::new());
        Ok((Shown { name, thread, newest, place, waiting, aside }, Scene { transcript }))
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
        Ok(match self.look().await? {
            Some(Seen::Entry(entry)) => Some(Mirrored::Entry(entry)),
            Some(Seen::Began) => Some(Mirrored::Began(self.renew().await?)),
            Some(Seen::Reset) => Some(Mirrored::Reset(self.renew().await?)),
            None => None,
        })
    }

    /// As [`Mirror::next`], but no transcript is read: whoever has room for one asks for it, and until
    /// then nothing else comes.
    ///
    /// # Errors
    /// The store or a transcript can't be read.
    ///
    /// # Cancel safety
    /// A call that is dropped loses nothing.
    pub async fn look(&mut self) -> Result<Option<Seen>, SessionError> {
        loop {
            if let Some(next) = self.queue.pop_front() {
                self.before = self.told;
                self.told = Place { at: next.ordinal, tip: next.entry.id() };
                return Ok(Some(Seen::Entry(Box::new(next))));
            }
            (self.room, self.queue) = (Kept::default(), VecDeque::new());
            match &self.due {
                Some((Due::Began, _)) => return Ok(Some(Seen::Began)),
                Some((Due::Reset, _)) => return Ok(Some(Seen::Reset)),
                None => {}
            }
            if self.take_announcements().await? || self.advance().await? {
                continue;
            }
            let thread = Series::thread(self.log.tenant.clone(), self.shown.thread.clone());
            let wanted = |entry: &Entry| self.session.has(entry) || thread.has(entry);
            if self.bell.ring(wanted).await?.is_none() {
                return Ok(None);
            }
        }
    }

    /// The newest entries of the transcript, after which this mirror goes on.
    ///
    /// # Errors
    /// The store or the transcript can't be read.
    ///
    /// # Cancel safety
    /// A call that is dropped loses nothing.
    pub async fn renew(&mut self) -> Result<Scene, SessionError> {
        let due = self.due.as_ref().map(|(_, newest)| newest.clone());
        let newest = due.unwrap_or_else(|| self.shown.newest.clone());
        let (shown, scene) = self.log.show(newest, self.most).await?;
        self.due = None;
        self.move_to(shown);
        Ok(scene)
    }

    /// Tells the whole transcript next.
    pub fn forget(&mut self) {
        let due = || (Due::Reset, self.shown.newest.clone());
        self.due = Some(self.due.take().unwrap_or_else(due));
        (self.room, self.queue) = (Kept::default(), VecDeque::new());
    }

    /// Lets go what was read and not told, and tells the last entry again.
    pub fn put_back(&mut self) {
        (self.room, self.queue) = (Kept::default(), VecDeque::new());
        (self.shown.place, self.told) = (self.before, self.before);
    }

    fn move_to(&mut self, shown: Shown) {
        (self.told, self.before) = (shown.place, shown.place);
        (self.room, self.queue) = (Kept::default(), VecDeque::new());
        self.shown = shown;
    }

    /// Looks for new transcripts. Returns whether there was more to read.
    async fn take_announcements(&mut self) -> Result<bool, SessionError> {
        let run = self.read(self.session.clone(), self.announced).await?;
        let more = run.through > self.announced;
        let newer = |entry: &Entry| entry.merged_key() > self.shown.newest.merged_key();
        let announced = run.entries.into_iter().map(|numbered| numbered.entry);
        let newest = announced.filter(newer).max_by_key(Entry::merged_key);
        if let Some((newest, said)) = newest.and_then(|it| listed(&it).map(|said| (it, said))) {
            match said.announce {
                Announce::Live => self.due = Some((Due::Began, newest)),
                // What it began with is what viewers have; what was appended since is news.
                Announce::Quietly => {
                    let (mut shown, scene) = self.log.show(newest, NOTHING).await?;
                    let (at, tip) = scene.transcript.begun_with;
                    shown.place = Place { at, tip };
                    self.move_to(shown);
                }
            }
        }
        self.announced = run.through;
        Ok(more)
    }

    /// Looks for more of the transcript that is shown. Returns whether there was more to read.
    async fn advance(&mut self) -> Result<bool, SessionError> {
        if self.due.is_some() {
            return Ok(true);
        }
        let series = Series::thread(self.log.tenant.clone(), self.shown.thread.clone());
        let of = series.clone();
        let end = read(&self.log, move |reader| Ok(reader.entries_of(&of)?)).await?;
        let Place { mut at, mut tip } = self.shown.place;
        if end.saturating_sub(at) > LAG {
            self.due = Some((Due::Reset, self.shown.newest.clone()));
            return Ok(true);
        }
        let run = self.read(series, at).await?;
        let more = run.through > at;
        if more && self.shown.waiting > 0 && !self.goes_on(None).await? {
            return Ok(true); // what waited follows what has come
        }
        let mut queue = Vec::new();
        let mut met = None;
        for numbered in run.entries {
            let entry = &numbered.entry;
            if self.shown.is_aside(entry) {
                self.shown.put_aside(entry.id());
            } else if Follows::of(entry).is(tip) && entry.body.kind.as_str() != TRUNCATED_KIND {
                tip = entry.id();
                if self.log.node.delivery(&entry.body.kind) != Delivery::RecordOnly {
                    queue.push(numbered.clone());
                }
            } else {
                met = Some((numbered.ordinal, entry.id()));
                break;
            }
            at = numbered.ordinal;
        }
        match met {
            // What is in the queue is told first; then this is come to again.
            Some(_) if !queue.is_empty() => {}
            Some((ordinal, entry)) => {
                if self.goes_on(Some(entry)).await? {
                    self.shown.put_aside(entry);
                    self.shown.place = Place { at: ordinal, tip };
                }
                return Ok(true);
            }
            None => at = run.through.max(at),
        }
        self.shown.place = Place { at, tip };
        self.keep(queue);
        Ok(more)
    }

    /// Looks whether the line of the transcript just goes on from where it was seen last, and an entry that
    /// doesn't follow it is on another branch. Otherwise the transcript is due.
    async fn goes_on(&mut self, met: Option<EntryId>) -> Result<bool, SessionError> {
        let Place { at, tip } = self.shown.place;
        let looked = self.log.tree(&self.shown.name, move |tree, _| {
            Ok((tree.goes_on(tip, at, met), tree.waiting()))
        });
        let (goes_on, waiting) = looked.await?;
        self.shown.waiting = waiting;
        if !goes_on {
            self.due = Some((Due::Reset, self.shown.newest.clone()));
        }
        Ok(goes_on)
    }

    /// Keeps what is to be told, or as much of it as there is room for.
    fn keep(&mut self, mut entries: Vec<Numbered>) {
        let (room, fits) = Kept::room(entries.iter().map(|it| it.entry.body.size()));
        if fits < entries.len() {
            entries.truncate(fits);
            if let Some(last) = entries.last() {
                self.shown.place = Place { at: last.ordinal, tip: last.entry.id() };
            }
        }
        (self.room, self.queue) = (room, entries.into());
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

impl Shown {
    /// Whether an entry is known to be on another branch.
    fn is_aside(&self, entry: &Entry) -> bool {
        let after = match Follows::of(entry) {
            Follows::Named(id) => Some((id.author, id.seq)),
            Follows::Own(author, seq) => seq.map(|seq| (author, seq)),
            Follows::Nothing | Follows::Garbled => None,
        };
        let is_aside = |name: &(NodeId, Seq)| self.aside.contains(name);
        is_aside(&(entry.author, entry.seq)) || after.as_ref().is_some_and(is_aside)
    }

    fn put_aside(&mut self, id: EntryId) {
        if self.aside.len() >= ASIDE {
            self.aside.clear();
        }
        self.aside.insert((id.author, id.seq));
    }
}

impl Scene {
    /// What the transcript came from.
    pub fn origin(&self) -> &Origin {
        &self.transcript.origin
    }
}
