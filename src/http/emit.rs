//! Emitting events: the lossy path.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::drafts::Drafts;
use super::parameters::Parameters;
use super::problem::Problem;
use super::scope::Writes;
use crate::node::EmitError;
use crate::words::{Code, EmitNumber};

/// What a request emitted.
#[derive(Serialize)]
struct Answer {
    /// None when no event has a kind that is recorded.
    emitted: Option<Numbers>,
}

/// The numbers that events took, the last one included.
#[derive(Serialize)]
struct Numbers {
    from: EmitNumber,
    to: EmitNumber,
}

/// `POST /v1/emit`: emits all events of the body, with consecutive numbers, or none. They are not
/// in the log yet; what will not get there is stated by a gap.
pub async fn emit(
    log: Writes,
    parameters: Parameters,
    Drafts { drafts, room: _room }: Drafts,
) -> Result<Response, Problem> {
    parameters.allow(&[])?;
    let (from, count) = log.emit(log.admit(drafts)?).map_err(|error| match log.poison() {
        Some(why) if matches!(error, EmitError::Closed(_)) => Problem::new(Code::Poisoned, why),
        _ => error.into(),
    })?;
    let emitted = count.checked_sub(1).map(|more| Numbers { from, to: from.plus(more) });
    Ok((StatusCode::ACCEPTED, Json(Answer { emitted })).into_response())
}
