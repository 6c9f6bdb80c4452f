//! `towline append`: appends entries, durably.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::Outcome;
use super::client::{Client, Content, Parameters};
use super::drafts::{Batch, Cut, Drafts};
use super::failure::{Failure, Stop};
use super::output::{Format, Output, not_an_entry};
use super::place::Global;
use super::spool::{Next, SPOOL_BYTES, Spool};
use super::status::counted;
use crate::words::Code;
use crate::words::limits::PAYLOAD_BYTES;
use crate::words::time::parse_duration;

/// How long a node may be away once the input has ended, when nothing is said.
const AWAY: Duration = Duration::from_secs(60);
/// How long lies between two tries to reach it.
const RETRY: Duration = Duration::from_millis(300);
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

#[derive(Deserialize)]
struct Receipt {
    id: String,
}

impl Append {
    pub(super) fn run(self, global: &Global) -> Outcome {
        if let Some(directory) = &self.spool {
            let spool = Spool::open(directory, self.spool_bytes)?;
            return through(Arc::new(spool), self.drafts, self.timeout, global);
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

/// Sends all lines through a spool: one thread reads them, this one sends.
fn through(
    spool: Arc<Spool>,
    drafts: Drafts,
    timeout: Option<Duration>,
    global: &Global,
) -> Outcome {
    let filling = spool.clone();
    let reading = std::thread::spawn(move || {
        let gaps = drafts.clone();
        let push = |batch: &Batch| Ok(filling.push(batch, |count| gaps.gap(count))?);
        let read = drafts.send(PAYLOAD_BYTES, Cut::Prompt, push);
        let finished = filling.finish(|count| gaps.gap(count));
        read.and(finished.map_err(Stop::from))
    });
    let mut output = global.output();
    let mut receipts = Receipts::new(&mut output);
    let sent = drain(&spool, timeout.unwrap_or(AWAY), global, &mut receipts);
    let ended = receipts.end();
    // It may still wait for a line: what can't be sent any more needs none.
    sent?;
    ended?;
    let failed = |_| Failure::new(Code::Io, "stdin can't be read", "its thread ended");
    reading.join().map_err(failed)?
}

/// Sends what is in the spool until nothing more will come, however long the node is away; once
/// nothing comes, it waits so long for the node.
fn drain(
    spool: &Spool,
    patience: Duration,
    global: &Global,
    receipts: &mut Receipts<'_>,
) -> Outcome {
    let mut client: Option<Client> = None;
    let mut alone: Option<Instant> = None;
    loop {
        let record = match spool.next()? {
            Next::Record(record) => record,
            Next::Nothing => {
                spool.wait(RETRY);
                continue;
            }
            Next::Over => return Ok(()),
        };
        let content = Content {
            content_type: "application/x-ndjson",
            body: &record.body,
            key: Some(record.key.clone()),
        };
        let at = match client.take() {
            Some(client) => Ok(client),
            // It may be back at another address.
            None => global.node(),
        };
        let none = Parameters::new();
        let sent =
            at.and_then(|at| Ok((at.post("/v1/entries", &none, &content, Duration::ZERO)?, at)));
        match sent {
            Ok((printed, at)) => {
                let printed: Vec<Box<RawValue>> = printed;
                receipts.print(&printed)?;
                spool.sent(&record)?;
                (client, alone) = (Some(at), None);
            }
            Err(failure) if failure.is_passing() => {
                if alone.is_none() {
                    let path = spool.path().display();
                    global.note(&format!("the node is away: lines wait in {path}"));
                }
                let since = *alone.get_or_insert_with(Instant::now);
                if spool.is_over() && since.elapsed() >= patience {
                    let waiting = counted(spool.waiting(), "entry waits", "entries wait");
                    let path = spool.path().display();
                    return Err(failure
                        .yet(format_args!("{waiting} in {path}"))
                        .hint("the same --spool again, when the node runs: it sends them first")
                        .into());
                }
                std::thread::sleep(RETRY);
            }
            Err(failure) => return Err(failure.into()),
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

/// Prints receipts for as long as somebody reads them: whoever pipes entries in wants them
/// appended, even when nobody looks at the ids any more.
struct Receipts<'o> {
    output: &'o mut Output,
    printed: u64,
    reader_left: bool,
}

impl<'o> Receipts<'o> {
    fn new(output: &'o mut Output) -> Self {
        Self { output, printed: 0, reader_left: false }
    }

    fn print(&mut self, receipts: &[Box<RawValue>]) -> Outcome {
        self.unless_reader_left(|this| {
            for receipt in receipts {
                this.write(receipt)?;
                this.printed += 1;
            }
            this.output.flush()
        })
    }

    fn write(&mut self, receipt: &RawValue) -> Outcome {
        match self.output.format {
            Format::Text => {
                let receipt: Receipt = serde_json::from_str(receipt.get()).map_err(not_an_entry)?;
                self.output.line(receipt.id)
            }
            Format::Ndjson | Format::Cloudevents => self.output.line(receipt),
            Format::Json => {
                let before: &[u8] = if self.printed == 0 { b"[" } else { b",\n" };
                self.output.bytes(before)?;
                self.output.bytes(receipt.get().as_bytes())
            }
        }
    }

    /// Closes the array of -o json.
    fn end(&mut self) -> Outcome {
        self.unless_reader_left(|this| {
            if this.output.format == Format::Json && this.printed > 0 {
                this.output.line("]")?;
            }
            this.output.flush()
        })
    }

    fn unless_reader_left(&mut self, write: impl FnOnce(&mut Self) -> Outcome) -> Outcome {
        if self.reader_left {
            return Ok(());
        }
        match write(self) {
            Err(Stop::ReaderLeft) => {
                self.reader_left = true;
                Ok(())
            }
            written => written,
        }
    }
}
