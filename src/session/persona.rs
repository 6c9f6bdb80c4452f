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
        let json = |why: String| SessionError::Draft(DraftError::Json(why));
        if persona.is_too_large() {
            return Err(json("a persona names at most 256 kinds, topics and values".to_owned()));
        }
        let data = serde_json::to_vec(persona).map_err(|e| json(e.to_string()))?;
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
        let found = self.newest_personas(Some(name.to_owned())).await?.remove(name);
        found.ok_or_else(|| SessionError::NotFound { what: "persona", name: name.to_owned() })
    }

    /// All personas by name.
    ///
    /// # Errors
    /// The store can't be read.
    pub async fn personas(&self) -> Result<BTreeMap<String, Persona>, SessionError> {
        self.newest_personas(None).await
    }

    async fn newest_personas(
        &self,
        only: Option<String>,
    ) -> Result<BTreeMap<String, Persona>, SessionError> {
        let series = Series::thread(self.tenant.clone(), Topic::parse(PERSONAS)?);
        let found = read(self, move |reader| {
            let standing = reader.standing_of(&series)?.unwrap_or_default();
            let wanted = |view: &View<'_>| {
                let named = |only: &String| {
                    view.attributes.iter().any(|(key, value)| *key == NAME && value == only)
                };
                view.kind == PERSONA_KIND && only.as_ref().is_none_or(named)
            };
            let mut newest: BTreeMap<String, Entry> = BTreeMap::new();
            let mut at = 0;
            while at < standing.entries {
                let most = Most::entries(READ_AT_ONCE);
                let run = series::after(reader, (&series, &standing), at, most, &wanted)?;
                at = run.through;
                for entry in run.entries.into_iter().map(|numbered| numbered.entry) {
                    let Some(name) = entry.body.attributes.get(NAME).cloned() else { continue };
                    let held = newest.get(&name).map(Entry::merged_key);
                    if held < Some(entry.merged_key()) {
                        newest.insert(name, entry);
                    }
                }
            }
            Ok(newest)
        })
        .await?;
        let persona = |(name, entry): (String, Entry)| {
            Some((name, serde_json::from_slice(&entry.body.data).ok()?))
        };
        Ok(found.into_iter().filter_map(persona).collect())
    }
}
