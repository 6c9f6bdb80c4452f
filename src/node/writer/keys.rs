//! Idempotency keys: a request whose key was used before appends nothing, and gets the receipts of
//! the first use.

use std::collections::HashMap;

use super::answers::{Answer, Answers, receipts};
use super::group::{Group, Slot};
use super::thread::State;
use super::{AppendError, IdempotencyKey, Receipt};
use crate::store::{Batch, KeyRecord, StoreError};
use crate::words::Draft;

impl State {
    /// Takes out the drafts of requests whose key was used before, and answers them from the store.
    pub(super) fn admit_keys(
        &mut self,
        group: &mut Group,
        answers: &mut Answers,
    ) -> Result<Vec<Draft>, StoreError> {
        let mut drafts = std::mem::take(&mut group.drafts).into_iter();
        let mut kept = Vec::with_capacity(drafts.len());
        // Keys of this very group: the request that uses one first, by its place in the group.
        let mut fresh: HashMap<String, ([u8; 32], usize)> = HashMap::new();
        for (at, (slot, count)) in group.appends.iter().enumerate() {
            let of_request = drafts.by_ref().take(*count);
            let Slot::Append(Some(key), _) = slot else {
                kept.extend(of_request);
                answers.slots.push(Answer::Fresh(*count));
                continue;
            };
            let reused = || Answer::Failed(AppendError::KeyReused(key.key.clone()));
            let answer = if let Some((digest, first)) = fresh.get(&key.key) {
                if *digest == key.digest { Answer::Same(*first) } else { reused() }
            } else if let Some(record) = self.past.key(&key.key)? {
                match record.digest == key.digest {
                    true => Answer::Known(self.old_receipts(&record)?),
                    false => reused(),
                }
            } else {
                fresh.insert(key.key.clone(), (key.digest, at));
                kept.extend(of_request);
                answers.slots.push(Answer::Fresh(*count));
                continue;
            };
            of_request.for_each(drop);
            answers.slots.push(answer);
        }
        Ok(kept)
    }

    /// The receipts that the first use of a key got.
    fn old_receipts(&mut self, record: &KeyRecord) -> Result<Vec<Receipt>, StoreError> {
        let author = self.log.node();
        let end = record.first_seq.plus(record.count);
        let mut old = Vec::new();
        let mut seq = record.first_seq;
        while seq < end {
            let found = self.past.find(author, seq)?;
            let Some(arrival) = found.first() else {
                return Err(StoreError::Damaged(format!("no entry {author}:{seq} of a key")));
            };
            let of_change = receipts(std::slice::from_ref(arrival));
            let wanted = of_change.into_iter().filter(|r| seq <= r.id.seq && r.id.seq < end);
            old.extend(wanted);
            seq = arrival.change.next_seq();
        }
        Ok(old)
    }

    /// Puts the keys that were used first in this group into its batch.
    pub(super) fn note_keys(&self, group: &Group, answers: &Answers, batch: &mut Batch) {
        let mut at = 0;
        for ((slot, _), answer) in group.appends.iter().zip(&answers.slots) {
            let Answer::Fresh(count) = answer else {
                continue;
            };
            if let (Slot::Append(Some(key), _), Some(first)) = (slot, answers.receipts.get(at)) {
                let IdempotencyKey { key, digest } = key.clone();
                let (first_seq, count) = (first.id.seq, *count as u64);
                batch.keys.push(KeyRecord { key, digest, first_seq, count });
            }
            at += count;
        }
    }
}
