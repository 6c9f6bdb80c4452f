//! The command line: one file for each command, and the few things that commands share.
//!
//! A command reads its flags, finds its log (`place`), and prints (`output`). Data goes to
//! stdout, all else to stderr. Invariant: nothing here panics over a closed pipe or a node's answer.

use clap::{Parser, Subcommand};

mod answers;
mod append;
mod arguments;
mod backup;
mod bench;
mod check;
mod client;
mod completions;
mod config;
mod consuming;
mod cursor;
#[doc(hidden)]
pub mod decoders;
mod demo;
mod doctor;
mod drafts;
mod emit;
mod explain;
mod export;
mod failure;
mod filters;
mod findings;
mod forks;
mod gaps;
mod get;
mod help;
mod import;
mod init;
mod input;
mod line;
mod man;
mod mcp;
mod nodes;
mod output;
mod persona;
mod pipe;
mod place;
mod process;
mod query;
mod receipts;
mod retain;
mod run;
mod salvage;
mod serving;
mod session;
mod settings;
mod spool;
mod sql;
mod status;
mod supervisor;
mod tail;
mod template;
mod tenant;
mod thread;
mod token;
mod top;
mod verify;

pub use failure::{Failure, Stop};

use place::Global;

/// What every command returns.
type Outcome = Result<(), Stop>;

/// An always-writable event log that every node of a cluster holds in full.
#[derive(Debug, Parser)]
#[command(
    name = "towline",
    version,
    bin_name = "towline",
    max_term_width = 80,
    before_help = "\
Examples:
  towline demo --chaos                         watch a cluster work, and survive
  towline run                                  start a node, new or not
  towline append --topic story/42 'it began'   append an entry, durably
  journalctl -f | towline append               every line becomes an entry
  towline tail -f                              follow the log
  towline query --since 1h --grep error        search it",
    after_help = "\
Exit codes: 0 ok, 1 error, 2 usage, 3 verification failed, 4 incomplete,
5 node unreachable, 6 timeout, 7 refused, 130 interrupted.
`towline explain CODE` explains an error. A flag goes before its variable.
`--help --json` describes commands to programs."
)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::Demo),
    Init(init::Init),
    Run(run::Run),
    Append(append::Append),
    Emit(emit::Emit),
    Tail(tail::Tail),
    Query(query::Query),
    Get(get::Get),
    Gaps(gaps::Gaps),
    Forks(forks::Forks),
    Status(status::Status),
    Top(top::Top),
    Nodes(nodes::Nodes),
    Check(check::Check),
    Doctor(doctor::Doctor),
    Verify(verify::Verify),
    Salvage(salvage::Salvage),
    Retain(retain::Retain),
    Archive(retain::Archive),
    Token(token::Tokens),
    Cursor(cursor::Cursors),
    Session(session::Sessions),
    Thread(thread::Threads),
    Feed(thread::Feed),
    Context(thread::Context),
    Persona(persona::Personas),
    Export(export::Export),
    Sql(sql::Sql),
    Import(import::Import),
    Backup(backup::Backup),
    Restore(backup::Restore),
    Bench(bench::Bench),
    Config(config::Configured),
    Explain(explain::Explain),
    Completions(completions::Completions),
    Man(man::Manual),
    Mcp(mcp::Mcp),
}

impl Cli {
    /// Reads the command line of this process.
    ///
    /// # Errors
    /// It can't be understood; or it asks for help or the version, which is then printed.
    pub fn from_arguments() -> Result<Self, Stop> {
        completions::answer();
        let arguments = std::env::args_os().skip(1);
        let arguments: Vec<String> =
            arguments.map(|argument| argument.to_string_lossy().into_owned()).collect();
        if let Some(description) = help::asked(&arguments) {
            let mut output = output::Output::new(&template::Form::default());
            output.json(&description)?;
            output.flush()?;
            return Err(Stop::Told(0));
        }
        Self::try_parse().map_err(|error| arguments::stop(&error, &arguments))
    }

    /// Runs the command.
    ///
    /// # Errors
    /// Why the command failed, or that whoever read its output has gone.
    pub fn run(self) -> Outcome {
        let Self { global, command } = self;
        global.start_tracing();
        match command {
            Command::Demo(command) => command.run(&global),
            Command::Init(command) => command.run(&global),
            Command::Run(command) => command.run(&global),
            Command::Append(command) => command.run(&global),
            Command::Emit(command) => command.run(&global),
            Command::Tail(command) => command.run(&global),
            Command::Query(command) => command.run(&global),
            Command::Get(command) => command.run(&global),
            Command::Gaps(command) => command.run(&global),
            Command::Forks(command) => command.run(&global),
            Command::Top(command) => command.run(&global),
            Command::Status(command) => command.run(&global),
            Command::Nodes(command) => command.run(&global),
            Command::Check(command) => command.run(&global),
            Command::Doctor(command) => command.run(&global),
            Command::Verify(command) => command.run(&global),
            Command::Salvage(command) => command.run(&global),
            Command::Retain(command) => command.run(&global),
            Command::Archive(command) => command.run(&global),
            Command::Token(command) => command.run(&global),
            Command::Cursor(command) => command.run(&global),
            Command::Session(command) => command.run(&global),
            Command::Thread(command) => command.run(&global),
            Command::Feed(command) => command.run(&global),
            Command::Context(command) => command.run(&global),
            Command::Persona(command) => command.run(&global),
            Command::Export(command) => command.run(&global),
            Command::Sql(command) => command.run(&global),
            Command::Import(command) => command.run(&global),
            Command::Backup(command) => command.run(&global),
            Command::Restore(command) => command.run(&global),
            Command::Bench(command) => command.run(&global),
            Command::Config(command) => command.run(&global),
            Command::Explain(command) => command.run(&global),
            Command::Completions(command) => command.run(&global),
            Command::Man(command) => command.run(&global),
            Command::Mcp(command) => command.run(&global),
        }
    }
}
