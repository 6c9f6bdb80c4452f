//! Sealing: a node packs small changes into blocks in the background, as `src/node/sealing.rs` does.

use std::collections::BTreeSet;

use towline::store::block::pack;
use towline::store::{Batch, Reader};
use towline::words::Offset;

use super::agenda::Timer;
use super::clock::MILLI;
use super::coverage::Mark;
use super::group::Command;
use super::node::{Life, Node};
use super::promise::{Outcome, Promise};
use super::stage::Stage;
use super::story::Happening;

impl Node {
    /// Looks for what is worth a block, and packs some of it; the writer gets that later.
    ///
    /// # Errors
    /// What can be read can't be packed.
    pub fn seal(&mut self, stage: &mut Stage) -> Outcome {
        let name = self.this_life();
        let (Some(life), Some(every)) = (&mut self.life, stage.scenario.seal_every) else {
            return Ok(());
        };
        let wait = stage.dice.between(MILLI, every);
        stage.due(wait, name, Timer::Seal);
        if life.packing.is_some() {
            return Ok(());
        }
        // In a run nothing gets as old as what a node packs however little it is.
        let old = if stage.dice.percent(70) { Offset(u64::MAX) } else { Offset(0) };
        let mut worth = life.store.sealable(old)?;
        if worth.is_empty() {
            return Ok(());
        }
        let arrivals = worth.swap_remove(stage.dice.below(worth.len()));
        let sealed = pack(&arrivals);
        let sealed = sealed.or_else(|error| Promise::NoPanic.broken(error.to_string()))?;
        let (host, entries) = (self.host, sealed.next_seq.0 - sealed.first_seq.0);
        stage.tell(Happening::Packs { host, changes: arrivals.len(), entries });
        life.packing = Some(sealed);
        let takes = stage.dice.between(50, 20 * MILLI);
        stage.due(takes, name, Timer::Packed);
        Ok(())
    }

    /// A block has been packed.
    pub fn packed(&mut self, stage: &mut Stage) {
        let sealed = self.life.as_mut().and_then(|life| life.packing.clone());
        if let Some(sealed) = sealed {
            self.enqueue(Command::Seal(sealed), stage);
        }
    }
}

impl Life {
    /// A batch is in the store: counts what it did to blocks.
    pub fn note_blocks(&mut self, batch: &Batch, stage: &mut Stage) {
        let Batch { packed, sealed, mended, .. } = batch;
        if !sealed.is_empty() {
            self.packing = None;
        }
        stage.coverage.add(Mark::BlocksSealed, sealed.len() as u64);
        stage.coverage.add(Mark::BlocksKept, packed.len() as u64);
        let blocks: BTreeSet<Offset> = mended
            .iter()
            .filter(|(_, changes)| changes.len() > 1)
            .map(|(lost, _)| lost.offset)
            .collect();
        stage.coverage.add(Mark::BlocksMended, blocks.len() as u64);
    }
}
