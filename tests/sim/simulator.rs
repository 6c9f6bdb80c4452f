//! A seeded simulator of whole clusters: the real core and store, in a virtual world.
//!
//! It is a second shell around `towline::core`, beside the one in `src/node`, on one thread and in
//! virtual time. A seed decides everything: how many nodes there are and how they are linked, which
//! of the possible faults this run may meet, when each of them strikes, what clients write, and what
//! the liar says. So a run is replayed exactly by its seed.
//!
//! ```text
//! seed ─► scenario ─► world: hosts ─► node ─► writer ─► Log, disk (a list of batches)
//!                      │              │  └──► exchange ─► Session ─► frames as bytes
//!                      │              └─────► recorder ─► Tally
//!                      ├─► network, trouble, liar, clients
//!                      └─► oracle, ledgers: what must be true after every step, and at the end
//! ```
//!
//! A run has phases: things go wrong while clients write; everything heals; the nodes must become
//! equal within three intervals, rest, say a last word each, and be equal again. The oracle holds
//! the promises of `docs/architecture.md` against every commit, every frame and every receipt.

mod agenda;
mod client;
mod clock;
mod coverage;
mod dice;
mod disk;
mod emitter;
mod exchange;
mod forgery;
mod group;
mod ledger;
mod liar;
mod network;
mod node;
mod oracle;
mod peers;
mod phases;
mod promise;
mod pruning;
mod reader;
mod recorder;
mod rejoin;
mod report;
mod scenario;
mod sealing;
mod stage;
mod story;
mod tiling;
mod trick;
mod trouble;
mod verdict;
mod world;
mod writer;

pub use report::{simulate, simulate_all};
pub use story::Telling;
