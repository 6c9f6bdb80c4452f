//! What nodes take of the machine, read from `/proc` while they run.

use std::fs;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// How often it is looked.
const LOOK: Duration = Duration::from_millis(200);
/// No node may ever take more memory.
pub const MEMORY_KIB: u64 = 512 << 10;
/// A node with four peers and a few clients needs about 30 descriptors. More than twice as many are
/// some that nobody closes.
pub const DESCRIPTORS: usize = 64;

/// What one node took at most, in all its lives.
#[derive(Clone, Copy, Debug, Default)]
pub struct Peak {
    /// Resident memory.
    pub memory_kib: u64,
    /// Open file descriptors.
    pub descriptors: usize,
}

/// Watches the processes of some nodes from a thread of its own.
pub struct Vitals {
    watched: Arc<Mutex<Vec<Watched>>>,
    watching: Option<(Sender<()>, JoinHandle<()>)>,
}

#[derive(Clone, Copy, Default)]
struct Watched {
    pid: Option<u32>,
    peak: Peak,
}

impl Vitals {
    /// Watches so many nodes, of which none runs yet.
    pub fn watch(nodes: usize) -> Self {
        let watched = Arc::new(Mutex::new(vec![Watched::default(); nodes]));
        let (end, ended) = channel();
        let shared = watched.clone();
        let thread = std::thread::spawn(move || look_until(&ended, &shared));
        Self { watched, watching: Some((end, thread)) }
    }

    /// The process of a node from now on, if it runs.
    pub fn follow(&self, node: usize, pid: Option<u32>) {
        self.watched.lock().unwrap()[node].pid = pid;
    }

    /// What each node took at most so far.
    pub fn peaks(&self) -> Vec<Peak> {
        let mut watched = self.watched.lock().unwrap();
        look(&mut watched);
        watched.iter().map(|node| node.peak).collect()
    }
}

impl Drop for Vitals {
    fn drop(&mut self) {
        let (end, thread) = self.watching.take().expect("it is dropped once");
        drop(end);
        drop(thread.join());
    }
}

fn look_until(ended: &Receiver<()>, watched: &Mutex<Vec<Watched>>) {
    while ended.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
        look(&mut watched.lock().unwrap());
    }
}

/// A process that has just ended has nothing to be read, and keeps its peak.
fn look(watched: &mut [Watched]) {
    for Watched { pid, peak } in watched {
        let Some(pid) = *pid else { continue };
        peak.memory_kib = peak.memory_kib.max(memory_kib(pid).unwrap_or_default());
        peak.descriptors = peak.descriptors.max(descriptors(pid).unwrap_or_default());
    }
}

/// The most memory that a process was resident with: the kernel itself keeps count of it.
fn memory_kib(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// How many file descriptors a process has open.
fn descriptors(pid: u32) -> Option<usize> {
    Some(fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count())
}
