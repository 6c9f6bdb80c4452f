//! A watched directory: what SQLite did to the files in it, in order, and which of it must fail.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};

use bytes::Bytes;
use rusqlite::ffi;

use crate::vfs;

/// A file, whatever its name: a name that is deleted and made again means another one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Inode(usize);

/// Something that changed the directory or a file in it.
#[derive(Clone, Debug)]
pub enum Operation {
    /// A name was made for a new file.
    Create { name: String, inode: Inode },
    /// A name was taken away.
    Delete { name: String },
    /// All changes of names are durable.
    SyncDirectory,
    /// Bytes were written.
    Write { inode: Inode, at: usize, bytes: Bytes },
    /// The file got another size.
    Truncate { inode: Inode, size: usize },
    /// All that was done to the file is durable.
    Sync { inode: Inode },
    /// A sync failed: the system holds the file's pages for clean now, and may never write them.
    FailedSync { inode: Inode },
}

/// What can be made to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    Write,
    Truncate,
    Sync,
    Delete,
    /// The shared memory beside the write-ahead log grows.
    ExtendShm,
}

/// Which files are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    Database,
    Wal,
    Any,
}

impl On {
    fn matches(self, name: &str) -> bool {
        match self {
            Self::Database => !name.contains('-'),
            Self::Wal => name.ends_with("-wal"),
            Self::Any => true,
        }
    }
}

/// Why a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// EIO.
    Io,
    /// ENOSPC.
    Full,
}

impl Trouble {
    /// What the system's VFS returns then.
    fn code(self, call: Call) -> i32 {
        match (self, call) {
            (Self::Full, Call::Write) => ffi::SQLITE_FULL,
            (Self::Io, Call::Write) => ffi::SQLITE_IOERR_WRITE,
            (_, Call::Truncate) => ffi::SQLITE_IOERR_TRUNCATE,
            (_, Call::Sync) => ffi::SQLITE_IOERR_FSYNC,
            (_, Call::Delete) => ffi::SQLITE_IOERR_DELETE,
            (_, Call::ExtendShm) => ffi::SQLITE_IOERR_SHMSIZE,
        }
    }
}

/// A failure to come: of the `nth` such call from now (0 is the next), and of so many in a row.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    pub call: Call,
    pub on: On,
    pub nth: usize,
    pub times: usize,
    pub trouble: Trouble,
}

/// A directory that is watched for as long as somebody holds this.
pub struct Disk {
    directory: PathBuf,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    operations: Vec<Operation>,
    names: BTreeMap<String, Inode>,
    inodes: usize,
    calls: Vec<(Call, String)>,
    fault: Option<Fault>,
    failed: usize,
}

static WATCHED: LazyLock<Mutex<Vec<Weak<Disk>>>> = LazyLock::new(Mutex::default);

impl Disk {
    /// Watches an existing directory, in which SQLite has no file yet.
    pub fn watch(directory: &Path) -> Arc<Self> {
        vfs::stand_between();
        let directory = directory.canonicalize().unwrap();
        let disk = Arc::new(Self { directory, state: Mutex::default() });
        let mut watched = WATCHED.lock().unwrap_or_else(PoisonError::into_inner);
        watched.retain(|disk| disk.strong_count() > 0);
        watched.push(Arc::downgrade(&disk));
        disk
    }

    /// The disk that watches a directory.
    pub fn watching(directory: &Path) -> Option<Arc<Self>> {
        let watched = WATCHED.lock().unwrap_or_else(PoisonError::into_inner);
        watched.iter().filter_map(Weak::upgrade).find(|disk| disk.directory == directory)
    }

    /// How many operations there were so far.
    pub fn done(&self) -> usize {
        self.state().operations.len()
    }

    /// All operations so far.
    pub fn operations(&self) -> Vec<Operation> {
        self.state().operations.clone()
    }

    /// Lets a call fail from now on.
    pub fn fail(&self, fault: Fault) {
        let mut state = self.state();
        state.fault = Some(fault);
        state.failed = 0;
    }

    /// Lets all calls succeed again; returns how many failed.
    pub fn heal(&self) -> usize {
        let mut state = self.state();
        state.fault = None;
        state.failed
    }

    /// How many calls have failed since [`Disk::fail`].
    pub fn failed(&self) -> usize {
        self.state().failed
    }

    /// How often this was called so far.
    pub fn calls(&self, call: Call, on: On) -> usize {
        let state = self.state();
        state.calls.iter().filter(|(called, name)| *called == call && on.matches(name)).count()
    }

    /// Whether a call may go on; counts it.
    pub fn admit(&self, call: Call, name: &str) -> Result<(), i32> {
        let mut state = self.state();
        state.calls.push((call, name.to_owned()));
        let Some(fault) = &mut state.fault else {
            return Ok(());
        };
        if fault.call != call || !fault.on.matches(name) {
            return Ok(());
        }
        if fault.nth > 0 {
            fault.nth -= 1;
            return Ok(());
        }
        if fault.times == 0 {
            return Ok(());
        }
        fault.times -= 1;
        let code = fault.trouble.code(call);
        state.failed += 1;
        Err(code)
    }

    /// Notes that a file was opened, which may have made it.
    pub fn opened(&self, name: &str) -> Inode {
        let mut state = self.state();
        if let Some(inode) = state.names.get(name) {
            return *inode;
        }
        let inode = Inode(state.inodes);
        state.inodes += 1;
        state.names.insert(name.to_owned(), inode);
        state.operations.push(Operation::Create { name: name.to_owned(), inode });
        inode
    }

    /// Notes what was done.
    pub fn note(&self, operation: Operation) {
        let mut state = self.state();
        if let Operation::Delete { name } = &operation {
            state.names.remove(name);
        }
        state.operations.push(operation);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
