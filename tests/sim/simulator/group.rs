//! What waits for the writer, and how much of it goes into one commit.

use std::collections::VecDeque;

use bytes::Bytes;
use towline::core::change::Change;
use towline::core::forks::rollback;
use towline::core::frontier::Head;
use towline::core::pruned::Pruned;
use towline::core::recording::Recording;
use towline::core::segment::Strand;
use towline::store::{EmitMark, Sealed};
use towline::words::Draft;
use towline::words::limits::CHANGE_ENTRIES;

use super::network::ConnectionId;
use super::recorder::EMIT_BLOCK;

/// How many commands a group takes at most.
const GROUP: usize = 16;

/// A client's request: drafts that are appended in one commit.
pub struct Request {
    pub drafts: Vec<Draft>,
}

/// Changes of a peer that were verified, and the record that they came in.
pub type Verified = (Vec<Change>, Option<Bytes>);

/// What waits for the writer.
pub enum Command {
    /// Drafts of a client.
    Append(Request),
    /// What the recorder heard.
    Record(Recording),
    /// Verified changes of a peer.
    Apply(ConnectionId, Verified),
    /// A block to put in the place of the changes that it was packed of.
    Seal(Sealed),
    /// A segment whose entries go.
    Prune(Strand),
    /// What stays of segments that nobody brings.
    Adopt(ConnectionId, Vec<Pruned>),
    /// The last one.
    Close,
}

/// A group of commands that are committed as one.
#[derive(Default)]
pub struct Group {
    pub drafts: Vec<Draft>,
    /// The clients' requests, each with the place of its first draft.
    pub requests: Vec<(usize, Request)>,
    pub recordings: Vec<Recording>,
    pub applies: Vec<(ConnectionId, Verified)>,
    pub seals: Vec<Sealed>,
    pub prunes: Vec<Strand>,
    pub adoptions: Vec<(ConnectionId, Vec<Pruned>)>,
    pub closes: bool,
}

impl Group {
    /// Takes what has queued up, as much as goes into one commit.
    pub fn take(queue: &mut VecDeque<Command>) -> Self {
        let mut group = Self::default();
        while group.has_room()
            && let Some(command) = queue.pop_front()
        {
            group.add(command);
        }
        group
    }

    fn has_room(&self) -> bool {
        !self.closes && self.commands() < GROUP && self.drafts.len() < CHANGE_ENTRIES
    }

    fn add(&mut self, command: Command) {
        match command {
            Command::Append(request) => {
                let at = self.drafts.len();
                self.drafts.extend(request.drafts.iter().cloned());
                self.requests.push((at, request));
            }
            Command::Record(mut recording) => {
                self.drafts.append(&mut recording.drafts);
                self.recordings.push(recording);
            }
            Command::Apply(from, changes) => self.applies.push((from, changes)),
            Command::Seal(sealed) => self.seals.push(sealed),
            Command::Prune(strand) => self.prunes.push(strand),
            Command::Adopt(from, chain) => self.adoptions.push((from, chain)),
            Command::Close => self.closes = true,
        }
    }

    /// How many commands it holds, but for the last one of all.
    pub fn commands(&self) -> usize {
        let asked = self.requests.len() + self.recordings.len() + self.applies.len();
        asked + self.seals.len() + self.prunes.len() + self.adoptions.len()
    }

    /// Where branches of the node's own log are joined by what is appended, that is said first.
    pub fn join_branches(&mut self, heads: &[Head]) {
        if self.drafts.is_empty() || heads.len() < 2 {
            return;
        }
        self.drafts.insert(0, rollback(heads).expect("constant names parse"));
        self.requests.iter_mut().for_each(|(at, _)| *at += 1);
    }

    /// Where the recorder stands after this group, if that changes; a new block of numbers is
    /// reserved before half of the last one is left.
    pub fn next_mark(&self, before: EmitMark) -> Option<EmitMark> {
        let mut mark = self.recordings.iter().fold(before, EmitMark::after);
        if self.closes {
            mark.reserved = mark.next;
        } else if mark.reserved.0.saturating_sub(mark.next.0) < EMIT_BLOCK / 2 {
            mark.reserved = mark.next.plus(EMIT_BLOCK);
        }
        (mark != before).then_some(mark)
    }
}
