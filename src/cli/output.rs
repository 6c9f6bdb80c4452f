//! What is printed: data on stdout as text, JSON or a JSON object a line; all else on stderr.

use std::fmt::Display;
use std::fs::File;
use std::io::{self, BufWriter, ErrorKind, IsTerminal, Write};
use std::path::Path;

use serde::Serialize;
use serde_json::value::RawValue;

use super::failure::{Failure, Stop};
use super::line;
use super::template::{self, Form, Templated};
use crate::words::Code;
use crate::words::cloudevents::CloudEvent;
use crate::words::json::EntryJson;

/// The form of the data on stdout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Lines for people.
    #[default]
    Text,
    /// One JSON document.
    Json,
    /// One JSON object a line.
    Ndjson,
    /// One CloudEvent a line, of what are entries; all else as ndjson.
    Cloudevents,
}

/// Whether text is coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paint {
    /// On a terminal that takes colours.
    Colour,
    /// Everywhere else, and wherever `NO_COLOR` is set.
    Plain,
}

/// Where data goes: stdout as a rule. What is written is seen after [`Output::flush`].
pub struct Output {
    out: BufWriter<Box<dyn Write>>,
    /// The form that was asked for.
    pub format: Format,
    /// Whether text is coloured.
    pub paint: Paint,
}

impl Output {
    /// Stdout, in this form.
    pub fn new(form: &Form) -> Self {
        let stdout = io::stdout().lock();
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let paint = if stdout.is_terminal() && !set("NO_COLOR") && !dumb {
            Paint::Colour
        } else {
            Paint::Plain
        };
        let out: Box<dyn Write> = match form.template.clone() {
            Some(template) => Box::new(Templated::new(stdout, template)),
            None => Box::new(stdout),
        };
        Self { out: BufWriter::new(out), format: form.format, paint }
    }

    /// A file, which is emptied first.
    ///
    /// # Errors
    /// It can't be written.
    pub fn to_file(path: &Path, format: Format) -> Result<Self, Failure> {
        let file = File::create(path);
        let file = file.map_err(|error| Failure::file("nothing was written", path, &error))?;
        Ok(Self { out: BufWriter::new(Box::new(file)), format, paint: Paint::Plain })
    }

    /// Writes a line.
    ///
    /// # Errors
    /// It is closed or can't be written; so for every call here.
    pub fn line(&mut self, text: impl Display) -> Result<(), Stop> {
        writeln!(self.out, "{text}").map_err(broken)
    }

    /// Writes a value as one line of JSON.
    ///
    /// # Errors
    /// As [`Output::line`].
    pub fn json(&mut self, value: &impl Serialize) -> Result<(), Stop> {
        serde_json::to_writer(&mut self.out, value).map_err(|error| broken(error.into()))?;
        self.line("")
    }

    /// Writes an entry, given as a node's JSON, as a CloudEvent on one line.
    ///
    /// # Errors
    /// As [`Output::line`], or the JSON is no entry.
    pub fn cloud_event(&mut self, entry: &RawValue) -> Result<(), Stop> {
        let entry: EntryJson = serde_json::from_str(entry.get()).map_err(not_an_entry)?;
        self.json(&CloudEvent::of(&entry))
    }

    /// Writes bytes as they are.
    ///
    /// # Errors
    /// As [`Output::line`].
    pub fn bytes(&mut self, bytes: &[u8]) -> Result<(), Stop> {
        self.out.write_all(bytes).map_err(broken)
    }

    /// Shows what was written so far.
    ///
    /// # Errors
    /// As [`Output::line`].
    pub fn flush(&mut self) -> Result<(), Stop> {
        self.out.flush().map_err(broken)
    }
}

/// A list that is printed while it is read: lines of text, objects a line, or one JSON document
/// `{"entries":[…],"next":"…"}` that is whole once [`Listing::end`] was called.
pub struct Listing<'o> {
    output: &'o mut Output,
    name: &'static str,
    count: u64,
}

impl<'o> Listing<'o> {
    /// A list whose field in the JSON document has this name.
    pub fn new(output: &'o mut Output, name: &'static str) -> Self {
        Self { output, name, count: 0 }
    }

    /// Prints an entry, given as a node's JSON, which is passed on as it is.
    ///
    /// # Errors
    /// As [`Output::line`], or the JSON is no entry.
    pub fn entry(&mut self, entry: &RawValue) -> Result<(), Stop> {
        if self.output.format != Format::Text {
            return self.object(entry);
        }
        let entry: EntryJson = serde_json::from_str(entry.get()).map_err(not_an_entry)?;
        let paint = self.output.paint;
        self.output.line(line::Line(&entry, paint))
    }

    fn object(&mut self, object: &RawValue) -> Result<(), Stop> {
        if self.output.format == Format::Cloudevents {
            return self.output.cloud_event(object);
        }
        if self.output.format == Format::Json {
            self.separate()?;
            self.output.bytes(object.get().as_bytes())
        } else {
            self.output.line(object)
        }
    }

    /// Writes what stands before an element of the JSON document.
    fn separate(&mut self) -> Result<(), Stop> {
        self.count += 1;
        match self.count {
            1 => self.output.bytes(format!("{{\"{}\":[\n", self.name).as_bytes()),
            _ => self.output.bytes(b",\n"),
        }
    }

    /// Shows what was printed so far.
    ///
    /// # Errors
    /// As [`Output::line`].
    pub fn flush(&mut self) -> Result<(), Stop> {
        self.output.flush()
    }

    /// Ends the list, and says where a next one begins.
    ///
    /// # Errors
    /// As [`Output::line`].
    pub fn end(self, next: Option<&str>) -> Result<(), Stop> {
        if self.output.format == Format::Json {
            if self.count == 0 {
                self.output.bytes(format!("{{\"{}\":[", self.name).as_bytes())?;
            }
            let next = serde_json::json!(next);
            self.output.line(format_args!("],\"next\":{next}}}"))?;
        }
        self.output.flush()
    }
}

/// What a node or a store gave is not the JSON of an entry.
pub fn not_an_entry(error: serde_json::Error) -> Stop {
    let what = "the node answered with something that is no entry";
    Failure::new(Code::Unreachable, what, error).into()
}

/// Says why data can't be written; a reader that has gone is no failure.
pub fn broken(error: io::Error) -> Stop {
    if error.kind() == ErrorKind::BrokenPipe {
        return Stop::ReaderLeft;
    }
    match template::unfilled(&error) {
        Some(why) => Failure::usage("the template can't be filled", why)
            .hint("look at a whole object: -o ndjson")
            .into(),
        None => Failure::new(Code::Io, "the output can't be written", error).into(),
    }
}

/// Says something on stderr. Nobody is told when stderr itself is gone.
pub fn note(text: &str) {
    drop(writeln!(io::stderr(), "{}", text.trim_end()));
}
