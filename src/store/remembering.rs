//! A store that remembers its tip outside the database, and so notices what the database lost.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::damage::Damages;
use super::tip::{self, Missing, Newest, Remembered, Shortage, TipFile};
use super::{Batch, Opener, Resume, Store, StoreError, StoreId};
use crate::core::change::Change;
use crate::core::frontier::Head;
use crate::core::log::Arrival;
use crate::words::NodeId;

/// A store with a [tip] beside it.
///
/// Each commit is followed by a write to the page cache, which takes some microseconds, and never
/// by a sync of its own: what a killed process had acknowledged is known exactly, and after a power
/// cut what was known at the last [sync](File::sync_data) of [`Remembering::file`], at least.
pub struct Remembering<S> {
    store: S,
    tip: TipFile,
    me: NodeId,
    id: StoreId,
    newest: Newest,
    shortage: Shortage,
}

impl<S: Store> Remembering<S> {
    /// Compares a store with the tip at a path, and remembers it from now on.
    ///
    /// # Errors
    /// The store can't be read, or the tip can't be read or written.
    pub fn open(mut store: S, path: &Path) -> Result<Self, OpenTipError> {
        let (tip, before) = TipFile::open(path)?;
        let mut reader = store.reader()?;
        let resume = store.resume()?;
        let (me, id, newest) =
            (reader.owner().node, resume.id, newest_of(&resume, reader.owner().node));
        store.damages().age(newest.next_offset);
        let shortage = Shortage::default();
        if let Some(before) = before {
            shortage.set(tip::compare(&before, &newest, &mut *reader)?);
        }
        let mut remembering = Self { store, tip, me, id, newest, shortage };
        // Both slots, so that writing in place needs no room from now on.
        remembering.remember()?;
        remembering.remember()?;
        Ok(remembering)
    }

    /// What is missing, if anything is.
    pub fn missing(&self) -> Option<Missing> {
        self.shortage.missing()
    }

    /// The tip's file, for whoever syncs it now and then.
    pub fn file(&self) -> Arc<File> {
        self.tip.file()
    }

    fn remember(&mut self) -> io::Result<()> {
        let (store, newest, owed) = (self.id, self.newest, self.shortage.owed());
        self.tip.write(&Remembered { store, newest, owed })
    }

    /// A batch was committed.
    fn advance(&mut self, arrivals: &[Arrival]) -> io::Result<()> {
        let Some(end) = arrivals.iter().map(Arrival::end).max() else { return Ok(()) };
        self.newest.next_offset = self.newest.next_offset.max(end);
        let own = || arrivals.iter().filter(|arrival| arrival.change.author == self.me);
        self.newest.own = self.newest.own.max(own().map(|arrival| head_of(&arrival.change)).max());
        let is_among = |hash| own().any(|arrival| arrival.change.hash == hash);
        self.shortage.committed(&self.newest, is_among);
        self.remember()
    }
}

/// Of several heads of the node the one with the highest seq counts.
fn newest_of(resume: &Resume, me: NodeId) -> Newest {
    let own = resume.tips.iter().filter(|(author, _)| *author == me).map(|(_, tip)| tip.head).max();
    Newest { next_offset: resume.next_offset, own }
}

fn head_of(change: &Change) -> Head {
    Head { next_seq: change.next_seq(), hash: change.hash, segment: change.segment }
}

impl<S: Store> Store for Remembering<S> {
    fn resume(&mut self) -> Result<Resume, StoreError> {
        self.store.resume()
    }

    /// A commit after which the tip can't be written stops the writer like one that failed: the disk
    /// takes no writes any more.
    fn commit(&mut self, batch: &Batch) -> Result<(), StoreError> {
        self.store.commit(batch)?;
        let noted = self.advance(&batch.arrivals);
        noted.map_err(|error| StoreError::Failed(format!("the tip can't be written: {error}")))
    }

    fn reclaim(&mut self) -> Result<bool, StoreError> {
        self.store.reclaim()
    }

    fn free(&self) -> Option<u64> {
        self.store.free()
    }

    fn opener(&self) -> Opener {
        self.store.opener()
    }

    fn damages(&self) -> Damages {
        self.store.damages()
    }

    fn shortage(&self) -> Shortage {
        self.shortage.clone()
    }
}

impl<S> Drop for Remembering<S> {
    fn drop(&mut self) {
        if let Err(error) = self.tip.file().sync_data() {
            tracing::warn!(%error, "the tip was not synced");
        }
    }
}

/// Says why a store can't be compared with its tip.
#[derive(Debug, thiserror::Error)]
pub enum OpenTipError {
    /// The store can't be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The tip can't be read or written.
    #[error("the tip can't be read or written: {0}")]
    Tip(#[from] io::Error),
}
