//! The emit counter: the file `emitted` in the data directory.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use crate::words::{EmitNumber, GapReason};

/// Where the boot id ends, and where the ending stands.
const BOOT: std::ops::Range<usize> = 8..44;
const ENDING: usize = 44;

/// How far a process emitted, in the page cache: it outlives a killed process, not the machine.
///
/// ```text
/// 0..8   the next emit number, big-endian
/// 8..44  the kernel's boot id, as text: another one means that the number may be stale
/// 44     how the process ended: 0 it runs or was killed, 1 in order, on a full disk
/// ```
///
/// It is always written in place, and so needs no room on the disk once it is there.
#[derive(Debug)]
pub struct EmitCounter {
    file: File,
    /// What the last process left, if the machine has run since.
    before: Option<Emitted>,
}

/// How far a process emitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Emitted {
    /// No number at or above was given out.
    pub next: EmitNumber,
    /// Why the numbers below it that are not in the log aren't.
    pub lost: GapReason,
}

impl EmitCounter {
    /// Opens the counter of the last process, and makes the file when it is missing.
    ///
    /// # Errors
    /// The file can't be opened or read.
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).read(true).write(true).mode(0o600);
        let mut file = options.open(path)?;
        let mut content = Vec::new();
        Read::by_ref(&mut file).take(64).read_to_end(&mut content)?;
        Ok(Self { file, before: read(&content) })
    }

    /// How far the last process emitted; none when the machine was started since.
    pub fn before(&self) -> Option<Emitted> {
        self.before
    }

    /// Begins a lifetime: number and boot id are written as one.
    ///
    /// # Errors
    /// They can't be written.
    pub fn begin(&self, next: EmitNumber) -> io::Result<()> {
        let content = [&next.0.to_be_bytes()[..], &boot_id(), &[0]].concat();
        self.file.set_len(content.len() as u64)?;
        self.file.write_all_at(&content, 0)
    }

    /// Notes that all numbers below `next` may have been given out.
    ///
    /// # Errors
    /// The number can't be written, and must not be given out: after a crash it would be given out
    /// again, and its loss be silent.
    pub fn note(&self, next: EmitNumber) -> io::Result<()> {
        self.file.write_all_at(&next.0.to_be_bytes(), 0)
    }

    /// Notes that the process ends in order, and that the disk is too full to say so in the log:
    /// exactly the numbers below the noted one were given out.
    ///
    /// # Errors
    /// It can't be written. The next start then takes it for a crash.
    pub fn end_on_full_disk(&self) -> io::Result<()> {
        self.file.write_all_at(&[1], ENDING as u64)
    }
}

/// Up to which number the file at a path says that a process emitted, on whatever start of the
/// machine; none when there is no such file, or it is none of ours.
pub fn peek(path: &Path) -> Option<EmitNumber> {
    let content = fs::read(path).ok()?;
    let (number, rest) = content.split_first_chunk::<8>()?;
    let whole = rest.len() == ENDING + 1 - 8;
    whole.then(|| EmitNumber(u64::from_be_bytes(*number)))
}

fn read(content: &[u8]) -> Option<Emitted> {
    let (number, _) = content.split_first_chunk::<8>()?;
    let boot = boot_id();
    if boot.is_empty() || content.get(BOOT) != Some(&boot[..]) {
        return None;
    }
    let in_order = content.get(ENDING) == Some(&1);
    let lost = if in_order { GapReason::DiskFull } else { GapReason::Crash };
    Some(Emitted { next: EmitNumber(u64::from_be_bytes(*number)), lost })
}

/// What the kernel calls the time since the machine was started; empty where it doesn't say.
fn boot_id() -> Vec<u8> {
    let id = fs::read("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim_ascii_end().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_emit_counter_outlives_the_process() {
        let directory = tempfile::tempdir().unwrap();
        let open = || EmitCounter::open(&directory.path().join("emitted")).unwrap();
        let counter = open();
        assert_eq!(counter.before(), None);
        counter.begin(EmitNumber(3)).unwrap();
        counter.note(EmitNumber(7)).unwrap();
        let killed = Emitted { next: EmitNumber(7), lost: GapReason::Crash };
        assert_eq!(open().before(), Some(killed));
    }

    #[test]
    fn an_end_in_order_on_a_full_disk_is_told_from_a_crash() {
        let directory = tempfile::tempdir().unwrap();
        let open = || EmitCounter::open(&directory.path().join("emitted")).unwrap();
        let counter = open();
        counter.begin(EmitNumber(3)).unwrap();
        counter.end_on_full_disk().unwrap();
        let ended = Emitted { next: EmitNumber(3), lost: GapReason::DiskFull };
        assert_eq!(open().before(), Some(ended));
        open().begin(EmitNumber(3)).unwrap();
        assert_eq!(open().before().unwrap().lost, GapReason::Crash);
    }
}
