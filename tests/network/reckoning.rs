//! The reckoning after the faults: what was promised is held against what all nodes print.

use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;

use crate::cluster::Cluster;
use crate::load::{Ledger, token};
use crate::merged::{self, Line};
use crate::patience::until_some;
use crate::vitals::{DESCRIPTORS, MEMORY_KIB, Peak};

/// What adds up, and what doesn't.
#[derive(Debug, Default)]
pub struct Reckoning {
    /// Entries on every node.
    pub entries: u64,
    /// How many entries were acknowledged.
    pub acknowledged: usize,
    /// How many of them are there, once, with the content that was sent.
    pub found: usize,
    /// How many events were emitted, recorded, and stated as dropped, over all nodes.
    pub emitted: u64,
    pub recorded: u64,
    pub dropped: u64,
    /// What each node took of the machine at most.
    pub peaks: Vec<Peak>,
    /// Every promise that was broken.
    pub broken: Vec<String>,
}

/// Which emit numbers a gap stands for.
#[derive(Debug, Deserialize)]
struct Gap {
    from: u64,
    to: u64,
    count: u64,
}

/// What one author has in the log.
#[derive(Default)]
struct Share {
    /// How many of its entries are emitted events.
    recorded: u64,
    gaps: Vec<Gap>,
}

/// Waits until all nodes hold the same, and nothing is under way any more; returns their frontier.
///
/// All clients must have ended, and every node must run and be reachable.
pub fn until_equal(cluster: &Cluster) -> String {
    until_some("all nodes hold the same", || {
        let statuses: Option<Vec<_>> = cluster.nodes.iter().map(|n| n.door.status()).collect();
        let at_rest = statuses?.iter().all(|status| status.is_at_rest());
        same_frontier(cluster).filter(|_| at_rest)
    })
}

/// The frontier of all nodes, if they say the same one.
fn same_frontier(cluster: &Cluster) -> Option<String> {
    let frontiers = cluster.nodes.iter().map(|node| node.door.get("/v1/frontier"));
    let frontiers: Vec<String> = frontiers.collect::<Option<_>>()?;
    let first = frontiers[0].clone();
    frontiers.iter().all(|frontier| *frontier == first).then_some(first)
}

/// Waits until all nodes are equal, and asserts that every promise was kept.
#[track_caller]
pub fn assert_kept(cluster: &Cluster, ledger: &Ledger) {
    let reckoning = reckon(cluster, ledger);
    println!("{reckoning:?}");
    assert!(reckoning.broken.is_empty(), "{:#?}", reckoning.broken);
}

/// Waits until all nodes are equal, and holds every promise against what they print.
pub fn reckon(cluster: &Cluster, ledger: &Ledger) -> Reckoning {
    // A request whose client has given up may still be on its way to the log: then print again.
    until_some("the logs stay as they are while they are printed", || {
        let frontier = until_equal(cluster);
        merged::print_all(cluster);
        (same_frontier(cluster)? == frontier).then_some(())
    });
    let mut reckoning = Reckoning::default();
    reckoning.compare(cluster);
    let (tokens, mut shares) = reckoning.read(cluster, ledger);
    for (at, node) in cluster.nodes.iter().enumerate() {
        let share = shares.remove(&node.id).unwrap_or_default();
        reckoning.count_emits(cluster, at, &share);
        reckoning.find_emits(at, ledger, &share, &tokens);
    }
    reckoning.verify(cluster);
    reckoning.weigh(cluster);
    reckoning
}

impl Reckoning {
    fn compare(&mut self, cluster: &Cluster) {
        for other in 1..cluster.nodes.len() {
            let difference = merged::first_difference(cluster, 0, other);
            self.broken.extend(difference.map(|what| format!("n0 and n{other}: {what}")));
        }
    }

    /// Reads the log once: each token with how often it occurs, and the share of each author.
    fn read(
        &mut self,
        cluster: &Cluster,
        ledger: &Ledger,
    ) -> (HashMap<String, usize>, BTreeMap<String, Share>) {
        let mut missing = ledger.appended();
        self.acknowledged = missing.len();
        let mut tokens: HashMap<String, usize> = HashMap::new();
        let mut seqs: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        let mut shares: BTreeMap<String, Share> = BTreeMap::new();
        for Line { id, author, seq, kind, data } in merged::log(cluster, 0) {
            self.entries += 1;
            seqs.entry(author.clone()).or_default().push(seq);
            let share = shares.entry(author).or_default();
            match kind.as_str() {
                "towline.gap" => share.gaps.push(serde_json::from_value(data).unwrap()),
                kind => {
                    share.recorded += u64::from(kind == "reading");
                    let token = token(data.as_str().unwrap()).to_owned();
                    let told = missing.remove(&id);
                    if told.as_ref().is_some_and(|told| *told != token) {
                        self.broken.push(format!("{id} was acknowledged as {told:?}: {token}"));
                    }
                    self.found += usize::from(told == Some(token.clone()));
                    *tokens.entry(token).or_default() += 1;
                }
            }
        }
        let lost = missing.iter().map(|(id, token)| format!("{id} was acknowledged: {token}"));
        self.broken.extend(lost);
        let twice = tokens.iter().filter(|(_, count)| **count > 1);
        self.broken.extend(twice.map(|(token, count)| format!("{token} is there {count} times")));
        for (author, mut seqs) in seqs {
            seqs.sort_unstable();
            let hole = (0..).zip(&seqs).find(|(expected, seq)| expected != *seq);
            self.broken.extend(hole.map(|(seq, _)| format!("{author} has not one entry {seq}")));
        }
        (tokens, shares)
    }

    /// Holds what a node says of its events against what is in its log.
    fn count_emits(&mut self, cluster: &Cluster, at: usize, share: &Share) {
        let node = &cluster.nodes[at];
        let status = node.door.status().unwrap();
        self.emitted += status.emitted;
        self.recorded += status.recorded;
        self.dropped += status.dropped;
        let stated: u64 = share.gaps.iter().map(|gap| gap.count).sum();
        let said = (status.emitted, status.recorded, status.dropped, status.gaps);
        let seen = (share.recorded + stated, share.recorded, stated, share.gaps.len() as u64);
        if said != seen {
            self.broken.push(format!("{} says {said:?}, its log {seen:?}", node.name));
        }
    }

    /// Every event that was acknowledged is recorded once or lies in one gap, and not both.
    fn find_emits(
        &mut self,
        at: usize,
        ledger: &Ledger,
        share: &Share,
        tokens: &HashMap<String, usize>,
    ) {
        let gaps = &share.gaps;
        let overlap = gaps.windows(2).find(|pair| pair[0].to >= pair[1].from);
        self.broken.extend(overlap.map(|pair| format!("gaps of n{at} overlap: {pair:?}")));
        for (number, token) in ledger.emitted(at) {
            let gap = gaps.partition_point(|gap| gap.to < number);
            let stated = usize::from(gaps.get(gap).is_some_and(|gap| gap.from <= number));
            let recorded = tokens.get(&token).copied().unwrap_or_default();
            if stated + recorded != 1 {
                let what = format!("recorded {recorded} times and in {stated} gaps");
                self.broken.push(format!("event {number} of n{at}, {token}, is {what}"));
            }
        }
    }

    fn verify(&mut self, cluster: &Cluster) {
        let verify = |node: &crate::node::Node| node.command(&["verify"]).spawn().unwrap();
        let verifying: Vec<_> = cluster.nodes.iter().map(verify).collect();
        for (node, mut child) in cluster.nodes.iter().zip(verifying) {
            let status = child.wait().unwrap();
            if !status.success() {
                self.broken.push(format!("{} does not verify: {status}", node.name));
            }
        }
    }

    fn weigh(&mut self, cluster: &Cluster) {
        self.peaks = cluster.vitals.peaks();
        for (node, peak) in cluster.nodes.iter().zip(&self.peaks) {
            if peak.memory_kib > MEMORY_KIB || peak.descriptors > DESCRIPTORS {
                self.broken.push(format!("{} took {peak:?}", node.name));
            }
        }
    }
}
