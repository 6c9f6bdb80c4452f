//! Proofs of entries.

use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use super::entries::named;
use super::media;
use super::problem::Problem;
use super::room::Room;
use super::scope::Whole;
use crate::node::proof::Proof;
use crate::words::{ClusterId, Code, NodeId};

/// A proof as JSON. Hashes are not said: whoever verifies computes them.
#[derive(Serialize)]
struct ProofJson {
    id: String,
    author: NodeId,
    seq: u64,
    cluster: ClusterId,
    /// The opening statement of the segment, as it was signed.
    opening: String,
    /// Which entry of the first change it is.
    at: u64,
    /// Automerge chunks in base64, each linked to the one before, the signed one last.
    changes: Vec<String>,
    /// Ed25519, 128 hex digits.
    signature: String,
}

impl From<&Proof> for ProofJson {
    fn from(proof: &Proof) -> Self {
        Self {
            id: proof.id.to_string(),
            author: proof.id.author,
            seq: proof.id.seq.0,
            cluster: proof.opening.cluster,
            opening: proof.opening.text(),
            at: proof.at,
            changes: proof.changes.iter().map(|chunk| STANDARD.encode(chunk)).collect(),
            signature: hex::encode(proof.signature.0),
        }
    }
}

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
        [] => return Err(Problem::new(Code::NotFound, format!("no proof of {id} is here"))),
        [proof] => ProofJson::from(proof),
        _ => return Err(Problem::new(Code::Usage, format!("{id} is on more than one branch"))),
    };
    let json = serde_json::to_vec(&proof)
        .map_err(|error| Problem::new(Code::Io, format!("the proof can't be written: {error}")))?;
    let content_type = [(header::CONTENT_TYPE, media::JSON)];
    Ok((StatusCode::OK, content_type, room.bytes(json.into())).into_response())
}
