//! The tip: what the store held when it last committed, remembered outside the database.
//!
//! SQLite hides some losses. It ends a write-ahead log at the first frame whose checksum fails, so
//! one flipped bit drops every later commit, and what is left is well formed; so is a database
//! whose log was deleted, or an older copy that somebody put back. The file `tip` tells.
//!
//! It is written after a commit has returned, and so after the database was synced: on a disk that
//! keeps what it synced, the tip never runs ahead of the database. A tip that is older is what a
//! power cut leaves; one that is newer means that commits were lost.
//!
//! ```text
//! two slots, at 0 and at 4096, written alternately and in place; the valid one with the higher
//! number counts. All integers are big-endian.
//!   0..8      "towltip1"
//!   8..16     the number of the writing
//!  16..24     the store's name
//!  24..32     the offset that the next entry takes
//!  32..88     the node's own newest change: seq after it, hash, segment; zeros where there is none
//!  88..96     what is missing: the next offset before the loss; 0 where nothing is
//!  96..152    what is missing: the own newest change before the loss
//! 152..160    the first 8 bytes of the SHA-256 of all that
//! ```

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest, Sha256};

use super::{Reader, StoreError, StoreId};
use crate::core::frontier::Head;
use crate::words::planted::{Bug, planted};
use crate::words::{ChangeHash, Offset, SegmentId, Seq};

const MAGIC: &[u8; 8] = b"towltip1";
/// How far apart the slots are: a write that is torn tears one of them.
const SLOT: u64 = 4_096;
const SLOT_BYTES: usize = 160;
const CHECKSUM: usize = 8;

/// The newest that a store holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Newest {
    /// The offset that the next entry takes.
    pub next_offset: Offset,
    /// The newest change of the store's own node, if it has written any.
    pub own: Option<Head>,
}

/// What the file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remembered {
    /// Which store it speaks of.
    pub store: StoreId,
    /// The newest that it held.
    pub newest: Newest,
    /// The newest that it held before commits were lost that are not back yet.
    pub owed: Option<Newest>,
}

/// What a store should hold, and doesn't.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Missing {
    /// How many entries were missing when it was noticed, at least.
    pub entries: u64,
    /// How many of them are the node's own, at least.
    pub own: u64,
    #[serde(skip)]
    owed: Newest,
    /// Whether the own newest change is back.
    #[serde(skip)]
    own_is_back: bool,
}

impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { entries, own, owed, .. } = self;
        let before = owed.next_offset;
        write!(
            f,
            "the store has lost {entries} entries at least, {own} of them this node's own: \
             it once reached offset {before}"
        )
    }
}

/// What a store should hold and doesn't, shared by its writer and the node.
#[derive(Clone, Debug, Default)]
pub struct Shortage(Arc<Mutex<Option<Missing>>>);

impl Shortage {
    /// What is missing, if anything is.
    pub fn missing(&self) -> Option<Missing> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the node has written a change that it doesn't hold.
    pub fn lacks_own(&self) -> bool {
        self.missing().is_some_and(|missing| missing.owed.own.is_some() && !missing.own_is_back)
    }

    pub(super) fn set(&self, missing: Option<Missing>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = missing;
    }

    /// The newest that the store held before, as long as it isn't back.
    pub(super) fn owed(&self) -> Option<Newest> {
        self.missing().map(|missing| missing.owed)
    }

    /// Changes were committed: `is_among` says whether a change of the node's own is among them.
    pub(super) fn committed(&self, newest: &Newest, is_among: impl Fn(ChangeHash) -> bool) {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(missing) = held.as_mut() else { return };
        missing.own_is_back |= missing.owed.own.is_none_or(|own| is_among(own.hash));
        if missing.own_is_back && newest.next_offset >= missing.owed.next_offset {
            *held = None;
        }
    }
}

/// Compares what is remembered with what a store holds.
///
/// # Errors
/// The store can't be read.
pub fn compare(
    remembered: &Remembered,
    found: &Newest,
    reader: &mut dyn Reader,
) -> Result<Option<Missing>, StoreError> {
    if planted(Bug::TipIgnored) {
        return Ok(None);
    }
    let Remembered { newest, owed, .. } = remembered;
    let mut lost = None;
    for own in [newest.own, owed.and_then(|owed| owed.own)].into_iter().flatten() {
        if reader.locate(&own)?.is_none() {
            lost = lost.max(Some(own));
        }
    }
    let reached = newest.next_offset.max(owed.unwrap_or_default().next_offset);
    if lost.is_none() && reached <= found.next_offset {
        return Ok(None);
    }
    let held = found.own.map_or(Seq(0), |own| own.next_seq);
    let own = lost.map_or(0, |own| own.next_seq.0.saturating_sub(held.0).max(1));
    let entries = reached.0.saturating_sub(found.next_offset.0).max(own);
    let owed = Newest { next_offset: reached, own: lost };
    Ok(Some(Missing { entries, own, owed, own_is_back: lost.is_none() }))
}

/// Reads what is remembered beside a store that somebody else may be writing. None where there is
/// no such file, or nothing valid in it.
///
/// # Errors
/// The file can't be read.
pub fn look(path: &Path) -> io::Result<Option<Remembered>> {
    match File::open(path) {
        Ok(file) => Ok(newest_slot(&file)?.map(|(_, remembered)| remembered)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Forgets what is remembered: from now on the store beside it counts as whole, however old it is.
/// Whoever restores an older store on purpose, or gives lost entries up, calls this while no node
/// runs there.
///
/// # Errors
/// The file can't be removed.
pub fn forget(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    path.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
}

/// The file, open for writing. One process has it.
#[derive(Debug)]
pub struct TipFile {
    file: Arc<File>,
    number: u64,
}

impl TipFile {
    /// Opens the file, and makes it when it is missing. Returns what it remembers.
    ///
    /// # Errors
    /// It can't be made or read.
    pub fn open(path: &Path) -> io::Result<(Self, Option<Remembered>)> {
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).read(true).write(true).mode(0o600);
        let file = options.open(path)?;
        let found = newest_slot(&file)?;
        if found.is_none() && file.metadata()?.len() > 0 {
            tracing::warn!(
                path = %path.display(),
                "the tip is damaged: whether commits were lost can't be told this time"
            );
        }
        let (number, remembered) = found.unzip();
        Ok((Self { file: Arc::new(file), number: number.unwrap_or(0) }, remembered))
    }

    /// Remembers: in the page cache, from where it outlives the process. It is not synced.
    ///
    /// # Errors
    /// The disk is broken, or too full even to write in place.
    pub fn write(&mut self, remembered: &Remembered) -> io::Result<()> {
        self.number += 1;
        let slot = encode(self.number, remembered);
        self.file.write_all_at(&slot, self.number % 2 * SLOT)
    }

    /// What syncs the file, from any thread.
    pub fn file(&self) -> Arc<File> {
        self.file.clone()
    }
}

fn encode(number: u64, remembered: &Remembered) -> [u8; SLOT_BYTES] {
    let Remembered { store, newest, owed } = remembered;
    let mut slot = Vec::with_capacity(SLOT_BYTES);
    slot.extend_from_slice(MAGIC);
    slot.extend_from_slice(&number.to_be_bytes());
    slot.extend_from_slice(&store.0);
    for Newest { next_offset, own } in [*newest, owed.unwrap_or_default()] {
        slot.extend_from_slice(&next_offset.0.to_be_bytes());
        slot.extend_from_slice(&own.map_or(0, |own| own.next_seq.0).to_be_bytes());
        slot.extend_from_slice(&own.map_or([0; 32], |own| own.hash.0));
        slot.extend_from_slice(&own.map_or([0; 16], |own| own.segment.0));
    }
    let digest = Sha256::digest(&slot);
    let mut bytes = [0; SLOT_BYTES];
    let (content, checksum) = bytes.split_at_mut(SLOT_BYTES - CHECKSUM);
    content.copy_from_slice(&slot);
    checksum.copy_from_slice(&digest[..CHECKSUM]);
    bytes
}

/// The newest valid slot.
fn newest_slot(file: &File) -> io::Result<Option<(u64, Remembered)>> {
    let mut found = None;
    for at in [0, SLOT] {
        let mut slot = [0; SLOT_BYTES];
        match file.read_exact_at(&mut slot, at) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => continue,
            read => read?,
        }
        let newer = |(number, _): &(u64, Remembered)| {
            found.is_none_or(|(other, _): (u64, Remembered)| *number > other)
        };
        found = decode(&slot).filter(newer).or(found);
    }
    Ok(found)
}

fn decode(slot: &[u8; SLOT_BYTES]) -> Option<(u64, Remembered)> {
    let (content, checksum) = slot.split_at(SLOT_BYTES - CHECKSUM);
    if !content.starts_with(MAGIC) || checksum != &Sha256::digest(content)[..CHECKSUM] {
        return None;
    }
    let mut rest = &content[MAGIC.len()..];
    let number = u64::from_be_bytes(take(&mut rest)?);
    let store = StoreId(take(&mut rest)?);
    let (newest, owed) = (read_newest(&mut rest)?, read_newest(&mut rest)?);
    Some((
        number,
        Remembered { store, newest, owed: Some(owed).filter(|owed| *owed != Newest::default()) },
    ))
}

fn read_newest(rest: &mut &[u8]) -> Option<Newest> {
    let next_offset = Offset(u64::from_be_bytes(take(rest)?));
    let next_seq = Seq(u64::from_be_bytes(take(rest)?));
    let (hash, segment) = (ChangeHash(take(rest)?), SegmentId(take(rest)?));
    let own = Some(Head { next_seq, hash, segment }).filter(|own| own.next_seq > Seq(0));
    Some(Newest { next_offset, own })
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk::<N>()?;
    *rest = tail;
    Some(*head)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(seq: u64) -> Head {
        Head { next_seq: Seq(seq), hash: ChangeHash([seq as u8; 32]), segment: SegmentId([2; 16]) }
    }

    fn at(offset: u64, own: Option<Head>) -> Remembered {
        let newest = Newest { next_offset: Offset(offset), own };
        Remembered { store: StoreId([3; 8]), newest, owed: None }
    }

    #[test]
    fn the_newest_writing_is_remembered() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tip");
        assert_eq!(look(&path).unwrap(), None);
        let (mut tip, before) = TipFile::open(&path).unwrap();
        assert_eq!(before, None);
        for offset in 1..4 {
            let remembered = at(offset, Some(head(offset)));
            tip.write(&remembered).unwrap();
            assert_eq!(look(&path).unwrap(), Some(remembered));
        }
        let owed = Some(Newest { next_offset: Offset(9), own: Some(head(7)) });
        let short = Remembered { owed, ..at(4, None) };
        drop(tip);
        TipFile::open(&path).unwrap().0.write(&short).unwrap();
        assert_eq!(TipFile::open(&path).unwrap().1, Some(short));
    }

    #[test]
    fn a_torn_or_altered_slot_leaves_the_other_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tip");
        let (mut tip, _) = TipFile::open(&path).unwrap();
        let (first, second) = (at(1, None), at(2, Some(head(2))));
        tip.write(&first).unwrap();
        tip.write(&second).unwrap();
        for byte in 0..SLOT_BYTES {
            let file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
            let mut whole = [0; SLOT_BYTES];
            file.read_exact_at(&mut whole, 0).unwrap();
            let mut altered = whole;
            altered[byte] ^= 1;
            file.write_all_at(&altered, 0).unwrap();
            assert_eq!(look(&path).unwrap(), Some(first), "byte {byte} of the second writing");
            file.write_all_at(&whole, 0).unwrap();
        }
        assert_eq!(look(&path).unwrap(), Some(second));
    }

    #[test]
    fn what_is_forgotten_is_not_remembered() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tip");
        TipFile::open(&path).unwrap().0.write(&at(1, None)).unwrap();
        forget(&path).unwrap();
        forget(&path).unwrap();
        assert_eq!(look(&path).unwrap(), None);
    }
}
