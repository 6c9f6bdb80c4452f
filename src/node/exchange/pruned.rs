//! What a peer says of segments that it has removed: kept while others may bring their entries, and taken
//! over when nobody does.

use super::{Ended, Exchange, blocking};
use crate::core::pruned::Pruned;
use crate::core::segment::Parent;
use crate::node::writer::AppendError;
use crate::store::StoreError;

impl Exchange {
    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// The peer has removed segments that are not here: others may have them.
    pub(super) async fn hear_pruned(&mut self, chain: Vec<Pruned>) -> Result<(), Ended> {
        let cluster = self.context.cluster;
        let checked = blocking(move || {
            chain.iter().try_for_each(|pruned| pruned.check(cluster))?;
            Ok(chain)
        });
        let chain = checked.await?;
        if let (Some(first), Some(last)) = (chain.first(), chain.last()) {
            let (author, end) = (first.author().short(), last.next_seq);
            let (peer, from) = (self.peer.short(), first.first_seq());
            tracing::info!(%peer, %author, %from, %end, "the peer has pruned entries that are not here");
        }
        self.offers.hear(chain, self.now());
        Ok(())
    }

    /// Takes what stays of pruned segments, where nobody brings more of them.
    pub(super) async fn adopt(&mut self) -> Result<(), Ended> {
        if self.offers.is_empty() || self.context.writer.full().is_some() {
            return Ok(());
        }
        let ends = self.offers.ends();
        let looked = self.context.reading.run(move |reader| {
            let mut held = Vec::new();
            for (author, end) in ends {
                let parent = Parent { next_seq: end.next_seq, hash: end.hash };
                if reader.standing(author, &parent)?.is_some() {
                    held.push((author, end));
                }
            }
            Ok::<_, StoreError>((reader.frontier()?, held))
        });
        let (own, held) = looked.await?;
        for (author, end) in held {
            self.offers.forget(&author);
            self.session.handle_adopted((author, end), false);
        }
        let patience = u64::try_from(self.context.patience.as_millis()).unwrap_or(u64::MAX);
        for chain in self.offers.due(self.now(), patience, &own) {
            let Some((author, end)) = chain.last().map(|last| (last.author(), last.head())) else {
                continue;
            };
            match self.context.writer.adopt(chain).await {
                Ok(None) | Err(AppendError::DiskFull(_)) => {}
                Ok(Some(taken)) => {
                    if taken > 0 {
                        let (author, below) = (author.short(), end.next_seq);
                        tracing::warn!(%author, %below, "no peer holds these entries any more");
                    }
                    self.offers.forget(&author);
                    self.session.handle_adopted((author, end), taken > 0);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}
