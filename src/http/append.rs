//! Appending entries.

use std::time::Duration;

use axum::Json;
use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::drafts::Drafts;
use super::parameters::Parameters;
use super::problem::Problem;
use super::scope::Writes;
use crate::node::Receipt;
use crate::words::limits::IDEMPOTENCY_KEY_BYTES;
use crate::words::time::parse_duration;
use crate::words::{ChangeHash, Code, Offset, Seq};

/// How long peers may take to have the entries when nothing is said.
const ACK_PATIENCE: Duration = Duration::from_secs(5);
/// How long peers may take at most.
const ACK_PATIENCE_MOST: Duration = Duration::from_secs(300);

/// Where an appended entry is.
#[derive(Serialize)]
struct ReceiptJson {
    id: String,
    offset: Offset,
    hash: ChangeHash,
}

impl From<&Receipt> for ReceiptJson {
    fn from(receipt: &Receipt) -> Self {
        Self { id: receipt.id.to_string(), offset: receipt.offset, hash: receipt.hash }
    }
}

/// `POST /v1/entries`: appends all drafts of the body in one commit, or none.
pub async fn append(
    log: Writes,
    IdempotencyKey(key): IdempotencyKey,
    parameters: Parameters,
    Drafts { drafts, room: _room }: Drafts,
) -> Result<Response, Problem> {
    parameters.allow(&["ack", "timeout"])?;
    let ack = Ack::asked(&parameters)?;
    let receipts = log.append(log.admit(drafts)?, key.as_deref()).await?;
    let json: Vec<ReceiptJson> = receipts.iter().map(ReceiptJson::from).collect();
    let next_seq = receipts.iter().map(|receipt| receipt.id.seq.plus(1)).max();
    let next_seq = next_seq.unwrap_or_default();
    match ack.wait(&log, next_seq).await {
        Ok(()) => Ok((StatusCode::CREATED, Json(json)).into_response()),
        Err(problem) => Err(problem.with("receipts", json)),
    }
}

/// Who must have the entries before the answer.
pub struct Ack {
    /// How many peers.
    pub peers: usize,
    /// How long they are waited for.
    pub patience: Duration,
}

impl Ack {
    /// What a request asks for.
    ///
    /// # Errors
    /// A parameter that can't be understood.
    pub fn asked(parameters: &Parameters) -> Result<Self, Problem> {
        let peers = parameters.read("ack", Code::Usage, |text| match text {
            "local" => Ok(0),
            _ => {
                let count = text.strip_prefix("peers=").and_then(|n| n.parse().ok());
                count.ok_or("it is local, or peers=N")
            }
        })?;
        let patience = parameters.read("timeout", Code::Usage, |text| {
            let patience = parse_duration(text).map_err(|error| error.to_string())?;
            let fits = (patience <= ACK_PATIENCE_MOST).then_some(patience);
            fits.ok_or_else(|| format!("it is at most {} s", ACK_PATIENCE_MOST.as_secs()))
        })?;
        Ok(Self { peers: peers.unwrap_or(0), patience: patience.unwrap_or(ACK_PATIENCE) })
    }

    async fn wait(&self, log: &Writes, next_seq: Seq) -> Result<(), Problem> {
        let waited = log.wait_replicated(next_seq, self.peers, self.patience);
        Ok(waited.await?)
    }
}

/// The key under which a request is carried out once, if it has one.
pub struct IdempotencyKey(Option<String>);

impl<S: Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let Some(value) = parts.headers.get("idempotency-key") else { return Ok(Self(None)) };
        let key = value.to_str().ok();
        let fits = key.filter(|key| (1..=IDEMPOTENCY_KEY_BYTES).contains(&key.len()));
        let wrong = || {
            let detail =
                format!("an Idempotency-Key is 1 to {IDEMPOTENCY_KEY_BYTES} ASCII characters");
            Problem::new(Code::Usage, detail)
        };
        fits.map(|key| Self(Some(key.to_owned()))).ok_or_else(wrong)
    }
}
