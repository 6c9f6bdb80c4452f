//! A SQLite VFS between SQLite and the one of the system.
//!
//! It is the default of this test process, so that the real store runs on it without knowing. A
//! file in a directory that nobody watches is opened by the real VFS and never seen again. A file
//! in a watched directory (see [`Disk`]) is wrapped: every write, truncation and sync goes to the
//! disk's record, and fails where the test says so; all else is handed on as it is.
//!
//! The only unsafe code of the tests is here and in [`file`]. What it rests on: SQLite calls a
//! method of a file between a successful open and its close only, one at a time, and hands over
//! pointers that are good for the length of the call (<https://sqlite.org/c3ref/io_methods.html>).

use std::ffi::{CStr, c_char, c_int};
use std::path::Path;
use std::sync::{Arc, LazyLock};

use rusqlite::ffi;

use crate::disk::{Call, Disk, Operation};

mod file;

/// The VFS of the system, whose address never changes.
struct Real(*mut ffi::sqlite3_vfs);

// SAFETY: SQLite itself calls a VFS from any thread, and nobody writes to it.
unsafe impl Send for Real {}
unsafe impl Sync for Real {}

static REAL: LazyLock<Real> = LazyLock::new(install);

/// Makes this VFS the default of the process, once.
pub fn stand_between() {
    LazyLock::force(&REAL);
}

fn install() -> Real {
    // SAFETY: a null name asks for the default VFS, which is there for the life of the process.
    let real = unsafe { ffi::sqlite3_vfs_find(std::ptr::null()) };
    assert!(!real.is_null(), "SQLite has no VFS");
    // What isn't replaced below stays the real one's: its methods look at nothing of the struct
    // but `pAppData`, which stays its own, too.
    // SAFETY: `real` was checked, and the struct is plain data.
    let mut ours = unsafe { *real };
    ours.zName = c"towline-crash".as_ptr();
    ours.pNext = std::ptr::null_mut();
    ours.xOpen = Some(open);
    ours.xDelete = Some(delete);
    assert!(ours.szOsFile as usize >= size_of::<file::Wrapped>());
    // SAFETY: the struct is leaked, so it outlives every connection.
    let registered = unsafe { ffi::sqlite3_vfs_register(Box::leak(Box::new(ours)), 1) };
    assert_eq!(registered, ffi::SQLITE_OK);
    Real(real)
}

/// How much room the real VFS wants for a file.
fn real_file_size() -> usize {
    // SAFETY: the VFS is there for the life of the process.
    unsafe { (*REAL.0).szOsFile as usize }
}

/// The disk that a file lies on, and the file's name there; none for a file nobody watches.
///
/// # Safety
/// `path` is null or a C string.
unsafe fn watched(path: *const c_char) -> Option<(Arc<Disk>, String)> {
    if path.is_null() {
        return None; // a temporary file of SQLite's own
    }
    // SAFETY: as promised by the caller.
    let path = Path::new(unsafe { CStr::from_ptr(path) }.to_str().ok()?);
    let disk = Disk::watching(path.parent()?)?;
    Some((disk, path.file_name()?.to_str()?.to_owned()))
}

unsafe extern "C" fn open(
    _: *mut ffi::sqlite3_vfs,
    path: ffi::sqlite3_filename,
    out: *mut ffi::sqlite3_file,
    flags: c_int,
    out_flags: *mut c_int,
) -> c_int {
    let real_open = |file| {
        // SAFETY: the real VFS has this method, and gets what SQLite gave us.
        unsafe { (*REAL.0).xOpen.expect("every VFS opens")(REAL.0, path, file, flags, out_flags) }
    };
    // SAFETY: SQLite gives a C string or null, and room for `szOsFile` bytes at `out`.
    match unsafe { watched(path) } {
        None => real_open(out),
        Some((disk, name)) => unsafe { file::open(disk, name, flags, out, real_open) },
    }
}

unsafe extern "C" fn delete(
    _: *mut ffi::sqlite3_vfs,
    path: *const c_char,
    sync_directory: c_int,
) -> c_int {
    // SAFETY: SQLite gives a C string.
    let seen = unsafe { watched(path) };
    if let Some((disk, name)) = &seen
        && let Err(code) = disk.admit(Call::Delete, name)
    {
        return code;
    }
    // SAFETY: the real VFS has this method, and gets what SQLite gave us.
    let code =
        unsafe { (*REAL.0).xDelete.expect("every VFS deletes")(REAL.0, path, sync_directory) };
    if let (Some((disk, name)), ffi::SQLITE_OK) = (seen, code) {
        disk.note(Operation::Delete { name });
        if sync_directory & 1 != 0 {
            disk.note(Operation::SyncDirectory);
        }
    }
    code
}
