//! The methods of a wrapped file.

use std::ffi::{c_int, c_void};
use std::sync::Arc;

use bytes::Bytes;
use rusqlite::ffi;

use crate::disk::{Call, Disk, Inode, Operation};

/// What lies where SQLite made room for a file: a table of methods, as in every VFS, and ours.
#[repr(C)]
pub struct Wrapped {
    base: ffi::sqlite3_file,
    open: *mut Open,
}

/// A wrapped file while it is open.
struct Open {
    disk: Arc<Disk>,
    inode: Inode,
    name: String,
    /// The system's VFS syncs the directory, too, when a file of this kind is synced first.
    syncs_directory: bool,
    /// Where the real file lives; in words, because C aligns it so.
    real: Vec<u64>,
}

/// Opens a file for real, in memory of our own, and wraps it.
///
/// # Safety
/// `out` is what SQLite gives to `xOpen` of our VFS.
pub unsafe fn open(
    disk: Arc<Disk>,
    name: String,
    flags: c_int,
    out: *mut ffi::sqlite3_file,
    real_open: impl FnOnce(*mut ffi::sqlite3_file) -> c_int,
) -> c_int {
    let wrapped = out.cast::<Wrapped>();
    // SAFETY: our VFS asks for at least this much room. No methods: SQLite won't close it.
    unsafe { (*wrapped).base.pMethods = std::ptr::null() };
    let creates = flags & ffi::SQLITE_OPEN_CREATE != 0;
    let journal = flags & (ffi::SQLITE_OPEN_WAL | ffi::SQLITE_OPEN_MAIN_JOURNAL) != 0;
    let mut open = Open {
        inode: Inode::default(),
        syncs_directory: creates && journal,
        real: vec![0; super::real_file_size().div_ceil(size_of::<u64>())],
        disk,
        name,
    };
    let code = real_open(open.real());
    if code != ffi::SQLITE_OK {
        return code;
    }
    open.inode = open.disk.opened(&open.name);
    // SAFETY: as above. `close` takes the box back.
    unsafe {
        (*wrapped).open = Box::into_raw(Box::new(open));
        (*wrapped).base.pMethods = &METHODS;
    }
    ffi::SQLITE_OK
}

impl Open {
    fn real(&mut self) -> *mut ffi::sqlite3_file {
        self.real.as_mut_ptr().cast()
    }

    fn note(&self, operation: Operation) {
        self.disk.note(operation);
    }
}

/// The open file behind SQLite's pointer.
///
/// # Safety
/// `file` was opened by [`open`] and not closed. SQLite runs one method of a file at a time.
unsafe fn opened<'a>(file: *mut ffi::sqlite3_file) -> &'a mut Open {
    // SAFETY: as promised by the caller.
    unsafe { &mut *(*file.cast::<Wrapped>()).open }
}

/// Calls the real file's method of the same name.
macro_rules! real {
    ($file:expr, $method:ident $(, $argument:expr)*) => {{
        let real = $file.real();
        // SAFETY: the real VFS opened it, and gets what SQLite gave us.
        unsafe { (*(*real).pMethods).$method.expect("a method of the real VFS")(real $(, $argument)*) }
    }};
}

/// A method that is handed on as it is.
macro_rules! forward {
    ($name:ident, $method:ident, ($($argument:ident: $kind:ty),*) $(-> $result:ty)?) => {
        unsafe extern "C" fn $name(file: *mut ffi::sqlite3_file $(, $argument: $kind)*) $(-> $result)? {
            // SAFETY: SQLite gives a file that is open.
            let open = unsafe { opened(file) };
            real!(open, $method $(, $argument)*)
        }
    };
}

forward!(read, xRead, (into: *mut c_void, amount: c_int, at: i64) -> c_int);
forward!(file_size, xFileSize, (size: *mut i64) -> c_int);
forward!(lock, xLock, (level: c_int) -> c_int);
forward!(unlock, xUnlock, (level: c_int) -> c_int);
forward!(check_reserved_lock, xCheckReservedLock, (result: *mut c_int) -> c_int);
forward!(file_control, xFileControl, (what: c_int, argument: *mut c_void) -> c_int);
forward!(sector_size, xSectorSize, () -> c_int);
forward!(device_characteristics, xDeviceCharacteristics, () -> c_int);
forward!(shm_lock, xShmLock, (offset: c_int, count: c_int, flags: c_int) -> c_int);
forward!(shm_barrier, xShmBarrier, ());
forward!(shm_unmap, xShmUnmap, (delete: c_int) -> c_int);

unsafe extern "C" fn close(file: *mut ffi::sqlite3_file) -> c_int {
    // SAFETY: SQLite gives a file that is open, and closes it once.
    let mut open = unsafe { Box::from_raw((*file.cast::<Wrapped>()).open) };
    real!(open, xClose)
}

unsafe extern "C" fn write(
    file: *mut ffi::sqlite3_file,
    from: *const c_void,
    amount: c_int,
    at: i64,
) -> c_int {
    // SAFETY: SQLite gives a file that is open.
    let open = unsafe { opened(file) };
    // A write that fails has written something, all the same.
    let (amount, failed) = match open.disk.admit(Call::Write, &open.name) {
        Ok(()) => (amount, None),
        Err(code) => (amount / 2, Some(code)),
    };
    let code = real!(open, xWrite, from, amount, at);
    if code == ffi::SQLITE_OK {
        // SAFETY: SQLite gives at least `amount` bytes.
        let bytes = unsafe { std::slice::from_raw_parts(from.cast::<u8>(), amount as usize) };
        let bytes = Bytes::copy_from_slice(bytes);
        open.note(Operation::Write { inode: open.inode, at: at as usize, bytes });
    }
    failed.unwrap_or(code)
}

unsafe extern "C" fn truncate(file: *mut ffi::sqlite3_file, size: i64) -> c_int {
    // SAFETY: SQLite gives a file that is open.
    let open = unsafe { opened(file) };
    if let Err(code) = open.disk.admit(Call::Truncate, &open.name) {
        return code;
    }
    let code = real!(open, xTruncate, size);
    if code == ffi::SQLITE_OK {
        open.note(Operation::Truncate { inode: open.inode, size: size as usize });
    }
    code
}

unsafe extern "C" fn sync(file: *mut ffi::sqlite3_file, flags: c_int) -> c_int {
    // SAFETY: SQLite gives a file that is open.
    let open = unsafe { opened(file) };
    if let Err(code) = open.disk.admit(Call::Sync, &open.name) {
        open.note(Operation::FailedSync { inode: open.inode });
        return code;
    }
    let code = real!(open, xSync, flags);
    if code == ffi::SQLITE_OK {
        open.note(Operation::Sync { inode: open.inode });
        if std::mem::take(&mut open.syncs_directory) {
            open.note(Operation::SyncDirectory);
        }
    }
    code
}

unsafe extern "C" fn shm_map(
    file: *mut ffi::sqlite3_file,
    region: c_int,
    size: c_int,
    extend: c_int,
    out: *mut *mut c_void,
) -> c_int {
    // SAFETY: SQLite gives a file that is open.
    let open = unsafe { opened(file) };
    if extend != 0
        && let Err(code) = open.disk.admit(Call::ExtendShm, &open.name)
    {
        // SAFETY: SQLite gives a place for the pointer.
        unsafe { *out = std::ptr::null_mut() };
        return code;
    }
    real!(open, xShmMap, region, size, extend, out)
}

/// Version 2: with shared memory for the write-ahead log, without memory-mapped reading, which the
/// store doesn't use.
static METHODS: ffi::sqlite3_io_methods = ffi::sqlite3_io_methods {
    iVersion: 2,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(lock),
    xUnlock: Some(unlock),
    xCheckReservedLock: Some(check_reserved_lock),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(device_characteristics),
    xShmMap: Some(shm_map),
    xShmLock: Some(shm_lock),
    xShmBarrier: Some(shm_barrier),
    xShmUnmap: Some(shm_unmap),
    xFetch: None,
    xUnfetch: None,
};
