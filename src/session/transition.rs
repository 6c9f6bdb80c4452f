//! Transitions: the steps of state machines, each the topic of its story.
//!
//! A step is an entry of kind `transition` whose data is `{"from":…,"to":…}`, with `event` where
//! something is to be said beside. Its attributes `from` and `to` say the stages again, so that a
//! persona can ask for them.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::event::Event;
use super::thread::read;
use super::{SessionError, TenantLog};
use crate::core::series::Series;
use crate::node::Numbered;
use crate::node::series::{self, Most};
use crate::words::{Kind, Topic};

/// The kind of a step.
pub const TRANSITION_KIND: &str = "transition";
/// How many steps of one story are read at most: the newest ones.
const STEPS: usize = 100_000;

/// A step of a state machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transition {
    /// The stage that it leaves.
    pub from: String,
    /// The stage that it enters.
    pub to: String,
    /// What there is to say beside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<Value>,
}

/// The steps of the state machines of a tenant.
#[derive(Clone)]
pub struct Transitions {
    log: TenantLog,
}

impl Transitions {
    pub(super) fn new(log: TenantLog) -> Self {
        Self { log }
    }

    /// Appends a step of a story, and returns its ordinal there.
    ///
    /// # Errors
    /// Stages that are too long to be attributes, or a node that appends nothing.
    pub async fn record(&self, story: Topic, step: &Transition) -> Result<u64, SessionError> {
        let event = Event::json(TRANSITION_KIND, step)?
            .with_attribute("from", &step.from)
            .with_attribute("to", &step.to);
        self.log.thread(story).append(vec![event]).await
    }

    /// The steps of a story by author and seq: each author's in the order in which it made them,
    /// and the same list on every node that holds the same entries. What can't be understood as a
    /// step is left out.
    ///
    /// # Errors
    /// Nothing of the story has arrived here, or the store can't be read.
    pub async fn read(&self, story: Topic) -> Result<Vec<(Transition, Numbered)>, SessionError> {
        let kind = Kind::parse(TRANSITION_KIND)?;
        let series = Series::thread(self.log.tenant.clone(), story.clone());
        let tenant = self.log.tenant.clone();
        let steps = read(&self.log, move |reader| {
            let unknown = SessionError::UnknownThread { tenant, topic: story };
            let standing = reader.standing_of(&series)?.ok_or(unknown)?;
            let wanted = |view: &crate::words::entry::View<'_>| view.kind == kind.as_str();
            let most = Most::entries(STEPS);
            Ok(series::last(reader, (&series, &standing), u64::MAX, most, &wanted)?)
        });
        let read = |numbered: Numbered| {
            let step = serde_json::from_slice(&numbered.entry.body.data).ok()?;
            Some((step, numbered))
        };
        let mut steps: Vec<(Transition, Numbered)> =
            steps.await?.into_iter().filter_map(read).collect();
        steps.sort_by_key(|(_, numbered)| {
            let entry = &numbered.entry;
            (entry.author, entry.seq, entry.segment, entry.change)
        });
        Ok(steps)
    }
}
