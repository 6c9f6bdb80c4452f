//! Named consumers: readers whose place the node keeps, each in a file of its own.
//!
//! ```text
//! cursors/<name>.json  {"position":"o:…","created":"…","updated":"…",
//!                       "lease":{"holder":"…","until":"…"}}
//! ```
//!
//! A place is in this node's order of arrival. A *lease* says that one reader moves the place until
//! a time; others are refused meanwhile. A place moves forward; back, only who asks for a replay.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::cursor::{Cursor, CursorError};
use super::directory::{self, DirectoryError};
use super::filter::Filter;
use super::query::{QueryError, check_place};
use crate::core::merge::Direction;
use crate::store::{Reader, StoreError};
use crate::words::Time;

/// How many named consumers a node keeps.
pub const CONSUMERS: usize = 1_000; // full: a further one is refused
/// The longest lease, in seconds.
pub const LEASE_SECONDS: u64 = 3_600;
/// The longest name, and the longest name of a holder, in bytes.
const NAME_BYTES: usize = 64;

/// A consumer as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Consumer {
    /// The cursor after what it has read.
    pub position: String,
    /// When it was made, RFC 3339.
    pub created: String,
    /// When its place was last said, RFC 3339.
    pub updated: String,
    /// Who moves it, if somebody does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<Lease>,
}

/// The right to move a place, until a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Who has it.
    pub holder: String,
    /// Until when, RFC 3339.
    pub until: String,
    /// The same, in milliseconds since 1970.
    until_millis: u64,
}

/// What a consumer's place is to be.
#[derive(Clone, Debug)]
pub struct Moved {
    /// The new place; where it is, when absent.
    pub position: Option<Cursor>,
    /// Who moves it.
    pub holder: Option<String>,
    /// For how long it alone may go on to; 0 gives a lease back.
    pub lease_seconds: Option<u64>,
    /// Whether the place may move back.
    pub direction: Allowed,
}

/// Which way a place may move.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Allowed {
    /// Forward only.
    #[default]
    Forward,
    /// Anywhere, whoever has the lease, which ends.
    Replay,
}

/// Says why a consumer is not as it was asked for. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum ConsumerError {
    /// The name can't be one.
    #[error(
        "the name of a consumer is 1 to {NAME_BYTES} of a-z, 0-9, '-', '_' and '.', and begins with no '.'"
    )]
    Name,
    /// Another reader has it.
    #[error("{holder} has it until {until}")]
    Leased {
        /// Who.
        holder: String,
        /// Until when.
        until: String,
    },
    /// The place lies before the one that is kept.
    #[error("the place lies before {kept}, which is kept")]
    Backward {
        /// The place that is kept.
        kept: String,
    },
    /// A lease without a holder, or too long, or the holder's name is none.
    #[error(
        "a lease has a holder of 1 to {NAME_BYTES} bytes without control characters, and lasts up to {LEASE_SECONDS} s"
    )]
    Lease,
    /// The place is none.
    #[error(transparent)]
    Cursor(#[from] CursorError),
    /// There are as many as there may be.
    #[error("a node keeps at most {CONSUMERS} named consumers")]
    TooMany,
    /// The file can't be written.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
}

/// The named consumers of a node.
#[derive(Debug)]
pub struct Consumers {
    /// Where the files are; a node without a directory keeps them as long as it lives.
    directory: Option<PathBuf>,
    kept: Mutex<BTreeMap<String, Consumer>>,
}

impl Consumers {
    /// Those of a data directory. A file that can't be read is told of and passed over: its reader
    /// begins again, and no node stays down for it.
    pub fn open(directory: Option<&Path>) -> Self {
        let directory = directory.map(|directory| directory.join("cursors"));
        let kept = directory.as_deref().map(read_all).unwrap_or_default();
        Self { directory, kept: Mutex::new(kept) }
    }

    /// All of them, by name.
    pub fn list(&self) -> Vec<(String, Consumer)> {
        self.kept().iter().map(|(name, consumer)| (name.clone(), consumer.clone())).collect()
    }

    /// One of them.
    pub fn find(&self, name: &str) -> Option<Consumer> {
        self.kept().get(name).cloned()
    }

    /// Moves a place, and makes the consumer when it is missing: `start` is where it then begins.
    /// What is returned is on disk. Blocks for a sync.
    ///
    /// # Errors
    /// See [`ConsumerError`].
    pub fn put(
        &self,
        name: &str,
        moved: &Moved,
        start: Cursor,
        now: Time,
    ) -> Result<Consumer, ConsumerError> {
        check_name(name)?;
        let mut kept = self.kept();
        let before = kept.get(name);
        if before.is_none() && kept.len() >= CONSUMERS {
            return Err(ConsumerError::TooMany);
        }
        let consumer = moved.apply(before, start, now)?;
        if let Some(directory) = &self.directory {
            fs::create_dir_all(directory).map_err(directory::failed("make", directory))?;
            let text = serde_json::to_vec(&consumer).expect("texts are always JSON");
            directory::replace(&path(directory, name), &text, 0o600)?;
        }
        kept.insert(name.to_owned(), consumer.clone());
        Ok(consumer)
    }

    /// Forgets a consumer; none of that name was there when it returns none.
    ///
    /// # Errors
    /// The file can't be removed.
    pub fn remove(&self, name: &str) -> Result<Option<Consumer>, ConsumerError> {
        let mut kept = self.kept();
        if !kept.contains_key(name) {
            return Ok(None);
        }
        if let Some(directory) = &self.directory {
            let path = path(directory, name);
            fs::remove_file(&path).map_err(directory::failed("remove", &path))?;
        }
        Ok(kept.remove(name))
    }

    fn kept(&self) -> MutexGuard<'_, BTreeMap<String, Consumer>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Moved {
    fn apply(
        &self,
        before: Option<&Consumer>,
        start: Cursor,
        now: Time,
    ) -> Result<Consumer, ConsumerError> {
        let replay = self.direction == Allowed::Replay;
        let lease = before.and_then(|consumer| consumer.lease.clone());
        let lease = lease.filter(|lease| lease.until_millis > now.millis());
        if let Some(Lease { holder, until, .. }) = &lease
            && self.holder.as_ref() != Some(holder)
            && !replay
        {
            return Err(ConsumerError::Leased { holder: holder.clone(), until: until.clone() });
        }
        let kept = before.map(|consumer| consumer.position.parse::<Cursor>()).transpose()?;
        let position = self.position.or(kept).unwrap_or(start);
        let is_back = |kept: Cursor| kept.store == position.store && position.offset < kept.offset;
        if let Some(kept) = kept.filter(|kept| is_back(*kept) && !replay) {
            return Err(ConsumerError::Backward { kept: kept.to_string() });
        }
        let lease = match self.lease_seconds {
            Some(0) => None,
            Some(seconds) => Some(self.lease(seconds, now)?),
            None if replay => None,
            None => lease,
        };
        Ok(Consumer {
            position: position.to_string(),
            created: before.map_or_else(|| now.to_string(), |before| before.created.clone()),
            updated: now.to_string(),
            lease,
        })
    }

    fn lease(&self, seconds: u64, now: Time) -> Result<Lease, ConsumerError> {
        let holder = self.holder.clone().unwrap_or_default();
        let named = (1..=NAME_BYTES).contains(&holder.len()) && !holder.contains(char::is_control);
        if !named || seconds > LEASE_SECONDS {
            return Err(ConsumerError::Lease);
        }
        let until_millis = now.millis().saturating_add(seconds * 1_000);
        Ok(Lease { holder, until: Time::from_millis(until_millis).to_string(), until_millis })
    }
}

/// How far a consumer is behind.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Lag {
    /// How many entries it hasn't read, whatever it filters.
    pub entries: u64,
    /// How old the first of them is, in seconds; 0 when there is none.
    pub seconds: f64,
}

/// How far a place lies behind the newest entry; none where it is no place of this store any more, or
/// something that follows it was removed.
///
/// # Errors
/// The store can't be read.
pub fn lag(reader: &mut dyn Reader, position: &str, now: Time) -> Result<Option<Lag>, StoreError> {
    let end = reader.watermark()?;
    let Ok(cursor) = position.parse::<Cursor>() else { return Ok(None) };
    match check_place(&cursor, reader, end) {
        Ok(()) => {}
        Err(QueryError::Store(error)) => return Err(error),
        Err(_) => return Ok(None),
    }
    let entries = end.0.saturating_sub(cursor.offset.0);
    let mut seconds = 0.0;
    if entries > 0
        && let Some(arrival) = reader.arrivals(cursor.offset, Direction::Forward, 1)?.first()
    {
        let unread = Filter::all().all_entries(arrival)?;
        let unread = unread.iter().find(|entry| entry.offset >= cursor.offset);
        let age = unread.map_or(0, |entry| now.millis().saturating_sub(entry.time.millis()));
        seconds = age as f64 / 1_000.0;
    }
    Ok(Some(Lag { entries, seconds }))
}

fn path(directory: &Path, name: &str) -> PathBuf {
    directory.join(format!("{name}.json"))
}

fn check_name(name: &str) -> Result<(), ConsumerError> {
    let fits = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.');
    let is_one =
        (1..=NAME_BYTES).contains(&name.len()) && name.bytes().all(fits) && !name.starts_with('.');
    if is_one { Ok(()) } else { Err(ConsumerError::Name) }
}

fn read_all(directory: &Path) -> BTreeMap<String, Consumer> {
    let files = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut kept = BTreeMap::new();
    for path in files.map(|file| file.path()) {
        let name = path.file_name().and_then(|name| name.to_str());
        // What a crash left of a file that was being written has another ending.
        let Some(name) = name.and_then(|name| name.strip_suffix(".json")) else { continue };
        let read = fs::read(&path).map_err(|error| error.to_string());
        let read =
            read.and_then(|text| serde_json::from_slice(&text).map_err(|error| error.to_string()));
        match read {
            Ok(consumer) if kept.len() < CONSUMERS => drop(kept.insert(name.to_owned(), consumer)),
            Ok(_) => tracing::error!(name, "there are too many named consumers"),
            Err(why) => tracing::error!(name, why, "a named consumer begins again"),
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::StoreId;
    use crate::words::Offset;

    fn at(offset: u64) -> Cursor {
        Cursor { store: StoreId([1; 8]), offset: Offset(offset), last: None }
    }

    fn to(offset: u64, holder: &str, lease: Option<u64>) -> Moved {
        Moved {
            position: Some(at(offset)),
            holder: Some(holder.to_owned()),
            lease_seconds: lease,
            direction: Allowed::Forward,
        }
    }

    fn second(second: u64) -> Time {
        Time::from_millis(1_000 * second)
    }

    #[test]
    fn a_place_is_there_after_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let consumers = Consumers::open(Some(directory.path()));
        let put = consumers.put("mail.v2", &to(7, "a", Some(30)), at(0), second(1)).unwrap();
        let again = Consumers::open(Some(directory.path()));
        assert_eq!(again.find("mail.v2"), Some(put));
        assert!(again.remove("mail.v2").unwrap().is_some());
        assert_eq!(Consumers::open(Some(directory.path())).list(), []);
    }

    #[test]
    fn a_lease_keeps_others_away_until_it_ends_or_is_given_back() {
        let consumers = Consumers::open(None);
        let put = |moved: Moved, now| consumers.put("c", &moved, at(0), second(now));
        put(to(1, "a", Some(30)), 0).unwrap();
        assert!(matches!(put(to(2, "b", None), 29), Err(ConsumerError::Leased { .. })));
        put(to(2, "a", Some(0)), 29).unwrap();
        put(to(3, "b", Some(30)), 29).unwrap();
        put(to(4, "a", Some(30)), 59).unwrap();
        assert_eq!(consumers.find("c").unwrap().position, at(4).to_string());
    }

    #[test]
    fn a_place_moves_back_for_a_replay_only() {
        let consumers = Consumers::open(None);
        let put = |moved: Moved| consumers.put("c", &moved, at(0), second(0));
        put(to(9, "a", Some(30))).unwrap();
        assert!(matches!(put(to(8, "a", None)), Err(ConsumerError::Backward { .. })));
        let replay = Moved { direction: Allowed::Replay, ..to(8, "b", None) };
        let replayed = put(replay).unwrap();
        assert_eq!((replayed.position, replayed.lease), (at(8).to_string(), None));
    }

    #[test]
    fn names_lead_nowhere_else() {
        let consumers = Consumers::open(None);
        for name in ["", ".", "../x", "a/b", "A", "a\0", &"x".repeat(65)] {
            let put = consumers.put(name, &to(0, "a", None), at(0), second(0));
            assert!(matches!(put, Err(ConsumerError::Name)), "{name:?}");
        }
    }

    #[test]
    fn a_file_that_is_none_stops_nobody() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("cursors")).unwrap();
        fs::write(directory.path().join("cursors/broken.json"), "{").unwrap();
        assert_eq!(Consumers::open(Some(directory.path())).list(), []);
    }
}
