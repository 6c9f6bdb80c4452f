//! Tokens: who may ask a node over HTTP, for whose entries, and to do what.
//!
//! They lie in `tokens.json` in the data directory, readable by its owner only:
//!
//! ```text
//! {"tokens":[{"id":"<8 hex>","name":"ci","tenant":"acme","rights":["read","append"],
//!             "created":"2026-11-21T05:01:37.123Z","hash":"<64 hex>"}]}
//! ```
//!
//! A token's text is `towline_<id>_<secret>`. The secret is 32 random bytes, so a plain SHA-256 of
//! it says nothing about it; the file keeps that and never the secret.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::directory::{self, DirectoryError};
use crate::words::{NameError, Tenant, Time};

/// How many tokens a data directory holds.
pub const TOKENS: usize = 1_000;
/// The longest name of a token, in bytes.
const NAME_BYTES: usize = 64;

/// What a bearer may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Right {
    /// Read entries.
    Read,
    /// Append and emit entries.
    Append,
}

/// A token without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// 8 hex digits that name it.
    pub id: String,
    /// For people.
    pub name: String,
    /// Whose entries it is for; everybody's, and the node's own state, when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// What its bearer may do.
    pub rights: Vec<Right>,
    /// When it was made, RFC 3339.
    pub created: String,
    /// SHA-256 of its secret, in hex.
    hash: String,
}

#[derive(Default, Serialize, Deserialize)]
struct Listed {
    tokens: Vec<Token>,
}

/// Says why tokens can't be read or changed. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The file can't be read or written.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// Others than the owner can read the file.
    #[error("{path} can be read by others (mode {mode:04o})")]
    Readable {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The tenant is none.
    #[error(transparent)]
    Tenant(#[from] NameError),
    /// The name is empty, too long, or holds control characters.
    #[error("a token's name is 1 to {NAME_BYTES} bytes without control characters")]
    Name,
    /// There are as many as there may be.
    #[error("a data directory holds at most {TOKENS} tokens")]
    TooMany,
}

/// What a new token is for.
pub struct Wanted {
    /// For people.
    pub name: String,
    /// Whose entries it is for.
    pub tenant: Option<Tenant>,
    /// What its bearer may do.
    pub rights: Vec<Right>,
}

impl Token {
    /// The tenant whose entries it is for.
    ///
    /// # Errors
    /// Somebody has written a name into the file that is none.
    pub fn tenant(&self) -> Result<Option<Tenant>, NameError> {
        self.tenant.as_deref().map(Tenant::parse).transpose()
    }

    fn is(&self, secret: &str) -> bool {
        let mut wanted = [0; 32];
        let found: [u8; 32] = Sha256::digest(secret).into();
        let readable = hex::decode_to_slice(&self.hash, &mut wanted).is_ok();
        // All bytes are compared, so that the time taken tells nothing.
        let differing = wanted.iter().zip(found).fold(0, |sum, (a, b)| sum | (a ^ b));
        readable && differing == 0
    }
}

/// A new token and its text, which is known now and never again.
fn make(wanted: Wanted, now: Time) -> io::Result<(Token, String)> {
    let Wanted { name, tenant, mut rights } = wanted;
    let mut bytes = [0; 36];
    getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
    let (id, secret) = (hex::encode(&bytes[..4]), hex::encode(&bytes[4..]));
    rights.sort_unstable();
    rights.dedup();
    let token = Token {
        name,
        tenant: tenant.map(|tenant| tenant.to_string()),
        rights,
        created: now.to_string(),
        hash: hex::encode(Sha256::digest(&secret)),
        id,
    };
    let text = format!("towline_{}_{secret}", token.id);
    Ok((token, text))
}

/// The file of tokens in a data directory.
pub fn path(directory: &Path) -> PathBuf {
    directory.join("tokens.json")
}

/// All tokens of a data directory; none where there is no file.
///
/// # Errors
/// The file can't be read, is none of ours, or can be read by others.
pub fn list(directory: &Path) -> Result<Vec<Token>, TokenError> {
    let path = path(directory);
    let metadata = match fs::metadata(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        found => found.map_err(directory::failed("read", &path))?,
    };
    let mode = metadata.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(TokenError::Readable { path, mode });
    }
    let text = fs::read(&path).map_err(directory::failed("read", &path))?;
    let listed: Listed = serde_json::from_slice(&text)
        .map_err(|_| DirectoryError::Malformed { path, expected: "a list of tokens" })?;
    Ok(listed.tokens)
}

/// Makes a token. Returns it and its text, which is never shown again.
///
/// # Errors
/// See [`TokenError`].
pub fn add(directory: &Path, wanted: Wanted, now: Time) -> Result<(Token, String), TokenError> {
    let named = (1..=NAME_BYTES).contains(&wanted.name.len());
    if !named || wanted.name.contains(char::is_control) {
        return Err(TokenError::Name);
    }
    let _alone = alone(directory)?;
    let mut tokens = list(directory)?;
    if tokens.len() >= TOKENS {
        return Err(TokenError::TooMany);
    }
    let path = path(directory);
    let (token, text) = make(wanted, now).map_err(directory::failed("make", &path))?;
    tokens.push(token.clone());
    write(directory, tokens)?;
    Ok((token, text))
}

/// Removes a token by its id; none of that id was there when it returns none.
///
/// # Errors
/// See [`TokenError`].
pub fn remove(directory: &Path, id: &str) -> Result<Option<Token>, TokenError> {
    let _alone = alone(directory)?;
    let mut tokens = list(directory)?;
    let Some(at) = tokens.iter().position(|token| token.id == id) else {
        return Ok(None);
    };
    let removed = tokens.remove(at);
    write(directory, tokens)?;
    Ok(Some(removed))
}

fn write(directory: &Path, tokens: Vec<Token>) -> Result<(), TokenError> {
    let text = serde_json::to_vec_pretty(&Listed { tokens }).expect("texts are always JSON");
    Ok(directory::replace(&path(directory), &text, 0o600)?)
}

/// Keeps other processes from changing the tokens until it is dropped.
fn alone(directory: &Path) -> Result<File, TokenError> {
    let path = directory.join("tokens.lock");
    let mut options = OpenOptions::new();
    let opened = options.create(true).truncate(false).write(true).mode(0o600).open(&path);
    let file = opened.map_err(directory::failed("open", &path))?;
    file.lock().map_err(directory::failed("lock", &path))?;
    Ok(file)
}

/// The tokens of a data directory as a running node knows them: what others change in the file
/// counts from the next request on.
#[derive(Debug)]
pub struct Tokens {
    directory: Option<PathBuf>,
    /// A token of this process, which only those know who may read the data directory.
    own: Option<Token>,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    stamp: Option<Stamp>,
    tokens: Vec<Token>,
}

/// What shows that a file was replaced.
type Stamp = (u64, u64, SystemTime);

impl Tokens {
    /// The tokens of a data directory; of none, there are no tokens.
    pub fn of(directory: Option<&Path>) -> Self {
        Self { directory: directory.map(Path::to_owned), own: None, known: Mutex::default() }
    }

    /// Makes a token for the commands of this machine, which reach the node through the data
    /// directory: it may do everything, and ends with the process. Returns its text.
    ///
    /// # Errors
    /// The system gives no random bytes.
    pub fn make_own(&mut self, now: Time) -> io::Result<String> {
        let rights = vec![Right::Read, Right::Append];
        let (token, text) = make(Wanted { name: "local".into(), tenant: None, rights }, now)?;
        self.own = Some(token);
        Ok(text)
    }

    /// The token of this text; none for a stranger.
    ///
    /// # Errors
    /// The file can't be read, or can be read by others: then nobody is known.
    pub fn find(&self, text: &str) -> Result<Option<Token>, TokenError> {
        let Some((id, secret)) = text.strip_prefix("towline_").and_then(|t| t.split_once('_'))
        else {
            return Ok(None);
        };
        let matches = |token: &&Token| token.id == id && token.is(secret);
        if let Some(own) = self.own.as_ref().filter(matches) {
            return Ok(Some(own.clone()));
        }
        let Some(directory) = &self.directory else {
            return Ok(None);
        };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = stamp(&path(directory));
        if stamp.is_none() || known.stamp != stamp {
            known.stamp = None;
            known.tokens = list(directory)?;
            known.stamp = stamp;
        }
        Ok(known.tokens.iter().find(matches).cloned())
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.ino(), metadata.len(), metadata.modified().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(tenant: Option<&str>) -> Wanted {
        let tenant = tenant.map(|tenant| Tenant::parse(tenant).unwrap());
        Wanted { name: "ci".into(), tenant, rights: vec![Right::Append, Right::Read] }
    }

    #[test]
    fn a_token_is_found_by_its_text_until_it_is_removed() {
        let directory = tempfile::tempdir().unwrap();
        let tokens = Tokens::of(Some(directory.path()));
        assert_eq!(tokens.find("towline_00000000_00").unwrap(), None);
        let (token, text) = add(directory.path(), wanted(Some("a")), Time::default()).unwrap();
        assert_eq!(tokens.find(&text).unwrap(), Some(token.clone()));
        let forged = text.replace(&text[17..19], "zz");
        assert_eq!(tokens.find(&forged).unwrap(), None);
        assert_eq!(tokens.find(&format!("towline_{}_", token.id)).unwrap(), None);
        assert_eq!(remove(directory.path(), &token.id).unwrap(), Some(token.clone()));
        assert_eq!(remove(directory.path(), &token.id).unwrap(), None);
        assert_eq!(tokens.find(&text).unwrap(), None);
    }

    #[test]
    fn the_file_holds_no_secret_and_is_the_owners_alone() {
        let directory = tempfile::tempdir().unwrap();
        let (_, text) = add(directory.path(), wanted(None), Time::default()).unwrap();
        let file = path(directory.path());
        let secret = text.rsplit_once('_').unwrap().1;
        assert_eq!(secret.len(), 64);
        assert!(!fs::read_to_string(&file).unwrap().contains(secret));
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_file_that_others_can_read_lets_nobody_in() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let (_, text) = add(directory.path(), wanted(None), Time::default()).unwrap();
        fs::set_permissions(path(directory.path()), fs::Permissions::from_mode(0o640)).unwrap();
        let tokens = Tokens::of(Some(directory.path()));
        assert!(matches!(tokens.find(&text), Err(TokenError::Readable { mode: 0o640, .. })));
    }

    #[test]
    fn names_of_tokens_have_bounds() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["", "a\nb", &"x".repeat(65)] {
            let named = Wanted { name: name.into(), ..wanted(None) };
            assert!(matches!(add(directory.path(), named, Time::default()), Err(TokenError::Name)));
        }
    }
}
