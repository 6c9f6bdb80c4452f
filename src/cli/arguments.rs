//! What clap says about a command line, in the words and the form of every other error.

use clap::error::{ContextKind, ContextValue, Error, ErrorKind};

use super::failure::{Failure, Stop};
use super::{help, output};
use crate::words::Code;

/// Turns clap's error about a command line into ours. Help and version are printed: they end the
/// program, and well.
pub fn stop(error: &Error, arguments: &[String]) -> Stop {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => match error.print() {
            Ok(()) => Stop::Told(0),
            Err(error) => output::broken(error),
        },
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand => {
            output::note(&help::meant(arguments).render_help().to_string());
            Stop::Told(Code::Usage.exit())
        }
        _ => failure(error, arguments).into(),
    }
}

fn failure(error: &Error, arguments: &[String]) -> Failure {
    let text = error.render().to_string();
    let first = text.split("\n\n").next().unwrap_or_default();
    let first = first.trim_start_matches("error: ");
    let line = first.split_whitespace().collect::<Vec<_>>().join(" ");
    let usage = error.get(ContextKind::Usage).map(ToString::to_string);
    let usage = usage.unwrap_or_default();
    let possible = line.split_once(" [possible values: ");
    let (what, why) = match possible.map(|(what, values)| (what, values.trim_end_matches(']'))) {
        Some((what, values)) => (what, format!("it is one of: {values}")),
        None => match line.split_once(": ") {
            Some((what, why)) => (what, why.to_owned()),
            None => (line.as_str(), usage.trim_start_matches("Usage: ").to_owned()),
        },
    };
    let command = help::meant(arguments);
    let name = command.get_bin_name().unwrap_or("towline");
    let hint = suggestion(error).unwrap_or_else(|| format!("{name} --help"));
    Failure::usage(what, why).hint(hint)
}

/// What clap guesses was meant.
fn suggestion(error: &Error) -> Option<String> {
    let kinds =
        [ContextKind::SuggestedArg, ContextKind::SuggestedSubcommand, ContextKind::SuggestedValue];
    let value = kinds.into_iter().find_map(|kind| error.get(kind))?;
    match value {
        ContextValue::String(text) => Some(text.clone()),
        ContextValue::Strings(texts) => texts.first().cloned(),
        _ => None,
    }
}
