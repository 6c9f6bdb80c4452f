//! `towline config`: the settings of a node, and where each comes from.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::Outcome;
use super::failure::Failure;
use super::output::Format;
use super::place::Global;
use super::run::{HTTP, LISTEN};
use super::settings::{FILE, Settings};
use crate::node::retention::PAUSE;
use crate::words::limits::EMIT_RING;

/// Show the settings that `towline run` would take
#[derive(Debug, Args)]
#[command(before_help = "\
Examples:
  towline config show
  towline config show --origin                 and where each comes from
  towline config show -o json | jq -r .http")]
pub struct Configured {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Print all settings, in the form of config.toml
    Show {
        /// Say of each where it comes from
        #[arg(long)]
        origin: bool,
        /// A settings file, as `towline run` takes it
        #[arg(long, value_name = "FILE", env = "TOWLINE_CONFIG", hide_env_values = true)]
        config: Option<PathBuf>,
    },
}

/// The settings in the order of the documentation, each with its variable.
const KEYS: [(&str, Option<&str>); 19] = [
    ("name", Some("TOWLINE_NAME")),
    ("listen", Some("TOWLINE_LISTEN")),
    ("http", Some("TOWLINE_HTTP")),
    ("tls_cert", Some("TOWLINE_TLS_CERT")),
    ("tls_key", Some("TOWLINE_TLS_KEY")),
    ("require_token", None),
    ("insecure", None),
    ("peers", Some("TOWLINE_PEERS")),
    ("emit_ring", Some("TOWLINE_EMIT_RING")),
    ("deliveries", None),
    ("retention.age", Some("TOWLINE_KEEP_AGE")),
    ("retention.entries", Some("TOWLINE_KEEP_ENTRIES")),
    ("retention.bytes", Some("TOWLINE_KEEP_BYTES")),
    ("retention.archived", None),
    ("retention.peers", Some("TOWLINE_KEEP_PEERS")),
    ("retention.archiver", None),
    ("retention.archive", Some("TOWLINE_ARCHIVE")),
    ("retention.every", None),
    ("retention.topics", None),
];

/// A setting: its key, its value, and where it comes from.
struct Setting {
    key: &'static str,
    value: Value,
    origin: String,
}

impl Configured {
    pub(super) fn run(self, global: &Global) -> Outcome {
        let Action::Show { origin, config } = self.action;
        let mut files = Vec::new();
        if let Some(path) = config {
            files.push((path.display().to_string(), Settings::read(&path)?.values()?));
        }
        let data = global.data()?;
        let own = data.join(FILE).display().to_string();
        files.push((own, Settings::of_directory(&data)?.values()?));
        let settings = KEYS.iter().map(|(key, variable)| setting(key, *variable, &files));
        let settings = settings.collect::<Result<Vec<_>, Failure>>()?;
        let mut output = global.output();
        if output.format == Format::Text {
            for Setting { key, value, origin: from } in &settings {
                let from = if origin { format!("  # {from}") } else { String::new() };
                match value {
                    Value::Null => output.line(format_args!("# {key} is not set{from}"))?,
                    value => output.line(format_args!("{key} = {}{from}", as_toml(value)))?,
                }
            }
        } else {
            output.json(&document(settings, origin))?;
        }
        output.flush()
    }
}

fn document(settings: Vec<Setting>, with_origin: bool) -> Map<String, Value> {
    let shown = settings.into_iter().map(|Setting { key, value, origin }| {
        let shown = if with_origin { json!({"value": value, "origin": origin}) } else { value };
        (key.to_owned(), shown)
    });
    shown.collect()
}

/// One setting, by rank: its variable, the files, the default.
fn setting(
    key: &'static str,
    variable: Option<&'static str>,
    files: &[(String, Map<String, Value>)],
) -> Result<Setting, Failure> {
    let set = |name: &'static str| Some((name, std::env::var(name).ok()?));
    if let Some((name, text)) = variable.and_then(set) {
        let value = match key {
            "peers" => text.split(',').collect(),
            "emit_ring" | "retention.entries" | "retention.bytes" | "retention.peers" => {
                let number = text.parse::<u64>();
                number.map(Value::from).map_err(|error| {
                    Failure::usage(format_args!("{name} can't be understood"), error)
                })?
            }
            _ => text.into(),
        };
        return Ok(Setting { key, value, origin: name.to_owned() });
    }
    let said = |(file, values): &(String, Map<String, Value>)| {
        Some((file.clone(), values.get(key).filter(|value| !value.is_null())?.clone()))
    };
    if let Some((origin, value)) = files.iter().find_map(said) {
        return Ok(Setting { key, value, origin });
    }
    Ok(Setting { key, value: default(key), origin: "default".to_owned() })
}

fn default(key: &str) -> Value {
    match key {
        "name" => "".into(),
        "listen" => LISTEN.into(),
        "http" => HTTP.into(),
        "require_token" | "insecure" => false.into(),
        "peers" => json!([]),
        "emit_ring" => EMIT_RING.into(),
        "deliveries" => json!({}),
        "retention.every" => format!("{}s", PAUSE.as_secs()).into(),
        _ => Value::Null,
    }
}

/// A value on one line, as a settings file says it. JSON's texts, numbers and lists are TOML's, too.
fn as_toml(value: &Value) -> String {
    match value {
        Value::Object(table) => {
            let pairs: Vec<String> = table
                .iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(key, value)| format!("{} = {}", Value::from(key.as_str()), as_toml(value)))
                .collect();
            if pairs.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", pairs.join(", ")) }
        }
        Value::Array(values) => {
            let values: Vec<String> = values.iter().map(as_toml).collect();
            format!("[{}]", values.join(", "))
        }
        value => value.to_string(),
    }
}
