//! `towline verify`: checks everything that can be checked with public keys alone.

use std::path::PathBuf;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use super::Outcome;
use super::failure::Failure;
use super::output::Format;
use super::place::Global;
use crate::node::OfflineLog;

/// Verify every signature, chain, seq and encoding of a store
#[derive(Debug, Args)]
#[command(
    before_help = "\
Examples:
  towline verify
  towline verify /backup/towline",
    after_help = "\
Needs no node, no peer and no secret, and may run beside a node. Exit code 3
means that something is not as its author signed it; the first bad place is
named."
)]
pub struct Verify {
    /// A data directory or a store file [default: --data]
    path: Option<PathBuf>,
}

impl Verify {
    pub(super) fn run(self, global: &Global) -> Outcome {
        let place = match self.path {
            Some(path) => path,
            None => global.data()?,
        };
        let what = format_args!("{} can't be verified", place.display());
        let log = OfflineLog::open(&place);
        let mut log = log.map_err(|error| Failure::open(what, &error))?;
        let bar = progress(global);
        let verified = log.verify(|done, all| {
            bar.set_length(all);
            bar.set_position(done);
        });
        bar.finish_and_clear();
        let verified = verified.map_err(|error| Failure::verification(&place, &error))?;
        let mut output = global.output();
        if output.format == Format::Text {
            output.line(format_args!(
                "ok: {} entries in {} changes and {} segments of {} authors, {} signatures",
                verified.entries,
                verified.changes,
                verified.segments,
                verified.authors,
                verified.signatures,
            ))?;
        } else {
            output.json(&verified)?;
        }
        output.flush()
    }
}

/// A bar on stderr, which is hidden where that is no terminal.
fn progress(global: &Global) -> ProgressBar {
    if global.is_quiet() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(0);
    match ProgressStyle::with_template("verifying {bar:40} {pos}/{len} entries, {eta} left") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
