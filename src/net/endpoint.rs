//! The endpoint: one UDP socket on which a node listens and dials.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{ConnectionError, IdleTimeout, TransportConfig, VarInt};
use rustls::pki_types::CertificateDer;

use super::handshakes::{HALF_OPEN, Handshakes, Place, Proof, Verdict};
use super::link::{Link, LinkError};
use super::tls::{self, Admitted, TlsError};
use crate::words::{Identity, NodeId};

/// How long a handshake and the first stream may take.
pub const HANDSHAKE: Duration = Duration::from_secs(5);
/// After so long without a packet a connection is gone.
const IDLE: Duration = Duration::from_secs(30);
/// How often a silent connection says that it lives.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// How often an address that is taken is tried again, and how long lies between two tries.
const BIND_TRIES: u32 = 30;
const BIND_PAUSE: Duration = Duration::from_millis(100);
/// How many streams of each sort a peer may open.
const STREAMS: u32 = 16;
/// How many bytes a peer may send on one stream before they are read.
const STREAM_WINDOW: u32 = 2 << 20;
/// How many bytes a peer may send on all streams before they are read.
const CONNECTION_WINDOW: u32 = 8 << 20;
/// How many bytes may come for a handshake that was begun and not yet taken up, and for all of them.
const UNTAKEN_BYTES: u64 = 64 << 10; // full: packets are dropped, and sent again
const UNTAKEN_BYTES_OF_ALL: u64 = 8 << 20; // full: the same

/// Says why an endpoint can't be set up.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The address can't be bound: taken, or not of this machine.
    #[error("can't listen on {address}: {error}")]
    Address {
        /// The address asked for.
        address: SocketAddr,
        /// What the system says.
        error: std::io::Error,
    },
    /// The TLS settings can't be made.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// Says why a connection did not come about, or ended.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The handshake took too long: nobody listens there, or nothing passes.
    #[error("no answer within {} s", HANDSHAKE.as_secs())]
    Timeout,
    /// The address can't be dialed.
    #[error("can't dial: {0}")]
    Dial(String),
    /// The other side refused, or is another node than expected.
    #[error("{0}")]
    Refused(String),
    /// The other side let go of the handshake before it was done, as who shuts down does.
    #[error("the other side gave up")]
    GivenUp,
    /// The first stream did not come about.
    #[error(transparent)]
    Link(#[from] LinkError),
}

impl From<ConnectionError> for ConnectError {
    fn from(error: ConnectionError) -> Self {
        match error {
            ConnectionError::TimedOut => Self::Timeout,
            ConnectionError::ConnectionClosed(close)
                if u64::from(close.error_code) == APPLICATION_ERROR =>
            {
                Self::GivenUp
            }
            other => Self::Refused(other.to_string()),
        }
    }
}

/// What ends a handshake that the other side's program ends (RFC 9000, section 20.1).
const APPLICATION_ERROR: u64 = 0x0c;

/// One UDP socket, on which this node listens and dials. Cloning it shares it.
#[derive(Clone)]
pub struct Endpoint {
    endpoint: quinn::Endpoint,
    identity: Identity,
    transport: Arc<TransportConfig>,
    handshakes: Handshakes,
}

/// A connection whose other side has proved who it is.
pub struct Connected {
    /// The node on the other side.
    pub peer: NodeId,
    /// Where it is.
    pub address: SocketAddr,
    connection: quinn::Connection,
    dialed: bool,
}

/// What comes to an endpoint from outside.
pub enum Arrival {
    /// A handshake begins.
    Begun(Box<Incoming>),
    /// One was refused: too many are half done, in all or from there.
    Crowded(SocketAddr),
}

/// A handshake that someone began.
pub struct Incoming {
    incoming: quinn::Incoming,
    place: Place,
}

impl Endpoint {
    /// Binds an address for a node that admits these others. Needs a tokio runtime.
    ///
    /// A node that was just closed in this process keeps its socket until its last connections have
    /// drained, so an address that is taken is tried again for a while.
    ///
    /// # Errors
    /// See [`BindError`].
    pub async fn bind(
        address: SocketAddr,
        identity: Identity,
        admitted: Admitted,
    ) -> Result<Self, BindError> {
        let transport = Arc::new(transport());
        let crypto = QuicServerConfig::try_from(tls::server(&identity, admitted)?);
        let crypto = crypto.map_err(|error| TlsError::from(no_suite(&error)))?;
        let mut server = quinn::ServerConfig::with_crypto(Arc::new(crypto));
        server
            .transport_config(transport.clone())
            .migration(false)
            .max_incoming(HALF_OPEN)
            .incoming_buffer_size(UNTAKEN_BYTES)
            .incoming_buffer_size_total(UNTAKEN_BYTES_OF_ALL);
        let mut tries = BIND_TRIES;
        loop {
            match quinn::Endpoint::server(server.clone(), address) {
                Ok(endpoint) => {
                    let handshakes = Handshakes::default();
                    return Ok(Self { endpoint, identity, transport, handshakes });
                }
                Err(error) if error.kind() == ErrorKind::AddrInUse && tries > 0 => {
                    tries -= 1;
                    tokio::time::sleep(BIND_PAUSE).await;
                }
                Err(error) => return Err(BindError::Address { address, error }),
            }
        }
    }

    /// Where this node listens.
    ///
    /// # Errors
    /// The socket is gone.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.endpoint.local_addr()
    }

    /// What comes next; none once the endpoint is closed.
    pub async fn accept(&self) -> Option<Arrival> {
        loop {
            let incoming = self.endpoint.accept().await?;
            let address = incoming.remote_address();
            let proof = match incoming.remote_address_validated() {
                true => Proof::Shown,
                false => Proof::None,
            };
            match self.handshakes.begin(address.ip(), proof) {
                Verdict::Begin(place) => {
                    return Some(Arrival::Begun(Box::new(Incoming { incoming, place })));
                }
                // The sender must show that it gets what is sent to its address.
                Verdict::Prove => drop(incoming.retry()),
                Verdict::Refuse => {
                    incoming.refuse();
                    return Some(Arrival::Crowded(address));
                }
            }
        }
    }

    /// Dials a node.
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub async fn dial(&self, peer: NodeId, address: SocketAddr) -> Result<Connected, ConnectError> {
        let refused = |error: &dyn std::fmt::Display| ConnectError::Dial(error.to_string());
        let crypto = tls::client(&self.identity, peer).map_err(|e| refused(&e))?;
        let crypto = QuicClientConfig::try_from(crypto).map_err(|e| refused(&e))?;
        let mut config = quinn::ClientConfig::new(Arc::new(crypto));
        config.transport_config(self.transport.clone());
        let connecting = self.endpoint.connect_with(config, address, "towline");
        let connecting = connecting.map_err(|e| refused(&e))?;
        let connection = tokio::time::timeout(HANDSHAKE, connecting).await;
        let connection = connection.map_err(|_| ConnectError::Timeout)??;
        Ok(Connected { peer, address, connection, dialed: true })
    }

    /// Closes all connections, and waits a moment until the other sides could know.
    pub async fn close(&self) {
        self.endpoint.close(VarInt::from_u32(0), b"shutdown");
        drop(tokio::time::timeout(Duration::from_millis(500), self.endpoint.wait_idle()).await);
    }
}

impl Incoming {
    /// Finishes the handshake.
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub async fn finish(self) -> Result<Connected, ConnectError> {
        let Self { incoming, place: _place } = self;
        let connecting = incoming.accept()?;
        let address = connecting.remote_address();
        let connection = tokio::time::timeout(HANDSHAKE, connecting).await;
        let connection = connection.map_err(|_| ConnectError::Timeout)??;
        let shown = connection.peer_identity();
        let chain = shown.and_then(|shown| shown.downcast::<Vec<CertificateDer<'static>>>().ok());
        let peer = chain.and_then(|chain| tls::node_of(chain.first()?));
        let peer = peer.ok_or_else(|| ConnectError::Refused("no certificate of a node".into()))?;
        Ok(Connected { peer, address, connection, dialed: false })
    }

    /// Where the handshake comes from.
    pub fn address(&self) -> SocketAddr {
        self.incoming.remote_address()
    }
}

impl Connected {
    /// Opens the one stream on which both sides send frames. The dialer opens it by its first
    /// frame, so it must be the first to send.
    ///
    /// # Errors
    /// The other side opens none in time.
    pub async fn link(self) -> Result<Link, ConnectError> {
        let stream = async {
            match self.dialed {
                true => self.connection.open_bi().await,
                false => self.connection.accept_bi().await,
            }
        };
        let Ok(stream) = tokio::time::timeout(HANDSHAKE, stream).await else {
            self.refuse("no stream was opened in time");
            return Err(ConnectError::Timeout);
        };
        let (send, receive) = stream?;
        Ok(Link::new(self.connection, send, receive))
    }

    /// Ends the connection before anything of it is read, and tells why.
    pub fn refuse(self, why: &str) {
        self.connection.close(VarInt::from_u32(1), why.as_bytes());
    }

    /// Whether this side dialed.
    pub fn dialed(&self) -> bool {
        self.dialed
    }
}

/// Every bound is set: quinn's defaults leave windows and streams open.
fn transport() -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(STREAMS))
        .max_concurrent_uni_streams(VarInt::from_u32(STREAMS))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW))
        .receive_window(VarInt::from_u32(CONNECTION_WINDOW))
        .send_window(u64::from(CONNECTION_WINDOW))
        .datagram_receive_buffer_size(None)
        .max_idle_timeout(IdleTimeout::try_from(IDLE).ok())
        .keep_alive_interval(Some(KEEP_ALIVE));
    transport
}

fn no_suite(error: &impl std::fmt::Display) -> rustls::Error {
    rustls::Error::General(error.to_string())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use quinn::{ConnectionClose, TransportErrorCode};

    use super::*;

    #[test]
    fn who_gives_a_handshake_up_is_not_who_breaks_its_rules() {
        let closed = |error_code| {
            let close = ConnectionClose { error_code, frame_type: None, reason: Bytes::new() };
            ConnectError::from(ConnectionError::ConnectionClosed(close))
        };
        let given_up = closed(TransportErrorCode::APPLICATION_ERROR);
        assert!(matches!(given_up, ConnectError::GivenUp), "{given_up:?}");
        let unknown_authority = closed(TransportErrorCode::crypto(48));
        assert!(matches!(unknown_authority, ConnectError::Refused(_)), "{unknown_authority:?}");
    }
}
