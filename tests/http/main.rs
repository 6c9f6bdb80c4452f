//! The HTTP face, asked over TCP as any client asks it: one node in memory, or two that replicate.

mod append;
mod disk;
mod emit;
mod entries;
mod node;
mod page;
mod problems;
mod server;
mod stream;
#[path = "../support/mod.rs"]
mod support;
