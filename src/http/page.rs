//! The web page: files that are part of the program.

use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use rust_embed::RustEmbed;

use super::etag::tagged;
use super::problem::Problem;
use crate::words::Code;

#[derive(RustEmbed)]
#[folder = "src/http/page/"]
struct Files;

/// `GET /`: the page itself.
pub async fn index(headers: HeaderMap) -> Result<Response, Problem> {
    answer("index.html", &headers)
}

/// `GET /page/{file}`: what the page loads.
pub async fn file(
    path: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let Path(file) = path.map_err(|error| Problem::new(Code::Usage, error))?;
    answer(&file, &headers)
}

/// A file; 304 when the browser has it already, which it asks each time.
fn answer(name: &str, headers: &HeaderMap) -> Result<Response, Problem> {
    let Some(file) = Files::get(name) else {
        let detail = format!("the page has no file {name:?}");
        return Err(Problem::new(Code::NotFound, detail));
    };
    let tag = hex::encode(file.metadata.sha256_hash());
    Ok(tagged(&tag, headers, || {
        let content_type = [(header::CONTENT_TYPE, content_type(name))];
        (content_type, file.data.into_owned()).into_response()
    }))
}

/// The content type by the end of the name; nosniff forbids browsers to guess.
fn content_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, end)| end) {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "application/octet-stream",
    }
}
