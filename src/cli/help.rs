//! `--help --json`: what every command takes, for programs and agents.

use clap::{Arg, ArgAction, Command, CommandFactory};
use serde_json::{Map, Value, json};

use super::Cli;

/// The description that a command line asks for, if it is `… --help --json`.
pub fn asked(arguments: &[String]) -> Option<Value> {
    let has = |flags: &[&str]| arguments.iter().any(|argument| flags.contains(&argument.as_str()));
    if !(has(&["--help", "-h"]) && has(&["--json"])) {
        return None;
    }
    Some(description(&meant(arguments)))
}

/// The command that a command line means, as far as it can be told.
pub fn meant(arguments: &[String]) -> Command {
    let mut root = Cli::command();
    root.build();
    let mut command = &root;
    for argument in arguments {
        if let Some(inner) = command.find_subcommand(argument) {
            command = inner;
        }
    }
    command.clone()
}

fn description(command: &Command) -> Value {
    let subcommands = command.get_subcommands().filter(|command| command.get_name() != "help");
    let arguments = command.get_arguments().filter(|argument| {
        !argument.is_hide_set() && !matches!(argument.get_id().as_str(), "help" | "version")
    });
    let name = command.get_bin_name().unwrap_or_else(|| command.get_name());
    let mut described = Map::new();
    described.insert("command".to_owned(), json!(name));
    let texts = [
        ("about", command.get_about().map(ToString::to_string)),
        ("notes", command.get_after_help().map(ToString::to_string)),
        ("usage", Some(command.clone().render_usage().to_string())),
    ];
    for (name, text) in texts {
        if let Some(text) = text {
            described.insert(name.to_owned(), text.trim_start_matches("Usage: ").into());
        }
    }
    let examples = command.get_before_help().map(ToString::to_string).unwrap_or_default();
    let examples: Vec<&str> =
        examples.lines().filter(|line| *line != "Examples:").map(str::trim).collect();
    described.insert("examples".to_owned(), json!(examples));
    described.insert("arguments".to_owned(), arguments.map(argument).collect());
    described.insert("commands".to_owned(), subcommands.map(description).collect());
    Value::Object(described)
}

fn argument(argument: &Arg) -> Value {
    let takes_value = argument.get_action().takes_values();
    let names = argument.get_value_names().unwrap_or_default();
    let defaults = argument.get_default_values().iter();
    let possible = argument.get_possible_values();
    json!({
        "name": argument.get_id().as_str(),
        "flag": argument.get_long().map(|long| format!("--{long}")),
        "short": argument.get_short().map(|short| format!("-{short}")),
        "help": argument.get_help().map(ToString::to_string),
        "value": takes_value.then(|| names.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")),
        "possible": takes_value.then(|| possible.iter().map(|value| value.get_name().to_owned()).collect::<Vec<_>>()),
        "default": defaults.map(|value| value.to_string_lossy().into_owned()).collect::<Vec<_>>().join(","),
        "variable": argument.get_env().map(|name| name.to_string_lossy().into_owned()),
        "required": argument.is_required_set(),
        "repeats": matches!(argument.get_action(), ArgAction::Append | ArgAction::Count),
    })
}
