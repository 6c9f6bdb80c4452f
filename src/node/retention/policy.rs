//! What a node keeps.

use std::path::PathBuf;
use std::time::Duration;

use crate::words::{NodeId, Tenant, Topic};

/// How often a node looks for what can go, when nothing is said.
pub const PAUSE: Duration = Duration::from_secs(10);

/// What a node keeps. Without any bound it keeps everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Entries that came longer ago go. See the module for how that is counted.
    pub age: Option<Duration>,
    /// The oldest go while there are more than so many.
    pub entries: Option<u64>,
    /// The oldest go while the store takes more bytes on disk.
    pub bytes: Option<u64>,
    /// Whether segments go in which all entries are archived in their topics.
    pub archived: bool,
    /// So many peers must hold what goes, by their own word.
    pub peers: usize,
    /// This node must hold what goes, by its own word.
    pub archiver: Option<NodeId>,
    /// What goes is written here first, as Automerge files.
    pub archive: Option<PathBuf>,
    /// What is archived of topics by itself.
    pub topics: Vec<TopicRetention>,
    /// How often the node looks.
    pub pause: Duration,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            age: None,
            entries: None,
            bytes: None,
            archived: false,
            peers: 0,
            archiver: None,
            archive: None,
            topics: Vec::new(),
            pause: PAUSE,
        }
    }
}

/// What is kept of a topic: the rest is archived, by a statement in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicRetention {
    /// Whose topic.
    pub tenant: Tenant,
    /// The topic.
    pub topic: Topic,
    /// Entries that came here longer ago are archived.
    pub age: Option<Duration>,
    /// All but so many are.
    pub entries: Option<u64>,
    /// The oldest are, while what is left has more bytes than this, uncompressed.
    pub bytes: Option<u64>,
}

impl Retention {
    /// The shortest age that is asked for.
    pub fn shortest_age(&self) -> Option<Duration> {
        let of_topics = self.topics.iter().filter_map(|topic| topic.age);
        self.age.into_iter().chain(of_topics).min()
    }

    /// Whether anything goes by itself.
    pub fn is_active(&self) -> bool {
        self.shortest_age().is_some()
            || self.entries.is_some()
            || self.bytes.is_some()
            || self.archived
            || !self.topics.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> Retention {
        Retention::default()
    }

    #[test]
    fn without_a_bound_nothing_goes_by_itself() {
        assert!(!policy().is_active());
        assert!(!Retention { peers: 2, archive: Some("x".into()), ..policy() }.is_active());
        for active in [
            Retention { age: Some(Duration::from_secs(1)), ..policy() },
            Retention { entries: Some(1), ..policy() },
            Retention { bytes: Some(1), ..policy() },
            Retention { archived: true, ..policy() },
        ] {
            assert!(active.is_active());
        }
    }

    #[test]
    fn marks_are_made_for_the_shortest_age() {
        let (tenant, topic) = (Tenant::default(), Topic::parse("t").unwrap());
        let of_topic = TopicRetention {
            tenant,
            topic,
            age: Some(Duration::from_secs(5)),
            entries: None,
            bytes: None,
        };
        let both =
            Retention { age: Some(Duration::from_secs(60)), topics: vec![of_topic], ..policy() };
        assert_eq!(both.shortest_age(), Some(Duration::from_secs(5)));
    }
}
