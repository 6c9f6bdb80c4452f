//! The log's state: the heads of every author, and the rules by which a change joins them.
//!
//! [`Log::append`] makes changes of drafts, [`Log::apply`] admits changes of others. Both return
//! what is to be committed; neither writes anything. When the commit fails, this value no longer
//! says what is on disk, and must be thrown away: the log is read from the store again.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::change::{Change, EncodeError, Link, Place, cut, rebuild};
use super::clock::{Clock, Skew};
use super::frontier::{Frontier, Head};
use super::pending::{Parked, Pending};
use super::segment::{Opening, Parent, Strand};
use crate::words::limits::{
    AUTHORS, BRANCHES, CHANGE_BYTES, CHANGE_ENTRIES, SEGMENT_BYTES, SEGMENT_ENTRIES,
    SEGMENT_PARENTS,
};
use crate::words::planted::{Bug, planted};
use crate::words::{ChangeHash, ClusterId, Draft, Identity, NodeId, Offset, SegmentId, Seq, Time};

mod adopting;

pub use adopting::Adopted;

/// What the frame of a change may add to the bytes of its entries, at most.
const CHUNK_OVERHEAD: u64 = 64 << 10;

/// The end of one branch of an author, and what is needed to go on from there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tip {
    /// The newest change.
    pub head: Head,
    /// Which side of its segment it is on: 0 unless the segment is forked.
    pub side: u32,
    /// The seq of the first entry of its segment.
    pub segment_seq: Seq,
    /// How many changes its segment holds.
    pub changes: u32,
    /// How many bytes its segment's changes have.
    pub bytes: u64,
    /// The time of its last entry.
    pub last_time: Time,
}

/// A change with its place in this node's order of arrival.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// The offset of its first entry.
    pub offset: Offset,
    /// Whether its time was over a minute ahead of this node's clock.
    pub skew: bool,
    /// Which side of its segment it is on: 0 unless the segment is forked.
    pub side: u32,
    /// The change.
    pub change: Change,
}

impl Arrival {
    /// The strand that the change belongs to.
    pub fn strand(&self) -> Strand {
        Strand { segment: self.change.segment, side: self.side }
    }

    /// The offset that follows its last entry.
    pub fn end(&self) -> Offset {
        self.offset.plus(u64::from(self.change.count))
    }
}

impl Tip {
    /// The strand that it is the newest of.
    pub fn strand(&self) -> Strand {
        Strand { segment: self.head.segment, side: self.side }
    }
}

/// A change of the past, as what another one may hang on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The tip that its strand had when it was the newest.
    pub tip: Tip,
    /// Whether another change follows it on its strand.
    pub followed: bool,
}

/// A segment of the past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sides {
    /// How many sides it has: 1 unless it is forked.
    pub count: u32,
    /// The seq of its first entry.
    pub segment_seq: Seq,
    /// Where what was removed of it ends, if anything was: of what stood before nothing more is known.
    pub pruned: Option<Seq>,
}

/// What the log must know of its own past to place a change that doesn't extend a head.
///
/// The store answers; the answers depend on nothing but what was committed.
pub trait Past {
    /// What goes wrong when the past can't be read.
    type Error;

    /// What is held of an author's segment, if anything is.
    fn sides(&mut self, author: NodeId, segment: SegmentId) -> Result<Option<Sides>, Self::Error>;

    /// Whether a change with this hash begins at `seq` on a side of a segment.
    fn begins(
        &mut self,
        segment: SegmentId,
        seq: Seq,
        hash: ChangeHash,
    ) -> Result<bool, Self::Error>;

    /// How far a strand reaches, if any of it is held: the seq after its last entry, and how many changes
    /// it has.
    fn reach(&mut self, strand: Strand) -> Result<Option<(Seq, u32)>, Self::Error>;

    /// The change of an author that ends before `parent.next_seq` and has this hash, if it is held. Where
    /// it was removed and wasn't the last one that was, nothing is known of it but that its author names
    /// it: it is returned with a tip of no changes.
    fn standing(
        &mut self,
        author: NodeId,
        parent: &Parent,
    ) -> Result<Option<Standing>, Self::Error>;
}

/// Says why drafts were not appended. Nothing was written, and the log is as it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// There is nothing to append.
    #[error("nothing to append")]
    Nothing,
    /// The clock has reached the end of time: an entry of this node lies in the year 6429.
    #[error("the node's clock has reached the end of time")]
    EndOfTime,
    /// A draft breaks a rule of the format that its type could not hold.
    #[error(transparent)]
    Encode(#[from] EncodeError),
}

/// Why a change that is signed by its author is not admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Its seq, index or segment doesn't follow from what it hangs on.
    #[error("it doesn't follow from the change that it names")]
    Place,
    /// Its first time isn't above the last one of what it hangs on.
    #[error("its time doesn't rise above the change that it names")]
    Time,
    /// Its segment holds more than a segment may.
    #[error("its segment is over 8,192 entries or 8 MiB")]
    Segment,
    /// There are too many authors, or too many branches of one.
    #[error("too many authors, or too many branches of one author")]
    Crowd,
}

impl Refusal {
    /// Whether whoever sent the change should have refused it, too. A crowd depends on the order of
    /// arrival, and whoever relays a later change can move it: an honest node may relay both.
    pub fn blames_sender(self) -> bool {
        matches!(self, Self::Time | Self::Segment)
    }
}

/// What became of the changes that were applied.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// To be committed, in this order.
    pub arrivals: Vec<Arrival>,
    /// How many were in the log already.
    pub duplicates: usize,
    /// How many wait for a parent.
    pub pending: usize,
    /// How many waited for a parent and found no room.
    pub dropped: usize,
    /// Which of the given changes were refused, by author, and why.
    pub refused: Vec<(NodeId, Refusal)>,
    /// How many that had waited turned out not to fit. Whoever brought what they waited for is not
    /// to blame for them.
    pub discarded: usize,
    /// The first change of each side that was new: its author has signed two histories.
    pub forks: Vec<Change>,
}

/// How a change came to be applied.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// It was given now.
    Given,
    /// It was given earlier, and has waited.
    Waited,
}

/// Whether a change can join the log.
enum Fit {
    /// It can, here.
    Joins(Seat),
    /// It is there already.
    Known,
    /// It waits for this change.
    Waits(ChangeHash),
    /// It can't be admitted.
    Refused(Refusal),
}

/// Where a change belongs.
enum Seat {
    /// After this tip, by its index in the author's tips.
    After(usize),
    /// After this end of a strand that a segment continues after: a branch more.
    Reopens(Tip),
    /// At the start of a segment.
    Opens,
    /// Beside what follows this change, or beside the start of its segment: a fork. The number is
    /// the side that it begins.
    Forks(Option<Tip>, u32),
}

/// The state of the log in memory: the tips of every author. It does not grow with the log.
#[derive(Debug)]
pub struct Log {
    identity: Identity,
    cluster: ClusterId,
    /// Random bytes of this lifetime, for the segments that it opens.
    lifetime: [u8; 16],
    /// The segment that this lifetime writes, once it has appended.
    open: Option<SegmentId>,
    clock: Clock,
    tips: HashMap<NodeId, Vec<Tip>>,
    next_offset: Offset,
    pending: Pending,
    /// What was admitted since the last commit: the store can't know of it yet.
    fresh: Fresh,
    /// Of each author the newest changes that segments name as parents and that never came.
    unmet: BTreeMap<NodeId, BTreeSet<Parent>>,
}

/// Changes that were admitted and not committed.
#[derive(Debug, Default)]
struct Fresh {
    begins: HashSet<(SegmentId, Seq, ChangeHash)>,
    /// The tips that there were, by the change that was the newest.
    tips: HashMap<(NodeId, Parent), Tip>,
    /// The ends of strands that are no tips any more, because a segment continues after them.
    closed: HashMap<Strand, Tip>,
    sides: HashMap<SegmentId, Sides>,
}

impl Fresh {
    fn note(&mut self, change: &Change, tip: &Tip) {
        self.begins.insert((change.segment, change.first_seq, change.hash));
        let end = Parent { next_seq: change.next_seq(), hash: change.hash };
        self.tips.insert((change.author, end), tip.clone());
        let new = Sides { count: 0, segment_seq: tip.segment_seq, pruned: None };
        let sides = self.sides.entry(change.segment).or_insert(new);
        sides.count = sides.count.max(tip.side + 1);
    }
}

impl Log {
    /// The log as the store holds it, at the start of a lifetime.
    ///
    /// `lifetime` are 16 fresh random bytes: they keep two lifetimes that start from the same
    /// state (a restored backup, a copied disk) from writing under one segment.
    pub fn new(
        identity: Identity,
        cluster: ClusterId,
        lifetime: [u8; 16],
        tips: impl IntoIterator<Item = (NodeId, Tip)>,
        next_offset: Offset,
        now: u64,
    ) -> Self {
        let mut log = Self {
            identity,
            cluster,
            lifetime,
            open: None,
            clock: Clock::default(),
            tips: HashMap::new(),
            next_offset,
            pending: Pending::default(),
            fresh: Fresh::default(),
            unmet: BTreeMap::new(),
        };
        let me = log.node();
        for (author, tip) in tips {
            if author == me && planted(Bug::SeqReused) {
                continue;
            }
            if author == me {
                log.clock.see_own(tip.last_time);
            } else {
                log.clock.see(tip.last_time, now);
            }
            log.tips.entry(author).or_default().push(tip);
        }
        log
    }

    /// The node that this log belongs to.
    pub fn node(&self) -> NodeId {
        self.identity.node_id()
    }

    /// The offset that the next entry takes.
    pub fn next_offset(&self) -> Offset {
        self.next_offset
    }

    /// All that was appended and applied so far has been committed: the past knows of it now.
    pub fn committed(&mut self) {
        self.fresh = Fresh::default();
    }

    /// Nothing of what was appended and applied since the last commit was committed: the log goes
    /// on from what the store holds.
    ///
    /// Seqs, times and places of what is thrown away are given out again, even in the segment that
    /// this lifetime writes. That makes no fork, because nobody but this value ever saw the first
    /// ones: what is not committed is told to no caller, reader or peer. The clock stays where it
    /// is, and what waits for a parent goes on waiting.
    pub fn rewind(&mut self, tips: impl IntoIterator<Item = (NodeId, Tip)>, next_offset: Offset) {
        self.fresh = Fresh::default();
        self.next_offset = next_offset;
        self.tips.clear();
        for (author, tip) in tips {
            self.tips.entry(author).or_default().push(tip);
        }
    }

    /// How many changes wait for a parent.
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// How many bytes they are.
    pub fn pending_bytes(&self) -> usize {
        self.pending.bytes()
    }

    /// What is held of every author.
    pub fn frontier(&self) -> Frontier {
        let mut frontier = Frontier::default();
        for (author, tips) in &self.tips {
            tips.iter().for_each(|tip| frontier.insert(*author, tip.head));
        }
        frontier
    }

    /// The heads of this node's own branches: more than one are joined by what it appends next.
    pub fn own_heads(&self) -> Vec<Head> {
        let tips = self.tips.get(&self.node()).map_or(&[][..], Vec::as_slice);
        tips.iter().map(|tip| tip.head).collect()
    }

    /// Makes changes of drafts, at the node's own end of the log: contiguous seqs, rising times,
    /// one signature a change.
    ///
    /// # Errors
    /// The log is as it was, whatever the error.
    pub fn append<'a>(
        &mut self,
        drafts: impl IntoIterator<Item = &'a Draft>,
        now: u64,
    ) -> Result<Vec<Arrival>, AppendError> {
        let mut clock = self.clock;
        let (mut cbor, mut ends, mut times) = (Vec::new(), Vec::new(), Vec::new());
        for (index, draft) in drafts.into_iter().enumerate() {
            draft.check().map_err(|e| EncodeError::Entry { index, error: e.into() })?;
            let time = clock.tick(now).ok_or(AppendError::EndOfTime)?;
            draft.encode_to(&mut cbor, time);
            ends.push(cbor.len());
            times.push(time);
        }
        let entries = cut(&cbor, &ends);
        if entries.is_empty() {
            return Err(AppendError::Nothing);
        }
        let me = self.node();
        let mut tips = self.tips.get(&me).cloned().unwrap_or_default();
        let mut open = self.open;
        let mut offset = self.next_offset;
        let mut arrivals: Vec<Arrival> = Vec::new();
        let (mut closed, mut made) = (Vec::new(), Vec::new());
        let (mut rest, mut times) = (&entries[..], &times[..]);
        while let Some(first) = times.first() {
            let place = self.next_place(&tips, open, rest);
            let size = group_size(rest, place.room);
            let (group, later) = rest.split_at(size);
            let last = times[size - 1];
            // What was a draft is well-formed as an entry, and the clock only rises.
            let mut change = rebuild(&place.place, group, (*first, last))?;
            change.signature = Some(self.identity.sign(self.cluster, change.hash));
            match &place.place.link {
                Link::Opening(opening) => closed.extend(join(&mut tips, opening)),
                Link::Previous(hash) => tips.retain(|tip| tip.head.hash != *hash),
            }
            let tip = tip_after(place.after.as_ref(), 0, &change);
            tips.push(tip.clone());
            made.push(tip);
            open = Some(change.segment);
            let arrival = Arrival { offset, skew: false, side: 0, change };
            offset = arrival.end();
            arrivals.push(arrival);
            (rest, times) = (later, &times[size..]);
        }
        for (arrival, tip) in arrivals.iter().zip(&made) {
            self.fresh.note(&arrival.change, tip);
        }
        self.fresh.closed.extend(closed);
        self.clock = clock;
        self.tips.insert(me, tips);
        self.open = open;
        self.next_offset = offset;
        Ok(arrivals)
    }

    /// Where this node's next change goes: on in the open segment, or into a new one that joins
    /// all branches that the node finds of itself.
    fn next_place(&self, tips: &[Tip], open: Option<SegmentId>, rest: &[&[u8]]) -> NextPlace {
        let author = self.node();
        if let [tip] = tips
            && Some(tip.head.segment) == open
        {
            let room = SEGMENT_ENTRIES - (tip.head.next_seq.0 - tip.segment_seq.0);
            let first = rest.first().map_or(0, |entry| entry.len()) as u64;
            if room > 0 && tip.bytes + first + CHUNK_OVERHEAD <= SEGMENT_BYTES {
                let place = Place {
                    author,
                    segment: tip.head.segment,
                    segment_seq: tip.segment_seq,
                    index: tip.changes,
                    first_seq: tip.head.next_seq,
                    link: Link::Previous(tip.head.hash),
                };
                let bytes = SEGMENT_BYTES - tip.bytes - CHUNK_OVERHEAD;
                return NextPlace { place, room: (room, bytes), after: Some(tip.clone()) };
            }
        }
        let mut parents: Vec<Parent> = tips
            .iter()
            .map(|tip| Parent { next_seq: tip.head.next_seq, hash: tip.head.hash })
            .collect();
        parents.sort();
        let over = parents.len().saturating_sub(SEGMENT_PARENTS);
        let parents = parents.split_off(over); // the highest ones stay
        let first_seq = parents.last().map_or(Seq(0), |parent| parent.next_seq);
        let (cluster, nonce) = (self.cluster, self.lifetime);
        let opening = Opening { cluster, author, first_seq, parents, nonce };
        let segment = opening.segment();
        let link = Link::Opening(opening);
        let place = Place { author, segment, segment_seq: first_seq, index: 0, first_seq, link };
        NextPlace { place, room: (SEGMENT_ENTRIES, SEGMENT_BYTES - CHUNK_OVERHEAD), after: None }
    }

    /// Admits changes that their authors signed, in the order given, and all that waited for them.
    ///
    /// Applying is idempotent and, up to the order of arrival, commutative: whatever the order and
    /// however often, the same changes end in the same frontier.
    ///
    /// # Errors
    /// The past can't be read. The log must then be thrown away.
    pub fn apply<P: Past + ?Sized>(
        &mut self,
        changes: Vec<Change>,
        now: u64,
        past: &mut P,
    ) -> Result<Applied, P::Error> {
        let mut applied = Applied::default();
        let given = changes.into_iter().rev();
        let mut todo: Vec<(Change, Origin)> = given.map(|change| (change, Origin::Given)).collect();
        while let Some((change, origin)) = todo.pop() {
            match self.fit(&change, past)? {
                Fit::Known => applied.duplicates += 1,
                Fit::Refused(_) if origin == Origin::Waited => applied.discarded += 1,
                Fit::Refused(refusal) => applied.refused.push((change.author, refusal)),
                Fit::Waits(parent) => match self.park(parent, change) {
                    Parked::Waits => applied.pending += 1,
                    Parked::Twice => applied.duplicates += 1,
                    Parked::Dropped => applied.dropped += 1,
                },
                Fit::Joins(seat) => {
                    let released = self.pending.release(&change.hash).into_iter();
                    todo.extend(released.map(|waited| (waited, Origin::Waited)));
                    if matches!(seat, Seat::Forks(..)) {
                        applied.forks.push(change.clone());
                    }
                    applied.arrivals.push(self.admit(change, seat, now));
                }
            }
        }
        Ok(applied)
    }

    fn fit<P: Past + ?Sized>(&self, change: &Change, past: &mut P) -> Result<Fit, P::Error> {
        let tips = self.tips.get(&change.author).map_or(&[][..], Vec::as_slice);
        match change.link() {
            Ok(Link::Previous(hash)) => self.fit_previous(change, hash, tips, past),
            Ok(Link::Opening(opening)) => self.fit_opening(change, &opening, tips, past),
            // A chunk whose link can't be read was not built by `encode`: it can't be a `Change`.
            Err(_) => Ok(Fit::Refused(Refusal::Place)),
        }
    }

    /// Where a change belongs that follows another one of its segment.
    ///
    /// The hash of such a change covers its distance from the segment's start only, so whoever
    /// relays it can move it. A change that doesn't follow what it names accuses nobody.
    fn fit_previous<P: Past + ?Sized>(
        &self,
        change: &Change,
        previous: ChangeHash,
        tips: &[Tip],
        past: &mut P,
    ) -> Result<Fit, P::Error> {
        if let Some(at) = tips.iter().position(|tip| tip.head.hash == previous) {
            return Ok(match follows(&tips[at], change) {
                Ok(()) => Fit::Joins(Seat::After(at)),
                Err(refusal) => Fit::Refused(refusal),
            });
        }
        let Some(sides) = self.sides(change, past)? else {
            return Ok(Fit::Waits(previous));
        };
        if change.segment_seq != sides.segment_seq {
            return Ok(Fit::Refused(Refusal::Place));
        }
        // Of a pruned segment only the end is known, and may still be gone on from.
        let is_removed = sides.pruned.is_some_and(|end| change.first_seq < end);
        if is_removed || self.begins(change, past)? {
            return Ok(Fit::Known);
        }
        let parent = Parent { next_seq: change.first_seq, hash: previous };
        let found = self.standing(change.author, &parent, past)?;
        let Some(Standing { tip, followed }) = found else {
            return Ok(Fit::Waits(previous));
        };
        if let Err(refusal) = follows(&tip, change) {
            return Ok(Fit::Refused(refusal));
        }
        if tips.len() >= BRANCHES {
            return Ok(Fit::Refused(Refusal::Crowd));
        }
        if !followed {
            return Ok(Fit::Joins(Seat::Reopens(tip)));
        }
        if planted(Bug::FirstSeenWins) {
            return Ok(Fit::Refused(Refusal::Place));
        }
        Ok(Fit::Joins(Seat::Forks(Some(tip), sides.count)))
    }

    /// Whether the change is held already.
    fn begins<P: Past + ?Sized>(&self, change: &Change, past: &mut P) -> Result<bool, P::Error> {
        let Change { segment, first_seq, hash, .. } = *change;
        let fresh = self.fresh.begins.contains(&(segment, first_seq, hash));
        Ok(fresh || past.begins(segment, first_seq, hash)?)
    }

    /// What is held of the change's segment.
    fn sides<P: Past + ?Sized>(
        &self,
        change: &Change,
        past: &mut P,
    ) -> Result<Option<Sides>, P::Error> {
        // What is fresh may be the newest side only, or all that there is.
        let fresh = self.fresh.sides.get(&change.segment).copied();
        let held = past.sides(change.author, change.segment)?;
        Ok(fresh.into_iter().chain(held).reduce(|fresh, held| Sides {
            count: fresh.count.max(held.count),
            segment_seq: held.segment_seq,
            pruned: fresh.pruned.max(held.pruned),
        }))
    }

    /// The change that another one hangs on, if it is held.
    fn standing<P: Past + ?Sized>(
        &self,
        author: NodeId,
        parent: &Parent,
        past: &mut P,
    ) -> Result<Option<Standing>, P::Error> {
        let tips = self.tips.get(&author).map_or(&[][..], Vec::as_slice);
        let is_parent =
            |tip: &&Tip| tip.head.hash == parent.hash && tip.head.next_seq == parent.next_seq;
        if let Some(tip) = tips.iter().find(is_parent) {
            return Ok(Some(Standing { tip: tip.clone(), followed: false }));
        }
        let found = match self.fresh.tips.get(&(author, *parent)) {
            Some(tip) => Some(Standing { tip: tip.clone(), followed: false }),
            None => past.standing(author, parent)?,
        };
        let Some(Standing { tip, followed }) = found else { return Ok(None) };
        // What was admitted since the last commit may follow it.
        let same = |other: &&Tip| other.strand() == tip.strand();
        let open = tips.iter().find(same);
        let end = open.or_else(|| self.fresh.closed.get(&tip.strand()));
        let followed = end.map_or(followed, |end| end.head != tip.head);
        Ok(Some(Standing { tip, followed }))
    }

    /// Where the first change of a segment belongs.
    fn fit_opening<P: Past + ?Sized>(
        &self,
        change: &Change,
        opening: &Opening,
        tips: &[Tip],
        past: &mut P,
    ) -> Result<Fit, P::Error> {
        let sides = self.sides(change, past)?;
        let pruned = sides.is_some_and(|sides| sides.pruned.is_some());
        if pruned || (sides.is_some() && self.begins(change, past)?) {
            return Ok(Fit::Known);
        }
        let mut last_time = None;
        for parent in &opening.parents {
            match self.standing(change.author, parent, past)? {
                Some(Standing { tip, .. }) => last_time = last_time.max(Some(tip.last_time)),
                None => return Ok(Fit::Waits(parent.hash)),
            }
        }
        if last_time.is_some_and(|last| change.first_time <= last) {
            return Ok(Fit::Refused(Refusal::Time));
        }
        // A place is kept for this node itself, so that its frontier can always be said.
        let me = self.node();
        let kept = usize::from(change.author != me && !self.tips.contains_key(&me));
        let stranger = tips.is_empty() && self.tips.len() + kept >= AUTHORS;
        let others = tips.iter().filter(|tip| !joins(opening, tip)).count();
        if stranger || others >= BRANCHES {
            return Ok(Fit::Refused(Refusal::Crowd));
        }
        if change.bytes.len() as u64 > SEGMENT_BYTES {
            return Ok(Fit::Refused(Refusal::Segment));
        }
        Ok(Fit::Joins(sides.map_or(Seat::Opens, |sides| Seat::Forks(None, sides.count))))
    }

    fn admit(&mut self, change: Change, seat: Seat, now: u64) -> Arrival {
        let skew = if change.author == self.node() {
            self.clock.see_own(change.last_time);
            false
        } else {
            self.clock.see(change.last_time, now) == Skew::Ahead
        };
        let tips = self.tips.entry(change.author).or_default();
        let tip = match seat {
            Seat::After(at) => {
                let before = tips.swap_remove(at);
                tip_after(Some(&before), before.side, &change)
            }
            Seat::Reopens(end) => tip_after(Some(&end), end.side, &change),
            Seat::Forks(after, side) => tip_after(after.as_ref(), side, &change),
            Seat::Opens => {
                if let Ok(Link::Opening(opening)) = change.link() {
                    self.fresh.closed.extend(join(tips, &opening));
                }
                tip_after(None, 0, &change)
            }
        };
        let side = tip.side;
        self.fresh.note(&change, &tip);
        tips.push(tip);
        let end = Parent { next_seq: change.next_seq(), hash: change.hash };
        self.met(change.author, &end);
        let arrival = Arrival { offset: self.next_offset, skew, side, change };
        self.next_offset = arrival.end();
        arrival
    }
}

/// A place for this node's next change, with the room that its segment has left.
struct NextPlace {
    place: Place,
    /// Entries and bytes.
    room: (u64, u64),
    after: Option<Tip>,
}

/// Whether a segment continues after this tip.
fn joins(opening: &Opening, tip: &Tip) -> bool {
    let Head { next_seq, hash, .. } = tip.head;
    opening.parents.contains(&Parent { next_seq, hash })
}

/// Takes out the tips that a segment continues after.
fn join(tips: &mut Vec<Tip>, opening: &Opening) -> Vec<(Strand, Tip)> {
    let joined = tips.extract_if(.., |tip| joins(opening, tip));
    joined.map(|tip| (tip.strand(), tip)).collect()
}

/// How many of the entries go into one change: at least one, at most what change and segment hold.
fn group_size(entries: &[&[u8]], room: (u64, u64)) -> usize {
    let most = CHANGE_ENTRIES.min(usize::try_from(room.0).unwrap_or(CHANGE_ENTRIES));
    let most_bytes = CHANGE_BYTES.min(usize::try_from(room.1).unwrap_or(CHANGE_BYTES));
    let mut bytes = 0;
    let fits = |entry: &&&[u8]| {
        bytes += entry.len();
        bytes <= most_bytes
    };
    entries.iter().take(most).take_while(fits).count().max(1)
}

/// Whether a change follows the tip that it names.
fn follows(tip: &Tip, change: &Change) -> Result<(), Refusal> {
    let in_place = change.segment == tip.head.segment
        && change.segment_seq == tip.segment_seq
        && change.index == tip.changes
        && change.first_seq == tip.head.next_seq;
    if !in_place {
        return Err(Refusal::Place);
    }
    if change.first_time <= tip.last_time {
        return Err(Refusal::Time);
    }
    if tip.bytes + change.bytes.len() as u64 > SEGMENT_BYTES {
        return Err(Refusal::Segment);
    }
    Ok(())
}

fn tip_after(before: Option<&Tip>, side: u32, change: &Change) -> Tip {
    let (changes, bytes) = before.map_or((0, 0), |tip| (tip.changes, tip.bytes));
    Tip {
        head: Head { next_seq: change.next_seq(), hash: change.hash, segment: change.segment },
        side,
        segment_seq: change.segment_seq,
        changes: changes + 1,
        bytes: bytes + change.bytes.len() as u64,
        last_time: change.last_time,
    }
}

#[cfg(test)]
mod tests;
