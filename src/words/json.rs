//! Entries and drafts as JSON: what HTTP and the command line speak.
//!
//! A payload that is JSON stays the very text that was given, numbers and all; a text is a JSON
//! string; all else is base64.

use std::borrow::Cow;
use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use super::entry::{JSON, OCTETS, TEXT};
use super::{ChangeHash, Draft, DraftError, Entry, NodeId, SegmentId, Seq, Time};

/// An entry as JSON.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EntryJson {
    /// `author:seq`.
    pub id: String,
    /// Who wrote it.
    pub author: NodeId,
    /// Its number among the author's entries.
    pub seq: Seq,
    /// RFC 3339, milliseconds.
    pub time: String,
    /// The hybrid logical time as a decimal number.
    pub hlc: Time,
    /// Its place in the answering node's order of arrival.
    pub offset: u64,
    /// Whom it belongs to.
    pub tenant: String,
    /// The sub-log.
    pub topic: String,
    /// What sort of event it is.
    pub kind: String,
    /// Small named texts.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, String>,
    /// The media type of the payload, when it isn't `application/json`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// The payload, when it is JSON or text.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub data: Option<Box<RawValue>>,
    /// The payload, when it is neither.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_base64: Option<String>,
    /// The change that holds it.
    pub change: ChangeHash,
    /// The segment that holds it.
    pub segment: SegmentId,
    /// Whether it sorts before an entry that the reader has seen.
    #[serde(default, skip_serializing_if = "is_false")]
    pub late: bool,
    /// Whether its time was far ahead when it arrived.
    #[serde(default, skip_serializing_if = "is_false")]
    pub skew: bool,
    /// Whether another entry of its author has the same seq.
    #[serde(default, skip_serializing_if = "is_false")]
    pub forked: bool,
}

/// A field that is there has a value, even if that is `null`.
///
/// # Errors
/// What stands there is no JSON.
pub fn present<'de, D: Deserializer<'de>>(input: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::<RawValue>::deserialize(input).map(Some)
}

fn is_false(value: &bool) -> bool {
    !value
}

/// Whether a follower has seen an entry that sorts after this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lateness {
    /// No.
    InOrder,
    /// Yes: merged order has changed in the past.
    Late,
}

impl EntryJson {
    /// An entry as JSON.
    pub fn new(entry: &Entry, lateness: Lateness) -> Self {
        let body = &entry.body;
        let (data, data_base64) = payload(&body.content_type, &body.data);
        Self {
            id: entry.id().to_string(),
            author: entry.author,
            seq: entry.seq,
            time: entry.time.to_string(),
            hlc: entry.time,
            offset: entry.offset.0,
            tenant: body.tenant.to_string(),
            topic: body.topic.to_string(),
            kind: body.kind.to_string(),
            attributes: body.attributes.clone(),
            content_type: Some(body.content_type.to_string()).filter(|found| found != JSON),
            data,
            data_base64,
            change: entry.change,
            segment: entry.segment,
            late: lateness == Lateness::Late,
            skew: entry.skew,
            forked: entry.forked,
        }
    }

    /// The payload's bytes.
    ///
    /// # Errors
    /// JSON that no node wrote.
    pub fn payload(&self) -> Result<Cow<'_, [u8]>, DraftError> {
        let wrong = |e: &dyn std::fmt::Display| DraftError::Json(e.to_string());
        match (&self.data, &self.data_base64, self.content_type.as_deref()) {
            (Some(data), _, None | Some(JSON)) => Ok(Cow::Borrowed(data.get().as_bytes())),
            (Some(data), ..) if is_json(self.content_type.as_deref().unwrap_or(JSON)) => {
                Ok(Cow::Borrowed(data.get().as_bytes()))
            }
            (Some(data), ..) => {
                let text: String = serde_json::from_str(data.get()).map_err(|e| wrong(&e))?;
                Ok(Cow::Owned(text.into_bytes()))
            }
            (None, Some(base64), _) => {
                Ok(Cow::Owned(STANDARD.decode(base64).map_err(|e| wrong(&e))?))
            }
            (None, None, _) => Ok(Cow::Borrowed(&[])),
        }
    }
}

pub(super) fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    essence == JSON || essence.ends_with("+json")
}

/// The payload as `data`, or else as `data_base64`.
fn payload(content_type: &str, bytes: &[u8]) -> (Option<Box<RawValue>>, Option<String>) {
    let base64 = || (None, Some(STANDARD.encode(bytes)));
    let Ok(text) = std::str::from_utf8(bytes) else {
        return base64();
    };
    if is_json(content_type) {
        // Line breaks outside of strings mean nothing in JSON, and an entry is one line.
        let line = text.replace(['\n', '\r'], " ");
        return match RawValue::from_string(line) {
            Ok(raw) => (Some(raw), None),
            Err(_) => base64(),
        };
    }
    match serde_json::value::to_raw_value(text) {
        Ok(raw) => (Some(raw), None),
        Err(_) => base64(),
    }
}

/// A draft as JSON.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DraftJson {
    /// Whom it belongs to; `default` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// The sub-log.
    pub topic: String,
    /// What sort of event it is.
    pub kind: String,
    /// Small named texts.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, String>,
    /// The media type of the payload. When absent: JSON for `data`, octets for `data_base64`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// The payload as JSON; or as a JSON string, when the content type is `text/…`.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub data: Option<Box<RawValue>>,
    /// The payload as base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_base64: Option<String>,
}

/// Says why JSON is no draft.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DraftJsonError {
    /// There is no payload, or two.
    #[error("a draft has either data or data_base64")]
    Payload,
    /// The base64 can't be read.
    #[error("data_base64 is no base64: {0}")]
    Base64(String),
    /// The content type is text, and the data no JSON string.
    #[error("the data of a text is a JSON string")]
    Text,
    /// A name or a bound is broken.
    #[error(transparent)]
    Draft(#[from] DraftError),
}

impl DraftJson {
    /// The draft that the JSON stands for.
    ///
    /// # Errors
    /// See [`DraftJsonError`].
    pub fn into_draft(self) -> Result<Draft, DraftJsonError> {
        let (content_type, data) = match (self.data, self.data_base64) {
            (Some(data), None) => {
                let content_type = self.content_type.unwrap_or_else(|| JSON.to_owned());
                if is_json(&content_type) {
                    (content_type, data.get().as_bytes().to_vec())
                } else {
                    let text: String =
                        serde_json::from_str(data.get()).map_err(|_| DraftJsonError::Text)?;
                    (content_type, text.into_bytes())
                }
            }
            (None, Some(base64)) => {
                let decoded = STANDARD.decode(base64);
                let bytes = decoded.map_err(|e| DraftJsonError::Base64(e.to_string()))?;
                (self.content_type.unwrap_or_else(|| OCTETS.to_owned()), bytes)
            }
            _ => return Err(DraftJsonError::Payload),
        };
        let mut draft = Draft::bytes(&self.topic, &self.kind, &content_type, data)?;
        if let Some(tenant) = &self.tenant {
            draft = draft.for_tenant(tenant)?;
        }
        for (key, value) in &self.attributes {
            draft = draft.with_attribute(key, value)?;
        }
        Ok(draft)
    }

    /// A text as a draft, for a topic and kind that the receiver checks.
    ///
    /// # Errors
    /// None in practice: every text is a JSON string.
    pub fn text(topic: &str, kind: &str, text: &str) -> Result<Self, DraftError> {
        let data = serde_json::value::to_raw_value(text);
        Ok(Self {
            tenant: None,
            topic: topic.to_owned(),
            kind: kind.to_owned(),
            attributes: BTreeMap::new(),
            content_type: Some(TEXT.to_owned()),
            data: Some(data.map_err(|e| DraftError::Json(e.to_string()))?),
            data_base64: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::Offset;

    fn entry(draft: Draft) -> Entry {
        Entry {
            author: NodeId([1; 32]),
            seq: Seq(7),
            time: Time::from_millis(1_795_237_297_123),
            offset: Offset(4_711),
            change: ChangeHash([2; 32]),
            segment: SegmentId([3; 16]),
            skew: false,
            forked: false,
            body: draft,
        }
    }

    fn round_trip(json: &str) -> Result<Draft, DraftJsonError> {
        let draft: DraftJson = serde_json::from_str(json).unwrap();
        draft.into_draft()
    }

    #[test]
    fn json_keeps_its_very_text() {
        let text =
            r#"{"topic":"t","kind":"k","data":{"a":1e400,"a":123456789012345678901234567890}}"#;
        let draft = round_trip(text).unwrap();
        assert_eq!(&draft.data[..], br#"{"a":1e400,"a":123456789012345678901234567890}"#);
        let json = EntryJson::new(&entry(draft.clone()), Lateness::InOrder);
        assert_eq!(json.payload().unwrap(), &draft.data[..]);
    }

    #[test]
    fn every_payload_reads_back() {
        let json = Draft::bytes("t", "k", JSON, "{\n \"a\": 1\r\n}").unwrap();
        let text = Draft::text("t", "k", "a \u{202e} line\n\u{0}").unwrap();
        let octets = Draft::bytes("t", "k", OCTETS, vec![0xff, 0]).unwrap();
        let not_json = Draft::bytes("t", "k", JSON, "{nope").unwrap();
        for draft in [json, text, octets, not_json] {
            let line =
                serde_json::to_string(&EntryJson::new(&entry(draft.clone()), Lateness::Late))
                    .unwrap();
            assert!(!line.contains('\n'));
            let back: EntryJson = serde_json::from_str(&line).unwrap();
            assert!(back.late);
            let expected = String::from_utf8_lossy(&draft.data).replace(['\n', '\r'], " ");
            match &*draft.content_type {
                JSON => assert_eq!(String::from_utf8_lossy(&back.payload().unwrap()), expected),
                _ => assert_eq!(back.payload().unwrap(), &draft.data[..]),
            }
        }
    }

    #[test]
    fn a_draft_has_one_payload() {
        assert_eq!(round_trip(r#"{"topic":"t","kind":"k"}"#), Err(DraftJsonError::Payload));
        let two = r#"{"topic":"t","kind":"k","data":1,"data_base64":"AA=="}"#;
        assert_eq!(round_trip(two), Err(DraftJsonError::Payload));
        let null = r#"{"topic":"t","kind":"k","data":null}"#;
        assert_eq!(&round_trip(null).unwrap().data[..], b"null");
    }
}
