//! Named consumers: `/v1/cursors`.

use axum::Json;
use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::parameters::Parameters;
use super::problem::Problem;
use super::scope::Consumes;
use crate::node::consumers::{Allowed, Lag, Moved};
use crate::node::{Consumer, ConsumerError, ConsumerName, CursorError, Position};
use crate::store::Reader;
use crate::words::{Code, Offset, Tenant};

/// A consumer as it is shown.
#[derive(Serialize)]
pub struct Shown {
    name: String,
    /// Whose it is, when its readers are bound to a tenant.
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<Tenant>,
    #[serde(flatten)]
    consumer: Consumer,
    /// Null where nothing can be read on from the place any more.
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
pub async fn list(consumes: Consumes, parameters: Parameters) -> Result<Json<Cursors>, Problem> {
    parameters.allow(&[])?;
    let mut cursors = Vec::new();
    for (name, consumer) in consumes.list() {
        cursors.push(shown(&consumes, name, consumer).await?);
    }
    Ok(Json(Cursors { cursors }))
}

/// `GET /v1/cursors/{name}`: how far one has read.
pub async fn one(
    consumes: Consumes,
    parameters: Parameters,
    name: Name,
) -> Result<Json<Shown>, Problem> {
    let name = consumes.named(&text(name)?, &parameters)?;
    let consumer = consumes.find(&name).ok_or_else(|| absent(&name))?;
    Ok(Json(shown(&consumes, name, consumer).await?))
}

/// `PUT /v1/cursors/{name}`: moves it, or takes or gives back its lease.
pub async fn put(
    consumes: Consumes,
    parameters: Parameters,
    name: Name,
    body: Bytes,
) -> Result<Json<Shown>, Problem> {
    let name = consumes.named(&text(name)?, &parameters)?;
    let wanted: Wanted =
        serde_json::from_slice(&body).map_err(|error| Problem::new(Code::Usage, error))?;
    let put = consumes.put(name.clone(), move |reader| wanted.read(reader));
    let consumer = put.await?;
    Ok(Json(shown(&consumes, name, consumer).await?))
}

/// `DELETE /v1/cursors/{name}`: forgets it.
pub async fn remove(
    consumes: Consumes,
    parameters: Parameters,
    name: Name,
) -> Result<Json<Shown>, Problem> {
    let name = consumes.named(&text(name)?, &parameters)?;
    let consumer = consumes.remove(name.clone()).await?.ok_or_else(|| absent(&name))?;
    Ok(Json(shown(&consumes, name, consumer).await?))
}

impl Wanted {
    /// What is wanted, where the place is one that can be read on from.
    fn read(self, reader: &mut dyn Reader) -> Result<Moved, Problem> {
        let position = self.position.as_deref().map(|text| place(reader, text)).transpose()?;
        let direction = if self.replay { Allowed::Replay } else { Allowed::Forward };
        let Self { holder, lease_seconds, .. } = self;
        Ok(Moved { position, holder, lease_seconds, direction })
    }
}

/// The place that a text says: a cursor, or one of the ends of this node's log.
fn place(reader: &mut dyn Reader, text: &str) -> Result<Position, Problem> {
    match text {
        "start" => Ok(Position::here(reader, Offset(0))),
        "end" => {
            let end = reader.watermark()?;
            Ok(Position::here(reader, end))
        }
        _ => {
            let wrong = |error: CursorError| Problem::new(Code::Cursor, error).at("position");
            let position = text.parse::<Position>().map_err(wrong)?;
            position.unread(reader).map_err(|error| Problem::from(error).at("position"))?;
            Ok(position)
        }
    }
}

async fn shown(
    consumes: &Consumes,
    name: ConsumerName,
    consumer: Consumer,
) -> Result<Shown, Problem> {
    let lag = consumes.lag(&name, &consumer).await?;
    Ok(Shown { name: name.as_str().to_owned(), tenant: name.tenant().cloned(), consumer, lag })
}

fn text(name: Name) -> Result<String, Problem> {
    let Path(name) = name.map_err(|error| Problem::new(Code::Name, error))?;
    Ok(name)
}

fn absent(name: &ConsumerName) -> Problem {
    Problem::new(Code::NotFound, format!("there is no named cursor {:?}", name.as_str()))
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
            ConsumerError::Store(error) => return error.into(),
        };
        Self::new(code, error)
    }
}
