//! Every error, as an RFC 9457 problem document with our code.

use axum::http::{Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::node::{AppendError, EmitError, QueryError, ReplicationError, StoreError};
use crate::words::json::DraftJsonError;
use crate::words::{Code, DraftError};

/// An error as the client sees it.
#[derive(Debug)]
pub struct Problem {
    code: Code,
    status: StatusCode,
    detail: String,
    members: Map<String, Value>,
}

impl Problem {
    /// A problem with the status that its code has.
    pub fn new(code: Code, detail: impl ToString) -> Self {
        Self {
            code,
            status: StatusCode::from_u16(code.status())
                .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            detail: detail.to_string(),
            members: Map::new(),
        }
    }

    /// The same problem with another status.
    pub fn status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// The same problem with one member more.
    pub fn with(mut self, name: &str, value: impl Serialize) -> Self {
        self.members.insert(name.to_owned(), json!(value));
        self
    }

    /// The same problem, said of a place in the request.
    pub fn at(mut self, place: impl std::fmt::Display) -> Self {
        self.detail = format!("{place}: {}", self.detail);
        self
    }
}

/// The members of RFC 9457, our code, and what a problem adds.
#[derive(Clone, Serialize)]
pub struct Document {
    r#type: String,
    title: &'static str,
    status: u16,
    detail: String,
    code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    instance: Option<String>,
    #[serde(flatten)]
    members: Map<String, Value>,
}

impl Document {
    /// The text of the document for the request of this name.
    pub fn named(mut self, request: &str) -> String {
        self.instance = Some(format!("urn:towline:request:{request}"));
        serde_json::to_string(&self).expect("every key is a text, so it is always JSON")
    }
}

/// What lies beside a problem's answer, so that it can be said again with the request's name.
#[derive(Clone)]
pub struct Said(pub Document);

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let code = self.code.text();
        let document = Document {
            r#type: format!("urn:towline:error:{code}"),
            title: self.code.title(),
            status: self.status.as_u16(),
            detail: self.detail,
            code,
            instance: None,
            members: self.members,
        };
        let said = Extension(Said(document.clone()));
        let content_type = [(header::CONTENT_TYPE, "application/problem+json")];
        let challenge = (self.code == Code::Token)
            .then_some([(header::WWW_AUTHENTICATE, "Bearer realm=\"towline\"")]);
        (self.status, said, challenge, content_type, Json(document)).into_response()
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        Self::new(Code::Store, error)
    }
}

impl From<QueryError> for Problem {
    fn from(error: QueryError) -> Self {
        match error {
            QueryError::Cursor(error) => Self::new(Code::Cursor, error),
            QueryError::Limit(_) => Self::new(Code::Usage, error),
            QueryError::Store(error) => error.into(),
        }
    }
}

impl From<DraftError> for Problem {
    fn from(error: DraftError) -> Self {
        let code = match error {
            DraftError::PayloadTooLarge { .. } => Code::TooLarge,
            DraftError::Json(_) => Code::Malformed,
            _ => Code::Name,
        };
        Self::new(code, error)
    }
}

impl From<DraftJsonError> for Problem {
    fn from(error: DraftJsonError) -> Self {
        match error {
            DraftJsonError::Draft(error) => error.into(),
            _ => Self::new(Code::Malformed, error),
        }
    }
}

impl From<AppendError> for Problem {
    fn from(error: AppendError) -> Self {
        let code = match error {
            AppendError::Nothing => Code::Nothing,
            AppendError::Draft(error) => return error.into(),
            AppendError::KeyReused(_) => Code::KeyReused,
            AppendError::KeyRemoved(_) => Code::Removed,
            AppendError::DiskFull(_) => Code::DiskFull,
            AppendError::Log(_) | AppendError::Poisoned(_) => Code::Poisoned,
            AppendError::Closed => Code::Closing,
        };
        Self::new(code, error)
    }
}

impl From<EmitError> for Problem {
    fn from(error: EmitError) -> Self {
        let code = match error {
            EmitError::Draft(error) => return error.into(),
            EmitError::Exhausted | EmitError::Counter(_) => Code::EmitRefused,
            EmitError::Closed(_) => Code::Closing,
        };
        Self::new(code, error)
    }
}

impl From<ReplicationError> for Problem {
    fn from(error: ReplicationError) -> Self {
        Self::new(Code::Timeout, error)
    }
}

/// The answer where there is no route.
pub async fn no_route(uri: Uri) -> Problem {
    Problem::new(Code::NotFound, format!("there is no route {}", uri.path()))
}

/// The answer where the route doesn't know the method.
pub async fn no_method(method: Method, uri: Uri) -> Problem {
    let detail = format!("{} doesn't know {method}", uri.path());
    Problem::new(Code::Method, detail)
}
