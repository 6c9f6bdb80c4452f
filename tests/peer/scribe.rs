//! An author that writes its changes by hand, and may so write what no log would.

use bytes::Bytes;
use towline::core::change::{Change, Link, Place, SignedRun, encode};
use towline::core::frame::Frame;
use towline::core::segment::{Opening, Parent};
use towline::words::{ChangeHash, ClusterId, Draft, Identity, Seq, Signature, Time};

use crate::support::note;

/// An author with one segment, which it goes on writing.
#[derive(Clone)]
pub struct Scribe {
    pub identity: Identity,
    pub cluster: ClusterId,
    /// Where its next change goes.
    pub place: Place,
    /// The time of its next entry.
    pub time: Time,
}

impl Scribe {
    /// An author that has written nothing; `nonce` tells its segments apart.
    pub fn new(identity: Identity, cluster: ClusterId, nonce: u64) -> Self {
        Self::after(identity, cluster, nonce, &[])
    }

    /// An author whose segment goes on from these parents.
    pub fn after(identity: Identity, cluster: ClusterId, nonce: u64, parents: &[Parent]) -> Self {
        let author = identity.node_id();
        let first_seq = parents.last().map_or(Seq(0), |parent| parent.next_seq);
        let nonce = (u128::from(nonce) + 1).to_be_bytes();
        let parents = parents.to_vec();
        let opening = Opening { cluster, author, first_seq, parents, nonce };
        let segment = opening.segment();
        let link = Link::Opening(opening);
        let place = Place { author, segment, segment_seq: first_seq, index: 0, first_seq, link };
        Self { identity, cluster, place, time: Time::from_millis(1_700_000_000_000) }
    }

    /// The next change with these texts as entries, and the entries.
    pub fn write(&mut self, texts: &[&str]) -> (Change, Vec<Bytes>) {
        let drafts: Vec<Draft> = texts.iter().map(|text| note("t", text)).collect();
        self.write_drafts(&drafts)
    }

    pub fn write_drafts(&mut self, drafts: &[Draft]) -> (Change, Vec<Bytes>) {
        let entries: Vec<Bytes> = drafts.iter().map(|draft| self.entry(draft)).collect();
        let change = encode(&self.place, &entries).unwrap();
        self.place.index += 1;
        self.place.first_seq = change.next_seq();
        self.place.link = Link::Previous(change.hash);
        (change, entries)
    }

    fn entry(&mut self, draft: &Draft) -> Bytes {
        let entry = draft.encode(self.time);
        self.time = self.time.next().unwrap();
        entry
    }

    /// The next change as a run of its own, signed.
    pub fn run(&mut self, texts: &[&str]) -> SignedRun {
        let place = self.place.clone();
        let (change, entries) = self.write(texts);
        self.signed(place, change.hash, vec![entries])
    }

    pub fn signed(&self, place: Place, last: ChangeHash, changes: Vec<Vec<Bytes>>) -> SignedRun {
        SignedRun { place, changes, signature: self.sign(last) }
    }

    pub fn sign(&self, hash: ChangeHash) -> Signature {
        self.identity.sign(self.cluster, hash)
    }
}

/// A run as a frame.
pub fn frame(run: SignedRun) -> Frame {
    Frame::Run(Box::new(run))
}
