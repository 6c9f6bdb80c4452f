//! The command line as a person uses it: the real program, real files, real pipes.

mod backup;
mod bench;
mod errors;
mod hostile_text;
mod import;
mod offline;
mod pipes;
mod program;
mod running;
mod salvage;
mod serving;
mod sessions;
mod sql;
mod supervisor;
