//! `towline append`: appends entries, durably.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use serde_json::value::RawValue;

use super::client::{Client, Parameters};
use super::drafts::{Batch, Cut, Drafts};
use super::failure::Failure;
use super::place::Global;
use super::receipts::Receipts;
use super::spool::{SPOOL_BYTES, Spool};
use super::{Outcome, pipe};
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
  journalctl -f | towline append -t journal --spool ~/.cache/towline-journal
  towline append --format cloudevents < events.ndjson
  towline append --key job-7 --ack peers=2 < result.txt",
    after_help = "\
Every entry is on the node's disk before its id is printed, one id a line; -o
json prints receipts {\"id\",\"offset\",\"hash\"}. Lines are sent as soon as the input
pauses, up to 1,000 at once."
)]
pub struct Append {
    #[command(flatten)]
    drafts: Drafts,
    /// Makes a retry harmless: the same key with the same entries appends them once.
    /// Lines are then sent in full batches, as K, K/1, K/2 and so on
    #[arg(long, value_name = "K")]
    key: Option<String>,
    /// Keep lines in this directory while the node is away, and send them when it is back
    #[arg(long, value_name = "DIR", conflicts_with_all = ["key", "ack"])]
    spool: Option<PathBuf>,
    /// How many bytes --spool keeps; what is beyond is dropped, and an entry spool.gap says how much
    #[arg(long, value_name = "BYTES", default_value_t = SPOOL_BYTES, requires = "spool")]
    spool_bytes: u64,
    /// When an entry counts as appended: on the disk of this node, or of N peers as well
    #[arg(long, value_name = "local|peers=N", default_value = "local")]
    ack: Ack,
    /// How long the peers of --ack may take [default: 5s]
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
        if let Some(directory) = &self.spool {
            let spool = Spool::open(directory, self.spool_bytes)?;
            return pipe::through(Arc::new(spool), self.drafts, self.timeout, global);
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
            let posted = post(&client, &parameters, batch, key, patience);
            receipts.print(&posted.map_err(|failure| {
                match failure.is_passing() && batches > 1 {
                    true => failure.hint("--spool DIR, in which lines wait while the node is away"),
                    false => failure,
                }
            })?)
        });
        sent.and(receipts.end())
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
