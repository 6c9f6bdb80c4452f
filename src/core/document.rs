//! The log as an Automerge document that any Automerge program opens.
//!
//! Documents are built for export and sealing; appends and queries never hold one.

use std::collections::HashMap;

use automerge::{Automerge, ReadDoc, ScalarValueRef, Value, ValueRef};
use bytes::Bytes;

use super::change::{Change, LIST, genesis};
use crate::words::ChangeHash;

/// How many changes are given to Automerge at once: its cost per call grows with the list.
const APPLIED_AT_ONCE: usize = 4_096;

/// Says why changes don't make a document.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// A change's bytes are not what its hash says.
    #[error("the change {hash} is damaged: {reason}")]
    Damaged {
        /// The change.
        hash: crate::words::ChangeHash,
        /// What is wrong.
        reason: String,
    },
    /// Automerge refuses the changes.
    #[error("automerge refuses the changes: {0}")]
    Automerge(#[from] automerge::AutomergeError),
    /// The document is not one that towline wrote.
    #[error("not a document of towline: {0}")]
    Shape(&'static str),
}

/// Collects changes into one Automerge document with one list.
pub struct Document {
    document: Automerge,
    waiting: Vec<automerge::Change>,
}

impl Document {
    /// A document that holds the empty list.
    ///
    /// # Errors
    /// None in practice: genesis is constant.
    pub fn new() -> Result<Self, DocumentError> {
        let mut document = Automerge::new();
        document.apply_changes([genesis().clone()])?;
        Ok(Self { document, waiting: Vec::new() })
    }

    /// Adds a change of our own store. Its hash is checked before Automerge sees the bytes.
    ///
    /// # Errors
    /// A damaged change; the document is as it was.
    pub fn add(&mut self, change: &Change) -> Result<(), DocumentError> {
        let damaged = |reason: String| DocumentError::Damaged { hash: change.hash, reason };
        change.open().map_err(|e| damaged(e.to_string()))?;
        let read = automerge::Change::from_bytes(change.bytes.to_vec());
        self.waiting.push(read.map_err(|e| damaged(e.to_string()))?);
        if self.waiting.len() >= APPLIED_AT_ONCE {
            self.apply()?;
        }
        Ok(())
    }

    fn apply(&mut self) -> Result<(), DocumentError> {
        Ok(self.document.apply_changes(std::mem::take(&mut self.waiting))?)
    }

    /// The document's bytes.
    ///
    /// # Errors
    /// Automerge refuses the changes.
    pub fn save(mut self) -> Result<Vec<u8>, DocumentError> {
        self.apply()?;
        Ok(self.document.save())
    }
}

/// The changes of a document of one segment, from the first to the last, which has this hash.
///
/// # Errors
/// Bytes that are no document, one that holds any other change, or one that doesn't lead there.
pub fn chain(saved: &[u8], last: ChangeHash) -> Result<Vec<(ChangeHash, Bytes)>, DocumentError> {
    let document = Automerge::load(saved)?;
    let mut by_hash: HashMap<[u8; 32], automerge::Change> =
        document.get_changes(&[]).into_iter().map(|change| (change.hash().0, change)).collect();
    let start = genesis().hash().0;
    by_hash.remove(&start);
    let mut chain = Vec::with_capacity(by_hash.len());
    let mut at = last.0;
    while at != start {
        let change = by_hash.remove(&at);
        let change = change.ok_or(DocumentError::Shape("it doesn't end where it should"))?;
        let [before] = change.deps() else {
            return Err(DocumentError::Shape("a change doesn't follow exactly one other"));
        };
        chain.push((ChangeHash(at), Bytes::copy_from_slice(change.raw_bytes())));
        at = before.0;
    }
    if !by_hash.is_empty() {
        return Err(DocumentError::Shape("it holds changes beside the segment's"));
    }
    chain.reverse();
    Ok(chain)
}

/// What a document says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    /// The encoded entries, in the order of the list.
    pub entries: Vec<Vec<u8>>,
    /// The hashes of the newest changes, in order.
    pub heads: Vec<[u8; 32]>,
}

/// Reads a document that [`Document::save`] wrote.
///
/// # Errors
/// Bytes that are no such document. Only for documents of our own: Automerge parses them.
pub fn contents(saved: &[u8]) -> Result<Contents, DocumentError> {
    let document = Automerge::load(saved)?;
    let list = document.get(automerge::ROOT, LIST)?;
    let Some((Value::Object(_), list)) = list else {
        return Err(DocumentError::Shape("it has no list of entries"));
    };
    let mut entries = Vec::with_capacity(document.length(&list));
    for item in document.list_range(&list, ..) {
        match item.value {
            ValueRef::Scalar(ScalarValueRef::Bytes(bytes)) => entries.push(bytes.to_vec()),
            _ => return Err(DocumentError::Shape("an entry is no byte string")),
        }
    }
    let mut heads: Vec<[u8; 32]> = document.get_heads().iter().map(|hash| hash.0).collect();
    heads.sort();
    Ok(Contents { entries, heads })
}
