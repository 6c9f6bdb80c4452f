//! Streams of threads, feeds and sessions: server-sent events, or lines `{"event":…,"data":…}`.
//!
//! `entry` is one more entry, with its `ordinal`. After `reset`, and after `began` of a session,
//! what was told before is to be forgotten: the event holds what there is. Silence is broken by a
//! comment, or an empty line.

use axum::BoxError;
use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream::try_unfold;
use serde::Serialize;
use tokio::sync::OwnedSemaphorePermit;

use super::connection::Connection;
use super::media;
use super::problem::Problem;
use super::scope::{Counted, TenantReads};
use super::sessions::TranscriptJson;
use super::space::{Fit, Space, Untaken};
use super::stream::{HEARTBEAT, Places};
use super::threads::{ANSWER_BYTES, NumberedJson, numbered};
use crate::node::Numbered;
use crate::session::{Mirror, Next, Seen, SessionError, Tail};
use crate::words::Code;

/// How many bytes an event with all that there is takes while it is made: what was read, and its JSON.
const RENEWAL_BYTES: usize = 4 * ANSWER_BYTES;

/// An event of a stream.
#[derive(Serialize)]
struct Event<D> {
    event: &'static str,
    /// The position after it, where there is one to resume from.
    id: Option<u64>,
    data: D,
}

/// All that there is of a topic or a tenant.
#[derive(Serialize)]
struct SnapshotJson {
    entries: Vec<NumberedJson>,
    through: u64,
}

/// What is streamed.
pub enum Source {
    /// A topic, or a tenant.
    Tail(Box<Tail>),
    /// A session.
    Session(Box<Mirror>),
}

/// What a source would tell.
enum Look {
    Entry(Box<Numbered>),
    /// All that there is, under this name.
    Renewal(&'static str),
}

impl Source {
    async fn look(&mut self) -> Result<Option<Look>, SessionError> {
        Ok(match self {
            Self::Tail(tail) => tail.look().await?.map(|next| match next {
                Next::Entry(entry) => Look::Entry(entry),
                Next::Reset => Look::Renewal("reset"),
            }),
            Self::Session(mirror) => mirror.look().await?.map(|seen| match seen {
                Seen::Entry(entry) => Look::Entry(entry),
                Seen::Began => Look::Renewal("began"),
                Seen::Reset => Look::Renewal("reset"),
            }),
        })
    }

    fn put_back(&mut self, entry: &Numbered) {
        match self {
            Self::Tail(tail) => tail.put_back(entry),
            Self::Session(mirror) => mirror.put_back(),
        }
    }

    fn forget(&mut self) {
        match self {
            Self::Tail(tail) => tail.forget(),
            Self::Session(mirror) => mirror.forget(),
        }
    }

    /// The event of an entry. A session has no place from which it could be resumed.
    fn written(&self, entry: &Numbered, lines: bool) -> Result<Bytes, BoxError> {
        let id = matches!(self, Self::Tail(_)).then_some(entry.ordinal);
        written(&Event { event: "entry", id, data: NumberedJson::from(entry) }, lines)
    }

    /// The event of all that there is.
    async fn renew(&mut self, event: &'static str, lines: bool) -> Result<Bytes, BoxError> {
        match self {
            Self::Tail(tail) => {
                let snapshot = tail.renew().await?;
                let (entries, through) = (numbered(&snapshot.entries), snapshot.through);
                let data = SnapshotJson { entries, through };
                written(&Event { event, id: Some(through), data }, lines)
            }
            Self::Session(mirror) => {
                let scene = mirror.renew().await?;
                written(
                    &Event { event, id: None, data: TranscriptJson::of(&scene.transcript) },
                    lines,
                )
            }
        }
    }
}

fn written<D: Serialize>(event: &Event<D>, lines: bool) -> Result<Bytes, BoxError> {
    if lines {
        let mut line = serde_json::to_vec(event)?;
        line.push(b'\n');
        return Ok(fitted(line));
    }
    let Event { event, id, data } = event;
    let id = id.map_or_else(String::new, |id| format!("id: {id}\n"));
    let mut said = format!("{id}event: {event}\ndata: ").into_bytes();
    serde_json::to_writer(&mut said, data)?;
    said.extend_from_slice(b"\n\n");
    Ok(fitted(said))
}

/// Bytes without the room that was left for more of them.
fn fitted(bytes: Vec<u8>) -> Bytes {
    bytes.into_boxed_slice().into()
}

/// What a request needs that wants to stay.
pub struct Stay {
    places: Places,
    connection: Connection,
}

impl<S: Sync> FromRequestParts<S> for Stay {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let places = parts.extensions.get::<Places>().cloned();
        let connection = parts.extensions.get::<Connection>().cloned();
        match (places, connection) {
            (Some(places), Some(connection)) => Ok(Self { places, connection }),
            _ => Err(Problem::new(Code::Busy, "there are no places for streams")),
        }
    }
}

impl Stay {
    /// Takes a place among all streams.
    ///
    /// # Errors
    /// There is none.
    pub fn begin(self, log: &TenantReads) -> Result<Place, Problem> {
        let place = self.places.take()?;
        let (connection, counted) = (self.connection, log.count_stream());
        Ok(Place { connection, _place: place, _counted: counted })
    }
}

/// The place of a stream, until it is dropped.
pub struct Place {
    connection: Connection,
    _place: OwnedSemaphorePermit,
    _counted: Counted,
}

/// Streams events until the node shuts down or the client goes.
///
/// # Errors
/// The client accepts no media type of a stream.
pub fn stream(headers: &HeaderMap, place: Place, source: Source) -> Result<Response, Problem> {
    let content_type = media::choose(headers, &[media::EVENTS, media::NDJSON])?;
    let lines = content_type == media::NDJSON;
    // Only now: an answer that is no stream leaves the connection among the others.
    place.connection.give_place_back();
    let events = Events { source, lines, place, untaken: None };
    let events = try_unfold(events, |mut events| async move {
        let next = events.next().await.inspect_err(|error| {
            tracing::warn!(%error, "a stream was cut");
        })?;
        Ok::<_, BoxError>(next.map(|bytes| (bytes, events)))
    });
    let headers = [
        (header::CONTENT_TYPE, content_type),
        (header::CACHE_CONTROL, "no-store"),
        // The connection has no place among others any more.
        (header::CONNECTION, "close"),
    ];
    Ok((headers, Body::from_stream(events)).into_response())
}

/// The state of a stream.
struct Events {
    source: Source,
    lines: bool,
    place: Place,
    /// The room of the event that the client takes.
    untaken: Option<Untaken>,
}

impl Events {
    /// The next event, once the client has taken the last one; none at the end.
    async fn next(&mut self) -> Result<Option<Bytes>, BoxError> {
        self.untaken = None;
        let (mut space, mut renewal) = (None, RENEWAL_BYTES);
        loop {
            let Ok(look) = tokio::time::timeout(HEARTBEAT, self.source.look()).await else {
                return Ok(Some(self.heartbeat()));
            };
            let (said, of) = match look? {
                None => return Ok(None),
                Some(Look::Entry(entry)) => (self.source.written(&entry, self.lines)?, Some(entry)),
                Some(Look::Renewal(name)) => {
                    // Room first: what there is may be some MiB.
                    if space.is_none() {
                        space = Space::within(HEARTBEAT, renewal).await;
                    }
                    if space.is_none() {
                        return Ok(Some(self.heartbeat()));
                    }
                    (self.source.renew(name, self.lines).await?, None)
                }
            };
            match (Fit::find(space.take(), said.len(), &self.place.connection), of) {
                (Fit::Sent(untaken), _) => {
                    self.untaken = untaken;
                    return Ok(Some(said));
                }
                // Nothing is held while there is no room for it: it is read again.
                (Fit::Later, Some(entry)) => self.source.put_back(&entry),
                (Fit::Later, None) => self.source.forget(),
            }
            renewal = said.len() + said.len() / 4; // it may have grown by then
            drop(said);
            space = Space::within(HEARTBEAT, renewal).await;
            if space.is_none() {
                return Ok(Some(self.heartbeat()));
            }
        }
    }

    fn heartbeat(&self) -> Bytes {
        Bytes::from_static(if self.lines { b"\n" } else { b": heartbeat\n\n" })
    }
}
