//! What a query string asks for.

use std::convert::Infallible;
use std::fmt::Display;
use std::str::FromStr;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use super::problem::Problem;
use crate::node::{Filter, Gaps, wall_millis};
use crate::words::time::Moment;
use crate::words::{Code, Kind, NameError, Tenant, Time, Topic};

/// The parameters that say which entries are wanted.
pub const FILTERS: [&str; 8] =
    ["author", "tenant", "topic", "kind", "since", "until", "grep", "gaps"];

/// The parameters of a request, decoded.
#[derive(Clone, Debug)]
pub struct Parameters {
    pairs: Vec<(String, String)>,
}

impl<S: Sync> FromRequestParts<S> for Parameters {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let query = parts.uri.query().unwrap_or_default();
        let pairs = form_urlencoded::parse(query.as_bytes()).into_owned();
        Ok(Self { pairs: pairs.collect() })
    }
}

impl Parameters {
    /// Refuses parameters that the route doesn't know, and those that are given twice: what is
    /// misspelt must not be taken for absent.
    ///
    /// # Errors
    /// A problem that names the first of them.
    pub fn allow(&self, known: &[&str]) -> Result<(), Problem> {
        for (at, (name, _)) in self.pairs.iter().enumerate() {
            if !known.contains(&name.as_str()) {
                let detail = format!("the parameter {name:?} is not known here; known: {known:?}");
                return Err(Problem::new(Code::Usage, detail));
            }
            if self.pairs[..at].iter().any(|(before, _)| before == name) {
                let detail = format!("the parameter {name:?} is given twice");
                return Err(Problem::new(Code::Usage, detail));
            }
        }
        Ok(())
    }

    /// A parameter as text.
    pub fn text(&self, name: &str) -> Option<&str> {
        let found = self.pairs.iter().find(|(given, _)| given == name);
        found.map(|(_, value)| value.as_str())
    }

    /// A parameter as `read` understands it.
    ///
    /// # Errors
    /// A problem with this code, which names the parameter.
    pub fn read<T, E: Display>(
        &self,
        name: &str,
        code: Code,
        read: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<Option<T>, Problem> {
        let read = self.text(name).map(read).transpose();
        read.map_err(|error| Problem::new(code, error).at(name))
    }

    /// A parameter that is a number, `true` or `false`, an id, …
    ///
    /// # Errors
    /// It can't be parsed.
    pub fn parse<T>(&self, name: &str) -> Result<Option<T>, Problem>
    where
        T: FromStr<Err: Display>,
    {
        self.read(name, Code::Usage, T::from_str)
    }

    /// The entries that [`FILTERS`] ask for. Times that are said as how long ago are counted from
    /// now.
    ///
    /// # Errors
    /// One of them can't be parsed.
    pub fn filter(&self, gaps: Gaps) -> Result<Filter, Problem> {
        Ok(Filter {
            author: self.parse("author")?,
            tenant: self.name("tenant", Tenant::parse)?,
            topic: self.name("topic", Topic::parse)?,
            kind: self.name("kind", Kind::parse)?,
            since: self.time("since")?,
            until: self.time("until")?,
            grep: self.text("grep").map(str::to_owned),
            persona: None,
            gaps: self.read("gaps", Code::Usage, read_gaps)?.unwrap_or(gaps),
        })
    }

    fn name<T>(
        &self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, NameError>,
    ) -> Result<Option<T>, Problem> {
        self.read(name, Code::Name, parse)
    }

    fn time(&self, name: &str) -> Result<Option<Time>, Problem> {
        let moment: Option<Moment> = self.parse(name)?;
        Ok(moment.map(|moment| moment.time(wall_millis())))
    }

    /// The query string that asks for what follows a cursor, with the times that `filter` holds:
    /// an hour ago is another time when the next page is asked for.
    pub fn continued(&self, filter: &Filter, after: &str) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        for (name, value) in &self.pairs {
            match (name.as_str(), filter.since, filter.until) {
                ("after", ..) => continue,
                ("since", Some(time), _) | ("until", _, Some(time)) => {
                    query.append_pair(name, &time.to_string())
                }
                _ => query.append_pair(name, value),
            };
        }
        query.append_pair("after", after).finish()
    }
}

/// `only` (or `true`): nothing but gaps; `always`: gaps whatever else is asked for; `entries` (or
/// `false`): gaps as any entry.
fn read_gaps(text: &str) -> Result<Gaps, &'static str> {
    match text {
        "only" | "true" => Ok(Gaps::Only),
        "always" => Ok(Gaps::Always),
        "entries" | "false" => Ok(Gaps::AsEntries),
        _ => Err("it is only, always or entries"),
    }
}
