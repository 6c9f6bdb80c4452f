//! The live stream: what is in the log, and then what comes, in order of arrival.
//!
//! As server-sent events each entry is an event `entry`, or `gap`, whose data is the entry's JSON
//! and whose `id` is the cursor after it; `caught-up` comes once, where the snapshot ends; `reset`
//! says that the place where a client wants to go on is lost, and that the log follows from its
//! start. Silence is broken by a comment.
//!
//! As NDJSON each line is an entry, with the same cursor as its member `cursor`; gaps are known by
//! their kind. Silence is broken by an empty line, which jq and most readers pass over.
//!
//! As a WebSocket each message is `{"event","cursor","data"}`, with the events of the first form.
//!
//! There is no queue here: the next entry is read when the client has taken the last one, so a slow
//! client costs its own lag and loses nothing. Thousands may wait: see [`super::space`].

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use axum::{BoxError, Extension};
use bytes::Bytes;
use futures_util::stream::try_unfold;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::connection::Connection;
use super::parameters::{FILTERS, Parameters};
use super::problem::Problem;
use super::scope::{Closing, Counted, Reads};
use super::space::{Fit, Space, Untaken};
use crate::node::{
    CursorError, Filter, Follow, Followed, From, FrontierCursor, Gaps, Position, frontier_cursor,
};
use crate::words::json::{EntryJson, Lateness};
use crate::words::{ClusterId, Code};
use form::Form;

mod form;
mod socket;

/// How many streams are served at once, beside the connections of other requests.
pub const STREAMS: usize = 8_192; // full: a further one is refused
/// A stream is silent for so long at most.
pub const HEARTBEAT: Duration = Duration::from_secs(10);
/// Why a stream is told that it lacks something.
const REMOVED: &str = "entries were removed before this stream came to them: what is left follows";

/// The places of the streams that are served. Cloning it shares it.
#[derive(Clone)]
pub struct Places(Arc<Semaphore>);

impl Places {
    /// So many places.
    pub fn new(count: usize) -> Self {
        Self(Arc::new(Semaphore::new(count)))
    }

    /// Takes a place, which is free again when what is returned is dropped.
    ///
    /// # Errors
    /// There is none.
    pub fn take(&self) -> Result<OwnedSemaphorePermit, Problem> {
        let place = self.0.clone().try_acquire_owned();
        place.map_err(|_| Problem::new(Code::Busy, "as many streams are served as there may be"))
    }
}

/// `GET /v1/stream`: opens a stream. Its beginning is fixed before the answer begins.
pub async fn open(
    log: Reads,
    Extension(places): Extension<Places>,
    Extension(connection): Extension<Connection>,
    headers: HeaderMap,
    parameters: Parameters,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Problem> {
    let known = ["from", "after", "last", "until_caught_up", "format", "cursors", "persona"];
    parameters.allow(&[&known[..], &FILTERS].concat())?;
    let persona = match parameters.text("persona") {
        Some(name) => Some(log.persona(name, &parameters).await?),
        None => None,
    };
    let filter = Filter { persona, ..parameters.filter(Gaps::Always)? };
    if filter.gaps == Gaps::AsEntries {
        let detail = "gaps: a stream tells of every gap; it is always, or only";
        return Err(Problem::new(Code::Usage, detail));
    }
    let upgrade = match upgrade {
        Err(error) if headers.contains_key(header::SEC_WEBSOCKET_KEY) => {
            return Err(Problem::new(Code::Usage, error));
        }
        upgrade => upgrade.ok(),
    };
    if upgrade.is_some() {
        socket::check_origin(&headers)?;
    }
    let form = Form::asked(&headers, &parameters, upgrade.is_some())?;
    let from = beginning(&headers, &parameters)?;
    let portable = parameters.read("cursors", Code::Usage, |text| match text {
        "offset" => Ok(false),
        "frontier" => Ok(true),
        _ => Err("it is offset or frontier"),
    })?;
    // Whoever came with a place that any node understands goes on with such.
    let portable = portable.unwrap_or(matches!(from, From::Frontier(_)));
    let until_caught_up = parameters.parse("until_caught_up")?.unwrap_or(false);
    let place = places.take()?;
    let (follow, reset) = match log.follow(filter.clone(), from).await? {
        Ok(follow) => (follow, None),
        // A client that reconnects by itself can do nothing about a place that is lost, but be told so.
        Err(lost @ (CursorError::OtherStore | CursorError::BeyondEnd | CursorError::Pruned))
            if headers.contains_key("last-event-id") && form.tells_of_a_reset() =>
        {
            let follow = log.follow(filter, From::Start).await?;
            (follow.map_err(|error| Problem::new(Code::Cursor, error))?, Some(lost))
        }
        Err(lost) => return Err(Problem::new(Code::Cursor, lost)),
    };
    let mut follow = follow;
    if portable {
        follow.keep_frontier().await?;
    }
    connection.give_place_back();
    let events = Events {
        follow,
        form,
        reset,
        until_caught_up,
        is_over: false,
        cluster: portable.then(|| log.cluster()),
        untaken: None,
        connection: connection.clone(),
        closing: log.closing(),
        _counted: log.count_stream(),
        _place: place,
    };
    if let Some(upgrade) = upgrade {
        return Ok(socket::open(upgrade, events, &connection));
    }
    let body = Body::from_stream(try_unfold(events, next_event));
    let headers = [
        (header::CONTENT_TYPE, form.content_type()),
        (header::CACHE_CONTROL, "no-store"),
        // The connection has no place among others any more.
        (header::CONNECTION, "close"),
    ];
    Ok((headers, body).into_response())
}

/// Where a stream begins. An EventSource that reconnects repeats its first address and adds what it
/// saw last, so that goes first.
///
/// # Errors
/// A parameter that can't be understood, or two that contradict each other.
pub fn beginning(headers: &HeaderMap, parameters: &Parameters) -> Result<From, Problem> {
    let cursor = |text: &str| text.parse::<Position>().map(From::from);
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
    /// Why the stream doesn't begin where it was asked to, until that is said.
    reset: Option<CursorError>,
    until_caught_up: bool,
    is_over: bool,
    /// The cluster, where the cursors are ones that any node of it accepts.
    cluster: Option<ClusterId>,
    /// The room of the event that the client takes.
    untaken: Option<Untaken>,
    connection: Connection,
    closing: Closing,
    _counted: Counted,
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
    /// The next event, once the client has taken the last one; none at the end.
    ///
    /// # Cancel safety
    /// A call that is dropped loses nothing.
    async fn next(&mut self) -> Result<Option<Bytes>, BoxError> {
        self.untaken = None;
        let mut space = None;
        if let Some(lost) = self.reset.take()
            && let Some(event) = self.form.reset(&lost.to_string())?
        {
            return Ok(Some(event));
        }
        while !self.is_over {
            let Ok(followed) = tokio::time::timeout(HEARTBEAT, self.follow.next()).await else {
                return Ok(Some(self.form.heartbeat()));
            };
            match followed? {
                None => self.is_over = true,
                Some(Followed::Entry { entry, late }) => {
                    let lateness = if late { Lateness::Late } else { Lateness::InOrder };
                    let cursor = self.cursor()?;
                    let said = self.form.entry(&EntryJson::new(&entry, lateness), &cursor)?;
                    match Fit::find(space.take(), said.len(), &self.connection) {
                        Fit::Sent(untaken) => {
                            self.untaken = untaken;
                            return Ok(Some(said));
                        }
                        // Nothing is held while there is no room for it: it is read again.
                        Fit::Later => self.follow.put_back(&entry),
                    }
                    let bytes = said.len();
                    drop((entry, said));
                    space = Space::within(HEARTBEAT, bytes).await;
                    if space.is_none() {
                        return Ok(Some(self.form.heartbeat()));
                    }
                }
                Some(Followed::Reset) => match self.form.reset(REMOVED)? {
                    Some(event) => return Ok(Some(event)),
                    // Lines have no word for it: whoever reads them is cut off, and asks why.
                    None => return Err(REMOVED.into()),
                },
                Some(Followed::CaughtUp) => {
                    self.is_over = self.until_caught_up;
                    let cursor = self.cursor()?;
                    if let Some(event) = self.form.caught_up(&cursor)? {
                        return Ok(Some(event));
                    }
                }
            }
        }
        Ok(None)
    }

    /// The place after what was read last.
    ///
    /// # Errors
    /// It doesn't fit into a request any more: the cluster has too many authors.
    fn cursor(&mut self) -> Result<String, BoxError> {
        let Some(cluster) = self.cluster else {
            return Ok(self.follow.cursor().to_string());
        };
        let frontier = self.follow.frontier().unwrap_or_default();
        let cursor = FrontierCursor::new(cluster, frontier).to_string();
        let fits = cursor.len() <= frontier_cursor::TEXT_BYTES;
        fits.then_some(cursor).ok_or_else(|| "the place has too many authors for a cursor".into())
    }

    fn closing(&self) -> Closing {
        self.closing.clone()
    }
}
