//! Extending a transcript. Nothing is locked: whoever extends an entry that another has extended
//! meanwhile, here or on another node, begins a branch there and is told so.

use std::hash::{DefaultHasher, Hash, Hasher};

use tokio::sync::{Mutex, MutexGuard};

use super::event::Event;
use super::name::TranscriptName;
use super::thread::read;
use super::transcript::{AFTER, Follows, TRUNCATED_KIND, Truncation, topic_of};
use super::{SessionError, TenantLog};
use crate::core::series::{Series, Standing};
use crate::node::series::{self, Most};
use crate::words::entry::View;
use crate::words::{Draft, DraftError, EntryId, Kind, Offset, Tenant};

/// How many entries are looked at for others that follow the same one.
const LOOKED_AT: usize = 4_096;

/// What extending a transcript did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extended {
    /// The last entry that was appended: the next one follows it.
    pub tip: EntryId,
    /// Its ordinal in the transcript's topic.
    pub ordinal: u64,
    /// Whether another entry follows the same one, as far as is known here: the transcript is forked
    /// there, and what was appended is on one of the branches.
    pub forked: bool,
}

/// The turns of those who write at the end of transcripts, or begin them: on one node they don't fork.
static TURNS: [Mutex<()>; 64] = [const { Mutex::const_new(()) }; 64];

/// A turn at a transcript, until it is dropped. Some transcripts share theirs.
pub(super) async fn turn(tenant: &Tenant, name: &TranscriptName) -> MutexGuard<'static, ()> {
    let mut hasher = DefaultHasher::new();
    (tenant, name).hash(&mut hasher);
    TURNS[hasher.finish() as usize % TURNS.len()].lock().await
}

impl TenantLog {
    /// Appends events to a transcript, after an entry of it; or at the end of its line: those who do that
    /// on one node do it one after the other.
    ///
    /// # Errors
    /// The transcript or the entry is not there, or the node appends nothing.
    pub async fn extend_transcript(
        &self,
        name: &TranscriptName,
        after: Option<EntryId>,
        events: Vec<Event>,
    ) -> Result<Extended, SessionError> {
        let topic = topic_of(name)?;
        let drafts = drafts(events, |event| event.draft(&self.tenant, &topic))?;
        let Some(after) = after else {
            let _turn = turn(&self.tenant, name).await;
            let (tip, _) = self.end_of(name, None).await?;
            return self.follow_up(name, tip, drafts).await;
        };
        self.follow_up(name, after, drafts).await
    }

    /// Cuts a transcript to its first `to` entries: readers see no more of it, and what is appended
    /// then follows them. What was cut stays in the log.
    ///
    /// # Errors
    /// The transcript is shorter, or not there.
    pub async fn truncate_transcript(
        &self,
        name: &TranscriptName,
        through: Option<EntryId>,
        to: u64,
    ) -> Result<Extended, SessionError> {
        let _turn = turn(&self.tenant, name).await;
        let (tip, length) = self.end_of(name, through).await?;
        if to > length {
            let transcript = name.to_string();
            return Err(SessionError::TooShort { transcript, length, wanted: to });
        }
        let data = serde_json::to_vec(&Truncation { to });
        let data = data.map_err(|e| DraftError::Json(e.to_string()))?;
        let kind = Kind::parse(TRUNCATED_KIND)?;
        let draft = Draft::of_towline(self.tenant.clone(), topic_of(name)?, kind, data);
        self.follow_up(name, tip, vec![draft]).await
    }

    /// The entry that the next one of a line follows, and how many entries the line has.
    async fn end_of(
        &self,
        name: &TranscriptName,
        through: Option<EntryId>,
    ) -> Result<(EntryId, u64), SessionError> {
        self.tree(name, move |tree, _| {
            let line = tree.line(through)?;
            Ok((tree.tip(&line), line.length()))
        })
        .await
    }

    async fn follow_up(
        &self,
        name: &TranscriptName,
        after: EntryId,
        mut drafts: Vec<Draft>,
    ) -> Result<Extended, SessionError> {
        let topic = topic_of(name)?;
        let found = self.node.get(after).await.map_err(|e| match e {
            crate::node::QueryError::Store(error) => SessionError::Store(error),
            _ => SessionError::NoSuchEntry { transcript: name.to_string(), entry: after },
        })?;
        let in_it = |entry: &&crate::words::Entry| {
            entry.body.topic == topic && entry.body.tenant == self.tenant
        };
        let Some(place) = found.iter().find(in_it).map(|entry| entry.offset) else {
            let transcript = name.to_string();
            return Err(SessionError::NoSuchEntry { transcript, entry: after });
        };
        if let Some(first) = drafts.first_mut() {
            first.attributes.insert(AFTER.to_owned(), after.to_string());
        }
        let thread = self.thread(topic.clone());
        let (ordinal, receipts) = thread.append_drafts(drafts).await?;
        let tip = receipts.last().map_or(after, |receipt| receipt.id);
        let own = receipts.first().map_or(after, |receipt| receipt.id);
        let series = Series::thread(self.tenant.clone(), topic);
        let forked = read(self, move |reader| is_extended(reader, &series, (after, place), own));
        Ok(Extended { tip, ordinal, forked: forked.await? })
    }

    /// A writer that goes on after an entry of a transcript; or at the end of its line.
    ///
    /// # Errors
    /// The transcript is not there, or can't be read.
    pub async fn transcript_writer(
        &self,
        name: &TranscriptName,
        through: Option<EntryId>,
    ) -> Result<TranscriptWriter, SessionError> {
        let (tip, _) = self.end_of(name, through).await?;
        Ok(TranscriptWriter { log: self.clone(), name: name.clone(), tip })
    }
}

/// Whether another entry than `own` follows one.
fn is_extended(
    reader: &mut dyn crate::store::Reader,
    series: &Series,
    (after, place): (EntryId, Offset),
    own: EntryId,
) -> Result<bool, SessionError> {
    // What is archived follows all the same.
    let entries = reader.entries_of(series)?;
    let standing = Standing { entries, ..Standing::default() };
    let from = series::ordinal_at(reader, series, place)?;
    let name = after.to_string();
    // Only what follows this entry, or doesn't say what it follows, is copied.
    let wanted = |view: &View<'_>| {
        let said = view.attributes.iter().find(|(key, _)| *key == AFTER);
        said.is_none_or(|(_, said)| name.starts_with(said) || said.starts_with(&name))
    };
    let run = series::after(reader, (series, &standing), from, Most::entries(LOOKED_AT), &wanted)?;
    let other = |numbered: &series::Numbered| {
        let entry = &numbered.entry;
        (entry.author, entry.seq) != (own.author, own.seq) && Follows::of(entry).is(after)
    };
    Ok(run.entries.iter().any(other))
}

/// The drafts of events, none of which says itself what it follows.
pub(super) fn drafts(
    events: Vec<Event>,
    draft: impl Fn(Event) -> Result<Draft, DraftError>,
) -> Result<Vec<Draft>, SessionError> {
    if events.iter().any(|event| event.attributes.contains_key(AFTER)) {
        return Err(SessionError::SaysWhatItFollows);
    }
    Ok(events.into_iter().map(draft).collect::<Result<_, _>>()?)
}

/// Extends a transcript from where it last did, so that two of them that began at one place never
/// mix what they write: each stays on its own branch.
pub struct TranscriptWriter {
    log: TenantLog,
    name: TranscriptName,
    tip: EntryId,
}

impl TranscriptWriter {
    /// The entry that the next one follows.
    pub fn tip(&self) -> EntryId {
        self.tip
    }

    /// Appends events after those that this writer appended before.
    ///
    /// # Errors
    /// The node appends nothing.
    pub async fn append(&mut self, events: Vec<Event>) -> Result<Extended, SessionError> {
        let extended = self.log.extend_transcript(&self.name, Some(self.tip), events).await?;
        self.tip = extended.tip;
        Ok(extended)
    }

    /// The transcript as this writer has it: its own branch, where there is more than one.
    ///
    /// # Errors
    /// It can't be read.
    pub async fn read(&self) -> Result<super::Transcript, SessionError> {
        self.log.transcript_through(&self.name, Some(self.tip)).await
    }
}
