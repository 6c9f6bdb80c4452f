//! The network: QUIC between nodes that know each other's keys.
//!
//! [`endpoint`] listens and dials, `handshakes` bounds what strangers begin, [`tls`] binds a
//! connection to node ids, [`link`] carries frames; [`https`] is the TLS of the HTTP face.
//! Invariant: this layer knows frames as bytes; what they mean is the core's, and what is done
//! about them the node's.

pub mod endpoint;
mod handshakes;
pub mod https;
pub mod link;
pub mod tls;
