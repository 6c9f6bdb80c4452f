//! The tiling: every emit number is recorded once, or lies in one gap.

use towline::core::change::Change;
use towline::core::log::Arrival;
use towline::store::EmitMark;
use towline::words::entry::View;
use towline::words::gap::GAP_KIND;
use towline::words::{Draft, EmitNumber, Gap, GapReason};

use super::agenda::{HostId, LifeNumber};
use super::coverage::{Coverage, Mark};
use super::promise::{Outcome, Promise};

/// The kind of the numbered events that the simulator emits.
const EVENT: &str = "event";

/// The event that takes a number in a lifetime of a host.
pub fn event(host: HostId, life: LifeNumber, number: EmitNumber) -> Draft {
    let said = format!("{host} {life} {number}");
    Draft::text("events", EVENT, said).expect("constant names parse")
}

/// Checks that a commit of the recorder accounts for all numbers between two marks, in order.
///
/// # Errors
/// A number is missing, comes twice, or stands for another event.
pub fn check(
    (host, life): (HostId, LifeNumber),
    (before, after): (EmitMark, EmitMark),
    appended: &[Arrival],
    coverage: &mut Coverage,
) -> Outcome {
    let mut next = before.next;
    for Arrival { change, .. } in appended {
        next = walk(change, next, (host, life), coverage)?;
    }
    Promise::GapsTile.holds(next == after.next, || {
        format!("{host}: numbers up to {next} are in the log, and the mark is {}", after.next)
    })
}

fn walk(
    change: &Change,
    mut next: EmitNumber,
    (host, life): (HostId, LifeNumber),
    coverage: &mut Coverage,
) -> Outcome<EmitNumber> {
    let Ok(chunk) = change.open() else {
        return Promise::OnlySigned.broken("an own change can't be opened");
    };
    for entry in chunk.entries() {
        let Ok(view) = View::read(entry) else {
            return Promise::OnlySigned.broken("an own entry can't be read");
        };
        if view.kind == EVENT {
            let expected = event(host, life, next).data;
            Promise::GapsTile.holds(view.data == &expected[..], || {
                let found = String::from_utf8_lossy(view.data);
                format!("«{found}» is recorded where {host} {life} {next} belongs")
            })?;
            next = next.plus(1);
        } else if view.kind == GAP_KIND {
            next = pass(view.data, next, coverage)?;
        }
    }
    Ok(next)
}

/// Goes on after a gap.
fn pass(data: &[u8], next: EmitNumber, coverage: &mut Coverage) -> Outcome<EmitNumber> {
    let Ok(gap) = serde_json::from_slice::<Gap>(data) else {
        return Promise::GapsTile.broken("a gap can't be read");
    };
    let tiles = gap.from == next && gap.to >= gap.from && gap.count == gap.to.0 - gap.from.0 + 1;
    Promise::GapsTile.holds(tiles, || format!("{gap:?} does not begin at {next}"))?;
    let mark = match gap.reason {
        GapReason::Lag => Mark::GapsOfLag,
        GapReason::Crash => Mark::GapsOfCrash,
        GapReason::Shutdown => Mark::GapsOfShutdown,
        GapReason::DiskFull => return Promise::GapsTile.broken("no disk is full here"),
    };
    coverage.add(mark, 1);
    Ok(gap.to.plus(1))
}
