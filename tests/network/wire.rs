//! Wires between nodes: for each pair a relay of datagrams on loopback, whose weather may change at
//! any time.
//!
//! ```text
//!           near socket           far socket
//! node a ──► (a dials this) ─ a to b ─► (b sees this) ──► node b
//!        ◄──               ◄─ b to a ──              ◄──
//! ```
//!
//! A node checks its peer's key and not its address, so it doesn't know of the relay.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fastrand::Rng;
use tokio::net::UdpSocket;
use tokio::runtime::Runtime;
use tokio::time::Instant;

use crate::weather::Weather;

/// The largest datagram.
const DATAGRAM: usize = 65_535;
/// How much may be under way on a wire in one direction, as in the queue of a router.
const UNDER_WAY: usize = 1_024; // full: the datagram is lost
/// A datagram that would have to wait so long for its turn on a slow wire is lost.
const TURN: Duration = Duration::from_millis(500);

/// The wires between all pairs of some nodes.
pub struct Wires {
    ends: Vec<Arc<End>>,
    lanes: BTreeMap<(usize, usize), Arc<Lane>>,
    relays: BTreeMap<(usize, usize), SocketAddr>,
    dials: BTreeMap<(usize, usize), Arc<Dials>>,
    /// The relays live on it, and end with it.
    runtime: Runtime,
}

/// Where a node is at the moment, if it runs.
type End = Mutex<Option<SocketAddr>>;

/// The weather in one direction between two nodes, whoever of them dialed.
type Lane = Mutex<Weather>;

/// When a node has begun to connect with another one.
type Dials = Mutex<Vec<Instant>>;

impl Wires {
    /// Lays wires between so many nodes.
    pub fn lay(nodes: usize, seed: u64) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let pairs: Vec<_> = (0..nodes)
            .flat_map(|from| (0..nodes).map(move |to| (from, to)))
            .filter(|(from, to)| from != to)
            .collect();
        let mut wires = Self {
            ends: (0..nodes).map(|_| Arc::default()).collect(),
            lanes: pairs.iter().map(|pair| (*pair, Arc::new(Lane::new(Weather::FAIR)))).collect(),
            relays: BTreeMap::new(),
            dials: pairs.iter().map(|pair| (*pair, Arc::default())).collect(),
            runtime,
        };
        let mut random = Rng::with_seed(seed);
        for pair in pairs {
            let address = wires.lay_one(pair, &mut random);
            wires.relays.insert(pair, address);
        }
        wires
    }

    fn lay_one(&self, (from, to): (usize, usize), random: &mut Rng) -> SocketAddr {
        let bind = || UdpSocket::bind((Ipv4Addr::LOCALHOST, 0));
        let sockets = self.runtime.block_on(async { [bind().await, bind().await] });
        let [near, far] = sockets.map(|socket| Arc::new(socket.unwrap()));
        let address = near.local_addr().unwrap();
        let there = Relay {
            sockets: [near.clone(), far.clone()],
            ends: [self.ends[from].clone(), self.ends[to].clone()],
            weather: self.lanes[&(from, to)].clone(),
            random: random.fork(),
            dials: Some(self.dials[&(from, to)].clone()),
            dialing: Vec::new(),
        };
        let back = Relay {
            sockets: [far, near],
            ends: [self.ends[to].clone(), self.ends[from].clone()],
            weather: self.lanes[&(to, from)].clone(),
            random: random.fork(),
            dials: None,
            dialing: Vec::new(),
        };
        self.runtime.spawn(there.run());
        self.runtime.spawn(back.run());
        address
    }

    /// Where one node dials another.
    pub fn address(&self, from: usize, to: usize) -> SocketAddr {
        self.relays[&(from, to)]
    }

    /// Says where a node is from now on.
    pub fn place(&self, node: usize, address: Option<SocketAddr>) {
        *self.ends[node].lock().unwrap() = address;
    }

    /// Sets the weather in one direction.
    pub fn set(&self, from: usize, to: usize, weather: Weather) {
        *self.lanes[&(from, to)].lock().unwrap() = weather;
    }

    /// Sets the weather between two nodes, in both directions.
    pub fn set_between(&self, one: usize, other: usize, weather: Weather) {
        self.set(one, other, weather);
        self.set(other, one, weather);
    }

    /// Sets the weather everywhere.
    pub fn set_all(&self, weather: Weather) {
        self.lanes.values().for_each(|lane| *lane.lock().unwrap() = weather);
    }

    /// Cuts every wire between the two sides, in both directions.
    pub fn part(&self, side: &[usize]) {
        let inside = |node: &usize| side.contains(node);
        for ((from, to), lane) in &self.lanes {
            if inside(from) != inside(to) {
                *lane.lock().unwrap() = Weather::CUT;
            }
        }
    }

    /// When one node has begun to connect with another, each time.
    pub fn dials(&self, from: usize, to: usize) -> Vec<Instant> {
        self.dials[&(from, to)].lock().unwrap().clone()
    }
}

/// Carries datagrams in one direction.
struct Relay {
    /// Where they come in, and where they go out.
    sockets: [Arc<UdpSocket>; 2],
    /// Whose they are, and for whom.
    ends: [Arc<End>; 2],
    weather: Arc<Lane>,
    random: Rng,
    /// Where it notes when a connection is begun, if this is the direction in which one is.
    dials: Option<Arc<Dials>>,
    /// The connection id of the one that was begun last.
    dialing: Vec<u8>,
}

impl Relay {
    async fn run(mut self) {
        let mut under_way = UnderWay::default();
        let mut buffer = vec![0; DATAGRAM];
        let [inlet, outlet] = self.sockets.clone();
        loop {
            tokio::select! {
                received = inlet.recv_from(&mut buffer) => {
                    // An error tells of an earlier datagram that found nobody.
                    let Ok((length, from)) = received else { continue };
                    if *self.ends[0].lock().unwrap() == Some(from) {
                        self.note_dial(&buffer[..length]);
                        self.take(&buffer[..length], &mut under_way);
                    }
                }
                () = under_way.until_next() => {}
            }
            while let Some(datagram) = under_way.arrived() {
                let cut = self.weather.lock().unwrap().cut;
                let to = *self.ends[1].lock().unwrap();
                if let Some(to) = to.filter(|_| !cut) {
                    // A datagram that can't be passed on is lost, as on any wire.
                    drop(outlet.send_to(&datagram, to).await);
                }
            }
        }
    }

    fn take(&mut self, datagram: &[u8], under_way: &mut UnderWay) {
        let weather = *self.weather.lock().unwrap();
        for (after, copy) in weather.copies(datagram, &mut self.random) {
            if let Some(turn) = under_way.turn(copy.len(), weather.bytes_per_second) {
                under_way.put(turn + after, copy);
            }
        }
    }

    fn note_dial(&mut self, datagram: &[u8]) {
        let Some(dials) = &self.dials else { return };
        if let Some(id) = dialing(datagram).filter(|id| *id != self.dialing) {
            self.dialing = id.to_vec();
            dials.lock().unwrap().push(Instant::now());
        }
    }
}

/// The connection id that the sender of an *initial* QUIC packet has chosen (RFC 9000, 17.2.2).
fn dialing(datagram: &[u8]) -> Option<&[u8]> {
    let (form, rest) = datagram.split_first()?;
    let (to_length, rest) = rest.get(4..)?.split_first()?;
    let (length, rest) = rest.get(usize::from(*to_length)..)?.split_first()?;
    (form & 0xf0 == 0xc0).then_some(rest.get(..usize::from(*length))?)
}

/// The datagrams between the ends, by when they arrive.
#[derive(Default)]
struct UnderWay {
    datagrams: BTreeMap<(Instant, u64), Vec<u8>>,
    count: u64,
    /// When a slow wire has passed on all that it has taken.
    free: Option<Instant>,
}

impl UnderWay {
    /// When a datagram has gone onto the wire; none when there is no room for it.
    fn turn(&mut self, length: usize, bytes_per_second: Option<u32>) -> Option<Instant> {
        let now = Instant::now();
        if self.datagrams.len() >= UNDER_WAY {
            return None;
        }
        let Some(bytes_per_second) = bytes_per_second else {
            self.free = None;
            return Some(now);
        };
        let begin = self.free.map_or(now, |free| free.max(now));
        if begin > now + TURN {
            return None;
        }
        let time = Duration::from_secs_f64(length as f64 / f64::from(bytes_per_second));
        self.free = Some(begin + time);
        self.free
    }

    fn put(&mut self, at: Instant, datagram: Vec<u8>) {
        self.count += 1;
        self.datagrams.insert((at, self.count), datagram);
    }

    /// Waits until the next one arrives; for ever when there is none.
    async fn until_next(&self) {
        match self.datagrams.first_key_value() {
            Some(((at, _), _)) => tokio::time::sleep_until(*at).await,
            None => std::future::pending().await,
        }
    }

    fn arrived(&mut self) -> Option<Vec<u8>> {
        let first = self.datagrams.first_entry()?;
        (first.key().0 <= Instant::now()).then(|| first.remove())
    }
}
