//! What clap says about a command line, in the words and the form of every other error.

use clap::error::{ContextKind, ContextValue, Error, ErrorKind};

use super::failure::{Failure, Stop};
use super::output;
use crate::words::Code;

/// Turns clap's error into ours. Help and version are printed: they end the program, and well.
pub fn stop(error: &Error) -> Stop {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => match error.print() {
            Ok(()) => Stop::Told(0),
            Err(error) => output::broken(error),
        },
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            output::note(&error.render().to_string());
            Stop::Told(Code::Usage.exit())
        }
        _ => failure(error).into(),
    }
}

fn failure(error: &Error) -> Failure {
    let text = error.render().to_string();
    let first = text.split("\n\n").next().unwrap_or_default();
    let first = first.trim_start_matches("error: ");
    let line = first.split_whitespace().collect::<Vec<_>>().join(" ");
    let usage = error.get(ContextKind::Usage).map(ToString::to_string);
    let usage = usage.unwrap_or_default();
    let said = line.split_once(": ").or_else(|| line.split_once(" ["));
    let (what, why) = match said {
        Some((what, why)) => (what, why.trim_end_matches(']')),
        None => (line.as_str(), usage.trim_start_matches("Usage: ")),
    };
    let hint = suggestion(error).unwrap_or_else(|| format!("{} --help", program(&usage)));
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

/// The program and the subcommand at the beginning of a line of usage.
fn program(usage: &str) -> String {
    let words = usage.trim_start_matches("Usage: ").split_whitespace();
    let names = words.take_while(|word| word.starts_with(|c: char| c.is_ascii_lowercase()));
    let names: Vec<&str> = names.collect();
    if names.is_empty() { "towline".to_owned() } else { names.join(" ") }
}
