//! Archiving as a statement in the log: which entries of a thread are archived, on every node alike.
//!
//! A statement is an entry of kind `towline.archive` in the thread's tenant, topic
//! `towline.archives`:
//!
//! ```json
//! {"topic":"story/42","through":{"<author>":1234}}
//! ```
//!
//! It names authors and seqs, since ordinals differ from node to node: of these authors, the
//! entries of the topic up to these seqs are archived. Statements join by taking the higher seq of
//! each author, so their order doesn't matter and nothing that was archived ever comes back. An
//! entry that its writer had not seen is not archived by it: so nothing vanishes unread.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::series::Series;
use crate::words::entry::View;
use crate::words::{Draft, Kind, NameError, NodeId, Seq, Tenant, Topic};

/// The kind of a statement.
pub const ARCHIVE_KIND: &str = "towline.archive";
/// The topic of all statements of a tenant.
pub const ARCHIVE_TOPIC: &str = "towline.archives";

/// What a statement says: the entries of a thread that are archived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    tenant: Tenant,
    topic: Topic,
    /// Of whom, up to which seq.
    pub through: BTreeMap<NodeId, Seq>,
}

#[derive(Serialize, Deserialize)]
struct Said {
    topic: String,
    through: BTreeMap<String, Seq>,
}

impl Cut {
    /// The entries of a topic, of these authors, up to these seqs.
    pub fn new(tenant: Tenant, topic: Topic, through: BTreeMap<NodeId, Seq>) -> Self {
        Self { tenant, topic, through }
    }

    /// The thread that is cut.
    pub fn series(&self) -> Series {
        Series::thread(self.tenant.clone(), self.topic.clone())
    }

    /// The draft of the statement.
    ///
    /// # Errors
    /// None in practice: the names are constants that parse, which a test shows.
    pub fn draft(&self) -> Result<Draft, NameError> {
        let (topic, kind) = (Topic::parse(ARCHIVE_TOPIC)?, Kind::parse(ARCHIVE_KIND)?);
        let through = self.through.iter().map(|(author, seq)| (author.to_string(), *seq));
        let said = Said { topic: self.topic.to_string(), through: through.collect() };
        let data = serde_json::to_vec(&said).expect("texts and numbers are always JSON");
        Ok(Draft::of_towline(self.tenant.clone(), topic, kind, data))
    }

    /// What an entry states. One that can't be understood states nothing, on every node alike.
    pub fn read(view: &View<'_>) -> Option<Self> {
        if view.kind != ARCHIVE_KIND || view.topic != ARCHIVE_TOPIC {
            return None;
        }
        let said: Said = serde_json::from_slice(view.data).ok()?;
        let author = |(author, seq): (String, Seq)| Some((author.parse().ok()?, seq));
        let through = said.through.into_iter().map(author).collect::<Option<_>>()?;
        Some(Self::new(Tenant::parse(view.tenant).ok()?, Topic::parse(&said.topic).ok()?, through))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::Time;

    fn cut() -> Cut {
        let through = BTreeMap::from([(NodeId([1; 32]), Seq(4)), (NodeId([2; 32]), Seq(0))]);
        Cut::new(Tenant::parse("acme").unwrap(), Topic::parse("story/42").unwrap(), through)
    }

    #[test]
    fn a_statement_reads_back() {
        let bytes = cut().draft().unwrap().encode(Time::default());
        assert_eq!(Cut::read(&View::check(&bytes).unwrap()), Some(cut()));
    }

    #[test]
    fn what_cannot_be_understood_states_nothing() {
        let draft = cut().draft().unwrap();
        for data in ["", "{}", r#"{"topic":"t","through":{"x":1}}"#, r#"{"topic":"","through":{}}"#]
        {
            let bytes = Draft { data: data.into(), ..draft.clone() }.encode(Time::default());
            assert_eq!(Cut::read(&View::read(&bytes).unwrap()), None, "{data}");
        }
        let elsewhere = Draft { topic: Topic::parse("t").unwrap(), ..draft };
        assert_eq!(Cut::read(&View::read(&elsewhere.encode(Time::default())).unwrap()), None);
    }
}
