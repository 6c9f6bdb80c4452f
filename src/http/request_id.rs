//! A name for each request, by which its answer and the lines of the log belong together.

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

/// 64 bits: as many as a name needs that tells requests of one node apart.
fn random() -> HeaderValue {
    let mut bytes = [0; 8];
    // Without random bytes requests share a name, which harms nobody.
    let name = getrandom::fill(&mut bytes).ok().map(|()| hex::encode(bytes));
    let name = name.and_then(|name| HeaderValue::from_str(&name).ok());
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
}
