//! `towline bench`: what this machine does, each figure beside its limit from the same run.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use comfy_table::{CellAlignment, Table, presets};

use super::Outcome;
use super::failure::{Failure, Stop};
use super::output::{Format, Output};
use super::place::Global;
use crate::node::measure::{Bench as Measuring, Figure, MeasureError, sample_payloads};
use crate::words::Code;
use crate::words::limits::PAYLOAD_BYTES;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Bulk appends, following, querying, restarting, bytes on disk.
    Bulk,
    /// One appender, and 64 at the same time.
    Appenders,
    /// The lossy path.
    Emit,
    /// Two nodes: catching up, and latency.
    Replication,
}

const PARTS: [Part; 4] = [Part::Bulk, Part::Appenders, Part::Emit, Part::Replication];

/// Measure this machine, each figure beside its limit from the same run
#[derive(Debug, Args)]
#[command(before_help = "\
Examples:
  towline bench                    about a minute, 200,000 entries of 200 bytes
  towline bench --payload app.log  your own lines
  towline bench --only bulk --entries 1000000
  towline bench -o json            for a machine")]
pub struct Bench {
    /// How many entries
    #[arg(long, default_value_t = 200_000, value_parser = clap::value_parser!(u64).range(1_000..=10_000_000))]
    entries: u64,
    /// A file whose lines are the payloads, again and again
    #[arg(long, value_name = "FILE")]
    payload: Option<PathBuf>,
    /// Measure only this
    #[arg(long, value_enum)]
    only: Option<Part>,
    /// Where to measure: a directory on the disk that counts [default: the current one]
    #[arg(long, value_name = "DIR", default_value = ".")]
    directory: PathBuf,
}

impl Bench {
    /// Measures and prints.
    ///
    /// # Errors
    /// The disk can't be written, or a node fails.
    pub fn run(self, global: &Global) -> Outcome {
        let runtime = super::process::runtime()?;
        let payloads = self.payloads()?;
        let place = Place::make(&self.directory)?;
        let mut figures = Vec::new();
        for part in PARTS.into_iter().filter(|part| self.only.is_none_or(|only| only == *part)) {
            global.note(&format!("measuring {part:?} …").to_lowercase());
            let directory = place.0.join(format!("{part:?}").to_lowercase());
            let made = std::fs::create_dir(&directory);
            made.map_err(|e| Failure::file("the bench can't write", &directory, &e))?;
            let bench = Measuring::new(&directory, payloads.clone());
            let measured = runtime.block_on(async {
                match part {
                    Part::Bulk => bench.bulk().await,
                    Part::Appenders => bench.appenders().await,
                    Part::Emit => bench.emit().await,
                    Part::Replication => bench.replication().await,
                }
            });
            figures.extend(measured.map_err(|e| failed(&e))?);
        }
        print(&mut global.output(), &figures)
    }

    fn payloads(&self) -> Result<Vec<Vec<u8>>, Failure> {
        let count = usize::try_from(self.entries).unwrap_or(usize::MAX);
        let Some(path) = &self.payload else {
            return Ok(sample_payloads(count));
        };
        let what = "the payloads can't be read";
        let content = std::fs::read(path).map_err(|e| Failure::file(what, path, &e))?;
        let lines: Vec<&[u8]> =
            content.split(|byte| *byte == b'\n').filter(|l| !l.is_empty()).collect();
        if lines.is_empty() {
            return Err(Failure::new(Code::Nothing, what, "the file has no line"));
        }
        if let Some(long) = lines.iter().position(|line| line.len() > PAYLOAD_BYTES) {
            let why = format_args!("line {} is over 1 MiB", long + 1);
            return Err(Failure::new(Code::TooLarge, what, why));
        }
        Ok(lines.into_iter().cycle().take(count).map(<[u8]>::to_vec).collect())
    }
}

fn failed(error: &MeasureError) -> Failure {
    Failure::new(Code::Io, "the measurement did not come about", error)
}

/// The directory that a bench fills, and removes however it ends.
struct Place(PathBuf);

impl Place {
    fn make(parent: &std::path::Path) -> Result<Self, Failure> {
        let path = parent.join(format!("towline-bench-{}", std::process::id()));
        let made = std::fs::create_dir_all(&path);
        made.map_err(|e| Failure::file("the bench can't write", &path, &e))?;
        Ok(Self(path))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

fn print(out: &mut Output, figures: &[Figure]) -> Result<(), Stop> {
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
            Some(limit) => (format!("{:.2}", limit.ratio), number(limit.value), limit.of),
            None => Default::default(),
        };
        let value = number(figure.value);
        let row = [figure.what, &value, figure.unit, &ratio, &limit, of];
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
