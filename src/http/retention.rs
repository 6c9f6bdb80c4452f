//! What a node keeps, and letting go now.

use axum::Json;
use serde::Deserialize;

use super::problem::Problem;
use super::scope::Whole;
use crate::node::{Removed, RetentionError, RetentionReport};
use crate::words::{Code, Offset};

use super::drafts::Object;

/// `GET /v1/retention`: what is kept, and what is gone.
pub async fn report(Whole(node): Whole) -> Result<Json<RetentionReport>, Problem> {
    Ok(Json(node.retention().await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// All finished segments below this offset go; without it, what the policy lets go.
    below: Option<u64>,
}

/// `POST /v1/retention`: lets go now.
pub async fn let_go(
    Whole(node): Whole,
    Object { said: Asked { below }, room: _room }: Object<Asked>,
) -> Result<Json<Removed>, Problem> {
    Ok(Json(node.let_go(below.map(Offset)).await?))
}

impl From<RetentionError> for Problem {
    fn from(error: RetentionError) -> Self {
        match error {
            RetentionError::Store(error) => error.into(),
            RetentionError::Writer(error) => error.into(),
            RetentionError::Archive(error) => Self::new(Code::Io, error),
        }
    }
}
