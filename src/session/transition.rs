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
use crate::node::series::{self, Most};
use crate::node::{Cursor, Filter, Numbered, Order, Query, query};
use crate::words::{Kind, Topic};

/// The kind of a step.
pub const TRANSITION_KIND: &str = "transition";
/// How many steps are read at once.
const READ_AT_ONCE: usize = 1_024;

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
    /// step is left out. Their memory is the caller's to bound: see [`Transitions::page`].
    ///
    /// # Errors
    /// Nothing of the story has arrived here, or the store can't be read.
    pub async fn read(&self, story: Topic) -> Result<Vec<(Transition, Numbered)>, SessionError> {
        let (mut steps, mut after) = (Vec::new(), None);
        loop {
            let page = self.page(story.clone(), after, Most::entries(READ_AT_ONCE)).await?;
            steps.extend(page.steps);
            after = page.next;
            if after.is_none() {
                return Ok(steps);
            }
        }
    }

    /// As [`Transitions::read`], but not more than is said, after where the last page ended. Such a
    /// place is one of this node.
    ///
    /// # Errors
    /// As [`Transitions::read`], or the place is none of this node.
    pub async fn page(
        &self,
        story: Topic,
        after: Option<Cursor>,
        most: Most,
    ) -> Result<Steps, SessionError> {
        let filter = Filter {
            tenant: Some(self.log.tenant.clone()),
            topic: Some(story.clone()),
            kind: Some(Kind::parse(TRANSITION_KIND)?),
            ..Filter::all()
        };
        let query = Query::in_order(Order::Author).filter(filter).limit(most.entries);
        let query = Query { after, ..query.bytes(most.bytes) };
        let series = Series::thread(self.log.tenant.clone(), story.clone());
        let tenant = self.log.tenant.clone();
        read(&self.log, move |reader| {
            let unknown = SessionError::UnknownThread { tenant, topic: story };
            let standing = reader.standing_of(&series)?.ok_or(unknown)?;
            let page = query::page(reader, &query)?;
            let mut steps = Vec::new();
            for entry in page.entries {
                let step = serde_json::from_slice(&entry.body.data);
                let Some(step) =
                    step.ok().filter(|_| !standing.is_archived(entry.author, entry.seq))
                else {
                    continue;
                };
                let ordinal = series::ordinal_at(reader, &series, entry.offset)?;
                steps.push((step, Numbered { ordinal, entry }));
            }
            Ok(Steps { steps, next: page.next })
        })
        .await
    }
}

/// Some steps of a story.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Steps {
    /// The steps, by author and seq.
    pub steps: Vec<(Transition, Numbered)>,
    /// Where the next page begins; none at the end.
    pub next: Option<Cursor>,
}
