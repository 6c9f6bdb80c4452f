//! Media types: which one is asked for, and which one is sent.

use axum::http::{HeaderMap, header};

/// One draft or an array of them; one object.
pub const JSON: &str = "application/json";
/// One JSON value a line.
pub const NDJSON: &str = "application/x-ndjson";
/// Server-sent events.
pub const EVENTS: &str = "text/event-stream";
/// Metrics, as Prometheus asks for them first.
pub const OPEN_METRICS: &str = "application/openmetrics-text";

/// Whether `Accept` names this media type. Weights don't count: who names a special form can read
/// it, and gets it.
pub fn accepts(headers: &HeaderMap, media_type: &str) -> bool {
    let named = headers.get_all(header::ACCEPT).iter();
    named
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|range| essence(range).eq_ignore_ascii_case(media_type))
}

/// The media type of the body, in lower case and without its parameters.
pub fn content_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    Some(essence(value).to_ascii_lowercase())
}

fn essence(text: &str) -> &str {
    text.split(';').next().unwrap_or_default().trim()
}
