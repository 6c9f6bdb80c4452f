//! The data directory: key, lock, cluster, and the address of the running node.
//!
//! ```text
//! key          the node's secret: 64 hex digits, readable by its owner only
//! cluster      the cluster id: 64 hex digits
//! cluster.key  the cluster's secret, on the node that made the cluster
//! lock         locked while a process has the directory
//! node.json    where the running node listens
//! local.token  the running node's token for commands on this machine, where tokens are required
//! tokens.json  the tokens for HTTP, without their secrets; tokens.lock, while they are changed
//! cursors      the places of named consumers, a file each
//! log.sqlite   the store
//! emitted      the emit counter, as the running process last left it
//! tip          what the store held when it last committed
//! ```

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::emitted::EmitCounter;
use crate::words::{ClusterId, Identity, NodeId};

/// How often a lock is tried that another process has, and how long lies between two tries.
const LOCK_TRIES: u32 = 10;
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// Says why a data directory can't be used. Nothing in it was changed.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// Another process has it.
    #[error("another process has the data directory {0}")]
    Locked(PathBuf),
    /// The key file is missing though a store is there.
    #[error("the key file {0} is missing, and the store beside it belongs to that key")]
    KeyMissing(PathBuf),
    /// Others than the owner can read the key.
    #[error("the key file {path} can be read by others (mode {mode:04o})")]
    KeyReadable {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A file is not what it should be.
    #[error("{path} is not {expected}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        expected: &'static str,
    },
    /// The directory belongs to another cluster than the one asked for.
    #[error("the data directory belongs to the cluster {found}, not to {expected}")]
    OtherCluster {
        /// The cluster that the directory names.
        found: ClusterId,
        /// The cluster that was asked for.
        expected: ClusterId,
    },
    /// The directory belongs to another node than the log that is to go into it.
    #[error("the key in the data directory is that of the node {found}, not of {expected}")]
    OtherNode {
        /// The node whose key is there.
        found: NodeId,
        /// The node that is meant.
        expected: NodeId,
    },
    /// There is no key for the log that is to go into the directory.
    #[error("the key of the node {node} is neither at {} nor at {}", .own.display(), .given.display())]
    NoKey {
        /// The node.
        node: NodeId,
        /// Where it belongs.
        own: PathBuf,
        /// Where it could have been given.
        given: PathBuf,
    },
    /// Reading or writing failed.
    #[error("can't {act} {path}: {error}")]
    Io {
        /// «read», «write», «make».
        act: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
}

pub(super) fn failed(act: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DirectoryError {
    let path = path.to_owned();
    move |error| DirectoryError::Io { act, path, error }
}

/// Where a running node can be reached; the content of `node.json` and of `--ports-file`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Addresses {
    /// Where it listens for peers, if it does.
    pub quic: String,
    /// Where it answers HTTP.
    pub http: String,
    /// Its id.
    pub node: crate::words::NodeId,
}

impl DirectoryError {
    /// Whether there is no room on the disk.
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Io { error, .. } if is_full(error))
    }
}

/// Whether the system says that there is no room on the disk.
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

impl Addresses {
    /// Writes the addresses as JSON, so that a reader finds all of them or no file.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn write(&self, path: &Path) -> Result<(), DirectoryError> {
        let text =
            serde_json::to_string(self).expect("addresses and hex digits are always JSON") + "\n";
        let path = std::path::absolute(path).map_err(failed("write", path))?;
        replace(&path, text.as_bytes(), 0o644)
    }
}

/// A data directory that this process has locked.
#[derive(Debug)]
pub struct DataDirectory {
    path: PathBuf,
    /// Locked as long as the value lives or until it is released.
    lock: File,
    identity: Identity,
    cluster: ClusterId,
}

impl DataDirectory {
    /// Takes a data directory, and makes it with key and cluster when it is missing.
    ///
    /// # Errors
    /// Another process has it, or its files can't be trusted.
    pub fn open(path: &Path, cluster: Option<ClusterId>) -> Result<Self, DirectoryError> {
        fs::create_dir_all(path).map_err(failed("make", path))?;
        let lock = lock(path)?;
        let identity = identity(path)?;
        let cluster = membership(path, cluster)?;
        Ok(Self { path: path.to_owned(), lock, identity, cluster })
    }

    /// Takes a directory for a log that there is already: it has the key of that node, or `secrets`
    /// say where it is, by the names that the files have in the directory. Nothing is written in it
    /// before [`Claimed::keep`].
    ///
    /// # Errors
    /// Another process has it, or it is another node's or cluster's, or there is no key.
    pub fn claim(
        path: &Path,
        node: NodeId,
        cluster: ClusterId,
        secrets: &[(&'static str, PathBuf)],
    ) -> Result<Claimed, DirectoryError> {
        fs::create_dir_all(path).map_err(failed("make", path))?;
        let lock = lock(path)?;
        let missing = |(name, _): &&(&'static str, PathBuf)| !path.join(name).exists();
        let secrets: Vec<_> = secrets.iter().filter(missing).cloned().collect();
        let own = path.join("key");
        let given = secrets.iter().find(|(name, _)| *name == "key").map(|(_, given)| given);
        let key = given.unwrap_or(&own);
        if !key.exists() {
            let given = key.clone();
            return Err(DirectoryError::NoKey { node, own, given });
        }
        let found = read_key(key)?.node_id();
        if found != node {
            return Err(DirectoryError::OtherNode { found, expected: node });
        }
        if let Some(found) = named_cluster(path)?
            && found != cluster
        {
            return Err(DirectoryError::OtherCluster { found, expected: cluster });
        }
        Ok(Claimed { path: path.to_owned(), _lock: lock, cluster, secrets })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The node that the directory belongs to.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The cluster that it belongs to.
    pub fn cluster(&self) -> ClusterId {
        self.cluster
    }

    /// The store's file.
    pub fn store(&self) -> PathBuf {
        store_path(&self.path)
    }

    /// The file that remembers what the store held.
    pub fn tip(&self) -> PathBuf {
        tip_path(&self.path)
    }

    /// The emit counter of the last process in this directory, and the file for this one.
    ///
    /// # Errors
    /// The file can't be opened.
    pub fn emit_counter(&self) -> Result<EmitCounter, DirectoryError> {
        let path = self.path.join("emitted");
        EmitCounter::open(&path).map_err(failed("open", &path))
    }

    /// Says where the running node can be reached.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn announce(&self, addresses: &Addresses) -> Result<(), DirectoryError> {
        addresses.write(&self.path.join("node.json"))
    }

    /// Says by which token commands on this machine reach the running node; with none, that they
    /// need none.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn announce_token(&self, token: Option<&str>) -> Result<(), DirectoryError> {
        let path = local_token(&self.path);
        match token {
            Some(token) => replace(&path, format!("{token}\n").as_bytes(), 0o600),
            None => remove(&path).map_err(failed("remove", &path)),
        }
    }

    /// Takes back [`DataDirectory::announce`] and lets another process have the directory. Nothing
    /// may be written in it afterwards.
    pub fn release(&self) {
        for path in [self.path.join("node.json"), local_token(&self.path)] {
            if let Err(error) = remove(&path) {
                tracing::warn!(%error, path = %path.display(), "a file stays behind");
            }
        }
        if let Err(error) = self.lock.unlock() {
            tracing::warn!(%error, "the data directory stays locked until the process ends");
        }
    }
}

/// A directory that this process has locked to put a log into it.
#[derive(Debug)]
pub struct Claimed {
    path: PathBuf,
    _lock: File,
    cluster: ClusterId,
    secrets: Vec<(&'static str, PathBuf)>,
}

impl Claimed {
    /// Writes the keys and the cluster that are missing. The directory stays locked as long as the
    /// value lives.
    ///
    /// # Errors
    /// They can't be written.
    pub fn keep(&self) -> Result<(), DirectoryError> {
        for (name, given) in self.secrets.iter().filter(|(_, given)| given.exists()) {
            copy_secret(given, &self.path.join(name))?;
        }
        membership(&self.path, Some(self.cluster)).map(drop)
    }
}

/// Copies a file of a secret, so that nobody but its owner can read it.
///
/// # Errors
/// It is none, others can read it, or the copy can't be written.
pub fn copy_secret(from: &Path, to: &Path) -> Result<(), DirectoryError> {
    let secret = read_key(from)?;
    let to = std::path::absolute(to).map_err(failed("write", to))?;
    replace(&to, format!("{}\n", hex::encode(secret.secret())).as_bytes(), 0o600)
}

/// Makes an empty file that nobody but its owner can read.
///
/// # Errors
/// It can't be made, or is there.
pub fn make_private(path: &Path) -> Result<(), DirectoryError> {
    let mut options = OpenOptions::new();
    let made = options.create_new(true).write(true).mode(0o600).open(path);
    made.map(drop).map_err(failed("make", path))
}

/// The store's file in a data directory.
pub fn store_path(directory: &Path) -> PathBuf {
    directory.join("log.sqlite")
}

/// The file in a data directory that remembers what the store held.
pub fn tip_path(directory: &Path) -> PathBuf {
    directory.join("tip")
}

/// Where the running node puts the token for commands on this machine, if they need one.
pub fn local_token(directory: &Path) -> PathBuf {
    directory.join("local.token")
}

/// Removes a file, if it is there.
fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Where the node of a data directory says that it runs; none when none does.
///
/// A node that was killed leaves the file behind, so the lock is asked, too.
pub fn running(directory: &Path) -> Option<Addresses> {
    let file = File::open(directory.join("lock")).ok()?;
    match file.try_lock_shared() {
        Ok(()) => return None,
        Err(fs::TryLockError::WouldBlock) => {}
        Err(fs::TryLockError::Error(_)) => return None,
    }
    serde_json::from_slice(&fs::read(directory.join("node.json")).ok()?).ok()
}

fn lock(directory: &Path) -> Result<File, DirectoryError> {
    let path = directory.join("lock");
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).read(true).write(true).mode(0o600);
    let file = options.open(&path).map_err(failed("open", &path))?;
    // A command that looks whether a node runs here holds the lock for a moment, too.
    for _ in 0..LOCK_TRIES {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(fs::TryLockError::WouldBlock) => std::thread::sleep(LOCK_PAUSE),
            Err(fs::TryLockError::Error(error)) => return Err(failed("lock", &path)(error)),
        }
    }
    Err(DirectoryError::Locked(directory.to_owned()))
}

fn identity(directory: &Path) -> Result<Identity, DirectoryError> {
    let path = directory.join("key");
    if !path.exists() {
        if store_path(directory).exists() {
            return Err(DirectoryError::KeyMissing(path));
        }
        let secret: [u8; 32] = random(&path)?;
        replace(&path, format!("{}\n", hex::encode(secret)).as_bytes(), 0o600)?;
    }
    read_key(&path)
}

/// The identity whose secret a file holds, which nobody but its owner can read.
fn read_key(path: &Path) -> Result<Identity, DirectoryError> {
    let mut file = File::open(path).map_err(failed("read", path))?;
    let mode = file.metadata().map_err(failed("read", path))?.mode() & 0o7777;
    let path = path.to_owned();
    if mode & 0o077 != 0 {
        return Err(DirectoryError::KeyReadable { path, mode });
    }
    let mut text = String::new();
    let read = Read::by_ref(&mut file).take(256).read_to_string(&mut text);
    read.map_err(failed("read", &path))?;
    let mut secret = [0; 32];
    match hex::decode_to_slice(text.trim_end(), &mut secret) {
        Ok(()) => Ok(Identity::from_secret(&secret)),
        Err(_) => Err(DirectoryError::Malformed { path, expected: "a key of 64 hex digits" }),
    }
}

/// The cluster that a directory belongs to. A directory that names none joins the one that is
/// asked for, or makes one, whose secret it then keeps.
fn membership(directory: &Path, wanted: Option<ClusterId>) -> Result<ClusterId, DirectoryError> {
    let path = directory.join("cluster");
    match (named_cluster(directory)?, wanted) {
        (Some(found), Some(expected)) if found != expected => {
            Err(DirectoryError::OtherCluster { found, expected })
        }
        (Some(found), _) => Ok(found),
        (None, wanted) => {
            let cluster = match wanted {
                Some(cluster) => cluster,
                None => make_cluster(directory)?,
            };
            replace(&path, format!("{cluster}\n").as_bytes(), 0o644)?;
            Ok(cluster)
        }
    }
}

/// The cluster that a directory names, if it names one.
fn named_cluster(directory: &Path) -> Result<Option<ClusterId>, DirectoryError> {
    let path = directory.join("cluster");
    match fs::read_to_string(&path) {
        Ok(text) => match text.trim_end().parse() {
            Ok(cluster) => Ok(Some(cluster)),
            Err(_) => {
                let expected = "a cluster id of 64 hex digits";
                Err(DirectoryError::Malformed { path, expected })
            }
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("read", &path)(error)),
    }
}

fn make_cluster(directory: &Path) -> Result<ClusterId, DirectoryError> {
    let path = directory.join("cluster.key");
    let secret = random(&path)?;
    replace(&path, format!("{}\n", hex::encode(secret)).as_bytes(), 0o600)?;
    Ok(ClusterId(Identity::from_secret(&secret).node_id().0))
}

fn random<const N: usize>(path: &Path) -> Result<[u8; N], DirectoryError> {
    let mut bytes = [0; N];
    let filled = getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()));
    filled.map_err(failed("make", path))?;
    Ok(bytes)
}

/// Writes a file so that after a power cut it is there as a whole, or not at all.
pub(super) fn replace(path: &Path, content: &[u8], mode: u32) -> Result<(), DirectoryError> {
    let temporary = path.with_extension("new");
    let write = || {
        let mut options = OpenOptions::new();
        let mut file =
            options.create(true).write(true).truncate(true).mode(mode).open(&temporary)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        path.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
    };
    write().map_err(failed("write", path))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_directory_keeps_its_identity_and_cluster() {
        let directory = tempfile::tempdir().unwrap();
        let first = DataDirectory::open(directory.path(), None).unwrap();
        let (node, cluster) = (first.identity().node_id(), first.cluster());
        drop(first);
        let again = DataDirectory::open(directory.path(), Some(cluster)).unwrap();
        assert_eq!((again.identity().node_id(), again.cluster()), (node, cluster));
        assert!(directory.path().join("cluster.key").exists());
    }

    #[test]
    fn a_second_process_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let _first = DataDirectory::open(directory.path(), None).unwrap();
        let second = DataDirectory::open(directory.path(), None);
        assert!(matches!(second, Err(DirectoryError::Locked(_))));
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        drop(DataDirectory::open(directory.path(), None).unwrap());
        let key = directory.path().join("key");
        assert_eq!(fs::metadata(&key).unwrap().mode() & 0o777, 0o600);
        fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
        let opened = DataDirectory::open(directory.path(), None);
        assert!(matches!(opened, Err(DirectoryError::KeyReadable { mode: 0o640, .. })));
    }

    #[test]
    fn a_truncated_key_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        drop(DataDirectory::open(directory.path(), None).unwrap());
        let key = directory.path().join("key");
        fs::write(&key, "abcd\n").unwrap();
        let opened = DataDirectory::open(directory.path(), None);
        assert!(matches!(opened, Err(DirectoryError::Malformed { .. })));
    }

    #[test]
    fn a_store_without_its_key_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(store_path(directory.path()), "").unwrap();
        let opened = DataDirectory::open(directory.path(), None);
        assert!(matches!(opened, Err(DirectoryError::KeyMissing(_))));
    }

    #[test]
    fn another_cluster_than_the_own_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        drop(DataDirectory::open(directory.path(), Some(ClusterId([1; 32]))).unwrap());
        let other = DataDirectory::open(directory.path(), Some(ClusterId([2; 32])));
        assert!(matches!(other, Err(DirectoryError::OtherCluster { .. })));
    }
}
