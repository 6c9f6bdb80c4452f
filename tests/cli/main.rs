//! The command line as a person uses it: the real program, real files, real pipes.

mod backup;
mod bench;
mod cursors;
mod describing;
mod documented;
mod errors;
mod hostile_text;
mod import;
mod mcp;
mod monitoring;
mod offline;
mod pipes;
mod program;
mod running;
mod salvage;
mod serving;
mod sessions;
mod spool;
mod sql;
mod supervisor;
