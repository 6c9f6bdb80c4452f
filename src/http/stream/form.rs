//! How a stream says its events.

use axum::http::HeaderMap;
use bytes::Bytes;
use serde::Serialize;
use serde_json::json;

use crate::http::media;
use crate::http::parameters::Parameters;
use crate::http::problem::Problem;
use crate::words::Code;
use crate::words::cloudevents::CloudEvent;
use crate::words::gap::GAP_KIND;
use crate::words::json::EntryJson;

/// How a stream says its events: in which frames, and as what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Form {
    frames: Frames,
    content: Content,
}

/// What stands around an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frames {
    /// Server-sent events.
    ServerSentEvents,
    /// One entry a line.
    Lines,
    /// One message of a WebSocket.
    Messages,
}

/// As what an entry is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Content {
    Entry,
    CloudEvent,
}

/// An entry on a line of its own.
#[derive(Serialize)]
struct Line<'e> {
    #[serde(flatten)]
    entry: &'e EntryJson,
    cursor: &'e str,
}

/// A message of a WebSocket.
#[derive(Serialize)]
struct Message<'e, T> {
    event: &'e str,
    cursor: Option<&'e str>,
    data: &'e T,
}

impl Form {
    /// The form that is asked for.
    ///
    /// # Errors
    /// A parameter that can't be understood, or a media type that can't be had.
    pub fn asked(
        headers: &HeaderMap,
        parameters: &Parameters,
        is_socket: bool,
    ) -> Result<Self, Problem> {
        let content = parameters.read("format", Code::Usage, |text| match text {
            "entries" => Ok(Content::Entry),
            "cloudevents" => Ok(Content::CloudEvent),
            _ => Err("it is entries or cloudevents"),
        })?;
        let content = content.unwrap_or(Content::Entry);
        if is_socket {
            return Ok(Self { frames: Frames::Messages, content });
        }
        let chosen = media::choose(headers, &[media::EVENTS, media::NDJSON, media::CLOUD_EVENT])?;
        Ok(match chosen {
            media::NDJSON => Self { frames: Frames::Lines, content },
            media::CLOUD_EVENT => Self { frames: Frames::Lines, content: Content::CloudEvent },
            _ => Self { frames: Frames::ServerSentEvents, content },
        })
    }

    /// The media type of the answer.
    pub fn content_type(self) -> &'static str {
        match (self.frames, self.content) {
            (Frames::ServerSentEvents, _) => media::EVENTS,
            (_, Content::Entry) => media::NDJSON,
            (_, Content::CloudEvent) => media::CLOUD_EVENT,
        }
    }

    /// What breaks the silence; a WebSocket is pinged instead.
    pub fn heartbeat(self) -> Bytes {
        Bytes::from_static(match self.frames {
            Frames::ServerSentEvents => b": heartbeat\n\n",
            Frames::Lines => b"\n",
            Frames::Messages => b"",
        })
    }

    /// An entry or a gap, and the cursor after it.
    ///
    /// # Errors
    /// None in practice: every key is a text.
    pub fn entry(self, entry: &EntryJson, cursor: &str) -> Result<Bytes, serde_json::Error> {
        let name = if entry.kind == GAP_KIND { "gap" } else { "entry" };
        match self.content {
            Content::Entry if self.frames == Frames::Lines => {
                Ok(Bytes::from(serde_json::to_string(&Line { entry, cursor })? + "\n"))
            }
            Content::Entry => self.said(name, Some(cursor), entry),
            Content::CloudEvent => self.said(name, Some(cursor), &CloudEvent::of(entry)),
        }
    }

    /// That the snapshot has ended. Lines hold entries only, so they have no word for it.
    ///
    /// # Errors
    /// As [`Form::entry`].
    pub fn caught_up(self, cursor: &str) -> Result<Option<Bytes>, serde_json::Error> {
        match self.frames {
            Frames::Lines => Ok(None),
            _ => self.said("caught-up", Some(cursor), &json!({ "cursor": cursor })).map(Some),
        }
    }

    /// Whether it has a word for a place that is lost; lines have none.
    pub fn tells_of_a_reset(self) -> bool {
        self.frames != Frames::Lines
    }

    /// That the place asked for is lost, and the stream begins with the log.
    ///
    /// # Errors
    /// As [`Form::entry`].
    pub fn reset(self, reason: &str) -> Result<Option<Bytes>, serde_json::Error> {
        match self.frames {
            Frames::Lines => Ok(None),
            _ => self.said("reset", None, &json!({ "reason": reason })).map(Some),
        }
    }

    fn said<T: Serialize>(
        self,
        name: &str,
        cursor: Option<&str>,
        data: &T,
    ) -> Result<Bytes, serde_json::Error> {
        Ok(match self.frames {
            Frames::Lines => serde_json::to_string(data)? + "\n",
            Frames::Messages => serde_json::to_string(&Message { event: name, cursor, data })?,
            Frames::ServerSentEvents => {
                // The data is JSON on one line, so nothing in it can end the event.
                let data = serde_json::to_string(data)?;
                let id = cursor.map_or_else(String::new, |cursor| format!("id: {cursor}\n"));
                format!("{id}event: {name}\ndata: {data}\n\n")
            }
        }
        .into())
    }
}
