//! The network: QUIC between nodes that know each other's keys.
//!
//! [`endpoint`] listens and dials, `handshakes` bounds what strangers begin, [`tls`] binds a
//! connection to node ids, [`link`] carries frames.
//! Invariant: this layer knows frames as bytes; what they mean is the core's, and what is done
//! about them the node's.

pub mod endpoint;
mod handshakes;
pub mod link;
pub mod tls;
