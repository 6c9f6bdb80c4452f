//! The program: reads the command line, runs one command, and says how it ended.

use std::process::ExitCode;

use towline::cli::{Cli, Stop};

fn main() -> ExitCode {
    match Cli::from_arguments().and_then(Cli::run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Stop::Told(code)) => ExitCode::from(code),
        Err(Stop::ReaderLeft) => ExitCode::SUCCESS,
        Err(Stop::Failed(failure)) => {
            failure.tell();
            ExitCode::from(failure.exit())
        }
    }
}
