//! Reading entries: pages of them, and one by name.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::listing::{Form, Listing};
use super::media;
use super::parameters::{FILTERS, Parameters};
use super::problem::Problem;
use super::room::Room;
use crate::node::query::{PAGE_ENTRIES, PAGE_ENTRIES_MOST};
use crate::node::{Cursor, Gaps, Node, Order, Page, Query};
use crate::words::{Code, EntryId};

/// `GET /v1/entries`: a page of the log.
pub async fn list(
    State(node): State<Node>,
    headers: HeaderMap,
    parameters: Parameters,
) -> Result<Response, Problem> {
    let query = query(&parameters, PAGE_ENTRIES)?;
    answer(&node, query, ("/v1/entries", "entries"), &parameters, &headers).await
}

/// `GET /v1/gaps`: what was dropped, and nothing else. A page is as long as it may be when no limit
/// is given.
pub async fn gaps(
    State(node): State<Node>,
    headers: HeaderMap,
    parameters: Parameters,
) -> Result<Response, Problem> {
    let mut query = query(&parameters, PAGE_ENTRIES_MOST)?;
    query.filter.gaps = Gaps::Only;
    answer(&node, query, ("/v1/gaps", "gaps"), &parameters, &headers).await
}

/// `GET /v1/entries/{author}/{seq}`: one entry; 300 and all of them where branches of the author
/// share the seq and no `@segment` says which is meant.
pub async fn one(
    State(node): State<Node>,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Result<Response, Problem> {
    let usage = |error: &dyn std::fmt::Display| Problem::new(Code::Usage, error.to_string());
    let Path((author, seq)) = path.map_err(|error| usage(&error))?;
    let name = format!("{author}:{seq}");
    let id: EntryId = name.parse().map_err(|error| usage(&error))?;
    let (room, _) = Room::find().await;
    let entries = node.get(id).await?;
    let (status, form) = match entries.len() {
        0 => {
            let detail = format!("no entry {id} has arrived on this node");
            return Err(Problem::new(Code::NotFound, detail));
        }
        1 => (StatusCode::OK, Form::Lines),
        _ => (StatusCode::MULTIPLE_CHOICES, Form::Document("entries")),
    };
    let content_type = [(header::CONTENT_TYPE, media::JSON)];
    let body = room.body(Listing::new(entries, None, form));
    Ok((status, content_type, body).into_response())
}

/// The listing that is asked for; of `limit` entries when no limit is given.
///
/// # Errors
/// A parameter that is unknown or can't be understood.
pub fn query(parameters: &Parameters, limit: usize) -> Result<Query, Problem> {
    let known = ["order", "after", "limit", "reverse"];
    parameters.allow(&[&known[..], &FILTERS].concat())?;
    let order = parameters.read("order", Code::Usage, read_order)?;
    let query = Query::in_order(order.unwrap_or_default())
        .filter(parameters.filter(Gaps::AsEntries)?)
        .limit(parameters.parse("limit")?.unwrap_or(limit));
    let query = match parameters.parse("reverse")? {
        Some(true) => query.reverse(),
        None | Some(false) => query,
    };
    match parameters.read("after", Code::Cursor, str::parse::<Cursor>)? {
        Some(cursor) => Ok(query.after(cursor)),
        None => Ok(query),
    }
}

fn read_order(text: &str) -> Result<Order, &'static str> {
    match text {
        "time" => Ok(Order::Time),
        "arrival" => Ok(Order::Arrival),
        "author" => Ok(Order::Author),
        _ => Err("it is time, arrival or author"),
    }
}

/// A page as JSON, or one entry a line when that is asked for. It may be shorter than it could be
/// while others take the room that answers have in memory.
async fn answer(
    node: &Node,
    query: Query,
    (path, name): (&str, &'static str),
    parameters: &Parameters,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    let filter = query.filter.clone();
    let (room, bytes) = Room::find().await;
    let Page { entries, next } = node.query(query.bytes(bytes)).await?;
    let next = next.map(|cursor| cursor.to_string());
    let link = next.as_ref().map(|cursor| {
        let query = parameters.continued(&filter, cursor);
        [(header::LINK, format!("<{path}?{query}>; rel=\"next\""))]
    });
    let (form, content_type) = match media::accepts(headers, media::NDJSON) {
        true => (Form::Lines, media::NDJSON),
        false => (Form::Document(name), media::JSON),
    };
    let body = room.body(Listing::new(entries, next, form));
    Ok((link, [(header::CONTENT_TYPE, content_type)], body).into_response())
}
