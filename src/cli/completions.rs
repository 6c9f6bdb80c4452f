//! `towline completions`: scripts by which shells complete towline's commands.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::place::Global;
use super::{Cli, Outcome};

/// Print the completion script of a shell
#[derive(Debug, Args)]
#[command(before_help = "\
Examples:
  towline completions bash > ~/.local/share/bash-completion/completions/towline
  towline completions fish > ~/.config/fish/completions/towline.fish")]
pub struct Completions {
    /// The shell
    shell: Shell,
}

impl Completions {
    pub(super) fn run(self, global: &Global) -> Outcome {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "towline", &mut script);
        let mut output = global.output();
        output.bytes(&script)?;
        output.flush()
    }
}
