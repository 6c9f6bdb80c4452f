//! Reading entries: pages of them, and one by name.

use axum::Json;
use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::cloudevents;
use super::etag::tagged;
use super::listing::{Form, Listing};
use super::media;
use super::parameters::{FILTERS, Parameters};
use super::problem::Problem;
use super::room::Room;
use super::scope::Reads;
use crate::node::query::{PAGE_ENTRIES, PAGE_ENTRIES_MOST};
use crate::node::{Cursor, Gaps, Order, Page, Query};
use crate::words::json::{EntryJson, Lateness};
use crate::words::{Code, Entry, EntryId};

/// `GET /v1/entries`: a page of the log.
pub async fn list(
    log: Reads,
    headers: HeaderMap,
    parameters: Parameters,
) -> Result<Response, Problem> {
    let query = query(&parameters, PAGE_ENTRIES)?;
    answer(&log, query, ("/v1/entries", "entries"), &parameters, &headers).await
}

/// `GET /v1/gaps`: what was dropped, and nothing else. A page is as long as it may be when no limit
/// is given.
pub async fn gaps(
    log: Reads,
    headers: HeaderMap,
    parameters: Parameters,
) -> Result<Response, Problem> {
    let mut query = query(&parameters, PAGE_ENTRIES_MOST)?;
    query.filter.gaps = Gaps::Only;
    answer(&log, query, ("/v1/gaps", "gaps"), &parameters, &headers).await
}

/// `GET /v1/entries/{author}/{seq}`: one entry; 300 and all of them where branches of the author
/// share the seq and no `@segment` says which is meant.
pub async fn one(
    log: Reads,
    headers: HeaderMap,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Result<Response, Problem> {
    let id = named(path)?;
    let chosen = media::choose(&headers, &[media::JSON, media::CLOUD_EVENT])?;
    let (room, _) = Room::find().await;
    let entries = log.get(id).await?;
    let (status, form, content_type) = match entries.len() {
        0 => return Err(log.absent(id).await),
        1 if chosen == media::CLOUD_EVENT => (StatusCode::OK, Form::CloudEvent, chosen),
        1 => (StatusCode::OK, Form::Lines, chosen),
        _ => (StatusCode::MULTIPLE_CHOICES, Form::Document("entries"), media::JSON),
    };
    let tag = format!("{}{}", tag(&entries), if form == Form::CloudEvent { ".ce" } else { "" });
    let answer = move || {
        let body = room.body(Listing::new(entries, None, form));
        (status, [(header::CONTENT_TYPE, content_type)], body).into_response()
    };
    Ok(tagged(&tag, &headers, answer))
}

/// `GET /v1/entries/{author}/{seq}/event`: one entry as a CloudEvent in binary mode. Where branches
/// share the seq, `@segment` must say which is meant.
pub async fn event(
    log: Reads,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Result<Response, Problem> {
    let id = named(path)?;
    match &log.get(id).await?[..] {
        [] => Err(log.absent(id).await),
        [entry] => cloudevents::binary_answer(&EntryJson::new(entry, Lateness::InOrder)),
        _ => Err(Problem::new(Code::Usage, format!("{id} is on more than one branch"))),
    }
}

/// The entry that a path names.
///
/// # Errors
/// The path names none.
pub fn named(path: Result<Path<(String, String)>, PathRejection>) -> Result<EntryId, Problem> {
    let usage = |error: &dyn std::fmt::Display| Problem::new(Code::Usage, error.to_string());
    let Path((author, seq)) = path.map_err(|error| usage(&error))?;
    format!("{author}:{seq}").parse().map_err(|error| usage(&error))
}

/// What tells these entries from all others. An entry never changes; its marks do, and its place in
/// another store is another.
fn tag(entries: &[Entry]) -> String {
    let texts = entries.iter().map(|entry| {
        let forked = if entry.forked { "f" } else { "" };
        format!("{}.{}.{}{forked}", entry.change, entry.seq, entry.offset)
    });
    texts.collect::<Vec<_>>().join("-")
}

/// The listing that is asked for; of `limit` entries when no limit is given.
///
/// # Errors
/// A parameter that is unknown or can't be understood.
pub fn query(parameters: &Parameters, limit: usize) -> Result<Query, Problem> {
    let known = ["order", "after", "limit", "reverse", "explain"];
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

/// A page as JSON, or one entry a line when that is asked for; with `explain`, what is read for it. It may
/// be shorter than it could be while others take the room that answers have in memory.
async fn answer(
    log: &Reads,
    query: Query,
    (path, name): (&str, &'static str),
    parameters: &Parameters,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    if parameters.parse("explain")? == Some(true) {
        return Ok(Json(log.explain(query).await?).into_response());
    }
    let filter = query.filter.clone();
    let offered = [media::JSON, media::NDJSON, media::CLOUD_EVENTS];
    let content_type = media::choose(headers, &offered)?;
    let (room, bytes) = Room::find().await;
    let Page { entries, next } = log.query(query.bytes(bytes)).await?;
    let next = next.map(|cursor| cursor.to_string());
    let link = next.as_ref().map(|cursor| {
        let query = parameters.continued(&filter, cursor);
        [(header::LINK, format!("<{path}?{query}>; rel=\"next\""))]
    });
    let form = match content_type {
        media::NDJSON => Form::Lines,
        media::CLOUD_EVENTS => Form::CloudEvents,
        _ => Form::Document(name),
    };
    let body = room.body(Listing::new(entries, next, form));
    let head = [(header::CONTENT_TYPE, content_type), (header::VARY, "accept")];
    Ok((link, head, body).into_response())
}
