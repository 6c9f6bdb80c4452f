//! Two agents move stories through stages on two nodes, apart; then the nodes meet, and both print
//! the same history.
//!
//! `cargo run --example transitions`

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use serde_json::json;
use towline::node::{DataDirectory, PeerAddress};
use towline::{Config, Draft, Entry, Node, Query};

type Failure = Box<dyn std::error::Error>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let place = tempfile::tempdir()?;
    let (here, there) = (place.path().join("here"), place.path().join("there"));

    // A node's id is made with its data directory; the second directory joins the first's cluster.
    let made = DataDirectory::open(&here, None)?;
    let cluster = made.cluster();
    let first = PeerAddress { node: made.identity().node_id(), address: free_address()? };
    drop(made);
    let made = DataDirectory::open(&there, Some(cluster))?;
    let second = PeerAddress { node: made.identity().node_id(), address: free_address()? };
    drop(made);

    // The first node is alone, and writes all the same.
    let alice =
        Node::open(Config::new(&here).name("alice").listen(first.address).peer(second)).await?;
    for (story, from, to) in
        [(42, "backlog", "coding"), (43, "backlog", "coding"), (42, "coding", "review")]
    {
        alice.append(transition(story, from, to)?).await?;
    }

    // The second comes later, writes too, and catches up meanwhile.
    let bob =
        Node::open(Config::new(&there).name("bob").listen(second.address).peer(first)).await?;
    let receipt = bob.append(transition(42, "review", "done")?).await?;
    bob.wait_replicated(receipt.id.seq.plus(1), 1, Duration::from_secs(10)).await?;
    while bob.status().await?.frontier != alice.status().await?.frontier {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }

    for node in [&alice, &bob] {
        println!("as {} sees it:", node.id().short());
        for entry in node.query(Query::merged()).await?.entries {
            println!("  {}", line(&entry));
        }
    }
    alice.shutdown().await?;
    bob.shutdown().await?;
    Ok(())
}

fn transition(story: u32, from: &str, to: &str) -> Result<Draft, Failure> {
    Ok(Draft::json(&format!("story/{story}"), "transition", &json!({"from": from, "to": to}))?)
}

fn line(entry: &Entry) -> String {
    let change = String::from_utf8_lossy(&entry.body.data);
    format!(
        "{}  {}:{}  {}  {change}",
        entry.time,
        entry.author.short(),
        entry.seq,
        entry.body.topic
    )
}

fn free_address() -> std::io::Result<SocketAddr> {
    UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}
