//! The settings file of a node: `config.toml` in its data directory, and what `--config` names.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::failure::Failure;
use super::serving::beside;
use crate::node::{Delivery, Retention, TopicRetention};
use crate::words::time::parse_duration;
use crate::words::{Kind, NodeId, Tenant, Topic};

/// The settings file in a data directory.
pub const FILE: &str = "config.toml";

/// What a settings file says; all of it may be left out.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The node's name for people.
    pub name: Option<String>,
    /// Where to listen for peers.
    pub listen: Option<String>,
    /// Where to answer HTTP.
    pub http: Option<String>,
    /// The certificate for HTTP, with its chain.
    pub tls_cert: Option<PathBuf>,
    /// Its key.
    pub tls_key: Option<PathBuf>,
    /// Whether HTTP asks for a token on loopback, too.
    pub require_token: Option<bool>,
    /// Whether HTTP may be open to strangers.
    pub insecure: Option<bool>,
    /// Whom to connect with, as `ID@ADDRESS:PORT`.
    pub peers: Option<Vec<String>>,
    /// How many emitted events the ring holds.
    pub emit_ring: Option<usize>,
    /// What becomes of emitted events, by kind.
    pub deliveries: Option<BTreeMap<String, DeliveryName>>,
    /// What is kept; without it, everything.
    #[serde(default)]
    pub retention: Keep,
}

/// What is kept of the log, as a settings file says it; all of it may be left out.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Keep {
    /// For how long, such as `7d`.
    pub age: Option<String>,
    /// How many entries.
    pub entries: Option<u64>,
    /// How many bytes on disk.
    pub bytes: Option<u64>,
    /// Whether segments go in which all entries are archived in their topics.
    pub archived: Option<bool>,
    /// How many peers must hold what goes.
    pub peers: Option<usize>,
    /// The node that must hold what goes.
    pub archiver: Option<String>,
    /// Where what goes is written first.
    pub archive: Option<PathBuf>,
    /// How often the node looks, such as `10s`.
    pub every: Option<String>,
    /// What is kept of topics.
    pub topics: Option<Vec<KeepTopic>>,
}

/// What is kept of a topic.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct KeepTopic {
    /// The tenant; `default` when left out.
    pub tenant: Option<String>,
    /// The topic.
    pub topic: String,
    /// For how long.
    pub age: Option<String>,
    /// How many entries.
    pub entries: Option<u64>,
    /// How many bytes of them, uncompressed.
    pub bytes: Option<u64>,
}

impl Keep {
    fn or(self, other: Self) -> Self {
        Self {
            age: self.age.or(other.age),
            entries: self.entries.or(other.entries),
            bytes: self.bytes.or(other.bytes),
            archived: self.archived.or(other.archived),
            peers: self.peers.or(other.peers),
            archiver: self.archiver.or(other.archiver),
            archive: self.archive.or(other.archive),
            every: self.every.or(other.every),
            topics: self.topics.or(other.topics),
        }
    }

    /// What a node is told.
    ///
    /// # Errors
    /// A duration, an id or a name that can't be understood.
    pub fn retention(&self) -> Result<Retention, Failure> {
        let usual = Retention::default();
        let archiver = self.archiver.as_deref().map(str::parse::<NodeId>).transpose();
        let topics = self.topics.iter().flatten().map(KeepTopic::retention);
        Ok(Retention {
            age: read_duration(self.age.as_deref())?,
            entries: self.entries,
            bytes: self.bytes,
            archived: self.archived.unwrap_or(usual.archived),
            peers: self.peers.unwrap_or(usual.peers),
            archiver: archiver.map_err(|error| misunderstood("archiver", error))?,
            archive: self.archive.clone(),
            topics: topics.collect::<Result<_, _>>()?,
            pause: read_duration(self.every.as_deref())?.unwrap_or(usual.pause),
        })
    }
}

impl KeepTopic {
    fn retention(&self) -> Result<TopicRetention, Failure> {
        let tenant = self.tenant.as_deref().map(Tenant::parse).transpose();
        Ok(TopicRetention {
            tenant: tenant.map_err(|error| misunderstood("tenant", error))?.unwrap_or_default(),
            topic: Topic::parse(&self.topic).map_err(|error| misunderstood("topic", error))?,
            age: read_duration(self.age.as_deref())?,
            entries: self.entries,
            bytes: self.bytes,
        })
    }
}

fn read_duration(text: Option<&str>) -> Result<Option<Duration>, Failure> {
    text.map(parse_duration)
        .transpose()
        .map_err(|error| misunderstood("duration", error).hint("age = \"7d\", or 12h, 30m, 10s"))
}

fn misunderstood(what: &str, error: impl std::fmt::Display) -> Failure {
    Failure::usage(format_args!("the {what} of the retention can't be understood"), error)
}

/// A delivery as a settings file names it.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryName {
    /// Heard at once, and recorded.
    RecordAndBroadcast,
    /// Recorded only.
    RecordOnly,
    /// Heard at once, and never recorded.
    BroadcastOnly,
}

impl Settings {
    /// Reads a settings file.
    ///
    /// # Errors
    /// It can't be read, or says something that is no setting.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let text = std::fs::read_to_string(path);
        let text =
            text.map_err(|error| Failure::file("the settings can't be read", path, &error))?;
        Self::parse(&text, path)
    }

    /// Reads the text of a settings file that lies at `path`.
    ///
    /// # Errors
    /// It says something that is no setting.
    pub fn parse(text: &str, path: &Path) -> Result<Self, Failure> {
        toml::from_str(text)
            .map_err(|error: toml::de::Error| {
                let start = error.span().map_or(0, |span| span.start);
                let line = text.bytes().take(start).filter(|byte| *byte == b'\n').count() + 1;
                let why = format_args!("{}, line {line}: {}", path.display(), error.message());
                Failure::usage("the settings can't be understood", why)
                .hint(
                "the settings are name, listen, http, tls_cert, tls_key, require_token, insecure, \
                 peers, emit_ring, deliveries and [retention]",
            )
            })
            .map(|settings: Self| settings.beside(path))
    }

    fn beside(mut self, file: &Path) -> Self {
        for path in [&mut self.tls_cert, &mut self.tls_key, &mut self.retention.archive] {
            *path = path.take().map(|path| beside(path, file));
        }
        self
    }

    /// Reads the settings of a data directory; without a file all are left out.
    ///
    /// # Errors
    /// As [`Settings::read`].
    pub fn of_directory(directory: &Path) -> Result<Self, Failure> {
        let path = directory.join(FILE);
        match path.symlink_metadata() {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Self::default()),
            _ => Self::read(&path),
        }
    }

    /// Takes from `other` what is left out here.
    pub fn or(self, other: Self) -> Self {
        Self {
            name: self.name.or(other.name),
            listen: self.listen.or(other.listen),
            http: self.http.or(other.http),
            tls_cert: self.tls_cert.or(other.tls_cert),
            tls_key: self.tls_key.or(other.tls_key),
            require_token: self.require_token.or(other.require_token),
            insecure: self.insecure.or(other.insecure),
            peers: self.peers.or(other.peers),
            emit_ring: self.emit_ring.or(other.emit_ring),
            deliveries: self.deliveries.or(other.deliveries),
            retention: self.retention.or(other.retention),
        }
    }

    /// All of them by key, `retention.age` say; those that are left out are null.
    ///
    /// # Errors
    /// A path that is no text.
    pub fn values(&self) -> Result<Map<String, Value>, Failure> {
        match serde_json::to_value(self) {
            Ok(Value::Object(mut values)) => {
                let retention = values.remove("retention");
                let kept = retention.as_ref().and_then(Value::as_object).into_iter().flatten();
                values.extend(kept.map(|(key, value)| (format!("retention.{key}"), value.clone())));
                Ok(values)
            }
            Ok(_) => Ok(Map::new()),
            Err(error) => Err(Failure::usage("the settings can't be shown", error)),
        }
    }

    /// What becomes of emitted events, by kind.
    ///
    /// # Errors
    /// A name that is no kind.
    pub fn deliveries(&self) -> Result<Vec<(Kind, Delivery)>, Failure> {
        let named = self.deliveries.iter().flatten();
        let parsed = named.map(|(kind, delivery)| {
            let kind = Kind::parse(kind).map_err(|error| {
                Failure::usage("the settings can't be understood", error)
                    .hint("deliveries = { KIND = \"record_only\" }")
            })?;
            Ok((kind, Delivery::from(*delivery)))
        });
        parsed.collect()
    }
}

impl From<DeliveryName> for Delivery {
    fn from(name: DeliveryName) -> Self {
        match name {
            DeliveryName::RecordAndBroadcast => Self::RecordAndBroadcast,
            DeliveryName::RecordOnly => Self::RecordOnly,
            DeliveryName::BroadcastOnly => Self::BroadcastOnly,
        }
    }
}

/// The text of a new settings file that gives a node its name.
pub fn naming(name: &str) -> String {
    format!("name = {}\n", toml::Value::from(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_first_goes_before_the_rest() {
        let first: Settings = toml::from_str("name = \"a\"").unwrap();
        let rest: Settings = toml::from_str("name = \"b\"\nemit_ring = 4").unwrap();
        let both = first.or(rest);
        assert_eq!((both.name.as_deref(), both.emit_ring), (Some("a"), Some(4)));
    }

    #[test]
    fn what_is_kept_is_said_in_a_table() {
        let text = "[retention]\nage = \"7d\"\npeers = 2\n\
            topics = [{ topic = \"t\", entries = 9, bytes = 5 }]";
        let first: Settings = toml::from_str("[retention]\nage = \"1h\"").unwrap();
        let both = first.or(toml::from_str(text).unwrap());
        let kept = both.retention.retention().unwrap();
        assert_eq!((kept.age, kept.peers), (Some(Duration::from_secs(3_600)), 2));
        let topic = &kept.topics[0];
        assert_eq!((topic.topic.as_str(), topic.entries, topic.bytes), ("t", Some(9), Some(5)));
        let wrong: Settings = toml::from_str("[retention]\nage = \"long\"").unwrap();
        assert!(wrong.retention.retention().is_err());
    }

    #[test]
    fn a_delivery_is_named_by_kind() {
        let text = "deliveries = { heartbeat = \"broadcast_only\" }";
        let settings: Settings = toml::from_str(text).unwrap();
        let kind = Kind::parse("heartbeat").unwrap();
        let deliveries = settings.deliveries().unwrap();
        assert_eq!(deliveries, [(kind, Delivery::BroadcastOnly)]);
    }

    #[test]
    fn a_name_in_a_settings_file_reads_back() {
        let name = "a \"quoted\" name";
        let settings: Settings = toml::from_str(&naming(name)).unwrap();
        assert_eq!(settings.name.as_deref(), Some(name));
    }
}
