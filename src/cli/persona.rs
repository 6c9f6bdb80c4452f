//! `towline persona`: filters by name, kept in the log.

use std::collections::{BTreeMap, BTreeSet};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::Outcome;
use super::client::Parameters;
use super::failure::Failure;
use super::output::Format;
use super::place::Global;
use super::tenant::{Whose, path};
use crate::node::Persona;

/// Give filters a name, and list them
#[derive(Debug, Args)]
#[command(before_help = "\
Examples:
  towline persona set reviewer --topic 'story/*' --attribute to=review
  towline persona ls
  towline tail -f --persona reviewer")]
pub struct Personas {
    #[command(flatten)]
    whose: Whose,
    #[command(subcommand)]
    command: PersonaCommand,
}

#[derive(Debug, Subcommand)]
enum PersonaCommand {
    /// List personas by name
    Ls,
    /// Give a persona a name, or another filter; what is not said asks for nothing
    Set {
        name: String,
        /// Of one of these kinds
        #[arg(long = "kind", value_name = "KIND")]
        kinds: Vec<String>,
        /// Of one of these topics; story/* means all that begin with story/
        #[arg(long = "topic", value_name = "TOPIC")]
        topics: Vec<String>,
        /// With each of these attributes, in one of the values given for it
        #[arg(long = "attribute", value_name = "KEY=VALUE")]
        attributes: Vec<String>,
    },
}

impl Personas {
    pub(super) fn run(self, global: &Global) -> Outcome {
        let client = global.node()?;
        let mut output = global.output();
        let tenant = &self.whose.tenant;
        match self.command {
            PersonaCommand::Set { name, kinds, topics, attributes } => {
                let persona = persona(kinds, topics, &attributes)?;
                let _: Value = client.put(&path(&["personas", tenant, &name]), &json!(persona))?;
            }
            PersonaCommand::Ls => {
                let mut asked = Parameters::new();
                loop {
                    let page: Value = client.get(&path(&["personas", tenant]), &asked)?;
                    if output.format == Format::Json {
                        output.json(&page)?;
                    } else {
                        for (name, persona) in page["personas"].as_object().into_iter().flatten() {
                            match output.format {
                                Format::Text => output.line(format_args!("{name}  {persona}"))?,
                                _ => output.json(&json!({"name": name, "persona": persona}))?,
                            }
                        }
                    }
                    match page["next"].as_str() {
                        Some(next) => asked = vec![("after", next.to_owned())],
                        None => break,
                    }
                }
            }
        }
        output.flush()
    }
}

fn persona(
    kinds: Vec<String>,
    topics: Vec<String>,
    attributes: &[String],
) -> Result<Persona, Failure> {
    let mut by_key: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for attribute in attributes {
        let Some((key, value)) = attribute.split_once('=') else {
            let what = "an attribute can't be understood";
            return Err(Failure::usage(what, format_args!("{attribute:?} is not KEY=VALUE")));
        };
        by_key.entry(key.to_owned()).or_default().insert(value.to_owned());
    }
    let (kinds, topics) = (kinds.into_iter().collect(), topics.into_iter().collect());
    Ok(Persona { kinds, topics, attributes: by_key })
}
