//! Running seeds, and saying what came of them.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::coverage::Coverage;
use super::promise::{Broken, Promise};
use super::story::{Story, Telling};
use super::world::World;

/// What came of one seed.
pub struct Report {
    /// The hash of all that happened.
    pub trace: u64,
    /// What was reached.
    pub coverage: Coverage,
    /// What a failure has to tell.
    pub failure: Option<String>,
}

/// Runs one seed.
pub fn simulate(seed: u64, telling: Telling) -> Report {
    let mut world = World::new(seed, Story::new(telling));
    let ran = catch_unwind(AssertUnwindSafe(|| world.run()));
    let broken = match ran {
        Ok(Ok(())) => None,
        Ok(Err(broken)) => Some(broken),
        Err(panic) => Some(Broken { promise: Promise::NoPanic, what: words(&*panic) }),
    };
    let stage = &world.stage;
    let failure = broken.map(|broken| {
        format!(
            "seed {seed} breaks {broken}\n\nscenario: {:#?}\n\nthe last happenings:\n{}\nreplay: \
             cargo run --release --example towline-sim -- --verbose {seed}\n",
            stage.scenario,
            stage.story.end(),
        )
    });
    let (trace, coverage) = (stage.story.hash(), stage.coverage.clone());
    Report { trace, coverage, failure }
}

fn words(panic: &(dyn Any + Send)) -> String {
    let said = panic.downcast_ref::<String>().map(String::as_str);
    said.or(panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without words").to_owned()
}

/// What came of many seeds.
#[derive(Default)]
pub struct Totals {
    /// How many ran.
    pub runs: u64,
    /// What they reached together.
    pub coverage: Coverage,
    /// The failures, by seed.
    pub failures: Vec<(u64, String)>,
}

/// Runs seeds on so many threads, each seed on one of them. `told` hears of each report.
pub fn simulate_all(
    seeds: std::ops::Range<u64>,
    threads: usize,
    told: impl Fn(&Report) + Sync,
) -> Totals {
    let next = AtomicU64::new(seeds.start);
    let totals = Mutex::new(Totals::default());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    let report = simulate(seed, Telling::Quiet);
                    told(&report);
                    let mut totals = totals.lock().expect("no thread panics with the totals");
                    totals.runs += 1;
                    totals.coverage.merge(&report.coverage);
                    totals.failures.extend(report.failure.map(|failure| (seed, failure)));
                }
            });
        }
    });
    totals.into_inner().expect("no thread panics with the totals")
}
