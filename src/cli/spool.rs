//! A bounded spool between lines and a node that may be away.
//!
//! While the node answers, a record goes from hand to hand, and the lines wait for the node. While it
//! is away, records go to a file that no other process has. A lasting spool has its file all the time:
//! what a process that ended left there, the next one sends first. Any other file is gone once all of
//! it is sent.
//!
//! Records are sent in order, each under its own idempotency key, so one that was sent and whose
//! answer was lost is not appended twice. Where the file is full lines are dropped and counted while
//! the node is away, and the next record that fits says how many: an entry of kind `spool.gap`.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, LockResult, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::drafts::Batch;
use super::failure::Failure;
use crate::node::directory::is_full;
use crate::words::Code;

mod file;
mod home;
#[cfg(test)]
mod tests;

pub use file::Record;
use file::SpoolFile;
pub use home::{forgotten, home};

/// How many bytes a spool holds when nothing is said.
pub const SPOOL_BYTES: u64 = 64 << 20; // full: lines wait; while the node is away they are dropped

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

/// What becomes of lines that find no room while the node is away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// They are dropped, and counted, since whoever writes them may not be able to wait.
    Drop,
    /// They wait, where they are safe.
    Wait,
}

/// Whether a spool has its file while nothing waits in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stay {
    Lasting,
    Passing,
}

/// The spool of one process.
#[derive(Debug)]
pub struct Spool {
    path: PathBuf,
    most: u64,
    full: Full,
    stay: Stay,
    /// Makes the keys of this process differ from all others.
    name: String,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// None while records go from hand to hand.
    file: Option<SpoolFile>,
    hand: Hand,
    is_away: bool,
    records: u64,
    waiting: u64,
    dropped: u64,
    is_over: bool,
}

/// Where the one record is that goes from hand to hand.
#[derive(Debug, Default, PartialEq, Eq)]
enum Hand {
    #[default]
    Empty,
    Offered(Record),
    Taken,
}

impl Spool {
    /// The spool in a directory, which is made when it is missing.
    ///
    /// # Errors
    /// It can't be read or written, or another process has it.
    pub fn lasting(directory: &Path, most: u64, full: Full) -> Result<Self, Failure> {
        let spool = Self::new(directory, name()?, most, full, Stay::Lasting);
        let (file, waiting) = SpoolFile::open(&spool.path).map_err(|error| spool.failed(&error))?;
        *spool.state() = State { file: Some(file), waiting, ..State::default() };
        Ok(spool)
    }

    /// A spool that takes to the disk only while the node is away, in a directory of its own.
    ///
    /// # Errors
    /// There are no random bytes.
    pub fn passing(home: &Path, most: u64, full: Full) -> Result<Self, Failure> {
        let name = name()?;
        Ok(Self::new(&home.join(format!("spool-{name}")), name, most, full, Stay::Passing))
    }

    fn new(directory: &Path, name: String, most: u64, full: Full, stay: Stay) -> Self {
        let (path, state) = (directory.join("spool"), Mutex::default());
        Self { path, most, full, stay, name, state, changed: Condvar::new() }
    }

    /// Puts drafts at the end, once there is room; or counts them where there is none while the node is
    /// away. `gap` makes the draft that says how many were dropped.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn push(
        &self,
        batch: &Batch,
        gap: impl Fn(u64) -> Result<Batch, Failure>,
    ) -> Result<(), Failure> {
        let size = batch.body().len() as u64;
        let mut state = self.state();
        loop {
            let must_wait = |state: &mut State| self.must_wait(state, size);
            state = entered(self.changed.wait_while(state, must_wait));
            let dropped = state.dropped;
            let is_put = match dropped {
                _ if self.must_drop(&state, size) => false,
                0 => self.put(&mut state, batch)?,
                _ => self.put(&mut state, &gap(dropped)?)?,
            };
            match is_put {
                false => state.dropped += batch.count,
                true if dropped > 0 => {
                    state.dropped = 0;
                    continue;
                }
                true => {}
            }
            return Ok(());
        }
    }

    /// Says that nothing more will be put in; what was dropped last is said as [`Spool::push`] does.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn finish(&self, gap: impl FnOnce(u64) -> Result<Batch, Failure>) -> Result<(), Failure> {
        let mut state = entered(self.changed.wait_while(self.state(), |state| state.is_handing()));
        let said = match state.dropped {
            0 => Ok(true),
            dropped => gap(dropped).and_then(|gap| self.put(&mut state, &gap)),
        };
        state.is_over = true;
        self.changed.notify_all();
        match said {
            Ok(true) => Ok(()),
            Ok(false) => Err(self.failed(&io::ErrorKind::StorageFull.into())),
            Err(failure) => Err(failure),
        }
    }

    /// What to do next.
    ///
    /// # Errors
    /// The file can't be read.
    pub fn next(&self) -> Result<Next, Failure> {
        let mut state = self.state();
        let record = match &mut state.file {
            Some(file) => file.first().map_err(|error| self.failed(&error))?,
            None => state.hand.take(),
        };
        Ok(match record {
            Some(record) => Next::Record(record),
            None if state.is_over => Next::Over,
            None => Next::Nothing,
        })
    }

    /// Waits until there is something to do, or this long; says whether there is.
    pub fn wait(&self, longest: Duration) -> bool {
        let is_idle = |state: &mut State| {
            let is_empty = state.file.as_ref().is_none_or(SpoolFile::is_empty);
            is_empty && !state.is_handing() && !state.is_over
        };
        !entered(self.changed.wait_timeout_while(self.state(), longest, is_idle)).1.timed_out()
    }

    /// Notes that the record was sent that was next.
    ///
    /// # Errors
    /// The file can't be emptied or removed.
    pub fn sent(&self, record: &Record) -> Result<(), Failure> {
        let mut state = self.state();
        state.is_away = false;
        state.waiting = state.waiting.saturating_sub(record.count);
        state.hand = Hand::Empty;
        let popped = state.file.as_mut().map_or(Ok(()), SpoolFile::pop);
        let is_done =
            self.stay == Stay::Passing && state.file.as_ref().is_some_and(SpoolFile::is_empty);
        let removed = popped.and_then(|()| if is_done { self.remove(&mut state) } else { Ok(()) });
        self.changed.notify_all();
        removed.map_err(|error| self.failed(&error))
    }

    /// Notes that the record can't be sent now that was next, since the node is away: until it is back,
    /// all goes to the disk.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn keep(&self, record: &Record) -> Result<(), Failure> {
        let mut state = self.state();
        if state.file.is_none() {
            let (mut file, _) = SpoolFile::open(&self.path).map_err(|error| self.failed(&error))?;
            file.push(record).map_err(|error| self.failed(&error))?;
            state.file = Some(file);
            state.hand = Hand::Empty;
        }
        state.is_away = true;
        self.changed.notify_all();
        Ok(())
    }

    /// Ends with nothing that waits. Where nobody has named the directory, it is removed.
    ///
    /// # Errors
    /// It can't be removed.
    pub fn close(&self) -> Result<(), Failure> {
        let mut state = self.state();
        let is_ours = self.directory().parent() == home().as_deref();
        if state.file.is_some() && is_ours {
            self.remove(&mut state).map_err(|error| self.failed(&error))?;
        }
        Ok(())
    }

    /// How many drafts wait on the disk.
    pub fn left(&self) -> u64 {
        let state = self.state();
        if state.file.is_some() { state.waiting } else { 0 }
    }

    /// Whether nothing more will be put in.
    pub fn is_over(&self) -> bool {
        self.state().is_over
    }

    /// Whether it keeps lines for a node that was never reached, too.
    pub fn is_lasting(&self) -> bool {
        self.stay == Stay::Lasting
    }

    /// The directory of the file.
    pub fn directory(&self) -> &Path {
        self.path.parent().unwrap_or(&self.path)
    }

    /// The file, which may not be there now.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn must_wait(&self, state: &State, size: u64) -> bool {
        match &state.file {
            Some(file) if file.bytes() > 0 && self.is_over_most(state, size) => {
                !state.is_away || self.full == Full::Wait
            }
            Some(_) => false,
            None => state.is_handing(),
        }
    }

    fn must_drop(&self, state: &State, size: u64) -> bool {
        state.is_away && self.full == Full::Drop && self.is_over_most(state, size)
    }

    /// Records that were sent take room, too, until all are: the file is never longer than this.
    fn is_over_most(&self, state: &State, size: u64) -> bool {
        state.file.as_ref().map_or(0, SpoolFile::bytes) + size > self.most
    }

    /// Puts drafts at the end, and says whether there was room on the disk.
    fn put(&self, state: &mut State, batch: &Batch) -> Result<bool, Failure> {
        let key = format!("spool-{}-{}", self.name, state.records);
        let record = Record { key, count: batch.count, body: batch.body().to_vec() };
        match &mut state.file {
            None => state.hand = Hand::Offered(record),
            Some(file) => match file.push(&record) {
                Err(error) if is_full(&error) => return Ok(false),
                pushed => pushed.map_err(|error| self.failed(&error))?,
            },
        }
        state.records += 1;
        state.waiting += batch.count;
        self.changed.notify_all();
        Ok(true)
    }

    fn remove(&self, state: &mut State) -> io::Result<()> {
        state.file = None;
        std::fs::remove_file(&self.path)?;
        std::fs::remove_dir(self.directory())
    }

    fn failed(&self, error: &io::Error) -> Failure {
        if error.kind() == io::ErrorKind::WouldBlock {
            let why = format_args!("{} is locked", self.path.display());
            return Failure::new(Code::Locked, "another process has the spool", why)
                .hint("a --spool directory for each process");
        }
        Failure::file("the spool can't be used", &self.path, error)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        entered(self.state.lock())
    }
}

impl State {
    fn is_handing(&self) -> bool {
        self.file.is_none() && self.hand != Hand::Empty
    }
}

impl Hand {
    /// The record that is offered.
    fn take(&mut self) -> Option<Record> {
        match std::mem::replace(self, Self::Taken) {
            Self::Offered(record) => Some(record),
            other => {
                *self = other;
                None
            }
        }
    }
}

/// A panic of the other thread leaves nothing half done.
fn entered<T>(locked: LockResult<T>) -> T {
    locked.unwrap_or_else(PoisonError::into_inner)
}

fn name() -> Result<String, Failure> {
    let mut random = [0; 8];
    getrandom::fill(&mut random)
        .map_err(|error| Failure::new(Code::Io, "no random bytes", error))?;
    Ok(hex::encode(random))
}
