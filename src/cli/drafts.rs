//! What `append` and `emit` share: the flags that describe entries, and the way from an argument
//! or a pipe to requests of bounded size.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::os::unix::ffi::OsStrExt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, ValueEnum};
use clap_complete::engine::ArgValueCandidates;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::Outcome;
use super::client::Content;
use super::completions;
use super::failure::{Failure, Stop};
use super::input::{LineError, Lines};
use crate::words::cloudevents::CloudEvent;
use crate::words::json::{DraftJson, DraftJsonError};
use crate::words::{Code, DraftError};

/// How many entries a request carries.
const BATCH_ENTRIES: u64 = 1_000;
/// How many bytes a request carries before it is sent.
const BATCH_BYTES: usize = 1 << 20;
/// The longest line that is read as a draft: the largest body that a node takes.
pub const DRAFT_LINE_BYTES: usize = 16 << 20;

/// What is appended or emitted.
#[derive(Clone, Debug, Args)]
pub struct Drafts {
    /// The text of one entry; '-' or nothing reads stdin, where each line is an entry
    text: Option<OsString>,
    /// The sub-log [default: log]
    #[arg(short, long, value_name = "TOPIC", add = ArgValueCandidates::new(completions::topics))]
    topic: Option<String>,
    /// Whom it belongs to [default: default]
    #[arg(long, value_name = "NAME", add = ArgValueCandidates::new(completions::tenants))]
    tenant: Option<String>,
    /// What sort of event it is [default: line]
    #[arg(short, long, value_name = "KIND", add = ArgValueCandidates::new(completions::kinds))]
    kind: Option<String>,
    /// A small named text beside the payload; may be given more than once
    #[arg(long = "attr", value_name = "KEY=VALUE", value_parser = attribute)]
    attributes: Vec<(String, String)>,
    /// What the text or a line is: text, kept as it is, or a JSON object
    /// {"topic","kind","data"} in which the flags fill what is missing, or a CloudEvent
    #[arg(long, value_enum, default_value = "text", value_name = "text|ndjson|cloudevents")]
    #[arg(hide_possible_values = true)]
    format: DraftFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum DraftFormat {
    Text,
    Ndjson,
    Cloudevents,
}

/// A draft in which names may be left out.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PartialDraft {
    tenant: Option<String>,
    topic: Option<String>,
    kind: Option<String>,
    #[serde(default)]
    attributes: BTreeMap<String, String>,
    content_type: Option<String>,
    #[serde(default, deserialize_with = "present")]
    data: Option<Box<RawValue>>,
    data_base64: Option<String>,
}

/// A field that is there has a value, even if that is `null`.
fn present<'de, D: serde::Deserializer<'de>>(input: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::<RawValue>::deserialize(input).map(Some)
}

fn attribute(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').ok_or("an attribute is KEY=VALUE")?;
    Ok((pair.0.to_owned(), pair.1.to_owned()))
}

/// Drafts on their way to a node, as NDJSON.
#[derive(Default)]
pub struct Batch {
    body: Vec<u8>,
    /// How many drafts it holds.
    pub count: u64,
}

impl Batch {
    /// Adds a draft.
    ///
    /// # Errors
    /// None in practice: every draft can be said in JSON.
    pub fn push(&mut self, draft: &DraftJson) -> Result<(), Stop> {
        serde_json::to_writer(&mut self.body, draft).map_err(super::output::not_an_entry)?;
        self.body.push(b'\n');
        self.count += 1;
        Ok(())
    }

    /// Whether it is to be sent before anything is added.
    pub fn is_full(&self) -> bool {
        self.count >= BATCH_ENTRIES || self.body.len() >= BATCH_BYTES
    }

    /// The drafts, one a line.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The content of the request.
    pub fn content(&self, key: Option<String>) -> Content<'_> {
        Content { content_type: "application/x-ndjson", body: &self.body, key }
    }
}

/// Where a batch may end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Where the input pauses, so that nothing waits.
    Prompt,
    /// Only where it is full, so that the same input is cut in the same way again.
    Same,
}

impl Drafts {
    /// An entry where drafts are missing: how many could not be kept until the node answered.
    ///
    /// # Errors
    /// None in practice.
    pub fn gap(&self, count: u64) -> Result<Batch, Failure> {
        let json = serde_json::json!({
            "tenant": self.tenant, "topic": self.topic(), "kind": "spool.gap",
            "data": {"count": count, "reason": "spool_full", "exact": true},
        });
        let not_one = |error| Failure::new(Code::Malformed, "the gap is no entry", error);
        let mut batch = Batch::default();
        serde_json::to_writer(&mut batch.body, &json).map_err(not_one)?;
        batch.body.push(b'\n');
        batch.count = 1;
        Ok(batch)
    }

    /// Whether they are lines of stdin.
    pub fn are_lines(&self) -> bool {
        self.text.as_ref().is_none_or(|text| text == "-")
    }

    /// Sends the text, or all lines of stdin, in batches. A payload is at most `most` bytes.
    ///
    /// # Errors
    /// There is nothing to send, a line that is no entry, or what `send` returns. All lines before
    /// it are sent, and the failure says how many of them were.
    pub fn send(
        self,
        most: usize,
        cut: Cut,
        mut send: impl FnMut(&Batch) -> Result<(), Stop>,
    ) -> Outcome {
        match &self.text {
            Some(text) if text != "-" => {
                let bytes = text.as_bytes();
                if bytes.is_empty() {
                    let why = "the text is empty";
                    return Err(Failure::new(Code::Nothing, Code::Nothing.title(), why).into());
                }
                let mut batch = Batch::default();
                batch.push(&self.draft("the text", bytes, most)?)?;
                send(&batch)
            }
            None if io::stdin().is_terminal() => {
                let why = "there is no TEXT, and nothing is piped in";
                let failure = Failure::usage("there is nothing to read", why);
                Err(failure.hint("give a TEXT, pipe lines, or name '-' to type them").into())
            }
            _ => self.send_lines(io::stdin().lock(), most, cut, &mut send),
        }
    }

    /// Sends all lines of an input in batches.
    ///
    /// # Errors
    /// See [`Drafts::send`].
    pub fn send_lines(
        &self,
        input: impl io::Read,
        most: usize,
        cut: Cut,
        send: &mut impl FnMut(&Batch) -> Result<(), Stop>,
    ) -> Outcome {
        let longest = match self.format {
            DraftFormat::Text => most,
            DraftFormat::Ndjson | DraftFormat::Cloudevents => DRAFT_LINE_BYTES,
        };
        let mut lines = Lines::new(input, longest);
        let (mut batch, mut sent) = (Batch::default(), 0);
        loop {
            let next = self.next_draft(&mut lines, most);
            if let Ok(Some(draft)) = &next {
                batch.push(draft)?;
                if !batch.is_full() && (cut == Cut::Same || lines.has_line()) {
                    continue;
                }
            }
            if batch.count > 0 {
                send(&batch).map_err(|stop| after(stop, sent))?;
                sent += batch.count;
                batch = Batch::default();
            }
            match next {
                Ok(Some(_)) => {}
                Ok(None) if sent > 0 => return Ok(()),
                Ok(None) => {
                    let why = "the input held no line";
                    return Err(Failure::new(Code::Nothing, Code::Nothing.title(), why).into());
                }
                Err(failure) => return Err(after(failure.into(), sent)),
            }
        }
    }

    fn next_draft<R: io::Read>(
        &self,
        lines: &mut Lines<R>,
        most: usize,
    ) -> Result<Option<DraftJson>, Failure> {
        loop {
            let line = lines.next_line().map_err(|error| match error {
                LineError::TooLong { number, .. } => {
                    let what = format_args!("line {number} is too long");
                    Failure::new(Code::TooLarge, what, error)
                }
                LineError::Io(_) => Failure::new(Code::Io, "stdin can't be read", error),
            })?;
            let Some(line) = line else { return Ok(None) };
            if self.format != DraftFormat::Text && line.trim_ascii().is_empty() {
                continue;
            }
            let place = format!("line {}", lines.number());
            return self.draft(&place, &line, most).map(Some);
        }
    }

    /// The draft that some bytes stand for; it is checked here, so that a node refuses no batch for
    /// one bad line in it.
    fn draft(&self, place: &str, bytes: &[u8], most: usize) -> Result<DraftJson, Failure> {
        let what = format!("{place} is no entry");
        let draft = match self.format {
            DraftFormat::Text => self.text_draft(bytes),
            DraftFormat::Ndjson => {
                let partial = serde_json::from_slice(bytes);
                let wrong = |error| Failure::new(Code::Malformed, &what, in_line(&error));
                let partial = partial.map_err(wrong)?;
                Ok(self.complete(partial))
            }
            DraftFormat::Cloudevents => {
                let event = CloudEvent::read(bytes);
                let event = event.map_err(|error| Failure::new(Code::Malformed, &what, error))?;
                Ok(self.of_event(event))
            }
        };
        let checked = draft.and_then(|draft| Ok((draft.clone().into_draft()?.data.len(), draft)));
        match checked {
            Ok((found, draft)) if found <= most => Ok(draft),
            Ok((found, _)) => {
                let error = DraftError::PayloadTooLarge { most, found };
                Err(Failure::draft(what, &error.into()))
            }
            Err(error) => Err(Failure::draft(what, &error)),
        }
    }

    fn text_draft(&self, bytes: &[u8]) -> Result<DraftJson, DraftJsonError> {
        let (topic, kind) = (self.topic(), self.kind());
        let mut draft = match std::str::from_utf8(bytes) {
            Ok(text) => DraftJson::text(topic, kind, text)?,
            Err(_) => DraftJson {
                content_type: None,
                data: None,
                data_base64: Some(STANDARD.encode(bytes)),
                ..DraftJson::text(topic, kind, "")?
            },
        };
        draft.tenant = self.tenant.clone();
        draft.attributes = self.attributes.iter().cloned().collect();
        Ok(draft)
    }

    /// An event as a draft. The flags go before what it says.
    fn of_event(&self, event: CloudEvent) -> DraftJson {
        let mut draft = event.into_draft();
        draft.tenant = self.tenant.clone().or(draft.tenant);
        draft.topic = self.topic.clone().unwrap_or(draft.topic);
        draft.kind = self.kind.clone().unwrap_or(draft.kind);
        draft.attributes.extend(self.attributes.iter().cloned());
        draft
    }

    /// Fills what a draft leaves out.
    fn complete(&self, partial: PartialDraft) -> DraftJson {
        let mut attributes: BTreeMap<_, _> = self.attributes.iter().cloned().collect();
        attributes.extend(partial.attributes);
        DraftJson {
            tenant: partial.tenant.or_else(|| self.tenant.clone()),
            topic: partial.topic.unwrap_or_else(|| self.topic().to_owned()),
            kind: partial.kind.unwrap_or_else(|| self.kind().to_owned()),
            attributes,
            content_type: partial.content_type,
            data: partial.data,
            data_base64: partial.data_base64,
        }
    }

    fn topic(&self) -> &str {
        self.topic.as_deref().unwrap_or("log")
    }

    fn kind(&self) -> &str {
        self.kind.as_deref().unwrap_or("line")
    }
}

/// What is wrong with the JSON of a line; the line has its number from elsewhere.
pub fn in_line(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let what = text.rsplit_once(" at line ").map_or(&*text, |(what, _)| what);
    format!("{what} at column {}", error.column())
}

/// A failure that says how many entries were sent before it.
pub fn after(stop: Stop, sent: u64) -> Stop {
    match (stop, sent) {
        (stop, 0) => stop,
        (Stop::Failed(failure), 1) => failure.yet("the entry before it stays").into(),
        (Stop::Failed(failure), _) => {
            failure.yet(format_args!("the {sent} entries before it stay")).into()
        }
        (stop, _) => stop,
    }
}
