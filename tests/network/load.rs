//! Load: clients that append and emit at every node all the time, and write down what they were
//! told, so that it can be held against the logs later.

use std::collections::BTreeMap;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use fastrand::Rng;

use crate::cluster::Cluster;
use crate::door::Door;

/// Texts are as long as this at most; most are short.
const LONGEST: usize = 16 << 10;

/// How much the clients of one node do.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    pub append: Rate,
    pub emit: Rate,
}

/// How much one client does.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// How many texts a request has at most.
    pub most: usize,
    /// How long the client waits between two requests at most.
    pub pause: Duration,
}

impl Pace {
    /// So little that a slow link carries it.
    pub const GENTLE: Self = Self { append: Rate::new(4, 200), emit: Rate::new(8, 200) };
    /// So much that the ring of emitted events overruns now and then.
    pub const BUSY: Self = Self { append: Rate::new(40, 40), emit: Rate::new(400, 40) };
    /// What can go on for long. A burst of events may overrun the ring.
    pub const STEADY: Self = Self { append: Rate::new(10, 300), emit: Rate::new(350, 6_000) };

    /// So many times slower.
    pub fn slowed(self, times: f64) -> Self {
        let slowed = |rate: Rate| Rate { pause: rate.pause.mul_f64(times), ..rate };
        Self { append: slowed(self.append), emit: slowed(self.emit) }
    }
}

impl Rate {
    const fn new(most: usize, pause_millis: u64) -> Self {
        Self { most, pause: Duration::from_millis(pause_millis) }
    }
}

/// What the clients were told.
#[derive(Default)]
pub struct Ledger {
    /// The token of each acknowledged entry, by its id.
    appended: Mutex<BTreeMap<String, String>>,
    /// For each node, the token of each acknowledged event, by its emit number.
    emitted: Mutex<BTreeMap<usize, BTreeMap<u64, String>>>,
}

impl Ledger {
    /// The token of each acknowledged entry, by its id.
    pub fn appended(&self) -> BTreeMap<String, String> {
        self.appended.lock().unwrap().clone()
    }

    /// The token of each event that a node has acknowledged, by its emit number.
    pub fn emitted(&self, node: usize) -> BTreeMap<u64, String> {
        self.emitted.lock().unwrap().get(&node).cloned().unwrap_or_default()
    }

    /// How many entries were acknowledged so far.
    pub fn count(&self) -> usize {
        self.appended.lock().unwrap().len()
    }

    /// Appends texts at a node, and notes what it acknowledges; says whether it did.
    pub fn append(&self, door: &Door, texts: &[String]) -> bool {
        let Some(ids) = door.append(texts) else { return false };
        let mut appended = self.appended.lock().unwrap();
        for (id, text) in ids.into_iter().zip(texts) {
            let twice = appended.insert(id.clone(), token(text).to_owned());
            assert_eq!(twice, None, "{id} was acknowledged twice");
        }
        true
    }

    /// Emits texts at a node, and notes what it acknowledges.
    pub fn emit(&self, node: usize, door: &Door, texts: &[String]) {
        let Some(first) = door.emit(texts) else { return };
        let mut emitted = self.emitted.lock().unwrap();
        let of_node = emitted.entry(node).or_default();
        for (number, text) in (first..).zip(texts) {
            let twice = of_node.insert(number, token(text).to_owned());
            assert_eq!(twice, None, "emit number {number} was given out twice");
        }
    }
}

/// Letters and digits that can't be compressed away.
pub fn filler(length: usize, random: &mut Rng) -> String {
    (0..length).map(|_| random.alphanumeric()).collect()
}

/// What tells a text from all others: its first word.
pub fn token(text: &str) -> &str {
    text.split(' ').next().unwrap_or_default()
}

/// The clients of some nodes. They end with [`Load::end`].
pub struct Load {
    clients: Vec<(Sender<()>, JoinHandle<()>)>,
}

impl Load {
    /// Starts two clients at each node: one appends, one emits.
    pub fn start(cluster: &mut Cluster, ledger: &Arc<Ledger>, pace: Pace) -> Self {
        let mut clients = Vec::new();
        for (at, node) in cluster.nodes.iter().enumerate() {
            let acts =
                [("a", pace.append, append_once as fn(&mut Client)), ("e", pace.emit, emit_once)];
            for (name, rate, act) in acts {
                let mut random = cluster.random.fork();
                // Two loads on one ledger never say the same text.
                let name = format!("{name}{at}-{:08x}", random.u32(..));
                let (door, ledger) = (node.door.clone(), ledger.clone());
                let client = Client { name, node: at, door, rate, random, ledger, said: 0 };
                clients.push(client.start(act));
            }
        }
        Self { clients }
    }

    /// Ends the clients, and waits for their last answers.
    pub fn end(self) {
        let (ends, threads): (Vec<_>, Vec<_>) = self.clients.into_iter().unzip();
        drop(ends);
        for thread in threads {
            thread.join().unwrap();
        }
    }
}

struct Client {
    name: String,
    node: usize,
    door: Door,
    rate: Rate,
    random: Rng,
    ledger: Arc<Ledger>,
    said: u64,
}

impl Client {
    fn start(mut self, act: fn(&mut Self)) -> (Sender<()>, JoinHandle<()>) {
        let (end, ended) = channel();
        let thread = std::thread::spawn(move || {
            loop {
                act(&mut self);
                let pause = self.rate.pause.mul_f64(self.random.f64());
                if ended.recv_timeout(pause) == Err(RecvTimeoutError::Disconnected) {
                    return;
                }
            }
        });
        (end, thread)
    }

    fn texts(&mut self) -> Vec<String> {
        let count = self.random.usize(1..=self.rate.most);
        (0..count).map(|_| self.text()).collect()
    }

    /// A text that nobody else says, of random length.
    fn text(&mut self) -> String {
        self.said += 1;
        let length = match self.random.u8(..64) {
            0 => self.random.usize(..LONGEST),
            _ => self.random.usize(..80),
        };
        format!("{}-{} {}", self.name, self.said, filler(length, &mut self.random))
    }
}

fn append_once(client: &mut Client) {
    let texts = client.texts();
    client.ledger.append(&client.door, &texts);
}

fn emit_once(client: &mut Client) {
    let texts = client.texts();
    client.ledger.emit(client.node, &client.door, &texts);
}
