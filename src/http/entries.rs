//! Reading entries: pages of them, and one by name.

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::media;
use super::parameters::{FILTERS, Parameters};
use super::problem::Problem;
use crate::node::query::{PAGE_ENTRIES, PAGE_ENTRIES_MOST};
use crate::node::{Cursor, Gaps, Node, Order, Page, Query};
use crate::words::json::{EntryJson, Lateness};
use crate::words::{Code, Entry, EntryId};

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
    let entries = node.get(id).await?;
    match &entries[..] {
        [] => {
            let detail = format!("no entry {id} has arrived on this node");
            Err(Problem::new(Code::NotFound, detail))
        }
        [entry] => Ok(Json(entry_json(entry)).into_response()),
        branches => {
            let listing = Listing {
                name: "entries",
                entries: branches.iter().map(entry_json).collect(),
                next: None,
            };
            Ok((StatusCode::MULTIPLE_CHOICES, Json(listing)).into_response())
        }
    }
}

fn entry_json(entry: &Entry) -> EntryJson {
    EntryJson::new(entry, Lateness::InOrder)
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

/// A page as JSON, or one entry a line when that is asked for.
async fn answer(
    node: &Node,
    query: Query,
    (path, name): (&str, &'static str),
    parameters: &Parameters,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    let filter = query.filter.clone();
    let Page { entries, next } = node.query(query).await?;
    let entries: Vec<EntryJson> = entries.iter().map(entry_json).collect();
    let next = next.map(|cursor| cursor.to_string());
    let link = next.as_ref().map(|cursor| {
        let query = parameters.continued(&filter, cursor);
        [(header::LINK, format!("<{path}?{query}>; rel=\"next\""))]
    });
    if media::accepts(headers, media::NDJSON) {
        let content_type = [(header::CONTENT_TYPE, media::NDJSON)];
        return Ok((content_type, link, lines(&entries)?).into_response());
    }
    let listing = Listing { name, entries, next };
    Ok((link, Json(listing)).into_response())
}

fn lines(entries: &[EntryJson]) -> Result<Vec<u8>, Problem> {
    let mut lines = Vec::new();
    for entry in entries {
        let written = serde_json::to_writer(&mut lines, entry);
        written.map_err(|error| Problem::new(Code::Io, error))?;
        lines.push(b'\n');
    }
    Ok(lines)
}

/// Entries under a name, and where the next ones begin.
struct Listing {
    name: &'static str,
    entries: Vec<EntryJson>,
    next: Option<String>,
}

impl Serialize for Listing {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry(self.name, &self.entries)?;
        map.serialize_entry("next", &self.next)?;
        map.end()
    }
}
