//! A producer that is never blocked, and a log that says what it had to drop.
//!
//! `cargo run --example gaps`

use towline::node::Filter;
use towline::words::Gap;
use towline::{Config, Draft, Followed, From, Node};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let place = tempfile::tempdir()?;
    // A ring of eight events: the recorder is bound to lag behind a burst of a thousand.
    let node = Node::open(Config::new(place.path()).emit_ring(8)).await?;
    for n in 0..1_000 {
        node.emit(Draft::text("sensor/7", "reading", format!("reading {n}"))?)?;
    }
    node.shutdown().await?; // writes what is still in the ring

    let node = Node::open(Config::new(place.path())).await?;
    let mut follow = node.follow(Filter::topic("sensor/7"), From::Start).await?;
    let (mut recorded, mut dropped) = (0, 0);
    while let Some(Followed::Entry { entry, .. }) = follow.next().await? {
        match Gap::from_entry(&entry) {
            Some(gap) => {
                println!("{gap}");
                dropped += gap.count;
            }
            None => recorded += 1,
        }
    }
    println!("{recorded} recorded + {dropped} dropped = {} emitted", recorded + dropped);
    node.shutdown().await?;
    Ok(())
}
