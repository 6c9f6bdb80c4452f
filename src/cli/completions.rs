//! `towline completions`: scripts by which shells complete towline's commands, with what is in the
//! log at that moment: topics, tenants, nodes, sessions and named cursors.

use clap::{Args, CommandFactory};
use clap_complete::CompleteEnv;
use clap_complete::engine::CompletionCandidate;
use clap_complete::env::Shells;
use serde_json::Value;

use super::client::{Client, Credentials, Parameters};
use super::failure::Failure;
use super::place::Global;
use super::{Cli, Outcome};
use crate::node::directory;

/// How many of the newest entries are looked at for names.
const LOOKED_AT: u64 = 1_000;

/// Print the completion script of a shell
#[derive(Debug, Args)]
#[command(
    before_help = "\
Examples:
  towline completions bash > ~/.local/share/bash-completion/completions/towline
  towline completions fish > ~/.config/fish/completions/towline.fish",
    after_help = "\
The shell asks towline itself what may follow: topics, tenants and kinds of the
newest entries, nodes, sessions and named cursors of the node of TOWLINE_NODE or
of the data directory."
)]
pub struct Completions {
    /// The shell: bash, elvish, fish, powershell or zsh
    #[arg(value_parser = ["bash", "elvish", "fish", "powershell", "zsh"])]
    shell: String,
}

impl Completions {
    pub(super) fn run(self, global: &Global) -> Outcome {
        let shells = Shells::builtins();
        let unknown = || Failure::usage("there is no script", "the shell is not known");
        let shell = shells.completer(&self.shell).ok_or_else(unknown)?;
        let mut script = Vec::new();
        let written =
            shell.write_registration("COMPLETE", "towline", "towline", "towline", &mut script);
        written.map_err(super::output::broken)?;
        let mut output = global.output();
        output.bytes(&script)?;
        output.flush()
    }
}

/// Answers the shell, when this process was started to complete a command line; it then ends.
pub fn answer() {
    CompleteEnv::with_factory(Cli::command).complete();
}

/// Topics of the newest entries.
pub fn topics() -> Vec<CompletionCandidate> {
    of_entries("topic")
}

/// Tenants of the newest entries.
pub fn tenants() -> Vec<CompletionCandidate> {
    of_entries("tenant")
}

/// Kinds of the newest entries.
pub fn kinds() -> Vec<CompletionCandidate> {
    of_entries("kind")
}

/// Nodes that are known.
pub fn nodes() -> Vec<CompletionCandidate> {
    list("/v1/nodes", Parameters::new(), "nodes", "node")
}

/// Named cursors.
pub fn cursors() -> Vec<CompletionCandidate> {
    list("/v1/cursors", Parameters::new(), "cursors", "name")
}

/// Sessions of the default tenant.
pub fn sessions() -> Vec<CompletionCandidate> {
    list("/v1/sessions/default", Parameters::new(), "sessions", "session")
}

fn of_entries(field: &str) -> Vec<CompletionCandidate> {
    let newest = vec![
        ("order", "arrival".to_owned()),
        ("reverse", "true".to_owned()),
        ("limit", LOOKED_AT.to_string()),
    ];
    list("/v1/entries", newest, "entries", field)
}

/// The values of a field in a list that the node answers. Nothing where it doesn't: a shell can't be
/// told why.
fn list(path: &str, parameters: Parameters, name: &str, field: &str) -> Vec<CompletionCandidate> {
    let answer: Option<Value> = client().and_then(|client| client.get(path, &parameters).ok());
    let listed = answer.as_ref().and_then(|answer| answer.get(name)?.as_array());
    let values = listed.into_iter().flatten().filter_map(|one| one.get(field)?.as_str());
    let values: std::collections::BTreeSet<&str> = values.collect();
    values.into_iter().map(CompletionCandidate::new).collect()
}

fn client() -> Option<Client> {
    let url = std::env::var("TOWLINE_NODE").ok();
    let (url, token) = match url {
        Some(url) => (url, None),
        None => {
            let data = Global::default_data().ok()?;
            let token = std::fs::read_to_string(directory::local_token(&data)).ok();
            (directory::running(&data)?.http, token.map(|token| token.trim().to_owned()))
        }
    };
    Client::new(&url, Credentials { token, authorities: None }).ok()
}
