//! Drafts and entries, and the deterministic CBOR in which the log holds an entry.
//!
//! An entry is a CBOR map (RFC 8949, core deterministic encoding) with small integer keys:
//!
//! ```text
//! 0  time          unsigned   hybrid logical time, below 2^63
//! 1  tenant        text       absent when "default"
//! 2  topic         text
//! 3  kind          text
//! 4  attributes    map        text to text, absent when empty
//! 5  content type  text       absent when "application/json"
//! 6  data          bytes      the payload, exactly as given
//! ```
//!
//! Author, seq and segment are not in it: they follow from the entry's place in its change.

use std::borrow::Cow;
use std::collections::BTreeMap;

use bytes::Bytes;
use minicbor::data::Type;
use minicbor::{Decoder, Encoder};
use serde::Serialize;

use super::id::{ChangeHash, EntryId, NodeId, Offset, SegmentId, Seq};
use super::limits::{
    ATTRIBUTE_KEY_BYTES, ATTRIBUTE_VALUE_BYTES, ATTRIBUTES, CONTENT_TYPE_BYTES, PAYLOAD_BYTES,
};
use super::name::{DEFAULT_TENANT, Kind, NameError, Tenant, Topic};
use super::time::Time;

/// The content type of a JSON payload, and the one that an entry has when it names none.
pub const JSON: &str = "application/json";
/// The content type of a text payload.
pub const TEXT: &str = "text/plain";
/// The content type of bytes that are neither.
pub const OCTETS: &str = "application/octet-stream";

/// Says why a draft can't become an entry. Nothing was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DraftError {
    /// A name is not well-formed, or reserved.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The payload is over the bound.
    #[error("a payload is at most {most} bytes, and this has {found}")]
    PayloadTooLarge {
        /// The bound, in bytes.
        most: usize,
        /// The length given, in bytes.
        found: usize,
    },
    /// There are too many attributes.
    #[error("an entry carries at most {ATTRIBUTES} attributes, and this has {found}")]
    TooManyAttributes {
        /// How many were given.
        found: usize,
    },
    /// An attribute's key is empty, too long, or holds control characters or spaces.
    #[error("an attribute key is 1 to {ATTRIBUTE_KEY_BYTES} bytes without spaces: {key:?}")]
    AttributeKey {
        /// The key given.
        key: String,
    },
    /// An attribute's value is too long.
    #[error("the attribute {key:?} is over {ATTRIBUTE_VALUE_BYTES} bytes")]
    AttributeValue {
        /// The key of the attribute.
        key: String,
    },
    /// The content type is empty, too long, or not printable ASCII.
    #[error("a content type is 1 to {CONTENT_TYPE_BYTES} bytes of printable ASCII: {found:?}")]
    ContentType {
        /// The content type given.
        found: String,
    },
    /// The value can't be written as JSON.
    #[error("the value can't be written as JSON: {0}")]
    Json(String),
}

/// An entry that is not yet in the log; also the event that [`emit`](crate::Node::emit) takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// Whom it belongs to.
    pub tenant: Tenant,
    /// The sub-log.
    pub topic: Topic,
    /// What sort of event it is.
    pub kind: Kind,
    /// Small named texts beside the payload.
    pub attributes: BTreeMap<String, String>,
    /// The media type of the payload.
    pub content_type: Cow<'static, str>,
    /// The payload, kept exactly.
    pub data: Bytes,
}

impl Draft {
    /// A draft with a JSON payload, for the tenant `default`.
    ///
    /// # Errors
    /// A name that is not well-formed or reserved, a value that JSON can't say, a payload over
    /// 1 MiB.
    pub fn json<T: Serialize>(topic: &str, kind: &str, value: &T) -> Result<Self, DraftError> {
        let data = serde_json::to_vec(value).map_err(|e| DraftError::Json(e.to_string()))?;
        Self::bytes(topic, kind, JSON, data)
    }

    /// A draft with a text payload, for the tenant `default`.
    ///
    /// # Errors
    /// As [`Draft::json`].
    pub fn text(topic: &str, kind: &str, text: impl Into<String>) -> Result<Self, DraftError> {
        Self::bytes(topic, kind, TEXT, text.into().into_bytes())
    }

    /// A draft with any payload, for the tenant `default`.
    ///
    /// # Errors
    /// As [`Draft::json`], and a content type that is not printable ASCII.
    pub fn bytes(
        topic: &str,
        kind: &str,
        content_type: &str,
        data: impl Into<Bytes>,
    ) -> Result<Self, DraftError> {
        let draft = Self {
            tenant: Tenant::default(),
            topic: Topic::parse(topic)?,
            kind: Kind::parse(kind)?.open_to_callers()?,
            attributes: BTreeMap::new(),
            content_type: owned_type(content_type),
            data: data.into(),
        };
        check_content_type(&draft.content_type)?;
        check_payload(&draft.data)?;
        Ok(draft)
    }

    /// The same draft for another tenant.
    ///
    /// # Errors
    /// A name that is not well-formed or reserved.
    pub fn for_tenant(mut self, tenant: &str) -> Result<Self, DraftError> {
        self.tenant = Tenant::parse(tenant)?.open_to_callers()?;
        Ok(self)
    }

    /// The same draft with one attribute more.
    ///
    /// # Errors
    /// A key or value over its bound, or the 65th attribute.
    pub fn with_attribute(mut self, key: &str, value: &str) -> Result<Self, DraftError> {
        check_attribute(key, value)?;
        self.attributes.insert(key.to_owned(), value.to_owned());
        if self.attributes.len() > ATTRIBUTES {
            return Err(DraftError::TooManyAttributes { found: self.attributes.len() });
        }
        Ok(self)
    }

    /// A draft that towline itself writes, under its reserved names.
    pub(crate) fn of_towline(tenant: Tenant, topic: Topic, kind: Kind, json: Vec<u8>) -> Self {
        let attributes = BTreeMap::new();
        Self { tenant, topic, kind, attributes, content_type: JSON.into(), data: json.into() }
    }

    /// Checks the bounds that the fields' types can't hold.
    ///
    /// # Errors
    /// A payload, an attribute or a content type out of bounds.
    pub fn check(&self) -> Result<(), DraftError> {
        check_content_type(&self.content_type)?;
        check_payload(&self.data)?;
        if self.attributes.len() > ATTRIBUTES {
            return Err(DraftError::TooManyAttributes { found: self.attributes.len() });
        }
        self.attributes.iter().try_for_each(|(key, value)| check_attribute(key, value))
    }

    /// About how many bytes the draft takes in memory and in the log.
    pub fn size(&self) -> usize {
        let attributes: usize = self.attributes.iter().map(|(k, v)| k.len() + v.len() + 16).sum();
        self.data.len() + self.topic.as_str().len() + self.kind.as_str().len() + attributes + 64
    }

    /// The CBOR that the log holds for this draft at a time.
    pub fn encode(&self, time: Time) -> Bytes {
        let mut out = Vec::with_capacity(self.size());
        self.encode_to(&mut out, time);
        out.into()
    }

    /// As [`Self::encode`], behind what is in a buffer already.
    pub fn encode_to(&self, out: &mut Vec<u8>, time: Time) {
        let mut attributes: Vec<_> =
            self.attributes.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        attributes.sort_by_key(|(key, _)| key_order(key));
        let view = View {
            time,
            tenant: self.tenant.as_str(),
            topic: self.topic.as_str(),
            kind: self.kind.as_str(),
            attributes,
            content_type: &self.content_type,
            data: &self.data,
        };
        view.write(out);
    }
}

/// A content type to keep. Those that nearly all entries have take no memory.
pub(crate) fn owned_type(text: &str) -> Cow<'static, str> {
    match [JSON, TEXT, OCTETS].into_iter().find(|known| *known == text) {
        Some(known) => Cow::Borrowed(known),
        None => Cow::Owned(text.to_owned()),
    }
}

fn check_content_type(text: &str) -> Result<(), DraftError> {
    let printable = text.bytes().all(|b| (0x20..0x7f).contains(&b));
    if text.is_empty() || text.len() > CONTENT_TYPE_BYTES || !printable {
        return Err(DraftError::ContentType { found: text.to_owned() });
    }
    Ok(())
}

fn check_payload(data: &[u8]) -> Result<(), DraftError> {
    if data.len() > PAYLOAD_BYTES {
        return Err(DraftError::PayloadTooLarge { most: PAYLOAD_BYTES, found: data.len() });
    }
    Ok(())
}

fn check_attribute(key: &str, value: &str) -> Result<(), DraftError> {
    let wrong = |c: char| c.is_control() || c.is_whitespace();
    if key.is_empty() || key.len() > ATTRIBUTE_KEY_BYTES || key.contains(wrong) {
        return Err(DraftError::AttributeKey { key: key.to_owned() });
    }
    if value.len() > ATTRIBUTE_VALUE_BYTES {
        return Err(DraftError::AttributeValue { key: key.to_owned() });
    }
    Ok(())
}

/// The order in which deterministic CBOR wants text keys: by length, then by bytes.
fn key_order(key: &str) -> (usize, &[u8]) {
    (key.len(), key.as_bytes())
}

/// An entry's CBOR, taken apart without copying.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View<'a> {
    /// When it was written.
    pub time: Time,
    /// Whom it belongs to.
    pub tenant: &'a str,
    /// The sub-log.
    pub topic: &'a str,
    /// What sort of event it is.
    pub kind: &'a str,
    /// In the order of deterministic CBOR.
    pub attributes: Vec<(&'a str, &'a str)>,
    /// The media type of the payload.
    pub content_type: &'a str,
    /// The payload.
    pub data: &'a [u8],
}

/// Says that bytes are not the deterministic CBOR of a valid entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a valid entry: {0}")]
pub struct EntryError(String);

impl From<minicbor::decode::Error> for EntryError {
    fn from(error: minicbor::decode::Error) -> Self {
        Self(error.to_string())
    }
}

impl From<DraftError> for EntryError {
    fn from(error: DraftError) -> Self {
        Self(error.to_string())
    }
}

impl From<NameError> for EntryError {
    fn from(error: NameError) -> Self {
        Self(error.to_string())
    }
}

impl<'a> View<'a> {
    /// Takes an entry's CBOR apart; it trusts that the bytes were checked when they came in.
    ///
    /// # Errors
    /// Bytes that are no such map. It never panics and never allocates more than the input.
    pub fn read(bytes: &'a [u8]) -> Result<Self, EntryError> {
        let mut input = Decoder::new(bytes);
        let fields = input.map()?.ok_or_else(|| EntryError("indefinite length".into()))?;
        let mut view = View {
            time: Time::default(),
            tenant: DEFAULT_TENANT,
            topic: "",
            kind: "",
            attributes: Vec::new(),
            content_type: JSON,
            data: &[],
        };
        for _ in 0..fields {
            match input.u8()? {
                0 => {
                    view.time = Time::from_bits(input.u64()?)
                        .ok_or_else(|| EntryError("time above 2^63".into()))?;
                }
                1 => view.tenant = input.str()?,
                2 => view.topic = input.str()?,
                3 => view.kind = input.str()?,
                4 => view.attributes = read_attributes(&mut input)?,
                5 => view.content_type = input.str()?,
                6 => view.data = input.bytes()?,
                key => return Err(EntryError(format!("unknown field {key}"))),
            }
        }
        if input.position() != bytes.len() {
            return Err(EntryError("trailing bytes".into()));
        }
        Ok(view)
    }

    /// Tenant and topic of an entry, without what follows them; as [`View::read`], it trusts the bytes.
    ///
    /// # Errors
    /// Bytes that are no such map.
    pub fn names(bytes: &'a [u8]) -> Result<(&'a str, &'a str), EntryError> {
        let mut input = Decoder::new(bytes);
        input.map()?;
        let mut tenant = DEFAULT_TENANT;
        loop {
            match input.u8()? {
                0 => drop(input.u64()?),
                1 => tenant = input.str()?,
                2 => return Ok((tenant, input.str()?)),
                key => return Err(EntryError(format!("field {key} before the topic"))),
            }
        }
    }

    /// Takes apart an entry that a stranger sent: every rule of the format is checked.
    ///
    /// The rules are the same on every node, so that nodes never part over an entry.
    ///
    /// # Errors
    /// Bytes that are not exactly what [`Draft::encode`] would write for a valid draft.
    pub fn check(bytes: &'a [u8]) -> Result<Self, EntryError> {
        let view = Self::read(bytes)?;
        view.check_names()?;
        view.check_content()?;
        let mut again = Vec::with_capacity(bytes.len());
        view.write(&mut again);
        if again != bytes {
            return Err(EntryError("not in deterministic encoding".into()));
        }
        Ok(view)
    }

    /// Checks tenant, topic, kind and content type, which many entries may share.
    ///
    /// # Errors
    /// One that no valid entry has.
    pub(crate) fn check_names(&self) -> Result<(), EntryError> {
        Tenant::check(self.tenant)?;
        Topic::check(self.topic)?;
        Kind::check(self.kind)?;
        Ok(check_content_type(self.content_type)?)
    }

    /// Checks payload and attributes. What has passed this and [`View::check_names`] and is written by
    /// [`View::write`] passes [`View::check`], too.
    ///
    /// # Errors
    /// They are none of a valid entry.
    pub(crate) fn check_content(&self) -> Result<(), EntryError> {
        check_payload(self.data)?;
        if self.attributes.len() > ATTRIBUTES {
            return Err(DraftError::TooManyAttributes { found: self.attributes.len() }.into());
        }
        for (key, value) in &self.attributes {
            check_attribute(key, value)?;
        }
        let in_order = |pair: &[(&str, &str)]| key_order(pair[0].0) < key_order(pair[1].0);
        if self.attributes.windows(2).all(in_order) {
            Ok(())
        } else {
            Err(EntryError("attributes out of order or twice".into()))
        }
    }

    /// The draft that this entry was.
    ///
    /// # Errors
    /// A name that does not parse: the bytes were never checked.
    pub fn to_draft(&self) -> Result<Draft, NameError> {
        self.to_draft_beside(None)
    }

    /// As [`Self::to_draft`]; names that another draft has, too, are shared with it. The entries of a
    /// change mostly have the same ones.
    ///
    /// # Errors
    /// As [`Self::to_draft`].
    pub fn to_draft_beside(&self, other: Option<&Draft>) -> Result<Draft, NameError> {
        let own = |(key, value): &(&str, &str)| (key.to_string(), value.to_string());
        let tenant = other.map(|other| &other.tenant).filter(|it| it.as_str() == self.tenant);
        let topic = other.map(|other| &other.topic).filter(|it| it.as_str() == self.topic);
        let kind = other.map(|other| &other.kind).filter(|it| it.as_str() == self.kind);
        Ok(Draft {
            tenant: tenant.cloned().map_or_else(|| Tenant::parse(self.tenant), Ok)?,
            topic: topic.cloned().map_or_else(|| Topic::parse(self.topic), Ok)?,
            kind: kind.cloned().map_or_else(|| Kind::parse(self.kind), Ok)?,
            attributes: self.attributes.iter().map(own).collect(),
            content_type: owned_type(self.content_type),
            data: Bytes::copy_from_slice(self.data),
        })
    }

    /// Writes the one CBOR that says this.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let tenant = self.tenant != DEFAULT_TENANT;
        let attributes = !self.attributes.is_empty();
        let content_type = self.content_type != JSON;
        let fields = 4 + u64::from(tenant) + u64::from(attributes) + u64::from(content_type);
        let mut e = Encoder::new(out);
        // Writing to a Vec can't fail, so the chain's result carries nothing.
        let written = (|| {
            e.map(fields)?.u8(0)?.u64(self.time.bits())?;
            if tenant {
                e.u8(1)?.str(self.tenant)?;
            }
            e.u8(2)?.str(self.topic)?.u8(3)?.str(self.kind)?;
            if attributes {
                e.u8(4)?.map(self.attributes.len() as u64)?;
                for (key, value) in &self.attributes {
                    e.str(key)?.str(value)?;
                }
            }
            if content_type {
                e.u8(5)?.str(self.content_type)?;
            }
            e.u8(6)?.bytes(self.data)?.ok()
        })();
        debug_assert!(written.is_ok());
    }
}

fn read_attributes<'a>(input: &mut Decoder<'a>) -> Result<Vec<(&'a str, &'a str)>, EntryError> {
    if input.datatype()? != Type::Map {
        return Err(EntryError("attributes are a map".into()));
    }
    let count = input.map()?.unwrap_or(u64::MAX);
    if count > ATTRIBUTES as u64 {
        return Err(EntryError(format!("more than {ATTRIBUTES} attributes")));
    }
    (0..count).map(|_| Ok((input.str()?, input.str()?))).collect()
}

/// One event in the log: immutable, named by author and seq.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Who wrote it.
    pub author: NodeId,
    /// Its number among the author's entries.
    pub seq: Seq,
    /// When it was written, by the author's hybrid clock.
    pub time: Time,
    /// Its place in this node's order of arrival.
    pub offset: Offset,
    /// The change that holds it.
    pub change: ChangeHash,
    /// The segment that holds it.
    pub segment: SegmentId,
    /// Whether its time was far ahead of this node's clock when it arrived.
    pub skew: bool,
    /// Whether another entry of its author has the same seq, on another branch or side of a fork.
    pub forked: bool,
    /// What was appended.
    pub body: Draft,
}

/// An entry's place in merged order: by time, then author, seq, segment and change.
pub type MergedKey = (Time, NodeId, Seq, SegmentId, ChangeHash);

impl Entry {
    /// The entry's name.
    pub fn id(&self) -> EntryId {
        let segment = self.forked.then_some(self.segment);
        EntryId { author: self.author, seq: self.seq, segment }
    }

    /// The entry's place in merged order, which is the same on every node.
    ///
    /// Segment and change matter only where an author has forked its own log.
    pub fn merged_key(&self) -> MergedKey {
        (self.time, self.author, self.seq, self.segment, self.change)
    }
}

#[cfg(test)]
mod tests;
