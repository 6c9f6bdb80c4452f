//! Tenant, topic and kind: the three names that an entry carries.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use super::limits::{KIND_BYTES, TENANT_BYTES, TOPIC_BYTES};

/// Says why a text is no name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The text is empty.
    #[error("a {what} can't be empty")]
    Empty {
        /// «tenant», «topic» or «kind».
        what: &'static str,
    },
    /// The text is longer than allowed.
    #[error("a {what} is at most {most} bytes, and this has {found}")]
    TooLong {
        /// «tenant», «topic» or «kind».
        what: &'static str,
        /// The bound, in bytes.
        most: usize,
        /// The length given, in bytes.
        found: usize,
    },
    /// The text holds a character that the name can't have.
    #[error("a {what} can't hold {found:?}; allowed: {allowed}")]
    Character {
        /// «tenant», «topic» or «kind».
        what: &'static str,
        /// The first character that is not allowed.
        found: char,
        /// What is allowed, in words.
        allowed: &'static str,
    },
    /// The name is kept for towline itself.
    #[error("the {what} {name:?} is reserved for towline itself")]
    Reserved {
        /// «tenant» or «kind».
        what: &'static str,
        /// The name given.
        name: String,
    },
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $most:expr, $allowed:literal, $test:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Parses a name as the log may hold it, reserved ones included.
            ///
            /// # Errors
            /// An empty text, one over the bound, or one with a character that is not allowed.
            pub fn parse(text: &str) -> Result<Self, NameError> {
                Self::check(text)?;
                Ok(Self(text.into()))
            }

            /// Checks a text without keeping it.
            ///
            /// # Errors
            /// As [`Self::parse`].
            pub fn check(text: &str) -> Result<(), NameError> {
                let found = text.len();
                if found == 0 {
                    return Err(NameError::Empty { what: $what });
                }
                if found > $most {
                    return Err(NameError::TooLong { what: $what, most: $most, found });
                }
                let test: fn(char) -> bool = $test;
                match text.chars().find(|&c| !test(c)) {
                    Some(found) => {
                        Err(NameError::Character { what: $what, found, allowed: $allowed })
                    }
                    None => Ok(()),
                }
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }
    };
}

name!(
    /// Whom an entry belongs to: 1 to 64 of `A-Z a-z 0-9 . _ -`.
    Tenant,
    "tenant",
    TENANT_BYTES,
    "letters, digits, '.', '_', '-'",
    |c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')
);
name!(
    /// The sub-log that an entry belongs to: 1 to 256 bytes of text without control characters.
    Topic,
    "topic",
    TOPIC_BYTES,
    "any text without control characters",
    |c| !c.is_control()
);
name!(
    /// What sort of event an entry is: 1 to 128 bytes without spaces and control characters.
    Kind,
    "kind",
    KIND_BYTES,
    "any text without spaces and control characters",
    |c| !c.is_control() && !c.is_whitespace()
);

/// The tenant of entries that name none.
pub const DEFAULT_TENANT: &str = "default";
/// The tenant that towline's own entries belong to.
pub const TOWLINE_TENANT: &str = "towline";
/// The start of every kind that towline itself writes.
pub const TOWLINE_KINDS: &str = "towline.";

impl Default for Tenant {
    fn default() -> Self {
        Self(DEFAULT_TENANT.into())
    }
}

impl Tenant {
    /// Refuses the tenant of towline's own entries.
    ///
    /// # Errors
    /// [`NameError::Reserved`] for `towline`.
    pub fn open_to_callers(self) -> Result<Self, NameError> {
        if self.as_str() == TOWLINE_TENANT {
            return Err(NameError::Reserved { what: "tenant", name: self.0.to_string() });
        }
        Ok(self)
    }
}

impl Kind {
    /// Refuses the kinds that towline itself writes.
    ///
    /// # Errors
    /// [`NameError::Reserved`] for `towline.*`.
    pub fn open_to_callers(self) -> Result<Self, NameError> {
        if self.as_str().starts_with(TOWLINE_KINDS) {
            return Err(NameError::Reserved { what: "kind", name: self.0.to_string() });
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_may_hold_any_text_but_control_characters() {
        assert!(Topic::parse("story/42 – äöü").is_ok());
        assert!(matches!(Topic::parse("a\u{1b}[31m"), Err(NameError::Character { .. })));
        assert_eq!(Topic::parse(""), Err(NameError::Empty { what: "topic" }));
        assert!(Topic::parse(&"x".repeat(TOPIC_BYTES)).is_ok());
        assert!(Topic::parse(&"x".repeat(TOPIC_BYTES + 1)).is_err());
    }

    #[test]
    fn towline_keeps_its_own_names() {
        assert!(Tenant::parse("towline").unwrap().open_to_callers().is_err());
        assert!(Kind::parse("towline.gap").unwrap().open_to_callers().is_err());
        assert!(Kind::parse("towlines").unwrap().open_to_callers().is_ok());
    }
}
