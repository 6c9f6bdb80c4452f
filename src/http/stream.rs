//! The live stream: what is in the log, and then what comes, in order of arrival.
//!
//! As server-sent events each entry is an event `entry`, or `gap`, whose data is the entry's JSON
//! and whose `id` is the cursor after it; `caught-up` comes once, where the snapshot ends; `reset`
//! is kept for cursors below the watermark. Silence is broken by a comment.
//!
//! As NDJSON each line is an entry, with the same cursor as its member `cursor`; gaps are known by
//! their kind. Silence is broken by an empty line, which jq and most readers pass over.
//!
//! There is no queue here: the next entry is read when the client has taken the last one, so a slow
//! client costs its own lag and loses nothing.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use axum::{BoxError, Extension};
use bytes::Bytes;
use futures_util::stream::try_unfold;
use serde::Serialize;
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::media;
use super::parameters::{FILTERS, Parameters};
use super::problem::Problem;
use super::threads::persona_asked;
use crate::node::{Cursor, Filter, Follow, Followed, From, Gaps, Node};
use crate::words::Code;
use crate::words::gap::GAP_KIND;
use crate::words::json::{EntryJson, Lateness};

/// How many streams are served at once; an entry of each may be in memory.
const STREAMS: usize = 64; // full: a further one is refused
/// A stream is silent for so long at most.
pub const HEARTBEAT: Duration = Duration::from_secs(10);

/// The places of the streams that are served. Cloning it shares it.
#[derive(Clone)]
pub struct Places(Arc<Semaphore>);

impl Default for Places {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(STREAMS)))
    }
}

impl Places {
    /// Takes a place, which is free again when what is returned is dropped.
    ///
    /// # Errors
    /// There is none.
    pub fn take(&self) -> Result<OwnedSemaphorePermit, Problem> {
        let detail = format_args!("{STREAMS} streams are served, and no more");
        self.0.clone().try_acquire_owned().map_err(|_| Problem::new(Code::Busy, detail))
    }
}

/// `GET /v1/stream`: opens a stream. Its beginning is fixed before the answer begins.
pub async fn open(
    State(node): State<Node>,
    Extension(places): Extension<Places>,
    headers: HeaderMap,
    parameters: Parameters,
) -> Result<Response, Problem> {
    let known = ["from", "after", "last", "until_caught_up", "persona"];
    parameters.allow(&[&known[..], &FILTERS].concat())?;
    let persona = persona_asked(&node, &parameters).await?;
    let filter = Filter { persona, ..parameters.filter(Gaps::Always)? };
    if filter.gaps == Gaps::AsEntries {
        let detail = "gaps: a stream tells of every gap; it is always, or only";
        return Err(Problem::new(Code::Usage, detail));
    }
    let from = beginning(&headers, &parameters)?;
    let until_caught_up = parameters.parse("until_caught_up")?.unwrap_or(false);
    let form = Form::asked(&headers);
    let place = places.take()?;
    let follow = node.follow(filter, from).await?;
    let events = Events { follow, form, until_caught_up, is_over: false, _place: place };
    let body = Body::from_stream(try_unfold(events, next_event));
    let headers =
        [(header::CONTENT_TYPE, form.content_type()), (header::CACHE_CONTROL, "no-store")];
    Ok((headers, body).into_response())
}

/// Where a stream begins. An EventSource that reconnects repeats its first address and adds what it
/// saw last, so that goes first.
///
/// # Errors
/// A parameter that can't be understood, or two that contradict each other.
pub fn beginning(headers: &HeaderMap, parameters: &Parameters) -> Result<From, Problem> {
    let cursor = |text: &str| text.parse::<Cursor>().map(From::Cursor);
    let seen = headers.get("last-event-id").filter(|id| !id.is_empty());
    if let Some(seen) = seen {
        let text = String::from_utf8_lossy(seen.as_bytes());
        return cursor(&text)
            .map_err(|error| Problem::new(Code::Cursor, error).at("Last-Event-ID"));
    }
    let from = parameters.read("from", Code::Usage, |text| match text {
        "start" => Ok(From::Start),
        "end" => Ok(From::End),
        _ => Err("it is start or end"),
    })?;
    let after = parameters.read("after", Code::Cursor, |text| match text {
        "end" => Ok(From::End),
        _ => cursor(text),
    })?;
    let last = parameters.parse("last")?.map(From::Last);
    match (from, after, last) {
        (None, None, None) => Ok(From::Start),
        (Some(one), None, None) | (None, Some(one), None) | (None, None, Some(one)) => Ok(one),
        _ => {
            let detail = "from, after and last each say where to begin: say one of them";
            Err(Problem::new(Code::Usage, detail))
        }
    }
}

/// The state of a stream.
struct Events {
    follow: Follow,
    form: Form,
    until_caught_up: bool,
    is_over: bool,
    _place: OwnedSemaphorePermit,
}

/// What the client reads next; none at the end. An error cuts the connection, so that no client
/// takes it for the end.
async fn next_event(mut events: Events) -> Result<Option<(Bytes, Events)>, BoxError> {
    let next = events.next().await.inspect_err(|error| {
        tracing::warn!(%error, "a stream was cut");
    })?;
    Ok(next.map(|bytes| (bytes, events)))
}

impl Events {
    async fn next(&mut self) -> Result<Option<Bytes>, BoxError> {
        while !self.is_over {
            let Ok(followed) = tokio::time::timeout(HEARTBEAT, self.follow.next()).await else {
                return Ok(Some(self.form.heartbeat()));
            };
            let cursor = self.follow.cursor();
            match followed? {
                None => self.is_over = true,
                Some(Followed::Entry { entry, late }) => {
                    let lateness = if late { Lateness::Late } else { Lateness::InOrder };
                    let entry = EntryJson::new(&entry, lateness);
                    return Ok(Some(self.form.entry(&entry, &cursor)?));
                }
                Some(Followed::CaughtUp) => {
                    self.is_over = self.until_caught_up;
                    if let Some(event) = self.form.caught_up(&cursor) {
                        return Ok(Some(event));
                    }
                }
            }
        }
        Ok(None)
    }
}

/// How a stream says its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    ServerSentEvents,
    Lines,
}

/// An entry on a line of its own.
#[derive(Serialize)]
struct Line<'e> {
    #[serde(flatten)]
    entry: &'e EntryJson,
    cursor: String,
}

impl Form {
    fn asked(headers: &HeaderMap) -> Self {
        if media::accepts(headers, media::NDJSON) { Self::Lines } else { Self::ServerSentEvents }
    }

    fn content_type(self) -> &'static str {
        match self {
            Self::ServerSentEvents => media::EVENTS,
            Self::Lines => media::NDJSON,
        }
    }

    fn heartbeat(self) -> Bytes {
        Bytes::from_static(match self {
            Self::ServerSentEvents => b": heartbeat\n\n",
            Self::Lines => b"\n",
        })
    }

    fn entry(self, entry: &EntryJson, cursor: &Cursor) -> Result<Bytes, serde_json::Error> {
        match self {
            Self::ServerSentEvents => {
                let name = if entry.kind == GAP_KIND { "gap" } else { "entry" };
                Ok(event(name, cursor, &serde_json::to_string(entry)?))
            }
            Self::Lines => {
                let cursor = cursor.to_string();
                let line = serde_json::to_string(&Line { entry, cursor })?;
                Ok(Bytes::from(line + "\n"))
            }
        }
    }

    /// Lines hold entries only, so NDJSON has no word for it.
    fn caught_up(self, cursor: &Cursor) -> Option<Bytes> {
        let data = json!({ "cursor": cursor.to_string() }).to_string();
        (self == Self::ServerSentEvents).then(|| event("caught-up", cursor, &data))
    }
}

/// One server-sent event. The data is JSON on one line, so nothing in it can end the event.
fn event(name: &str, cursor: &Cursor, data: &str) -> Bytes {
    format!("id: {cursor}\nevent: {name}\ndata: {data}\n\n").into()
}
