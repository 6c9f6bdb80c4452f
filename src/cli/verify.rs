//! `towline verify`: checks everything that can be checked with public keys alone.

use std::path::{Path, PathBuf};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use super::Outcome;
use super::failure::Failure;
use super::output::Format;
use super::place::Global;
use crate::node::OfflineLog;
use crate::node::archive::{self, Checked};

/// Verify every signature, chain, seq and encoding of a store
#[derive(Debug, Args)]
#[command(
    before_help = "\
Examples:
  towline verify
  towline verify /backup/towline
  towline verify /backup/segments              what `towline archive` wrote",
    after_help = "\
Needs no node, no peer and no secret, and may run beside a node. Exit code 3
means that something is not as its author signed it; the first bad place is
named."
)]
pub struct Verify {
    /// A data directory, a store file, or an archive of segments [default: --data]
    path: Option<PathBuf>,
}

impl Verify {
    pub(super) fn run(self, global: &Global) -> Outcome {
        let place = match self.path {
            Some(path) => path,
            None => global.data()?,
        };
        if archive::is_archive(&place) {
            return verify_archive(&place, global);
        }
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
            if verified.pruned > 0 {
                output.line(format_args!(
                    "of {} entries in {} segments only their signed end is here",
                    verified.gone, verified.pruned,
                ))?;
            }
        } else {
            output.json(&verified)?;
        }
        output.flush()
    }
}

/// Verifies segments that lie in an archive.
fn verify_archive(place: &Path, global: &Global) -> Outcome {
    let bar = progress(global);
    let checked = archive::verify(place, |done, all| {
        bar.set_length(all);
        bar.set_position(done);
    });
    bar.finish_and_clear();
    let checked = checked.map_err(|error| Failure::archive(&error))?;
    let mut output = global.output();
    if output.format == Format::Text {
        let Checked { entries, changes, segments, .. } = checked;
        output.line(format_args!(
            "ok: {entries} entries in {changes} changes and {segments} segments, each signed at its end",
        ))?;
    } else {
        output.json(&checked)?;
    }
    output.flush()
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
