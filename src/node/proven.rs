//! What a proof shows, to whoever has nothing but the author's key.
//!
//! 1. The segment's id is the hash of the opening statement, which names cluster, author and the seq
//!    of the first entry.
//! 2. Each chunk says in which segment it stands, after how many entries; and names the one before it.
//! 3. The signature is the author's over the cluster and the hash of the last chunk.
//!
//! It doesn't prove that the author signed nothing else at that place: see [`super::forks`].

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::proof::Proof;
use crate::core::change::{Chunk, Link};
use crate::core::segment::Opening;
use crate::words::entry::View;
use crate::words::{ChangeHash, ClusterId, EntryId, NodeId, Seq, Signature, Time};

/// A proof as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProofJson {
    /// The entry, with its segment: `author:seq@segment`.
    pub id: String,
    /// Whose key it is checked with.
    pub author: NodeId,
    /// The entry's number among the author's entries.
    pub seq: Seq,
    /// The cluster.
    pub cluster: ClusterId,
    /// The statement that opened the segment, to the letter.
    pub opening: String,
    /// Which entry of the first change it is, from 0.
    pub at: u64,
    /// Automerge chunks in base64, from the one that holds the entry to the one that is signed.
    pub changes: Vec<String>,
    /// The author's signature over the last of them, 128 hex digits.
    pub signature: String,
}

/// What a proof shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Proven {
    /// `author:seq@segment`.
    pub id: String,
    /// Who signed it.
    pub author: NodeId,
    /// Its number among the author's entries.
    pub seq: Seq,
    /// When it was written, by the author's word.
    pub time: String,
    /// Whom it belongs to.
    pub tenant: String,
    /// The sub-log.
    pub topic: String,
    /// What sort of event it is.
    pub kind: String,
    /// The media type of the payload.
    pub content_type: String,
    /// The payload.
    #[serde(skip)]
    pub data: Bytes,
    /// The change that holds it.
    pub change: ChangeHash,
    /// The cluster.
    pub cluster: ClusterId,
}

/// Says why a proof proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// Something of it can't be read.
    #[error("its {0} can't be read")]
    Malformed(&'static str),
    /// The opening statement is not that of the segment, author, or cluster.
    #[error("the opening statement is another segment's, author's or cluster's")]
    Opening,
    /// A change doesn't stand where it should.
    #[error("change {0} of it stands elsewhere")]
    Place(usize),
    /// The entry is another than it says.
    #[error("the entry in it is another one than it says")]
    Entry,
    /// The signature is not the author's.
    #[error("the signature is not the author's over these changes")]
    Signature,
}

impl From<&Proof> for ProofJson {
    fn from(proof: &Proof) -> Self {
        Self {
            id: proof.id.to_string(),
            author: proof.id.author,
            seq: proof.id.seq,
            cluster: proof.opening.cluster,
            opening: proof.opening.text(),
            at: proof.at,
            changes: proof.changes.iter().map(|chunk| STANDARD.encode(chunk)).collect(),
            signature: hex::encode(proof.signature.0),
        }
    }
}

impl ProofJson {
    /// Reads a proof; it is checked by [`ProofJson::verify`] only.
    ///
    /// # Errors
    /// It is none.
    pub fn read(text: &[u8]) -> Result<Self, ProofError> {
        serde_json::from_slice(text).map_err(|_| ProofError::Malformed("JSON"))
    }

    /// Checks it with the author's key alone, and says what it shows.
    ///
    /// # Errors
    /// It proves nothing.
    pub fn verify(&self) -> Result<Proven, ProofError> {
        let opening =
            Opening::parse(&self.opening).map_err(|_| ProofError::Malformed("opening"))?;
        let opened = opening.segment();
        let id = EntryId { author: self.author, seq: self.seq, segment: Some(opened) };
        if (opening.cluster, opening.author) != (self.cluster, self.author)
            || id.to_string() != self.id
        {
            return Err(ProofError::Opening);
        }
        let mut before: Option<ChangeHash> = None;
        let mut proven = None;
        for (number, text) in self.changes.iter().enumerate() {
            let bytes = STANDARD.decode(text).map_err(|_| ProofError::Malformed("changes"))?;
            let bytes = Bytes::from(bytes);
            let malformed = |_| ProofError::Malformed("changes");
            let hash = Chunk::hash(&bytes).map_err(malformed)?;
            let chunk = Chunk::open(&bytes, hash).map_err(malformed)?;
            let (segment, _, entries) = chunk.place().ok_or(ProofError::Place(number))?;
            let follows = match before {
                None => true,
                Some(before) => chunk.link() == Ok(Link::Previous(before)),
            };
            if segment != opened || !follows {
                return Err(ProofError::Place(number));
            }
            if number == 0 {
                proven = Some(self.entry(&opening, &chunk, entries, hash)?);
            }
            before = Some(hash);
        }
        let (Some(last), Some(proven)) = (before, proven) else {
            return Err(ProofError::Malformed("changes"));
        };
        let mut signature = [0; 64];
        hex::decode_to_slice(&self.signature, &mut signature)
            .map_err(|_| ProofError::Malformed("signature"))?;
        let is_signed =
            self.author.is_sound() && self.author.verify(self.cluster, last, &Signature(signature));
        if is_signed { Ok(proven) } else { Err(ProofError::Signature) }
    }

    /// The entry, in the change that holds it, after so many entries of its segment.
    fn entry(
        &self,
        opening: &Opening,
        chunk: &Chunk<'_>,
        before: u64,
        change: ChangeHash,
    ) -> Result<Proven, ProofError> {
        let place = opening.first_seq.0.checked_add(before).and_then(|at| at.checked_add(self.at));
        let index = usize::try_from(self.at).map_err(|_| ProofError::Entry)?;
        let bytes = chunk.entries().nth(index).ok_or(ProofError::Entry)?;
        if place != Some(self.seq.0) {
            return Err(ProofError::Entry);
        }
        let view = View::check(bytes).map_err(|_| ProofError::Malformed("entry"))?;
        let time: Time = view.time;
        Ok(Proven {
            id: self.id.clone(),
            author: self.author,
            seq: self.seq,
            time: time.to_string(),
            tenant: view.tenant.to_owned(),
            topic: view.topic.to_owned(),
            kind: view.kind.to_owned(),
            content_type: view.content_type.to_owned(),
            data: Bytes::copy_from_slice(view.data),
            change,
            cluster: self.cluster,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::{Config, Node};
    use crate::words::Draft;

    async fn proofs() -> Vec<ProofJson> {
        let directory = tempfile::tempdir().unwrap();
        let node = Node::open(Config::new(directory.path())).await.unwrap();
        let draft = |text| Draft::text("t", "k", text).unwrap();
        let drafts = vec![draft("one"), draft("two")];
        node.append_all(drafts).await.unwrap();
        let (author, mut found) = (node.id(), Vec::new());
        for sealed in [false, true] {
            if sealed {
                node.append(draft("three")).await.unwrap();
                node.append(draft("four")).await.unwrap();
                node.seal().await.unwrap();
            }
            for seq in [0, 1] {
                let id = EntryId { author, seq: Seq(seq), segment: None };
                found.extend(node.proofs(id).await.unwrap().iter().map(ProofJson::from));
            }
        }
        node.shutdown().await.unwrap();
        found
    }

    #[tokio::test]
    async fn a_proof_shows_the_entry_to_whoever_has_nothing_else() {
        let proofs = proofs().await;
        let shown = proofs.iter().map(|proof| {
            let read = ProofJson::read(&serde_json::to_vec(proof).unwrap()).unwrap();
            read.verify().unwrap().data
        });
        assert_eq!(shown.collect::<Vec<_>>(), ["one", "two", "one", "two"]);
        // What a block vouches for as a whole is proved by all that lies up to its end.
        assert_eq!((proofs[0].changes.len(), proofs[2].changes.len()), (1, 3));
    }

    #[tokio::test]
    async fn a_proof_that_was_altered_anywhere_proves_nothing() {
        let proof = proofs().await.remove(2);
        let text = serde_json::to_string(&proof).unwrap();
        // Each letter and digit of it counts.
        for at in (0..text.len()).filter(|at| text.as_bytes()[*at].is_ascii_alphanumeric()) {
            let mut altered = text.clone().into_bytes();
            altered[at] = if altered[at] == b'1' { b'2' } else { b'1' };
            let read = ProofJson::read(&altered).and_then(|proof| proof.verify());
            assert!(read.is_err(), "{at}: {}", String::from_utf8_lossy(&altered));
        }
    }
}
