//! What is on the disk when the power goes: all that was synced, and of the rest whatever the
//! system happened to have written.
//!
//! The model is the weakest that POSIX allows. A write is durable once its file was synced; a name
//! is once its directory was. Of what was done since, any part may be there: writes survive in any
//! choice, a sector (512 bytes) as a whole or not at all. Names change in order, because every
//! file system in use keeps a journal of them.

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;
use fastrand::Rng;

use crate::disk::{Inode, Operation};

/// The bytes that a disk writes as a whole or not at all.
const SECTOR: usize = 512;

/// What survives of what no sync had reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Survivors {
    /// Nothing: the system had written none of it.
    None,
    /// Everything: the process was killed, and the system went on.
    All,
    /// The first operations, up to one by chance.
    Prefix,
    /// Each with an even chance.
    Subset,
    /// Each with an even chance, and some of the sectors of a write.
    Torn,
}

impl Survivors {
    pub const EACH: [Self; 5] = [Self::None, Self::All, Self::Prefix, Self::Subset, Self::Torn];
}

/// The files that a restarted machine finds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image(BTreeMap<String, Vec<u8>>);

impl Image {
    pub fn write_to(&self, directory: &Path) {
        for (name, content) in &self.0 {
            std::fs::write(directory.join(name), content).unwrap();
        }
    }

    /// The names and contents of the files.
    pub fn files(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.0.iter().map(|(name, content)| (name.as_str(), content.as_slice()))
    }

    pub fn file(&self, name: &str) -> &[u8] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }

    pub fn file_mut(&mut self, name: &str) -> &mut Vec<u8> {
        self.0.get_mut(name).unwrap()
    }

    pub fn remove(&mut self, name: &str) {
        self.0.remove(name).unwrap();
    }
}

/// A disk at one moment.
#[derive(Clone, Debug, Default)]
pub struct Platter {
    files: BTreeMap<Inode, Vec<u8>>,
    names: BTreeMap<String, Inode>,
    /// What was done to files and not synced, in order.
    unsynced: Vec<(Inode, Change)>,
    /// Which names were made and deleted since the directory was synced, in order.
    renamed: Vec<(String, Option<Inode>)>,
}

#[derive(Clone, Debug)]
enum Change {
    Write { at: usize, bytes: Bytes },
    Truncate { size: usize },
}

impl Platter {
    /// Does one more operation.
    pub fn apply(&mut self, operation: &Operation) {
        match operation {
            Operation::Create { name, inode } => {
                self.files.insert(*inode, Vec::new());
                self.renamed.push((name.clone(), Some(*inode)));
            }
            Operation::Delete { name } => self.renamed.push((name.clone(), None)),
            Operation::SyncDirectory => {
                let renamed = std::mem::take(&mut self.renamed);
                rename(&mut self.names, &renamed);
            }
            Operation::Write { inode, at, bytes } => {
                self.unsynced.push((*inode, Change::Write { at: *at, bytes: bytes.clone() }));
            }
            Operation::Truncate { inode, size } => {
                self.unsynced.push((*inode, Change::Truncate { size: *size }));
            }
            Operation::Sync { inode } => {
                let file = self.files.entry(*inode).or_default();
                for (_, change) in self.unsynced.extract_if(.., |(of, _)| of == inode) {
                    change.apply(file);
                }
            }
            // The worst that can follow: the pages are clean in memory, and never get here.
            Operation::FailedSync { inode } => self.unsynced.retain(|(of, _)| of != inode),
        }
    }

    /// What is found after a power cut at this moment.
    pub fn image(&self, survivors: Survivors, rng: &mut Rng) -> Image {
        let mut files = self.files.clone();
        let prefix = rng.usize(..=self.unsynced.len());
        for (at, (inode, change)) in self.unsynced.iter().enumerate() {
            let file = files.entry(*inode).or_default();
            match survivors {
                Survivors::None => {}
                Survivors::All => change.apply(file),
                Survivors::Prefix if at < prefix => change.apply(file),
                Survivors::Prefix => {}
                Survivors::Subset if rng.bool() => change.apply(file),
                Survivors::Subset => {}
                Survivors::Torn if rng.bool() => change.apply_torn(file, rng),
                Survivors::Torn => {}
            }
        }
        let mut names = self.names.clone();
        rename(&mut names, &self.renamed[..self.names_kept(survivors, rng)]);
        let content = |(name, inode)| (name, files.get(&inode).cloned().unwrap_or_default());
        Image(names.into_iter().map(content).collect())
    }

    fn names_kept(&self, survivors: Survivors, rng: &mut Rng) -> usize {
        match survivors {
            Survivors::None => 0,
            Survivors::All => self.renamed.len(),
            _ => rng.usize(..=self.renamed.len()),
        }
    }
}

fn rename(names: &mut BTreeMap<String, Inode>, renamed: &[(String, Option<Inode>)]) {
    for (name, inode) in renamed {
        match inode {
            Some(inode) => names.insert(name.clone(), *inode),
            None => names.remove(name),
        };
    }
}

impl Change {
    fn apply(&self, file: &mut Vec<u8>) {
        match self {
            Self::Write { at, bytes } => write(file, *at, bytes),
            Self::Truncate { size } => file.resize(*size, 0),
        }
    }

    /// Writes some of the sectors that the write lies in.
    fn apply_torn(&self, file: &mut Vec<u8>, rng: &mut Rng) {
        let Self::Write { at, bytes } = self else {
            return self.apply(file);
        };
        let mut from = 0;
        while from < bytes.len() {
            let to_boundary = SECTOR - (at + from) % SECTOR;
            let to = (from + to_boundary).min(bytes.len());
            if rng.bool() {
                write(file, at + from, &bytes[from..to]);
            }
            from = to;
        }
    }
}

fn write(file: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    let end = at + bytes.len();
    if file.len() < end {
        file.resize(end, 0);
    }
    file[at..end].copy_from_slice(bytes);
}
