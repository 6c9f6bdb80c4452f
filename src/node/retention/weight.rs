//! How many bytes a topic has, counted on as entries come.

use std::collections::BTreeMap;

use crate::core::series::{Series, Standing};
use crate::node::series::{self, Most};
use crate::store::{Reader, StoreError};
use crate::words::{NodeId, Seq};

/// How much is read at once.
const PIECE: Most = Most { entries: 1_024, bytes: 1 << 20 };

/// How many bytes the entries of a topic have that are not archived, uncompressed.
#[derive(Debug, Default)]
pub struct Weight {
    /// All entries up to this ordinal are counted.
    through: u64,
    bytes: u64,
    /// What was archived then. When something else is, all is counted again.
    archived: BTreeMap<NodeId, Seq>,
}

impl Weight {
    /// The ordinal up to which entries are to be archived so that those left have not more bytes than
    /// this; they are counted out.
    ///
    /// # Errors
    /// The store can't be read.
    pub fn lighten(
        &mut self,
        reader: &mut dyn Reader,
        (series, standing): (&Series, &Standing),
        most: u64,
    ) -> Result<u64, StoreError> {
        if self.archived != standing.archived {
            *self = Self { archived: standing.archived.clone(), ..Self::default() };
        }
        while self.through < standing.entries {
            let run = series::after(reader, (series, standing), self.through, PIECE, &|_| true)?;
            self.bytes += run.entries.iter().map(|it| it.entry.body.size() as u64).sum::<u64>();
            self.through = run.through;
        }
        let mut at = 0;
        while self.bytes > most && at < standing.entries {
            let run = series::after(reader, (series, standing), at, PIECE, &|_| true)?;
            at = run.through;
            for oldest in run.entries {
                if self.bytes <= most {
                    return Ok(oldest.ordinal - 1);
                }
                self.bytes = self.bytes.saturating_sub(oldest.entry.body.size() as u64);
            }
        }
        Ok(at)
    }

    /// Says that entries up to these will be archived, and are counted out.
    pub fn expect(&mut self, through: &BTreeMap<NodeId, Seq>) {
        for (author, seq) in through {
            let held = self.archived.entry(*author).or_insert(*seq);
            *held = (*held).max(*seq);
        }
    }
}
