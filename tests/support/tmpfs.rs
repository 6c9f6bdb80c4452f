//! A small disk that really fills up: a tmpfs in a mount namespace of its own.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Names the mounted directory to the child that runs the test in it.
const MOUNTED: &str = "TOWLINE_TEST_TMPFS";
/// How the shell says that there is no tmpfs to be had.
const NO_MOUNT: i32 = 77;

/// Gives the test `name` a tmpfs of `size` (`4m`, say): none in the parent, which has run the test
/// in a child and seen it pass, or has said that this machine can't.
///
/// The mount is seen by the child alone, and gone with it, however it ends.
pub fn of_size(name: &str, size: &str) -> Option<PathBuf> {
    if let Some(mounted) = std::env::var_os(MOUNTED) {
        return Some(mounted.into());
    }
    let directory = tempfile::tempdir().unwrap();
    let script = r#"mount -t tmpfs -o size="$1" tmpfs "$2" || exit 77; shift 2; exec "$@""#;
    for namespace in ["-m", "-rm"] {
        let ran = Command::new("unshare")
            .args([namespace, "sh", "-c", script, "sh", size])
            .arg(directory.path())
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture"])
            .env(MOUNTED, directory.path())
            .stdin(Stdio::null())
            .status();
        match ran.map(|status| status.code()) {
            Ok(Some(0)) => return None,
            Ok(Some(1 | NO_MOUNT)) | Err(_) if !can_mount(namespace) => {}
            other => panic!("{name} on a tmpfs of {size}: {other:?}"),
        }
    }
    eprintln!("SKIPPED {name}: this machine lets nobody mount a tmpfs");
    None
}

fn can_mount(namespace: &str) -> bool {
    let directory = tempfile::tempdir().unwrap();
    let mount = ["mount", "-t", "tmpfs", "tmpfs"];
    let mut command = Command::new("unshare");
    command.arg(namespace).args(mount).arg(directory.path());
    command.stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// Fills the disk to its last byte with a file, which takes at most `most` bytes.
pub fn fill(path: &Path, most: usize) {
    let mut file = File::create(path).unwrap();
    let mut left = most;
    for size in [64 << 10, 4 << 10, 1] {
        let block = vec![b'x'; size];
        while left >= size && file.write_all(&block).is_ok() {
            left -= size;
        }
    }
}
