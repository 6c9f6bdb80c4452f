//! Who wrote a segment: rows say it, and the segment's name vouches for it.
//!
//! A change's hash covers its segment's name but not its author, whom another row names. The name is
//! the hash of the opening statement, and that names the author and the first seq: so the rows are
//! held against it, once for each segment that is read.

use std::collections::HashMap;

use rusqlite::Connection;

use super::super::StoreError;
use crate::core::change::Change;
use crate::core::segment::Opening;
use crate::words::{NodeId, SegmentId, Seq};

/// How many segments are remembered; one more, and they are checked again.
const CHECKED: usize = 10_000;

/// What was found right, by the row of the strand.
#[derive(Default)]
pub(super) struct Openings {
    checked: HashMap<i64, (SegmentId, NodeId, Seq)>,
}

impl Openings {
    /// Checks what the rows of a strand say of a change that was read.
    ///
    /// # Errors
    /// It is not what the segment's author signed.
    pub(super) fn check(
        &mut self,
        connection: &Connection,
        strand: i64,
        change: &Change,
    ) -> Result<(), StoreError> {
        self.check_said(connection, strand, (change.segment, change.author, change.segment_seq))
    }

    /// Checks what the rows of a strand say: its name, its author and its first seq.
    ///
    /// # Errors
    /// It is not what the segment's author signed.
    pub(super) fn check_said(
        &mut self,
        connection: &Connection,
        strand: i64,
        said: (SegmentId, NodeId, Seq),
    ) -> Result<(), StoreError> {
        if self.checked.get(&strand) == Some(&said) {
            return Ok(());
        }
        let damaged =
            |what: &str| StoreError::Damaged(format!("the opening of segment {}: {what}", said.0));
        let text: String = connection
            .prepare_cached("SELECT opening FROM segments WHERE id = ?1")?
            .query_row([strand], |row| row.get(0))?;
        let opening = Opening::parse(&text).map_err(|error| damaged(&error.to_string()))?;
        if (opening.segment(), opening.author, opening.first_seq) != said {
            return Err(damaged("its author, first seq or name is another one"));
        }
        if self.checked.len() >= CHECKED {
            self.checked.clear();
        }
        self.checked.insert(strand, said);
        Ok(())
    }
}
