//! Named consumers: `/v1/cursors`.

use axum::Json;
use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::problem::Problem;
use super::scope::Consumes;
use crate::node::consumers::{Allowed, Lag, Moved, lag};
use crate::node::query::check_place;
use crate::node::{Consumer, ConsumerError, Cursor, Node, QueryError, wall_millis};
use crate::words::{Code, Offset, Time};

/// A consumer as it is shown.
#[derive(Serialize)]
pub struct Shown {
    name: String,
    #[serde(flatten)]
    consumer: Consumer,
    /// Null where the place is none of this store any more.
    lag: Option<Lag>,
}

/// All consumers.
#[derive(Serialize)]
pub struct Cursors {
    cursors: Vec<Shown>,
}

/// What a consumer's place is to be.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    position: Option<String>,
    holder: Option<String>,
    lease_seconds: Option<u64>,
    #[serde(default)]
    replay: bool,
}

type Name = Result<Path<String>, PathRejection>;

/// `GET /v1/cursors`: all named consumers.
pub async fn list(Consumes(node): Consumes) -> Result<Json<Cursors>, Problem> {
    let mut cursors = Vec::new();
    for (name, consumer) in node.consumers().list() {
        cursors.push(shown(&node, name, consumer).await?);
    }
    Ok(Json(Cursors { cursors }))
}

/// `GET /v1/cursors/{name}`: how far one has read.
pub async fn one(Consumes(node): Consumes, name: Name) -> Result<Json<Shown>, Problem> {
    let name = named(name)?;
    let consumer = node.consumers().find(&name).ok_or_else(|| absent(&name))?;
    Ok(Json(shown(&node, name, consumer).await?))
}

/// `PUT /v1/cursors/{name}`: moves it, or takes or gives back its lease.
pub async fn put(
    Consumes(node): Consumes,
    name: Name,
    body: Bytes,
) -> Result<Json<Shown>, Problem> {
    let name = named(name)?;
    let wanted: Wanted =
        serde_json::from_slice(&body).map_err(|error| Problem::new(Code::Usage, error))?;
    let position = match &wanted.position {
        Some(text) => Some(place(&node, text).await?),
        None => None,
    };
    let direction = if wanted.replay { Allowed::Replay } else { Allowed::Forward };
    let Wanted { holder, lease_seconds, .. } = wanted;
    let moved = Moved { position, holder, lease_seconds, direction };
    let start = at(&node, Offset(0));
    let (keeper, kept) = (node.clone(), name.clone());
    let put = move || keeper.consumers().put(&kept, &moved, start, now());
    let consumer = blocking(put).await??;
    Ok(Json(shown(&node, name, consumer).await?))
}

/// `DELETE /v1/cursors/{name}`: forgets it.
pub async fn remove(Consumes(node): Consumes, name: Name) -> Result<Json<Shown>, Problem> {
    let name = named(name)?;
    let (keeper, kept) = (node.clone(), name.clone());
    let removed = blocking(move || keeper.consumers().remove(&kept)).await??;
    let consumer = removed.ok_or_else(|| absent(&name))?;
    Ok(Json(shown(&node, name, consumer).await?))
}

/// The place that a text says: a cursor of this node, or one of its ends.
async fn place(node: &Node, text: &str) -> Result<Cursor, Problem> {
    let text = text.to_owned();
    let id = node.store_id();
    let read = node.read(move |reader| {
        let end = reader.watermark()?;
        let place = |offset| Cursor { store: id, offset, last: None };
        Ok(match text.as_str() {
            "start" => Ok(place(Offset(0))),
            "end" => Ok(place(end)),
            _ => text.parse::<Cursor>().map_err(QueryError::from).and_then(|cursor| {
                check_place(&cursor, reader, end)?;
                Ok(cursor)
            }),
        })
    });
    read.await?.map_err(|error| Problem::from(error).at("position"))
}

fn at(node: &Node, offset: Offset) -> Cursor {
    Cursor { store: node.store_id(), offset, last: None }
}

async fn shown(node: &Node, name: String, consumer: Consumer) -> Result<Shown, Problem> {
    let position = consumer.position.clone();
    let lag = node.read(move |reader| lag(reader, &position, now())).await?;
    Ok(Shown { name, consumer, lag })
}

async fn blocking<T: Send + 'static>(
    act: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Problem> {
    tokio::task::spawn_blocking(act).await.map_err(|error| Problem::new(Code::Io, error))
}

fn named(name: Name) -> Result<String, Problem> {
    let Path(name) = name.map_err(|error| Problem::new(Code::Name, error))?;
    Ok(name)
}

fn absent(name: &str) -> Problem {
    Problem::new(Code::NotFound, format!("there is no named cursor {name:?}"))
}

fn now() -> Time {
    Time::from_millis(wall_millis())
}

impl From<ConsumerError> for Problem {
    fn from(error: ConsumerError) -> Self {
        let code = match error {
            ConsumerError::Name => Code::Name,
            ConsumerError::Leased { .. } | ConsumerError::Backward { .. } => Code::Held,
            ConsumerError::Lease | ConsumerError::TooMany => Code::Usage,
            ConsumerError::Cursor(_) => Code::Cursor,
            ConsumerError::Directory(ref error) if error.is_full() => Code::DiskFull,
            ConsumerError::Directory(_) => Code::Io,
        };
        Self::new(code, error)
    }
}
