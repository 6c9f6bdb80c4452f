//! What holds for all requests and answers alike.

use std::net::{IpAddr, SocketAddr};

use axum::extract::Request;
use axum::http::uri::Authority;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::Response;

use super::problem::Problem;
use crate::words::Code;

/// What every answer says to browsers: only the page's own files may act, nobody may frame it, and
/// it tells nobody where its reader comes from. There are no CORS headers: other origins get nothing.
const ANSWERS: [(HeaderName, &str); 3] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
         img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
];

/// Adds the security headers to an answer that doesn't have stricter ones.
pub fn harden(response: &mut Response) {
    for (name, value) in ANSWERS {
        let value = HeaderValue::from_static(value);
        response.headers_mut().entry(name).or_insert(value);
    }
}

/// Which hosts a request may be addressed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hosts {
    /// `localhost` and loopback addresses. A web site could let a name of its own point to this
    /// machine (DNS rebinding), and so reach a node that listens for nobody else.
    Loopback,
    /// Any: the node is reached by names that it doesn't know.
    Any,
}

impl Hosts {
    /// The hosts of a node that listens here.
    pub fn of(listening: SocketAddr) -> Self {
        if listening.ip().is_loopback() { Self::Loopback } else { Self::Any }
    }

    fn admits(self, host: &str) -> bool {
        let literal = host.trim_start_matches('[').trim_end_matches(']');
        let is_loopback = |address: IpAddr| address.is_loopback();
        self == Self::Any
            || host.eq_ignore_ascii_case("localhost")
            || literal.parse().is_ok_and(is_loopback)
    }
}

/// Refuses requests for other hosts, and those that name none or two.
///
/// # Errors
/// The request is such a one.
pub fn check_host(hosts: Hosts, request: &Request) -> Result<(), Problem> {
    if hosts == Hosts::Loopback {
        let host = host(request).ok_or_else(|| {
            Problem::new(Code::Host, "the request doesn't say for which host it is")
        })?;
        if !hosts.admits(&host) {
            let detail = format!("{host:?} is neither localhost nor a loopback address");
            return Err(Problem::new(Code::Host, detail));
        }
    }
    Ok(())
}

/// The host that a request is for, without its port. What the first line names goes before the
/// header, RFC 9112, section 3.2.2.
fn host(request: &Request) -> Option<String> {
    if let Some(authority) = request.uri().authority() {
        return Some(authority.host().to_owned());
    }
    let mut named = request.headers().get_all(header::HOST).iter();
    let (only, None) = (named.next()?, named.next()) else {
        return None;
    };
    let authority: Authority = only.to_str().ok()?.parse().ok()?;
    Some(authority.host().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_admits_loopback_only() {
        for host in ["localhost", "LOCALHOST", "127.0.0.1", "127.0.0.2", "[::1]"] {
            assert!(Hosts::Loopback.admits(host), "{host}");
        }
        for host in ["evil.example", "localhost.evil.example", "10.0.0.1", "", "[::2]"] {
            assert!(!Hosts::Loopback.admits(host), "{host}");
            assert!(Hosts::Any.admits(host));
        }
    }

    #[test]
    fn a_request_with_two_hosts_has_none() {
        let request = |hosts: &[&str]| {
            let mut request = Request::new(axum::body::Body::empty());
            for host in hosts {
                let host = HeaderValue::from_str(host).unwrap();
                request.headers_mut().append(header::HOST, host);
            }
            request
        };
        assert_eq!(host(&request(&["a:80"])), Some("a".into()));
        assert_eq!(host(&request(&["a", "a"])), None);
        assert_eq!(host(&request(&[])), None);
        assert_eq!(host(&request(&["a b"])), None);
    }
}
