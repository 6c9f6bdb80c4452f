//! How `towline run` answers HTTP: where, for whom, and with which certificate.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::failure::Failure;
use super::settings::Settings;
use crate::http::{self, BindError, Serving, Strangers};
use crate::net::https::Https;
use crate::node::{Node, TokenError, Tokens, tokens};
use crate::words::{Code, Time};

/// What is asked for.
pub struct Plan {
    address: SocketAddr,
    strangers: Strangers,
    https: Option<Https>,
}

impl Plan {
    /// The plan that the settings make. A node that strangers could read is refused.
    ///
    /// # Errors
    /// Files that can't be used, or an address that others reach without token and TLS.
    pub fn of(settings: &Settings, address: SocketAddr, data: &Path) -> Result<Self, Failure> {
        let https = match (&settings.tls_cert, &settings.tls_key) {
            (Some(certificate), Some(key)) => Some(https(certificate, key)?),
            (None, None) => None,
            _ => {
                let why = "tls_cert and tls_key are given together";
                return Err(Failure::usage("TLS needs a certificate and its key", why));
            }
        };
        let known =
            tokens::list(data).map_err(|error| failed("the tokens can't be read", &error))?;
        let insecure = settings.insecure.unwrap_or(false);
        let is_public = !address.ip().is_loopback();
        if is_public && !insecure && (https.is_none() || known.is_empty()) {
            let missing = match (https.is_none(), known.is_empty()) {
                (true, true) => "there is no token and no certificate",
                (true, false) => "there is no certificate",
                _ => "there is no token",
            };
            let why = format_args!("others can reach {address}, and {missing}");
            return Err(Failure::new(Code::Unprotected, Code::Unprotected.title(), why));
        }
        let required = settings.require_token.unwrap_or(false) || is_public && !known.is_empty();
        let strangers = if required { Strangers::Refused } else { Strangers::Admitted };
        Ok(Self { address, strangers, https })
    }

    /// Whether the commands of this machine need a door of their own: they speak plain HTTP to
    /// loopback.
    fn needs_local_door(&self) -> bool {
        self.https.is_some() || !self.address.ip().is_loopback()
    }
}

fn https(certificate: &Path, key: &Path) -> Result<Https, Failure> {
    Https::load(certificate, key).map_err(|error| {
        Failure::new(Code::Io, "the certificate for HTTP can't be used", error)
            .hint("--tls-cert FILE --tls-key FILE, both PEM, the key for its owner only")
    })
}

/// Tokens that can't be read or changed.
pub fn failed(what: &str, error: &TokenError) -> Failure {
    match error {
        TokenError::Directory(error) => Failure::directory(what, error),
        TokenError::Readable { path, .. } => {
            Failure::new(Code::Key, what, error).hint(format_args!("chmod 600 {}", path.display()))
        }
        TokenError::Tenant(_) | TokenError::Name => Failure::new(Code::Name, what, error),
        TokenError::TooMany => {
            Failure::usage(what, error).hint("towline token ls, and towline token rm ID")
        }
    }
}

/// A node's HTTP servers: the one that was asked for, and one for this machine where that speaks
/// TLS or is bound elsewhere.
pub struct Servers {
    /// Where the one that was asked for answers.
    pub address: SocketAddr,
    /// Where commands on this machine are answered.
    pub local: SocketAddr,
    /// The token that they show, if they need one.
    pub local_token: Option<String>,
    /// Ends when one of them ends.
    pub serving: JoinHandle<std::io::Result<()>>,
}

impl Servers {
    /// Starts them.
    ///
    /// # Errors
    /// The address can't be had, or the system gives no random bytes.
    pub async fn start(node: &Node, plan: Plan) -> Result<Self, Failure> {
        let mut tokens = Tokens::of(node.directory().map(|directory| directory.path()));
        let local_token = match plan.strangers {
            Strangers::Refused => {
                let made = tokens.make_own(now());
                Some(made.map_err(|error| Failure::new(Code::Io, "no token can be made", error))?)
            }
            Strangers::Admitted => None,
        };
        let tokens = Arc::new(tokens);
        let (listener, address) = listen(plan.address).await?;
        let door = if plan.needs_local_door() {
            Some(listen((Ipv4Addr::LOCALHOST, 0).into()).await?)
        } else {
            None
        };
        let local = door.as_ref().map_or(address, |(_, local)| *local);
        let strangers = plan.strangers;
        let serving = |https| Serving { https, ..Serving::guarded(strangers, tokens.clone()) };
        let main = http::serve(node.clone(), listener, serving(plan.https));
        let door = door.map(|(listener, _)| http::serve(node.clone(), listener, serving(None)));
        let serving = tokio::spawn(async move {
            match door {
                None => main.await,
                Some(door) => tokio::try_join!(main, door).map(|_| ()),
            }
        });
        Ok(Self { address, local, local_token, serving })
    }
}

async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), Failure> {
    let failed =
        |error: &BindError| Failure::new(Code::Address, "the node can't answer HTTP", error);
    let listener = http::bind(address).await.map_err(|error| failed(&error))?;
    let bound = listener.local_addr();
    let bound = bound.map_err(|error| failed(&BindError::Refused { address, error }))?;
    Ok((listener, bound))
}

/// The time by this machine's clock.
pub fn now() -> Time {
    let millis = Timestamp::now().as_millisecond();
    Time::from_millis(u64::try_from(millis).unwrap_or_default())
}

/// The paths of a settings file are relative to the directory that it lies in.
pub fn beside(path: PathBuf, file: &Path) -> PathBuf {
    match file.parent() {
        Some(directory) => directory.join(path),
        None => path,
    }
}
