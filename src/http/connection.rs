//! One TCP connection: limits on its head, its patience and its end.

use std::pin::pin;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpStream;

use crate::node::Node;

/// The longest head of a request, in bytes: its first line and all headers.
const HEAD_BYTES: usize = 16 << 10;
/// How many bytes hyper may hold of a connection in each direction, beside what a handler made.
const BUFFER_BYTES: usize = 64 << 10;
/// A request's head must have come so long after it could begin; an idle connection ends then.
const HEAD_PATIENCE: Duration = Duration::from_secs(10);
/// How long a request under way may take once the node shuts down.
pub const GRACE: Duration = Duration::from_secs(3);

/// Serves a connection until either side ends it, or [`GRACE`] after the node shuts down.
pub async fn serve(stream: TcpStream, router: Router, node: &Node) {
    // Live events are small, and should not wait for each other.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection keeps Nagle's delay");
    }
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_PATIENCE)
            .max_header_size(HEAD_BYTES)
            .max_buf_size(BUFFER_BYTES)
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
    );
    let ended = tokio::select! {
        ended = connection.as_mut() => Ok(ended),
        () = node.closing() => {
            connection.as_mut().graceful_shutdown();
            tokio::time::timeout(GRACE, connection).await
        }
    };
    match ended {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a connection broke"),
        Err(_) => tracing::debug!("a connection was cut: its request outlived the node"),
    }
}
