//! The order in which changes are read: one that is missing between two others is damage, too.

use super::super::StoreError;
use crate::core::log::Arrival;
use crate::core::merge::Direction;
use crate::words::{Offset, Seq};

/// Where a reading begins, and in what order it goes on.
#[derive(Clone, Copy)]
pub(super) enum Order {
    /// In order of arrival, from an offset.
    Arrival(Offset, Direction),
    /// In order of seq, from one that is not below the strand's first.
    Seq(Seq, Direction),
}

impl Order {
    /// Checks that a change is the first one of the reading, or follows the one that was read
    /// before it.
    ///
    /// # Errors
    /// What should stand there is missing.
    pub(super) fn check(self, before: Option<&Arrival>, read: &Arrival) -> Result<(), StoreError> {
        use Direction::{Backward, Forward};
        let change = &read.change;
        let follows = match (self, before) {
            (Self::Arrival(from, Forward), None) => read.offset <= from,
            (Self::Arrival(_, Forward), Some(before)) => read.offset == before.end(),
            (Self::Arrival(_, Backward), Some(before)) => read.end() == before.offset,
            (Self::Seq(from, Forward), None) => change.first_seq <= from,
            (Self::Seq(_, Forward), Some(before)) => change.first_seq == before.change.next_seq(),
            (Self::Seq(_, Backward), Some(before)) => change.next_seq() == before.change.first_seq,
            (_, None) => true,
        };
        if follows {
            return Ok(());
        }
        let what = match self {
            Self::Arrival(..) => format!("a change is missing beside offset {}", read.offset),
            Self::Seq(..) => {
                format!("a change is missing beside {}:{}", change.author, change.first_seq)
            }
        };
        Err(StoreError::Damaged(what))
    }
}
