//! What waits for the writer, and how many of it go into one commit.

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::answers::answer;
use super::{AppendError, IdempotencyKey, Receipt};
use crate::core::change::Change;
use crate::core::log::Applied;
use crate::core::recording::Recording;
use crate::store::EmitMark;
use crate::words::Draft;
use crate::words::limits::CHANGE_ENTRIES;

/// How many entries a group takes before it is committed.
const GROUP_ENTRIES: usize = CHANGE_ENTRIES;
/// How many bytes a group takes before it is committed.
const GROUP_BYTES: usize = 4 << 20;

/// What the writer is asked to do.
pub(super) enum Command {
    Append {
        drafts: Vec<Draft>,
        key: Option<IdempotencyKey>,
        reply: Reply<Vec<Receipt>>,
    },
    Record {
        recording: Recording,
        reply: Reply<EmitMark>,
    },
    Apply {
        changes: Vec<Change>,
        reply: Reply<Applied>,
    },
    /// The last one: no number is reserved any more.
    Close {
        reply: Reply<()>,
    },
}

/// Where the answer to a command goes.
pub(super) type Reply<T> = oneshot::Sender<Result<T, AppendError>>;

/// A command in the queue, with the room that it takes there.
pub(in crate::node) struct Queued {
    pub(super) command: Command,
    pub(super) room: Option<OwnedSemaphorePermit>,
}

/// A group of commands on its way to one commit.
#[derive(Default)]
pub(super) struct Group {
    pub drafts: Vec<Draft>,
    /// Who waits for which of the drafts, by count in order.
    pub appends: Vec<(Slot, usize)>,
    pub applies: Vec<(Vec<Change>, Reply<Applied>)>,
    pub close: Option<Reply<()>>,
    bytes: usize,
    changes: usize,
    /// Held until the group is answered.
    rooms: Vec<OwnedSemaphorePermit>,
}

/// Whose drafts they are, and where the answer goes.
pub(super) enum Slot {
    Append(Option<IdempotencyKey>, Reply<Vec<Receipt>>),
    Record(Recording, Reply<EmitMark>),
}

impl Group {
    pub fn take(&mut self, queued: Queued) {
        self.rooms.extend(queued.room);
        match queued.command {
            Command::Append { mut drafts, key, reply } => {
                self.bytes += drafts.iter().map(Draft::size).sum::<usize>();
                self.appends.push((Slot::Append(key, reply), drafts.len()));
                self.drafts.append(&mut drafts);
            }
            Command::Record { mut recording, reply } => {
                let mut drafts = std::mem::take(&mut recording.drafts);
                self.bytes += drafts.iter().map(Draft::size).sum::<usize>();
                self.appends.push((Slot::Record(recording, reply), drafts.len()));
                self.drafts.append(&mut drafts);
            }
            Command::Apply { changes, reply } => {
                self.bytes += changes.iter().map(|change| change.bytes.len()).sum::<usize>();
                self.changes += changes.len();
                self.applies.push((changes, reply));
            }
            Command::Close { reply } => self.close = Some(reply),
        }
    }

    pub fn has_room(&self) -> bool {
        let entries = self.drafts.len() + self.changes;
        self.close.is_none() && entries < GROUP_ENTRIES && self.bytes < GROUP_BYTES
    }

    /// Answers everybody in the group with an error.
    pub fn refuse(self, error: &AppendError) {
        for (slot, _) in self.appends {
            match slot {
                Slot::Append(_, reply) => answer(reply, Err(error.clone())),
                Slot::Record(_, reply) => answer(reply, Err(error.clone())),
            }
        }
        for (_, reply) in self.applies {
            answer(reply, Err(error.clone()));
        }
        if let Some(reply) = self.close {
            answer(reply, Err(error.clone()));
        }
    }
}
