//! What every decoder must keep to, whatever bytes it gets: one function for each target.
//!
//! The fuzzers in `fuzz/` call these functions with bytes that they make up, and the tests beside this module
//! with every file of the corpus. A function panics when a promise is broken: not only when the
//! decoder does, but also when what was decoded isn't written as it was read, or when memory is
//! taken beyond a stated bound.

mod allocation;
pub mod block;
mod chunk;
mod command_line;
mod cursor;
mod directory;
mod entry;
mod frame;
mod gap;
mod link;
mod names;
mod opening;
mod request;
pub mod run;
mod settings;

use towline::words::ClusterId;

/// The cluster of all that is decoded here.
pub const CLUSTER: ClusterId = ClusterId([9; 32]);

/// What a decoder said of the bytes. Either is fine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// They were decoded.
    Taken,
    /// They were refused.
    Refused,
}

impl<T, E> From<Result<T, E>> for Verdict {
    fn from(decoded: Result<T, E>) -> Self {
        if decoded.is_ok() { Self::Taken } else { Self::Refused }
    }
}

/// A decoder, with its promises.
pub type Target = fn(&[u8]) -> Verdict;

/// Every target, by the name of its folder in `fuzz/corpus`.
pub const TARGETS: [(&str, Target); 15] = [
    ("block", block::block),
    ("bodies", request::bodies),
    ("chunk", chunk::chunk),
    ("command_line", command_line::command_line),
    ("cursor", cursor::cursor),
    ("directory", directory::directory),
    ("entry", entry::entry),
    ("frame", frame::frame),
    ("gap", gap::gap),
    ("link", link::link),
    ("names", names::names),
    ("opening", opening::opening),
    ("parameters", request::parameters),
    ("run", run::run),
    ("settings", settings::settings),
];
