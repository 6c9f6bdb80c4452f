//! Who may ask: bearers of tokens, or everybody who reaches the address.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use axum::http::{HeaderMap, header};
use prometheus_client::metrics::counter::Counter;

use super::problem::Problem;
use super::scope::Grant;
use crate::node::Tokens;
use crate::node::ration::Ration;
use crate::words::Code;

/// Who may ask without a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strangers {
    /// Everybody, and everything.
    Admitted,
    /// Nobody.
    Refused,
}

/// The door of the routes that need a grant. Cloning it shares it.
#[derive(Clone)]
pub struct Access {
    strangers: Strangers,
    tokens: Arc<Tokens>,
    refused: Counter,
    refusals: Arc<Mutex<Ration>>,
    began: Instant,
}

impl Access {
    /// A door that knows these tokens, and counts whom it refuses.
    pub fn new(strangers: Strangers, tokens: Arc<Tokens>, refused: Counter) -> Self {
        Self { strangers, tokens, refused, refusals: Arc::default(), began: Instant::now() }
    }

    /// What the bearer of a request may do. A token that is shown must be known, even where none is
    /// needed.
    ///
    /// # Errors
    /// The request bears none that is needed, or one that isn't known.
    pub fn grant(&self, headers: &HeaderMap) -> Result<Grant, Problem> {
        let Some(shown) = headers.get(header::AUTHORIZATION) else {
            return match self.strangers {
                Strangers::Admitted => Ok(Grant::everything()),
                Strangers::Refused => Err(self.refuse("the request bears no token")),
            };
        };
        let token = shown.to_str().ok().and_then(|text| {
            let (scheme, token) = text.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
        });
        let Some(token) = token else {
            return Err(self.refuse("the authorization is not Bearer TOKEN"));
        };
        match self.tokens.find(token) {
            Ok(Some(token)) => Grant::of(&token).map_err(|error| {
                tracing::warn!(%error, token = token.id, "a token names no tenant");
                self.refuse("the token names no tenant")
            }),
            Ok(None) => Err(self.refuse("the token is not known here")),
            Err(error) => {
                tracing::warn!(%error, "no token is known");
                Err(self.refuse("the node can't read its tokens"))
            }
        }
    }

    fn refuse(&self, why: &'static str) -> Problem {
        self.refused.inc();
        let mut ration = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(withheld) = ration.take(self.began.elapsed()) {
            tracing::warn!(why, withheld, "a request was refused");
        }
        Problem::new(Code::Token, why)
    }
}
