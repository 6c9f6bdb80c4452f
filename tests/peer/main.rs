//! Hostile peers: a QUIC client of our own says to a real node what no honest node would.
//!
//! ```text
//! papers.rs    what it shows in the handshake       initial.rs  a handshake's first packet, by hand
//! liar.rs      what it says on its streams          scribe.rs   changes of authors of its own
//! victim.rs    the node, with an honest peer beside it
//! ```
//!
//! Whatever is said, the victim goes on: it appends, replicates with the honest peer, and none of
//! its tasks panics.

#[path = "../support/mod.rs"]
mod support;

mod initial;
mod liar;
mod papers;
mod scribe;
mod victim;

mod bans;
mod blocks;
mod changes;
mod floods;
mod frames;
mod silence;
mod strangers;
