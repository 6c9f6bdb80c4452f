//! The flags that say which entries are wanted.

use clap::{Args, ValueEnum};
use clap_complete::engine::ArgValueCandidates;
use jiff::Timestamp;

use super::client::Parameters;
use super::completions;
use crate::node::filter::{Filter, Gaps};
use crate::words::time::{Moment, ParseTimeError};
use crate::words::{Kind, NodeId, Tenant, Time, Topic};

/// Which entries are wanted: those that meet every flag.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Filters")]
pub struct Filters {
    /// Written by this node: 64 hex digits
    #[arg(long, value_name = "ID", add = ArgValueCandidates::new(completions::nodes))]
    pub author: Option<NodeId>,
    /// Of this tenant
    #[arg(long, value_name = "NAME", value_parser = Tenant::parse)]
    #[arg(add = ArgValueCandidates::new(completions::tenants))]
    tenant: Option<Tenant>,
    /// Of this topic
    #[arg(long, value_name = "TOPIC", value_parser = Topic::parse)]
    #[arg(add = ArgValueCandidates::new(completions::topics))]
    topic: Option<Topic>,
    /// Of this kind
    #[arg(long, value_name = "KIND", value_parser = Kind::parse)]
    #[arg(add = ArgValueCandidates::new(completions::kinds))]
    kind: Option<Kind>,
    /// At or after this time: 2026-11-21T05:00:00Z, or 1h for an hour ago
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<Time>,
    /// Before this time
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<Time>,
    /// With this text in the payload
    #[arg(long, value_name = "TEXT")]
    grep: Option<String>,
    /// Nothing but gaps; or gaps as any entry, or always (tail does)
    #[arg(long, value_enum, value_name = "only|entries|always", hide_possible_values = true)]
    #[arg(num_args = 0..=1, default_missing_value = "only")]
    gaps: Option<GapsWanted>,
}

/// How gaps are treated by the other flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum GapsWanted {
    /// Those that meet the other flags, as any entry.
    Entries,
    /// All: what was dropped might have met the flags.
    Always,
    /// All, and nothing else.
    Only,
}

impl Filters {
    /// Whether nothing but an author is named.
    pub fn only_author(&self) -> bool {
        let names = self.tenant.is_none() && self.topic.is_none() && self.kind.is_none();
        let times = self.since.is_none() && self.until.is_none();
        names && times && self.grep.is_none() && self.gaps.is_none()
    }

    /// All gaps, and nothing else.
    pub fn only_gaps() -> Self {
        Self { gaps: Some(GapsWanted::Only), ..Self::default() }
    }

    /// As a filter of a store.
    pub fn filter(&self) -> Filter {
        Filter {
            author: self.author,
            tenant: self.tenant.clone(),
            topic: self.topic.clone(),
            kind: self.kind.clone(),
            since: self.since,
            until: self.until,
            grep: self.grep.clone(),
            persona: None,
            gaps: match self.gaps {
                None | Some(GapsWanted::Entries) => Gaps::AsEntries,
                Some(GapsWanted::Always) => Gaps::Always,
                Some(GapsWanted::Only) => Gaps::Only,
            },
        }
    }

    /// As parameters of a request.
    pub fn parameters(&self) -> Parameters {
        let gaps = self.gaps.map(|gaps| match gaps {
            GapsWanted::Entries => "entries",
            GapsWanted::Always => "always",
            GapsWanted::Only => "only",
        });
        let named = [
            ("author", self.author.map(|author| author.to_string())),
            ("tenant", self.tenant.as_ref().map(Tenant::to_string)),
            ("topic", self.topic.as_ref().map(Topic::to_string)),
            ("kind", self.kind.as_ref().map(Kind::to_string)),
            ("since", self.since.map(|time| time.to_string())),
            ("until", self.until.map(|time| time.to_string())),
            ("grep", self.grep.clone()),
            ("gaps", gaps.map(str::to_owned)),
        ];
        let given = named.into_iter().filter_map(|(name, value)| Some((name, value?)));
        given.collect()
    }
}

/// Reads a time: RFC 3339, or how long ago.
fn moment(text: &str) -> Result<Time, ParseTimeError> {
    let now = Timestamp::now().as_millisecond();
    let moment: Moment = text.parse()?;
    Ok(moment.time(u64::try_from(now).unwrap_or_default()))
}
