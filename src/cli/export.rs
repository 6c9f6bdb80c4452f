//! `towline export`: the log in forms that other programs read.

use std::io::{self, IsTerminal};
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::Outcome;
use super::failure::Failure;
use super::filters::Filters;
use super::output::{Format, Listing, Output};
use super::place::Global;
use super::query::Range;
use super::template::Form;

/// Export the log, with or without a running node
#[derive(Debug, Args)]
#[command(
    before_help = "\
Examples:
  towline export --format automerge --output log.automerge
  towline export --topic story/42 > story.ndjson",
    after_help = "\
As automerge it is one document whose list `entries` holds every entry as
deterministic CBOR; any Automerge program opens it. As ndjson or cloudevents it
is what `query -o` prints."
)]
pub struct Export {
    /// What is written
    #[arg(long, value_enum, default_value = "ndjson", value_name = "automerge|ndjson|cloudevents")]
    #[arg(hide_possible_values = true)]
    format: ExportFormat,
    /// Write to this file instead of stdout
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    filters: Filters,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ExportFormat {
    Automerge,
    Ndjson,
    Cloudevents,
}

impl Export {
    pub(super) fn run(self, global: &Global) -> Outcome {
        match self.format {
            ExportFormat::Automerge => self.document(global),
            ExportFormat::Ndjson | ExportFormat::Cloudevents => {
                let place = global.place()?;
                let mut output = self.output()?;
                let listing = Listing::new(&mut output, "entries");
                Range::default().print(&self.filters, place, listing)
            }
        }
    }

    /// The document is made from the store itself: over HTTP there are only entries.
    fn document(&self, global: &Global) -> Outcome {
        if global.named_node().is_some() {
            let why = "a document is made from the store in a data directory";
            let failure = Failure::usage("a node can't be asked for a document", why);
            return Err(failure.hint("--data DIR on the machine of the node").into());
        }
        if !self.filters.only_author() {
            let why = "a document holds whole changes";
            let failure = Failure::usage("a document can only be filtered by author", why);
            return Err(failure.hint("--author ID, or --format ndjson").into());
        }
        if self.output.is_none() && io::stdout().is_terminal() {
            let why = "a document is binary, and stdout is a terminal";
            let failure = Failure::usage("nothing was exported", why);
            return Err(failure.hint("--output FILE").into());
        }
        let document = global.offline()?.document(self.filters.author);
        let document = document.map_err(|error| Failure::export(&error))?;
        let mut output = self.output()?;
        output.bytes(&document)?;
        output.flush()
    }

    fn output(&self) -> Result<Output, Failure> {
        let format = match self.format {
            ExportFormat::Cloudevents => Format::Cloudevents,
            ExportFormat::Automerge | ExportFormat::Ndjson => Format::Ndjson,
        };
        match &self.output {
            Some(path) => Output::to_file(path, format),
            None => Ok(Output::new(&Form { format, template: None })),
        }
    }
}
