//! Names of nodes, clusters, segments, changes and entries, and the counters that order them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Says why a text is no id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseIdError {
    /// The text has another length than the id has hex digits.
    #[error("{what} is {expected} hex digits, and this has {found} characters")]
    Length {
        /// What was expected: «a node id», say.
        what: &'static str,
        /// How many hex digits it takes.
        expected: usize,
        /// How many characters were given.
        found: usize,
    },
    /// The text holds something else than hex digits.
    #[error("{what} is made of hex digits only")]
    NotHex {
        /// What was expected.
        what: &'static str,
    },
    /// The text is no `author:seq`.
    #[error("an entry id is author:seq, 64 hex digits and a number (optionally @segment)")]
    Entry,
}

fn parse_hex<const N: usize>(text: &str, what: &'static str) -> Result<[u8; N], ParseIdError> {
    if text.len() != N * 2 {
        let found = text.chars().count();
        return Err(ParseIdError::Length { what, expected: N * 2, found });
    }
    let mut bytes = [0; N];
    hex::decode_to_slice(text, &mut bytes).map_err(|_| ParseIdError::NotHex { what })?;
    Ok(bytes)
}

/// Writes bytes as hex digits into room for twice as many.
fn hex_digits<'d>(bytes: &[u8], digits: &'d mut [u8]) -> &'d str {
    // Neither fails: the room is right, and digits are ASCII.
    let written = hex::encode_to_slice(bytes, digits).ok();
    written.and_then(|()| std::str::from_utf8(digits).ok()).unwrap_or_default()
}

macro_rules! hex_id {
    ($(#[$doc:meta])* $name:ident, $bytes:literal, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $bytes]);

        impl $name {
            /// The raw bytes.
            pub fn as_bytes(&self) -> &[u8; $bytes] {
                &self.0
            }

            /// The first eight hex digits: enough for a person, never for a machine.
            pub fn short(&self) -> String {
                hex::encode(&self.0[..4])
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut digits = [0; 2 * $bytes];
                f.write_str(hex_digits(&self.0, &mut digits))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.short())
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                parse_hex(text, $what).map(Self)
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                let mut digits = [0; 2 * $bytes];
                s.serialize_str(hex_digits(&self.0, &mut digits))
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

hex_id!(
    /// A node: its Ed25519 public key.
    NodeId, 32, "a node id"
);
hex_id!(
    /// A cluster: the public half of the cluster key.
    ClusterId, 32, "a cluster id"
);
hex_id!(
    /// A change: the SHA-256 of its Automerge chunk, as Automerge defines it.
    ChangeHash, 32, "a change hash"
);
hex_id!(
    /// A segment, and the Automerge actor that wrote it: the first half of the SHA-256 of the
    /// segment's opening statement.
    SegmentId, 16, "a segment id"
);

macro_rules! counter {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl $name {
            /// The counter `by` steps on; it saturates, so hostile numbers can't wrap around.
            pub fn plus(self, by: u64) -> Self {
                Self(self.0.saturating_add(by))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

counter!(
    /// An author's entry counter: 0, 1, 2, … contiguous, never reused on one branch.
    Seq
);
counter!(
    /// An entry's place in this node's order of arrival; it means nothing on another node.
    Offset
);
counter!(
    /// The number that an emitted event took: 0, 1, 2, …
    EmitNumber
);

/// The name of an entry: `author:seq`, and `@segment` where two branches share the seq.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryId {
    /// Who wrote the entry.
    pub author: NodeId,
    /// Its number among the author's entries.
    pub seq: Seq,
    /// The segment that holds it, when said.
    pub segment: Option<SegmentId>,
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.author, self.seq)?;
        match self.segment {
            Some(segment) => write!(f, "@{segment}"),
            None => Ok(()),
        }
    }
}

impl FromStr for EntryId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let (author, rest) = text.split_once(':').ok_or(ParseIdError::Entry)?;
        let (seq, segment) = match rest.split_once('@') {
            Some((seq, segment)) => (seq, Some(segment.parse()?)),
            None => (rest, None),
        };
        let seq = seq.parse().map(Seq).map_err(|_| ParseIdError::Entry)?;
        Ok(Self { author: author.parse()?, seq, segment })
    }
}
