//! Export: the log as one Automerge document that any Automerge program opens.

use crate::core::document::{Document, DocumentError};
use crate::core::merge::Direction;
use crate::store::{Reader, StoreError};
use crate::words::{NodeId, Offset};

/// How many bytes of changes are read at once.
const READ_BYTES: usize = 4 << 20;

/// Says why a log was not exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The store can't be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Its changes don't make a document.
    #[error(transparent)]
    Document(#[from] DocumentError),
}

/// The log as the bytes of one document; of one author only, when one is named.
///
/// A document holds whole changes, so nothing smaller than an author can be left out. It is built in
/// memory.
///
/// # Errors
/// See [`ExportError`].
pub fn document(reader: &mut dyn Reader, author: Option<NodeId>) -> Result<Vec<u8>, ExportError> {
    let mut document = Document::new()?;
    let mut at = Offset(0);
    loop {
        let arrivals = reader.arrivals(at, Direction::Forward, READ_BYTES)?;
        let Some(last) = arrivals.last() else {
            return Ok(document.save()?);
        };
        at = last.offset.plus(u64::from(last.change.count));
        for arrival in &arrivals {
            if author.is_none_or(|author| author == arrival.change.author) {
                document.add(&arrival.change)?;
            }
        }
    }
}
