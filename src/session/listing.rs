//! Sessions and transcripts in lists, the newest first: announcements in merged order, page by page.

use super::SessionError;
use super::name::{SessionName, TranscriptName};
use super::sessions::{
    Announce, Announced, Listed, ListedTranscript, SESSIONS, Sessions, session_topic,
};
use super::transcript::{Announcement, TRANSCRIPT_KIND};
use crate::core::merge::Direction;
use crate::core::series::Series;
use crate::node::cursor::Last;
use crate::node::series;
use crate::node::{Cursor, Filter, Order, Query, StoreError, query};
use crate::store::Reader;
use crate::words::{ChangeHash, Entry, Kind, SegmentId, Tenant, Topic};

/// The announcement that an entry makes, for a list.
pub fn listed(entry: &Entry) -> Option<ListedTranscript> {
    let said = Announcement::read(entry)?;
    Some(ListedTranscript {
        transcript: TranscriptName::parse(&said.transcript).ok()?,
        origin: said.origin,
        began: entry.time,
        author: entry.author,
        announce: if said.quiet { Announce::Quietly } else { Announce::Live },
    })
}

/// Announcements that are asked for, in merged order.
pub struct Asked {
    pub tenant: Tenant,
    pub topic: Topic,
    pub direction: Direction,
    pub after: Option<Announced>,
}

impl Asked {
    /// A page of them, archived ones, too.
    pub fn page(&self, reader: &mut dyn Reader, limit: usize) -> Result<query::Page, SessionError> {
        let filter = Filter {
            tenant: Some(self.tenant.clone()),
            topic: Some(self.topic.clone()),
            kind: Some(Kind::parse(TRANSCRIPT_KIND)?),
            ..Filter::all()
        };
        let limit = limit.clamp(1, query::PAGE_ENTRIES_MOST);
        let mut asked = Query::merged().filter(filter).limit(limit);
        asked.direction = self.direction;
        asked.after = match self.after {
            Some(after) => Some(after.cursor(reader)?),
            None => None,
        };
        Ok(query::page(reader, &asked)?)
    }
}

impl Announced {
    /// The place before the first entry of that name, as the store lists entries from the newest on.
    fn cursor(&self, reader: &mut dyn Reader) -> Result<Cursor, StoreError> {
        let Self { time, author, seq } = *self;
        let (segment, change) = (SegmentId([0; 16]), ChangeHash([0; 32]));
        let last = Some(Last { order: Order::Time, time, author, seq, segment, change });
        Ok(Cursor { store: reader.id(), offset: reader.watermark()?, last })
    }
}

/// Lists what is made of announcements that are not archived, and says where the next list goes on.
pub fn each_unarchived<T>(
    reader: &mut dyn Reader,
    mut asked: Asked,
    limit: usize,
    mut make: impl FnMut(&mut dyn Reader, &Entry) -> Result<Option<T>, SessionError>,
) -> Result<(Vec<T>, Option<Announced>), SessionError> {
    let series = Series::thread(asked.tenant.clone(), asked.topic.clone());
    let standing = reader.standing_of(&series)?.unwrap_or_default();
    let mut listed = Vec::new();
    loop {
        let page = asked.page(reader, limit - listed.len())?;
        for entry in page.entries.iter().filter(|it| !standing.is_archived(it.author, it.seq)) {
            listed.extend(make(reader, entry)?);
        }
        asked.after = page.entries.last().map(Announced::of);
        if page.next.is_none() {
            return Ok((listed, None));
        }
        if listed.len() >= limit {
            return Ok((listed, asked.after));
        }
    }
}

/// The newest announcement of a session's transcripts that is not archived.
pub fn newest_of(
    reader: &mut dyn Reader,
    tenant: &Tenant,
    session: &SessionName,
) -> Result<Option<Entry>, SessionError> {
    let (tenant, topic) = (tenant.clone(), session_topic(session)?);
    let asked = Asked { tenant, topic, direction: Direction::Backward, after: None };
    let (newest, _) = each_unarchived(reader, asked, 1, |_, entry| Ok(Some(entry.clone())))?;
    Ok(newest.into_iter().next())
}

/// Sessions in merged order, the newest first.
pub fn list(
    reader: &mut dyn Reader,
    tenant: &Tenant,
    after: Option<Announced>,
    limit: usize,
) -> Result<Sessions, SessionError> {
    let (direction, topic) = (Direction::Backward, Topic::parse(SESSIONS)?);
    let asked = Asked { tenant: tenant.clone(), topic, direction, after };
    let describe = |reader: &mut dyn Reader, entry: &Entry| describe(reader, tenant, entry);
    let (sessions, next) = each_unarchived(reader, asked, limit, describe)?;
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
    let standing = reader.standing_of(&series)?.unwrap_or_default();
    let (mut first, mut transcripts) = (None, 0);
    series::visit(reader, &series, |place, view| {
        let key = (view.time, place.author, place.seq);
        if view.kind == TRANSCRIPT_KIND {
            first = Some(first.map_or(key, |first| key.min(first)));
            transcripts += u64::from(!standing.is_archived(place.author, place.seq));
        }
        Ok::<_, SessionError>(())
    })?;
    let newest = newest_of(reader, tenant, &session)?.as_ref().and_then(listed);
    let is_first =
        first.is_none_or(|(_, author, seq)| (author, seq) == (entry.author, entry.seq.plus(1)));
    let Some(newest) = newest.filter(|_| is_first) else { return Ok(None) };
    let (began, author, newest) = (entry.time, entry.author, newest.transcript);
    Ok(Some(Listed { session, began, author, transcripts, newest }))
}
