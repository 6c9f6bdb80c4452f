//! A name for each request, by which its answer and the lines of the log belong together.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::Response;

use super::problem::Said;

/// Who names a request names it here, and every answer repeats it.
const HEADER: HeaderName = HeaderName::from_static("x-request-id");
/// The longest name that a client may give, in bytes.
const NAME_BYTES: usize = 64;

/// The name of a request.
pub struct RequestId(HeaderValue);

impl RequestId {
    /// The name of a request with these headers: the client's word, or else one at random.
    pub fn of(headers: &HeaderMap) -> Self {
        Self(given(headers).unwrap_or_else(random))
    }

    /// Says the name in the answer: as a header, and as `instance` of a problem document.
    pub fn tell(self, response: &mut Response) {
        let Self(name) = self;
        if let Some(Said(document)) = response.extensions_mut().remove::<Said>() {
            let instance = name.to_str().unwrap_or_default();
            let text = document.named(instance);
            response.headers_mut().remove(header::CONTENT_LENGTH);
            *response.body_mut() = Body::from(text);
            tracing::debug!(request = instance, status = response.status().as_u16(), "a problem");
        }
        response.headers_mut().insert(HEADER, name);
    }
}

fn given(headers: &HeaderMap) -> Option<HeaderValue> {
    let named = headers.get(HEADER)?;
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(byte);
    let fits = (1..=NAME_BYTES).contains(&named.len()) && named.as_bytes().iter().all(plain);
    fits.then(|| named.clone())
}

/// 64 bits: as many as a name needs that tells requests of one node apart. They begin at random, and one
/// follows the other by a step that looks like none: to ask the system each time takes as long as all else
/// here.
fn random() -> HeaderValue {
    static NEXT: LazyLock<AtomicU64> = LazyLock::new(|| {
        let mut bytes = [0; 8];
        // Without random bytes the first ones are the same after each start, which harms nobody.
        getrandom::fill(&mut bytes).ok();
        AtomicU64::new(u64::from_le_bytes(bytes))
    });
    // The golden ratio of 2^64 is odd, so that all numbers come before one comes again.
    let number = NEXT.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
    let mut digits = [0; 16];
    let name = hex::encode_to_slice(number.to_be_bytes(), &mut digits).ok();
    let name = name.and_then(|()| HeaderValue::from_bytes(&digits).ok());
    name.unwrap_or(HeaderValue::from_static("none"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_could_mislead_a_log_is_not_taken() {
        let given = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(HEADER, HeaderValue::from_str(text).unwrap());
            given(&headers).is_some()
        };
        assert!(given("a-1_b.c:d"));
        for text in ["", "a b", "a=b", "\"", &"x".repeat(65)] {
            assert!(!given(text), "{text}");
        }
    }

    #[test]
    fn names_differ() {
        let names: std::collections::HashSet<HeaderValue> = (0..10_000).map(|_| random()).collect();
        assert_eq!(names.len(), 10_000);
        assert!(names.iter().all(|name| name.len() == 16));
    }
}
