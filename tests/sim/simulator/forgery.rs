//! Forgery: what a liar with a valid key can make: histories of its own, and what resembles others'.

use bytes::Bytes;
use towline::core::change::{Change, Link, Place, SignedBlock, SignedRun, encode};
use towline::core::segment::{Opening, Parent};
use towline::store::block::{BlockOpener, Sealer};
use towline::words::{ChangeHash, ClusterId, Draft, Identity, NodeId, SegmentId, Seq, Time};

use super::dice::Dice;

/// How many entries a liar's segment has at most before it opens another one.
const SEGMENT: u64 = 12;

/// The key of a liar, and where it lies.
#[derive(Clone)]
pub struct Forger {
    pub identity: Identity,
    pub cluster: ClusterId,
}

/// How the next change of a history goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Course {
    /// In the segment, while it has room.
    On,
    /// In a new segment.
    Anew,
}

/// One history that a liar tells: changes in an order in which they can be admitted.
#[derive(Clone, Default)]
pub struct Mind {
    pub changes: Vec<Change>,
    course: Option<Course>,
}

impl Mind {
    /// A history that is the same up to a change, and goes on in another way from there.
    pub fn part(&self, changes: usize, course: Course) -> Self {
        Self { changes: self.changes[..changes].to_vec(), course: Some(course) }
    }

    /// The newest change.
    pub fn last(&self) -> Option<&Change> {
        self.changes.last()
    }

    /// Where the next change goes.
    pub fn next_place(&self, forger: &Forger, dice: &mut Dice) -> Place {
        let author = forger.identity.node_id();
        if let Some(last) = self.last()
            && last.next_seq().0 - last.segment_seq.0 < SEGMENT
            && self.course != Some(Course::Anew)
        {
            return after(last);
        }
        let parents: Vec<Parent> = self.last().map(end).into_iter().collect();
        let first_seq = parents.first().map_or(Seq(0), |parent| parent.next_seq);
        let (cluster, nonce) = (forger.cluster, dice.bytes());
        let opening = Opening { cluster, author, first_seq, parents, nonce };
        let (segment, link) = (opening.segment(), Link::Opening(opening));
        Place { author, segment, segment_seq: first_seq, index: 0, first_seq, link }
    }

    /// Adds a change.
    pub fn add(&mut self, change: Change) {
        self.changes.push(change);
        self.course = None;
    }

    /// The whole history as runs, each of one segment.
    pub fn runs(&self) -> Vec<SignedRun> {
        self.changes.chunk_by(follows).filter_map(run_of).collect()
    }

    /// A time above all that the history has said.
    pub fn next_time(&self, now_millis: u64) -> Time {
        let last = self.changes.iter().map(|change| change.last_time).max();
        let above = last.and_then(Time::next).unwrap_or_default();
        above.max(Time::from_millis(now_millis))
    }
}

/// Whether a change is the next one in the segment of another.
fn follows(change: &Change, next: &Change) -> bool {
    next.link().is_ok_and(|link| link == Link::Previous(change.hash))
}

/// The end of a change, as an opening names it.
fn end(change: &Change) -> Parent {
    Parent { next_seq: change.next_seq(), hash: change.hash }
}

/// The place after a change, in its segment.
pub fn after(change: &Change) -> Place {
    Place {
        author: change.author,
        segment: change.segment,
        segment_seq: change.segment_seq,
        index: change.index + 1,
        first_seq: change.next_seq(),
        link: Link::Previous(change.hash),
    }
}

/// Consecutive changes of one segment as a run; none when the last one carries no signature.
pub fn run_of(changes: &[Change]) -> Option<SignedRun> {
    let (first, last) = (changes.first()?, changes.last()?);
    let place = Place {
        author: first.author,
        segment: first.segment,
        segment_seq: first.segment_seq,
        index: first.index,
        first_seq: first.first_seq,
        link: first.link().ok()?,
    };
    let entries = |change: &Change| Some(change.chunk().ok()?.shared_entries());
    let changes = changes.iter().map(entries).collect::<Option<_>>()?;
    Some(SignedRun { place, changes, signature: last.signature? })
}

impl Forger {
    /// Signs that at this place there are these entries, whether or not they can be there.
    pub fn sign(&self, place: &Place, entries: &[Bytes]) -> Option<Change> {
        let mut change = encode(place, entries).ok()?;
        change.signature = Some(self.identity.sign(self.cluster, change.hash));
        Some(change)
    }

    /// The same run as a block; none when it isn't signed as it should be.
    pub fn pack(&self, run: &SignedRun) -> Option<SignedBlock> {
        let changes = run.clone().verify(self.cluster).ok()?;
        let record = Sealer::new().ok()?.seal(&changes).ok()?.into();
        let (next_seq, signature) = (changes.last()?.next_seq(), run.signature);
        Some(SignedBlock { place: run.place.clone(), next_seq, signature, record })
    }

    /// The same block as a run.
    pub fn unpack(&self, block: &SignedBlock) -> Option<SignedRun> {
        run_of(&BlockOpener::new().ok()?.verify(block, self.cluster).ok()?)
    }

    /// So many entries with rising times.
    pub fn entries(&self, count: usize, size: usize, time: Time, dice: &mut Dice) -> Vec<Bytes> {
        let mut time = time;
        let mut entries = Vec::with_capacity(count);
        for _ in 0..count {
            let said = format!("{:016x}{}", dice.between(0, u64::MAX), "x".repeat(size));
            let draft = Draft::text("lies", "lie", said).expect("constant names parse");
            entries.push(draft.encode(time));
            time = time.next().unwrap_or(Time::MAX);
        }
        entries
    }

    /// A place that hangs on a change that nobody has.
    pub fn orphan(&self, dice: &mut Dice) -> Place {
        let author = self.identity.node_id();
        let (hash, first_seq) = (ChangeHash(dice.bytes()), Seq(dice.between(1, 50)));
        if dice.percent(50) {
            let (segment, link) = (SegmentId(dice.bytes()), Link::Previous(hash));
            return Place { author, segment, segment_seq: Seq(0), index: 1, first_seq, link };
        }
        let parents = vec![Parent { next_seq: first_seq, hash }];
        let (cluster, nonce) = (self.cluster, dice.bytes());
        let opening = Opening { cluster, author, first_seq, parents, nonce };
        let (segment, link) = (opening.segment(), Link::Opening(opening));
        Place { author, segment, segment_seq: first_seq, index: 0, first_seq, link }
    }

    /// Another's change under the liar's own name.
    pub fn usurp(&self, run: &SignedRun) -> Option<Change> {
        let author: NodeId = self.identity.node_id();
        let place = Place { author, ..run.place.clone() };
        self.sign(&place, run.changes.first()?)
    }
}
