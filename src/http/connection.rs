//! One TCP connection: limits on its head, its patience and its end.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tokio_util::task::AbortOnDropHandle;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::threshold::Threshold;
use crate::net::https::Https;
use crate::node::Node;

/// The longest head of a request, in bytes: its first line and all headers.
const HEAD_BYTES: usize = 16 << 10;
/// How many bytes hyper may hold of a connection in each direction, beside what a handler made.
const BUFFER_BYTES: usize = 32 << 10;
/// A request's head must have come so long after it could begin; an idle connection ends then. So
/// long a TLS handshake may take, too.
const HEAD_PATIENCE: Duration = Duration::from_secs(10);
/// How long a request under way may take once the node shuts down.
pub const GRACE: Duration = Duration::from_secs(3);

/// What the handler of a request knows of its connection. Cloning it shares it.
#[derive(Clone)]
pub struct Connection {
    place: Arc<Mutex<Option<OwnedSemaphorePermit>>>,
    cut: CancellationToken,
    tracked: TaskTrackerToken,
}

impl Connection {
    /// A connection with its place among all, which lasts until its token is dropped.
    pub fn new(place: Option<OwnedSemaphorePermit>, tracked: TaskTrackerToken) -> Self {
        Self { place: Arc::new(Mutex::new(place)), cut: CancellationToken::new(), tracked }
    }

    /// Gives the place back: a stream, which lasts long, has one of its own.
    pub fn give_place_back(&self) {
        self.place.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Cuts the connection after a while, unless what is returned is dropped before.
    pub fn cut_after(&self, patience: Duration) -> AbortOnDropHandle<()> {
        let cut = self.cut.clone();
        AbortOnDropHandle::new(tokio::spawn(async move {
            tokio::time::sleep(patience).await;
            cut.cancel();
        }))
    }

    /// Resolves when the connection is cut.
    pub fn is_cut(&self) -> WaitForCancellationFutureOwned {
        self.cut.clone().cancelled_owned()
    }

    /// A token without which serving doesn't end.
    pub fn tracked(&self) -> TaskTrackerToken {
        self.tracked.clone()
    }
}

/// What the requests of a connection meet.
pub type Inside = (Threshold, Router);

/// Serves a new connection until either side ends it, or [`GRACE`] after the node shuts down.
pub async fn accept(
    stream: TcpStream,
    https: Option<&Https>,
    connection: Connection,
    inside: Inside,
    node: &Node,
) {
    // Live events are small, and should not wait for each other.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection keeps Nagle's delay");
    }
    let Some(https) = https else {
        return serve(stream, connection, inside, node).await;
    };
    tokio::select! {
        shaken = tokio::time::timeout(HEAD_PATIENCE, https.accept(stream)) => match shaken {
            Ok(Ok(stream)) => serve(stream, connection, inside, node).await,
            Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
            Err(_) => tracing::debug!("a TLS handshake took too long"),
        },
        () = node.closing() => {}
    }
}

async fn serve<S>(stream: S, connection: Connection, (threshold, router): Inside, node: &Node)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let cut = connection.cut.clone();
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let (threshold, router) = (threshold.clone(), router.clone());
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(connection.clone());
        async move {
            let answer = async |request| match router.call(request).await {
                Ok(response) => response,
                Err(never) => match never {},
            };
            Ok::<_, Infallible>(threshold.pass(request, answer).await)
        }
    });
    let mut served = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_PATIENCE)
            .max_header_size(HEAD_BYTES)
            .max_buf_size(BUFFER_BYTES)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades()
    );
    let ended = tokio::select! {
        ended = served.as_mut() => Ok(ended),
        () = cut.cancelled() => return tracing::debug!("a connection was cut: it took nothing"),
        () = node.closing() => {
            served.as_mut().graceful_shutdown();
            tokio::time::timeout(GRACE, served).await
        }
    };
    match ended {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a connection broke"),
        Err(_) => tracing::debug!("a connection was cut: its request outlived the node"),
    }
}
