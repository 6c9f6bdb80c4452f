//! Names of sessions, transcripts and personas.

use std::fmt;

use super::SessionError;

/// The longest name, in bytes.
pub const NAME_BYTES: usize = 128;

/// Checks a name.
///
/// # Errors
/// It is not well-formed.
pub fn check(what: &'static str, text: &str) -> Result<(), SessionError> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | ':');
    if text.is_empty() || text.len() > NAME_BYTES || !text.chars().all(fits) {
        let found = text.chars().take(NAME_BYTES).collect();
        return Err(SessionError::InvalidName { what, found });
    }
    Ok(())
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// Parses a name.
            ///
            /// # Errors
            /// It is empty, too long, or holds a character that is not allowed.
            pub fn parse(text: &str) -> Result<Self, SessionError> {
                check($what, text)?;
                Ok(Self(text.to_owned()))
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
    };
}

name!(
    /// The name of a session: 1 to 128 letters, digits, `.`, `_`, `-`, `:`; unique in its tenant.
    SessionName,
    "session"
);
name!(
    /// The name of a transcript, as that of a session; unique in its tenant.
    TranscriptName,
    "transcript"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_can_not_leave_its_topic() {
        assert!(SessionName::parse("agent-7:2026.11").is_ok());
        for text in ["", "a/b", "a b", "..\n", "ä", &"x".repeat(NAME_BYTES + 1)] {
            let refused = TranscriptName::parse(text);
            assert!(matches!(refused, Err(SessionError::InvalidName { .. })), "{text:?}");
        }
    }
}
