//! Proofs of entries.

use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::entries::named;
use super::media;
use super::problem::Problem;
use super::room::Room;
use super::scope::{Whole, absent};
use crate::node::ProofJson;
use crate::words::Code;

/// `GET /v1/entries/{author}/{seq}/proof`: what proves an entry to whoever knows its author's key. A
/// change may hold entries of several tenants, so bearers that are bound to one don't get it.
pub async fn proof(
    Whole(node): Whole,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Result<Response, Problem> {
    let id = named(path)?;
    let (room, _) = Room::find().await;
    let proofs = node.proofs(id).await?;
    let proof = match &proofs[..] {
        [] => return Err(absent(&node, id).await),
        [proof] => ProofJson::from(proof),
        _ => return Err(Problem::new(Code::Usage, format!("{id} is on more than one branch"))),
    };
    let json = serde_json::to_vec(&proof)
        .map_err(|error| Problem::new(Code::Io, format!("the proof can't be written: {error}")))?;
    let content_type = [(header::CONTENT_TYPE, media::JSON)];
    Ok((StatusCode::OK, content_type, room.bytes(json.into())).into_response())
}
