//! Runs the simulator over as many seeds as wanted, on all cores.
//!
//! ```sh
//! cargo run --release --example towline-sim -- --seeds 0..20000
//! cargo run --release --example towline-sim -- --verbose 17
//! ```

mod simulator;

use std::ops::Range;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};

use clap::Parser;
use simulator::{Telling, simulate, simulate_all};

/// How often progress is printed, in seeds.
const PROGRESS: u64 = 500;

/// Runs whole clusters in a virtual world, and holds every promise against every step.
#[derive(Parser)]
struct Arguments {
    /// Which seeds, as `A..B`
    #[arg(long, value_parser = seeds, default_value = "0..1000")]
    seeds: Range<u64>,
    /// Tells the whole story of one seed instead
    #[arg(long, value_name = "SEED")]
    verbose: Option<u64>,
    /// How many threads; each seed runs on one of them
    #[arg(long)]
    threads: Option<usize>,
}

fn seeds(text: &str) -> Result<Range<u64>, String> {
    let (first, end) = text.split_once("..").ok_or("seeds are a range, as 0..1000")?;
    let number = |text: &str| text.parse::<u64>().map_err(|error| error.to_string());
    Ok(number(first)?..number(end)?)
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match arguments.verbose {
        Some(seed) => tell(seed),
        None => run(arguments.seeds, arguments.threads),
    }
}

/// Tells the story of one seed while it happens.
fn tell(seed: u64) -> ExitCode {
    let report = simulate(seed, Telling::Aloud);
    println!("\ntrace {:016x}\n{}", report.trace, report.coverage.table());
    match report.failure {
        None => ExitCode::SUCCESS,
        Some(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}

/// Runs many seeds, and tells the story of those that fail.
fn run(seeds: Range<u64>, threads: Option<usize>) -> ExitCode {
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    let (began, done) = (std::time::Instant::now(), AtomicU64::new(0));
    let totals = simulate_all(seeds, threads.unwrap_or_else(cores), |report| {
        if let Some(failure) = &report.failure {
            eprintln!("{failure}");
        }
        let done = done.fetch_add(1, Ordering::Relaxed) + 1;
        if done.is_multiple_of(PROGRESS) {
            eprintln!("{done} seeds in {} s", began.elapsed().as_secs());
        }
    });
    let (runs, took) = (totals.runs, began.elapsed().as_secs_f64());
    println!("{}{runs} seeds in {took:.1} s", totals.coverage.table());
    println!("not reached: {:?}", totals.coverage.unreached());
    let failed: Vec<u64> = totals.failures.iter().map(|(seed, _)| *seed).collect();
    if failed.is_empty() {
        return ExitCode::SUCCESS;
    }
    eprintln!("{} seeds failed: {failed:?}", failed.len());
    ExitCode::FAILURE
}
