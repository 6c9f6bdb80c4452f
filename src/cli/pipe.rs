//! A pipe that outlives its node: one thread reads the lines, one sends them, and between them stands
//! a spool.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use serde_json::value::RawValue;

use super::Outcome;
use super::client::{Client, Content, Parameters};
use super::drafts::{Batch, Cut, Drafts, after};
use super::failure::{Failure, Stop};
use super::place::Global;
use super::receipts::Receipts;
use super::spool::{Next, Record, Spool};
use super::status::counted;
use crate::words::Code;
use crate::words::limits::PAYLOAD_BYTES;

/// How long a node may be away once the input has ended, when nothing is said.
pub const AWAY: Duration = Duration::from_secs(60);
/// How long lies between two tries to reach it.
const RETRY: Duration = Duration::from_millis(300);

/// Sends all lines through a spool. Once the input has ended, the node may be away for so long.
///
/// # Errors
/// A line is no entry; the node was not there at the beginning, refuses or stays away; the spool can't
/// be used. What waits in the spool then is said.
pub fn through(spool: Spool, drafts: Drafts, patience: Duration, global: &Global) -> Outcome {
    let spool = Arc::new(spool);
    let had_left = spool.left() > 0;
    let mut output = global.output();
    let mut sending = Sending {
        spool: &spool,
        global,
        patience,
        receipts: Receipts::new(&mut output),
        client: if spool.is_lasting() { None } else { Some(global.node()?) },
        sent: 0,
        is_away: false,
        ended: None,
    };
    let filling = spool.clone();
    let reading = std::thread::spawn(move || {
        let gaps = drafts.clone();
        let push = |batch: &Batch| Ok(filling.push(batch, |count| gaps.gap(count))?);
        let read = drafts.send(PAYLOAD_BYTES, Cut::Prompt, push);
        let finished = filling.finish(|count| gaps.gap(count));
        read.and(finished.map_err(Stop::from))
    });
    let sent = sending.run();
    let ended = sending.receipts.end();
    // It may still wait for a line: what can't be sent any more needs none.
    sent?;
    ended?;
    let failed = |_| Failure::new(Code::Io, "stdin can't be read", "its thread ended");
    match reading.join().map_err(failed)? {
        Err(Stop::Failed(failure)) if had_left && failure.code() == Code::Nothing => Ok(()),
        read => read,
    }
}

/// The sending side.
struct Sending<'a> {
    spool: &'a Spool,
    global: &'a Global,
    patience: Duration,
    receipts: Receipts<'a>,
    /// None where the node has to be looked for: it may be back at another address.
    client: Option<Client>,
    /// How many entries were sent.
    sent: u64,
    is_away: bool,
    /// When the input was first seen to be over while the node was away.
    ended: Option<Instant>,
}

impl Sending<'_> {
    /// Sends what comes until nothing more will.
    fn run(&mut self) -> Outcome {
        // A lasting spool keeps lines for a node that is still to be started.
        let mut is_reached = self.spool.is_lasting();
        loop {
            match self.spool.next()? {
                Next::Record(record) => {
                    self.deliver(&record, is_reached)?;
                    is_reached = true;
                }
                Next::Nothing if self.spool.wait(RETRY) || is_reached => {}
                Next::Nothing => {
                    // Whoever begins a pipe is told at once that it leads nowhere.
                    let _: Value = self.client()?.get("/readyz", &Parameters::new())?;
                    is_reached = true;
                }
                Next::Over => return Ok(self.spool.close()?),
            }
        }
    }

    /// Sends a record, however long the node is away if it was reached before.
    fn deliver(&mut self, record: &Record, was_reached: bool) -> Outcome {
        loop {
            match self.post(record) {
                Ok(printed) => {
                    self.receipts.print(&printed)?;
                    self.sent += record.count;
                    let waiting = self.spool.left();
                    self.spool.sent(record)?;
                    self.say_back(waiting);
                    return Ok(());
                }
                Err(failure) if failure.is_passing() && was_reached => {
                    self.wait(record, failure)?;
                }
                Err(failure) => return Err(self.stranded(failure)),
            }
        }
    }

    fn post(&mut self, record: &Record) -> Result<Vec<Box<RawValue>>, Failure> {
        let content = Content {
            content_type: "application/x-ndjson",
            body: &record.body,
            key: Some(record.key.clone()),
        };
        let client = self.client()?;
        let posted = client.post("/v1/entries", &Parameters::new(), &content, Duration::ZERO);
        match posted {
            // It was appended once, and its answer was lost for longer than its entries are kept.
            Err(failure) if failure.code() == Code::Removed => Ok(Vec::new()),
            Err(failure) => {
                self.client = None;
                Err(failure)
            }
            posted => posted,
        }
    }

    fn client(&mut self) -> Result<&Client, Failure> {
        let client = match self.client.take() {
            Some(client) => client,
            None => self.global.node()?,
        };
        Ok(self.client.insert(client))
    }

    /// Keeps what can't be sent now, and waits until the next try.
    fn wait(&mut self, record: &Record, failure: Failure) -> Outcome {
        if let Err(spool) = self.spool.keep(record) {
            let failure = failure.yet(format_args!("the spool can't be used: {}", spool.why()));
            return Err(self.stranded(failure.hint("--spool DIR, in which lines wait")));
        }
        if !self.is_away {
            let (what, path) = (failure.what(), self.spool.path().display());
            self.global.note(&format!("the node is away ({what}): lines wait in {path}"));
            self.is_away = true;
        }
        if self.spool.is_over() {
            let since = *self.ended.get_or_insert_with(Instant::now);
            if since.elapsed() >= self.patience {
                let directory = self.spool.directory().display();
                let later = format!("towline append --spool {directory} < /dev/null");
                return Err(self.stranded(failure.hint(later)));
            }
        }
        std::thread::sleep(RETRY);
        Ok(())
    }

    /// Says that the node is back, once nothing is dropped any more.
    fn say_back(&mut self, waiting: u64) {
        if std::mem::take(&mut self.is_away) {
            let waiting = counted(waiting, "entry that waited goes", "entries that waited go");
            self.global.note(&format!("the node is back: {waiting} to it now"));
        }
    }

    /// A failure after which nothing more is sent, with what is true all the same.
    fn stranded(&self, failure: Failure) -> Stop {
        match self.spool.left() {
            0 => after(failure.into(), self.sent),
            left => {
                let waiting = counted(left, "entry waits", "entries wait");
                failure.yet(format_args!("{waiting} in {}", self.spool.path().display())).into()
            }
        }
    }
}
