//! Offers: what peers say of segments that they have pruned, until it is known whether anybody has more.
//!
//! A node that comes late takes entries from whoever holds them, and what stays of pruned segments only
//! when nobody brings anything more of their author for a while.

use std::collections::BTreeMap;

use super::frontier::{Frontier, Head};
use super::pruned::Pruned;
use crate::words::limits::PRUNED_CHAIN;
use crate::words::{NodeId, Seq};

/// How many pruned segments are remembered of what one peer says.
const REMEMBERED: usize = 2 * PRUNED_CHAIN; // full: the peer is not listened to, until some were taken

/// What one peer says of an author's segments.
#[derive(Debug)]
struct Offer {
    chain: Vec<Pruned>,
    /// How far the author was held here, and since when.
    held: Seq,
    since: u64,
}

/// What one peer has said.
#[derive(Debug, Default)]
pub struct Offers {
    by_author: BTreeMap<NodeId, Offer>,
}

impl Offers {
    /// A peer says what stays of an author's segments, each of which follows the one before. `now` is
    /// in milliseconds of any clock that doesn't step. What it said before and says again is waited for no
    /// longer than from the first time.
    pub fn hear(&mut self, chain: Vec<Pruned>, now: u64) {
        let Some(author) = chain.first().map(Pruned::author) else { return };
        if self.by_author.get(&author).is_some_and(|offer| offer.chain == chain) {
            return;
        }
        self.by_author.remove(&author);
        let remembered: usize = self.by_author.values().map(|offer| offer.chain.len()).sum();
        if remembered + chain.len() <= REMEMBERED {
            self.by_author.insert(author, Offer { chain, held: Seq(0), since: now });
        }
    }

    /// Whether nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.by_author.is_empty()
    }

    /// Where the chains end, by author.
    pub fn ends(&self) -> Vec<(NodeId, Head)> {
        let last = |(author, offer): (&NodeId, &Offer)| Some((*author, offer.chain.last()?.head()));
        self.by_author.iter().filter_map(last).collect()
    }

    /// What was said of an author is settled.
    pub fn forget(&mut self, author: &NodeId) {
        self.by_author.remove(author);
    }

    /// The chains of whose author nobody has brought anything for so long. They are remembered as if they
    /// had just been heard.
    pub fn due(&mut self, now: u64, patience: u64, own: &Frontier) -> Vec<Vec<Pruned>> {
        let mut due = Vec::new();
        for (author, offer) in &mut self.by_author {
            let held = own.next_seq(author);
            if held != offer.held {
                (offer.held, offer.since) = (held, now);
            } else if now.saturating_sub(offer.since) >= patience {
                offer.since = now;
                due.push(offer.chain.clone());
            }
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::segment::Opening;
    use crate::words::{ChangeHash, ClusterId, SegmentId, Signature, Time};

    const ALICE: NodeId = NodeId([1; 32]);

    fn chain() -> Vec<Pruned> {
        let (cluster, nonce) = (ClusterId([9; 32]), [1; 16]);
        let opening =
            Opening { cluster, author: ALICE, first_seq: Seq(0), parents: Vec::new(), nonce };
        let (hash, signature) = (ChangeHash([2; 32]), Signature([3; 64]));
        let last_time = Time::default();
        vec![Pruned { opening, changes: 1, next_seq: Seq(9), bytes: 1, last_time, hash, signature }]
    }

    fn held(next: u64) -> Frontier {
        let mut own = Frontier::default();
        let head = Head {
            next_seq: Seq(next),
            hash: ChangeHash([next as u8; 32]),
            segment: SegmentId([0; 16]),
        };
        own.insert(ALICE, head);
        own
    }

    #[test]
    fn what_nobody_brings_is_due_after_a_while() {
        let mut offers = Offers::default();
        offers.hear(chain(), 100);
        assert_eq!(offers.due(1_099, 1_000, &Frontier::default()), Vec::<Vec<Pruned>>::new());
        assert_eq!(offers.due(1_100, 1_000, &Frontier::default()), [chain()]);
        assert!(offers.due(1_101, 1_000, &Frontier::default()).is_empty(), "it was just told");
    }

    #[test]
    fn an_author_who_is_brought_by_somebody_is_waited_for() {
        let mut offers = Offers::default();
        offers.hear(chain(), 0);
        assert!(offers.due(900, 1_000, &held(3)).is_empty());
        assert!(offers.due(1_800, 1_000, &held(5)).is_empty(), "there is more of it than before");
        assert_eq!(offers.due(2_800, 1_000, &held(5)), [chain()]);
    }

    #[test]
    fn what_is_said_again_is_waited_for_from_the_first_time() {
        let mut offers = Offers::default();
        offers.hear(chain(), 0);
        offers.hear(chain(), 900);
        assert_eq!(offers.due(1_000, 1_000, &Frontier::default()), [chain()]);
    }

    #[test]
    fn what_is_settled_is_forgotten() {
        let mut offers = Offers::default();
        offers.hear(chain(), 0);
        offers.forget(&ALICE);
        assert!(offers.is_empty());
    }
}
