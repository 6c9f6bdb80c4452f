//! `towline append`: appends entries, durably.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use serde_json::value::RawValue;

use super::Outcome;
use super::client::{Client, Parameters};
use super::drafts::{Batch, Cut, Drafts};
use super::failure::Failure;
use super::input::stdin_is_file;
use super::pipe::{self, AWAY};
use super::place::Global;
use super::receipts::Receipts;
use super::spool::{self, Full, SPOOL_BYTES, Spool};
use crate::words::limits::PAYLOAD_BYTES;
use crate::words::time::parse_duration;

/// How long the peers of --ack may take when nothing is said.
const PATIENCE: Duration = Duration::from_secs(5);

/// Append entries, durably
#[derive(Debug, Args)]
#[command(
    before_help = "\
Examples:
  towline append 'a first entry'
  towline append -t story/42 -k moved --format ndjson '{\"data\":{\"to\":\"coding\"}}'
  journalctl -f | towline append -t journal
  towline append --format cloudevents < events.ndjson
  towline append --key job-7 --ack peers=2 < result.txt",
    after_help = "\
Every entry is on the node's disk before its id is printed, one id a line; -o
json prints receipts {\"id\",\"offset\",\"hash\"}. Lines are sent as soon as the input
pauses, up to 1,000 at once.

A pipe that has reached its node outlives an outage of it, but not with --key or
--ack: lines wait on the disk and are sent once it is back, in order, each once."
)]
pub struct Append {
    #[command(flatten)]
    drafts: Drafts,
    /// Makes a retry harmless: the same key with the same entries appends them once.
    /// Lines are then sent in full batches, as K, K/1, K/2 and so on
    #[arg(long, value_name = "K")]
    key: Option<String>,
    /// Keep lines in this directory, also for a node that is still to be started. What waits there
    /// already is sent first [default: a directory of its own, once the node is away]
    #[arg(long, value_name = "DIR", conflicts_with_all = ["key", "ack"])]
    spool: Option<PathBuf>,
    /// How many bytes of lines are kept; what is beyond is dropped, and an entry spool.gap says how
    /// much. Lines of a file wait instead
    #[arg(long, value_name = "BYTES", default_value_t = SPOOL_BYTES)]
    #[arg(conflicts_with_all = ["key", "ack"])]
    spool_bytes: u64,
    /// Keep no lines: the pipe ends when the node is away
    #[arg(long, conflicts_with_all = ["spool", "spool_bytes"])]
    no_spool: bool,
    /// When an entry counts as appended: on the disk of this node, or of N peers as well
    #[arg(long, value_name = "local|peers=N", default_value = "local")]
    ack: Ack,
    /// How long the peers of --ack may take [default: 5s], or the node may be away once the input
    /// has ended [default: 60s]
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    timeout: Option<Duration>,
}

/// When an entry counts as appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ack {
    Local,
    Peers(usize),
}

impl FromStr for Ack {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let peers = |count: &str| count.parse().ok().map(Self::Peers);
        match text {
            "local" => Some(Self::Local),
            _ => text.strip_prefix("peers=").and_then(peers),
        }
        .ok_or_else(|| "it is local, or peers=N".to_owned())
    }
}

impl fmt::Display for Ack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local => f.write_str("local"),
            Self::Peers(count) => write!(f, "peers={count}"),
        }
    }
}

impl Append {
    pub(super) fn run(self, global: &Global) -> Outcome {
        if let Some(spool) = self.spool()? {
            return pipe::through(spool, self.drafts, self.timeout.unwrap_or(AWAY), global);
        }
        let client = global.node()?;
        let patience = self.timeout.unwrap_or(PATIENCE);
        let parameters = match self.ack {
            Ack::Local => Parameters::new(),
            ack => {
                vec![("ack", ack.to_string()), ("timeout", format!("{}ms", patience.as_millis()))]
            }
        };
        let cut = if self.key.is_some() { Cut::Same } else { Cut::Prompt };
        let mut output = global.output();
        let mut receipts = Receipts::new(&mut output);
        let mut batches = 0_u64;
        let sent = self.drafts.send(PAYLOAD_BYTES, cut, |batch| {
            let key = self.key.as_ref().map(|key| match batches {
                0 => key.clone(),
                _ => format!("{key}/{batches}"),
            });
            batches += 1;
            receipts.print(&post(&client, &parameters, batch, key, patience)?)
        });
        sent.and(receipts.end())
    }

    /// What the entries go through: lines through a spool, unless it would take from them what was
    /// asked for.
    fn spool(&self) -> Result<Option<Spool>, Failure> {
        let full = if stdin_is_file() { Full::Wait } else { Full::Drop };
        if let Some(directory) = &self.spool {
            return Spool::lasting(directory, self.spool_bytes, full).map(Some);
        }
        let is_direct = self.no_spool || self.key.is_some() || self.ack != Ack::Local;
        match spool::home() {
            Some(home) if !is_direct && self.drafts.are_lines() => {
                Spool::passing(&home, self.spool_bytes, full).map(Some)
            }
            _ => Ok(None),
        }
    }
}

fn post(
    client: &Client,
    parameters: &Parameters,
    batch: &Batch,
    key: Option<String>,
    patience: Duration,
) -> Result<Vec<Box<RawValue>>, Failure> {
    client.post("/v1/entries", parameters, &batch.content(key), patience)
}
