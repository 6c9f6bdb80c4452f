//! Speaking HTTP to a node.

use std::io::{BufRead, BufReader};
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use ureq::http::{Response, StatusCode};
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body, Error, RequestBuilder};

use super::failure::Failure;
use crate::words::Code;

/// How long a node may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// How long a node may take for an answer, beyond what the request itself asks it to wait.
const ANSWER: Duration = Duration::from_secs(60);
/// A stream that is silent for so long is lost: a node sends a heartbeat every 15 s.
const SILENCE: Duration = Duration::from_secs(45);
/// The largest answer that is read: a page of 16 MiB of payloads, as JSON.
const ANSWER_BYTES: u64 = 256 << 20;

/// The parameters of a request.
pub type Parameters = Vec<(&'static str, String)>;

/// The address of a node, and the connections to it.
pub struct Client {
    agent: Agent,
    base: String,
    /// What every request says of who asks.
    authorization: String,
}

/// How a node is to know who asks, and how it is known.
#[derive(Default)]
pub struct Credentials {
    /// The bearer's token.
    pub token: Option<String>,
    /// Who vouches for the node's certificate, as PEM; the authorities of the web when none is given.
    pub authorities: Option<Vec<u8>>,
}

/// What a request carries.
pub struct Content<'c> {
    /// Its media type.
    pub content_type: &'static str,
    /// The body.
    pub body: &'c [u8],
    /// The idempotency key.
    pub key: Option<String>,
}

/// An error of a node, RFC 9457.
#[derive(Deserialize)]
struct Problem {
    code: String,
    title: String,
    #[serde(default)]
    detail: String,
}

impl Client {
    /// A client of the node at an address: `http://HOST:PORT`, `https://…`, or `HOST:PORT` alone.
    ///
    /// # Errors
    /// It is none that can be spoken to.
    pub fn new(url: &str, credentials: Credentials) -> Result<Self, Failure> {
        let (scheme, address) = match url.strip_prefix("https://") {
            Some(address) => ("https", address),
            None => ("http", url.strip_prefix("http://").unwrap_or(url)),
        };
        let address = address.trim_end_matches('/');
        if address.is_empty() || address.contains(['/', '?', '#', '@', ' ']) {
            let why = format_args!("{url:?} is no http://HOST:PORT");
            return Err(Failure::usage("the node's address can't be understood", why)
                .hint("--node http://127.0.0.1:7118"));
        }
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(CONNECT))
            .max_redirects(0)
            .tls_config(TlsConfig::builder().root_certs(roots(&credentials)?).build())
            // A node is near; a proxy for the web would not find it.
            .proxy(None)
            .build();
        let authorization = credentials.token.map(|token| format!("Bearer {token}"));
        Ok(Self {
            agent: config.into(),
            base: format!("{scheme}://{address}"),
            authorization: authorization.unwrap_or_default(),
        })
    }

    /// Asks for a value.
    ///
    /// # Errors
    /// The node can't be reached, or refuses; so for every call here.
    pub fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        parameters: &Parameters,
    ) -> Result<T, Failure> {
        let request = self.agent.get(self.base.clone() + path).query_pairs(pairs(parameters));
        let request = self.named(request.config().timeout_global(Some(ANSWER)).build());
        let response = request.header("accept", "application/json").call();
        self.value(response.map_err(|error| self.unreachable(error))?)
    }

    /// Sends entries, and waits `patience` longer for the answer than for any other.
    ///
    /// # Errors
    /// As [`Client::get`]. After a timeout it is not known what the node did.
    pub fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        parameters: &Parameters,
        content: &Content<'_>,
        patience: Duration,
    ) -> Result<T, Failure> {
        let mut request = self
            .agent
            .post(self.base.clone() + path)
            .query_pairs(pairs(parameters))
            .content_type(content.content_type);
        if let Some(key) = &content.key {
            request = request.header("idempotency-key", key);
        }
        let patience = Some(ANSWER.saturating_add(patience));
        let request = self.named(request.config().timeout_global(patience).build());
        let response = request.send(content.body);
        self.value(response.map_err(|error| self.unreachable(error))?)
    }

    /// Puts a value where it belongs.
    ///
    /// # Errors
    /// As [`Client::get`]. After a timeout it is not known what the node did.
    pub fn put<T: DeserializeOwned>(&self, path: &str, value: &Value) -> Result<T, Failure> {
        let request = self.agent.put(self.base.clone() + path).content_type("application/json");
        let request = self.named(request.config().timeout_global(Some(ANSWER)).build());
        let response = request.send(value.to_string().as_bytes());
        self.value(response.map_err(|error| self.unreachable(error))?)
    }

    /// Removes what is there.
    ///
    /// # Errors
    /// As [`Client::put`].
    pub fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        let request = self.agent.delete(self.base.clone() + path);
        let request = self.named(request.config().timeout_global(Some(ANSWER)).build());
        self.value(request.call().map_err(|error| self.unreachable(error))?)
    }

    /// Opens a stream of server-sent events.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub fn stream(
        &self,
        path: &str,
        parameters: &Parameters,
    ) -> Result<BufReader<impl std::io::Read + use<>>, Failure> {
        self.open(path, parameters, None)
    }

    /// Opens a stream whose reading fails after so long, whatever comes.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub fn stream_within(
        &self,
        path: &str,
        parameters: &Parameters,
        patience: Duration,
    ) -> Result<BufReader<impl std::io::Read + use<>>, Failure> {
        self.open(path, parameters, Some(patience))
    }

    fn open(
        &self,
        path: &str,
        parameters: &Parameters,
        patience: Option<Duration>,
    ) -> Result<BufReader<impl std::io::Read + use<>>, Failure> {
        let request = self.agent.get(self.base.clone() + path).query_pairs(pairs(parameters));
        let request = request.config().timeout_per_read(Some(SILENCE)).timeout_global(patience);
        let request = self.named(request.build());
        let response = request.header("accept", "text/event-stream").call();
        let mut response = response.map_err(|error| self.unreachable(error))?;
        if !response.status().is_success() {
            return Err(self.refusal(&mut response));
        }
        Ok(BufReader::new(response.into_body().into_with_config().limit(u64::MAX).reader()))
    }

    /// The request, with the token.
    fn named<B>(&self, request: RequestBuilder<B>) -> RequestBuilder<B> {
        match self.authorization.as_str() {
            "" => request,
            authorization => request.header("authorization", authorization),
        }
    }

    /// Says that the node doesn't answer, or not as a node does.
    pub fn lost(&self, why: impl std::fmt::Display) -> Failure {
        Failure::new(Code::Unreachable, format_args!("no node answers at {}", self.base), why)
    }

    fn value<T: DeserializeOwned>(&self, mut response: Response<Body>) -> Result<T, Failure> {
        let chosen = response.status() == StatusCode::MULTIPLE_CHOICES;
        if !response.status().is_success() && !chosen {
            return Err(self.refusal(&mut response));
        }
        let body = response.body_mut().with_config().limit(ANSWER_BYTES).read_to_vec();
        let body = body.map_err(|error| self.unreachable(error))?;
        serde_json::from_slice(&body).map_err(|error| self.lost(error))
    }

    fn refusal(&self, response: &mut Response<Body>) -> Failure {
        let status = response.status();
        let text = response.body_mut().read_to_string().unwrap_or_default();
        let problem: Option<Problem> = serde_json::from_str(&text).ok();
        let known = problem.and_then(|problem| Some((Code::parse(&problem.code)?, problem)));
        match known {
            Some((code, problem)) => Failure::new(code, problem.title, problem.detail),
            None => self.lost(format_args!("something answers {status}, and it is no node")),
        }
    }

    fn unreachable(&self, error: Error) -> Failure {
        match error {
            Error::Timeout(_) => {
                let what = format_args!("the node at {} did not answer in time", self.base);
                Failure::new(Code::Timeout, what, error)
            }
            Error::Http(_) | Error::BadUri(_) => Failure::usage("the request can't be sent", error),
            _ => self.lost(error),
        }
    }
}

fn roots(credentials: &Credentials) -> Result<RootCerts, Failure> {
    let Some(pem) = &credentials.authorities else {
        return Ok(RootCerts::WebPki);
    };
    let mut certificates = Vec::new();
    for item in parse_pem(pem) {
        match item {
            Ok(PemItem::Certificate(certificate)) => certificates.push(certificate),
            Ok(_) => {}
            Err(error) => return Err(Failure::usage("--ca-file can't be understood", error)),
        }
    }
    if certificates.is_empty() {
        return Err(Failure::usage("--ca-file can't be understood", "it holds no certificate"));
    }
    Ok(RootCerts::new_with_certs(&certificates))
}

fn pairs(parameters: &Parameters) -> impl Iterator<Item = (&'static str, &str)> {
    parameters.iter().map(|(name, value)| (*name, value.as_str()))
}

/// One server-sent event.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// The cursor after it.
    pub id: String,
    /// What sort of event it is.
    pub name: String,
    /// Its data.
    pub data: String,
}

impl Event {
    /// Reads the next event; none at the end of the stream. Heartbeats are passed over.
    ///
    /// # Errors
    /// The stream broke.
    pub fn read(stream: &mut impl BufRead) -> std::io::Result<Option<Self>> {
        let mut event = Self::default();
        let mut line = String::new();
        loop {
            line.clear();
            if stream.read_line(&mut line)? == 0 {
                return Ok(None);
            }
            let text = line.trim_end_matches(['\n', '\r']);
            if text.is_empty() && !event.data.is_empty() {
                return Ok(Some(event));
            }
            let (field, value) = text.split_once(':').unwrap_or((text, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "id" => event.id = value.to_owned(),
                "event" => event.name = value.to_owned(),
                "data" if event.data.is_empty() => event.data = value.to_owned(),
                "data" => event.data = format!("{}\n{value}", event.data),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_from_a_stream_with_heartbeats() {
        let text = ": heartbeat\n\nid: o:1\nevent: entry\ndata: {\"a\":1}\n\n:\n\n";
        let mut stream = text.as_bytes();
        let event = Event::read(&mut stream).unwrap().unwrap();
        assert_eq!((&*event.id, &*event.name, &*event.data), ("o:1", "entry", "{\"a\":1}"));
        assert_eq!(Event::read(&mut stream).unwrap(), None);
    }
}
