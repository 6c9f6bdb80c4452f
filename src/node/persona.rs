//! Personas: what somebody in a role wants to hear, by kind, topic and attributes.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::words::entry::View;

/// How many kinds, topics and attributes a persona names at most, of each.
pub const PERSONA_TERMS: usize = 256;

/// Which entries a persona wants. What is left empty asks for nothing: an empty persona wants all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Persona {
    /// Of one of these kinds.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub kinds: BTreeSet<String>,
    /// Of one of these topics; `story/*` means all that begin with `story/`.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub topics: BTreeSet<String>,
    /// With each of these attributes, in one of these values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, BTreeSet<String>>,
}

impl Persona {
    /// Whether it names more than it may.
    pub fn is_too_large(&self) -> bool {
        let values: usize = self.attributes.values().map(|values| values.len().max(1)).sum();
        [self.kinds.len(), self.topics.len(), values].into_iter().any(|n| n > PERSONA_TERMS)
    }

    /// Whether it wants an entry.
    pub fn admits(&self, view: &View<'_>) -> bool {
        let topic = |wanted: &String| match wanted.strip_suffix('*') {
            Some(start) => view.topic.starts_with(start),
            None => view.topic == wanted,
        };
        let attribute = |(key, values): (&String, &BTreeSet<String>)| {
            let found = view.attributes.iter().find(|(given, _)| given == key);
            found.is_some_and(|(_, value)| values.contains(*value))
        };
        (self.kinds.is_empty() || self.kinds.contains(view.kind))
            && (self.topics.is_empty() || self.topics.iter().any(topic))
            && self.attributes.iter().all(attribute)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::{Draft, Time};

    fn wants(persona: &str, draft: &Draft) -> bool {
        let persona: Persona = serde_json::from_str(persona).unwrap();
        persona.admits(&View::read(&draft.encode(Time::default())).unwrap())
    }

    #[test]
    fn a_persona_wants_what_meets_every_one_of_its_terms() {
        let draft = Draft::text("story/42", "transition", "x").unwrap();
        let draft = draft.with_attribute("to", "review").unwrap();
        for (persona, wanted) in [
            ("{}", true),
            (r#"{"kinds":["transition","note"]}"#, true),
            (r#"{"kinds":["note"]}"#, false),
            (r#"{"topics":["story/*"]}"#, true),
            (r#"{"topics":["story"]}"#, false),
            (r#"{"topics":["story/42"],"attributes":{"to":["review","done"]}}"#, true),
            (r#"{"attributes":{"to":["done"]}}"#, false),
            (r#"{"attributes":{"from":["done"]}}"#, false),
        ] {
            assert_eq!(wants(persona, &draft), wanted, "{persona}");
        }
    }
}
