//! CloudEvents 1.0: entries as events, and events as drafts.
//!
//! | event | entry |
//! |---|---|
//! | `id` | `author:seq`, or the id that a foreign event came with |
//! | `source` | `urn:towline:node:<author>`, or the source that it came with |
//! | `type` | kind |
//! | `subject` | topic, or the subject that it came with |
//! | `time` | the author's time, or the time that it came with |
//! | `datacontenttype`, `data`, `data_base64` | content type and payload |
//! | `sequence` | seq, as 20 digits, so that texts sort as numbers |
//! | `towlinetenant`, `towlinetopic`, `towlineid` | where they differ from the above |
//! | other extensions | attributes; those of foreign events are kept as `ce-<name>` |
//!
//! A foreign event's own attributes are kept as attributes that begin with `ce-`, and say again what
//! they said: so it leaves towline under the id and source that it came with.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::value::RawValue;

use super::entry::{JSON, TEXT};
use super::json::{DraftJson, EntryJson, is_json};
use super::name::DEFAULT_TENANT;

/// The version of the specification.
pub const SPECVERSION: &str = "1.0";
/// One event in structured mode.
pub const STRUCTURED: &str = "application/cloudevents+json";
/// An array of events.
pub const BATCH: &str = "application/cloudevents-batch+json";
/// The topic of an event that has no subject.
const TOPIC: &str = "events";
/// What stands before a foreign event's own attributes.
const FOREIGN: &str = "ce-";
/// Attributes of an event that an extension can't be named like.
const CORE: [&str; 10] = [
    "specversion",
    "id",
    "source",
    "type",
    "subject",
    "time",
    "datacontenttype",
    "dataschema",
    "data",
    "data_base64",
];

/// An event: its attributes as text, and its data.
#[derive(Clone, Debug, Serialize)]
pub struct CloudEvent {
    /// All attributes by name.
    #[serde(flatten)]
    pub attributes: BTreeMap<String, String>,
    /// The data, when it is JSON or text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<Box<RawValue>>,
    /// The data, when it is neither.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_base64: Option<String>,
}

/// Says why something is no event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CloudEventError {
    /// An attribute is missing that every event has.
    #[error("a CloudEvent has the attribute {0}, and it isn't empty")]
    Missing(&'static str),
    /// It is of another version.
    #[error("the specversion is {0:?}, and {SPECVERSION} is understood")]
    Version(String),
    /// A name is not made of lower-case letters and digits.
    #[error("{0:?} is no name of an attribute: it has lower-case letters and digits only")]
    Name(String),
    /// A value is neither a text, a number nor a boolean.
    #[error("the attribute {0} is neither a text, a number nor a boolean")]
    Value(String),
    /// It is no JSON object.
    #[error("{0}")]
    Json(String),
}

impl CloudEvent {
    /// An entry as an event.
    pub fn of(entry: &EntryJson) -> Self {
        let mut event = BTreeMap::new();
        let mut set = |name: &str, value: &str| event.insert(name.to_owned(), value.to_owned());
        set("specversion", SPECVERSION);
        set("id", &entry.id);
        set("source", &format!("urn:towline:node:{}", entry.author));
        set("type", &entry.kind);
        set("time", &entry.time);
        set("sequence", &format!("{:020}", entry.seq.0));
        let is_foreign = entry.attributes.contains_key("ce-id");
        if is_foreign {
            set("towlineid", &entry.id);
        } else {
            set("subject", &entry.topic);
        }
        if entry.tenant != DEFAULT_TENANT {
            set("towlinetenant", &entry.tenant);
        }
        let is_empty = entry.data.is_none() && entry.data_base64.as_deref() == Some("");
        match &entry.content_type {
            Some(content_type) => drop(set("datacontenttype", content_type)),
            None if !is_empty => drop(set("datacontenttype", JSON)),
            None => {}
        }
        for (name, value) in &entry.attributes {
            match name.strip_prefix(FOREIGN).filter(|_| is_foreign) {
                Some(own) if is_name(own) => drop(set(own, value)),
                None if is_name(name) && !CORE.contains(&name.as_str()) => drop(set(name, value)),
                _ => {}
            }
        }
        if is_foreign && event.get("subject").map_or(TOPIC, String::as_str) != entry.topic {
            event.insert("towlinetopic".to_owned(), entry.topic.clone());
        }
        let data_base64 = entry.data_base64.clone().filter(|_| !is_empty);
        Self { attributes: event, data: entry.data.clone(), data_base64 }
    }

    /// Reads an event in structured mode.
    ///
    /// # Errors
    /// See [`CloudEventError`].
    pub fn read(json: &[u8]) -> Result<Self, CloudEventError> {
        let fields: BTreeMap<String, Box<RawValue>> =
            serde_json::from_slice(json).map_err(|e| CloudEventError::Json(e.to_string()))?;
        let mut event = Self { attributes: BTreeMap::new(), data: None, data_base64: None };
        for (name, value) in fields {
            match name.as_str() {
                "data" => event.data = Some(value),
                "data_base64" => {
                    let text = serde_json::from_str(value.get());
                    event.data_base64 =
                        Some(text.map_err(|_| CloudEventError::Value("data_base64".into()))?);
                }
                _ => {
                    // An attribute that is null is one that is absent.
                    if let Some(value) = text_of(&name, &value)? {
                        event.attributes.insert(name, value);
                    }
                }
            }
        }
        event.checked()
    }

    /// Checks what holds for every event.
    ///
    /// # Errors
    /// See [`CloudEventError`].
    pub fn checked(self) -> Result<Self, CloudEventError> {
        for required in ["specversion", "id", "source", "type"] {
            if self.attributes.get(required).is_none_or(String::is_empty) {
                return Err(CloudEventError::Missing(required));
            }
        }
        if self.attributes["specversion"] != SPECVERSION {
            return Err(CloudEventError::Version(self.attributes["specversion"].clone()));
        }
        match self.attributes.keys().find(|name| !is_name(name)) {
            Some(name) => Err(CloudEventError::Name(name.clone())),
            None => Ok(self),
        }
    }

    /// The draft that this event becomes.
    pub fn into_draft(mut self) -> DraftJson {
        let mut take = |name: &str| self.attributes.remove(name);
        let (tenant, topic) = (take("towlinetenant"), take("towlinetopic"));
        let kind = take("type").unwrap_or_default();
        let content_type = take("datacontenttype");
        drop((take("specversion"), take("towlineid")));
        let subject = self.attributes.get("subject").cloned();
        let topic = topic.or(subject).unwrap_or_else(|| TOPIC.to_owned());
        let kept = self.attributes.into_iter();
        let attributes = kept.map(|(name, value)| (format!("{FOREIGN}{name}"), value)).collect();
        let (data, data_base64, content_type) = match (self.data, self.data_base64) {
            (None, None) => (None, Some(String::new()), content_type.or(Some(JSON.to_owned()))),
            (None, base64) => (None, base64, content_type),
            (data, _) => (data, None, content_type),
        };
        DraftJson { tenant, topic, kind, attributes, content_type, data, data_base64 }
    }

    /// The content type of the data.
    pub fn content_type(&self) -> &str {
        self.attributes.get("datacontenttype").map_or(JSON, String::as_str)
    }

    /// Gives the event this payload, as binary mode has it.
    pub fn with_payload(mut self, bytes: &[u8]) -> Self {
        use base64::Engine;
        let text = std::str::from_utf8(bytes).ok();
        let content_type = self.content_type();
        let data = match text {
            None => None,
            Some(text) if is_json(content_type) => RawValue::from_string(text.to_owned()).ok(),
            Some(text) if content_type.starts_with(TEXT) => {
                serde_json::value::to_raw_value(text).ok()
            }
            Some(_) => None,
        };
        if data.is_none() && !bytes.is_empty() {
            self.data_base64 = Some(base64::engine::general_purpose::STANDARD.encode(bytes));
        }
        self.data = data;
        self
    }
}

fn is_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    !name.is_empty() && name.bytes().all(plain)
}

/// An attribute's value as text: booleans and numbers in their canonical form.
fn text_of(name: &str, value: &RawValue) -> Result<Option<String>, CloudEventError> {
    let wrong = || CloudEventError::Value(name.to_owned());
    match serde_json::from_str(value.get()).map_err(|_| wrong())? {
        serde_json::Value::Null => Ok(None),
        serde_json::Value::String(text) => Ok(Some(text)),
        serde_json::Value::Bool(value) => Ok(Some(value.to_string())),
        serde_json::Value::Number(number) => Ok(Some(number.to_string())),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::json::Lateness;
    use super::super::{ChangeHash, Draft, Entry, NodeId, Offset, SegmentId, Seq, Time};
    use super::*;

    fn stored(draft: Draft) -> EntryJson {
        let entry = Entry {
            author: NodeId([1; 32]),
            seq: Seq(7),
            time: Time::from_millis(1_795_237_297_123),
            offset: Offset(4_711),
            change: ChangeHash([2; 32]),
            segment: SegmentId([3; 16]),
            skew: false,
            forked: false,
            body: draft,
        };
        EntryJson::new(&entry, Lateness::InOrder)
    }

    fn shown(event: &CloudEvent) -> serde_json::Value {
        serde_json::from_str(&serde_json::to_string(event).unwrap()).unwrap()
    }

    fn through(event: &str) -> serde_json::Value {
        let event = CloudEvent::read(event.as_bytes()).unwrap();
        shown(&CloudEvent::of(&stored(event.into_draft().into_draft().unwrap())))
    }

    #[test]
    fn an_entry_is_an_event_of_its_author() {
        let draft = Draft::json("story/42", "transition", &[1]).unwrap();
        let draft = draft.with_attribute("mood", "good").unwrap();
        let event = shown(&CloudEvent::of(&stored(draft.for_tenant("acme").unwrap())));
        let author = "01".repeat(32);
        assert_eq!(event["id"], format!("{author}:7"));
        assert_eq!(event["source"], format!("urn:towline:node:{author}"));
        assert_eq!((&event["type"], &event["subject"]), (&"transition".into(), &"story/42".into()));
        assert_eq!(event["sequence"], "00000000000000000007");
        assert_eq!((&event["mood"], &event["towlinetenant"]), (&"good".into(), &"acme".into()));
        assert_eq!(
            (&event["datacontenttype"], &event["data"]),
            (&JSON.into(), &serde_json::json!([1]))
        );
    }

    #[test]
    fn a_foreign_event_leaves_as_it_came() {
        let event = through(
            r#"{"specversion":"1.0","id":"a b","source":"/shop","type":"com.shop.sold","count":3,
                "time":"2020-01-02T03:04:05Z","dataschema":"urn:s","sequence":"9","flag":true,
                "datacontenttype":"text/xml","data":"<a/>","none":null}"#,
        );
        for (name, value) in [
            ("id", "a b"),
            ("source", "/shop"),
            ("type", "com.shop.sold"),
            ("time", "2020-01-02T03:04:05Z"),
            ("dataschema", "urn:s"),
            ("sequence", "9"),
            ("count", "3"),
            ("flag", "true"),
            ("datacontenttype", "text/xml"),
            ("data", "<a/>"),
        ] {
            assert_eq!(event[name], value, "{name}");
        }
        for absent in ["subject", "none", "towlinetopic", "towlinetenant"] {
            assert!(event.get(absent).is_none(), "{absent}");
        }
        assert_eq!(event["towlineid"], format!("{}:7", "01".repeat(32)));
    }

    #[test]
    fn an_event_without_data_stays_without() {
        let event =
            through(r#"{"specversion":"1.0","id":"1","source":"s","type":"t","subject":"x"}"#);
        assert!(event.get("data").is_none() && event.get("data_base64").is_none(), "{event}");
        assert_eq!(event["subject"], "x");
    }

    #[test]
    fn data_is_kept_exactly_in_every_form() {
        let base = r#"{"specversion":"1.0","id":"1","source":"s","type":"t""#;
        let json = through(&format!(r#"{base},"data":{{"a":123456789012345678}}}}"#));
        assert_eq!(json["data"]["a"], 123_456_789_012_345_678_u64);
        let octets = format!(r#"{base},"datacontenttype":"image/png","data_base64":"AP8="}}"#);
        assert_eq!(through(&octets)["data_base64"], "AP8=");
    }

    #[test]
    fn what_is_no_event_says_why() {
        let why = |json: &str| CloudEvent::read(json.as_bytes()).unwrap_err();
        let base = r#""id":"1","source":"s","type":"t""#;
        assert!(matches!(why("[]"), CloudEventError::Json(_)));
        assert_eq!(why(&format!("{{{base}}}")), CloudEventError::Missing("specversion"));
        let empty = r#"{"specversion":"1.0","id":"","source":"s","type":"t"}"#;
        assert_eq!(why(empty), CloudEventError::Missing("id"));
        let version = format!(r#"{{"specversion":"0.3",{base}}}"#);
        assert_eq!(why(&version), CloudEventError::Version("0.3".into()));
        let name = format!(r#"{{"specversion":"1.0",{base},"some_thing":"x"}}"#);
        assert_eq!(why(&name), CloudEventError::Name("some_thing".into()));
        let value = format!(r#"{{"specversion":"1.0",{base},"x":{{}}}}"#);
        assert_eq!(why(&value), CloudEventError::Value("x".into()));
    }
}
