//! What callers are told once their commit has returned.

use super::group::{Appended, Asker, Group, Reply};
use super::{AppendError, Receipt, Recorded};
use crate::core::log::{Applied, Arrival};
use crate::words::{EntryId, Seq};

/// What became of one request's drafts.
pub(super) enum Answer {
    /// They were appended, and have their share of the group's receipts.
    Fresh,
    /// Their key was used before; those are the receipts.
    Known(Vec<Receipt>),
    /// Their key was used by this request of the same group.
    Same(usize),
    /// They were refused.
    Failed(AppendError),
}

/// What is told once the commit has returned.
#[derive(Default)]
pub(super) struct Answers {
    /// Of all drafts that were appended, in order.
    pub receipts: Vec<Receipt>,
    /// One for each request to append, in order.
    pub requests: Vec<Answer>,
    /// One for each request with changes, in order.
    pub applied: Vec<Applied>,
    /// How many pruned segments were taken of each chain, in order; none where it can't be taken.
    pub adopted: Vec<Option<usize>>,
    /// Whether there is more room that can be given back.
    pub reclaimable: bool,
}

impl Answers {
    /// Tells everybody in the group.
    pub fn send(self, group: Group) {
        let mut at = 0;
        let mut given: Vec<Vec<Receipt>> = Vec::with_capacity(self.requests.len());
        for (request, answered) in group.requests.into_iter().zip(self.requests) {
            let result = match answered {
                Answer::Fresh => {
                    at += request.drafts.len();
                    Ok(self.receipts[at - request.drafts.len()..at].to_vec())
                }
                Answer::Known(receipts) => Ok(receipts),
                Answer::Same(first) => Ok(given[first].clone()),
                Answer::Failed(error) => Err(error),
            };
            match request.from {
                Asker::Caller(key, reply) => {
                    let kept =
                        if key.is_some() { result.clone().unwrap_or_default() } else { Vec::new() };
                    given.push(kept);
                    let _drafts = request.drafts;
                    answer(reply, result.map(|receipts| Appended { receipts, _drafts }));
                }
                Asker::Recorder(_, reply) => {
                    given.push(Vec::new());
                    answer(reply, result.map(|_| Recorded::Written));
                }
            }
        }
        for ((_, _, reply), applied) in group.applies.into_iter().zip(self.applied) {
            answer(reply, Ok(applied));
        }
        for (_, reply) in group.seals {
            answer(reply, Ok(()));
        }
        for ((_, reply), taken) in group.adoptions.into_iter().zip(self.adopted) {
            answer(reply, Ok(taken));
        }
        for (_, reply) in group.removals {
            answer(reply, Ok(()));
        }
        for reply in group.reclaims {
            answer(reply, Ok(self.reclaimable));
        }
        if let Some((_, reply)) = group.close {
            answer(reply, Ok(()));
        }
    }
}

/// One receipt for each entry of the arrivals.
pub(super) fn receipts(arrivals: &[Arrival]) -> Vec<Receipt> {
    let of_arrival = |Arrival { offset, change, .. }: &Arrival| {
        let (author, hash, offset) = (change.author, change.hash, *offset);
        let first: Seq = change.first_seq;
        (0..u64::from(change.count)).map(move |at| Receipt {
            id: EntryId { author, seq: first.plus(at), segment: None },
            offset: offset.plus(at),
            hash,
        })
    };
    arrivals.iter().flat_map(of_arrival).collect()
}

/// Tells a caller, who may have gone.
pub(super) fn answer<T>(reply: Reply<T>, result: Result<T, AppendError>) {
    drop(reply.send(result));
}
