//! The file of a spool: records, one after the other, of which the first ones are sent already.
//!
//! ```text
//! DIR/spool   {"key":"…","count":2,"bytes":57}\n   a head, and so many bytes of drafts, one a line
//!             {"topic":…}\n{"topic":…}\n
//! ```

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use serde::{Deserialize, Serialize};

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
}

/// A file of records, locked as long as it is open.
#[derive(Debug)]
pub struct SpoolFile {
    file: File,
    /// Where the first record that was not sent begins, and where the last one ends.
    sent: u64,
    written: u64,
}

impl SpoolFile {
    /// Opens a file, and says how many drafts wait in it. It and its directory are made when missing.
    ///
    /// # Errors
    /// It can't be read or written; `WouldBlock`: another process has it.
    pub fn open(path: &Path) -> io::Result<(Self, u64)> {
        if let Some(directory) = path.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        }
        let mut options = OpenOptions::new();
        let options = options.create(true).truncate(false).read(true).write(true).mode(0o600);
        let file = options.open(path)?;
        file.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => io::ErrorKind::WouldBlock.into(),
            TryLockError::Error(error) => error,
        })?;
        let mut file = Self { file, sent: 0, written: 0 };
        let waiting = file.find_end()?;
        // What a crash left of a record was never acknowledged to anybody.
        file.file.set_len(file.written)?;
        Ok((file, waiting))
    }

    /// How many drafts wait in a file that no process has; it stays as it is.
    ///
    /// # Errors
    /// It can't be read.
    pub fn forgotten(path: &Path) -> io::Result<u64> {
        let file = File::open(path)?;
        // One that is empty is about to be locked by its process.
        if file.metadata()?.len() == 0 || file.try_lock_shared().is_err() {
            return Ok(0);
        }
        Self { file, sent: 0, written: 0 }.find_end()
    }

    /// Finds where the last whole record ends, and says how many drafts wait.
    fn find_end(&mut self) -> io::Result<u64> {
        let mut waiting = 0;
        while let Some((record, end)) = self.read(self.written)? {
            self.written = end;
            waiting += record.count;
        }
        Ok(waiting)
    }

    /// Puts a record at the end.
    ///
    /// # Errors
    /// It can't be written. What is before it stays as it was.
    pub fn push(&mut self, record: &Record) -> io::Result<()> {
        let (key, count, bytes) = (record.key.clone(), record.count, record.body.len() as u64);
        let mut text = serde_json::to_vec(&Head { key, count, bytes })?;
        text.push(b'\n');
        text.extend_from_slice(&record.body);
        self.file.seek(SeekFrom::Start(self.written))?;
        self.file.write_all(&text)?;
        self.written += text.len() as u64;
        Ok(())
    }

    /// The first record that was not sent.
    ///
    /// # Errors
    /// It can't be read.
    pub fn first(&mut self) -> io::Result<Option<Record>> {
        if self.is_empty() {
            return Ok(None);
        }
        let (record, _) = self.read(self.sent)?.ok_or(io::ErrorKind::InvalidData)?;
        Ok(Some(record))
    }

    /// Notes that the first record was sent. The file takes no room once all are.
    ///
    /// # Errors
    /// It can't be read, or emptied.
    pub fn pop(&mut self) -> io::Result<()> {
        let (head, body) = self.head(self.sent)?.ok_or(io::ErrorKind::InvalidData)?;
        self.sent = body + head.bytes;
        if self.is_empty() {
            self.file.set_len(0)?;
            (self.sent, self.written) = (0, 0);
        }
        Ok(())
    }

    /// Whether every record was sent.
    pub fn is_empty(&self) -> bool {
        self.sent == self.written
    }

    /// How many bytes it takes, with those of records that were sent.
    pub fn bytes(&self) -> u64 {
        self.written
    }

    /// The record at a place, and where it ends; none where no whole one is.
    fn read(&mut self, at: u64) -> io::Result<Option<(Record, u64)>> {
        let Some((Head { key, count, bytes }, begin)) = self.head(at)? else { return Ok(None) };
        self.file.seek(SeekFrom::Start(begin))?;
        let mut body = Vec::new();
        (&mut self.file).take(bytes).read_to_end(&mut body)?;
        let is_whole = body.len() as u64 == bytes;
        Ok(is_whole.then_some((Record { key, count, body }, begin + bytes)))
    }

    /// The head of the record at a place, and where its body begins; none where no whole one is.
    fn head(&mut self, at: u64) -> io::Result<Option<(Head, u64)>> {
        self.file.seek(SeekFrom::Start(at))?;
        let mut line = Vec::new();
        let input = BufReader::with_capacity(HEAD_BYTES as usize, &mut self.file);
        let length = input.take(HEAD_BYTES).read_until(b'\n', &mut line)? as u64;
        let head: Option<Head> = serde_json::from_slice(&line).ok();
        let head = head.filter(|head| head.bytes <= BODY_BYTES && line.ends_with(b"\n"));
        Ok(head.map(|head| (head, at + length)))
    }
}
