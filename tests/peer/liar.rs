//! A peer that says on its streams whatever it likes.

use std::net::SocketAddr;
use std::sync::Arc;

use quinn::crypto::rustls::QuicServerConfig;
use quinn::{
    Connection, ConnectionError, Endpoint, RecvStream, SendStream, TransportConfig, VarInt,
};
use towline::core::frame::{Frame, PROTOCOL};
use towline::words::{ClusterId, Identity};

use crate::papers::Papers;
use crate::support::{LOOPBACK, PATIENCE};

/// A hostile peer: a key, and the node that it speaks to.
#[derive(Clone)]
pub struct Liar {
    pub identity: Identity,
    pub cluster: ClusterId,
    pub target: SocketAddr,
}

/// A connection of a liar, and the stream on which frames go.
pub struct Line {
    pub connection: Connection,
    pub send: SendStream,
    pub receive: RecvStream,
    _endpoint: Endpoint,
}

/// Connects with these papers, from a socket of its own.
pub async fn dial(
    papers: &Papers,
    transport: TransportConfig,
    target: SocketAddr,
) -> Result<(Endpoint, Connection), ConnectionError> {
    let endpoint = Endpoint::client(LOOPBACK).unwrap();
    let mut config = papers.quic();
    config.transport_config(Arc::new(transport));
    let connecting = endpoint.connect_with(config, target, "towline").unwrap();
    Ok((endpoint, connecting.await?))
}

/// Listens with these papers, at an address of its own.
pub fn listen(papers: &Papers) -> Endpoint {
    let crypto = QuicServerConfig::try_from(papers.listening()).unwrap();
    Endpoint::server(quinn::ServerConfig::with_crypto(Arc::new(crypto)), LOOPBACK).unwrap()
}

/// The first four bytes of a frame's head: the length of its payload.
pub fn length(bytes: usize) -> [u8; 4] {
    (bytes as u32).to_be_bytes()
}

/// A payload as a frame that is not compressed.
pub fn plain(payload: &[u8]) -> Vec<u8> {
    [&length(payload.len())[..], &[0], payload].concat()
}

/// A payload as a compressed frame.
pub fn packed(payload: &[u8]) -> Vec<u8> {
    let packed = zstd::bulk::compress(payload, 1).unwrap();
    [&length(packed.len())[..], &[1], &packed].concat()
}

impl Liar {
    pub fn hello(&self) -> Frame {
        let (cluster, name) = (self.cluster, "liar".to_owned());
        Frame::Hello { protocol: PROTOCOL, cluster, incarnation: 7, name }
    }

    /// Connects, and opens a stream without a word on it.
    pub async fn connect(&self) -> Line {
        self.connect_with(TransportConfig::default()).await
    }

    pub async fn connect_with(&self, transport: TransportConfig) -> Line {
        let papers = Papers::of(&self.identity);
        let (endpoint, connection) = dial(&papers, transport, self.target).await.unwrap();
        let (send, receive) = connection.open_bi().await.unwrap();
        Line { connection, send, receive, _endpoint: endpoint }
    }

    /// Connects, is closed before a word is said, and returns the reason that is given.
    pub async fn turned_away(&self) -> String {
        let papers = Papers::of(&self.identity);
        let dialed = dial(&papers, TransportConfig::default(), self.target).await;
        reason(match dialed {
            Ok((_endpoint, connection)) => closed(&connection).await,
            Err(error) => error,
        })
    }

    /// Connects and exchanges hellos, as an honest peer would.
    pub async fn greet(&self) -> Line {
        self.greet_with(TransportConfig::default()).await
    }

    pub async fn greet_with(&self, transport: TransportConfig) -> Line {
        let mut line = self.connect_with(transport).await;
        line.say(&self.hello()).await;
        assert!(matches!(line.hear().await, Frame::Hello { .. }));
        line
    }
}

impl Line {
    /// Sends a frame. The victim may have closed the connection already.
    pub async fn say(&mut self, frame: &Frame) {
        self.throw(&plain(&frame.encode())).await;
    }

    /// Sends bytes.
    pub async fn throw(&mut self, bytes: &[u8]) {
        drop(self.send.write_all(bytes).await);
    }

    /// Receives a frame.
    pub async fn hear(&mut self) -> Frame {
        let mut head = [0; 5];
        self.receive.read_exact(&mut head).await.unwrap();
        let [a, b, c, d, form] = head;
        let mut payload = vec![0; u32::from_be_bytes([a, b, c, d]) as usize];
        self.receive.read_exact(&mut payload).await.unwrap();
        let unpacked = match form {
            0 => payload,
            _ => zstd::stream::decode_all(&payload[..]).unwrap(),
        };
        Frame::decode(&unpacked.into()).unwrap()
    }

    /// Waits until the victim closes the connection, and returns the reason that it gives.
    pub async fn closed(&self) -> String {
        reason(closed(&self.connection).await)
    }

    /// Whether the connection stands.
    pub fn stands(&self) -> bool {
        self.connection.close_reason().is_none()
    }
}

async fn closed(connection: &Connection) -> ConnectionError {
    let closed = tokio::time::timeout(PATIENCE, connection.closed()).await;
    closed.expect("the connection still stands")
}

/// The reason that a node gives when it closes a connection.
fn reason(closed: ConnectionError) -> String {
    match closed {
        ConnectionError::ApplicationClosed(closed) => {
            assert_eq!(closed.error_code, VarInt::from_u32(1));
            String::from_utf8(closed.reason.to_vec()).unwrap()
        }
        other => panic!("the connection ended otherwise: {other}"),
    }
}
