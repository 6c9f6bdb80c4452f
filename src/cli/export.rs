//! `towline export`: the log in forms that other programs read.

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::Outcome;
use super::failure::Failure;
use super::filters::Filters;
use super::output::{Format, Listing, Output};
use super::place::{Global, as_node};
use super::query::Range;
use super::template::Form;
use crate::node::archive;
use crate::words::json::{EntryJson, Lateness};

/// Export the log, with or without a running node
#[derive(Debug, Args)]
#[command(
    before_help = "\
Examples:
  towline export --format automerge --output log.automerge
  towline export --topic story/42 > story.ndjson
  towline export --archive /backup/segments > old.ndjson",
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
    /// Read segments that `towline archive` wrote, instead of a log
    #[arg(long, value_name = "DIR")]
    archive: Option<PathBuf>,
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
        if let Some(archive) = &self.archive {
            return self.archived(archive);
        }
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
        self.check_document()?;
        let document = global.offline()?.document(self.filters.author);
        self.write_document(&document.map_err(|error| Failure::export(&error))?)
    }

    /// Whether a document can be made of what is asked for, and put where it is to go.
    fn check_document(&self) -> Outcome {
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
        Ok(())
    }

    /// Prints what lies in an archive, segment by segment; each is verified first.
    fn archived(&self, archive: &Path) -> Outcome {
        let failed = |error| Failure::archive(&error);
        if self.format == ExportFormat::Automerge {
            self.check_document()?;
            let document = archive::document(archive, self.filters.author).map_err(failed)?;
            return self.write_document(&document);
        }
        let filter = self.filters.filter();
        let mut output = self.output()?;
        let mut listing = Listing::new(&mut output, "entries");
        for file in archive::files(archive).map_err(failed)? {
            for entry in archive::entries(&file, &filter).map_err(failed)? {
                listing.entry(&as_node(&EntryJson::new(&entry, Lateness::InOrder))?)?;
            }
        }
        listing.end(None)
    }

    fn write_document(&self, document: &[u8]) -> Outcome {
        let mut output = self.output()?;
        output.bytes(document)?;
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
