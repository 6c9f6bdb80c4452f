//! A long run: random faults, one round after the other, on five nodes under load that never
//! pauses but to be reckoned with. `scripts/soak` starts it.
//!
//! The seed fixes which faults come, in which order, how they overlap and how long they last. What
//! the machine makes of it differs from run to run.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::cluster::Cluster;
use crate::faults::{Count, Fault};
use crate::load::{Ledger, Load, Pace};
use crate::patience::until;
use crate::reckoning::{Reckoning, reckon};

const NODES: usize = 5;
/// How long the faults of a round last at most. A connection is given up after 30 s of silence.
const ROUND: Duration = Duration::from_secs(60);
/// A run is reckoned so often, and at its end.
const RECKONINGS: u32 = 3;
/// All that a run may write, however long it is: the clients of longer ones are slower.
const PACED_FOR: Duration = Duration::from_secs(20 * 60);

#[test]
#[ignore = "runs for SOAK_MINUTES, with SOAK_SEED if it is set"]
fn whatever_befalls_five_nodes_they_keep_their_promises() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let minutes = number("SOAK_MINUTES").unwrap_or(1);
    let seed = number("SOAK_SEED").unwrap_or_else(|| fastrand::u64(..));
    println!("SOAK_SEED={seed} SOAK_MINUTES={minutes}");
    let mut soak = Soak::begin(seed, Duration::from_secs(60 * minutes));
    let run = catch_unwind(AssertUnwindSafe(|| soak.run()));
    soak.print(seed, minutes, run.is_ok());
    assert!(run.is_ok() && soak.last.broken.is_empty());
}

struct Soak {
    cluster: Cluster,
    ledger: Arc<Ledger>,
    load: Option<Load>,
    pace: Pace,
    time: Duration,
    began: Instant,
    rounds: usize,
    count: Count,
    /// How long after each round every node had what any node had at its end.
    healed: Vec<Duration>,
    last: Reckoning,
}

impl Soak {
    fn begin(seed: u64, time: Duration) -> Self {
        let mut cluster = Cluster::with_seed(NODES, seed);
        cluster.start_all();
        cluster.until_connected();
        let longer = time.max(PACED_FOR).as_secs_f64() / PACED_FOR.as_secs_f64();
        Self {
            cluster,
            ledger: Arc::default(),
            load: None,
            pace: Pace::STEADY.slowed(longer),
            time,
            began: Instant::now(),
            rounds: 0,
            count: Count::default(),
            healed: Vec::new(),
            last: Reckoning::default(),
        }
    }

    fn run(&mut self) {
        for part in 1..=RECKONINGS {
            self.load = Some(Load::start(&mut self.cluster, &self.ledger, self.pace));
            while self.began.elapsed() < self.time * part / RECKONINGS {
                self.round();
            }
            self.load.take().expect("it was just started").end();
            self.last = reckon(&self.cluster, &self.ledger);
            self.say(&format!("reckoned: {} entries, all equal", self.last.entries));
            if !self.last.broken.is_empty() {
                return;
            }
        }
        for node in 0..NODES {
            self.cluster.terminate(node);
        }
    }

    /// Some faults begin, one after the other, last together for a while, and are lifted in
    /// another order.
    fn round(&mut self) {
        self.rounds += 1;
        let mut faults: Vec<Fault> = Vec::new();
        for _ in 0..self.cluster.random.usize(1..=4) {
            let fault = Fault::any(NODES, &mut self.cluster.random);
            let stopped = |other: &Fault| other.stops() == fault.stops();
            if fault.stops().is_some() && faults.iter().any(stopped) {
                continue; // the process is stopped already
            }
            self.say(&fault.to_string());
            self.count.add(fault);
            fault.begin(&mut self.cluster);
            faults.push(fault);
            self.last_for(Duration::from_secs(2));
        }
        self.last_for(ROUND);
        self.cluster.random.shuffle(&mut faults);
        for fault in faults {
            fault.lift(&mut self.cluster);
        }
        self.heal();
    }

    /// Lets time pass, up to so much of it, and mostly far less.
    fn last_for(&mut self, most: Duration) {
        let share = self.cluster.random.f64();
        std::thread::sleep(most.mul_f64(share * share));
    }

    /// Waits until every node has what any node has now, while the clients go on.
    fn heal(&mut self) {
        let lifted = Instant::now();
        let mut wanted = BTreeMap::new();
        for node in 0..NODES {
            for (author, next) in self.held(node).expect("every node answers") {
                let most: &mut u64 = wanted.entry(author).or_default();
                *most = next.max(*most);
            }
        }
        until("every node has what any had when the faults were lifted", || {
            (0..NODES).all(|node| {
                let held = self.held(node).unwrap_or_default();
                wanted.iter().all(|(author, next)| held.get(author) >= Some(next))
            })
        });
        self.healed.push(lifted.elapsed());
        self.say(&format!("healed after {:.1} s", lifted.elapsed().as_secs_f64()));
    }

    /// How far a node holds each author.
    fn held(&self, node: usize) -> Option<BTreeMap<String, u64>> {
        let said: Value =
            serde_json::from_str(&self.cluster.nodes[node].door.get("/v1/frontier")?).ok()?;
        let next =
            |heads: &Value| heads.as_array()?.iter().filter_map(|h| h["next_seq"].as_u64()).max();
        let authors = said["authors"].as_object()?.iter();
        Some(authors.filter_map(|(author, heads)| Some((author.clone(), next(heads)?))).collect())
    }

    fn say(&self, what: &str) {
        println!("{:7.1} s  {what}", self.began.elapsed().as_secs_f64());
    }

    fn print(&self, seed: u64, minutes: u64, ran: bool) {
        let Reckoning { entries, acknowledged, found, emitted, recorded, dropped, .. } = self.last;
        let Count { kills, ends, holds, partitions, storms } = self.count;
        let peaks = self.cluster.vitals.peaks();
        let memory: Vec<u64> = peaks.iter().map(|peak| peak.memory_kib >> 10).collect();
        let descriptors: Vec<usize> = peaks.iter().map(|peak| peak.descriptors).collect();
        let longest = self.healed.iter().max().copied().unwrap_or_default();
        let mean = self.healed.iter().sum::<Duration>() / self.healed.len().max(1) as u32;
        let kept = ran && self.last.broken.is_empty();
        let rows = [
            ("seed", seed.to_string()),
            ("minutes", minutes.to_string()),
            ("rounds", self.rounds.to_string()),
            (
                "faults",
                format!(
                    "{kills} kills, {ends} ends, {holds} holds, {partitions} partitions, {storms} storms"
                ),
            ),
            (
                "healing",
                format!(
                    "{:.1} s on average, {:.1} s at most",
                    mean.as_secs_f64(),
                    longest.as_secs_f64()
                ),
            ),
            ("entries", format!("{entries} on each node")),
            (
                "acknowledged",
                format!("{acknowledged}, of which {found} found, {} lost", acknowledged - found),
            ),
            ("emitted", format!("{emitted} = {recorded} recorded + {dropped} dropped")),
            ("memory", format!("{memory:?} MiB at most")),
            ("descriptors", format!("{descriptors:?} at most")),
            ("verdict", if kept { "kept".to_owned() } else { "BROKEN".to_owned() }),
        ];
        println!();
        for (name, value) in rows {
            println!("{name:<13} {value}");
        }
        for broken in &self.last.broken {
            println!("              {broken}");
        }
    }
}
