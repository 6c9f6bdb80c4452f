//! Why a command ended early, and the form in which that is said:
//!
//! ```text
//! error[E0101]: what failed
//!   why: what the program knows of the cause
//!   try: what can be done
//! ```

use std::fmt::{self, Display, Formatter};
use std::path::Path;

use super::{line, output};
use crate::node::archive::ArchiveError;
use crate::node::backup::BackupError;
use crate::node::directory::{DirectoryError, is_full};
use crate::node::salvage::{Error as SalvageError, SalvageError as Salvaging};
use crate::node::{ExportError, NodeError, OpenError, QueryError, StoreError, VerifyError};
use crate::words::json::DraftJsonError;
use crate::words::{Code, DraftError};

/// Why a command ended early.
#[derive(Debug)]
pub enum Stop {
    /// It failed.
    Failed(Failure),
    /// Whoever read its output has gone, as `head` does: there is nothing left to do, or to say.
    ReaderLeft,
    /// All is said already, and this is the exit code.
    Told(u8),
}

/// An error as people see it.
#[derive(Debug)]
pub struct Failure {
    code: Code,
    what: String,
    why: String,
    hint: Option<String>,
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl Failure {
    /// A failure with the usual advice for its code.
    pub fn new(code: Code, what: impl Display, why: impl Display) -> Self {
        Self { code, what: what.to_string(), why: why.to_string(), hint: None }
    }

    /// A command line that makes no sense.
    pub fn usage(what: impl Display, why: impl Display) -> Self {
        Self::new(Code::Usage, what, why)
    }

    /// A file or a stream that can't be read or written.
    pub fn file(what: impl Display, path: &Path, error: &std::io::Error) -> Self {
        Self::new(Code::Io, what, format_args!("{}: {error}", path.display()))
    }

    /// Replaces the usual advice.
    pub fn hint(mut self, hint: impl Display) -> Self {
        self.hint = Some(hint.to_string());
        self
    }

    /// Adds to the cause what is true all the same.
    pub fn yet(mut self, what: impl Display) -> Self {
        self.why = format!("{}; {what}", self.why);
        self
    }

    /// A store that can't be opened.
    pub fn open(what: impl Display, error: &OpenError) -> Self {
        let code = match error {
            OpenError::Missing(_) => Code::NotFound,
            OpenError::Store(StoreError::Full(_)) => Code::DiskFull,
            _ => Code::Store,
        };
        let failure = Self::new(code, what, error);
        match error {
            OpenError::Missing(_) => {
                failure.hint("look at the path; where there is no store yet, towline run makes one")
            }
            _ => failure,
        }
    }

    /// A store that can't be read.
    pub fn store(what: impl Display, error: &StoreError) -> Self {
        let code = match error {
            StoreError::Full(_) => Code::DiskFull,
            _ => Code::Store,
        };
        Self::new(code, what, error)
    }

    /// A query without an answer.
    pub fn query(error: &QueryError) -> Self {
        let what = "the log can't be queried";
        match error {
            QueryError::Cursor(error) => Self::new(Code::Cursor, Code::Cursor.title(), error),
            QueryError::Limit(_) => Self::new(Code::Usage, what, error),
            QueryError::Store(error) => Self::store(what, error),
        }
    }

    /// A data directory that can't be used.
    pub fn directory(what: impl Display, error: &DirectoryError) -> Self {
        let code = match error {
            error if error.is_full() => Code::DiskFull,
            DirectoryError::Locked(_) => Code::Locked,
            DirectoryError::KeyMissing(_)
            | DirectoryError::KeyReadable { .. }
            | DirectoryError::OtherNode { .. }
            | DirectoryError::NoKey { .. } => Code::Key,
            DirectoryError::Malformed { path, .. } if path.ends_with("key") => Code::Key,
            DirectoryError::OtherCluster { .. } => Code::Cluster,
            DirectoryError::Malformed { .. } | DirectoryError::Io { .. } => Code::Io,
        };
        let failure = Self::new(code, what, error);
        match error {
            DirectoryError::KeyReadable { path, .. } => {
                failure.hint(format_args!("chmod 600 {}", path.display()))
            }
            DirectoryError::NoKey { own, .. } => {
                failure.hint(format_args!("put the node's key at {}, mode 0600", own.display()))
            }
            DirectoryError::OtherNode { .. } => failure.hint("another --data directory"),
            _ => failure,
        }
    }

    /// A node that can't be started.
    pub fn start(error: &NodeError) -> Self {
        let what = "the node can't start";
        let code = match error {
            NodeError::Directory(error) => return Self::directory(what, error),
            NodeError::Open(error) => return Self::open(what, error),
            NodeError::Store(error) => return Self::store(what, error),
            NodeError::Bind(_) => Code::Address,
            NodeError::PeersWithoutNetwork => Code::Usage,
            NodeError::Name => Code::Name,
            NodeError::EmitCounter(error) if is_full(error) => Code::DiskFull,
            NodeError::Tip(error) if is_full(error) => Code::DiskFull,
            NodeError::Random(_) | NodeError::EmitCounter(_) | NodeError::Tip(_) => Code::Io,
        };
        Self::new(code, what, error)
    }

    /// A start that failed for a damaged store is told the way on, for this data directory.
    pub fn salvageable(self, error: &NodeError, data: &Path) -> Self {
        let is_damaged = match error {
            NodeError::Open(OpenError::Foreign(_)) => true,
            NodeError::Open(OpenError::Store(error)) | NodeError::Store(error) => {
                matches!(error, StoreError::Damaged(_) | StoreError::Lost(_))
            }
            _ => false,
        };
        match is_damaged {
            true => self.hint(format_args!("towline salvage --data {}", data.display())),
            false => self,
        }
    }

    /// A data directory that can't be salvaged.
    pub fn salvage(error: &SalvageError) -> Self {
        let what = "the store can't be salvaged";
        match error {
            SalvageError::Directory(error) => Self::directory(what, error),
            SalvageError::Open(error) => Self::open(what, error),
            SalvageError::Salvage(Salvaging::Store(error)) => Self::store(what, error),
            SalvageError::Node(error) => Self::start(error),
            SalvageError::Salvage(Salvaging::Io(_)) | SalvageError::Move { .. } => {
                Self::new(Code::Io, what, error)
            }
        }
    }

    /// A store in which something is not as it was signed, or that can't be verified at all.
    pub fn verification(place: &Path, error: &VerifyError) -> Self {
        let what = format_args!("the verification of {} failed", place.display());
        match error {
            VerifyError::Bad(bad) => Self::new(Code::Verification, what, bad),
            VerifyError::Missing(missing) => Self::new(Code::Verification, what, missing).hint(
                "start the node: it asks its peers for them; if nobody has them any more, stop it \
                 and type: towline salvage --forget-missing",
            ),
            VerifyError::Store(error) => Self::store(what, error),
        }
    }

    /// An archive of segments that is not what its authors signed, or can't be read.
    pub fn archive(error: &ArchiveError) -> Self {
        let code = match error {
            ArchiveError::Bad { .. } | ArchiveError::Document(_) => Code::Verification,
            ArchiveError::Store(_) => Code::Store,
            ArchiveError::Directory(error) if error.is_full() => Code::DiskFull,
            ArchiveError::Directory(_) | ArchiveError::Unsigned(_) => Code::Io,
        };
        let hint = "write it again from a log that has it: towline archive";
        Self::new(code, "the archive can't be read", error).hint(hint)
    }

    /// A backup that was not made or restored.
    pub fn backup(what: impl Display, error: &BackupError) -> Self {
        match error {
            BackupError::Occupied(_) => Self::new(Code::Occupied, what, error),
            BackupError::Open(error) => Self::open(what, error),
            BackupError::Store(error) => Self::store(what, error),
            BackupError::Verify(VerifyError::Bad(bad)) => Self::new(Code::Verification, what, bad),
            BackupError::Verify(VerifyError::Missing(missing)) => {
                Self::new(Code::Verification, what, missing)
            }
            BackupError::Verify(VerifyError::Store(error)) => Self::store(what, error),
            BackupError::Directory(error) => Self::directory(what, error),
            BackupError::Io { error: io, .. } if is_full(io) => {
                Self::new(Code::DiskFull, what, error)
            }
            BackupError::Io { .. } => Self::new(Code::Io, what, error),
        }
    }

    /// A log that can't be exported.
    pub fn export(error: &ExportError) -> Self {
        let what = "the log can't be exported";
        match error {
            ExportError::Store(error) => Self::store(what, error),
            ExportError::Document(error) => Self::new(Code::Store, what, error),
        }
    }

    /// A draft that can't become an entry.
    pub fn draft(what: impl Display, error: &DraftJsonError) -> Self {
        let code = match error {
            DraftJsonError::Draft(DraftError::PayloadTooLarge { .. }) => Code::TooLarge,
            DraftJsonError::Draft(DraftError::Json(_)) => Code::Malformed,
            DraftJsonError::Draft(_) => Code::Name,
            _ => Code::Malformed,
        };
        Self::new(code, what, error)
    }

    /// Its code.
    pub fn code(&self) -> Code {
        self.code
    }

    /// What failed.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// What is known of the cause.
    pub fn why(&self) -> &str {
        &self.why
    }

    /// What can be done.
    pub fn way_on(&self) -> &str {
        self.hint.as_deref().unwrap_or_else(|| usual_hint(self.code))
    }

    /// Whether the same may succeed later: once the node runs again, has room, or has time.
    pub fn is_passing(&self) -> bool {
        let is_down = matches!(self.code, Code::Unreachable | Code::Closing | Code::Poisoned);
        is_down || matches!(self.code, Code::DiskFull | Code::Timeout | Code::Busy)
    }

    /// The exit code of the program.
    pub fn exit(&self) -> u8 {
        self.code.exit()
    }

    /// Says it on stderr.
    pub fn tell(&self) {
        output::note(&self.to_string());
    }
}

impl Display for Failure {
    /// Three lines, whatever the texts hold.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let hint = self.way_on();
        writeln!(f, "error[{}]: {}", self.code.text(), line::one_line(&self.what))?;
        writeln!(f, "  why: {}", line::one_line(&self.why))?;
        write!(f, "  try: {}", line::one_line(hint))
    }
}

/// What can usually be done about an error.
fn usual_hint(code: Code) -> &'static str {
    match code {
        Code::Usage => "towline help",
        Code::Name => "towline explain E0002, which says what names look like",
        Code::TooLarge => "split it, or append the address and digest of what is kept elsewhere",
        Code::Malformed => "towline explain E0004, which says what a draft looks like",
        Code::Nothing => "towline append 'some text', or pipe lines into it",
        Code::Cursor => "begin without a cursor",
        Code::NotFound => "look at --data and at the id, and whether it has arrived: towline nodes",
        Code::Removed => "towline retain, which says what is kept; a node that keeps more has them",
        Code::KeyReused => "use a new key for new entries",
        Code::Host => "use localhost or a loopback address in --node",
        Code::Token => "--token-file FILE, with a token that `towline token add` has printed",
        Code::Rights => "a token with more rights: towline token add",
        Code::Unprotected => "towline token add, and --tls-cert FILE --tls-key FILE; or --insecure",
        Code::Held => "towline cursor ls, which says who has it, and until when",
        Code::UnknownThread => {
            "look at --tenant and the topic, and whether it has arrived: towline nodes"
        }
        Code::CursorBeyondEnd | Code::WatermarkBeyondEnd => {
            "towline thread show, which says where the end is"
        }
        Code::Foreign => "leave tenant and topic out of the event",
        Code::Corrupt => "read it as a thread, or on another node",
        Code::Exists => "another name, or extend it: towline session extend",
        Code::TooShort => "towline session show, which says how long it is",
        Code::Locked => "speak to the node that runs there: the same --data does; or stop it first",
        Code::Key => "restore the file 'key' from a backup, or use another --data directory",
        Code::Store => "towline verify, which names the first bad place",
        Code::Cluster => "another --data directory, or leave --cluster out",
        Code::Address => "another address; port 0 picks a free one",
        Code::Peer => "--peer ID@ADDRESS:PORT, with the id that `towline init` prints there",
        Code::Occupied => "another name, or --force",
        Code::Unreachable => "towline run, or name a node that runs with --data or --node",
        Code::Poisoned => {
            "see to the disk, then restart the node; towline status says what happened"
        }
        Code::Closing => "try again when the node runs",
        Code::Timeout => "a longer --timeout; see towline nodes for who lags",
        Code::DiskFull => "free some room on the disk; a running node goes on by itself then",
        Code::Busy => "try again later, or read pages: towline query",
        Code::EmitRefused => "towline status, and look at the disk of the node",
        Code::Verification => {
            "towline explain E0301, which says how to get the log back from peers"
        }
        Code::Incomplete => "towline gaps; towline forks",
        Code::Method | Code::MediaType | Code::NotAcceptable => {
            "use a towline of the same version as the node"
        }
        Code::Io => "look at the path, its permissions and the room on its disk",
    }
}
