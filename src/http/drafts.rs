//! The drafts that a request's body holds: one, an array, or one a line; or CloudEvents.

use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, StatusCode, header};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use serde::de::DeserializeOwned;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::problem::Problem;
use super::scope::{Grant, Tenancy};
use super::{cloudevents, media};
use crate::words::json::DraftJson;
use crate::words::{Code, Draft};

/// The largest body, in bytes.
const BODY_BYTES: usize = 16 << 20;
/// Bodies up to here take no room that counts, in bytes.
const SMALL_BYTES: u64 = 64 << 10;
/// A body must have come so long after its head.
const BODY_PATIENCE: Duration = Duration::from_secs(30);
/// How many KiB of bodies this process holds at once, whatever node they are for.
static BODIES_KIB: Semaphore = Semaphore::const_new(128 << 10); // full: a request waits

/// The drafts of a request, and the room that its body takes.
pub struct Drafts {
    /// At least one, in the order given.
    pub drafts: Vec<Draft>,
    /// To be held until the answer is there.
    pub room: Option<SemaphorePermit<'static>>,
}

impl<S: Sync> FromRequest<S> for Drafts {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let form = Form::of(request.headers())?;
        let granted = request.extensions().get::<Grant>();
        let tenancy = granted.map_or(Tenancy::All, |grant| grant.tenancy().clone());
        let (parts, body) = request.into_parts();
        let (body, room) = whole(&parts.headers, body).await?;
        let drafts = form.drafts(&parts.headers, &body, &tenancy)?;
        if drafts.is_empty() {
            return Err(Problem::new(Code::Nothing, "the body holds no draft"));
        }
        Ok(Self { drafts, room })
    }
}

/// What a body of JSON says, and the room that it takes.
pub struct Object<T> {
    /// What it says.
    pub said: T,
    /// To be held until the answer is there.
    pub room: Option<SemaphorePermit<'static>>,
}

impl<S: Sync, T: DeserializeOwned> FromRequest<S> for Object<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        if Form::of(&parts.headers)? != Form::Json {
            let detail = format!("the body is {}, and nothing else", media::JSON);
            return Err(Problem::new(Code::MediaType, detail));
        }
        let (body, room) = whole(&parts.headers, body).await?;
        let said = serde_json::from_slice(&body);
        Ok(Self { said: said.map_err(|error| Problem::new(Code::Malformed, error))?, room })
    }
}

/// All of a body, and the room that it takes.
async fn whole(
    headers: &HeaderMap,
    body: Body,
) -> Result<(Bytes, Option<SemaphorePermit<'static>>), Problem> {
    let awaits_leave = headers.contains_key(header::EXPECT);
    if body.size_hint().lower() > BODY_BYTES as u64 && awaits_leave {
        return Err(too_large());
    }
    let room = find_room(body.size_hint().upper()).await;
    Ok((read_within(body, BODY_PATIENCE).await?, room))
}

/// Waits for the room that a body may take. A small one takes none: it never waits for large ones that
/// come slowly.
async fn find_room(length: Option<u64>) -> Option<SemaphorePermit<'static>> {
    // A body that doesn't say its length may be the largest.
    let bytes = length.unwrap_or(u64::MAX).min(BODY_BYTES as u64);
    if bytes <= SMALL_BYTES {
        return None;
    }
    BODIES_KIB.acquire_many((bytes >> 10) as u32 + 1).await.ok()
}

async fn read_within(body: Body, patience: Duration) -> Result<Bytes, Problem> {
    let mut reading = pin!(read(body));
    // Most bodies come with their head, and need no timer.
    if let Poll::Ready(read) = futures_util::poll!(reading.as_mut()) {
        return read;
    }
    match tokio::time::timeout(patience, reading).await {
        Ok(read) => read,
        Err(_) => {
            let detail = format!("the body did not come within {} s", patience.as_secs());
            Err(Problem::new(Code::Timeout, detail).status(StatusCode::REQUEST_TIMEOUT))
        }
    }
}

/// Reads a body. One that is too large is read to its end and let go, since most clients listen
/// only once they have sent all.
async fn read(body: Body) -> Result<Bytes, Problem> {
    let mut chunks = body.into_data_stream();
    let mut bytes = BytesMut::new();
    let mut found = 0;
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|error| {
            let detail = format!("the body ended early: {error}");
            Problem::new(Code::Malformed, detail)
        })?;
        found += chunk.len();
        if found <= BODY_BYTES {
            bytes.extend_from_slice(&chunk);
        } else {
            bytes = BytesMut::new();
        }
    }
    if found > BODY_BYTES {
        return Err(too_large());
    }
    Ok(bytes.freeze())
}

fn too_large() -> Problem {
    let detail = format!("a body is at most {BODY_BYTES} bytes");
    Problem::new(Code::TooLarge, detail)
}

/// How a body says its drafts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// One object, or an array of them.
    Json,
    /// One object a line.
    Lines,
    /// A CloudEvent whose attributes are headers.
    Binary,
    /// One CloudEvent.
    Structured,
    /// An array of CloudEvents.
    Batch,
}

impl Form {
    /// A web site's form or script can send other types, and none at all, without asking first.
    /// So a body that doesn't name one of ours is refused.
    fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let refused = |detail: String| Err(Problem::new(Code::MediaType, detail));
        if let Some(encoding) = headers.get(header::CONTENT_ENCODING) {
            return refused(format!("the content encoding {encoding:?} is not understood"));
        }
        if headers.contains_key(cloudevents::SPECVERSION) {
            return Ok(Self::Binary);
        }
        match media::content_type(headers).as_deref() {
            Some(media::CLOUD_EVENT) => Ok(Self::Structured),
            Some(media::CLOUD_EVENTS) => Ok(Self::Batch),
            Some(media::JSON) => Ok(Self::Json),
            Some(media::NDJSON) => Ok(Self::Lines),
            Some(other) => refused(format!("the content type {other:?} is not understood")),
            None => refused("the body has no content type".to_owned()),
        }
    }

    fn drafts(
        self,
        headers: &HeaderMap,
        body: &[u8],
        tenancy: &Tenancy,
    ) -> Result<Vec<Draft>, Problem> {
        let draft = |json| draft(json, tenancy);
        let malformed = |error: serde_json::Error| Problem::new(Code::Malformed, error);
        match self {
            Self::Json if body.trim_ascii().is_empty() => Ok(Vec::new()),
            Self::Json if body.trim_ascii_start().starts_with(b"[") => {
                numbered(serde_json::from_slice(body).map_err(malformed)?, draft)
            }
            Self::Binary => Ok(vec![draft(cloudevents::binary(headers, body)?)?]),
            Self::Structured => Ok(vec![draft(cloudevents::structured(body)?)?]),
            Self::Batch => numbered(cloudevents::batch(body)?, draft),
            Self::Json => Ok(vec![draft(serde_json::from_slice(body).map_err(malformed)?)?]),
            Self::Lines => {
                let lines = body.split(|byte| *byte == b'\n').enumerate();
                lines
                    .filter(|(_, line)| !line.trim_ascii().is_empty())
                    .map(|(at, line)| {
                        let json = serde_json::from_slice(line).map_err(malformed);
                        json.and_then(draft).map_err(|problem| problem.at(Place("line", at)))
                    })
                    .collect()
            }
        }
    }
}

fn numbered(
    all: Vec<DraftJson>,
    draft: impl Fn(DraftJson) -> Result<Draft, Problem>,
) -> Result<Vec<Draft>, Problem> {
    let all = all.into_iter().enumerate();
    all.map(|(at, json)| draft(json).map_err(|problem| problem.at(Place("draft", at)))).collect()
}

fn draft(mut json: DraftJson, tenancy: &Tenancy) -> Result<Draft, Problem> {
    tenancy.complete(&mut json);
    Ok(json.into_draft()?)
}

/// A place in a body, counted from 1 for people.
struct Place(&'static str, usize);

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.0, self.1 + 1)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::stream;

    use super::*;

    fn chunk() -> Result<Bytes, Infallible> {
        Ok(Bytes::from_static(&[b' '; 1 << 16]))
    }

    #[tokio::test]
    async fn a_body_that_does_not_come_or_does_not_end_has_its_time() {
        let silent = Body::from_stream(stream::pending::<Result<Bytes, Infallible>>());
        let endless = Body::from_stream(stream::unfold((), |()| async {
            tokio::task::yield_now().await;
            Some((chunk(), ()))
        }));
        for body in [silent, endless] {
            let late = read_within(body, Duration::from_millis(20)).await.unwrap_err();
            assert_eq!(axum::response::IntoResponse::into_response(late).status(), 408);
        }
    }

    #[tokio::test]
    async fn a_small_body_never_waits_for_large_ones() {
        let all = BODIES_KIB.acquire_many(BODIES_KIB.available_permits() as u32).await;
        assert!(find_room(Some(SMALL_BYTES)).await.is_none());
        let (large, unsaid) = (find_room(Some(SMALL_BYTES + 1)), find_room(None));
        tokio::pin!(large, unsaid);
        assert!(futures_util::poll!(&mut large).is_pending());
        assert!(futures_util::poll!(&mut unsaid).is_pending());
        drop(all);
        assert!(large.await.is_some() && unsaid.await.is_some());
    }
}
