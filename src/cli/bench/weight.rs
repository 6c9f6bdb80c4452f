//! What a log weighs: bytes on disk for each entry, and memory that stays resident.

use std::io::{self, Write};
use std::path::Path;
use std::process::Command;

use serde::{Deserialize, Serialize};

use super::figure::Figure;
use super::ground::{Ground, settle};
use super::read::{open, scan_all};
use super::trouble::BenchError;

const MIB: f64 = (1 << 20) as f64;

/// Bytes on disk for each entry once nothing is left to do, beside the payloads and `zstd -3`.
///
/// # Errors
/// See [`BenchError`]; so for every step.
pub async fn disk(ground: &Ground) -> Result<Vec<Figure>, BenchError> {
    let data = ground.log().await?;
    let node = open(&data).await?;
    settle(&node).await?;
    node.shutdown().await?;
    let room = ground.room("empty")?;
    open(room.path()).await?.shutdown().await?;
    let entries = ground.scale.entries as f64;
    let (raw, packed) = payload_bytes(ground)?;
    let (raw, packed) = (raw as f64 / entries, packed as f64 / entries);
    let all = bytes_in(&data)? as f64 / entries;
    let marginal = all - bytes_in(room.path())? as f64 / entries;
    Ok(vec![
        Figure::new("bytes on disk per entry", all, "bytes").beside("raw payload", raw),
        Figure::new("  the same", all, "bytes").beside("zstd -3 of the lines", packed),
        Figure::new("  without what an empty log takes", marginal, "bytes")
            .beside("zstd -3 of the lines", packed),
    ])
}

/// How many bytes all payloads have, and how many as lines that are compressed with `zstd -3`.
fn payload_bytes(ground: &Ground) -> io::Result<(u64, u64)> {
    let mut encoder = zstd::stream::write::Encoder::new(Counter(0), 3)?;
    let mut raw = 0;
    for number in 0..ground.scale.entries {
        let payload = ground.payloads.payload(number);
        raw += payload.len() as u64;
        encoder.write_all(&payload)?;
        encoder.write_all(b"\n")?;
    }
    Ok((raw, encoder.finish()?.0))
}

/// Counts what is written.
struct Counter(u64);

impl Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// All files of a data directory.
fn bytes_in(directory: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for file in std::fs::read_dir(directory)? {
        bytes += file?.metadata()?.len();
    }
    Ok(bytes)
}

/// The memory of a process, in bytes.
#[derive(Debug, Serialize, Deserialize)]
pub struct Resident {
    /// The most that was ever resident.
    peak: u64,
    /// What is resident now.
    now: u64,
    /// How many entries it had read by then.
    entries: u64,
}

/// What a process keeps in memory that opens the merged log and reads all of it.
///
/// # Errors
/// See [`disk`].
pub async fn memory(ground: &Ground) -> Result<Vec<Figure>, BenchError> {
    let data = ground.merged_log().await?;
    let program = std::env::current_exe()?;
    let child = tokio::task::spawn_blocking(move || {
        let mut child = Command::new(program);
        child.args(["-q", "-o", "json", "bench", "--resident"]).arg(data).output()
    });
    let told = child.await??;
    let resident: Resident = serde_json::from_slice(&told.stdout).map_err(|_| {
        let why = String::from_utf8_lossy(&told.stderr);
        BenchError::Wrong(format!("a node of its own did not tell its memory: {why}"))
    })?;
    if resident.entries != ground.scale.entries {
        let what = format!("a scan shows {} of {} entries", resident.entries, ground.scale.entries);
        return Err(BenchError::Wrong(what));
    }
    Ok(vec![
        Figure::new("resident memory after a full scan", resident.now as f64 / MIB, "MiB"),
        Figure::new("  the most it ever was", resident.peak as f64 / MIB, "MiB"),
    ])
}

/// Opens a log, reads all of it in merged order, and says what memory that took: the whole life of
/// a process that [`memory`] starts.
///
/// # Errors
/// See [`disk`].
pub async fn resident(data: &Path) -> Result<Resident, BenchError> {
    let node = open(data).await?;
    let entries = scan_all(&node).await?;
    let status = std::fs::read_to_string("/proc/self/status")?;
    node.shutdown().await?;
    let kib = |field: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(field))?;
        line.trim().strip_suffix(" kB")?.parse::<u64>().ok()
    };
    match (kib("VmHWM:"), kib("VmRSS:")) {
        (Some(peak), Some(now)) => Ok(Resident { peak: peak << 10, now: now << 10, entries }),
        _ => Err(BenchError::Wrong("this system does not say what memory a process has".into())),
    }
}
