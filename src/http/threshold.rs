//! What every request passes on its way in, and every answer on its way out.

use axum::extract::Request;
use axum::response::{IntoResponse, Response};

use super::guard::{self, Hosts};
use super::request_id::RequestId;
use super::stream::Places;
use super::unread::Unread;
use crate::node::Node;
use crate::node::metrics::Answered;

/// What is the same for all requests. Cloning it shares it.
#[derive(Clone)]
pub struct Threshold {
    node: Node,
    hosts: Hosts,
    places: Places,
}

impl Threshold {
    /// The threshold of a node that is asked for one of these hosts, and has so many places for streams.
    pub fn new(node: Node, hosts: Hosts, places: Places) -> Self {
        Self { node, hosts, places }
    }

    /// Lets a request in, or refuses it, and completes its answer.
    pub async fn pass<N>(&self, request: Request, next: impl FnOnce(Request) -> N) -> Response
    where
        N: Future<Output = Response>,
    {
        let id = RequestId::of(request.headers());
        let (mut request, unread) = Unread::watch(request);
        request.extensions_mut().insert(self.places.clone());
        let mut response = match guard::check_host(self.hosts, &request) {
            Ok(()) => next(request).await,
            Err(problem) => problem.into_response(),
        };
        guard::harden(&mut response);
        unread.announce(&mut response);
        id.tell(&mut response);
        let status = response.status().as_u16();
        self.node.metrics().http_answers.get_or_create(&Answered { status }).inc();
        response
    }
}
