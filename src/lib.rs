//! towline: an always-writable, tamper-evident event log that every node of a cluster holds in
//! full, with no coordinator, in which no drop is silent.
//!
//! Each host of a fleet runs one node. It appends whether or not it can reach the others, and any
//! node answers for all of them.
//!
//! ```
//! use towline::node::{Filter, Followed, From, Query};
//! use towline::{Config, Draft, Node};
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = tempfile::tempdir()?;
//! # let dir = directory.path();
//! # let value = serde_json::json!({"from": "backlog", "to": "coding"});
//! # let event = Draft::text("story/42", "thought", "this may take a while")?;
//! # let hour = std::time::Duration::from_secs(3_600);
//! let node = Node::open(Config::new(dir)).await?; // or Config::in_memory()
//! let receipt = node.append(Draft::json("story/42", "transition", &value)?).await?;
//! node.emit(event)?; // never blocks
//! let mut follow = node.follow(Filter::topic("story/42"), From::Start).await?;
//! while let Some(followed) = follow.next().await? {
//!     match followed {
//!         Followed::Entry { entry, .. } => println!("{}", entry.id()), // each once
//!         Followed::Reset => eprintln!("something was removed before it came here"),
//!         Followed::CaughtUp => break, // without this line: live, until the node shuts down
//!     }
//! }
//! let page = node.query(Query::merged().since(hour)).await?;
//! # assert_eq!(page.entries[0].change, receipt.hash);
//! node.shutdown().await?;
//! # Ok(())
//! # }
//! ```
//!
//! # The path of an entry
//!
//! ```text
//! caller          Node::append(drafts) ──► bounded queue             full: append waits
//! writer thread   what queued up while the last commit synced        group commit, no timer
//!   core          Log::append(drafts, now)                           seq, time, change, signature
//!   store         Store::commit(batch)                               one transaction, one sync
//!                 the watermark rises ──► reply to the caller        nobody is told before
//! peers           exchange follows the store ──► link                far node: rebuild, verify,
//! readers         Follow follows the store ──► stream, HTTP            the same writer queue
//! ```
//!
//! # The modules, imports pointing down only
//!
//! | module | what it is |
//! |---|---|
//! | [`cli`], [`http`] | faces: one file for each command or resource; they know nodes and words, and the TLS of HTTP |
//! | [`session`] | threads of a tenant, sessions, feeds, mirrors, transitions, on top of the log |
//! | [`node`] | threads and tasks: the writer, the recorder, followers, exchanges with peers |
//! | [`store`], [`net`] | edges: SQLite and memory; QUIC and TLS |
//! | [`core`] | what the log is and how nodes agree on it: pure, without IO, clock or randomness |
//! | [`words`] | newtypes, parsing, limits |

pub mod cli;
pub mod core;
pub mod http;
pub mod net;
pub mod node;
pub mod session;
pub mod store;
pub mod words;

pub use node::config::Config;
pub use node::cursor::Order;
pub use node::filter::Filter;
pub use node::follow::{Follow, Followed, From};
pub use node::query::{Page, Query};
pub use node::{Node, NodeError};
pub use words::{Draft, Entry};
