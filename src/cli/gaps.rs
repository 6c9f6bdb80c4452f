//! `towline gaps`: what was dropped, and why.

use clap::Args;

use super::Outcome;
use super::filters::Filters;
use super::output::Listing;
use super::place::Global;
use super::query::Range;

/// List what was dropped, and why, with or without a running node
#[derive(Debug, Args)]
#[command(
    before_help = "\
Examples:
  towline gaps
  towline gaps -o json | jq '[.gaps[].data.count] | add'",
    after_help = "\
Emitted events that did not make it into the log are stated in gaps: by number,
with the reason. Where there are no gaps, nothing was dropped."
)]
pub struct Gaps {}

impl Gaps {
    pub(super) fn run(self, global: &Global) -> Outcome {
        let place = global.place()?;
        let mut output = global.output();
        let listing = Listing::new(&mut output, "gaps");
        Range::default().print(&Filters::only_gaps(), place, listing)
    }
}
