//! Where a command finds its log: at a running node, or in a data directory.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;

use clap::{ArgAction, Args};
use tracing_subscriber::EnvFilter;

use super::client::{Client, Credentials};
use super::failure::{Failure, Stop};
use super::output::Output;
use super::template::Form;
use crate::node::{OfflineLog, directory};
use crate::words::Code;

/// The flags of every command.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// The data directory [default: ~/.local/share/towline]
    #[arg(long, global = true, value_name = "DIR", env = "TOWLINE_DATA", hide_env_values = true)]
    data: Option<PathBuf>,
    /// Speak to the node at this address instead of the one of --data
    #[arg(long, global = true, value_name = "URL", env = "TOWLINE_NODE", hide_env_values = true)]
    node: Option<String>,
    /// Bear the token in this file, to the node of --node
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "TOWLINE_TOKEN_FILE",
        hide_env_values = true
    )]
    token_file: Option<PathBuf>,
    /// Trust these certificates (PEM) for https://, instead of the web's
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "TOWLINE_CA_FILE",
        hide_env_values = true
    )]
    ca_file: Option<PathBuf>,
    /// The form of what is printed on stdout
    #[arg(
        short = 'o',
        global = true,
        default_value = "text",
        value_name = "text|json|ndjson|cloudevents|template=TEXT",
        env = "TOWLINE_OUTPUT",
        hide_env_values = true
    )]
    form: Form,
    /// Say nothing on stderr but errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    quiet: bool,
    /// Log more on stderr; twice for much more (or TOWLINE_LOG=FILTER)
    #[arg(short, long, global = true, action = ArgAction::Count)]
    verbose: u8,
}

/// Where a log is.
pub enum Place {
    /// A running node.
    Node(Client),
    /// A data directory on which no node answers.
    Directory(Box<OfflineLog>),
}

impl Global {
    /// Sends the log of this process to stderr.
    pub fn start_tracing(&self) {
        let level = match (self.quiet, self.verbose) {
            (true, _) => "error",
            (false, 0) => "warn",
            (false, 1) => "towline=info,warn",
            (false, 2) => "towline=debug,info",
            (false, _) => "trace",
        };
        let named = EnvFilter::try_from_env("TOWLINE_LOG");
        let logs = tracing_subscriber::fmt()
            .with_env_filter(named.unwrap_or_else(|_| EnvFilter::new(level)))
            .with_writer(io::stderr)
            .with_ansi(false);
        // It fails only where a subscriber is set already, and then that one is meant.
        drop(logs.try_init());
    }

    /// The data directory.
    ///
    /// # Errors
    /// None is named, and there is no home directory for one.
    pub fn data(&self) -> Result<PathBuf, Failure> {
        self.data.clone().map_or_else(Self::default_data, Ok)
    }

    /// The data directory where no flag names one.
    ///
    /// # Errors
    /// As [`Global::data`].
    pub fn default_data() -> Result<PathBuf, Failure> {
        if let Some(data) = variable("TOWLINE_DATA") {
            return Ok(data.into());
        }
        of_user("XDG_DATA_HOME", ".local/share").ok_or_else(|| {
            Failure::usage("there is no data directory", "neither --data nor HOME is set")
                .hint("--data DIR")
        })
    }

    /// The data directory that was named, if one was.
    pub fn named_data(&self) -> Option<PathBuf> {
        self.data.clone()
    }

    /// The node that was named by address, if one was.
    pub fn named_node(&self) -> Option<&str> {
        self.node.as_deref()
    }

    /// The running node that is meant.
    ///
    /// # Errors
    /// No node is named, and none runs on the data directory.
    pub fn node(&self) -> Result<Client, Failure> {
        if let Some(client) = self.client()? {
            return Ok(client);
        }
        let data = self.data()?;
        let why = format_args!("no node runs on {}", data.display());
        Err(Failure::new(Code::Unreachable, Code::Unreachable.title(), why)
            .hint(format_args!("towline run --data {}", data.display())))
    }

    /// The running node that is meant, or else the data directory.
    ///
    /// # Errors
    /// There is neither.
    pub fn place(&self) -> Result<Place, Failure> {
        match self.client()? {
            Some(client) => Ok(Place::Node(client)),
            None => Ok(Place::Directory(Box::new(self.offline()?))),
        }
    }

    /// The node that is named, or the one that runs on the data directory.
    fn client(&self) -> Result<Option<Client>, Failure> {
        if let Some(url) = &self.node {
            return Client::new(url, self.credentials()?).map(Some);
        }
        let data = self.data()?;
        let Some(running) = directory::running(&data) else {
            return Ok(None);
        };
        let mut credentials = self.credentials()?;
        // Who may not read it asks without, and the node says so if that isn't enough.
        let local = || std::fs::read_to_string(directory::local_token(&data)).ok();
        credentials.token = credentials.token.or_else(|| Some(local()?.trim().to_owned()));
        Client::new(&running.http, credentials).map(Some)
    }

    /// What --token-file and --ca-file say.
    fn credentials(&self) -> Result<Credentials, Failure> {
        let read = |path: &PathBuf| {
            let read = std::fs::read(path);
            read.map_err(|error| Failure::file("the request can't be sent", path, &error))
        };
        let token = self.token_file.as_ref().map(read).transpose()?;
        let token = token.map(|text| String::from_utf8_lossy(&text).trim().to_owned());
        Ok(Credentials { token, authorities: self.ca_file.as_ref().map(read).transpose()? })
    }

    /// The log of the data directory, read without its node.
    ///
    /// # Errors
    /// There is none that this towline can read.
    pub fn offline(&self) -> Result<OfflineLog, Failure> {
        let data = self.data()?;
        let what = "the log can't be opened";
        OfflineLog::open(&data).map_err(|error| Failure::open(what, &error))
    }

    /// The form of what is printed.
    pub fn form(&self) -> Form {
        self.form.clone()
    }

    /// The program's stdout.
    pub fn output(&self) -> Output {
        Output::new(&self.form)
    }

    /// Says something that helps a person, unless it is not wanted.
    pub fn note(&self, text: &str) {
        if !self.quiet {
            super::output::note(text);
        }
    }

    /// Whether nothing but errors is wanted on stderr.
    pub fn is_quiet(&self) -> bool {
        self.quiet
    }
}

/// The program's directory among the user's of one sort: where a variable says, or else below the home;
/// none where the user has no home.
pub fn of_user(named: &str, usual: &str) -> Option<PathBuf> {
    let named = variable(named).map(PathBuf::from);
    let usual = || variable("HOME").map(|home| PathBuf::from(home).join(usual));
    Some(named.or_else(usual)?.join("towline"))
}

/// What a variable of the environment says; one that is empty says nothing.
fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// A value that the store gives, as the JSON that a node would give.
///
/// # Errors
/// None in practice: everything that is printed can be said in JSON.
pub fn as_node<T: serde::Serialize>(value: &T) -> Result<Box<serde_json::value::RawValue>, Stop> {
    serde_json::value::to_raw_value(value).map_err(super::output::not_an_entry)
}
