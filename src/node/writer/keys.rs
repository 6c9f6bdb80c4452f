//! Idempotency keys: a request whose key was used before appends nothing, and gets the receipts of
//! the first use.

use std::collections::HashMap;

use super::answers::{Answer, Answers, receipts};
use super::group::{Asker, Group};
use super::thread::State;
use super::{AppendError, IdempotencyKey, Receipt};
use crate::store::{Batch, KeyRecord, StoreError};

impl State {
    /// Says what becomes of each request's drafts: a request whose key was used before is answered
    /// from the store.
    pub(super) fn look_up_keys(&mut self, group: &Group) -> Result<Vec<Answer>, StoreError> {
        // Keys of this very group: the request that uses one first, by its place in the group.
        let mut fresh: HashMap<&str, ([u8; 32], usize)> = HashMap::new();
        let mut answers = Vec::with_capacity(group.requests.len());
        for (at, request) in group.requests.iter().enumerate() {
            let Asker::Caller(Some(IdempotencyKey { key, digest }), _) = &request.from else {
                answers.push(Answer::Fresh);
                continue;
            };
            let reused = || Answer::Failed(AppendError::KeyReused(key.clone()));
            answers.push(if let Some((first_digest, first)) = fresh.get(key.as_str()) {
                if first_digest == digest { Answer::Same(*first) } else { reused() }
            } else if let Some(record) = self.past.key(key)? {
                match record.digest == *digest {
                    true => match self.old_receipts(&record)? {
                        Some(receipts) => Answer::Known(receipts),
                        None => Answer::Failed(AppendError::KeyRemoved(key.clone())),
                    },
                    false => reused(),
                }
            } else {
                fresh.insert(key, (*digest, at));
                Answer::Fresh
            });
        }
        Ok(answers)
    }

    /// The receipts that the first use of a key got; none where some of its entries were removed.
    fn old_receipts(&mut self, record: &KeyRecord) -> Result<Option<Vec<Receipt>>, StoreError> {
        let author = self.log.node();
        let end = record.first_seq.plus(record.count);
        let mut old = Vec::new();
        let mut seq = record.first_seq;
        while seq < end {
            let found = self.past.find(author, seq)?;
            let Some(arrival) = found.first() else {
                let pruned = self.past.pruned(Some(author))?;
                if pruned.iter().any(|gone| gone.first_seq() <= seq && seq < gone.next_seq) {
                    return Ok(None);
                }
                return Err(StoreError::Damaged(format!("no entry {author}:{seq} of a key")));
            };
            let of_change = receipts(std::slice::from_ref(arrival));
            let wanted = of_change.into_iter().filter(|r| seq <= r.id.seq && r.id.seq < end);
            old.extend(wanted);
            seq = arrival.change.next_seq();
        }
        Ok(Some(old))
    }

    /// Puts the keys that were used first in this group into its batch.
    pub(super) fn note_keys(&self, group: &Group, answers: &Answers, batch: &mut Batch) {
        let mut at = 0;
        for (request, answer) in group.requests.iter().zip(&answers.requests) {
            let Answer::Fresh = answer else {
                continue;
            };
            let first = answers.receipts.get(at);
            if let (Asker::Caller(Some(key), _), Some(first)) = (&request.from, first) {
                let IdempotencyKey { key, digest } = key.clone();
                let (first_seq, count) = (first.id.seq, request.drafts.len() as u64);
                batch.keys.push(KeyRecord { key, digest, first_seq, count });
            }
            at += request.drafts.len();
        }
    }
}
