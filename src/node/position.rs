//! A reader's saved place, in either of its forms.

use std::fmt;
use std::str::FromStr;

use super::cursor::{Cursor, CursorError};
use super::follow::From;
use super::frontier_cursor::FrontierCursor;
use super::query::{QueryError, check_place};
use super::seen::{Resumed, Seen};
use crate::core::frontier::Frontier;
use crate::core::pruned::Pruned;
use crate::store::{Reader, StoreError};
use crate::words::Offset;

/// A place in the order of arrival.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Position {
    /// In one node's store.
    Here(Cursor),
    /// Wherever the cluster's log is held.
    Anywhere(FrontierCursor),
}

/// What a reader has not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unread {
    /// How many entries.
    pub entries: u64,
    /// The offset of the first of them; the end of the log where there are none.
    pub from: Offset,
}

impl Position {
    /// An offset of this store.
    pub fn here(reader: &dyn Reader, offset: Offset) -> Self {
        Self::Here(Cursor { store: reader.id(), offset, last: None })
    }

    /// What lies behind it.
    ///
    /// # Errors
    /// It is no place from which this store can be read on, or the store can't be read.
    pub fn unread(&self, reader: &mut dyn Reader) -> Result<Unread, QueryError> {
        let end = reader.watermark()?;
        match self {
            Self::Here(cursor) => {
                check_place(cursor, reader, end)?;
                Ok(Unread { entries: end.0.saturating_sub(cursor.offset.0), from: cursor.offset })
            }
            Self::Anywhere(place) => {
                let Resumed { at, lacking, .. } = resume(reader, place, end)?;
                Ok(Unread { entries: lacking, from: at })
            }
        }
    }

    /// Whether who stands at `other` has read something that who stands here has not. Places of different
    /// stores can't be compared: then it is false.
    ///
    /// # Errors
    /// The store can't be read.
    pub fn is_before(&self, other: &Position, reader: &mut dyn Reader) -> Result<bool, StoreError> {
        if let (Self::Here(one), Self::Here(other)) = (self, other) {
            return Ok(one.store == other.store && one.offset < other.offset);
        }
        let (Some(one), Some(other)) = (self.read(reader)?, other.read(reader)?) else {
            return Ok(false);
        };
        let mut authors = other.iter();
        Ok(authors.any(|(author, _)| one.next_seq(author) < other.next_seq(author)))
    }

    /// What was read of every author by who stands here. For an offset it costs a look at every change
    /// that arrived before.
    fn read(&self, reader: &mut dyn Reader) -> Result<Option<Frontier>, StoreError> {
        match self {
            Self::Anywhere(place) => Ok(Some(place.frontier.clone())),
            Self::Here(cursor) if cursor.store != reader.id() => Ok(None),
            Self::Here(cursor) => Ok(Some(Seen::before(reader, cursor.offset)?.frontier())),
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Here(cursor) => cursor.fmt(f),
            Self::Anywhere(place) => place.fmt(f),
        }
    }
}

impl FromStr for Position {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        match text.starts_with("f:") {
            true => text.parse().map(Self::Anywhere),
            false => text.parse().map(Self::Here),
        }
    }
}

impl std::convert::From<Position> for From {
    fn from(position: Position) -> Self {
        match position {
            Position::Here(cursor) => Self::Cursor(cursor),
            Position::Anywhere(place) => Self::Frontier(place),
        }
    }
}

/// Goes on in this store from a place that any node understands.
///
/// # Errors
/// It belongs to another cluster, something that follows it was removed, or the store can't be read.
pub fn resume(
    reader: &mut dyn Reader,
    place: &FrontierCursor,
    end: Offset,
) -> Result<Resumed, QueryError> {
    if !place.is_of(reader.owner().cluster) {
        return Err(CursorError::OtherCluster.into());
    }
    let held = |gone: &Pruned| place.frontier.next_seq(&gone.author()) >= gone.next_seq;
    if !reader.pruned(None)?.iter().all(held) {
        return Err(CursorError::Pruned.into());
    }
    Ok(Seen::resume(reader, &place.frontier, end)?)
}
