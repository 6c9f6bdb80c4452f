//! The wires of the demo: every node is reached through a UDP relay that can be cut.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::net::UdpSocket;
use tokio::task::JoinSet;

/// The largest datagram.
const DATAGRAM: usize = 65_535;

/// A relay in front of each node. Datagrams to or from a node that is cut off are dropped.
pub struct Wires {
    ends: Arc<Mutex<HashMap<SocketAddr, Arc<AtomicBool>>>>,
    relays: JoinSet<()>,
}

/// The wire of one node.
#[derive(Clone)]
pub struct Wire {
    /// Where the others reach the node.
    pub address: SocketAddr,
    cut: Arc<AtomicBool>,
}

impl Wire {
    /// Cuts the node off.
    pub fn cut(&self) {
        self.cut.store(true, Ordering::Relaxed);
    }

    /// Lets datagrams pass again.
    pub fn heal(&self) {
        self.cut.store(false, Ordering::Relaxed);
    }
}

impl Wires {
    /// No wires yet.
    pub fn new() -> Self {
        Self { ends: Arc::default(), relays: JoinSet::new() }
    }

    /// Lays a wire to the node that listens at an address.
    ///
    /// # Errors
    /// There is no port left.
    pub async fn lay(&mut self, node: SocketAddr) -> io::Result<Wire> {
        let outside = Arc::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?);
        let cut = Arc::new(AtomicBool::new(false));
        let wire = Wire { address: outside.local_addr()?, cut: cut.clone() };
        self.ends.lock().unwrap_or_else(PoisonError::into_inner).insert(node, cut.clone());
        let relay = Relay { node, outside, cut, ends: self.ends.clone() };
        self.relays.spawn(relay.run());
        Ok(wire)
    }
}

struct Relay {
    node: SocketAddr,
    outside: Arc<UdpSocket>,
    cut: Arc<AtomicBool>,
    ends: Arc<Mutex<HashMap<SocketAddr, Arc<AtomicBool>>>>,
}

impl Relay {
    /// Carries datagrams until the demo ends. Each caller gets a socket of its own on the inside,
    /// so that the answers find back; there are as many callers as nodes.
    async fn run(self) {
        let mut inside: HashMap<SocketAddr, Arc<UdpSocket>> = HashMap::new();
        let mut answers = JoinSet::new();
        let mut buffer = vec![0; DATAGRAM];
        loop {
            let Ok((length, caller)) = self.outside.recv_from(&mut buffer).await else {
                continue;
            };
            let of_caller = self.cut_of(caller);
            if self.cut.load(Ordering::Relaxed) || of_caller.load(Ordering::Relaxed) {
                continue;
            }
            let socket = match inside.get(&caller) {
                Some(socket) => socket.clone(),
                None => {
                    let Ok(socket) = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await else {
                        continue;
                    };
                    let socket = Arc::new(socket);
                    inside.insert(caller, socket.clone());
                    answers.spawn(answer(
                        socket.clone(),
                        self.outside.clone(),
                        caller,
                        [self.cut.clone(), of_caller],
                    ));
                    socket
                }
            };
            // A datagram that can't be passed on is lost, as on any wire.
            drop(socket.send_to(&buffer[..length], self.node).await);
        }
    }

    fn cut_of(&self, caller: SocketAddr) -> Arc<AtomicBool> {
        let ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        ends.get(&caller).cloned().unwrap_or_default()
    }
}

/// Carries a node's answers back to one caller.
async fn answer(
    inside: Arc<UdpSocket>,
    outside: Arc<UdpSocket>,
    caller: SocketAddr,
    cuts: [Arc<AtomicBool>; 2],
) {
    let mut buffer = vec![0; DATAGRAM];
    loop {
        let Ok(length) = inside.recv(&mut buffer).await else {
            continue;
        };
        if cuts.iter().all(|cut| !cut.load(Ordering::Relaxed)) {
            drop(outside.send_to(&buffer[..length], caller).await);
        }
    }
}
