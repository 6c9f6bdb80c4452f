//! What waits for the writer, and how much of it goes into one commit.

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::answers::answer;
use super::{AppendError, IdempotencyKey, Receipt, Recorded};
use crate::core::change::Change;
use crate::core::log::Applied;
use crate::core::pruned::Pruned;
use crate::core::recording::Recording;
use crate::store::Sealed;
use crate::store::pruning::Removal;
use crate::words::limits::CHANGE_ENTRIES;
use crate::words::{Draft, EmitNumber};

/// How many entries a group takes before it is committed.
const GROUP_ENTRIES: usize = CHANGE_ENTRIES;
/// How many bytes a group takes before it is committed.
const GROUP_BYTES: usize = 4 << 20;

/// What the writer is asked to do.
pub(super) enum Command {
    Append {
        drafts: Vec<Draft>,
        key: Option<IdempotencyKey>,
        reply: Reply<Appended>,
    },
    Record {
        recording: Recording,
        reply: Reply<Recorded>,
    },
    Apply {
        changes: Vec<Change>,
        /// What they came packed in, if they did.
        packed: Option<Bytes>,
        reply: Reply<Applied>,
    },
    Seal {
        sealed: Sealed,
        reply: Reply<()>,
    },
    /// What stays of segments that no peer holds any more.
    Adopt {
        chain: Vec<Pruned>,
        /// How many segments were taken.
        reply: Reply<Option<usize>>,
    },
    /// Entries go.
    Prune {
        removal: Removal,
        reply: Reply<()>,
    },
    /// Some of the room that they took is given back.
    Reclaim {
        /// Whether there is more.
        reply: Reply<bool>,
    },
    /// The last one: no number at or above the end is reserved any more.
    Close {
        end: EmitNumber,
        reply: Reply<()>,
    },
}

/// What a caller gets whose drafts were appended.
pub(super) struct Appended {
    pub receipts: Vec<Receipt>,
    /// The drafts, for the caller to let go: memory is freed fastest where it was taken, and the writer has
    /// the next group to think of.
    pub _drafts: Vec<Draft>,
}

/// Where the answer to a command goes.
pub(super) type Reply<T> = oneshot::Sender<Result<T, AppendError>>;

/// A command in the queue, with the room that it takes there.
pub(in crate::node) struct Queued {
    pub(super) command: Command,
    pub(super) room: Option<OwnedSemaphorePermit>,
}

/// A request to append, in a group.
pub(super) struct Request {
    pub drafts: Vec<Draft>,
    pub from: Asker,
}

/// Who asks, and where the answer goes.
pub(super) enum Asker {
    /// A caller, with the idempotency key that it gave.
    Caller(Option<IdempotencyKey>, Reply<Appended>),
    /// The recorder; the drafts of its recording are those of the request.
    Recorder(Recording, Reply<Recorded>),
}

/// A group of commands on its way to one commit.
#[derive(Default)]
pub(super) struct Group {
    pub requests: Vec<Request>,
    pub applies: Vec<(Vec<Change>, Option<Bytes>, Reply<Applied>)>,
    pub seals: Vec<(Sealed, Reply<()>)>,
    pub adoptions: Vec<(Vec<Pruned>, Reply<Option<usize>>)>,
    pub removals: Vec<(Removal, Reply<()>)>,
    pub reclaims: Vec<Reply<bool>>,
    pub close: Option<(EmitNumber, Reply<()>)>,
    bytes: usize,
    entries: usize,
    /// Held until the group is answered.
    rooms: Vec<OwnedSemaphorePermit>,
}

impl Group {
    pub fn take(&mut self, queued: Queued) {
        self.rooms.extend(queued.room);
        match queued.command {
            Command::Append { drafts, key, reply } => {
                self.request(drafts, Asker::Caller(key, reply));
            }
            Command::Record { mut recording, reply } => {
                let drafts = std::mem::take(&mut recording.drafts);
                self.request(drafts, Asker::Recorder(recording, reply));
            }
            Command::Apply { changes, packed, reply } => {
                self.bytes += changes.iter().map(|change| change.bytes.len()).sum::<usize>();
                self.entries += changes.len();
                self.applies.push((changes, packed, reply));
            }
            Command::Seal { sealed, reply } => {
                self.bytes += sealed.record.len();
                self.seals.push((sealed, reply));
            }
            Command::Adopt { chain, reply } => self.adoptions.push((chain, reply)),
            Command::Prune { removal, reply } => self.removals.push((removal, reply)),
            Command::Reclaim { reply } => self.reclaims.push(reply),
            Command::Close { end, reply } => self.close = Some((end, reply)),
        }
    }

    fn request(&mut self, drafts: Vec<Draft>, from: Asker) {
        self.bytes += drafts.iter().map(Draft::size).sum::<usize>();
        self.entries += drafts.len();
        self.requests.push(Request { drafts, from });
    }

    pub fn has_room(&self) -> bool {
        self.close.is_none() && self.entries < GROUP_ENTRIES && self.bytes < GROUP_BYTES
    }

    /// Answers everybody in the group with an error.
    pub fn refuse(self, error: &AppendError) {
        for Request { from, .. } in self.requests {
            match from {
                Asker::Caller(_, reply) => answer(reply, Err(error.clone())),
                Asker::Recorder(_, reply) => answer(reply, Err(error.clone())),
            }
        }
        for (_, _, reply) in self.applies {
            answer(reply, Err(error.clone()));
        }
        for (_, reply) in self.seals {
            answer(reply, Err(error.clone()));
        }
        for (_, reply) in self.adoptions {
            answer(reply, Err(error.clone()));
        }
        for (_, reply) in self.removals {
            answer(reply, Err(error.clone()));
        }
        for reply in self.reclaims {
            answer(reply, Err(error.clone()));
        }
        if let Some((_, reply)) = self.close {
            answer(reply, Err(error.clone()));
        }
    }

    /// Answers everybody that the disk has no room. The recorder gets its recording back. Whoever
    /// closes is not held up: all that was acknowledged is on disk, and that some numbers stay
    /// reserved costs nothing.
    pub fn refuse_for_room(self, why: &str) {
        let full = || AppendError::DiskFull(why.to_owned());
        for Request { drafts, from } in self.requests {
            match from {
                Asker::Caller(_, reply) => answer(reply, Err(full())),
                Asker::Recorder(recording, reply) => {
                    let back = Recording { drafts, ..recording };
                    answer(reply, Ok(Recorded::NoRoom(back)));
                }
            }
        }
        for (_, _, reply) in self.applies {
            answer(reply, Err(full()));
        }
        for (_, reply) in self.seals {
            answer(reply, Err(full()));
        }
        for (_, reply) in self.adoptions {
            answer(reply, Err(full()));
        }
        for (_, reply) in self.removals {
            answer(reply, Err(full()));
        }
        for reply in self.reclaims {
            answer(reply, Err(full()));
        }
        if let Some((_, reply)) = self.close {
            answer(reply, Ok(()));
        }
    }
}
