//! Runs of changes: what a peer says that others have written, and what becomes of it here.
//!
//! No fuzzer finds a signature. So the input is read as choices, of which a run is made and signed
//! by its author, and the promise is that a run is admitted exactly when its author could build it.

use bytes::Bytes;
use towline::core::change::{Change, EncodeError, Link, Place, SignedRun, encode};
use towline::core::document::{Document, contents};
use towline::core::frame::Frame;
use towline::core::log::{Arrival, Log};
use towline::core::segment::{Opening, Parent};
use towline::store::memory::MemoryStore;
use towline::store::{Batch, Owner, Store, StoreId};
use towline::words::limits::SEGMENT_PARENTS;
use towline::words::{
    ChangeHash, ClusterId, Draft, Identity, Offset, SegmentId, Seq, Signature, Time,
};

use super::{CLUSTER, Verdict};

/// The author of every run.
pub fn author() -> Identity {
    Identity::from_secret(&[1; 32])
}

pub fn run(bytes: &[u8]) -> Verdict {
    let run = signed(&mut Choices(bytes));
    let built = build(&run.place, &run.changes);
    travels(&run);
    let here = |link: &Link| match link {
        Link::Opening(opening) => opening.cluster == CLUSTER,
        Link::Previous(_) => true,
    };
    let holds = built.as_ref().is_ok_and(|built| !built.is_empty());
    let sound = here(&run.place.link) && holds;
    let admitted_changes = run.clone().verify(CLUSTER);
    assert_eq!(admitted_changes.is_ok(), sound, "{admitted_changes:?}, {built:?}");
    if let Ok(changes) = &admitted_changes {
        admitted(&run, changes);
    }
    admitted_changes.into()
}

/// A run that was chosen, signed where its author can build it.
pub fn signed(choices: &mut Choices) -> SignedRun {
    let place = place(choices);
    let changes: Vec<Vec<Bytes>> = (0..choices.below(4)).map(|_| entries(choices)).collect();
    let built = build(&place, &changes).ok();
    let hash = built.and_then(|built| built.last().map(|last| last.hash));
    let signature = hash.map_or(Signature([0; 64]), |hash| author().sign(CLUSTER, hash));
    SignedRun { place, changes, signature }
}

/// Builds the changes as their author does; their times must rise from one to the next.
pub fn build(place: &Place, changes: &[Vec<Bytes>]) -> Result<Vec<Change>, EncodeError> {
    let mut place = place.clone();
    let mut built: Vec<Change> = Vec::new();
    for entries in changes {
        let change = encode(&place, entries)?;
        if built.last().is_some_and(|last| last.last_time >= change.first_time) {
            return Err(EncodeError::Time(0));
        }
        place.index += 1;
        place.first_seq = change.next_seq();
        place.link = Link::Previous(change.hash);
        built.push(change);
    }
    Ok(built)
}

/// A run arrives as it was sent, where it is within the bounds of a frame.
fn travels(run: &SignedRun) {
    let frame = Frame::Run(Box::new(run.clone()));
    let received = Frame::decode(&frame.encode().into());
    // The author and first seq of an opening are not sent: they are those of the run.
    let sendable = match &run.place.link {
        Link::Opening(opening) => {
            opening.parents.len() <= SEGMENT_PARENTS
                && (opening.author, opening.first_seq) == (run.place.author, run.place.first_seq)
        }
        Link::Previous(_) => true,
    };
    if sendable {
        assert_eq!(received, Ok(frame));
    }
}

/// What holds of changes that were admitted: they say what the run said, they read back from the
/// store, joining the log twice is joining it once, and Automerge opens them.
pub fn admitted(run: &SignedRun, changes: &[Change]) {
    assert_eq!(changes.len(), run.changes.len());
    let mut link = run.place.link.clone();
    for (change, entries) in changes.iter().zip(&run.changes) {
        let chunk = change.open().expect("a change of our own");
        assert_eq!(chunk.shared_entries(), *entries);
        assert_eq!(chunk.link(), Ok(link));
        link = Link::Previous(change.hash);
    }
    if joins(changes) {
        let mut document = Document::new().expect("genesis is constant");
        changes.iter().try_for_each(|change| document.add(change)).expect("whole changes");
        let saved = document.save().expect("automerge applies them");
        let read = contents(&saved).expect("automerge reads them");
        assert_eq!(read.entries, run.changes.concat());
    }
}

/// Applies changes to an empty log, twice; tells whether they have joined it.
fn joins(changes: &[Change]) -> bool {
    let me = Identity::from_secret(&[2; 32]);
    let owner = Owner { node: me.node_id(), cluster: CLUSTER };
    let mut store = MemoryStore::new(StoreId([1; 8]), owner);
    let mut past = store.reader().expect("a memory store opens");
    let mut log = Log::new(me, CLUSTER, [0; 16], [], Offset(0), 0);
    let first = log.apply(changes.to_vec(), 0, &mut *past).expect("a memory store reads");
    let joined: Vec<Change> = first.arrivals.iter().map(|a| a.change.clone()).collect();
    let arrivals: Vec<Arrival> = first.arrivals;
    store.commit(&Batch { arrivals, ..Batch::default() }).expect("a memory store writes");
    log.committed();
    let again = log.apply(changes.to_vec(), 0, &mut *past).expect("a memory store reads");
    assert!(again.arrivals.is_empty(), "the same changes twice");
    assert_eq!((log.frontier(), log.next_offset()), {
        (past.frontier().expect("it reads"), past.watermark().expect("it reads"))
    });
    assert!(joined.is_empty() || joined == changes, "all of a run, or nothing");
    !joined.is_empty()
}

/// Bytes as a row of choices; all zero once they are used up.
pub struct Choices<'a>(pub &'a [u8]);

impl Choices<'_> {
    pub fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        *first
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::from(self.byte()) % bound
    }

    /// A small number mostly, at times one near the end of all numbers.
    pub fn number(&mut self) -> u64 {
        match self.byte() {
            255 => u64::MAX - u64::from(self.byte()),
            254 => u64::from(self.byte()) << (self.byte() % 64),
            small => u64::from(small),
        }
    }

    fn bytes(&mut self, most: usize) -> Vec<u8> {
        (0..self.below(most)).map(|_| self.byte()).collect()
    }
}

fn place(choices: &mut Choices) -> Place {
    match choices.below(3) {
        0 => Place {
            author: author().node_id(),
            segment: SegmentId([choices.byte(); 16]),
            segment_seq: Seq(choices.number()),
            index: choices.number() as u32,
            first_seq: Seq(choices.number()),
            link: Link::Previous(ChangeHash([choices.byte(); 32])),
        },
        parents => opening_place(choices, parents - 1),
    }
}

/// The start of a segment, mostly as it should be.
fn opening_place(choices: &mut Choices, parents: usize) -> Place {
    let author = author().node_id();
    let mut rising = Vec::new();
    for _ in 0..parents * choices.below(18) {
        let next_seq = Seq(choices.number());
        rising.push(Parent { next_seq, hash: ChangeHash([choices.byte(); 32]) });
    }
    rising.sort();
    let follows = rising.last().map_or(Seq(0), |parent| parent.next_seq);
    let mut opening =
        Opening { cluster: CLUSTER, author, first_seq: follows, parents: rising, nonce: [0; 16] };
    match choices.byte() {
        252 => opening.first_seq = Seq(choices.number()),
        253 => opening.cluster = ClusterId([8; 32]),
        254 => opening.parents.reverse(),
        255 => opening.author = Identity::from_secret(&[3; 32]).node_id(),
        nonce => opening.nonce = [nonce; 16],
    }
    let (segment, first_seq) = (opening.segment(), opening.first_seq);
    let index = u32::from(choices.byte() == 255);
    let link = Link::Opening(opening);
    Place { author, segment, segment_seq: first_seq, index, first_seq, link }
}

/// The entries of a change: mostly such as a node writes, and some that are any bytes at all.
fn entries(choices: &mut Choices) -> Vec<Bytes> {
    (0..choices.below(7)).map(|_| entry(choices)).collect()
}

fn entry(choices: &mut Choices) -> Bytes {
    let form = choices.byte();
    let time = Time::from_bits(choices.number()).unwrap_or(Time::MAX);
    let payload = choices.bytes(64);
    let draft = match form {
        0..200 => Draft::bytes("topic", "kind", "application/json", payload),
        200..240 => Draft::text("topic", "kind", String::from_utf8_lossy(&payload))
            .and_then(|draft| draft.for_tenant("tenant")?.with_attribute("key", "value")),
        _ => return payload.into(),
    };
    draft.expect("a draft within bounds").encode(time)
}
