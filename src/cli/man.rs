//! `towline man`: the manual, made from the same words as the help.

use std::path::{Path, PathBuf};

use clap::{Args, Command, CommandFactory};
use clap_mangen::Man;

use super::failure::Failure;
use super::place::Global;
use super::{Cli, Outcome};
use crate::words::Code;

/// Print a page of the manual, or write all of them
#[derive(Debug, Args)]
#[command(before_help = "\
Examples:
  towline man | man -l -
  towline man append | man -l -
  towline man --dir ~/.local/share/man/man1")]
pub struct Manual {
    /// The command [default: towline itself]
    #[arg(conflicts_with = "dir")]
    command: Vec<String>,
    /// Write a page for every command into this directory
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

impl Manual {
    pub(super) fn run(self, global: &Global) -> Outcome {
        let mut root = Cli::command();
        root.build();
        if let Some(directory) = &self.dir {
            return Ok(write_all(&root, directory)?);
        }
        let mut command = &root;
        for name in &self.command {
            command = command.find_subcommand(name).ok_or_else(|| {
                let why = format_args!("{} has no command {name:?}", command.get_name());
                Failure::new(Code::NotFound, "there is no such page", why).hint("towline --help")
            })?;
        }
        let mut output = global.output();
        output.bytes(&page(command).map_err(super::output::broken)?)?;
        output.flush()
    }
}

fn write_all(command: &Command, directory: &Path) -> Result<(), Failure> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |error| Failure::file("the manual can't be written", &path, &error)
    };
    std::fs::create_dir_all(directory).map_err(failed(directory))?;
    let path = directory.join(Man::new(command.clone()).get_filename());
    let page = page(command).map_err(failed(&path))?;
    std::fs::write(&path, page).map_err(failed(&path))?;
    let shown = command.get_subcommands().filter(|command| command.get_name() != "help");
    shown.into_iter().try_for_each(|command| write_all(command, directory))
}

/// A page: the usual sections, and the examples, which stand before all else in the help.
fn page(command: &Command) -> std::io::Result<Vec<u8>> {
    let man = Man::new(command.clone());
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    if let Some(examples) = command.get_before_help() {
        page.extend_from_slice(literal(&examples.to_string()).as_bytes());
    }
    man.render_options_section(&mut page)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page)?;
    }
    if command.get_after_help().is_some() || command.get_after_long_help().is_some() {
        man.render_extra_section(&mut page)?;
    }
    Ok(page)
}

/// The examples, line by line as they are.
fn literal(examples: &str) -> String {
    let mut section = ".SH EXAMPLES\n.nf\n".to_owned();
    for line in examples.lines().filter(|line| *line != "Examples:") {
        let line = line.replace('\\', "\\e").replace('-', "\\-").replace('\'', "\\(aq");
        section.push_str(&format!("\\&{line}\n"));
    }
    section + ".fi\n"
}
