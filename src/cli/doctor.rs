//! `towline doctor`: looks at everything around a node, and says what to do.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::check::ask;
use super::failure::Stop;
use super::findings::{self, Bounds, Finding, Level};
use super::line::one_line;
use super::output::{Format, Output};
use super::place::Global;
use super::settings::{FILE, Settings};
use super::status::{bytes, counted};
use super::{Outcome, spool};
use crate::node::{OfflineLog, directory};

/// Less room than this on the disk is a warning.
const ROOM: u64 = 256 << 20;
/// A peer that lags by more is a warning.
const LAG: u64 = 10_000;

/// Look at a node and its surroundings, and say what to do about what is wrong
#[derive(Debug, Args)]
#[command(
    before_help = "\
Examples:
  towline doctor
  towline doctor --data /var/lib/towline
  towline doctor -o json | jq '.findings[] | select(.level != \"ok\")'",
    after_help = "\
Works with or without a running node. Looks at the data directory, its key and
settings, the room on its disk, the store, what pipes left unsent, and at all that
`towline check` looks at. Changes nothing. Exit code 1 where something is wrong."
)]
pub struct Doctor {}

impl Doctor {
    pub(super) fn run(self, global: &Global) -> Outcome {
        let mut found = Vec::new();
        if global.named_node().is_none() {
            found.extend(of_directory(&global.data()?));
        }
        found.extend(spools());
        match ask(global, Bounds { lag: LAG }) {
            Ok(said) => {
                found.push(Finding::ok("node", "it answers"));
                found.extend(said);
            }
            Err(failure) => {
                let (why, hint) = (failure.why(), failure.way_on());
                found.push(Finding::critical("node", format!("it doesn't answer: {why}"), hint));
            }
        }
        let worst = findings::worst(&found);
        let mut output = global.output();
        if output.format == Format::Text {
            found.iter().try_for_each(|found| show(&mut output, found))?;
        } else {
            output.json(&json!({"level": worst, "findings": found}))?;
        }
        output.flush()?;
        if worst == Level::Ok { Ok(()) } else { Err(Stop::Told(1)) }
    }
}

fn show(output: &mut Output, Finding { level, about, what, hint }: &Finding) -> Outcome {
    output.line(format_args!("{:<8}  {about}: {}", level.text(), one_line(what)))?;
    match hint {
        Some(hint) => output.line(format_args!("          try: {}", one_line(hint))),
        None => Ok(()),
    }
}

/// What can be seen of a data directory without its node.
fn of_directory(data: &Path) -> Vec<Finding> {
    if !data.is_dir() {
        let what = format!("there is none at {}", data.display());
        return vec![Finding::critical(
            "directory",
            what,
            "towline run, which makes it; or --data",
        )];
    }
    let mut found = vec![Finding::ok("directory", data.display()), key(data), settings(data)];
    found.extend(room(data));
    if directory::running(data).is_none() {
        found.push(store(data));
    }
    found
}

fn key(data: &Path) -> Finding {
    let key = data.join("key");
    match fs::metadata(&key) {
        Err(error) => {
            let what = format!("{}: {error}", key.display());
            let hint = "put the node's key back from where secrets are kept; without it nobody can \
                        write in the node's name";
            Finding::critical("key", what, hint)
        }
        Ok(found) if found.mode() & 0o077 != 0 => {
            let mode = found.mode() & 0o7777;
            let what = format!("{} can be read by others (mode {mode:04o})", key.display());
            Finding::critical("key", what, format!("chmod 600 {}", key.display()))
        }
        Ok(_) => Finding::ok("key", "readable by its owner only"),
    }
}

fn settings(data: &Path) -> Finding {
    match Settings::of_directory(data) {
        Ok(_) if data.join(FILE).exists() => Finding::ok("settings", format!("{FILE} is sound")),
        Ok(_) => Finding::ok("settings", format!("no {FILE}: defaults")),
        Err(failure) => Finding::critical("settings", failure.why(), failure.way_on()),
    }
}

fn room(data: &Path) -> Option<Finding> {
    let disk = rustix::fs::statvfs(data).ok()?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    let what = format!("{} free", bytes(free));
    Some(match free {
        ..ROOM => Finding::warning("disk", what, "make room before the node has to be read-only"),
        _ => Finding::ok("disk", what),
    })
}

/// Pipes that were ended while their node was away.
fn spools() -> Vec<Finding> {
    let forgotten = spool::forgotten(&spool::home().unwrap_or_default()).into_iter();
    let finding = |(directory, waiting): (PathBuf, u64)| {
        let waiting = counted(waiting, "entry of a pipe", "entries of a pipe");
        let directory = directory.display();
        let what = format!("{waiting} that has ended wait in {directory}");
        Finding::warning("spool", what, format!("towline append --spool {directory} < /dev/null"))
    };
    forgotten.map(finding).collect()
}

fn store(data: &Path) -> Finding {
    let log = OfflineLog::open(data);
    match log.map_err(|error| error.to_string()) {
        Ok(log) => match log.missing() {
            None => Finding::ok("store", "it opens"),
            Some(missing) => {
                let hint = "start the node: it asks its peers for them";
                Finding::critical("store", missing, hint)
            }
        },
        Err(why) => {
            let hint = format!("towline verify; towline salvage --data {}", data.display());
            Finding::critical("store", why, hint)
        }
    }
}
