//! Series: the entries of a topic, or of a whole tenant, numbered in the order of their arrival.
//!
//! A *thread* is the series of a topic, a *feed* that of a tenant. The first entry of a series has
//! the ordinal 1, the next one 2, and so on without a hole. Like offsets, ordinals belong to a
//! node: they follow its order of arrival, are the same after a restart, and differ from those of
//! another node where two nodes wrote one thread at the same time.

use std::collections::BTreeMap;

use super::archive::Cut;
use super::change::{Change, Damaged};
use crate::words::entry::View;
use crate::words::{Entry, NodeId, Offset, Seq, Tenant, Topic};

/// The entries of a topic of a tenant; without a topic, all of the tenant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Series {
    /// Whose entries.
    pub tenant: Tenant,
    /// Of this topic; none means all topics.
    pub topic: Option<Topic>,
}

impl Series {
    /// The entries of a topic.
    pub fn thread(tenant: Tenant, topic: Topic) -> Self {
        Self { tenant, topic: Some(topic) }
    }

    /// All entries of a tenant.
    pub fn feed(tenant: Tenant) -> Self {
        Self { tenant, topic: None }
    }

    /// Whether an entry belongs to it.
    pub fn has(&self, entry: &Entry) -> bool {
        self.tenant == entry.body.tenant
            && self.topic.as_ref().is_none_or(|topic| *topic == entry.body.topic)
    }

    /// Whether an entry that is looked at belongs to it.
    pub fn holds(&self, view: &View<'_>) -> bool {
        self.is_of(view.tenant, view.topic)
    }

    /// Whether entries of a tenant and topic belong to it.
    pub fn is_of(&self, tenant: &str, topic: &str) -> bool {
        self.tenant.as_str() == tenant
            && self.topic.as_ref().is_none_or(|wanted| wanted.as_str() == topic)
    }
}

/// What a node holds of a series.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// How many entries have arrived: the ordinal of the newest.
    pub entries: u64,
    /// Of whom the entries up to which seq are archived.
    pub archived: BTreeMap<NodeId, Seq>,
    /// All entries up to this ordinal are known to be archived; there may be more.
    pub hidden: u64,
}

impl Standing {
    /// Whether an entry is archived.
    pub fn is_archived(&self, author: NodeId, seq: Seq) -> bool {
        self.archived.get(&author).is_some_and(|through| seq <= *through)
    }

    /// Whether all entries of a stretch of the log are archived.
    pub fn is_all_archived(&self, stretch: &Stretch) -> bool {
        stretch
            .next_seq
            .0
            .checked_sub(1)
            .is_some_and(|last| self.is_archived(stretch.author, Seq(last)))
    }

    /// Whether some entries of a stretch of the log may be archived.
    pub fn is_any_archived(&self, stretch: &Stretch) -> bool {
        self.is_archived(stretch.author, stretch.first_seq)
    }
}

/// A change as a part of a series: which ordinals it holds, and where it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// How many entries of the series arrived before it.
    pub before: u64,
    /// How many it holds.
    pub count: u32,
    /// The offset of the change.
    pub offset: Offset,
    /// Who wrote the change.
    pub author: NodeId,
    /// The seq of the change's first entry, whatever series that belongs to.
    pub first_seq: Seq,
    /// The seq after the change's last entry.
    pub next_seq: Seq,
}

impl Stretch {
    /// The ordinal of its last entry.
    pub fn end(&self) -> u64 {
        self.before + u64::from(self.count)
    }
}

/// What a change adds to series.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shares {
    /// How many entries it adds to which series; each of its entries is counted for its topic and
    /// for its tenant.
    pub counts: Vec<(Series, u32)>,
    /// The entries that it says are archived.
    pub cuts: Vec<Cut>,
}

impl Shares {
    /// Reads what a change adds. It depends on nothing but the change, so it is the same on every
    /// node.
    ///
    /// # Errors
    /// The change is damaged.
    pub fn of(change: &Change) -> Result<Self, Damaged> {
        let chunk = change.chunk()?;
        let mut counts: BTreeMap<(&str, Option<&str>), u32> = BTreeMap::new();
        let mut cuts = Vec::new();
        let mut topics = Vec::with_capacity(chunk.count());
        for entry in chunk.entries() {
            let view = View::read(entry).map_err(|_| Damaged::Shape)?;
            topics.push((view.tenant, view.topic));
            cuts.extend(Cut::read(&view));
        }
        // Mostly many of one topic follow each other, and are looked up once.
        for alike in topics.chunk_by(PartialEq::eq) {
            let (tenant, topic) = alike[0];
            for series in [(tenant, Some(topic)), (tenant, None)] {
                *counts.entry(series).or_default() += alike.len() as u32;
            }
        }
        let named = |((tenant, topic), count): ((&str, Option<&str>), u32)| {
            let tenant = Tenant::parse(tenant).map_err(|_| Damaged::Shape)?;
            let topic = topic.map(Topic::parse).transpose().map_err(|_| Damaged::Shape)?;
            Ok((Series { tenant, topic }, count))
        };
        let counts = counts.into_iter().map(named).collect::<Result<_, Damaged>>()?;
        Ok(Self { counts, cuts })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::log::Log;
    use crate::words::{ClusterId, Draft, Identity};

    fn change(drafts: &[Draft]) -> Change {
        let identity = Identity::from_secret(&[1; 32]);
        let mut log = Log::new(identity, ClusterId([9; 32]), [1; 16], [], Offset(0), 0);
        log.append(drafts, 1_000).unwrap().remove(0).change
    }

    #[test]
    fn an_entry_counts_for_its_topic_and_for_its_tenant() {
        let note = |tenant: &str, topic: &str| {
            Draft::text(topic, "note", "x").unwrap().for_tenant(tenant).unwrap()
        };
        let shares =
            Shares::of(&change(&[note("a", "t"), note("b", "t"), note("a", "u"), note("a", "t")]));
        let counts: Vec<(String, Option<String>, u32)> = shares
            .unwrap()
            .counts
            .into_iter()
            .map(|(s, n)| (s.tenant.to_string(), s.topic.map(|t| t.to_string()), n))
            .collect();
        let named = |tenant: &str, topic: Option<&str>, count| {
            (tenant.to_owned(), topic.map(str::to_owned), count)
        };
        let expected = [
            named("a", None, 3),
            named("a", Some("t"), 2),
            named("a", Some("u"), 1),
            named("b", None, 1),
            named("b", Some("t"), 1),
        ];
        assert_eq!(counts, expected);
    }

    #[test]
    fn a_cut_is_read_where_it_is_stated() {
        let through = BTreeMap::from([(NodeId([3; 32]), Seq(7))]);
        let cut = Cut::new(Tenant::parse("a").unwrap(), Topic::parse("t").unwrap(), through);
        let shares = Shares::of(&change(&[cut.draft().unwrap()])).unwrap();
        assert_eq!(shares.cuts, [cut]);
    }
}
