//! Named consumers: readers whose place the node keeps, each in a file of its own.
//!
//! ```text
//! cursors/<name>.json           {"position":"o:…","created":"…","updated":"…",
//!                                "lease":{"holder":"…","until":"…"}}
//! cursors/<tenant>@<name>.json  the same, of a reader who is bound to a tenant
//! ```
//!
//! A place is in this node's order of arrival, or one that any node understands. A *lease* says that one
//! reader moves the place until a time; others are refused meanwhile. A place moves forward; back, only
//! who asks for a replay. The names of one tenant's consumers are not those of another's.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::cursor::CursorError;
use super::directory::{self, DirectoryError};
use super::filter::Filter;
use super::position::{Position, Unread};
use super::query::QueryError;
use crate::core::merge::Direction;
use crate::core::series::Series;
use crate::store::{Reader, StoreError};
use crate::words::{Offset, Tenant, Time};

/// How many named consumers a node keeps.
pub const CONSUMERS: usize = 1_000; // full: a further one is refused
/// How many of them may be one tenant's.
pub const TENANT_CONSUMERS: usize = 100; // full: a further one is refused
/// The longest lease, in seconds.
pub const LEASE_SECONDS: u64 = 3_600;
/// The longest name, and the longest name of a holder, in bytes.
const NAME_BYTES: usize = 64;

/// What a consumer is called, and by whom: readers who are bound to a tenant have names of their own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConsumerName {
    tenant: Option<Tenant>,
    name: String,
}

impl ConsumerName {
    /// A name among those of a tenant, or of readers who are bound to none.
    ///
    /// # Errors
    /// [`ConsumerError::Name`] for a text that can't be one.
    pub fn new(tenant: Option<Tenant>, name: &str) -> Result<Self, ConsumerError> {
        let fits = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.');
        let is_one = (1..=NAME_BYTES).contains(&name.len())
            && name.bytes().all(fits)
            && !name.starts_with('.');
        if is_one { Ok(Self { tenant, name: name.to_owned() }) } else { Err(ConsumerError::Name) }
    }

    /// Whose it is; none for readers who are bound to no tenant.
    pub fn tenant(&self) -> Option<&Tenant> {
        self.tenant.as_ref()
    }

    /// The name alone.
    pub fn as_str(&self) -> &str {
        &self.name
    }

    /// Neither a tenant nor a name holds an `@`, and neither can be a part of a path.
    fn read(text: &str) -> Option<Self> {
        let (tenant, name) = match text.split_once('@') {
            Some((tenant, name)) => (Some(Tenant::parse(tenant).ok()?), name),
            None => (None, text),
        };
        Self::new(tenant, name).ok()
    }
}

impl fmt::Display for ConsumerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.tenant {
            Some(tenant) => write!(f, "{tenant}@{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

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
    pub position: Option<Position>,
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
    #[error(
        "a node keeps at most {CONSUMERS} named consumers, and {TENANT_CONSUMERS} of one tenant"
    )]
    TooMany,
    /// The store can't be read, by which two places are compared.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The file can't be written.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
}

/// The named consumers of a node.
#[derive(Debug)]
pub struct Consumers {
    /// Where the files are; a node without a directory keeps them as long as it lives.
    directory: Option<PathBuf>,
    kept: Mutex<BTreeMap<ConsumerName, Consumer>>,
    /// Held by who moves a place, while the store is read and the file is synced: whoever only looks at
    /// places waits for neither.
    moving: Mutex<()>,
}

impl Consumers {
    /// Those of a data directory. A file that can't be read is told of and passed over: its reader
    /// begins again, and no node stays down for it.
    pub fn open(directory: Option<&Path>) -> Self {
        let directory = directory.map(|directory| directory.join("cursors"));
        let kept = directory.as_deref().map(read_all).unwrap_or_default();
        Self { directory, kept: Mutex::new(kept), moving: Mutex::default() }
    }

    /// All of them, by name.
    pub fn list(&self) -> Vec<(ConsumerName, Consumer)> {
        self.kept().iter().map(|(name, consumer)| (name.clone(), consumer.clone())).collect()
    }

    /// One of them.
    pub fn find(&self, name: &ConsumerName) -> Option<Consumer> {
        self.kept().get(name).cloned()
    }

    /// Moves a place, and makes the consumer when it is missing: without a place, it begins at the start
    /// of the log. What is returned is on disk. Blocks for a sync.
    ///
    /// # Errors
    /// See [`ConsumerError`].
    pub fn put(
        &self,
        reader: &mut dyn Reader,
        name: &ConsumerName,
        moved: &Moved,
        now: Time,
    ) -> Result<Consumer, ConsumerError> {
        let _moving = self.moving.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.find(name);
        if before.is_none() && self.is_full_for(name) {
            return Err(ConsumerError::TooMany);
        }
        let consumer = moved.apply(before.as_ref(), reader, now)?;
        if let Some(directory) = &self.directory {
            fs::create_dir_all(directory).map_err(directory::failed("make", directory))?;
            let text = serde_json::to_vec(&consumer).expect("texts are always JSON");
            directory::replace(&path(directory, name), &text, 0o600)?;
        }
        self.kept().insert(name.clone(), consumer.clone());
        Ok(consumer)
    }

    /// Whether there is no room for one more of this name.
    fn is_full_for(&self, name: &ConsumerName) -> bool {
        let kept = self.kept();
        let of_tenant = || kept.keys().filter(|other| other.tenant == name.tenant).count();
        kept.len() >= CONSUMERS || (name.tenant.is_some() && of_tenant() >= TENANT_CONSUMERS)
    }

    /// Forgets a consumer; none of that name was there when it returns none.
    ///
    /// # Errors
    /// The file can't be removed.
    pub fn remove(&self, name: &ConsumerName) -> Result<Option<Consumer>, ConsumerError> {
        let _moving = self.moving.lock().unwrap_or_else(PoisonError::into_inner);
        if self.find(name).is_none() {
            return Ok(None);
        }
        if let Some(directory) = &self.directory {
            let path = path(directory, name);
            fs::remove_file(&path).map_err(directory::failed("remove", &path))?;
        }
        Ok(self.kept().remove(name))
    }

    fn kept(&self) -> MutexGuard<'_, BTreeMap<ConsumerName, Consumer>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Moved {
    fn apply(
        &self,
        before: Option<&Consumer>,
        reader: &mut dyn Reader,
        now: Time,
    ) -> Result<Consumer, ConsumerError> {
        let replay = self.direction == Allowed::Replay;
        if !self.holder.as_deref().is_none_or(is_holder) {
            return Err(ConsumerError::Lease);
        }
        let lease = before.and_then(|consumer| consumer.lease.clone());
        let lease = lease.filter(|lease| lease.until_millis > now.millis());
        if let Some(Lease { holder, until, .. }) = &lease
            && self.holder.as_ref() != Some(holder)
            && !replay
        {
            return Err(ConsumerError::Leased { holder: holder.clone(), until: until.clone() });
        }
        let kept = before.map(|consumer| consumer.position.parse::<Position>()).transpose()?;
        if let (Some(kept), Some(wanted)) = (&kept, &self.position)
            && !replay
            && wanted.is_before(kept, reader)?
        {
            return Err(ConsumerError::Backward { kept: kept.to_string() });
        }
        let position = self.position.clone().or(kept);
        let position = position.unwrap_or_else(|| Position::here(reader, Offset(0)));
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
        let holder = self.holder.clone().filter(|_| seconds <= LEASE_SECONDS);
        let holder = holder.ok_or(ConsumerError::Lease)?;
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

/// How far a place lies behind the newest entry; none where nothing can be read on from it: it is none of
/// this store or cluster, or something that follows it was removed. Of a tenant's consumer, its entries are
/// counted; from a place that any node understands, those too that it has read above one that it has not.
///
/// # Errors
/// The store can't be read.
pub fn lag(
    reader: &mut dyn Reader,
    position: &str,
    tenant: Option<&Tenant>,
    now: Time,
) -> Result<Option<Lag>, StoreError> {
    let Ok(position) = position.parse::<Position>() else { return Ok(None) };
    let Unread { mut entries, from } = match position.unread(reader) {
        Ok(unread) => unread,
        Err(QueryError::Store(error)) => return Err(error),
        Err(_) => return Ok(None),
    };
    let mut at = (entries > 0).then_some(from);
    if let Some(tenant) = tenant {
        (entries, at) = unread_of(reader, tenant, from)?;
    }
    let mut seconds = 0.0;
    if let Some(at) = at
        && let Some(arrival) = reader.arrivals(at, Direction::Forward, 1)?.first()
    {
        let filter = Filter { tenant: tenant.cloned(), ..Filter::all() };
        let unread = filter.all_entries(arrival)?;
        let unread = unread.iter().find(|entry| entry.offset >= at);
        let age = unread.map_or(0, |entry| now.millis().saturating_sub(entry.time.millis()));
        seconds = age as f64 / 1_000.0;
    }
    Ok(Some(Lag { entries, seconds }))
}

/// How many entries of a tenant lie from an offset on, and from where on.
fn unread_of(
    reader: &mut dyn Reader,
    tenant: &Tenant,
    from: Offset,
) -> Result<(u64, Option<Offset>), StoreError> {
    let feed = Series::feed(tenant.clone());
    let Some(standing) = reader.standing_of(&feed)? else { return Ok((0, None)) };
    let mut before = reader.entries_before(&feed, from)?;
    // The change in which the place lies counts as before it, and holds some that aren't.
    if let Some(arrival) = reader.arrivals(from, Direction::Forward, 1)?.first()
        && arrival.offset < from
    {
        let own = Filter { tenant: Some(tenant.clone()), ..Filter::all() };
        let rest = own.all_entries(arrival)?;
        before -= rest.iter().filter(|entry| entry.offset >= from).count() as u64;
    }
    let entries = standing.entries.saturating_sub(before);
    if entries == 0 {
        return Ok((0, None));
    }
    let next = reader.stretches(&feed, before + 1, Direction::Forward, 1)?;
    Ok((entries, next.first().map(|stretch| stretch.offset.max(from))))
}

fn is_holder(name: &str) -> bool {
    (1..=NAME_BYTES).contains(&name.len()) && !name.contains(char::is_control)
}

fn path(directory: &Path, name: &ConsumerName) -> PathBuf {
    directory.join(format!("{name}.json"))
}

fn read_all(directory: &Path) -> BTreeMap<ConsumerName, Consumer> {
    let files = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut kept = BTreeMap::new();
    for path in files.map(|file| file.path()) {
        let name = path.file_name().and_then(|name| name.to_str());
        // What a crash left of a file that was being written has another ending.
        let Some(text) = name.and_then(|name| name.strip_suffix(".json")) else { continue };
        let Some(name) = ConsumerName::read(text) else {
            tracing::error!(text, "no named consumer has such a file");
            continue;
        };
        let read = fs::read(&path).map_err(|error| error.to_string());
        let read =
            read.and_then(|text| serde_json::from_slice(&text).map_err(|error| error.to_string()));
        match read {
            Ok(consumer) if kept.len() < CONSUMERS => drop(kept.insert(name, consumer)),
            Ok(_) => tracing::error!(text, "there are too many named consumers"),
            Err(why) => tracing::error!(text, why, "a named consumer begins again"),
        }
    }
    kept
}

#[cfg(test)]
mod tests;
