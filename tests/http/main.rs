//! The HTTP face, asked over TCP as any client asks it: one node in memory, or two that replicate.

mod append;
mod cloudevents;
mod crowds;
mod cursors;
mod disk;
mod emit;
mod entries;
mod floods;
mod followers;
mod injection;
mod metrics;
mod negotiation;
mod node;
mod openapi;
mod page;
mod payloads;
mod problems;
mod proof;
mod server;
mod sessions;
mod smuggling;
mod sockets;
mod stream;
#[path = "../support/mod.rs"]
mod support;
mod tokens;
