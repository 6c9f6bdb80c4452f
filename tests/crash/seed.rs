//! Chance that can be replayed, and how much of it a run takes.

use fastrand::Rng;

/// The seed of a pinned run, so that a change alone decides whether it passes.
const PINNED: u64 = 0x0074_6f77_6c69_6e65;

/// How much is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sweep {
    /// What `cargo test` runs: a spread of cases, the same each time.
    Pinned,
    /// `TOWLINE_SWEEP=full`: every case, and new chance each time.
    Full,
}

pub fn sweep() -> Sweep {
    match std::env::var("TOWLINE_SWEEP").as_deref() {
        Ok("full") => Sweep::Full,
        Ok(other) => panic!("TOWLINE_SWEEP is {other:?}; it can be \"full\""),
        Err(_) => Sweep::Pinned,
    }
}

/// The chance of one test. The seed is printed, and `TOWLINE_SEED` replays it.
pub fn rng() -> Rng {
    let given = std::env::var("TOWLINE_SEED").ok();
    let given = given.map(|text| text.parse().expect("TOWLINE_SEED is a number"));
    let seed = given.unwrap_or_else(|| match sweep() {
        Sweep::Pinned => PINNED,
        Sweep::Full => fastrand::u64(..),
    });
    println!("to replay: TOWLINE_SEED={seed}");
    Rng::with_seed(seed)
}

/// What is being tried, said when it fails.
pub struct Trying(pub String);

impl Drop for Trying {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("failed while trying: {}", self.0);
        }
    }
}

/// Says loudly that something was not tried here: past the harness, which swallows what a test says.
pub fn skip(what: &str) {
    use std::io::Write;
    #[expect(clippy::explicit_write, reason = "cargo test captures what eprintln! prints")]
    writeln!(std::io::stderr(), "\n*** SKIPPED {what} ***").unwrap();
}
