//! `towline verify`: checks everything that can be checked with public keys alone.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Deserializer;
use serde_json::value::RawValue;

use super::Outcome;
use super::failure::Failure;
use super::line::one_line;
use super::output::Format;
use super::place::Global;
use super::status::counted;
use crate::node::archive::{self, Checked};
use crate::node::{OfflineLog, ProofError, ProofJson, Proven};
use crate::words::Code;

/// More of a file of proofs is not read.
const PROOF_FILE_BYTES: u64 = 256 << 20;

/// Verify every signature, chain, seq and encoding of a store
#[derive(Debug, Args)]
#[command(
    before_help = "\
Examples:
  towline verify
  towline verify /backup/towline
  towline verify entry.proof                   of `towline get ID --proof`
  towline verify /backup/segments              what `towline archive` wrote",
    after_help = "\
Needs no node, no peer and no secret, and may run beside a node. Exit code 3
means that something is not as its author signed it; the first bad place is
named."
)]
pub struct Verify {
    /// A data directory, a store file, an archive of segments or a proof; '-' reads a proof from
    /// stdin [default: --data]
    path: Option<PathBuf>,
}

impl Verify {
    pub(super) fn run(self, global: &Global) -> Outcome {
        let place = match self.path {
            Some(path) => path,
            None => global.data()?,
        };
        if let Some(proofs) = proofs_in(&place)? {
            return verify_proofs(&proofs, &place, global);
        }
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
                "ok: {} in {} and {} of {}, {}",
                counted(verified.entries, "entry", "entries"),
                counted(verified.changes, "change", "changes"),
                counted(verified.segments, "segment", "segments"),
                counted(verified.authors, "author", "authors"),
                counted(verified.signatures, "signature", "signatures"),
            ))?;
            if verified.pruned > 0 {
                output.line(format_args!(
                    "of {} more, in {}, only the signed ends are here",
                    counted(verified.gone, "entry", "entries"),
                    counted(verified.pruned, "segment", "segments"),
                ))?;
            }
        } else {
            output.json(&verified)?;
        }
        output.flush()
    }
}

/// The text of a file of proofs; none where the place is something else.
fn proofs_in(place: &Path) -> Result<Option<Vec<u8>>, Failure> {
    let failed = |error| Failure::file("the proof can't be read", place, &error);
    let mut text = Vec::new();
    if place == Path::new("-") {
        io::stdin().lock().take(PROOF_FILE_BYTES).read_to_end(&mut text).map_err(failed)?;
        return Ok(Some(text));
    }
    if !place.is_file() {
        return Ok(None);
    }
    let mut file = File::open(place).map_err(failed)?;
    let mut first = [0; 1];
    if file.read(&mut first).map_err(failed)? == 0 || first != *b"{" {
        return Ok(None);
    }
    text.extend_from_slice(&first);
    file.take(PROOF_FILE_BYTES).read_to_end(&mut text).map_err(failed)?;
    Ok(Some(text))
}

fn verify_proofs(text: &[u8], place: &Path, global: &Global) -> Outcome {
    let mut output = global.output();
    let refused = |error: ProofError| {
        let what = format_args!("the proof {} proves nothing", place.display());
        Failure::new(Code::Verification, what, error)
            .hint("ask for it again, of another node: towline get ID --proof")
    };
    // One after the other, however their JSON is laid out.
    let mut proofs = Deserializer::from_slice(text).into_iter::<&RawValue>().peekable();
    if proofs.peek().is_none() {
        let what = format_args!("the proof {} proves nothing", place.display());
        return Err(Failure::new(Code::Verification, what, "it is empty").into());
    }
    for proof in proofs {
        let proof = proof.map_err(|_| ProofError::Malformed("JSON"));
        let read = proof.and_then(|proof| ProofJson::read(proof.get().as_bytes()));
        let proven = read.and_then(|proof| proof.verify()).map_err(refused)?;
        if output.format != Format::Text {
            output.json(&proven)?;
            continue;
        }
        let Proven { id, time, topic, kind, data, cluster, .. } = &proven;
        output.line(format_args!("ok: {id} of the cluster {cluster}"))?;
        output.line(format_args!("written {time}, {}, {}", one_line(topic), one_line(kind)))?;
        output.line(one_line(&String::from_utf8_lossy(data)))?;
    }
    output.flush()
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
            "ok: {} in {} and {}, each signed at its end",
            counted(entries, "entry", "entries"),
            counted(changes, "change", "changes"),
            counted(segments, "segment", "segments"),
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
