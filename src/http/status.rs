//! What the node says of itself and of the others.

use axum::Json;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Value, json};

use super::etag::tagged;
use super::problem::Problem;
use super::scope::{Probed, Whole};
use crate::node::{ForkReport, NodeReport, State as NodeState, Status};
use crate::words::Code;

/// `GET /v1/status`: the node itself.
pub async fn status(Whole(node): Whole) -> Result<Json<Status>, Problem> {
    Ok(Json(node.status().await?))
}

/// All nodes that are known here.
#[derive(Serialize)]
pub struct Nodes {
    nodes: Vec<NodeReport>,
}

/// `GET /v1/nodes`: the node itself, its peers, and authors known by their entries only.
pub async fn nodes(Whole(node): Whole) -> Result<Json<Nodes>, Problem> {
    let nodes = node.nodes().await?;
    Ok(Json(Nodes { nodes }))
}

/// All forks that the log proves.
#[derive(Serialize)]
pub struct Forks {
    forks: Vec<ForkReport>,
}

/// `GET /v1/forks`: where authors have signed two histories.
pub async fn forks(Whole(node): Whole) -> Result<Json<Forks>, Problem> {
    let forks = node.forks().await?;
    Ok(Json(Forks { forks }))
}

/// `GET /v1/frontier`: what is held here, in the same bytes on every node that holds the same.
pub async fn frontier(Whole(node): Whole, headers: HeaderMap) -> Result<Response, Problem> {
    let frontier = node.frontier().await?;
    let tag = frontier.digest.clone();
    Ok(tagged(&tag, &headers, || Json(frontier).into_response()))
}

/// `GET /livez`: the process lives.
pub async fn alive() -> Json<Value> {
    Json(json!({ "alive": true }))
}

/// `GET /readyz`: whether the node can persist. One that is cut off from its peers can.
pub async fn ready(Probed(node): Probed) -> Result<Json<Value>, Problem> {
    let Status { state, trouble, .. } = node.status().await?;
    let code = match state {
        NodeState::Ok | NodeState::Degraded => {
            return Ok(Json(json!({ "ready": true, "state": state })));
        }
        NodeState::ReadOnly => Code::DiskFull,
        NodeState::Poisoned => Code::Poisoned,
    };
    let problem = Problem::new(code, trouble.unwrap_or_default());
    let problem = problem.status(StatusCode::SERVICE_UNAVAILABLE);
    Err(problem.with("ready", false).with("state", state))
}
