//! The HTTP face, asked over TCP as any client asks it: one node in memory, or two that replicate.

mod append;
mod crowds;
mod disk;
mod emit;
mod entries;
mod floods;
mod injection;
mod node;
mod page;
mod payloads;
mod problems;
mod server;
mod sessions;
mod smuggling;
mod stream;
#[path = "../support/mod.rs"]
mod support;
