//! The flags that say which entries are wanted.

use std::time::Duration;

use clap::{Args, ValueEnum};
use jiff::{SignedDuration, Timestamp};

use super::client::Parameters;
use crate::node::filter::{Filter, Gaps};
use crate::words::{Kind, NodeId, Tenant, Time, Topic};

/// Which entries are wanted: those that meet every flag.
#[derive(Debug, Args)]
#[command(next_help_heading = "Filters")]
pub struct Filters {
    /// Written by this node: 64 hex digits
    #[arg(long, value_name = "ID")]
    pub author: Option<NodeId>,
    /// Of this tenant
    #[arg(long, value_name = "NAME", value_parser = Tenant::parse)]
    tenant: Option<Tenant>,
    /// Of this topic
    #[arg(long, value_name = "TOPIC", value_parser = Topic::parse)]
    topic: Option<Topic>,
    /// Of this kind
    #[arg(long, value_name = "KIND", value_parser = Kind::parse)]
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
    /// Which gaps are wanted [default: always in tail, else entries]
    #[arg(long, value_enum, value_name = "WHICH")]
    gaps: Option<GapsWanted>,
}

/// How gaps are treated by the other flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum GapsWanted {
    /// Those that meet the other flags, as any entry
    Entries,
    /// All: what was dropped might have met the flags
    Always,
    /// All, and nothing else
    Only,
}

impl Filters {
    /// Whether nothing but an author is named.
    pub fn only_author(&self) -> bool {
        let names = self.tenant.is_none() && self.topic.is_none() && self.kind.is_none();
        let times = self.since.is_none() && self.until.is_none();
        names && times && self.grep.is_none() && self.gaps.is_none()
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
        let given = named
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)));
        given.collect()
    }
}

/// Reads a time: RFC 3339, or how long ago.
fn moment(text: &str) -> Result<Time, String> {
    let now = Timestamp::now();
    let time: Timestamp = match text.parse::<Timestamp>() {
        Ok(time) => time,
        Err(_) => duration(text)
            .and_then(|ago| now.checked_sub(ago).map_err(|error| error.to_string()))
            .map_err(|_| "a time is like 2026-11-21T05:00:00Z, or 1h for an hour ago".to_owned())?,
    };
    Ok(Time::from_millis(
        u64::try_from(time.as_millisecond()).unwrap_or_default(),
    ))
}

/// Reads a length of time: `5s`, `500ms`, `1h 30m`.
///
/// # Errors
/// It is none, or a negative one.
pub fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "a length of time is like 500ms, 5s or 1h".to_owned();
    let duration: SignedDuration = text.parse().map_err(|_| wrong())?;
    duration.try_into().map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_rfc_3339_or_how_long_ago() {
        let time = moment("2026-11-21T05:01:37.123Z").unwrap();
        assert_eq!(time.to_string(), "2026-11-21T05:01:37.123Z");
        let hour = moment("1h").unwrap().millis();
        let now = u64::try_from(Timestamp::now().as_millisecond()).unwrap();
        assert!((3_599_000..=3_660_000).contains(&(now - hour)));
        assert!(moment("yesterday").is_err());
    }

    #[test]
    fn a_length_of_time_has_a_unit() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert!(duration("5").is_err());
        assert!(duration("-5s").is_err());
    }
}
