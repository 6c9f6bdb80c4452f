//! Filters: which entries a reader wants.

use std::ops::Range;

use super::persona::Persona;
use crate::core::log::Arrival;
use crate::store::StoreError;
use crate::store::picked::Picked;
use crate::words::entry::View;
use crate::words::gap::{GAP_KIND, GAP_TOPIC};
use crate::words::name::TOWLINE_TENANT;
use crate::words::{Entry, Kind, NodeId, Seq, Tenant, Time, Topic};

/// How gaps are treated by a filter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Gaps {
    /// As any entry: they pass when the filter lets them.
    #[default]
    AsEntries,
    /// They pass whatever tenant, topic, kind and text are asked for: what was dropped might have
    /// been what the reader waits for.
    Always,
    /// Nothing else passes.
    Only,
}

/// Which entries a reader wants: those that meet every condition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Written by this node.
    pub author: Option<NodeId>,
    /// Of this tenant.
    pub tenant: Option<Tenant>,
    /// Of this topic.
    pub topic: Option<Topic>,
    /// Of this kind.
    pub kind: Option<Kind>,
    /// At or after this time.
    pub since: Option<Time>,
    /// Before this time.
    pub until: Option<Time>,
    /// With this text in the payload.
    pub grep: Option<String>,
    /// Of interest to this persona.
    pub persona: Option<Persona>,
    /// How gaps are treated.
    pub gaps: Gaps,
}

impl Filter {
    /// Everything.
    pub fn all() -> Self {
        Self::default()
    }

    /// The entries of a topic, and all gaps. A text that is no topic matches nothing but gaps.
    pub fn topic(topic: &str) -> Self {
        match Topic::parse(topic) {
            Ok(topic) => Self { topic: Some(topic), gaps: Gaps::Always, ..Self::default() },
            Err(_) => Self { gaps: Gaps::Only, ..Self::default() },
        }
    }

    /// Whether an author's entries can pass at all.
    pub fn admits_author(&self, author: NodeId) -> bool {
        self.author.is_none_or(|wanted| wanted == author)
    }

    /// Whether entries between these times can pass at all.
    pub fn admits_times(&self, first: Time, last: Time) -> bool {
        self.since.is_none_or(|since| last >= since) && self.until.is_none_or(|until| first < until)
    }

    fn admits(&self, view: &View<'_>) -> bool {
        if !self.admits_times(view.time, view.time) {
            return false;
        }
        let is_gap = view.kind == GAP_KIND && is_of_gaps((view.tenant, view.topic));
        match self.gaps {
            Gaps::Only => return is_gap,
            Gaps::Always if is_gap => return true,
            _ => {}
        }
        let grep = |text: &String| contains(view.data, text.as_bytes());
        self.tenant.as_ref().is_none_or(|tenant| tenant.as_str() == view.tenant)
            && self.topic.as_ref().is_none_or(|topic| topic.as_str() == view.topic)
            && self.kind.as_ref().is_none_or(|kind| kind.as_str() == view.kind)
            && self.grep.as_ref().is_none_or(grep)
            && self.persona.as_ref().is_none_or(|persona| persona.admits(view))
    }

    /// Whether entries of a tenant and topic can pass at all.
    pub(super) fn admits_names(&self, names: (&str, &str)) -> bool {
        let (tenant, topic) = names;
        match self.gaps {
            Gaps::Only => return is_of_gaps(names),
            Gaps::Always if is_of_gaps(names) => return true,
            _ => {}
        }
        self.tenant.as_ref().is_none_or(|wanted| wanted.as_str() == tenant)
            && self.topic.as_ref().is_none_or(|wanted| wanted.as_str() == topic)
    }

    /// Whether an entry passes.
    pub fn passes(&self, entry: &Entry) -> bool {
        let body = &entry.body;
        let view = View {
            time: entry.time,
            tenant: body.tenant.as_str(),
            topic: body.topic.as_str(),
            kind: body.kind.as_str(),
            attributes: match self.persona {
                Some(_) => body.attributes.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect(),
                None => Vec::new(), // no other condition looks at them
            },
            content_type: &body.content_type,
            data: &body.data,
        };
        self.admits_author(entry.author) && self.admits(&view)
    }

    /// The entries of a change that pass, with seqs in `from..to`.
    ///
    /// # Errors
    /// The change is damaged.
    pub fn entries(&self, arrival: &Arrival, from: Seq, to: Seq) -> Result<Vec<Entry>, StoreError> {
        let change = &arrival.change;
        if !self.admits_author(change.author)
            || !self.admits_times(change.first_time, change.last_time)
        {
            return Ok(Vec::new());
        }
        let chunk = change.chunk().map_err(|e| damaged(arrival, &e))?;
        let by_name = self.tenant.is_some() || self.topic.is_some() || self.gaps == Gaps::Only;
        let mut entries: Vec<Entry> = Vec::new();
        for (at, bytes) in (0..).zip(chunk.entries()) {
            let seq = change.first_seq.plus(at);
            if seq < from || seq >= to {
                continue;
            }
            if by_name {
                let names = View::names(bytes).map_err(|e| damaged(arrival, &e))?;
                if !self.admits_names(names) {
                    continue; // most entries of a log, where a topic is asked for
                }
            }
            let view = View::read(bytes).map_err(|e| damaged(arrival, &e))?;
            if self.admits(&view) {
                entries.push(entry(arrival, at, &view, entries.last())?);
            }
        }
        Ok(entries)
    }

    /// Which entries with these seqs pass, by their places among those that were picked out of a large
    /// change.
    ///
    /// # Errors
    /// The change is damaged.
    pub(super) fn picked(
        &self,
        picked: &Picked,
        seqs: &Range<Seq>,
    ) -> Result<Vec<usize>, StoreError> {
        let mut places = picked.entries.within(seqs);
        if !self.admits_author(picked.author) {
            return Ok(Vec::new());
        }
        if self.is_all() {
            return Ok(places.collect());
        }
        let mut passing = Vec::new();
        places.try_for_each(|at| {
            if self.admits(&picked.view(at)?) {
                passing.push(at);
            }
            Ok::<_, StoreError>(())
        })?;
        Ok(passing)
    }

    /// Whether every entry passes.
    fn is_all(&self) -> bool {
        *self == Self { gaps: self.gaps, ..Self::default() } && self.gaps != Gaps::Only
    }

    /// Which tenants and topics are wanted, where a few entries of many can be told by them.
    pub(super) fn few(&self) -> Option<impl Fn(&str, &str) -> bool> {
        let names_few = self.topic.is_some() || self.gaps == Gaps::Only;
        names_few.then_some(|tenant: &str, topic: &str| self.admits_names((tenant, topic)))
    }

    /// All entries of a change that pass.
    ///
    /// # Errors
    /// The change is damaged.
    pub fn all_entries(&self, arrival: &Arrival) -> Result<Vec<Entry>, StoreError> {
        self.entries(arrival, Seq(0), Seq(u64::MAX))
    }
}

/// The entry of a change at a place in it, from 0; it shares its names with an entry before it.
///
/// # Errors
/// The change is damaged.
pub(super) fn entry(
    arrival: &Arrival,
    at: u64,
    view: &View<'_>,
    before: Option<&Entry>,
) -> Result<Entry, StoreError> {
    let before = before.map(|entry| &entry.body);
    let Arrival { offset, skew, change, .. } = arrival;
    Ok(Entry {
        author: change.author,
        seq: change.first_seq.plus(at),
        time: view.time,
        offset: offset.plus(at),
        change: change.hash,
        segment: change.segment,
        skew: *skew,
        forked: false,
        body: view.to_draft_beside(before).map_err(|e| damaged(arrival, &e))?,
    })
}

/// Says that a change can't be read.
pub(super) fn damaged(arrival: &Arrival, what: &dyn std::fmt::Display) -> StoreError {
    let change = &arrival.change;
    StoreError::Damaged(format!("{}:{}: {what}", change.author, change.first_seq))
}

/// Whether these are the tenant and topic of all gaps.
fn is_of_gaps((tenant, topic): (&str, &str)) -> bool {
    (tenant, topic) == (TOWLINE_TENANT, GAP_TOPIC)
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    wanted.is_empty() || bytes.windows(wanted.len()).any(|window| window == wanted)
}
