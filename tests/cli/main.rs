//! The command line as a person uses it: the real program, real files, real pipes.

mod errors;
mod hostile_text;
mod offline;
mod pipes;
mod program;
mod running;
mod sessions;
