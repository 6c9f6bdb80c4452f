//! Metrics for Prometheus.

use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};

use super::media;
use super::problem::Problem;
use super::scope::Whole;

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
