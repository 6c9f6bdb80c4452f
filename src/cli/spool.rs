//! A bounded spool on disk, between lines that can't wait and a node that may be away.
//!
//! ```text
//! DIR/spool   {"key":"…","count":2,"bytes":57}\n   a head, and so many bytes of drafts, one a line
//!             {"topic":…}\n{"topic":…}\n
//! ```
//!
//! Records are sent in order, each under its own idempotency key, so one that was sent and whose
//! answer was lost is not appended twice. What was left by a process that ended is sent first by the
//! next. Where the spool is full lines are dropped and counted, and the next record that fits says
//! how many: an entry of kind `spool.gap`.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::drafts::Batch;
use super::failure::Failure;
use crate::words::Code;

/// How many bytes a spool holds when nothing is said.
pub const SPOOL_BYTES: u64 = 64 << 20; // full: lines are dropped, and counted
/// The longest head of a record.
const HEAD_BYTES: u64 = 1 << 10;
/// The longest body: more is no record of ours.
const BODY_BYTES: u64 = 32 << 20;

/// What stands before the drafts of a record.
#[derive(Debug, Serialize, Deserialize)]
struct Head {
    key: String,
    count: u64,
    bytes: u64,
}

/// Drafts that wait to be sent.
#[derive(Debug, PartialEq, Eq)]
pub struct Record {
    /// The idempotency key.
    pub key: String,
    /// How many drafts it holds.
    pub count: u64,
    /// The drafts, as NDJSON.
    pub body: Vec<u8>,
    /// Where the next record begins.
    end: u64,
}

/// What is to be done next.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// Send this.
    Record(Record),
    /// Wait: nothing is there.
    Nothing,
    /// Nothing is there, and nothing will come.
    Over,
}

/// The spool of one process.
#[derive(Debug)]
pub struct Spool {
    path: PathBuf,
    most: u64,
    /// Makes the keys of this process differ from all others.
    name: String,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    /// Locked as long as the process lives.
    file: File,
    /// Where the first record that was not sent begins, and where the last one ends.
    sent: u64,
    written: u64,
    records: u64,
    waiting: u64,
    dropped: u64,
    is_over: bool,
}

impl Spool {
    /// Opens the spool in a directory, which is made when it is missing.
    ///
    /// # Errors
    /// It can't be read or written, or another process has it.
    pub fn open(directory: &Path, most: u64) -> Result<Self, Failure> {
        let path = directory.join("spool");
        let failed = |error: io::Error| Failure::file("the spool can't be used", &path, &error);
        std::fs::create_dir_all(directory).map_err(failed)?;
        let mut options = OpenOptions::new();
        let options = options.create(true).truncate(false).read(true).write(true).mode(0o600);
        let mut file = options.open(&path).map_err(failed)?;
        file.try_lock().map_err(|error| {
            let why = format_args!("{}: {error}", path.display());
            Failure::new(Code::Locked, "another process has the spool", why)
                .hint("a --spool directory for each process")
        })?;
        let (mut written, mut waiting) = (0, 0);
        while let Some(record) = read_record(&mut file, written).map_err(failed)? {
            written = record.end;
            waiting += record.count;
        }
        // What a crash left of a record was never acknowledged to anybody.
        file.set_len(written).map_err(failed)?;
        let mut random = [0; 8];
        getrandom::fill(&mut random)
            .map_err(|error| Failure::new(Code::Io, "no random bytes", error))?;
        let state =
            State { file, sent: 0, written, records: 0, waiting, dropped: 0, is_over: false };
        let name = hex::encode(random);
        Ok(Self { path, most, name, state: Mutex::new(state), changed: Condvar::new() })
    }

    /// Puts drafts at the end, or counts them where there is no room. `gap` makes the draft that says
    /// how many were dropped.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn push(
        &self,
        batch: &Batch,
        gap: impl FnOnce(u64) -> Result<Batch, Failure>,
    ) -> Result<(), Failure> {
        let mut state = self.state();
        let held = state.written - state.sent + batch.body().len() as u64;
        if held > self.most {
            state.dropped += batch.count;
            return Ok(());
        }
        if state.dropped > 0 {
            let gap = gap(state.dropped)?;
            self.write(&mut state, &gap)?;
            state.dropped = 0;
        }
        self.write(&mut state, batch)?;
        drop(state);
        self.changed.notify_all();
        Ok(())
    }

    /// Says that nothing more will be put in; what was dropped last is said as [`Spool::push`] does.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn finish(&self, gap: impl FnOnce(u64) -> Result<Batch, Failure>) -> Result<(), Failure> {
        let mut state = self.state();
        state.is_over = true;
        let dropped = std::mem::take(&mut state.dropped);
        let written = match dropped {
            0 => Ok(()),
            dropped => gap(dropped).and_then(|gap| self.write(&mut state, &gap)),
        };
        drop(state);
        self.changed.notify_all();
        written
    }

    /// What to do next.
    ///
    /// # Errors
    /// The file can't be read.
    pub fn next(&self) -> Result<Next, Failure> {
        let mut state = self.state();
        let at = state.sent;
        if at < state.written {
            let record = read_record(&mut state.file, at).map_err(|error| self.failed(&error))?;
            let lost = || self.failed(&io::ErrorKind::InvalidData.into());
            return Ok(Next::Record(record.ok_or_else(lost)?));
        }
        Ok(if state.is_over { Next::Over } else { Next::Nothing })
    }

    /// Waits until something is put in, or this long.
    pub fn wait(&self, longest: Duration) {
        let state = self.state();
        let is_idle = |state: &mut State| state.sent == state.written && !state.is_over;
        drop(self.changed.wait_timeout_while(state, longest, is_idle));
    }

    /// Notes that a record was sent.
    ///
    /// # Errors
    /// The file can't be emptied.
    pub fn sent(&self, record: &Record) -> Result<(), Failure> {
        let mut state = self.state();
        state.sent = record.end;
        state.waiting = state.waiting.saturating_sub(record.count);
        if state.sent == state.written {
            state.file.set_len(0).map_err(|error| self.failed(&error))?;
            (state.sent, state.written) = (0, 0);
        }
        Ok(())
    }

    /// How many drafts wait.
    pub fn waiting(&self) -> u64 {
        self.state().waiting
    }

    /// Whether nothing more will be put in.
    pub fn is_over(&self) -> bool {
        self.state().is_over
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn write(&self, state: &mut State, batch: &Batch) -> Result<(), Failure> {
        let key = format!("spool-{}-{}", self.name, state.records);
        let head = Head { key, count: batch.count, bytes: batch.body().len() as u64 };
        let mut record = serde_json::to_vec(&head).expect("texts and numbers are always JSON");
        record.push(b'\n');
        record.extend_from_slice(batch.body());
        let at = state.written;
        let written = state.file.seek(SeekFrom::Start(at));
        let written = written.and_then(|_| state.file.write_all(&record));
        written.map_err(|error| self.failed(&error))?;
        state.written += record.len() as u64;
        state.records += 1;
        state.waiting += batch.count;
        Ok(())
    }

    fn failed(&self, error: &io::Error) -> Failure {
        Failure::file("the spool can't be used", &self.path, error)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The record at a place; none where no whole one is.
fn read_record(file: &mut File, at: u64) -> io::Result<Option<Record>> {
    file.seek(SeekFrom::Start(at))?;
    let mut input = BufReader::new(file);
    let mut line = Vec::new();
    let length = (&mut input).take(HEAD_BYTES).read_until(b'\n', &mut line)? as u64;
    let head: Option<Head> = serde_json::from_slice(&line).ok();
    let Some(Head { key, count, bytes }) = head.filter(|head| head.bytes <= BODY_BYTES) else {
        return Ok(None);
    };
    let mut body = Vec::new();
    input.take(bytes).read_to_end(&mut body)?;
    let is_whole = body.len() as u64 == bytes && line.ends_with(b"\n");
    Ok(is_whole.then_some(Record { key, count, body, end: at + length + bytes }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::json::DraftJson;

    fn batch(text: &str) -> Batch {
        let json = serde_json::json!({"topic": "t", "kind": "k", "data": text});
        let draft: DraftJson = serde_json::from_value(json).unwrap();
        let mut batch = Batch::default();
        batch.push(&draft).unwrap();
        batch
    }

    fn gap(count: u64) -> Result<Batch, Failure> {
        Ok(batch(&format!("{count} dropped")))
    }

    fn texts(spool: &Spool) -> Vec<String> {
        let mut texts = Vec::new();
        while let Next::Record(record) = spool.next().unwrap() {
            let draft: serde_json::Value = serde_json::from_slice(&record.body).unwrap();
            texts.push(draft["data"].as_str().unwrap().to_owned());
            spool.sent(&record).unwrap();
        }
        texts
    }

    #[test]
    fn what_one_process_left_the_next_one_sends_under_the_same_keys() {
        let directory = tempfile::tempdir().unwrap();
        let spool = Spool::open(directory.path(), SPOOL_BYTES).unwrap();
        spool.push(&batch("one"), gap).unwrap();
        spool.push(&batch("two"), gap).unwrap();
        let first = spool.next().unwrap();
        drop(spool);
        // The process died in the middle of a record.
        let mut file =
            OpenOptions::new().append(true).open(directory.path().join("spool")).unwrap();
        file.write_all(b"{\"key\":\"x\",\"count\":1,\"bytes\":99}\n{").unwrap();
        let again = Spool::open(directory.path(), SPOOL_BYTES).unwrap();
        assert_eq!((again.waiting(), again.next().unwrap()), (2, first));
        again.push(&batch("three"), gap).unwrap();
        assert_eq!(texts(&again), ["one", "two", "three"]);
        assert_eq!(std::fs::metadata(again.path()).unwrap().len(), 0);
    }

    #[test]
    fn what_finds_no_room_is_counted_and_said_in_its_place() {
        let directory = tempfile::tempdir().unwrap();
        let room = 2 * batch("1").body().len() as u64 + 100;
        let spool = Spool::open(directory.path(), room).unwrap();
        for text in ["1", "2", "3", "4"] {
            spool.push(&batch(text), gap).unwrap();
        }
        let kept = texts(&spool);
        let dropped = 4 - kept.len();
        assert!(dropped > 0, "{kept:?}");
        spool.push(&batch("5"), gap).unwrap();
        assert_eq!(texts(&spool), [format!("{dropped} dropped"), "5".to_owned()]);
        spool.finish(gap).unwrap();
        assert_eq!(spool.next().unwrap(), Next::Over);
    }

    #[test]
    fn a_spool_has_one_process() {
        let directory = tempfile::tempdir().unwrap();
        let _spool = Spool::open(directory.path(), SPOOL_BYTES).unwrap();
        assert_eq!(Spool::open(directory.path(), SPOOL_BYTES).unwrap_err().exit(), 1);
    }
}
