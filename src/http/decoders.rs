//! What requests say, read without a node behind: for the fuzzers of this repository, and no
//! interface for anybody else.

use std::time::Duration;

use axum::http::HeaderMap;

pub use super::drafts::Drafts;
pub use super::parameters::Parameters;
pub use super::problem::Problem;

use super::append::Ack;
use super::{entries, stream};
use crate::node::query::PAGE_ENTRIES;
use crate::node::{From, Query};

/// What `GET /v1/entries` is asked for.
///
/// # Errors
/// A parameter that can't be understood; so for all here.
pub fn listing(parameters: &Parameters) -> Result<Query, Problem> {
    entries::query(parameters, PAGE_ENTRIES)
}

/// Where `GET /v1/stream` is asked to begin.
///
/// # Errors
/// See [`listing`].
pub fn beginning(headers: &HeaderMap, parameters: &Parameters) -> Result<From, Problem> {
    stream::beginning(headers, parameters)
}

/// How many peers `POST /v1/entries` is asked to wait for, and how long.
///
/// # Errors
/// See [`listing`].
pub fn acknowledged(parameters: &Parameters) -> Result<(usize, Duration), Problem> {
    Ack::asked(parameters).map(|ack| (ack.peers, ack.patience))
}
