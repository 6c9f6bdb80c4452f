//! A pipe that outlives its node: lines go through a spool.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::value::RawValue;

use super::Outcome;
use super::client::{Client, Content, Parameters};
use super::drafts::{Batch, Cut, Drafts};
use super::failure::{Failure, Stop};
use super::place::Global;
use super::receipts::Receipts;
use super::spool::{Next, Spool};
use super::status::counted;
use crate::words::Code;
use crate::words::limits::PAYLOAD_BYTES;

/// How long a node may be away once the input has ended, when nothing is said.
const AWAY: Duration = Duration::from_secs(60);
/// How long lies between two tries to reach it.
const RETRY: Duration = Duration::from_millis(300);

/// Sends all lines through a spool: one thread reads them, this one sends.
pub fn through(
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
