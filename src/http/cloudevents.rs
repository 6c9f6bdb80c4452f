//! CloudEvents in HTTP: binary, structured and batched, as requests bring them and answers show them.

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};

use super::media;
use super::problem::Problem;
use crate::words::cloudevents::{CloudEvent, CloudEventError};
use crate::words::json::{DraftJson, EntryJson};
use crate::words::{Code, DraftError};

/// What stands before an attribute's name in a header.
const PREFIX: &str = "ce-";
/// The header that every event in binary mode has. A web site can't send it unasked.
pub const SPECVERSION: &str = "ce-specversion";

impl From<CloudEventError> for Problem {
    fn from(error: CloudEventError) -> Self {
        Self::new(Code::Malformed, error)
    }
}

/// The event of a request in structured mode.
///
/// # Errors
/// It is none.
pub fn structured(body: &[u8]) -> Result<DraftJson, Problem> {
    Ok(CloudEvent::read(body)?.into_draft())
}

/// The events of a batch.
///
/// # Errors
/// It is none, or one of them is none.
pub fn batch(body: &[u8]) -> Result<Vec<DraftJson>, Problem> {
    let events: Vec<&serde_json::value::RawValue> =
        serde_json::from_slice(body).map_err(|error| Problem::new(Code::Malformed, error))?;
    events.into_iter().map(|event| structured(event.get().as_bytes())).collect()
}

/// The event of a request in binary mode: its attributes are headers, and its data the body.
///
/// # Errors
/// It is none.
pub fn binary(headers: &HeaderMap, body: &[u8]) -> Result<DraftJson, Problem> {
    let mut event = CloudEvent { attributes: Default::default(), data: None, data_base64: None };
    for (name, value) in headers {
        let Some(name) = name.as_str().strip_prefix(PREFIX) else { continue };
        let value = decoded(value).ok_or_else(|| CloudEventError::Value(name.to_owned()))?;
        event.attributes.insert(name.to_owned(), value);
    }
    if let Some(content_type) = headers.get(header::CONTENT_TYPE) {
        let text = content_type.to_str().map_err(|_| {
            let found = String::from_utf8_lossy(content_type.as_bytes()).into_owned();
            Problem::from(DraftError::ContentType { found })
        })?;
        event.attributes.insert("datacontenttype".to_owned(), text.to_owned());
    }
    Ok(event.with_payload(body).checked()?.into_draft())
}

/// A header's value as text, with its percent-encoding undone.
fn decoded(value: &HeaderValue) -> Option<String> {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let hex = after.get(..2).filter(|_| *first == b'%');
        let byte = hex.and_then(|hex| {
            let mut byte = [0];
            hex::decode_to_slice(hex, &mut byte).ok().map(|()| byte[0])
        });
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &after[2..] } else { after };
    }
    String::from_utf8(bytes).ok()
}

/// A text as a header's value: what is not plain ASCII, and `"` and `%`, is percent-encoded.
fn encoded(text: &str) -> HeaderValue {
    let mut value = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'!'..=b'~' if byte != b'"' && byte != b'%' => value.push(byte as char),
            _ => value.push_str(&format!("%{byte:02X}")),
        }
    }
    HeaderValue::from_str(&value).unwrap_or(HeaderValue::from_static(""))
}

/// What browsers are told of a payload: it is not the node's own, whatever its content type is, so
/// nothing in it may act in the node's name.
const FOREIGN: [(HeaderName, HeaderValue); 2] = [
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; sandbox; frame-ancestors 'none'"),
    ),
    (header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment")),
];

/// An entry as an answer in binary mode.
///
/// # Errors
/// The payload can't be read back, which no node's entry does.
pub fn binary_answer(entry: &EntryJson) -> Result<Response, Problem> {
    let event = CloudEvent::of(entry);
    let payload = entry.payload()?.into_owned();
    let mut response = payload.into_response();
    response.headers_mut().remove(header::CONTENT_TYPE);
    response.headers_mut().extend(FOREIGN);
    for (name, value) in &event.attributes {
        if name == "datacontenttype" {
            response.headers_mut().insert(header::CONTENT_TYPE, content_type(value));
        } else if let Ok(name) = HeaderName::try_from(format!("{PREFIX}{name}")) {
            response.headers_mut().insert(name, encoded(value));
        }
    }
    Ok(response)
}

fn content_type(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(media::OCTETS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_passes_through_a_header() {
        for text in ["plain", "Euro € 😀", "50% \"off\"", "a\nb", ""] {
            let value = encoded(text);
            assert!(value.to_str().is_ok_and(|value| value.bytes().all(|b| b > b' ')), "{text}");
            assert_eq!(decoded(&value).as_deref(), Some(text));
        }
        assert_eq!(decoded(&HeaderValue::from_static("100%")).as_deref(), Some("100%"));
        assert_eq!(decoded(&HeaderValue::from_static("%zz%4")).as_deref(), Some("%zz%4"));
        assert_eq!(decoded(&HeaderValue::from_static("%ff")), None);
    }
}
