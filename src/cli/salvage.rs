//! `towline salvage`: the way on where a store is damaged beyond use, or has lost entries for good.

use clap::Args;

use super::Outcome;
use super::failure::Failure;
use super::output::Format;
use super::place::Global;
use crate::node::salvage::{self, Report};

/// Carry over what can be read of a damaged store into a fresh one
#[derive(Debug, Args)]
#[command(
    before_help = "\
Examples:
  towline salvage                     the node must not run
  towline salvage --forget-missing    give up entries that nobody has any more",
    after_help = "\
A store that verifies stays as it is. Of one that doesn't, every change that is
still as its author signed it goes into a fresh store. The damaged files are
moved into a directory damaged-TIME beside it, never deleted. Start the node with
a peer reachable afterwards: it takes back what is missing before it appends."
)]
pub struct Salvage {
    /// Count the store as whole, though it held more once
    #[arg(long)]
    forget_missing: bool,
}

impl Salvage {
    pub(super) fn run(self, global: &Global) -> Outcome {
        let data = global.data()?;
        let report = salvage::salvage(&data).map_err(|error| Failure::salvage(&error))?;
        let mut output = global.output();
        if self.forget_missing {
            let what = "what is missing can't be forgotten";
            salvage::forget_missing(&data).map_err(|error| Failure::directory(what, &error))?;
        }
        if output.format != Format::Text {
            output.json(&report)?;
            return output.flush();
        }
        let Report { damage, salvaged, aside, missing } = &report;
        match (damage, salvaged, aside) {
            (Some(damage), Some(salvaged), Some(aside)) => {
                let (entries, changes) = (salvaged.entries, salvaged.changes);
                output.line(format_args!("damaged   {}", super::line::one_line(damage)))?;
                output.line(format_args!("salvaged  {entries} entries in {changes} changes"))?;
                output.line(format_args!("aside     {}", aside.display()))?;
            }
            _ => output.line("the store verifies: it stays as it is")?,
        }
        match missing {
            Some(missing) if self.forget_missing => {
                output.line(format_args!("forgotten {missing}"))?;
            }
            Some(missing) => output.line(format_args!("missing   {missing}"))?,
            None => {}
        }
        output.flush()?;
        if (damage.is_some() || missing.is_some()) && !self.forget_missing {
            global.note(&format!(
                "start it with a peer reachable, which has the rest:  towline run --data {}",
                data.display()
            ));
        }
        Ok(())
    }
}
