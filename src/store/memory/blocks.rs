//! Blocks of the store in memory: records in the place of the changes that they hold.
//!
//! A record is opened whenever it is written or damaged, and its changes are what it opened as: so
//! nothing is read that the record doesn't say.

use bytes::Bytes;

use super::super::block::worth::{Enough, block_length};
use super::super::block::{BlockOpener, Sealer, Stand, link};
use super::super::damage::{Damages, Lost};
use super::super::{Sealed, StoreError, whole};
use super::Contents;
use crate::core::change::{Change, Place, SignedBlock};
use crate::core::log::Arrival;
use crate::core::segment::Strand;
use crate::words::{ChangeHash, Offset, Seq, Signature};

/// A block that is held.
#[derive(Clone, Debug)]
pub(super) struct HeldBlock {
    /// What is lost when it can't be opened.
    place: Lost,
    segment_seq: Seq,
    index: u32,
    opening: String,
    hash: ChangeHash,
    signature: Option<Signature>,
    record: Bytes,
    is_whole: bool,
}

impl HeldBlock {
    fn stand(&self) -> Stand<'_> {
        Stand {
            author: self.place.author,
            segment: self.place.strand.segment,
            segment_seq: self.segment_seq,
            index: self.index,
            first_seq: self.place.first_seq,
            opening: &self.opening,
            next_seq: self.place.next_seq,
            last: self.hash,
        }
    }

    /// The block as it travels.
    fn travelling(&self) -> Option<SignedBlock> {
        let Lost { author, strand, first_seq, next_seq, .. } = self.place;
        let place = Place {
            author,
            segment: strand.segment,
            segment_seq: self.segment_seq,
            index: self.index,
            first_seq,
            link: link(&self.record, &self.opening)?,
        };
        let (signature, record) = (self.signature?, self.record.clone());
        Some(SignedBlock { place, next_seq, signature, record })
    }
}

fn failed(error: impl std::fmt::Display) -> StoreError {
    StoreError::Failed(error.to_string())
}

impl Contents {
    /// Writes changes that have just arrived as a block; without a record they are packed here.
    pub(super) fn pack(
        &mut self,
        arrivals: &[Arrival],
        record: Option<Bytes>,
    ) -> Result<(), StoreError> {
        let (Some(first), Some(last)) = (arrivals.first(), arrivals.last()) else {
            return Ok(());
        };
        let record = match record {
            Some(record) => record,
            None => seal(arrivals.iter().map(|arrival| arrival.change.clone()).collect())?,
        };
        let opening = first.change.link().map_err(failed)?.message();
        let place = Lost { next_seq: last.change.next_seq(), ..Lost::of(first) };
        let block = HeldBlock {
            place,
            segment_seq: first.change.segment_seq,
            index: first.change.index,
            opening,
            hash: last.change.hash,
            signature: last.change.signature,
            record,
            is_whole: false,
        };
        self.keep(block)
    }

    /// Puts a block in the place of the changes that it was packed of, if they are there as they were.
    pub(super) fn replace(&mut self, sealed: &Sealed) -> Result<(), StoreError> {
        let Sealed { strand, first_seq, next_seq, hash, .. } = *sealed;
        let arrivals = self.between(strand, first_seq, next_seq);
        let tiles = arrivals.first().is_some_and(|first| first.change.first_seq == first_seq)
            && arrivals
                .last()
                .is_some_and(|last| (last.change.next_seq(), last.change.hash) == (next_seq, hash));
        let in_rows = arrivals.iter().all(|arrival| self.block_of(arrival).is_none());
        if !tiles || !in_rows {
            return Ok(());
        }
        self.pack(&arrivals, Some(sealed.record.clone().into()))
    }

    /// Packs what came in the place of a damaged block. Whether there is one.
    pub(super) fn mend_block(
        &mut self,
        lost: &Lost,
        changes: &[Change],
    ) -> Result<bool, StoreError> {
        let Some(block) = self.block_at(lost.strand, lost.first_seq).cloned() else {
            return Ok(false);
        };
        // Otherwise a change in a row was damaged here, and a block has taken its place.
        if (block.place.first_seq, block.place.next_seq) == (lost.first_seq, lost.next_seq) {
            let came = changes.last().and_then(|change| change.signature);
            let (record, signature) = (seal(changes.to_vec())?, came.or(block.signature));
            self.keep(HeldBlock { record, signature, ..block })?;
        }
        Ok(true)
    }

    /// Flips a bit of the block that holds a change. Whether one does.
    pub(super) fn damage_block(&mut self, strand: Strand, seq: Seq) -> Result<bool, StoreError> {
        let Some(block) = self.block_at(strand, seq).cloned() else {
            return Ok(false);
        };
        if block.is_whole {
            let mut record = block.record.to_vec();
            let middle = record.len() / 2;
            record[middle] ^= 1;
            self.keep(HeldBlock { record: record.into(), ..block })?;
        }
        Ok(true)
    }

    /// Keeps a block, and what it opens as.
    fn keep(&mut self, mut block: HeldBlock) -> Result<(), StoreError> {
        let Lost { strand, first_seq, next_seq, .. } = block.place;
        let offsets: Vec<Offset> = self
            .between(strand, first_seq, next_seq)
            .iter()
            .map(|arrival| arrival.offset)
            .collect();
        let mut opener = BlockOpener::new().map_err(failed)?;
        let opened = opener.open(&block.record, &block.stand()).ok();
        let opened = opened.filter(|changes| changes.len() == offsets.len());
        block.is_whole = opened.is_some();
        for (offset, change) in offsets.iter().zip(opened.into_iter().flatten()) {
            if let Some(arrival) = self.arrivals.get_mut(offset) {
                arrival.change = change;
            }
        }
        if let Some(last) = offsets.last().and_then(|last| self.arrivals.get_mut(last)) {
            last.change.signature = block.signature;
        }
        self.blocks.insert((strand, first_seq), block);
        Ok(())
    }

    /// The changes of a strand that begin between two seqs.
    fn between(&self, strand: Strand, first_seq: Seq, next_seq: Seq) -> Vec<Arrival> {
        let held = self.strands.get(&strand).into_iter();
        let offsets = held.flat_map(|held| held.changes.range(first_seq..next_seq));
        offsets.filter_map(|(_, offset)| self.arrivals.get(offset).cloned()).collect()
    }

    /// The block of a strand that holds a seq.
    fn block_at(&self, strand: Strand, seq: Seq) -> Option<&HeldBlock> {
        let (_, block) = self.blocks.range((strand, Seq(0))..=(strand, seq)).next_back()?;
        (seq < block.place.next_seq).then_some(block)
    }

    /// The block that holds a change.
    pub(super) fn block_of(&self, arrival: &Arrival) -> Option<&HeldBlock> {
        self.block_at(arrival.strand(), arrival.change.first_seq)
    }

    /// Checks a change that is read, and notes what is damaged.
    ///
    /// # Errors
    /// It, or the block that holds it, is not what was written.
    pub(super) fn check(&self, arrival: &Arrival, damages: &Damages) -> Result<(), StoreError> {
        match self.block_of(arrival) {
            Some(block) if !block.is_whole => {
                damages.note(block.place);
                Err(StoreError::Lost(block.place))
            }
            _ => whole(arrival, damages),
        }
    }

    /// What is lost when a change is, and the changes that are lost with it.
    pub(super) fn kept_with(&self, arrival: &Arrival) -> (Lost, Vec<ChangeHash>) {
        let Some(block) = self.block_of(arrival) else {
            return (Lost::of(arrival), vec![arrival.change.hash]);
        };
        let Lost { strand, first_seq, next_seq, .. } = block.place;
        let together = self.between(strand, first_seq, next_seq);
        (block.place, together.iter().map(|arrival| arrival.change.hash).collect())
    }

    /// The block that begins at a seq, as it travels; none where it is damaged.
    pub(super) fn travelling(&self, strand: Strand, from: Seq) -> Option<SignedBlock> {
        self.blocks.get(&(strand, from)).filter(|block| block.is_whole)?.travelling()
    }

    /// What stands in rows and is worth a block; what arrived below `old` is, however little it is.
    pub(super) fn worth_sealing(&self, old: Offset, damages: &Damages) -> Vec<Vec<Arrival>> {
        let mut blocks = Vec::new();
        for (strand, held) in &self.strands {
            let all = self.between(*strand, Seq(0), held.tip.head.next_seq);
            let newest = all.last().map_or(Offset(0), |arrival| arrival.offset);
            let done = !held.is_tip || newest < old;
            let enough = if done { Enough::ANY } else { Enough::LATER };
            let in_row = |arrival: &Arrival| {
                self.block_of(arrival).is_none() && self.check(arrival, damages).is_ok()
            };
            for mut rows in all.split(|arrival| !in_row(arrival)) {
                while let Some(length) = block_length(rows, enough) {
                    let (block, rest) = rows.split_at(length);
                    blocks.push(block.to_vec());
                    rows = rest;
                }
            }
        }
        blocks
    }
}

fn seal(changes: Vec<Change>) -> Result<Bytes, StoreError> {
    let sealed = Sealer::new().map_err(failed)?.seal(&changes);
    Ok(sealed.map_err(|damaged| StoreError::Damaged(damaged.to_string()))?.into())
}
