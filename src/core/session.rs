//! A session: how two connected nodes come to hold the same entries, as a pure state machine.
//!
//! Both sides run the same machine. After a *hello* each says its *frontier*. Each compares the
//! other's with its own store, and so knows which ranges the other lacks; from then on it scans
//! its own store in order of arrival. Both, catching up and live, only ever put ranges into one
//! queue, which is sent from in order.
//!
//! What the other *has* is what it says that it has persisted: its frontiers and acks, and what it
//! sends itself. An entry of an author whom the other is connected with is left to that author. A
//! timer repeats the digest of the frontier; where digests differ, frontiers are exchanged again,
//! and what lacks there without having moved for a whole interval is sent, whoever should have.
//! So a memory of what was sent may save work, and never outlives a failure.
//!
//! The shell owns the connection and the store. It calls `handle_*` with what happened, and
//! [`Session::poll`] whenever it could send one more frame, and does what that says.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use super::change::{Change, SignedBlock, SignedRun, Travelling};
use super::frame::{Frame, Heads, PROTOCOL, WANTED, Wanted};
use super::frontier::{Frontier, Head, Range};
use super::log::Arrival;
use super::pruned::Pruned;
use super::segment::Strand;
use crate::words::limits::{AUTHORS, BRANCHES};
use crate::words::planted::{Bug, planted};
use crate::words::{ClusterId, NodeId, Offset, SegmentId, Seq};

/// Live scanning waits while so many ranges are still to be sent.
const RANGES: usize = 64; // full: the scan of the store waits
/// Each time that it didn't help it is waited twice as long, and no longer after so many times.
const RESENDS: u32 = 3;
/// So many neighbours of a node send it what it lacks after an interval, twice as many more after the next.
const HELPERS: usize = 4;

/// Who takes part in a session.
#[derive(Clone, Debug)]
pub struct Parties {
    /// This node.
    pub me: NodeId,
    /// This node's cluster.
    pub cluster: ClusterId,
    /// This lifetime of this node.
    pub incarnation: u64,
    /// The name that people gave this node.
    pub name: String,
    /// The other node, as its certificate says.
    pub peer: NodeId,
}

/// One entry of a scan: a change of the store without its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passed {
    /// Who wrote it.
    pub author: NodeId,
    /// The seq of its first entry.
    pub first_seq: Seq,
    /// Its segment, hash and end.
    pub head: Head,
    /// Which side of its segment it is on.
    pub side: u32,
}

impl Passed {
    /// What is said of a change that is read in passing.
    pub fn of(arrival: &Arrival) -> Self {
        let Change { author, segment, first_seq, hash, .. } = arrival.change;
        let head = Head { segment, next_seq: arrival.change.next_seq(), hash };
        Self { author, first_seq, head, side: arrival.side }
    }
}

/// What the shell does next for the session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Send this frame.
    Send(Frame),
    /// Read the frontier that is persisted, and call [`Session::handle_own_frontier`].
    ReadFrontier,
    /// Compare this with the store, and call [`Session::handle_compared`].
    Compare(Heads),
    /// Read the changes that arrived at or after the offset, without their bytes, and call
    /// [`Session::handle_scanned`].
    Scan(Offset),
    /// Read changes from the start of the range, as many as a frame takes, and call
    /// [`Session::handle_fetched`].
    Fetch(Range),
}

/// What a frame asks of the shell.
#[derive(Debug, PartialEq, Eq)]
pub enum Received {
    /// Nothing but another poll.
    Noted,
    /// The other has said who it is: name and incarnation.
    Greeted {
        /// The name that people gave it.
        name: String,
        /// This lifetime of it.
        incarnation: u64,
    },
    /// These changes are to be verified and applied.
    Run(Box<SignedRun>),
    /// So are these.
    Block(Box<SignedBlock>),
    /// The other has removed the entries of these segments: once nobody brings more of them, what
    /// stays is taken.
    Pruned(Vec<Pruned>),
    /// The other lost these entries: look up where they are, and call [`Session::handle_wanted`].
    Wanted(Vec<Wanted>),
}

/// What the other did that no honest node does. The connection is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// It speaks another version of the protocol.
    #[error("the peer speaks protocol {0}, and this node {PROTOCOL}")]
    Protocol(u64),
    /// It belongs to another cluster.
    #[error("the peer belongs to another cluster")]
    Cluster,
    /// Its first frame was no hello, or a later one was.
    #[error("the peer said hello at the wrong time")]
    Hello,
}

/// What is known of the other's share of one author.
#[derive(Debug, Default)]
struct Known {
    /// Its heads, as it last said.
    heads: Vec<(SegmentId, Seq)>,
    /// How far the author was at the last comparison, and at which interval it was first found there.
    stood: Option<(Seq, u64)>,
}

impl Known {
    fn next_seq(&self) -> Seq {
        self.heads.iter().map(|(_, next)| *next).max().unwrap_or_default()
    }

    fn advance(&mut self, segment: SegmentId, next_seq: Seq) {
        let same = self.heads.iter_mut().find(|(known, _)| *known == segment);
        match same {
            Some((_, next)) => *next = next_seq.max(*next),
            None => {
                // A newer segment follows the older ones; a branch only makes this pessimistic.
                self.heads.retain(|(_, next)| *next > next_seq);
                self.heads.truncate(BRANCHES - 1);
                self.heads.push((segment, next_seq));
            }
        }
    }

    /// Whether the other has an entry run up to `head`. On a branched author it may be wrong; the
    /// next digest tells.
    fn has(&self, head: &Head) -> bool {
        let by =
            |(segment, next): &(SegmentId, Seq)| *segment == head.segment || *next > head.next_seq;
        self.heads.iter().any(|known| known.1 >= head.next_seq && by(known))
    }
}

/// What is known of a range that the other lacks.
#[derive(Clone, Copy, Debug)]
struct Lacking {
    /// Since which interval it has lacked and was not sent.
    since: u64,
    /// How often it was sent for having lacked so long.
    times: u32,
}

/// What the other was told of an author's pruned segments.
#[derive(Clone, Copy, Debug)]
struct Told {
    /// Where they end.
    end: Head,
    /// At how many comparisons it lacked them.
    comparisons: u64,
}

/// One side of a session with one peer.
#[derive(Debug)]
pub struct Session {
    parties: Parties,
    greeted: bool,
    /// Frames that are due, at most one of each kind.
    hello_due: bool,
    links_due: Option<Vec<NodeId>>,
    elsewhere_due: Option<Vec<NodeId>>,
    want_due: Vec<Wanted>,
    /// What the other lacks and can't be sent any more.
    pruned_due: VecDeque<Vec<Pruned>>,
    /// Of whom it was told that already.
    told: HashMap<NodeId, Told>,
    /// Where it has said that it holds what it was told of.
    confirmed: HashMap<NodeId, Head>,
    frontier_due: bool,
    digest_due: bool,
    ready: VecDeque<Frame>,
    acks: BTreeMap<NodeId, Vec<Head>>,
    /// Whether they are due now, and not only with the next digest.
    acks_due: bool,
    /// The other's frontier, not compared yet.
    compare: Option<Heads>,
    /// What the other lacks and is to be sent, in order.
    ranges: VecDeque<Range>,
    /// Where the scan of the own store goes on; none before the other has said its frontier.
    cursor: Option<Offset>,
    /// Whether the store may hold more at the cursor.
    grown: bool,
    known: HashMap<NodeId, Known>,
    /// Whom the other is connected with.
    links: HashSet<NodeId>,
    /// The authors that the other asks of somebody else.
    elsewhere: HashSet<NodeId>,
    /// Those of them of whom something was kept that would have been sent.
    withheld: HashSet<NodeId>,
    /// Those that it asked of somebody else, and does no more; at the next comparison they are sent.
    released: HashSet<NodeId>,
    /// Whether the first of the ranges is being read.
    fetching: bool,
    own_digest: Option<[u8; 32]>,
    /// What the other lacked at the last comparison, by where it begins.
    lacking: HashMap<(Strand, Seq), Lacking>,
    /// How many intervals have passed since the first comparison.
    intervals: u64,
}

impl Session {
    /// A session at the moment when the connection stands.
    pub fn new(parties: Parties) -> Self {
        Self {
            parties,
            greeted: false,
            hello_due: true,
            links_due: None,
            elsewhere_due: None,
            want_due: Vec::new(),
            pruned_due: VecDeque::new(),
            told: HashMap::new(),
            confirmed: HashMap::new(),
            frontier_due: true,
            digest_due: false,
            ready: VecDeque::new(),
            acks: BTreeMap::new(),
            acks_due: false,
            compare: None,
            ranges: VecDeque::new(),
            cursor: None,
            grown: false,
            known: HashMap::new(),
            links: HashSet::new(),
            elsewhere: HashSet::new(),
            withheld: HashSet::new(),
            released: HashSet::new(),
            fetching: false,
            own_digest: None,
            lacking: HashMap::new(),
            intervals: 0,
        }
    }

    /// Takes a frame of the other.
    ///
    /// # Errors
    /// What no honest node does; nothing of the frame was kept.
    pub fn handle_frame(&mut self, frame: Frame) -> Result<Received, Violation> {
        if self.greeted == matches!(frame, Frame::Hello { .. }) {
            return Err(Violation::Hello);
        }
        match frame {
            Frame::Hello { protocol, cluster, incarnation, name } => {
                if protocol != PROTOCOL {
                    return Err(Violation::Protocol(protocol));
                }
                if cluster != self.parties.cluster {
                    return Err(Violation::Cluster);
                }
                self.greeted = true;
                return Ok(Received::Greeted { name, incarnation });
            }
            Frame::Frontier(heads) => {
                self.learn(&heads);
                self.compare = Some(heads);
            }
            Frame::Digest(digest) => {
                let differs = self.own_digest != Some(digest);
                self.frontier_due |= differs && !planted(Bug::DigestIgnored);
            }
            Frame::Ack(heads) => {
                self.learn(&heads);
                for (author, heads) in heads {
                    let told = self.told.get(&author).filter(|told| heads.contains(&told.end));
                    self.confirmed.extend(told.map(|told| (author, told.end)));
                }
            }
            Frame::Links(links) => self.links = links.into_iter().collect(),
            Frame::Elsewhere(authors) => self.keep(authors.into_iter().collect()),
            Frame::Want(wanted) => return Ok(Received::Wanted(wanted)),
            Frame::Pruned(chain) => return Ok(Received::Pruned(chain)),
            Frame::Run(run) => {
                self.note(run.place.author, (run.place.segment, run.next_seq()));
                return Ok(Received::Run(run));
            }
            Frame::Block(block) => {
                self.note(block.place.author, (block.place.segment, block.next_seq));
                return Ok(Received::Block(block));
            }
        }
        Ok(Received::Noted)
    }

    fn learn(&mut self, heads: &Heads) {
        for (author, heads) in heads {
            for head in heads {
                self.note(*author, (head.segment, head.next_seq));
            }
        }
    }

    /// Notes that the other has an author up to there. What it says of more authors than a cluster
    /// has is not remembered.
    fn note(&mut self, author: NodeId, (segment, next_seq): (SegmentId, Seq)) {
        if self.known.len() < AUTHORS || self.known.contains_key(&author) {
            self.known.entry(author).or_default().advance(segment, next_seq);
        }
    }

    /// The own store has grown.
    pub fn handle_growth(&mut self) {
        self.grown = true;
    }

    /// An interval has passed: the digest of the frontier is due, and acks that were put off.
    pub fn handle_interval(&mut self) {
        self.intervals += u64::from(self.cursor.is_some());
        self.digest_due = true;
        self.acks_due = true;
    }

    /// This node's connections have changed.
    pub fn handle_links(&mut self, links: Vec<NodeId>) {
        self.links_due = Some(links);
    }

    /// The other is asked for nothing of these authors from now on, and for what it holds of all others.
    pub fn handle_elsewhere(&mut self, authors: Vec<NodeId>) {
        self.elsewhere_due = Some(authors);
        self.frontier_due = true; // the other compares, and sends what it was to keep before
    }

    /// Keeps what the other asks of somebody else, also where it was to be sent.
    fn keep(&mut self, elsewhere: HashSet<NodeId>) {
        let no_more = self.elsewhere.difference(&elsewhere);
        self.released.extend(no_more.filter(|author| self.withheld.contains(author)));
        self.released.retain(|author| !elsewhere.contains(author));
        self.withheld.retain(|author| elsewhere.contains(author));
        self.elsewhere = elsewhere;
        let mut place = 0;
        self.ranges.retain(|range| {
            place += 1;
            let kept = (place > 1 || !self.fetching) && self.elsewhere.contains(&range.author);
            if kept {
                self.withheld.insert(range.author);
            }
            !kept
        });
    }

    /// These entries of the own store are damaged: the other is asked for them. Whatever is not
    /// mended is asked for again when this is called again.
    pub fn handle_lost(&mut self, mut lost: Vec<Wanted>) {
        lost.truncate(WANTED);
        self.want_due = lost;
    }

    /// The answer to [`Received::Wanted`]. While there is much to send, it is left to another time:
    /// the other asks again.
    pub fn handle_wanted(&mut self, ranges: Vec<Range>) {
        if self.ranges.len() < RANGES {
            self.ranges.extend(ranges);
        }
    }

    /// The answer to [`Step::ReadFrontier`].
    pub fn handle_own_frontier(&mut self, frontier: &Frontier) {
        let digest = frontier.digest();
        self.own_digest = Some(digest);
        if std::mem::take(&mut self.frontier_due) {
            // A digest that is due too follows: without it the other would not say its frontier.
            let heads = frontier.iter().map(|(author, heads)| (*author, heads.to_vec())).collect();
            self.ready.push_back(Frame::Frontier(heads));
        } else if std::mem::take(&mut self.digest_due) {
            self.ready.push_back(Frame::Digest(digest));
        }
    }

    /// The answer to [`Step::Compare`]: what the other lacks, the authors of whom it has heads that
    /// lead to nothing held here, the offset up to which that was looked for, and how far a peer of this
    /// node holds an author, by its own word.
    ///
    /// Of those authors the other may have all that is held here and more: it sends first. What
    /// still lacks there at the next comparison, when its heads are known or it had no more, is
    /// sent then.
    pub fn handle_compared(
        &mut self,
        missing: Vec<Range>,
        ahead: &HashSet<NodeId>,
        watermark: Offset,
        held: impl Fn(&NodeId, &NodeId) -> Seq,
    ) {
        let first = self.cursor.is_none();
        if first {
            self.cursor = Some(watermark);
            self.grown = true;
        }
        if self.ranges.is_empty() {
            let lacked = std::mem::take(&mut self.lacking);
            for range in missing {
                let (author, start) = (range.author, (range.strand, range.from));
                let is_ahead = ahead.contains(&author);
                let stands = !is_ahead && self.stands(&author);
                let since = self.intervals.saturating_sub(u64::from(stands));
                let mut lacks = lacked.get(&start).copied().unwrap_or(Lacking { since, times: 0 });
                let is_next = self.released.contains(&author) || (first && !is_ahead);
                let is_kept = self.elsewhere.contains(&author);
                if is_next && is_kept {
                    self.withheld.insert(author);
                } else if is_next || (!is_kept && self.is_stuck(&range, lacks, &held)) {
                    self.ranges.push_back(range);
                    let times = (lacks.times + u32::from(!is_next)).min(RESENDS);
                    lacks = Lacking { since: self.intervals, times };
                }
                self.lacking.insert(start, lacks);
            }
            self.released.clear();
        }
        for known in self.known.values_mut() {
            let next_seq = known.next_seq();
            if known.stood.is_none_or(|(before, _)| before != next_seq) {
                known.stood = Some((next_seq, self.intervals));
            }
        }
    }

    /// Whether the other's share of an author hasn't moved for an interval, between two comparisons.
    fn stands(&self, author: &NodeId) -> bool {
        let Some(known) = self.known.get(author) else { return true };
        known.stood.is_some_and(|(at, since)| at == known.next_seq() && since < self.intervals)
    }

    /// Whether a range has lacked there since an interval that was so long ago that this node sends it,
    /// whoever should have.
    ///
    /// Its author sends it after an interval, and so do four of the other's neighbours that hold it; eight
    /// more after the second one, sixteen more after the third one, and so on. All at once they would send
    /// it as often as there are neighbours, and most often to a node that stands still because it has too
    /// much to do. For the same reason each waits twice as long where it has sent the same before.
    fn is_stuck(
        &self,
        Range { author, to, .. }: &Range,
        Lacking { since, times }: Lacking,
        held: impl Fn(&NodeId, &NodeId) -> Seq,
    ) -> bool {
        let waited = self.intervals.saturating_sub(since) >> times;
        // They take turns by a distance that orders the neighbours of each node differently.
        let Parties { me, peer, .. } = &self.parties;
        let distance =
            |node: &NodeId| -> [u8; 32] { std::array::from_fn(|at| node.0[at] ^ peer.0[at]) };
        let mine = distance(me);
        let nearer =
            |node: &&NodeId| *node != author && distance(node) < mine && held(node, author) >= *to;
        let turn = || u64::from((self.links.iter().filter(nearer).count() / HELPERS + 1).ilog2());
        waited > 0 && (me == author || waited > turn())
    }

    /// Beside the answer to [`Step::Compare`]: segments that the other lacks and whose entries were
    /// removed here, one chain for an author. It is told so at the first comparison that finds it, and
    /// again at the second, the fourth, the eighth and so on, ever more seldom: it may wait for others who
    /// have them, and may not have heard.
    pub fn handle_pruned(&mut self, chains: Vec<Vec<Pruned>>) {
        for chain in chains {
            let Some(last) = chain.last() else { continue };
            let end = last.head();
            let before = self.told.get(&last.author()).filter(|told| told.end == end);
            let comparisons = before.map_or(0, |told| told.comparisons) + 1;
            self.told.insert(last.author(), Told { end, comparisons });
            if comparisons.is_power_of_two() {
                self.pruned_due.push_back(chain);
            }
        }
    }

    /// What the other told of pruned segments of an author is held here by now, up to its end: it is told
    /// so; and asked for what follows, where that is because what stays of them was taken over.
    pub fn handle_adopted(&mut self, (author, end): (NodeId, Head), taken_over: bool) {
        self.ready.push_back(Frame::Ack(vec![(author, vec![end])]));
        self.frontier_due |= taken_over;
    }

    /// The answer to [`Step::Scan`]: the changes from there in order of arrival, and where the
    /// next scan goes on. No change means that the end was reached.
    pub fn handle_scanned(&mut self, passed: &[Passed], next: Offset) {
        self.cursor = Some(next);
        self.grown = !passed.is_empty();
        for change in passed {
            let Passed { author, first_seq, head, side } = *change;
            let left_to_author = author != self.parties.me && self.links.contains(&author);
            let has = left_to_author
                || author == self.parties.peer
                || self.known.get(&author).is_some_and(|known| known.has(&head));
            let elsewhere = self.elsewhere.contains(&author);
            if elsewhere && !has {
                self.withheld.insert(author);
            }
            if has || elsewhere {
                let acks = self.acks.entry(author).or_default();
                acks.retain(|ack| ack.segment != head.segment && ack.next_seq > head.next_seq);
                acks.truncate(BRANCHES - 1);
                acks.push(head);
                // Where the author itself tells the other, this only says what is held here. All nodes
                // of a full mesh would say it to each other at every commit.
                self.acks_due |= !left_to_author;
                continue;
            }
            let strand = Strand { segment: head.segment, side };
            let range = Range { author, strand, from: first_seq, to: head.next_seq };
            match self.ranges.back_mut() {
                Some(last) if last.strand == range.strand && last.to == range.from => {
                    last.to = range.to;
                }
                _ => self.ranges.push_back(range),
            }
        }
    }

    /// The answer to [`Step::Fetch`]: the changes from the start of the range, or none when the
    /// store doesn't hold them.
    pub fn handle_fetched(&mut self, fetched: Option<Travelling>) {
        self.fetching = false;
        let Some(range) = self.ranges.pop_front() else {
            return;
        };
        let Some(fetched) = fetched else { return };
        let sent_to = fetched.next_seq();
        if sent_to < range.to {
            self.ranges.push_front(Range { from: sent_to, ..range });
        }
        self.ready.push_back(match fetched {
            Travelling::Run(run) => Frame::Run(Box::new(run)),
            Travelling::Block(block) => Frame::Block(Box::new(block)),
        });
    }

    /// What to do next, given room for one more frame; none means: wait until something happens.
    pub fn poll(&mut self) -> Option<Step> {
        if std::mem::take(&mut self.hello_due) {
            return Some(Step::Send(self.hello()));
        }
        if !self.greeted {
            return None;
        }
        if let Some(frame) = self.ready.pop_front() {
            return Some(Step::Send(frame));
        }
        if let Some(links) = self.links_due.take() {
            return Some(Step::Send(Frame::Links(links)));
        }
        if let Some(authors) = self.elsewhere_due.take() {
            return Some(Step::Send(Frame::Elsewhere(authors)));
        }
        if let Some(chain) = self.pruned_due.pop_front() {
            return Some(Step::Send(Frame::Pruned(chain)));
        }
        if !self.want_due.is_empty() {
            return Some(Step::Send(Frame::Want(std::mem::take(&mut self.want_due))));
        }
        if self.frontier_due || self.digest_due {
            return Some(Step::ReadFrontier);
        }
        if let Some(mut heads) = self.compare.take() {
            // What it says that it holds may lead to nothing that is held here, and it has this all the
            // same.
            for (author, end) in &self.confirmed {
                match heads.iter_mut().find(|(of, _)| of == author) {
                    Some((_, heads)) => heads.push(*end),
                    None => heads.push((*author, vec![*end])),
                }
            }
            return Some(Step::Compare(heads));
        }
        if let Some(range) = self.ranges.front() {
            self.fetching = true;
            return Some(Step::Fetch(*range));
        }
        if let Some(cursor) = self.cursor
            && self.grown
            && self.ranges.len() < RANGES
        {
            return Some(Step::Scan(cursor));
        }
        if std::mem::take(&mut self.acks_due) && !self.acks.is_empty() {
            let heads = std::mem::take(&mut self.acks).into_iter().collect();
            return Some(Step::Send(Frame::Ack(heads)));
        }
        None
    }

    fn hello(&self) -> Frame {
        Frame::Hello {
            protocol: PROTOCOL,
            cluster: self.parties.cluster,
            incarnation: self.parties.incarnation,
            name: self.parties.name.clone(),
        }
    }

    /// How far the other holds each author, by its own word.
    pub fn held_by_peer(&self) -> impl Iterator<Item = (&NodeId, Seq)> {
        self.known.iter().map(|(author, known)| (author, known.next_seq()))
    }

    /// How far the other holds an author, by its own word, if it has said so.
    pub fn peer_holds(&self, author: &NodeId) -> Option<Seq> {
        self.known.get(author).map(Known::next_seq)
    }

    /// Whether nothing is left to send, as far as is known.
    pub fn is_quiet(&self) -> bool {
        self.cursor.is_some() && !self.grown && self.ranges.is_empty() && self.compare.is_none()
    }
}

#[cfg(test)]
mod tests;
