//! Salvage of a data directory: the damaged store is moved aside, never deleted, and what can be read
//! of it begins a fresh one.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::directory::{DataDirectory, DirectoryError};
use super::offline::OfflineLog;
use super::verify::VerifyError;
use super::{NodeError, random, wall_millis};
use crate::core::log::Log;
use crate::store::remembering::Remembering;
pub use crate::store::salvage::{SalvageError, Salvaged};

use crate::store::salvage;
use crate::store::sqlite::SqliteStore;
use crate::store::tip::{self, Missing};
use crate::store::{OpenError, Owner, StoreError};
use crate::words::{Offset, Time};

/// The files of a store: the database, its write-ahead log, and the index of that.
const STORE: [&str; 3] = ["log.sqlite", "log.sqlite-wal", "log.sqlite-shm"];
/// What a fresh store is called until the damaged one is out of its way.
const FRESH: &str = "log.sqlite.new";

/// What became of a data directory.
#[derive(Debug, Serialize)]
pub struct Report {
    /// What was wrong with the store; none where nothing was.
    pub damage: Option<String>,
    /// What was carried over into a fresh store, if one was made.
    pub salvaged: Option<Salvaged>,
    /// Where the damaged files are now.
    pub aside: Option<PathBuf>,
    /// What the store has lost and is not back.
    pub missing: Option<Missing>,
}

/// Says why a data directory was not salvaged. The store is as it was, or moved aside as a whole.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The directory can't be used: a node runs there, say.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// There is no store, or one that this towline may not touch.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The fresh store can't be written, or the damaged one not be read at all.
    #[error(transparent)]
    Salvage(#[from] SalvageError),
    /// Files can't be moved.
    #[error("can't move {path}: {error}")]
    Move {
        /// Which one.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The node's place can't be used.
    #[error(transparent)]
    Node(#[from] NodeError),
}

/// Salvages the store of a data directory on which no node runs; one that verifies stays as it is.
/// Needs no peer.
///
/// # Errors
/// See [`Error`].
pub fn salvage(path: &Path) -> Result<Report, Error> {
    let store = super::directory::store_path(path);
    if !store.exists() {
        return Err(OpenError::Missing(path.display().to_string()).into());
    }
    let directory = DataDirectory::open(path, None)?;
    let Some(damage) = damage(path, &directory)? else {
        let missing = OfflineLog::open(path)?.missing();
        return Ok(Report { damage: None, salvaged: None, aside: None, missing });
    };
    let fresh = path.join(FRESH);
    remove(&fresh)?;
    let salvaged = carry_over(path, &directory, &fresh)?;
    let aside = move_aside(path)?;
    rename(&fresh, &store)?;
    sync(path)?;
    let missing = remember(&directory)?;
    directory.release();
    let (damage, salvaged, aside) = (Some(damage), Some(salvaged), Some(aside));
    Ok(Report { damage, salvaged, aside, missing })
}

/// Gives up what the store of a data directory lost: from now on it counts as whole, however old it
/// is. For entries that nobody has any more, and for a store that is older on purpose.
///
/// # Errors
/// A node runs there, or the tip can't be removed.
pub fn forget_missing(path: &Path) -> Result<(), DirectoryError> {
    let directory = DataDirectory::open(path, None)?;
    let tip = directory.tip();
    let forgotten = tip::forget(&tip);
    forgotten.map_err(|error| DirectoryError::Io { act: "remove", path: tip, error })
}

/// What is wrong with the store; none where it verifies.
fn damage(path: &Path, directory: &DataDirectory) -> Result<Option<String>, Error> {
    let opened = OfflineLog::open(path);
    let mut log = match opened {
        Ok(log) => log,
        Err(error) if is_damage(&error) => return Ok(Some(error.to_string())),
        Err(error) => return Err(error.into()),
    };
    let (node, found) = (directory.identity().node_id(), log.owner().node);
    if found != node {
        let (found, expected) = (found.to_string(), node.to_string());
        return Err(OpenError::Owner { what: "node", found, expected }.into());
    }
    match log.verify(|_, _| {}) {
        Ok(_) | Err(VerifyError::Missing(_)) => Ok(None),
        Err(VerifyError::Bad(bad)) => Ok(Some(bad.to_string())),
        Err(VerifyError::Store(error)) => Err(OpenError::Store(error).into()),
    }
}

/// Whether a store that can't be opened is damaged, rather than somebody else's.
fn is_damage(error: &OpenError) -> bool {
    match error {
        // A page of noise may say that it has any version; ours are counted one by one.
        OpenError::Newer { found, known } => *found > known + 1_000,
        OpenError::Store(error) => {
            matches!(error, StoreError::Damaged(_) | StoreError::Lost(_))
        }
        OpenError::Foreign(_) | OpenError::Missing(_) => true,
        OpenError::Older { .. } | OpenError::Owner { .. } | OpenError::Pragma { .. } => false,
    }
}

/// Makes a fresh store of what can be read of the damaged one.
fn carry_over(path: &Path, directory: &DataDirectory, fresh: &Path) -> Result<Salvaged, Error> {
    let (identity, cluster) = (directory.identity().clone(), directory.cluster());
    let owner = Owner { node: identity.node_id(), cluster };
    let mut store = SqliteStore::open(fresh, owner, random()?)?;
    let log = Log::new(identity, cluster, random()?, [], Offset(0), wall_millis());
    let [file, wal, _] = STORE.map(|file| path.join(file));
    Ok(salvage::salvage((&file, &wal), &mut store, log, (cluster, wall_millis()))?)
}

/// Moves the files of the store into a directory of their own, named for the time.
fn move_aside(path: &Path) -> Result<PathBuf, Error> {
    let now = Time::from_millis(wall_millis()).to_string().replace(':', "");
    let aside = path.join(format!("damaged-{now}"));
    fs::create_dir(&aside).map_err(|error| Error::Move { path: aside.clone(), error })?;
    for file in STORE {
        if path.join(file).exists() {
            rename(&path.join(file), &aside.join(file))?;
        }
    }
    sync(&aside)?;
    Ok(aside)
}

/// Compares the fresh store with what the damaged one held, and remembers what is missing.
fn remember(directory: &DataDirectory) -> Result<Option<Missing>, Error> {
    let owner = Owner { node: directory.identity().node_id(), cluster: directory.cluster() };
    let store = SqliteStore::open(&directory.store(), owner, random()?)?;
    let store = Remembering::open(store, &directory.tip()).map_err(NodeError::from)?;
    Ok(store.missing())
}

fn rename(from: &Path, to: &Path) -> Result<(), Error> {
    fs::rename(from, to).map_err(|error| Error::Move { path: from.to_owned(), error })
}

/// Removes what an earlier salvage left unfinished: it was made of files that are still there.
fn remove(fresh: &Path) -> Result<(), Error> {
    for ending in ["", "-wal", "-shm"] {
        let mut path = fresh.as_os_str().to_owned();
        path.push(ending);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Error::Move { path: path.into(), error });
            }
            _ => {}
        }
    }
    Ok(())
}

fn sync(directory: &Path) -> Result<(), Error> {
    let synced = File::open(directory).and_then(|directory| directory.sync_all());
    synced.map_err(|error| Error::Move { path: directory.to_owned(), error })
}
