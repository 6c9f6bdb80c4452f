//! What the tests of whole nodes share: clusters on loopback, and waiting without sleeping.

#![allow(dead_code)] // each test file uses its own part of it

pub mod gated;
pub mod process;
pub mod tmpfs;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use towline::node::{PeerAddress, Status};
use towline::words::Identity;
use towline::{Config, Draft, Entry, Node, Query};

/// Nothing in these tests takes so long: a test that waits longer has failed.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

pub fn note(topic: &str, text: &str) -> Draft {
    Draft::text(topic, "note", text).unwrap()
}

/// The payloads of entries, as text.
pub fn texts(entries: &[Entry]) -> Vec<String> {
    entries.iter().map(|entry| String::from_utf8_lossy(&entry.body.data).into_owned()).collect()
}

/// The whole merged log of a node.
pub async fn merged(node: &Node) -> Vec<Entry> {
    all(node, Query::merged().limit(1_000)).await
}

/// All pages of a query.
pub async fn all(node: &Node, mut query: Query) -> Vec<Entry> {
    let mut entries = Vec::new();
    loop {
        let page = node.query(query.clone()).await.unwrap();
        entries.extend(page.entries);
        match page.next {
            Some(next) => query = query.after(next),
            None => return entries,
        }
    }
}

/// A free loopback port, given out once: below those that systems choose by themselves, so that no other
/// socket takes it before it is used.
pub fn free_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 10_000 + (std::process::id() % 200) as u16 * 100;
    loop {
        let port = first + NEXT.fetch_add(1, Ordering::Relaxed) % 10_000;
        let address = SocketAddr::new(LOOPBACK.ip(), port);
        if std::net::UdpSocket::bind(address).is_ok() {
            return address;
        }
    }
}

/// Waits until a condition on the nodes' frontiers holds; it is looked at after every change.
pub async fn until(nodes: &[&Node], condition: impl Fn(&[Status]) -> bool) {
    let wait = async {
        loop {
            let mut statuses = Vec::new();
            for node in nodes {
                statuses.push(node.status().await.unwrap());
            }
            if condition(&statuses) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    if tokio::time::timeout(PATIENCE, wait).await.is_err() {
        let mut said = String::new();
        for node in nodes {
            let status = node.status().await.unwrap();
            said += &format!(
                "\n{} {:?} {} {:?}",
                status.node.short(),
                status.state,
                status.entries,
                status.peers
            );
            for report in node.nodes().await.unwrap() {
                said += &format!(
                    "\n    {} {} {:?} {:?}",
                    report.node.short(),
                    report.state,
                    report.holds.values(),
                    report.trouble
                );
            }
        }
        panic!("the nodes did not get there:{said}");
    }
}

/// Waits until all nodes hold the same `entries` entries.
pub async fn until_equal(nodes: &[&Node], entries: u64) {
    until(nodes, |statuses| {
        statuses.iter().all(|s| s.entries == entries && s.frontier == statuses[0].frontier)
    })
    .await;
}

/// A cluster member to be: its secret, and where it will listen.
pub struct Member {
    pub secret: [u8; 32],
    pub peer: PeerAddress,
}

pub fn members(count: u8) -> Vec<Member> {
    let member = |n: u8| {
        let secret = [n + 1; 32];
        let node = Identity::from_secret(&secret).node_id();
        Member { secret, peer: PeerAddress { node, address: free_address() } }
    };
    (0..count).map(member).collect()
}

/// The settings of a member that names these others, with its data in a directory.
pub fn config(directory: &std::path::Path, member: &Member, others: &[&Member]) -> Config {
    std::fs::create_dir_all(directory).unwrap();
    let key = directory.join("key");
    if !key.exists() {
        use std::os::unix::fs::OpenOptionsExt;
        let mut options = std::fs::OpenOptions::new();
        let mut file =
            options.create(true).write(true).truncate(true).mode(0o600).open(&key).unwrap();
        std::io::Write::write_all(&mut file, hex::encode(member.secret).as_bytes()).unwrap();
    }
    let mut config = Config::new(directory)
        .cluster(towline::words::ClusterId([9; 32]))
        .listen(member.peer.address);
    config.interval = Duration::from_millis(200);
    for other in others {
        config = config.peer(other.peer);
    }
    config
}
