//! Media types: which one is asked for, and which one is sent.

use axum::http::{HeaderMap, header};

use super::problem::Problem;
use crate::words::Code;

/// One draft or an array of them; one object.
pub const JSON: &str = "application/json";
/// One JSON value a line.
pub const NDJSON: &str = "application/x-ndjson";
/// Server-sent events.
pub const EVENTS: &str = "text/event-stream";
/// Bytes of which nothing is known.
pub const OCTETS: &str = "application/octet-stream";
/// One CloudEvent in structured mode; of a stream, one a line.
pub const CLOUD_EVENT: &str = crate::words::cloudevents::STRUCTURED;
/// An array of CloudEvents.
pub const CLOUD_EVENTS: &str = crate::words::cloudevents::BATCH;
/// Metrics, as Prometheus asks for them first.
pub const OPEN_METRICS: &str = "application/openmetrics-text";
/// Metrics in the classic format.
pub const PLAIN: &str = "text/plain";

/// The media type among `offered` that `Accept` wants most (RFC 9110, section 12.5.1). Between
/// equals the one that is offered first is sent; so it is when nothing is said.
///
/// # Errors
/// It wants none of them.
pub fn choose(headers: &HeaderMap, offered: &[&'static str]) -> Result<&'static str, Problem> {
    let ranges: Vec<Range> = ranges(headers);
    let mut best = (0, None);
    for media_type in offered {
        let weight = weight(&ranges, media_type);
        if weight > best.0 {
            best = (weight, Some(*media_type));
        }
    }
    best.1.ok_or_else(|| {
        Problem::new(Code::NotAcceptable, format!("it can be had as {}", offered.join(", ")))
    })
}

/// What a client accepts, and how much it wants that, in thousandths.
struct Range {
    essence: String,
    weight: u32,
}

fn ranges(headers: &HeaderMap) -> Vec<Range> {
    let named = headers.get_all(header::ACCEPT).iter();
    let named = named.filter_map(|value| value.to_str().ok());
    let texts = named.flat_map(|value| value.split(',')).filter(|text| !text.trim().is_empty());
    texts.map(Range::read).collect()
}

impl Range {
    fn read(text: &str) -> Self {
        let mut parts = text.split(';').map(str::trim);
        let essence = parts.next().unwrap_or_default().to_ascii_lowercase();
        let weight = parts.find_map(|part| part.strip_prefix("q=").or(part.strip_prefix("Q=")));
        let weight = weight.map_or(Some(1.0), |text| text.parse::<f32>().ok());
        // A weight that is none counts as all, as if it weren't there.
        let weight = weight.filter(|weight| (0.0..=1.0).contains(weight)).unwrap_or(1.0);
        Self { essence, weight: (weight * 1_000.0) as u32 }
    }

    /// How exactly the range names a media type: not at all, or more for more.
    fn exactness(&self, media_type: &str) -> Option<u8> {
        let kind = media_type.split('/').next().unwrap_or_default();
        match self.essence.as_str() {
            "*/*" | "*" => Some(0),
            essence if essence == media_type => Some(2),
            essence if essence.strip_suffix("/*") == Some(kind) => Some(1),
            _ => None,
        }
    }
}

/// How much a media type is wanted: as the range says that names it most exactly.
fn weight(ranges: &[Range], media_type: &str) -> u32 {
    if ranges.is_empty() {
        return 1_000;
    }
    let naming = ranges.iter().filter_map(|range| Some((range.exactness(media_type)?, range)));
    naming.max_by_key(|(exactness, _)| *exactness).map_or(0, |(_, range)| range.weight)
}

/// The media type of the body, in lower case and without its parameters.
pub fn content_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    Some(value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn chosen(accept: &'static str) -> Option<&'static str> {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
        choose(&headers, &[JSON, NDJSON]).ok()
    }

    #[test]
    fn what_is_wanted_most_is_sent() {
        for accept in ["", "*/*", "application/*", "text/html, */*;q=0.8", "application/json"] {
            assert_eq!(chosen(accept), Some(JSON), "{accept}");
        }
        for accept in [
            NDJSON,
            "application/X-NDJSON; charset=utf-8",
            "application/json;q=0.5, application/x-ndjson",
            "application/json;q=0, */*",
        ] {
            assert_eq!(chosen(accept), Some(NDJSON), "{accept}");
        }
    }

    #[test]
    fn what_can_not_be_had_is_not_sent() {
        for accept in ["text/html", "application/json;q=0", "*/*;q=0"] {
            assert_eq!(chosen(accept), None, "{accept}");
        }
    }
}
