//! The description of all routes, for programs: OpenAPI 3.1.
//!
//! It is kept by hand, since no tool knows what a stream says; a test compares it with the routes.

use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

use super::etag::tagged;
use super::media;

/// The document.
const DOCUMENT: &str = include_str!("openapi.json");

/// `GET /openapi.json`.
pub async fn document(headers: HeaderMap) -> Response {
    let tag = hex::encode(Sha256::digest(DOCUMENT));
    tagged(&tag, &headers, || ([(header::CONTENT_TYPE, media::JSON)], DOCUMENT).into_response())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::super::{OPEN, guarded};
    use super::*;

    #[test]
    fn the_document_has_all_routes_and_no_others() {
        let document: Value = serde_json::from_str(DOCUMENT).unwrap();
        let said: BTreeSet<String> =
            document["paths"].as_object().unwrap().keys().cloned().collect();
        let routes = OPEN.into_iter().chain(guarded());
        let routes: BTreeSet<String> =
            routes.map(|(path, _)| path.replace("{*file}", "{file}")).collect();
        assert_eq!(said, routes);
    }

    #[test]
    fn the_open_routes_are_said_to_need_no_token() {
        let document: Value = serde_json::from_str(DOCUMENT).unwrap();
        let open = |path: &str| document["paths"][path]["get"].get("security").is_some();
        for (path, _) in OPEN {
            assert!(open(&path.replace("{*file}", "{file}")), "{path}");
        }
        assert!(guarded().all(|(path, _)| !open(path)));
    }
}
