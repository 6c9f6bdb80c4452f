//! Running a test in many schedules.

use std::sync::Arc;

use shuttle::scheduler::{PctScheduler, RandomScheduler, ReplayScheduler};
use shuttle::{Config, Runner};

/// How many schedules of each kind a test is run in, unless the environment says otherwise.
const SCHEDULES: usize = 500;
/// How often the schedules of probabilistic concurrency testing change a priority.
const CHANGES_OF_PRIORITY: usize = 3;
/// Signing and hashing need more than shuttle's 60 KiB.
const STACK_BYTES: usize = 512 << 10;

/// Runs a test in many schedules; see [`super`] for how to repeat one.
pub fn in_every_schedule(test: impl Fn() + Send + Sync + 'static) {
    in_schedules(SCHEDULES, test);
}

/// Runs a test in so many schedules of each kind.
pub fn in_schedules(count: usize, test: impl Fn() + Send + Sync + 'static) {
    let variable = |name| std::env::var(name).ok();
    let test = Arc::new(test);
    let again = test.clone();
    if let Some(schedule) = variable("TOWLINE_SCHEDULE") {
        let scheduler = ReplayScheduler::new_from_encoded(&schedule);
        Runner::new(scheduler, config()).run(move || test());
        return;
    }
    let count = variable("TOWLINE_SCHEDULES").map_or(count, |n| n.parse().expect("a number"));
    let seed = variable("SHUTTLE_RANDOM_SEED").map_or_else(seed, |n| n.parse().expect("a number"));
    println!("SHUTTLE_RANDOM_SEED={seed}");
    let random = RandomScheduler::new_from_seed(seed, count);
    Runner::new(random, config()).run(move || test());
    let by_priority = PctScheduler::new_from_seed(seed, CHANGES_OF_PRIORITY, count);
    Runner::new(by_priority, config()).run(move || again());
}

fn seed() -> u64 {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).expect("random bytes");
    u64::from_be_bytes(bytes)
}

fn config() -> Config {
    let mut config = Config::new();
    config.stack_size = STACK_BYTES;
    config.silence_warnings = true;
    config
}
