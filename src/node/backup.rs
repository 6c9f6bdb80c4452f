//! Backups: one verified file of a log, made while its node goes on, and the way back from it.
//!
//! ```text
//! FILE              the store, as SQLite: entries, whose it is, emit mark, idempotency keys
//! FILE.key          with the keys: the node's secret, readable by its owner only
//! FILE.cluster.key  with the keys: the cluster's secret, where the directory has it
//! ```
//!
//! A restored node takes its own newer entries from its peers before it appends, as any node does
//! that starts; alone, it appends in a new segment, a branch that a later one joins.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::directory::{self, DataDirectory, DirectoryError};
use super::emitted;
use super::offline::OfflineLog;
use super::verify::{Verified, VerifyError};
use super::writer::EMIT_BLOCK;
use crate::store::sqlite::{self, SqliteReader};
use crate::store::tip;
use crate::store::{EmitMark, OpenError, Owner, Reader, StoreError, StoreId};
use crate::words::{ClusterId, EmitNumber, NodeId};

/// Says why there is no backup, or why nothing was restored. What was there before is untouched.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// Something is there already.
    #[error("{0} is there already")]
    Occupied(PathBuf),
    /// There is no store that can be read.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The store can't be read, or the copy not written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Something in the copy is not as its authors signed it.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// The data directory can't be used.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// A file can't be read or written.
    #[error("{path}: {error}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> BackupError {
    let path = path.to_owned();
    move |error| BackupError::Io { path, error }
}

/// Whether something that is there already is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// No: nothing is done then.
    Keep,
    /// Yes: a backup is written over, a store moved aside.
    Replace,
}

/// Whether the secrets are copied, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keys {
    /// No: whoever gets the backup can read the log, and not write in its name.
    LeaveOut,
    /// Yes, into files beside it.
    Include,
}

/// What goes on, in parts of how much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// So many bytes of so many are copied.
    Copying(u64, u64),
    /// So many entries of so many are verified.
    Verifying(u64, u64),
}

/// A backup that was made or restored.
#[derive(Clone, Debug, Serialize)]
pub struct Backup {
    /// The node that it belongs to.
    pub node: NodeId,
    /// Its cluster.
    pub cluster: ClusterId,
    /// What was verified of it.
    #[serde(flatten)]
    pub verified: Verified,
    /// The size of its file.
    pub bytes: u64,
    /// The file with the node's secret, if it was copied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
    /// Where the store went that was there before, if one was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replaced: Option<PathBuf>,
}

/// Copies the log of a data directory into a file, and verifies the copy before it gets its name.
///
/// # Errors
/// See [`BackupError`].
pub fn make(
    place: &Path,
    file: &Path,
    keys: Keys,
    existing: Existing,
    mut progress: impl FnMut(Progress),
) -> Result<Backup, BackupError> {
    let key_file = beside(file, ".key");
    let wanted: &[&Path] = if keys == Keys::Include { &[file, &key_file] } else { &[file] };
    for path in wanted {
        // A directory is never written over, nor anything in the data directory: it may be the store.
        let kept = existing == Existing::Keep || path.is_dir() || lies_in(path, place);
        if kept && path.exists() {
            return Err(BackupError::Occupied((*path).to_owned()));
        }
    }
    let partial = Partial::beside(file)?;
    let store = directory::store_path(place);
    copy(&store, &partial.0, &mut progress)?;
    let mut backup = verify(&partial.0, &mut progress)?;
    if keys == Keys::Include {
        directory::copy_secret(&place.join("key"), &key_file)?;
        let cluster = place.join("cluster.key");
        if cluster.exists() {
            directory::copy_secret(&cluster, &beside(file, ".cluster.key"))?;
        }
        backup.key = Some(key_file);
    }
    partial.become_file(file)?;
    Ok(backup)
}

/// Makes a data directory from a backup, or refills one on which no node runs. The copy is
/// verified before it takes the store's place; a store that was there is moved aside.
///
/// The node's key is the one in the directory, or else the one beside the backup.
///
/// # Errors
/// See [`BackupError`].
pub fn restore(
    file: &Path,
    place: &Path,
    existing: Existing,
    mut progress: impl FnMut(Progress),
) -> Result<Backup, BackupError> {
    let Owner { node, cluster } = sqlite::owner(file)?;
    let store = directory::store_path(place);
    if existing == Existing::Keep && store.exists() {
        return Err(BackupError::Occupied(store));
    }
    let secrets = [("key", beside(file, ".key")), ("cluster.key", beside(file, ".cluster.key"))];
    let claimed = DataDirectory::claim(place, node, cluster, &secrets)?;
    let partial = Partial::at(place.join("restoring.sqlite"))?;
    copy(file, &partial.0, &mut progress)?;
    sqlite::bring_up_to_date(&partial.0)?;
    let mut backup = verify(&partial.0, &mut progress)?;
    let given_out = emitted_before(&partial.0, &store, &place.join("emitted"))?;
    sqlite::begin_anew(&partial.0, fresh_id(&partial.0)?, given_out)?;
    claimed.keep()?;
    backup.replaced = move_aside(place)?;
    // The store is older on purpose. Its node asks its peers for what it has written since all the same.
    let tip = directory::tip_path(place);
    tip::forget(&tip).map_err(failed(&tip))?;
    partial.become_file(&store)?;
    Ok(backup)
}

fn copy(from: &Path, to: &Path, progress: &mut impl FnMut(Progress)) -> Result<(), OpenError> {
    sqlite::copy(from, to, |done, all| progress(Progress::Copying(done, all)))
}

fn verify(path: &Path, progress: &mut impl FnMut(Progress)) -> Result<Backup, BackupError> {
    let mut log = OfflineLog::open(path)?;
    let verified = log.verify(|done, all| progress(Progress::Verifying(done, all)))?;
    let Owner { node, cluster } = log.owner();
    let bytes = fs::metadata(path).map_err(failed(path))?.len();
    Ok(Backup { node, cluster, verified, bytes, key: None, replaced: None })
}

/// The name of a store that is made here.
fn fresh_id(path: &Path) -> Result<StoreId, BackupError> {
    let mut id = [0; 8];
    let filled = getrandom::fill(&mut id).map_err(|error| io::Error::other(error.to_string()));
    filled.map_err(failed(path))?;
    Ok(StoreId(id))
}

/// Below which number all emits may have been given out already, by what is known here.
///
/// What is replaced knows best. Without it, the node may have emitted for as long as it could
/// without telling its disk, beyond what the backup knows. The next start states these numbers as
/// a gap, an upper bound.
fn emitted_before(backup: &Path, store: &Path, counter: &Path) -> Result<EmitNumber, BackupError> {
    let EmitMark { next, reserved, .. } = SqliteReader::open(backup)?.emits()?;
    let replaced = SqliteReader::open(store).ok().and_then(|mut old| old.emits().ok());
    let floor = match replaced {
        Some(old) => old.reserved.max(next),
        None => reserved.max(next.plus(EMIT_BLOCK)),
    };
    Ok(floor.max(emitted::peek(counter).unwrap_or_default()))
}

/// Moves the store that is there, and what belongs to it, into a directory of its own.
///
/// They are linked there before they are removed here, the database first: so at no time is one of
/// them without the other that makes it whole, whenever the power fails.
fn move_aside(place: &Path) -> Result<Option<PathBuf>, BackupError> {
    let named = |name: &str| place.join(name);
    let files = ["log.sqlite", "log.sqlite-wal", "log.sqlite-shm", "emitted"];
    let there: Vec<&str> = files.into_iter().filter(|name| named(name).exists()).collect();
    if there.is_empty() {
        return Ok(None);
    }
    let aside = (0_u32..)
        .map(|n| named(&format!("replaced-{n}")))
        .find(|aside| !aside.exists())
        .unwrap_or_else(|| named("replaced"));
    fs::create_dir(&aside).map_err(failed(&aside))?;
    for name in &there {
        fs::hard_link(named(name), aside.join(name)).map_err(failed(&named(name)))?;
    }
    sync(&aside)?;
    sync(place)?;
    for name in &there {
        fs::remove_file(named(name)).map_err(failed(&named(name)))?;
    }
    sync(place)?;
    Ok(Some(aside))
}

/// A file beside another one, whose name is that one's and more.
fn beside(file: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(file);
    name.push(suffix);
    name.into()
}

fn lies_in(path: &Path, directory: &Path) -> bool {
    let inside = fs::canonicalize(path).ok().zip(fs::canonicalize(directory).ok());
    inside.is_some_and(|(path, directory)| path.starts_with(directory))
}

fn sync(directory: &Path) -> Result<(), BackupError> {
    File::open(directory).and_then(|open| open.sync_all()).map_err(failed(directory))
}

/// A file that is not whole yet; it is removed unless it becomes the one that is meant.
struct Partial(PathBuf);

impl Partial {
    fn beside(file: &Path) -> Result<Self, BackupError> {
        Self::at(beside(file, &format!(".{}.partial", std::process::id())))
    }

    fn at(path: PathBuf) -> Result<Self, BackupError> {
        let partial = Self(path);
        partial.remove();
        // Nobody else may read what only the directory's owner could.
        directory::make_private(&partial.0)?;
        Ok(partial)
    }

    fn become_file(self, file: &Path) -> Result<(), BackupError> {
        fs::rename(&self.0, file).map_err(failed(file))?;
        let directory = file.parent().filter(|parent| !parent.as_os_str().is_empty());
        sync(directory.unwrap_or(Path::new(".")))
    }

    fn remove(&self) {
        for suffix in ["", "-journal", "-wal", "-shm"] {
            drop(fs::remove_file(beside(&self.0, suffix)));
        }
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        self.remove();
    }
}

#[cfg(test)]
mod tests;
