//! `towline run`: runs a node until it is told to end.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use super::Outcome;
use super::failure::{Failure, Stop};
use super::place::Global;
use super::process::{self, Told};
use super::serving::{Plan, Servers};
use super::settings::{Keep, Settings};
use super::supervisor;
use crate::node::{Addresses, Config, Node, PeerAddress};
use crate::words::{ClusterId, Code};

/// Where a node listens for peers when nothing is said.
pub const LISTEN: &str = "127.0.0.1:7117";
/// Where a node answers HTTP when nothing is said.
pub const HTTP: &str = "127.0.0.1:7118";
/// How long an ending may take; whoever sent the signal is told that it is 5 s.
const ENDING: Duration = Duration::from_millis(4_500);

/// Run a node; it is made when it is missing
#[derive(Debug, Args)]
#[command(
    before_help = "\
Examples:
  towline run                                  a node alone, on loopback
  towline run --listen 10.0.0.1:7117 --peer ID@10.0.0.2:7117
  towline run --http 0.0.0.0:7118 --tls-cert cert.pem --tls-key key.pem
  towline run --http 127.0.0.1:0 --ports-file ports.json",
    after_help = "\
SIGTERM and SIGINT end it: what was acknowledged is on disk, what was emitted is
recorded or stated as a gap. Flags go before TOWLINE_ variables, these before
the file of --config, and that before config.toml in the data directory."
)]
pub struct Run {
    /// Where to listen for peers (QUIC, UDP); port 0 picks one [default: 127.0.0.1:7117]
    #[arg(long, value_name = "ADDR", env = "TOWLINE_LISTEN", hide_env_values = true)]
    listen: Option<String>,
    /// Where to answer HTTP; port 0 picks one [default: 127.0.0.1:7118]
    #[arg(long, value_name = "ADDR", env = "TOWLINE_HTTP", hide_env_values = true)]
    http: Option<String>,
    /// Speak TLS to HTTP's clients: the certificate with its chain (PEM)
    #[arg(long, value_name = "FILE", env = "TOWLINE_TLS_CERT", hide_env_values = true)]
    tls_cert: Option<PathBuf>,
    /// The certificate's key (PEM)
    #[arg(long, value_name = "FILE", env = "TOWLINE_TLS_KEY", hide_env_values = true)]
    tls_key: Option<PathBuf>,
    /// Ask for a token on loopback, too
    #[arg(long)]
    require_token: bool,
    /// Answer others without a token or without TLS, whichever is missing
    #[arg(long)]
    insecure: bool,
    /// A node to connect with and to admit; may be given more than once
    #[arg(
        long = "peer",
        value_name = "ID@ADDR",
        env = "TOWLINE_PEERS",
        hide_env_values = true,
        value_delimiter = ','
    )]
    peers: Option<Vec<String>>,
    /// The node's name for people
    #[arg(long, value_name = "NAME", env = "TOWLINE_NAME", hide_env_values = true)]
    name: Option<String>,
    /// The cluster to be in, for a node that is made
    #[arg(long, value_name = "ID", env = "TOWLINE_CLUSTER", hide_env_values = true)]
    cluster: Option<ClusterId>,
    /// How many emitted events may wait for the recorder [default: 4096]
    #[arg(long, value_name = "N", env = "TOWLINE_EMIT_RING", hide_env_values = true)]
    emit_ring: Option<usize>,
    /// Remove entries that came longer ago, such as 7d [default: keep all]
    #[arg(long, value_name = "DURATION", env = "TOWLINE_KEEP_AGE", hide_env_values = true)]
    keep_age: Option<String>,
    /// Remove the oldest entries while there are more than so many
    #[arg(long, value_name = "N", env = "TOWLINE_KEEP_ENTRIES", hide_env_values = true)]
    keep_entries: Option<u64>,
    /// Remove the oldest entries while the log takes more bytes on disk
    #[arg(long, value_name = "N", env = "TOWLINE_KEEP_BYTES", hide_env_values = true)]
    keep_bytes: Option<u64>,
    /// Remove nothing that fewer than so many peers hold
    #[arg(long, value_name = "N", env = "TOWLINE_KEEP_PEERS", hide_env_values = true)]
    keep_peers: Option<usize>,
    /// Write what is removed here first, as Automerge files
    #[arg(long, value_name = "DIR", env = "TOWLINE_ARCHIVE", hide_env_values = true)]
    archive: Option<PathBuf>,
    /// A settings file
    #[arg(long, value_name = "FILE", env = "TOWLINE_CONFIG", hide_env_values = true)]
    config: Option<PathBuf>,
    /// Write {"quic","http","node"} here once the node is ready
    #[arg(long, value_name = "FILE")]
    ports_file: Option<PathBuf>,
}

impl Run {
    pub(super) fn run(self, global: &Global) -> Outcome {
        let data = global.data()?;
        let (ports_file, cluster) = (self.ports_file.clone(), self.cluster);
        let settings = self.settings(&data)?;
        let http = address("http", settings.http.as_deref().unwrap_or(HTTP))?;
        let plan = Plan::of(&settings, http, &data)?;
        let mut config = configure(&data, &settings)?;
        config.cluster = cluster;
        process::raise_files();
        let runtime = process::runtime()?;
        let outcome = runtime.block_on(async {
            let running = Running::start(config, plan, &data).await?;
            running.announce(ports_file.as_deref(), global).await?;
            let _attended = supervisor::attend(&running.node);
            running.until_told().await
        });
        runtime.shutdown_background();
        outcome
    }

    /// All settings, by rank: flags and variables, the named file, the data directory's file.
    fn settings(self, data: &Path) -> Result<Settings, Failure> {
        let flags = Settings {
            name: self.name,
            listen: self.listen,
            http: self.http,
            tls_cert: self.tls_cert,
            tls_key: self.tls_key,
            require_token: self.require_token.then_some(true),
            insecure: self.insecure.then_some(true),
            peers: self.peers,
            emit_ring: self.emit_ring,
            retention: Keep {
                age: self.keep_age,
                entries: self.keep_entries,
                bytes: self.keep_bytes,
                peers: self.keep_peers,
                archive: self.archive,
                ..Keep::default()
            },
            ..Settings::default()
        };
        let named = self.config.as_deref().map(Settings::read).transpose()?;
        let files = named.unwrap_or_default().or(Settings::of_directory(data)?);
        Ok(flags.or(files))
    }
}

fn configure(data: &Path, settings: &Settings) -> Result<Config, Failure> {
    let listen = address("listen", settings.listen.as_deref().unwrap_or(LISTEN))?;
    let mut config = Config::new(data).listen(listen);
    config.name = settings.name.clone().unwrap_or_default();
    for text in settings.peers.iter().flatten() {
        let peer: Result<PeerAddress, _> = text.parse();
        let what = format_args!("the peer {text:?} can't be understood");
        config = config.peer(peer.map_err(|error| Failure::new(Code::Peer, what, error))?);
    }
    if let Some(events) = settings.emit_ring {
        config = config.emit_ring(events);
    }
    for (kind, delivery) in settings.deliveries()? {
        config = config.delivery(kind, delivery);
    }
    Ok(config.retention(settings.retention.retention()?))
}

fn address(flag: &str, text: &str) -> Result<SocketAddr, Failure> {
    let why = format_args!("{text:?} is no IP address with a port");
    text.parse().map_err(|_| {
        Failure::usage(format_args!("the address of {flag} can't be understood"), why)
            .hint(format_args!("--{flag} 127.0.0.1:0"))
    })
}

/// A node with its HTTP servers.
struct Running {
    node: Node,
    servers: Servers,
    told: Told,
}

impl Running {
    /// The node comes first: whoever has its data directory is the one to serve it.
    async fn start(config: Config, plan: Plan, data: &Path) -> Result<Self, Stop> {
        let told = Told::listen()?;
        let node = Node::open(config)
            .await
            .map_err(|error| Failure::start(&error).salvageable(&error, data))?;
        match Servers::start(&node, plan).await {
            Ok(servers) => Ok(Self { node, servers, told }),
            Err(error) => {
                end(&node).await?;
                Err(error.into())
            }
        }
    }

    /// Says where the node can be reached, to other commands, to programs and to people.
    async fn announce(&self, ports_file: Option<&Path>, global: &Global) -> Result<(), Stop> {
        let node = self.node.id();
        let quic = self.node.address().map(|address| address.to_string());
        let Servers { address, local, local_token, .. } = &self.servers;
        let at = |http: &SocketAddr| Addresses {
            quic: quic.clone().unwrap_or_default(),
            http: http.to_string(),
            node,
        };
        let addresses = at(address);
        let directory = self.node.directory();
        let token = directory.map(|directory| directory.announce_token(local_token.as_deref()));
        let directory = directory.map(|directory| directory.announce(&at(local)));
        let file = ports_file.map(|path| addresses.write(path));
        for written in [token, directory, file].into_iter().flatten() {
            if let Err(error) = written {
                if error.is_full() {
                    // Who reads and who replicates needs the node all the more.
                    tracing::error!(%error, "commands find this node by --node only");
                    continue;
                }
                end(&self.node).await?;
                return Err(Failure::directory("the node can't say where it is", &error).into());
            }
        }
        global.note(&format!(
            "node     {node}\ncluster  {cluster}\npeers    {quic}\nhttp     http://{http}",
            cluster = self.node.cluster(),
            quic = addresses.quic,
            http = addresses.http,
        ));
        Ok(())
    }

    /// Serves until a signal says to end, or until the server can't go on.
    async fn until_told(mut self) -> Outcome {
        let served = tokio::select! {
            () = self.told.wait() => None,
            served = &mut self.servers.serving => Some(served),
        };
        supervisor::ending();
        let ending = async {
            end(&self.node).await?;
            match served {
                Some(served) => Ok(served),
                None => Ok::<_, Failure>(self.servers.serving.await),
            }
        };
        let late = |_| {
            let why = format_args!("it did not end within {ENDING:?}");
            Failure::new(Code::Timeout, "the node was ended the hard way", why)
                .hint("start it again: what was acknowledged is on disk")
        };
        let served = tokio::time::timeout(ENDING, ending).await.map_err(late)??;
        match served {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Failure::new(Code::Io, "HTTP can't be served", error).into()),
            Err(error) => Err(Failure::new(Code::Io, "HTTP can't be served", error).into()),
        }
    }
}

async fn end(node: &Node) -> Result<(), Failure> {
    let ended = node.shutdown().await;
    ended.map_err(|error| Failure::new(Code::Poisoned, "the last commit failed", error))
}
