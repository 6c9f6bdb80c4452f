//! HTTP, version 1: the face that programs and the web page speak to.
//!
//! ```text
//! connection.rs   one TCP connection: limits on its head, its patience and its end
//! threshold.rs    what every request and every answer passes
//! guard.rs        requests for other hosts are refused; answers carry security headers
//! unread.rs       requests that are answered before their body was read
//! access.rs       bearers of tokens are admitted     scope.rs    and what they then reach
//! request_id.rs   each request has a name            etag.rs     and some answers a tag
//! openapi.rs      /openapi.json: all routes, for programs
//! parameters.rs   what a query string asks for        drafts.rs   what a body holds
//! append.rs       POST /v1/entries                     emit.rs     POST /v1/emit
//! entries.rs      GET /v1/entries, …/{author}/{seq}, /v1/gaps
//! proof.rs        GET /v1/entries/{author}/{seq}/proof
//! cloudevents.rs  CloudEvents in requests and answers
//! listing.rs      entries as JSON, piece by piece      room.rs     how much memory answers take
//! stream.rs       GET /v1/stream
//! cursors.rs      /v1/cursors, …/{name}
//! status.rs       /v1/status, /v1/nodes, /v1/frontier, /livez, /readyz
//! retention.rs    /v1/retention
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

use axum::Router;
use axum::routing::{MethodRouter, get, post, put};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::TaskTracker;

use crate::net::https::Https;
use crate::node::ration::Ration;
use crate::node::{Node, Tokens};
use access::Access;
use connection::Connection;
use guard::Hosts;
use scope::Served;
use threshold::Threshold;

pub use access::Strangers;

mod access;
mod append;
mod cloudevents;
mod connection;
mod cursors;
#[doc(hidden)]
pub mod decoders;
mod drafts;
mod emit;
mod entries;
mod etag;
mod guard;
mod listing;
mod live;
mod media;
mod metrics;
mod openapi;
mod page;
mod parameters;
mod problem;
mod proof;
mod request_id;
mod retention;
mod room;
mod scope;
mod sessions;
mod space;
mod status;
mod stream;
mod threads;
mod threshold;
mod unread;

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

/// How a node is served.
pub struct Serving {
    /// Who may ask without a token.
    pub strangers: Strangers,
    /// The tokens that are known.
    pub tokens: Arc<Tokens>,
    /// TLS, if the connections have it.
    pub https: Option<Https>,
    /// How many streams are served at once.
    pub streams: usize,
}

impl Serving {
    /// Everybody who reaches the address may ask for everything.
    pub fn open() -> Self {
        Self::guarded(Strangers::Admitted, Arc::new(Tokens::of(None)))
    }

    /// Those who bear one of these tokens may ask, and strangers as said.
    pub fn guarded(strangers: Strangers, tokens: Arc<Tokens>) -> Self {
        Self { strangers, tokens, https: None, streams: stream::STREAMS }
    }
}

/// Serves a node until it shuts down. Requests under way, streams included, then get 3 s to end.
///
/// # Errors
/// The listener has no address.
///
/// # Cancel safety
/// When dropped, nothing more is accepted; connections that stand end with the node.
pub async fn serve(node: Node, listener: TcpListener, serving: Serving) -> io::Result<()> {
    let address = listener.local_addr()?;
    if !address.ip().is_loopback() && serving.strangers == Strangers::Admitted {
        tracing::warn!(%address, "HTTP asks nobody who they are: all who reach it may read and append");
    }
    let refused = node.metrics().http_refused_tokens.clone();
    let access = Access::new(serving.strangers, serving.tokens, refused);
    let router = router(&node, access);
    let places = stream::Places::new(serving.streams);
    let threshold = Threshold::new(node.clone(), Hosts::of(address), places);
    let https = serving.https.map(Arc::new);
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let connections = TaskTracker::new();
    let mut refusals = Refusals { began: Instant::now(), ration: Ration::default() };
    let mut closing = pin!(node.closing());
    loop {
        let (stream, place) = tokio::select! {
            accepted = accept(&listener, &places, &mut refusals) => accepted,
            () = &mut closing => break,
        };
        let (node, https) = (node.clone(), https.clone());
        let connection = Connection::new(place, connections.token());
        let inside = (threshold.clone(), router.clone());
        connections.spawn(async move {
            node.metrics().http_connections.inc();
            connection::accept(stream, https.as_deref(), connection, inside, &node).await;
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

/// Routes that everybody reaches.
const OPEN: [(&str, Handlers); 5] = [
    ("/livez", || get(status::alive)),
    ("/readyz", || get(status::ready)),
    ("/openapi.json", || get(openapi::document)),
    ("/", || get(page::index)),
    ("/page/{*file}", || get(page::file)),
];

/// Routes that ask who is there.
const GUARDED: [(&str, Handlers); 15] = [
    ("/v1/entries", || get(entries::list).post(append::append)),
    ("/v1/entries/{author}/{seq}", || get(entries::one)),
    ("/v1/entries/{author}/{seq}/event", || get(entries::event)),
    ("/v1/entries/{author}/{seq}/proof", || get(proof::proof)),
    ("/v1/gaps", || get(entries::gaps)),
    ("/v1/forks", || get(status::forks)),
    ("/v1/cursors", || get(cursors::list)),
    ("/v1/cursors/{name}", || get(cursors::one).put(cursors::put).delete(cursors::remove)),
    ("/v1/emit", || post(emit::emit)),
    ("/v1/stream", || get(stream::open)),
    ("/v1/status", || get(status::status)),
    ("/v1/nodes", || get(status::nodes)),
    ("/v1/frontier", || get(status::frontier)),
    ("/v1/retention", || get(retention::report).post(retention::let_go)),
    ("/metrics", || get(metrics::metrics)),
];

/// Routes of threads, feeds and personas, which ask as well.
const TOPICS: [(&str, Handlers); 10] = [
    ("/v1/topics/{tenant}/{topic}", || get(threads::standing)),
    ("/v1/topics/{tenant}/{topic}/entries", || get(threads::load).post(threads::append)),
    ("/v1/topics/{tenant}/{topic}/archive", || post(threads::archive)),
    ("/v1/topics/{tenant}/{topic}/context", || get(threads::context)),
    ("/v1/topics/{tenant}/{topic}/follow", || get(threads::follow)),
    ("/v1/topics/{tenant}/{topic}/transitions", || get(threads::transitions).post(threads::record)),
    ("/v1/feeds/{tenant}", || get(threads::feed)),
    ("/v1/feeds/{tenant}/latest", || get(threads::latest)),
    ("/v1/personas/{tenant}", || get(threads::personas)),
    ("/v1/personas/{tenant}/{name}", || put(threads::set_persona)),
];

/// Routes of sessions and transcripts, which ask as well.
const SESSIONS: [(&str, Handlers); 6] = [
    ("/v1/sessions/{tenant}", || get(sessions::list).post(sessions::begin)),
    ("/v1/sessions/{tenant}/{session}", || get(sessions::transcripts)),
    ("/v1/sessions/{tenant}/{session}/follow", || get(sessions::follow)),
    ("/v1/transcripts/{tenant}/{transcript}", || get(sessions::read).post(sessions::extend)),
    ("/v1/transcripts/{tenant}/{transcript}/truncate", || post(sessions::truncate)),
    ("/v1/transcripts/{tenant}/{transcript}/traces", || post(sessions::trace)),
];

type Handlers = fn() -> MethodRouter<Served>;

/// All routes that ask who is there.
fn guarded() -> impl Iterator<Item = (&'static str, Handlers)> {
    GUARDED.into_iter().chain(TOPICS).chain(SESSIONS)
}

fn router(node: &Node, access: Access) -> Router {
    let add =
        |router: Router<Served>, (path, handlers): (&str, Handlers)| router.route(path, handlers());
    OPEN.into_iter()
        .chain(guarded())
        .fold(Router::new(), add)
        .fallback(problem::no_route)
        .method_not_allowed_fallback(problem::no_method)
        .with_state(Served::new(node.clone(), access))
}
