//! HTTP, version 1: the place of the server, until it is merged.

use std::net::SocketAddr;

use tokio::net::TcpListener;

use crate::node::Node;

/// Says why HTTP can't be answered at an address.
#[derive(Debug, thiserror::Error)]
#[error("can't listen on {0}: {1}")]
pub struct BindError(SocketAddr, std::io::Error);

/// Binds the address of the server.
///
/// # Errors
/// It can't be bound.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, BindError> {
    TcpListener::bind(address)
        .await
        .map_err(|error| BindError(address, error))
}

/// Serves a node until it closes.
///
/// # Errors
/// The listener can't go on.
pub async fn serve(node: Node, listener: TcpListener) -> std::io::Result<()> {
    node.closing().await;
    drop(listener);
    Ok(())
}
