//! `towline token`: who may ask the node over HTTP.

use clap::{Args, Subcommand, ValueEnum};
use comfy_table::{Table, presets};

use super::Outcome;
use super::failure::Failure;
use super::line::one_line;
use super::output::Format;
use super::place::Global;
use super::serving::{failed, now};
use crate::node::tokens::{self, Wanted};
use crate::node::{Right, Token};
use crate::words::{Code, Tenant};

/// Make, list and remove the tokens by which HTTP knows who asks
#[derive(Debug, Args)]
#[command(
    before_help = "\
Examples:
  towline token add ci --tenant acme --rights append > ci.token
  towline token add dashboard --rights read
  towline token ls
  towline token rm 1f0a77c2",
    after_help = "\
Tokens lie in the data directory, without their secrets. They work on --data,
with or without its node running; a running node knows of a change at once."
)]
pub struct Tokens {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a token, and print its text, which is never shown again
    Add(Add),
    /// List the tokens
    Ls,
    /// Remove a token: it is refused from now on
    Rm {
        /// Its id, as `ls` lists it
        id: String,
    },
}

#[derive(Debug, Args)]
struct Add {
    /// For people: who bears it
    name: String,
    /// Whose entries it is for [default: everybody's, and the node's own state]
    #[arg(long, value_name = "NAME", value_parser = Tenant::parse)]
    tenant: Option<Tenant>,
    /// What its bearer may do
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "read,append",
        value_name = "read,append"
    )]
    rights: Vec<RightName>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum RightName {
    /// Read entries
    Read,
    /// Append and emit entries
    Append,
}

impl From<RightName> for Right {
    fn from(name: RightName) -> Self {
        match name {
            RightName::Read => Self::Read,
            RightName::Append => Self::Append,
        }
    }
}

impl Tokens {
    pub(super) fn run(self, global: &Global) -> Outcome {
        match self.action {
            Action::Add(add) => add.run(global),
            Action::Ls => list(global),
            Action::Rm { id } => remove(global, &id),
        }
    }
}

impl Add {
    fn run(self, global: &Global) -> Outcome {
        let rights = self.rights.into_iter().map(Right::from).collect();
        let wanted = Wanted { name: self.name, tenant: self.tenant, rights };
        let data = global.data()?;
        if !data.is_dir() {
            let why = format_args!("there is no data directory {}", data.display());
            return Err(Failure::new(Code::NotFound, "no token was made", why)
                .hint("towline init")
                .into());
        }
        let added = tokens::add(&data, wanted, now());
        let (token, text) = added.map_err(|error| failed("no token was made", &error))?;
        let mut output = global.output();
        if output.format == Format::Text {
            output.line(&text)?;
            global.note(&format!("token {}: this is the only time that it is shown", token.id));
        } else {
            output.json(&serde_json::json!({"id": token.id, "name": token.name,
                "tenant": token.tenant, "rights": token.rights, "token": text}))?;
        }
        output.flush()
    }
}

/// What is shown of a token: all but its hash.
fn shown(token: &Token) -> serde_json::Value {
    serde_json::json!({"id": token.id, "name": token.name, "tenant": token.tenant,
        "rights": token.rights, "created": token.created})
}

fn list(global: &Global) -> Outcome {
    let listed = tokens::list(&global.data()?);
    let listed = listed.map_err(|error| failed("the tokens can't be read", &error))?;
    let mut output = global.output();
    match output.format {
        Format::Json => {
            let tokens: Vec<_> = listed.iter().map(shown).collect();
            output.json(&serde_json::json!({"tokens": tokens}))?;
        }
        Format::Ndjson | Format::Cloudevents => {
            listed.iter().try_for_each(|token| output.json(&shown(token)))?
        }
        Format::Text => output.line(table(&listed).trim_fmt())?,
    }
    output.flush()
}

fn table(listed: &[Token]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["ID", "NAME", "TENANT", "RIGHTS", "CREATED"]);
    for token in listed {
        let rights = token.rights.iter().map(|right| match right {
            Right::Read => "read",
            Right::Append => "append",
        });
        table.add_row([
            token.id.clone(),
            one_line(&token.name).into_owned(),
            token.tenant.clone().unwrap_or_else(|| "(all)".into()),
            rights.collect::<Vec<_>>().join(","),
            token.created.clone(),
        ]);
    }
    table
}

fn remove(global: &Global, id: &str) -> Outcome {
    let removed = tokens::remove(&global.data()?, id);
    let removed = removed.map_err(|error| failed("no token was removed", &error))?;
    match removed {
        Some(token) => {
            global.note(&format!("token {} ({}) is removed", token.id, one_line(&token.name)));
            Ok(())
        }
        None => {
            let why = format_args!("there is no token {id:?}");
            Err(Failure::new(Code::NotFound, "no token was removed", why)
                .hint("towline token ls")
                .into())
        }
    }
}
