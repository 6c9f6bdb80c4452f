//! Personas by name: filters that the tenant keeps in its log, so that they are the same on every
//! node. The newest one of a name, in merged order, is the one that holds.

use std::collections::BTreeMap;

use super::thread::read;
use super::{SessionError, TenantLog, name};
use crate::core::series::Series;
use crate::node::Persona;
use crate::node::series::{self, Most};
use crate::words::entry::View;
use crate::words::{Draft, DraftError, Entry, Kind, Topic};

/// The topic of all personas of a tenant.
const PERSONAS: &str = "towline.personas";
/// Their kind.
const PERSONA_KIND: &str = "towline.persona";
/// The attribute that names one.
const NAME: &str = "name";
/// How many entries are read at once.
const READ_AT_ONCE: usize = 256;

impl TenantLog {
    /// Gives a persona a name, or another filter.
    ///
    /// # Errors
    /// A name that is not well-formed, or a filter that names too much.
    pub async fn set_persona(&self, name: &str, persona: &Persona) -> Result<(), SessionError> {
        name::check("persona", name)?;
        if persona.is_too_large() {
            return Err(SessionError::PersonaTooLarge);
        }
        let data = serde_json::to_vec(persona).map_err(|e| DraftError::Json(e.to_string()))?;
        let (topic, kind) = (Topic::parse(PERSONAS)?, Kind::parse(PERSONA_KIND)?);
        let draft = Draft::of_towline(self.tenant.clone(), topic, kind, data);
        self.node.append(draft.with_attribute(NAME, name)?).await?;
        Ok(())
    }

    /// A persona by name.
    ///
    /// # Errors
    /// There is none of this name here.
    pub async fn persona(&self, name: &str) -> Result<Persona, SessionError> {
        name::check("persona", name)?;
        let only = name.to_owned();
        let named = move |found: &str| found == only;
        let found = self.newest_personas(named, Most::entries(1)).await?.personas.remove(name);
        found.ok_or_else(|| SessionError::NotFound { what: "persona", name: name.to_owned() })
    }

    /// Personas by name, those after a name, but not more than is said.
    ///
    /// # Errors
    /// The store can't be read.
    pub async fn personas(
        &self,
        after: Option<&str>,
        most: Most,
    ) -> Result<Personas, SessionError> {
        let after = after.map(str::to_owned);
        let named = move |found: &str| after.as_ref().is_none_or(|after| found > after.as_str());
        self.newest_personas(named, most).await
    }

    /// The newest persona of each name that is asked for, as far as they are not more than is said.
    async fn newest_personas(
        &self,
        named: impl Fn(&str) -> bool + Send + 'static,
        most: Most,
    ) -> Result<Personas, SessionError> {
        let series = Series::thread(self.tenant.clone(), Topic::parse(PERSONAS)?);
        let (found, is_all) = read(self, move |reader| {
            let standing = reader.standing_of(&series)?.unwrap_or_default();
            let wanted = |view: &View<'_>| {
                let is_one = |(key, value): &(&str, &str)| *key == NAME && named(value);
                view.kind == PERSONA_KIND && view.attributes.iter().any(is_one)
            };
            let mut newest = Newest { most, by_name: BTreeMap::new(), bytes: 0, beyond: None };
            let mut at = 0;
            while at < standing.entries {
                let some = Most::entries(READ_AT_ONCE);
                let run = series::after(reader, (&series, &standing), at, some, &wanted)?;
                at = run.through;
                run.entries.into_iter().for_each(|numbered| newest.add(numbered.entry));
            }
            Ok((newest.by_name, newest.beyond.is_none()))
        })
        .await?;
        let next = found.last_key_value().filter(|_| !is_all).map(|(name, _)| name.clone());
        let persona = |(name, entry): (String, Entry)| {
            Some((name, serde_json::from_slice(&entry.body.data).ok()?))
        };
        Ok(Personas { personas: found.into_iter().filter_map(persona).collect(), next })
    }
}

/// Some personas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Personas {
    /// By name.
    pub personas: BTreeMap<String, Persona>,
    /// The name after which there are more; none at the end.
    pub next: Option<String>,
}

/// The newest entry of each name: of the first names only, where there are too many.
struct Newest {
    most: Most,
    by_name: BTreeMap<String, Entry>,
    bytes: usize,
    /// From this name on all are left out.
    beyond: Option<String>,
}

impl Newest {
    fn add(&mut self, entry: Entry) {
        let Some(name) = entry.body.attributes.get(NAME).cloned() else { return };
        if self.beyond.as_ref().is_some_and(|beyond| name >= *beyond) {
            return;
        }
        let held = self.by_name.get(&name);
        if held.map(Entry::merged_key) >= Some(entry.merged_key()) {
            return;
        }
        self.bytes += entry.body.size();
        self.bytes -= self.by_name.insert(name, entry).map_or(0, |held| held.body.size());
        let is_over = |it: &Self| it.by_name.len() > it.most.entries || it.bytes > it.most.bytes;
        while self.by_name.len() > 1 && is_over(self) {
            let Some((last, entry)) = self.by_name.pop_last() else { return };
            self.bytes -= entry.body.size();
            self.beyond = Some(last);
        }
    }
}
