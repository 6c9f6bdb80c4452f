//! `towline backup` and `towline restore`: one verified file of a log, and the way back from it.

use std::path::PathBuf;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use super::Outcome;
use super::failure::Failure;
use super::output::Format;
use super::place::Global;
use super::status::{bytes, counted};
use crate::node::backup::{self, Existing, Keys, Progress};

/// Copy the log into one verified file, while its node goes on
#[derive(Debug, Args)]
#[command(
    before_help = "\
Examples:
  towline backup /backup/$(date +%F).towline
  towline backup --with-key log.towline
  towline verify log.towline",
    after_help = "\
The file is the log as it was when the backup began. Every change of it is
verified before it gets its name. The node's key is not in it: keep that where
secrets are kept, for nobody can restore the node without it. --with-key writes
FILE.key and, if the cluster was made here, FILE.cluster.key, mode 0600."
)]
pub struct Backup {
    /// Where to write it
    file: PathBuf,
    /// Copy the keys as well, into files beside it
    #[arg(long)]
    with_key: bool,
    /// Replace the file if there is one
    #[arg(long)]
    force: bool,
}

/// Make a data directory from a backup, or refill one
#[derive(Debug, Args)]
#[command(
    before_help = "\
Examples:
  towline restore /backup/2026-11-21.towline
  towline --data /var/lib/towline restore log.towline
  towline restore --force log.towline          the old store moves aside",
    after_help = "\
The copy is verified before it takes its place. The key of the node must be in
the data directory, or beside the backup as FILE.key. Start the node with a peer
within reach: it takes back what it wrote since the backup before it appends.
Never run it beside the node that the backup was made of."
)]
pub struct Restore {
    /// A file that `towline backup` made
    file: PathBuf,
    /// Move the store that is there into replaced-N in the data directory
    #[arg(long)]
    force: bool,
}

fn existing(force: bool) -> Existing {
    if force { Existing::Replace } else { Existing::Keep }
}

impl Backup {
    pub(super) fn run(self, global: &Global) -> Outcome {
        if global.named_node().is_some() {
            let why = "a backup is made from the store in a data directory";
            let failure = Failure::usage("a node can't be asked for a backup", why);
            return Err(failure.hint("--data DIR on the machine of the node").into());
        }
        let data = global.data()?;
        let bar = Bar::new(global);
        let keys = if self.with_key { Keys::Include } else { Keys::LeaveOut };
        let made = backup::make(&data, &self.file, keys, existing(self.force), |now| bar.show(now));
        bar.end();
        let what = format_args!("no backup was made of {}", data.display());
        let made = made.map_err(|error| Failure::backup(what, &error))?;
        print(global, &made, format_args!("in {}", self.file.display()))?;
        match &made.key {
            Some(key) => global.note(&format!("the node's secret is in {}", key.display())),
            None => {
                let key = data.join("key");
                let key = key.display();
                global.note(&format!("the node's secret is not in it: keep a copy of {key}, too"));
            }
        }
        Ok(())
    }
}

impl Restore {
    pub(super) fn run(self, global: &Global) -> Outcome {
        let data = global.data()?;
        let bar = Bar::new(global);
        let restored =
            backup::restore(&self.file, &data, existing(self.force), |now| bar.show(now));
        bar.end();
        let what = format_args!("{} was not restored", self.file.display());
        let restored = restored.map_err(|error| Failure::backup(what, &error))?;
        print(global, &restored, format_args!("restored to {}", data.display()))?;
        if let Some(replaced) = &restored.replaced {
            let replaced = replaced.display();
            global.note(&format!("the store that was there is in {replaced}"));
        }
        global.note("start it with a peer within reach, so that it gets back what is newer");
        Ok(())
    }
}

fn print(global: &Global, backup: &backup::Backup, place: std::fmt::Arguments<'_>) -> Outcome {
    let mut output = global.output();
    if output.format == Format::Text {
        let entries = counted(backup.verified.entries, "entry", "entries");
        let authors = counted(backup.verified.authors, "author", "authors");
        let (node, size) = (backup.node.short(), bytes(backup.bytes));
        output.line(format_args!("ok: {entries} of {authors}, node {node}, {size}, {place}"))?;
    } else {
        output.json(backup)?;
    }
    output.flush()
}

/// A bar on stderr, which is hidden where that is no terminal.
struct Bar(ProgressBar);

impl Bar {
    fn new(global: &Global) -> Self {
        if global.is_quiet() {
            return Self(ProgressBar::hidden());
        }
        let bar = ProgressBar::new(0);
        match ProgressStyle::with_template("{msg} {bar:40} {percent}%, {eta} left") {
            Ok(style) => Self(bar.with_style(style)),
            Err(_) => Self(bar),
        }
    }

    fn show(&self, progress: Progress) {
        let (what, done, all) = match progress {
            Progress::Copying(done, all) => ("copying  ", done, all),
            Progress::Verifying(done, all) => ("verifying", done, all),
        };
        self.0.set_message(what);
        self.0.set_length(all);
        self.0.set_position(done);
    }

    fn end(&self) {
        self.0.finish_and_clear();
    }
}
