//! Events: what is appended to a thread, whose tenant and topic are the thread's.

use std::borrow::Cow;
use std::collections::BTreeMap;

use bytes::Bytes;
use serde::Serialize;

use super::SessionError;
use crate::words::entry::{JSON, TEXT, owned_type};
use crate::words::{Draft, DraftError, Kind, Tenant, Topic};

/// An event on its way into a thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What sort of event it is.
    pub kind: Kind,
    /// Small named texts beside the payload.
    pub attributes: BTreeMap<String, String>,
    /// The media type of the payload.
    pub content_type: Cow<'static, str>,
    /// The payload, kept exactly.
    pub data: Bytes,
}

impl Event {
    /// An event with a JSON payload.
    ///
    /// # Errors
    /// A kind that is not well-formed or reserved, or a value that JSON can't say.
    pub fn json<T: Serialize>(kind: &str, value: &T) -> Result<Self, DraftError> {
        let data = serde_json::to_vec(value).map_err(|e| DraftError::Json(e.to_string()))?;
        Self::new(kind, JSON, data.into())
    }

    /// An event with a text payload.
    ///
    /// # Errors
    /// A kind that is not well-formed or reserved.
    pub fn text(kind: &str, text: impl Into<String>) -> Result<Self, DraftError> {
        Self::new(kind, TEXT, text.into().into_bytes().into())
    }

    fn new(kind: &str, content_type: &str, data: Bytes) -> Result<Self, DraftError> {
        let kind = Kind::parse(kind)?.open_to_callers()?;
        let attributes = BTreeMap::new();
        Ok(Self { kind, attributes, content_type: owned_type(content_type), data })
    }

    /// The same event with one attribute more.
    pub fn with_attribute(mut self, key: &str, value: &str) -> Self {
        self.attributes.insert(key.to_owned(), value.to_owned());
        self
    }

    /// A draft as an event of a thread.
    ///
    /// # Errors
    /// The draft belongs to another tenant or topic.
    pub fn of_draft(draft: Draft, tenant: &Tenant, topic: &Topic) -> Result<Self, SessionError> {
        let foreign = |what, found: &str, expected: &str| {
            let (found, expected) = (found.to_owned(), expected.to_owned());
            Err(SessionError::Foreign { what, found, expected })
        };
        if draft.tenant != *tenant {
            return foreign("tenant", draft.tenant.as_str(), tenant.as_str());
        }
        if draft.topic != *topic {
            return foreign("topic", draft.topic.as_str(), topic.as_str());
        }
        let Draft { kind, attributes, content_type, data, .. } = draft;
        Ok(Self { kind, attributes, content_type, data })
    }

    /// The draft that this event is in a topic.
    ///
    /// # Errors
    /// A kind that is reserved, or bounds that are broken.
    pub(super) fn draft(self, tenant: &Tenant, topic: &Topic) -> Result<Draft, DraftError> {
        let Self { kind, attributes, content_type, data } = self;
        let (tenant, topic) = (tenant.clone(), topic.clone());
        let kind = kind.open_to_callers()?;
        let draft = Draft { tenant, topic, kind, attributes, content_type, data };
        draft.check()?;
        Ok(draft)
    }
}
