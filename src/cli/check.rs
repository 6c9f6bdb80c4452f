//! `towline check`: whether a node is well, for monitors.

use clap::{Args, ValueEnum};
use serde_json::json;

use super::Outcome;
use super::answers;
use super::failure::{Failure, Stop};
use super::findings::{self, Bounds, Finding, Level};
use super::line::one_line;
use super::output::Format;
use super::place::Global;

/// What a monitor of the Nagios family takes for «unknown».
const NAGIOS_UNKNOWN: u8 = 3;

/// Say whether a node is well, for monitors
#[derive(Debug, Args)]
#[command(
    before_help = "\
Examples:
  towline check                                exit code 0 where all is well
  towline check --format json | jq .findings
  towline check --format nagios --lag 1000     for Nagios, Icinga, checkmk",
    after_help = "\
Looks at what the node says of itself: whether it can write, damage, peers, lag,
clocks, events dropped within a day, forks. Exit code 1 where something is wrong, 5 where no
node answers; for nagios 1 is a warning, 2 critical, 3 that no node answers.
`towline doctor` says more, and what to do."
)]
pub struct Check {
    /// The form of the answer: text, json, or a line for monitors of the Nagios family
    #[arg(long, value_enum, value_name = "text|json|nagios", hide_possible_values = true)]
    format: Option<CheckFormat>,
    /// Warn when a connected peer lags by more entries than this
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    lag: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum CheckFormat {
    Text,
    Json,
    Nagios,
}

impl Check {
    pub(super) fn run(self, global: &Global) -> Outcome {
        let mut output = global.output();
        let format = match (self.format, output.format) {
            (Some(format), _) => format,
            (None, Format::Text) => CheckFormat::Text,
            (None, _) => CheckFormat::Json,
        };
        let asked = ask(global, Bounds { lag: self.lag });
        let found = match asked {
            Err(failure) if format == CheckFormat::Nagios => {
                let why = one_line(failure.why()).into_owned();
                output.line(format_args!("TOWLINE UNKNOWN - {why}"))?;
                output.flush()?;
                return Err(Stop::Told(NAGIOS_UNKNOWN));
            }
            asked => asked?,
        };
        let worst = findings::worst(&found);
        let wrong: Vec<&Finding> = found.iter().filter(|found| found.level > Level::Ok).collect();
        match format {
            CheckFormat::Json => output.json(&json!({"level": worst, "findings": found}))?,
            CheckFormat::Text => output.line(sentence(worst.text(), &wrong))?,
            CheckFormat::Nagios => {
                let level = worst.text().to_uppercase();
                output.line(sentence(&format!("TOWLINE {level} -"), &wrong).replace('|', "/"))?;
            }
        }
        output.flush()?;
        match (worst, format) {
            (Level::Ok, _) => Ok(()),
            (Level::Critical, CheckFormat::Nagios) => Err(Stop::Told(2)),
            _ => Err(Stop::Told(1)),
        }
    }
}

/// Asks the node how it is.
///
/// # Errors
/// It doesn't answer.
pub fn ask(global: &Global, bounds: Bounds) -> Result<Vec<Finding>, Failure> {
    let client = global.node()?;
    let (status, nodes) = answers::ask(&client)?;
    let dropped = match status.dropped {
        0 => 0,
        _ => answers::dropped_lately(&client, &status.node)?,
    };
    Ok(findings::of_node(&status, &nodes, dropped, bounds))
}

fn sentence(level: &str, wrong: &[&Finding]) -> String {
    let said: Vec<String> =
        wrong.iter().map(|found| format!("{}: {}", found.about, one_line(&found.what))).collect();
    match said.is_empty() {
        true => format!("{level} all is well"),
        false => format!("{level} {}", said.join("; ")),
    }
}
