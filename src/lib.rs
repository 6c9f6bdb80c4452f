//! towline: an always-writable, tamper-evident event log that every node of a cluster holds in
//! full, with no coordinator, in which no drop is silent.

pub mod cli;
pub mod core;
pub mod http;
pub mod net;
pub mod node;
pub mod store;
pub mod words;

pub use node::config::Config;
pub use node::cursor::Order;
pub use node::filter::Filter;
pub use node::follow::{Follow, Followed, From};
pub use node::query::{Page, Query};
pub use node::{Node, NodeError};
pub use words::{Draft, Entry};
