//! Metrics for Prometheus.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::media;
use super::problem::Problem;
use super::scope::Whole;
use crate::node::Node;
use crate::node::metrics::Answered;

/// `GET /metrics`: OpenMetrics when that is asked for, else the classic text format.
pub async fn metrics(Whole(node): Whole, headers: HeaderMap) -> Result<Response, Problem> {
    let metrics = node.looked_up().await;
    let chosen = media::choose(&headers, &[media::PLAIN, media::OPEN_METRICS])?;
    let (content_type, text) = if chosen == media::OPEN_METRICS {
        let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        (content_type, metrics.open_metrics())
    } else {
        ("text/plain; version=0.0.4; charset=utf-8", metrics.classic())
    };
    Ok(([(header::CONTENT_TYPE, content_type)], text).into_response())
}

/// Counts the answers by their status.
pub async fn count(State(node): State<Node>, request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    let status = response.status().as_u16();
    node.metrics().http_answers.get_or_create(&Answered { status }).inc();
    response
}
