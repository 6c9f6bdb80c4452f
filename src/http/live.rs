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
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

use super::connection::Connection;
use super::media;
use super::problem::Problem;
use super::scope::{Counted, TenantReads};
use super::sessions::scene;
use super::stream::{HEARTBEAT, Places};
use super::threads::{NumberedJson, numbered};
use crate::session::{FeedTail, Mirror, Mirrored, SessionError, Snapshot, Tail, Told};
use crate::words::Code;

/// How many streams of this process may hold a snapshot, which is some MiB, at once.
static SNAPSHOTS: Semaphore = Semaphore::const_new(256); // full: a further one is refused

/// An event of a stream.
pub struct StreamEvent {
    name: &'static str,
    /// The position after it, where there is one to resume from.
    id: Option<u64>,
    data: serde_json::Value,
}

impl StreamEvent {
    /// An event of this name.
    pub fn new(name: &'static str, id: Option<u64>, data: serde_json::Value) -> Self {
        Self { name, id, data }
    }
}

/// What is streamed.
pub enum Source {
    /// A topic.
    Thread(Tail),
    /// A tenant.
    Feed(FeedTail),
    /// A session.
    Session(Box<Mirror>),
}

impl Source {
    async fn next(&mut self) -> Result<Option<StreamEvent>, SessionError> {
        let told = match self {
            Self::Thread(tail) => tail.next().await?,
            Self::Feed(tail) => tail.next().await?,
            Self::Session(mirror) => return Ok(mirror.next().await?.map(|it| mirrored(&it))),
        };
        Ok(told.map(|told| match told {
            Told::Entry(entry) => {
                let data = json!(NumberedJson::from(&*entry));
                StreamEvent::new("entry", Some(entry.ordinal), data)
            }
            Told::Reset(snapshot) => reset(&snapshot),
        }))
    }
}

fn mirrored(told: &Mirrored) -> StreamEvent {
    match told {
        Mirrored::Began(of) => StreamEvent::new("began", None, scene(of)),
        Mirrored::Entry(entry) => {
            StreamEvent::new("entry", None, json!(NumberedJson::from(&**entry)))
        }
        Mirrored::Reset(of) => StreamEvent::new("reset", None, scene(of)),
    }
}

/// What there is, to begin with or again.
pub fn reset(snapshot: &Snapshot) -> StreamEvent {
    let data = json!({"entries": numbered(&snapshot.entries), "through": snapshot.through});
    StreamEvent::new("reset", Some(snapshot.through), data)
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
        let busy = |_| Problem::new(Code::Busy, "as many snapshots are followed as there may be");
        let snapshot = SNAPSHOTS.try_acquire().map_err(busy)?;
        let place = self.places.take()?;
        let (connection, counted) = (self.connection, log.count_stream());
        Ok(Place { connection, _place: place, _snapshot: snapshot, _counted: counted })
    }
}

/// The place of a stream, until it is dropped.
pub struct Place {
    connection: Connection,
    _place: OwnedSemaphorePermit,
    _snapshot: SemaphorePermit<'static>,
    _counted: Counted,
}

/// Streams events until the node shuts down or the client goes.
///
/// # Errors
/// The client accepts no media type of a stream.
pub fn stream(
    headers: &HeaderMap,
    first: Option<StreamEvent>,
    place: Place,
    source: Source,
) -> Result<Response, Problem> {
    let content_type = media::choose(headers, &[media::EVENTS, media::NDJSON])?;
    let lines = content_type == media::NDJSON;
    // Only now: an answer that is no stream leaves the connection among the others.
    place.connection.give_place_back();
    let events = try_unfold((first, source, place), move |(first, mut source, place)| async move {
        let told = match first {
            Some(first) => Ok(Ok(Some(first))),
            None => tokio::time::timeout(HEARTBEAT, source.next()).await,
        };
        let bytes = match told {
            Err(_) if lines => Bytes::from_static(b"\n"),
            Err(_) => Bytes::from_static(b": heartbeat\n\n"),
            Ok(told) => match told? {
                Some(event) => written(&event, lines),
                None => return Ok(None),
            },
        };
        Ok::<_, BoxError>(Some((bytes, (None, source, place))))
    });
    let headers = [
        (header::CONTENT_TYPE, content_type),
        (header::CACHE_CONTROL, "no-store"),
        // The connection has no place among others any more.
        (header::CONNECTION, "close"),
    ];
    Ok((headers, Body::from_stream(events)).into_response())
}

fn written(event: &StreamEvent, lines: bool) -> Bytes {
    let StreamEvent { name, id, data } = event;
    if lines {
        return format!("{}\n", json!({"event": name, "id": id, "data": data})).into();
    }
    let id = id.map_or_else(String::new, |id| format!("id: {id}\n"));
    format!("{id}event: {name}\ndata: {data}\n\n").into()
}
