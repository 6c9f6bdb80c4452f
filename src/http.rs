//! HTTP, version 1: the face that programs and the web page speak to.
//!
//! ```text
//! connection.rs   one TCP connection: limits on its head, its patience and its end
//! guard.rs        requests for other hosts are refused; answers carry security headers
//! parameters.rs   what a query string asks for        drafts.rs   what a body holds
//! append.rs       POST /v1/entries                     emit.rs     POST /v1/emit
//! entries.rs      GET /v1/entries, …/{author}/{seq}, /v1/gaps
//! listing.rs      entries as JSON, piece by piece      room.rs     how much memory answers take
//! stream.rs       GET /v1/stream
//! status.rs       /v1/status, /v1/nodes, /v1/frontier, /livez, /readyz
//! threads.rs      /v1/topics/…, /v1/feeds/…, /v1/personas/…
//! sessions.rs     /v1/sessions/…, /v1/transcripts/…    live.rs   what they stream
//! metrics.rs      /metrics                             page.rs     /, /page/…
//! media.rs        media types that are asked for, and sent
//! problem.rs      every error, as an RFC 9457 problem document with our code
//! ```
//!
//! Bytes that aren't HTTP, or whose head is over its bound, are answered by a bare 4xx without a
//! document: there is no request yet.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::routing::{get, post, put};
use axum::{Extension, Router, middleware};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::TaskTracker;

use crate::node::Node;
use crate::node::ration::Ration;
use guard::Hosts;

mod append;
mod connection;
#[doc(hidden)]
pub mod decoders;
mod drafts;
mod emit;
mod entries;
mod guard;
mod listing;
mod live;
mod media;
mod metrics;
mod page;
mod parameters;
mod problem;
mod room;
mod sessions;
mod status;
mod stream;
mod threads;

/// How many connections are served at once.
const CONNECTIONS: usize = 256; // full: a connection waits until another ends
/// How long nothing is accepted after the system refused a connection: it may be out of files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Says why an address can't be listened on.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Something else listens there.
    #[error("{0} is taken by another process; port 0 picks a free one")]
    Taken(SocketAddr),
    /// The address is of another machine.
    #[error("{0} is not an address of this machine")]
    Elsewhere(SocketAddr),
    /// The system refuses.
    #[error("{address} can't be listened on: {error}")]
    Refused {
        /// The address asked for.
        address: SocketAddr,
        /// What the system says.
        error: io::Error,
    },
}

/// Takes an address for [`serve`]; port 0 picks a free one.
///
/// # Errors
/// See [`BindError`].
pub async fn bind(address: SocketAddr) -> Result<TcpListener, BindError> {
    TcpListener::bind(address).await.map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => BindError::Taken(address),
        io::ErrorKind::AddrNotAvailable => BindError::Elsewhere(address),
        _ => BindError::Refused { address, error },
    })
}

/// Serves a node until it shuts down. Requests under way, streams included, then get 3 s to end.
///
/// # Errors
/// The listener has no address.
///
/// # Cancel safety
/// When dropped, nothing more is accepted; connections that stand end with the node.
pub async fn serve(node: Node, listener: TcpListener) -> io::Result<()> {
    let address = listener.local_addr()?;
    if !address.ip().is_loopback() {
        tracing::warn!(%address, "HTTP asks nobody who they are: all who reach it may read and append");
    }
    let router = router(node.clone(), Hosts::of(address));
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let connections = TaskTracker::new();
    let mut refusals = Refusals { began: Instant::now(), ration: Ration::default() };
    let mut closing = pin!(node.closing());
    loop {
        let (stream, place) = tokio::select! {
            accepted = accept(&listener, &places, &mut refusals) => accepted,
            () = &mut closing => break,
        };
        let (router, node) = (router.clone(), node.clone());
        node.metrics().http_connections.inc();
        connections.spawn(async move {
            let _place = place;
            connection::serve(stream, router, &node).await;
            node.metrics().http_connections.dec();
        });
    }
    drop(listener);
    connections.close();
    connections.wait().await;
    Ok(())
}

/// What is said when the system refuses connections, which it may do for a long time.
struct Refusals {
    began: Instant,
    ration: Ration,
}

impl Refusals {
    fn tell(&mut self, error: &io::Error) {
        if let Some(withheld) = self.ration.take(self.began.elapsed()) {
            tracing::warn!(%error, withheld, "a connection can't be accepted");
        }
    }
}

/// The next connection, and its place among [`CONNECTIONS`].
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
    refusals: &mut Refusals,
) -> (TcpStream, Option<OwnedSemaphorePermit>) {
    // Fails only for a semaphore that was closed, which this one never is.
    let place = places.clone().acquire_owned().await.ok();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return (stream, place),
            Err(error) => {
                refusals.tell(&error);
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn router(node: Node, hosts: Hosts) -> Router {
    Router::new()
        .route("/v1/entries", get(entries::list).post(append::append))
        .route("/v1/entries/{author}/{seq}", get(entries::one))
        .route("/v1/gaps", get(entries::gaps))
        .route("/v1/forks", get(status::forks))
        .route("/v1/emit", post(emit::emit))
        .route("/v1/stream", get(stream::open))
        .route("/v1/status", get(status::status))
        .route("/v1/nodes", get(status::nodes))
        .route("/v1/frontier", get(status::frontier))
        .merge(topics())
        .merge(sessions())
        .route("/livez", get(status::alive))
        .route("/readyz", get(status::ready))
        .route("/metrics", get(metrics::metrics))
        .route("/", get(page::index))
        .route("/page/{*file}", get(page::file))
        .fallback(problem::no_route)
        .method_not_allowed_fallback(problem::no_method)
        .layer(Extension(stream::Places::default()))
        .layer(middleware::from_fn_with_state(hosts, guard::check_host))
        .layer(middleware::from_fn(guard::harden))
        .layer(middleware::from_fn_with_state(node.clone(), metrics::count))
        .with_state(node)
}

/// What is said of threads, feeds and personas.
fn topics() -> Router<Node> {
    let topic = |rest: &str| format!("/v1/topics/{{tenant}}/{{topic}}{rest}");
    Router::new()
        .route(&topic(""), get(threads::standing))
        .route(&topic("/entries"), get(threads::load).post(threads::append))
        .route(&topic("/archive"), post(threads::archive))
        .route(&topic("/context"), get(threads::context))
        .route(&topic("/follow"), get(threads::follow))
        .route(&topic("/transitions"), get(threads::transitions).post(threads::record))
        .route("/v1/feeds/{tenant}", get(threads::feed))
        .route("/v1/feeds/{tenant}/latest", get(threads::latest))
        .route("/v1/personas/{tenant}", get(threads::personas))
        .route("/v1/personas/{tenant}/{name}", put(threads::set_persona))
}

/// What is said of sessions and transcripts.
fn sessions() -> Router<Node> {
    let transcript = |rest: &str| format!("/v1/transcripts/{{tenant}}/{{transcript}}{rest}");
    Router::new()
        .route("/v1/sessions/{tenant}", get(sessions::list).post(sessions::begin))
        .route("/v1/sessions/{tenant}/{session}", get(sessions::transcripts))
        .route("/v1/sessions/{tenant}/{session}/follow", get(sessions::follow))
        .route(&transcript(""), get(sessions::read).post(sessions::extend))
        .route(&transcript("/truncate"), post(sessions::truncate))
        .route(&transcript("/traces"), post(sessions::trace))
}
