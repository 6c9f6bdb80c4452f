//! `towline demo`: a real cluster in one process, and what it survives.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use sha2::{Digest, Sha256};

use super::Outcome;
use super::failure::{Failure, Stop};
use super::output::Output;
use super::place::Global;
use crate::node::verify::verify;
use crate::node::{Query, Status};
use crate::words::{Code, Draft};

mod cluster;
mod input;
mod wires;

use cluster::{Cluster, NODES_MOST};
use input::Input;

/// How many entries each side writes while a node is cut off.
const APART: usize = 200;
/// How many events the burst has that overruns the ring.
const BURST: usize = 5_000;
/// How many bursts are tried until the recorder lags; one is enough as a rule.
const BURSTS: usize = 20;
/// How often each node says how its host is, when the demo goes on.
const PACE: Duration = Duration::from_secs(1);

/// Run a real cluster on loopback, and watch it work
#[derive(Debug, Args)]
#[command(before_help = "\
Examples:
  towline demo                         three nodes, until Ctrl-C
  towline demo --chaos                 cut one off, force a gap, restart, heal
  towline demo --chaos --once          then end: exit 0 only if all adds up
  towline demo --once --input app.log  a real log, dealt out and merged again")]
pub struct Demo {
    /// How many nodes
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(2..=i64::from(NODES_MOST)))]
    nodes: u8,
    /// Cut a node off, write on both sides, force a gap, restart a node, and heal
    #[arg(long)]
    chaos: bool,
    /// End after the scenario
    #[arg(long)]
    once: bool,
    /// Files whose lines are dealt out to the nodes [default: stdin, or what this host says of itself]
    #[arg(long, value_name = "FILE", num_args = 1..)]
    input: Vec<PathBuf>,
}

impl Demo {
    /// Runs the demo.
    ///
    /// # Errors
    /// A node fails, or something does not add up.
    pub fn run(self, global: &Global) -> Outcome {
        let runtime = super::process::runtime()?;
        // Without --data the demo leaves nothing behind.
        let (data, temporary) = match global.named_data() {
            Some(data) => (data, None),
            None => {
                let place =
                    std::env::temp_dir().join(format!("towline-demo-{}", std::process::id()));
                (place.clone(), Some(Leftover(place)))
            }
        };
        let input = Input::read(&self.input)?;
        let shown = runtime.block_on(self.show(&data, &input, global));
        drop(temporary);
        shown
    }

    async fn show(&self, data: &Path, input: &Input, global: &Global) -> Outcome {
        let mut stage = Stage {
            out: global.output(),
            began: Instant::now(),
            cluster: Cluster::start(data, self.nodes).await?,
            appended: 0,
        };
        stage.introduce()?;
        stage.cluster.connected().await?;
        stage.say("every node is connected with every other")?;
        stage.write_input(input).await?;
        if self.chaos {
            stage.chaos().await?;
        }
        stage.settle().await?;
        if !self.once {
            stage.go_on(data).await?;
        }
        stage.cluster.end().await.map_err(Stop::from)
    }
}

/// A directory that is removed when the demo ends, however it ends.
struct Leftover(PathBuf);

impl Drop for Leftover {
    fn drop(&mut self) {
        // What can't be removed stays in the system's directory for temporary files.
        drop(std::fs::remove_dir_all(&self.0));
    }
}

/// The scenario on its way.
struct Stage {
    out: Output,
    began: Instant,
    cluster: Cluster,
    /// How many entries were acknowledged, on all nodes.
    appended: u64,
}

impl Stage {
    fn say(&mut self, what: impl std::fmt::Display) -> Result<(), Stop> {
        let at = self.began.elapsed().as_secs_f64();
        self.out.line(format_args!("{at:7.2} s  {what}"))?;
        self.out.flush()
    }

    fn introduce(&mut self) -> Result<(), Stop> {
        for member in &self.cluster.members {
            let (name, id) = (member.name, member.node.id().short());
            self.out.line(format_args!("{name:<9} {id}  http://{}", member.http))?;
        }
        self.out.line("")?;
        self.out.flush()
    }

    async fn write_input(&mut self, input: &Input) -> Outcome {
        let nodes = self.cluster.members.len();
        let shares = if input.is_empty() {
            let observe = |name| (0..20).map(|_| input::observation(name)).collect();
            let shares: Result<Vec<Vec<Draft>>, _> =
                self.cluster.members.iter().map(|member| observe(member.name)).collect();
            shares
        } else {
            input.deal(nodes)
        };
        let shares =
            shares.map_err(|e| Failure::new(Code::TooLarge, "a line can't be an entry", e))?;
        for (at, share) in shares.into_iter().enumerate() {
            for group in share.chunks(1_000) {
                self.append(at, group.to_vec()).await?;
            }
        }
        let appended = self.appended;
        self.say(format_args!("{appended} entries appended, dealt out to {nodes} nodes"))?;
        self.cluster.equal().await?;
        self.say("every node holds all of them")
    }

    async fn append(&mut self, at: usize, drafts: Vec<Draft>) -> Result<(), Failure> {
        let receipts = self.cluster.members[at].node.append_all(drafts).await;
        let receipts = receipts
            .map_err(|e| Failure::new(Code::Poisoned, "an append of the demo failed", e))?;
        self.appended += receipts.len() as u64;
        Ok(())
    }

    async fn chaos(&mut self) -> Outcome {
        let away = self.cluster.members.len() - 1;
        let name = self.cluster.members[away].name;
        self.cluster.members[away].wire.cut();
        self.say(format_args!("{name} is cut off: not a datagram passes"))?;
        for n in 0..APART {
            for at in [0, away] {
                let name = self.cluster.members[at].name;
                let draft = Draft::text("chaos", "chaos.note", format!("{name} writes alone, {n}"));
                let draft =
                    draft.map_err(|e| Failure::new(Code::Name, "a draft of the demo", e))?;
                self.append(at, vec![draft]).await?;
            }
        }
        self.say(format_args!("both sides went on: {APART} entries on each, acknowledged"))?;
        self.force_gap().await?;
        let restarted = self.cluster.members[1].name;
        self.cluster.members[1].restart().await?;
        self.say(format_args!("{restarted} was restarted, and replays from disk"))?;
        self.cluster.members[away].wire.heal();
        self.say(format_args!("{name} is connected again"))?;
        self.cluster.equal().await?;
        self.say("every node holds everything again")
    }

    /// Emits bursts that overrun the first node's ring until the recorder has to drop some.
    async fn force_gap(&mut self) -> Outcome {
        let node = self.cluster.members[0].node.clone();
        for burst in 0..BURSTS {
            let event =
                |n| Draft::text("chaos", "chaos.burst", format!("burst {burst}, event {n}"));
            let events: Result<Vec<Draft>, _> = (0..BURST).map(event).collect();
            let events = events.map_err(|e| Failure::new(Code::Name, "a draft of the demo", e))?;
            let emitted = node.emit_all(events);
            emitted
                .map_err(|e| Failure::new(Code::EmitRefused, "an emit of the demo failed", e))?;
            let status = self.recorded(&node).await?;
            if status.gaps > 0 {
                let Status { emitted, recorded, dropped, gaps, .. } = status;
                let name = self.cluster.members[0].name;
                return self.say(format_args!(
                    "{name} emitted {emitted} events in a burst: {recorded} recorded + {dropped} \
                     dropped, stated in {gaps} gap(s)"
                ));
            }
        }
        let why = format_args!("the recorder kept up with {BURSTS} bursts of {BURST} events");
        Err(Failure::new(Code::Timeout, "no gap could be forced", why).into())
    }

    async fn recorded(&self, node: &crate::node::Node) -> Result<Status, Failure> {
        loop {
            let status = node.status().await;
            let status = status.map_err(|e| Failure::store("a node of the demo failed", &e))?;
            if status.emitted == status.recorded + status.dropped {
                return Ok(status);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Checks that everything adds up: equal frontiers, equal merged logs, every store verifies,
    /// and every entry is one that was acknowledged, recorded, or a gap.
    async fn settle(&mut self) -> Outcome {
        self.cluster.equal().await?;
        let statuses = self.cluster.statuses().await?;
        let recorded: u64 = statuses.iter().map(|s| s.recorded + s.gaps).sum();
        let expected = self.appended + recorded;
        let wrong =
            |what: &str, why: String| Err(Failure::new(Code::Verification, what, why).into());
        for status in &statuses {
            if status.entries != expected {
                let why = format!("{} holds {}, expected {expected}", status.name, status.entries);
                return wrong("the entries don't add up", why);
            }
        }
        let mut logs = Vec::new();
        for member in &self.cluster.members {
            let verified = member.node.read(|reader| Ok(verify(reader, |_, _| {}))).await;
            let verified = verified.map_err(|e| Failure::store("a store can't be read", &e))?;
            verified.map_err(|e| Failure::verification(&member.directory, &e))?;
            logs.push(merged_digest(&member.node).await?);
        }
        if logs.iter().any(|log| *log != logs[0]) {
            return wrong("the merged logs differ", "entry by entry".into());
        }
        let nodes = statuses.len();
        self.say(format_args!("frontiers are equal: {}", &statuses[0].frontier[..16]))?;
        self.say(format_args!(
            "{nodes} merged logs are equal, {expected} entries each, line by line"
        ))?;
        self.say(format_args!("{nodes} stores verified: every signature, chain, seq and encoding"))
    }

    async fn go_on(&mut self, data: &Path) -> Outcome {
        let first = &self.cluster.members[0];
        let at = data.join(first.name).display().to_string();
        let lines = [
            String::new(),
            format!("Look at it:   http://{}", first.http),
            format!("Follow it:    towline --data {at} tail -f"),
            format!("Add to it:    towline --data {at} append 'hello from me'"),
            format!("Ask it:       towline --data {at} nodes"),
            "Every node says once a second how this host is. Ctrl-C ends the demo.".to_owned(),
        ];
        for line in lines {
            self.out.line(line)?;
        }
        self.out.flush()?;
        let mut told = super::process::Told::listen()?;
        loop {
            tokio::select! {
                () = told.wait() => return Ok(()),
                () = tokio::time::sleep(PACE) => {}
            }
            for at in 0..self.cluster.members.len() {
                let observed = input::observation(self.cluster.members[at].name);
                let observed = observed.map_err(|e| Failure::new(Code::Name, "a draft", e))?;
                self.append(at, vec![observed]).await?;
            }
        }
    }
}

/// A digest of all that the merged log of a node says, in its order.
async fn merged_digest(node: &crate::node::Node) -> Result<[u8; 32], Failure> {
    let mut digest = Sha256::new();
    let mut query = Query::merged().limit(10_000);
    loop {
        let page = node.query(query.clone()).await.map_err(|e| Failure::query(&e))?;
        for entry in &page.entries {
            digest.update(entry.id().to_string());
            digest.update(entry.body.encode(entry.time));
        }
        match page.next {
            Some(next) => query = query.after(next),
            None => return Ok(digest.finalize().into()),
        }
    }
}
