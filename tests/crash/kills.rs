//! The real program is killed at an exact call to the system, or that call fails: what it had
//! acknowledged is there. `strace` does both.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread::scope;

use fastrand::Rng;
use tempfile::TempDir;

use crate::noise::noise;
use crate::process::{Client, Ended, Process, Refused, program, under};
use crate::seed::{Sweep, Trying, rng, skip, sweep};
use crate::told::Told;

/// The sync that SQLite uses depends on how it was built; the counts are one for each.
const SYNC: &str = "fsync,fdatasync";
const WRITE: &str = "pwrite64";
/// What files are written by that are not the store's: its key, its cluster, its address.
const PLAIN_WRITE: &str = "write";
/// Every call is killed at, up to this one.
const CALLS: usize = 40;

/// A data directory, and what its node acknowledged.
struct Home {
    directory: TempDir,
    told: Told,
    tried: usize,
    /// How many entries may be in the store though nobody was told: those of the requests that
    /// a life's end cut off.
    cut_off: usize,
}

impl Home {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self { directory, told: Told::default(), tried: 0, cut_off: 0 }
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    fn start(&self, command: Command) -> Result<Process, Ended> {
        Process::start(command, &self.data(), &self.data())
    }

    /// A node that runs with nothing in its way.
    #[track_caller]
    fn start_well(&self) -> Process {
        self.start(program()).unwrap_or_else(|ended| panic!("the node ended: {ended:?}"))
    }

    /// Appends so many requests of one to three entries, until one is refused.
    fn append(&mut self, client: &Client, requests: usize) -> Option<Refused> {
        (0..requests).find_map(|_| {
            let count = self.tried % 3 + 1;
            let text = |n| format!("{n} {}", "x".repeat(n % 7 * 300));
            let texts: Vec<String> = (self.tried..self.tried + count).map(text).collect();
            self.tried += count;
            match client.append(&texts) {
                Ok(ids) => {
                    ids.into_iter().zip(texts).for_each(|(id, text)| self.told.add(id, text));
                    None
                }
                Err(refused) => {
                    self.cut_off += count;
                    Some(refused)
                }
            }
        })
    }

    /// The store holds what was acknowledged, and its node goes on from there.
    #[track_caller]
    fn assert_goes_on(&mut self) {
        if self.told.count() > 0 {
            self.told.assert_kept_in(&self.data(), self.cut_off);
        }
        let process = self.start_well();
        assert!(self.append(process.client(), 1).is_none());
        let ended = process.terminate();
        assert!(ended.status.success(), "{ended:?}");
        self.told.assert_kept_in(&self.data(), self.cut_off);
    }
}

/// The program under `strace`, which does something at a certain call of one thread. strace is
/// nobody's parent, so that what becomes of the program is seen as it is. (`--seccomp-bpf` would be
/// faster, but in strace 6.1 it injects at the first call only.)
fn injected(calls: &str, what: &str, when: usize) -> Command {
    let trace = format!("trace={calls}");
    let inject = format!("inject={calls}:{what}:when={when}");
    let quietly = ["-D", "-f", "-qq", "-o", "/dev/null"];
    under("strace", &[&quietly[..], &["-e", &trace, "-e", &inject]].concat())
}

/// Whether this machine lets us trace.
fn can_trace() -> bool {
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=fsync", "true"]);
    let traced = strace.stdout(Stdio::null()).stderr(Stdio::null()).status();
    let can = traced.is_ok_and(|status| status.success());
    if !can {
        skip("kills at exact calls: strace is missing, or ptrace is not permitted");
    }
    can
}

/// Which calls to try: all in a full sweep, a spread of them otherwise.
fn spread() -> Vec<usize> {
    match sweep() {
        Sweep::Full => (1..=CALLS).collect(),
        Sweep::Pinned => vec![1, 2, 3, 5, 8, 13, 17, 22, 30, CALLS],
    }
}

/// A node that was made before is killed at its k-th such call, and started again.
fn killed_while_appending(calls: &str) {
    if !can_trace() {
        return;
    }
    for when in spread() {
        let _trying = Trying(format!("a kill at call {when} of {calls}"));
        let mut home = Home::new();
        let process = home.start_well();
        assert!(home.append(process.client(), 1).is_none());
        assert!(process.terminate().status.success());
        let ended = match home.start(injected(calls, "signal=KILL", when)) {
            Ok(process) => {
                let refused = home.append(process.client(), 2 * CALLS);
                assert!(matches!(refused, Some(Refused::Silence)), "{refused:?}");
                process.wait()
            }
            Err(ended) => ended,
        };
        assert!(ended.was_killed(), "{ended:?}");
        home.assert_goes_on();
    }
}

#[test]
fn a_node_that_is_killed_at_a_sync_loses_nothing() {
    killed_while_appending(SYNC);
}

#[test]
fn a_node_that_is_killed_at_a_write_loses_nothing() {
    killed_while_appending(WRITE);
}

#[test]
fn a_node_that_is_killed_while_it_is_made_is_made_by_the_next_start() {
    if !can_trace() {
        return;
    }
    for calls in [SYNC, WRITE, PLAIN_WRITE] {
        let mut killed = 0;
        for when in spread() {
            let _trying = Trying(format!("a kill at call {when} of {calls} in the making"));
            let mut home = Home::new();
            match home.start(injected(calls, "signal=KILL", when)) {
                Ok(process) => drop(process.kill()), // it needed fewer calls than that
                Err(ended) => {
                    assert!(ended.was_killed(), "{ended:?}");
                    killed += 1;
                }
            }
            home.assert_goes_on();
        }
        assert!(killed > 2, "{killed} kills by {calls}");
    }
}

#[test]
fn a_node_whose_call_fails_says_so_and_loses_nothing() {
    if !can_trace() {
        return;
    }
    let spread = spread();
    for (calls, error) in [(SYNC, "EIO"), (WRITE, "EIO"), (WRITE, "ENOSPC")] {
        for when in spread.iter().skip(2).step_by(if sweep() == Sweep::Full { 1 } else { 3 }) {
            let _trying = Trying(format!("{error} at call {when} of {calls}"));
            let mut home = Home::new();
            let process = home.start_well();
            assert!(home.append(process.client(), 1).is_none());
            assert!(process.terminate().status.success());
            match home.start(injected(calls, &format!("error={error}"), *when)) {
                Ok(process) => {
                    let refused = home.append(process.client(), 2 * CALLS);
                    assert!(matches!(refused, Some(Refused::Problem(_))), "{refused:?}");
                    let (status, page) = process.client().get("/v1/entries?limit=10000").unwrap();
                    let shown = page["entries"].as_array().unwrap();
                    assert_eq!(status, 200);
                    // A write that fails may be the tip's: what it remembers is on disk already, one
                    // change with what a caller gave at once.
                    let unsaid = &shown[home.told.count()..];
                    let of_one_change = unsaid.iter().all(|it| it["change"] == unsaid[0]["change"]);
                    let may_be_unsaid = calls == WRITE && of_one_change;
                    assert!(unsaid.is_empty() || may_be_unsaid, "{unsaid:?}");
                    process.terminate().assert_no_panic();
                }
                Err(ended) => ended.assert_no_panic(),
            }
            home.assert_goes_on();
        }
    }
}

/// Four clients append large entries at once, until one of them has so many receipts, and then the
/// node is killed.
fn killed_under_load(home: &mut Home, receipts: usize) {
    let process = home.start_well();
    let client = process.client().clone();
    let told = std::sync::Mutex::new(std::mem::take(&mut home.told));
    let life = home.tried;
    scope(|scope| {
        for writer in 0..4 {
            let (client, told) = (client.clone(), &told);
            scope.spawn(move || {
                for n in 0.. {
                    let text = format!("{life}/{writer}/{n} {}", noise(n, 20_000));
                    match client.append(std::slice::from_ref(&text)) {
                        Ok(ids) => told.lock().unwrap().add(ids[0], text),
                        Err(_) => return,
                    }
                }
            });
        }
        while told.lock().unwrap().count() < receipts {
            std::thread::yield_now();
        }
        process.kill().assert_no_panic();
    });
    home.told = told.into_inner().unwrap();
    home.cut_off += 4;
    home.tried += 1;
}

#[test]
fn a_node_that_is_killed_under_load_again_and_again_loses_nothing() {
    let mut rng: Rng = rng();
    let mut home = Home::new();
    let lives = if sweep() == Sweep::Full { 20 } else { 4 };
    for _ in 0..lives {
        let more = rng.usize(1..400);
        let _trying = Trying(format!("a kill after {more} receipts more"));
        let receipts = home.told.count() + more;
        killed_under_load(&mut home, receipts);
        home.told.assert_kept_in(&home.data(), home.cut_off);
    }
    home.assert_goes_on();
}
