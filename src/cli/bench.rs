//! `towline bench`: what this machine does, each figure beside its limit from the same run.
//!
//! ```text
//! append.rs     bulk, one appender, 64 appenders     web.rs      over HTTP
//! lossy.rs      emit                                 read.rs     follow, scan, topic, restart
//! replicate.rs  latency, three nodes, catching up    weight.rs   bytes on disk, memory
//! sealing.rs    small changes are packed             removal.rs  half of the log is let go
//! threads.rs    many threads of many tenants
//! ground.rs     directories, shared logs             limit.rs    plain SQLite
//! figure.rs     figures and samples                  trouble.rs  what goes wrong
//! ```

use std::path::{Path, PathBuf};

use bytes::Bytes;
use clap::{Args, ValueEnum};
use comfy_table::{CellAlignment, Table, presets};

use super::Outcome;
use super::failure::Failure;
use super::output::{Format, Output};
use super::place::Global;
use super::process::{self, Told};
use crate::node::measure::Payloads;
use crate::words::Code;
use crate::words::limits::PAYLOAD_BYTES;
use figure::Figure;
use ground::{Ground, Scale};
use trouble::BenchError;

mod append;
mod figure;
mod ground;
mod limit;
mod lossy;
mod read;
mod removal;
mod replicate;
mod sealing;
mod threads;
mod trouble;
mod web;
mod weight;

/// The largest file of payloads: it is held in memory.
const PAYLOAD_FILE: u64 = 256 << 20;
/// What the kernel calls a disk that is none.
const TMPFS: i64 = 0x0102_1994;

/// What is measured, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Step {
    /// Bulk appends in groups of 1,000, as a library.
    Bulk,
    /// One appender, as a library.
    Alone,
    /// 64 appenders of one entry each, as a library.
    Appenders,
    /// NDJSON of 1,000, and 64 connections of one entry each.
    Http,
    /// The lossy path.
    Emit,
    /// From append on one node until readable on another.
    Latency,
    /// Three nodes: bulk and 64 appenders.
    Cluster,
    /// An empty node, and a peer that has everything.
    CatchUp,
    /// Following from the start.
    Follow,
    /// Start until the first answer.
    Restart,
    /// Bytes on disk.
    Disk,
    /// Everything in merged order.
    Scan,
    /// The newest entries of one topic.
    Topic,
    /// Resident memory after a full scan.
    Memory,
    /// Small changes are sealed while one appender goes on.
    Sealing,
    /// Half of the log is let go.
    Removal,
    /// One thread among many of many tenants.
    Threads,
}

impl Step {
    fn name(self) -> &'static str {
        match self {
            Self::Bulk => "bulk",
            Self::Alone => "alone",
            Self::Appenders => "appenders",
            Self::Http => "http",
            Self::Emit => "emit",
            Self::Latency => "latency",
            Self::Cluster => "cluster",
            Self::CatchUp => "catch-up",
            Self::Follow => "follow",
            Self::Restart => "restart",
            Self::Disk => "disk",
            Self::Scan => "scan",
            Self::Topic => "topic",
            Self::Memory => "memory",
            Self::Sealing => "sealing",
            Self::Removal => "removal",
            Self::Threads => "threads",
        }
    }

    async fn measure(self, ground: &Ground) -> Result<Vec<Figure>, BenchError> {
        let figures = match self {
            Self::Bulk => append::bulk(ground).await,
            Self::Alone => append::alone(ground).await,
            Self::Appenders => append::appenders(ground).await,
            Self::Http => web::http(ground).await,
            Self::Emit => lossy::emit(ground).await,
            Self::Latency => replicate::latency(ground).await,
            Self::Cluster => replicate::cluster(ground).await,
            Self::CatchUp => replicate::catch_up(ground).await,
            Self::Follow => read::follow(ground).await,
            Self::Restart => read::restart(ground).await,
            Self::Disk => weight::disk(ground).await,
            Self::Scan => read::scan(ground).await,
            Self::Topic => read::topic(ground).await,
            Self::Memory => weight::memory(ground).await,
            Self::Sealing => sealing::sealing(ground).await,
            Self::Removal => removal::removal(ground).await,
            Self::Threads => threads::threads(ground).await,
        };
        let named = |figure| Figure { step: self.name(), ..figure };
        Ok(figures?.into_iter().map(named).collect())
    }
}

/// Measure this machine, each figure beside its limit from the same run
#[derive(Debug, Args)]
#[command(
    before_help = "\
Examples:
  towline bench                    200,000 entries of about 200 bytes
  towline bench --payload app.log  your own lines
  towline bench --only bulk,appenders --entries 1000000
  towline bench --only threads --entries 1000000
  towline bench -o json            for a machine",
    after_help = "\
Needs a real disk: it measures in a directory below --directory, or else below
--data, or else below the current one, and removes it. The limits are plain
SQLite with one table of the same payloads (synchronous=FULL), in the same run."
)]
pub struct Bench {
    /// How many entries
    #[arg(long, value_name = "N", default_value_t = 200_000)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    entries: u64,
    /// A file whose lines are the payloads, again and again
    #[arg(long, value_name = "FILE")]
    payload: Option<PathBuf>,
    /// Measure only these steps
    #[arg(long, value_enum, value_name = "STEP,…", value_delimiter = ',')]
    only: Vec<Step>,
    /// In how many topics, in bursts of 8 entries [default: 1, or 1,000 for queries]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    topics: Option<u64>,
    /// By how many authors the log is that queries read
    #[arg(long, value_name = "N", default_value_t = 8)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=16))]
    authors: u64,
    /// How many nodes the cluster of that step has, all on this machine
    #[arg(long, value_name = "N", default_value_t = 3)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=16))]
    nodes: u64,
    /// How many threads the step of that name has
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    threads: u64,
    /// Of how many tenants they are
    #[arg(long, value_name = "N", default_value_t = 100)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=100_000))]
    tenants: u64,
    /// Where to measure: a directory on the disk that counts
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
    /// Read a log, and say what memory that took
    #[arg(long, value_name = "DIR", hide = true)]
    resident: Option<PathBuf>,
}

impl Bench {
    /// Measures and prints.
    ///
    /// # Errors
    /// The disk can't be written, or a node fails.
    pub fn run(self, global: &Global) -> Outcome {
        let payloads = self.payloads()?;
        let runtime = process::runtime()?;
        let outcome = runtime.block_on(async {
            let mut told = Told::listen()?;
            tokio::select! {
                outcome = self.measure(global, payloads) => outcome,
                stop = told.interrupted() => Err(stop),
            }
        });
        runtime.shutdown_background();
        outcome
    }

    async fn measure(&self, global: &Global, payloads: Payloads) -> Outcome {
        let mut output = global.output();
        if let Some(data) = &self.resident {
            output.json(&weight::resident(data).await.map_err(|e| failed("memory", &e))?)?;
            return output.flush();
        }
        let parent = self.directory.clone().or_else(|| global.named_data());
        let parent = parent.unwrap_or_else(|| PathBuf::from("."));
        let Self { entries, topics, authors, nodes, threads, tenants, .. } = *self;
        let scale = Scale { entries, topics, authors, nodes, threads, tenants };
        let ground = Ground::make(&parent, payloads, scale);
        let ground = ground.map_err(|e| Failure::file("the bench can't write", &parent, &e))?;
        if is_memory(&parent) {
            global.note("this directory is in memory, where a sync costs nothing: --directory DIR");
        }
        let mut figures = Vec::new();
        let wanted = |step: &&Step| self.only.is_empty() || self.only.contains(step);
        for step in Step::value_variants().iter().filter(wanted) {
            global.note(&format!("measuring {} …", step.name()));
            let measured = step.measure(&ground).await;
            figures.extend(measured.map_err(|e| failed(step.name(), &e))?);
        }
        print(&mut output, &figures)
    }

    fn payloads(&self) -> Result<Payloads, Failure> {
        let Some(path) = &self.payload else {
            return Ok(Payloads::Sample);
        };
        let what = "the payloads can't be read";
        let file = |error: std::io::Error| Failure::file(what, path, &error);
        if std::fs::metadata(path).map_err(file)?.len() > PAYLOAD_FILE {
            return Err(Failure::new(Code::TooLarge, what, "the file is over 256 MiB"));
        }
        let content = Bytes::from(std::fs::read(path).map_err(file)?);
        let lines = content.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let lines: Vec<Bytes> = lines.map(|line| content.slice_ref(line)).collect();
        if lines.is_empty() {
            return Err(Failure::new(Code::Nothing, what, "the file has no line"));
        }
        if let Some(long) = lines.iter().position(|line| line.len() > PAYLOAD_BYTES) {
            let why = format_args!("entry {} is over 1 MiB", long + 1);
            return Err(Failure::new(Code::TooLarge, what, why));
        }
        Ok(Payloads::Lines(lines.into()))
    }
}

/// Whether a directory lies in memory.
fn is_memory(path: &Path) -> bool {
    rustix::fs::statfs(path).is_ok_and(|disk| disk.f_type == TMPFS)
}

fn failed(step: &str, error: &BenchError) -> Failure {
    Failure::new(Code::Io, format_args!("the measurement {step} did not come about"), error)
}

fn print(out: &mut Output, figures: &[Figure]) -> Outcome {
    match out.format {
        Format::Json => out.json(&figures)?,
        Format::Ndjson | Format::Cloudevents => {
            figures.iter().try_for_each(|figure| out.json(figure))?
        }
        Format::Text => out.line(table(figures))?,
    }
    out.flush()
}

fn table(figures: &[Figure]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(["measured", "", "", "× limit", "limit", "of"]);
    for figure in figures {
        let (ratio, limit, of) = match &figure.limit {
            Some(limit) => (format!("{:.2}", limit.ratio), number(limit.value), &*limit.of),
            None => Default::default(),
        };
        let value = number(figure.value);
        let row = [&*figure.what, &value, figure.unit, &ratio, &limit, of];
        table.add_row(row);
    }
    for column in [1, 3, 4] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// A number with as many digits as mean something, and its thousands apart.
fn number(value: f64) -> String {
    if value < 100.0 {
        return format!("{value:.2}");
    }
    let digits = format!("{value:.0}");
    let grouped: Vec<&str> = digits
        .as_bytes()
        .rchunks(3)
        .rev()
        .filter_map(|group| std::str::from_utf8(group).ok())
        .collect();
    grouped.join(",")
}
