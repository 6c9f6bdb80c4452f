//! What the command line reads, without a process around: for the fuzzers of this repository, and
//! no interface for anybody else.

use std::io::Read;
use std::path::Path;

use clap::Parser;

use super::drafts::{Cut, Drafts};
use super::failure::Stop;
use super::line::Line;
use super::output::Paint;
use super::settings::{self, Settings};
use crate::words::json::EntryJson;

/// The flags of `append` and `emit` that describe entries.
#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    drafts: Drafts,
}

/// The bodies of the requests that `append` makes of lines, and why it ended if it failed.
pub fn bodies(flags: &[&str], lines: impl Read, most: usize) -> (Vec<Vec<u8>>, Result<(), String>) {
    let mut bodies = Vec::new();
    let said = match Flags::try_parse_from([&["append"], flags].concat()) {
        Ok(flags) => flags.drafts.send_lines(lines, most, Cut::Prompt, &mut |batch| {
            bodies.push(batch.content(None).body.to_vec());
            Ok(())
        }),
        Err(error) => return (bodies, Err(error.to_string())),
    };
    (bodies, said.map_err(|stop| told(&stop)))
}

fn told(stop: &Stop) -> String {
    match stop {
        Stop::Failed(failure) => failure.to_string(),
        // Nobody reads here, and nothing was told.
        Stop::ReaderLeft | Stop::Told(_) => String::new(),
    }
}

/// Reads a settings file.
///
/// # Errors
/// What is wrong with it.
pub fn settings(text: &str) -> Result<(), String> {
    let read = Settings::parse(text, Path::new(settings::FILE));
    let deliveries = read.and_then(|settings| settings.deliveries());
    deliveries.map(drop).map_err(|failure| failure.to_string())
}

/// The name that a new settings file gives a node, read back from that file.
///
/// # Errors
/// The file can't be read.
pub fn name_in_settings(name: &str) -> Result<String, String> {
    let read = Settings::parse(&settings::naming(name), Path::new(settings::FILE));
    let read = read.map_err(|failure| failure.to_string())?;
    read.name.ok_or_else(|| "no name".to_owned())
}

/// An entry as `tail` and `query` print it.
pub fn shown(entry: &EntryJson) -> String {
    Line(entry, Paint::Plain).to_string()
}
