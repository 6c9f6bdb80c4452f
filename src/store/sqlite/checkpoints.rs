//! Checkpoints beside the writer: what it has put into the write-ahead log moves into the file while it
//! goes on.
//!
//! A checkpoint writes hundreds of pages into the file and syncs it, which takes milliseconds, ten times as
//! long as a commit. So a thread with a connection of its own makes it. It can't begin the log anew, since
//! commits have followed meanwhile: that the writer does, which then has little left to move. Where the
//! thread doesn't get on, the writer waits for it, and at last does without.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::hooks::Wal;
use rusqlite::{Connection, OpenFlags};

use super::schema;
use crate::store::StoreError;

/// From so many pages of log on, the thread is asked for a checkpoint ...
const BEGIN: i32 = 2_048;
/// ... and, where the log could not be begun anew since a reader needs it, after so many more.
const AGAIN: i32 = 256;
/// A commit of so many pages takes longer than moving them: from `BEGIN` on it makes the checkpoint.
const LARGE: i32 = 256;
/// So many pages are left to the writer. Where more have come meanwhile, the thread is asked once more.
const REST: i32 = 64;
/// How often the thread tries to move all, each time it is asked.
const TRIES: usize = 16;
/// How many pages more come while the thread is at it.
const PATIENCE: i32 = 3_072; // over: the writer waits for it, and moves the rest
/// How long the writer waits then.
const WAIT: Duration = Duration::from_secs(1); // over: the thread is given up

/// The thread, while there is one. It ends with this value.
pub(super) struct Checkpoints {
    asks: SyncSender<Ask>,
    thread: Option<JoinHandle<()>>,
}

enum Ask {
    Checkpoint,
    End,
}

impl Checkpoints {
    /// Starts the thread, and has the writer's connection ask it.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub fn start(writer: &mut Connection, path: &Path) -> Result<Self, StoreError> {
        let (asks, asked) = sync_channel(1);
        let seen = Arc::new(Seen::default());
        let work = {
            let (path, seen) = (path.to_owned(), seen.clone());
            move || work(&path, &asked, &seen)
        };
        let thread = std::thread::Builder::new().name("towline-checkpoint".into());
        let thread = thread
            .spawn(work)
            .map_err(|error| StoreError::Failed(format!("no thread for checkpoints: {error}")))?;
        let mut turns = Turns::new(asks.clone(), seen);
        writer.wal_hook(Some(move |wal: &mut Wal, pages| {
            turns.committed(wal, pages);
            Ok(())
        }))?;
        Ok(Self { asks, thread: Some(thread) })
    }
}

impl Drop for Checkpoints {
    fn drop(&mut self) {
        self.asks.send(Ask::End).ok();
        self.thread.take().map(JoinHandle::join);
    }
}

/// What the writer and the thread see of each other.
#[derive(Default)]
struct Seen {
    /// The thread is done with what it was asked for last.
    done: AtomicBool,
    /// The writer waits for it.
    hurry: AtomicBool,
    /// How many pages the log has after the newest commit.
    pages: AtomicI32,
}

/// Whose turn it is.
struct Turns {
    asks: SyncSender<Ask>,
    seen: Arc<Seen>,
    /// How many pages the log has when a checkpoint is due.
    due: i32,
    /// How many it had when the thread was asked, if it was.
    asked_at: Option<i32>,
    /// How many it had before this commit.
    before: i32,
    /// The thread has not answered, and isn't asked any more.
    alone: bool,
}

impl Turns {
    fn new(asks: SyncSender<Ask>, seen: Arc<Seen>) -> Self {
        Self { asks, seen, due: BEGIN, asked_at: None, before: 0, alone: false }
    }

    /// A commit has left the log with so many pages.
    fn committed(&mut self, wal: &mut Wal, pages: i32) {
        self.seen.pages.store(pages, Ordering::Release);
        let before = std::mem::replace(&mut self.before, pages);
        if pages < before.max(BEGIN) {
            (self.due, self.asked_at) = (BEGIN, None); // it was begun anew
        }
        if pages < self.due {
            return;
        }
        let is_late = pages - self.due >= PATIENCE;
        let is_large = pages - before >= LARGE;
        let is_done = self.seen.done.load(Ordering::Acquire);
        match self.asked_at {
            _ if self.alone => {}
            None if is_large => {}
            None => return self.ask(pages),
            Some(_) if is_late || is_large => self.alone = !self.is_done_soon(),
            Some(_) if !is_done => return,
            Some(at) if pages - at > REST => return self.ask(pages),
            Some(_) => {}
        }
        // What goes wrong leaves the pages in the log, and they are moved another time.
        wal.checkpoint().ok();
        (self.due, self.asked_at) = (pages.saturating_add(AGAIN), None);
    }

    fn ask(&mut self, pages: i32) {
        self.seen.done.store(false, Ordering::Release);
        self.seen.hurry.store(false, Ordering::Release);
        // It has nothing else to do: only where it has ended this fails, which is noticed later.
        self.asks.try_send(Ask::Checkpoint).ok();
        self.asked_at = Some(pages);
    }

    /// Waits until the thread is done with what it is at.
    fn is_done_soon(&self) -> bool {
        self.seen.hurry.store(true, Ordering::Release);
        let began = Instant::now();
        while !self.seen.done.load(Ordering::Acquire) {
            if began.elapsed() > WAIT {
                return false;
            }
            std::thread::sleep(Duration::from_micros(100));
        }
        true
    }
}

fn work(path: &Path, asked: &Receiver<Ask>, seen: &Seen) {
    let mut connection = None;
    while let Ok(Ask::Checkpoint) = asked.recv() {
        let mut checkpoint = || -> rusqlite::Result<Connection> {
            let connection = match connection.take() {
                Some(connection) => connection,
                None => open(path)?,
            };
            // SQLite syncs the file only where nothing was committed while pages were moved. Each try has less
            // to move, so that comes soon; and what is synced here the writer needn't wait for.
            for _ in 0..TRIES {
                let all = moved(&connection)? == seen.pages.load(Ordering::Acquire);
                if all || seen.hurry.load(Ordering::Acquire) {
                    break;
                }
            }
            Ok(connection)
        };
        match checkpoint() {
            Ok(kept) => connection = Some(kept),
            Err(error) => tracing::debug!(%error, "no checkpoint beside the writer for now"),
        }
        seen.done.store(true, Ordering::Release);
    }
}

/// Moves what is in the log now. Returns how many pages that is, with those that were moved before.
fn moved(connection: &Connection) -> rusqlite::Result<i32> {
    let mut checkpoint = connection.prepare_cached("PRAGMA wal_checkpoint(PASSIVE)")?;
    checkpoint.query_row([], |row| row.get(2))
}

fn open(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.pragma_update(None, "synchronous", schema::synchronous().0)?;
    Ok(connection)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the log may have at most, and a commit on top.
    const MOST: u64 = (BEGIN + PATIENCE + 64) as u64 * 4_120;

    /// A database in WAL mode, into which [`fill`] writes ten times as much as the log may have.
    fn writer(path: &Path) -> Connection {
        let writer = Connection::open(path).unwrap();
        let mode = "PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF; CREATE TABLE t (b BLOB)";
        writer.execute_batch(mode).unwrap();
        writer
    }

    fn fill(writer: &Connection, path: &Path, pages: i32) {
        for _ in 0..10 * (BEGIN + PATIENCE) / pages {
            writer.execute("INSERT INTO t VALUES (zeroblob(?1))", [pages * 4_096]).unwrap();
            let log = std::fs::metadata(path.with_extension("sqlite-wal")).unwrap().len();
            assert!(log <= MOST, "the log has {log} bytes");
        }
    }

    #[test]
    fn the_log_is_begun_anew_while_the_writer_goes_on() {
        let room = tempfile::tempdir().unwrap();
        let path = room.path().join("test.sqlite");
        let mut writer = writer(&path);
        let checkpoints = Checkpoints::start(&mut writer, &path).unwrap();
        fill(&writer, &path, 32);
        drop(checkpoints);
        let held: i64 = writer.query_row("SELECT count(*) FROM t", [], |row| row.get(0)).unwrap();
        assert_eq!(held, i64::from(10 * (BEGIN + PATIENCE) / 32));
    }

    #[test]
    fn large_commits_leave_a_log_of_two_of_them() {
        let room = tempfile::tempdir().unwrap();
        let path = room.path().join("test.sqlite");
        let mut writer = writer(&path);
        let _checkpoints = Checkpoints::start(&mut writer, &path).unwrap();
        fill(&writer, &path, 1_300);
        let log = std::fs::metadata(path.with_extension("sqlite-wal")).unwrap().len();
        assert!(log < 3 * 1_300 * 4_120, "the log has {log} bytes");
    }

    #[test]
    fn the_writer_makes_checkpoints_where_the_thread_does_not_get_on() {
        let room = tempfile::tempdir().unwrap();
        let path = room.path().join("test.sqlite");
        let mut writer = writer(&path);
        let (asks, asked) = sync_channel(1);
        let mut turns = Turns::new(asks, Arc::default());
        let hook = move |wal: &mut Wal, pages: i32| {
            turns.committed(wal, pages);
            Ok(())
        };
        writer.wal_hook(Some(hook)).unwrap();
        fill(&writer, &path, 32);
        assert!(matches!(asked.try_recv(), Ok(Ask::Checkpoint)), "it was asked first");
    }
}
