//! The small files of a data directory: what a person, a crash or another program left in them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tempfile::TempDir;
use towline::node::DataDirectory;
use towline::node::directory::running;
use towline::node::emitted::Emitted;
use towline::words::{ClusterId, EmitNumber, GapReason, Identity};

use super::Verdict;

/// The first byte says which file the others are.
pub fn directory(bytes: &[u8]) -> Verdict {
    let Some((which, content)) = bytes.split_first() else {
        return Verdict::Refused;
    };
    let directory = with_key();
    match which % 4 {
        0 => key(directory.path(), content),
        1 => cluster(directory.path(), content),
        2 => addresses(directory.path(), content),
        _ => emit_counter(directory.path(), content),
    }
}

const KEY: [u8; 32] = [7; 32];

/// In memory where that is possible: nothing here is about the disk.
fn with_key() -> TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    let directory = made.expect("a temporary directory");
    write_key(directory.path(), hex::encode(KEY).as_bytes());
    directory
}

fn write_key(directory: &Path, content: &[u8]) {
    let key = directory.join("key");
    fs::write(&key, content).expect("the key can be written");
    fs::set_permissions(key, fs::Permissions::from_mode(0o600)).expect("it is ours");
}

fn key(directory: &Path, content: &[u8]) -> Verdict {
    write_key(directory, content);
    let opened = DataDirectory::open(directory, None);
    if let Ok(opened) = &opened {
        let text = std::str::from_utf8(content).expect("a key is text").trim_end();
        let secret = hex::encode(opened.identity().secret());
        assert_eq!(text.to_ascii_lowercase(), secret);
    }
    let kept = fs::read(directory.join("key")).expect("the key is there");
    assert_eq!(kept, content, "a key is never written over");
    opened.into()
}

fn cluster(directory: &Path, content: &[u8]) -> Verdict {
    fs::write(directory.join("cluster"), content).expect("it can be written");
    let opened = DataDirectory::open(directory, None);
    if let Ok(opened) = &opened {
        let text = String::from_utf8_lossy(content).trim_end().to_ascii_lowercase();
        assert_eq!(opened.cluster().to_string(), text);
    }
    let kept = fs::read(directory.join("cluster")).expect("it is there");
    assert_eq!(kept, content, "a cluster id is never written over");
    assert!(!directory.join("cluster.key").exists(), "no second cluster is made");
    opened.into()
}

fn addresses(directory: &Path, content: &[u8]) -> Verdict {
    let opened = DataDirectory::open(directory, Some(ClusterId([9; 32]))).expect("a sound one");
    fs::write(directory.join("node.json"), content).expect("it can be written");
    let Some(found) = running(directory) else {
        return Verdict::Refused;
    };
    opened.announce(&found).expect("it can be written");
    assert_eq!(running(directory), Some(found));
    Verdict::Taken
}

fn emit_counter(directory: &Path, content: &[u8]) -> Verdict {
    let opened = DataDirectory::open(directory, Some(ClusterId([9; 32]))).expect("a sound one");
    assert_eq!(opened.identity().node_id(), Identity::from_secret(&KEY).node_id());
    // No file of a corpus can know when this machine was started: `BOOT` stands for it.
    let boot = fs::read("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let left = match content.split_first_chunk::<8>() {
        Some((number, [b'B', b'O', b'O', b'T', rest @ ..])) => {
            [number, boot.trim_ascii_end(), rest].concat()
        }
        _ => content.to_vec(),
    };
    fs::write(directory.join("emitted"), left).expect("it can be written");
    let counter = opened.emit_counter().expect("whatever it holds, it opens");
    let before = counter.before();
    if let Some(Emitted { next, .. }) = before {
        assert_eq!(Some(&next.0.to_be_bytes()), content.first_chunk());
    }
    counter.begin(EmitNumber(3)).expect("it can be written");
    counter.note(EmitNumber(7)).expect("it can be written");
    let again = || opened.emit_counter().expect("it opens").before();
    let next = EmitNumber(7);
    assert_eq!(again(), Some(Emitted { next, lost: GapReason::Crash }));
    counter.end_on_full_disk().expect("it can be written");
    assert_eq!(again(), Some(Emitted { next, lost: GapReason::DiskFull }));
    if before.is_some() { Verdict::Taken } else { Verdict::Refused }
}
