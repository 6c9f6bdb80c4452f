//! A node that is served, and a client that asks it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use towline::node::{PeerAddress, Receipt, Storage};
use towline::store::memory::MemoryStore;
use towline::store::{Owner, StoreId};
use towline::words::{ClusterId, Identity};
use towline::{Config, Draft, Node, http};
use ureq::http::Response;
use ureq::{Agent, Body};

pub const JSON: &str = "application/json";
pub const NDJSON: &str = "application/x-ndjson";
/// Longer than anything takes that goes well.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A node and its HTTP face, on a runtime of their own.
pub struct Server {
    pub node: Node,
    pub address: SocketAddr,
    runtime: Runtime,
    served: Option<JoinHandle<std::io::Result<()>>>,
    agent: Agent,
}

/// What came back.
pub struct Answer {
    pub status: u16,
    pub body: String,
    headers: ureq::http::HeaderMap,
}

impl Server {
    pub fn start() -> Self {
        Self::with(Config::in_memory())
    }

    pub fn with(config: Config) -> Self {
        Self::serving(config, http::Serving::open())
    }

    pub fn serving(config: Config, serving: http::Serving) -> Self {
        let runtime = Runtime::new().unwrap();
        let (node, listener) = runtime.block_on(async {
            let node = Node::open(config).await.unwrap();
            let listener = http::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
            (node, listener)
        });
        let address = listener.local_addr().unwrap();
        let served = Some(runtime.spawn(http::serve(node.clone(), listener, serving)));
        let config =
            Agent::config_builder().http_status_as_error(false).timeout_global(Some(PATIENCE));
        Self { node, address, runtime, served, agent: config.build().into() }
    }

    /// Two nodes of one cluster; the second one dials the first.
    pub fn pair() -> (Self, Self) {
        let secrets = [[1; 32], [2; 32]];
        let [a, b] = secrets.map(|secret| Identity::from_secret(&secret).node_id());
        let config = |secret: [u8; 32], peer, address| {
            let node = Identity::from_secret(&secret).node_id();
            let cluster = ClusterId([9; 32]);
            let store = MemoryStore::new(StoreId([secret[0]; 8]), Owner { node, cluster });
            let store = Box::new(store);
            Config::with_storage(Storage::Opened { secret, store })
                .listen("127.0.0.1:0".parse().unwrap())
                .peer(PeerAddress { node: peer, address })
        };
        let nowhere = "127.0.0.1:9".parse().unwrap();
        let first = Self::with(config(secrets[0], b, nowhere));
        let second = Self::with(config(secrets[1], a, first.node.address().unwrap()));
        (first, second)
    }

    pub fn append(&self, topic: &str, value: impl serde::Serialize) {
        self.append_draft(Draft::json(topic, "k", &value).unwrap());
    }

    pub fn append_draft(&self, draft: Draft) -> Receipt {
        self.runtime.block_on(self.node.append(draft)).unwrap()
    }

    pub fn call(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let url = format!("http://{}{path}", self.address);
        let mut request = ureq::http::Request::builder().method(method).uri(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut response = self.agent.run(request.body(body).unwrap()).unwrap();
        Answer {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            body: response.body_mut().with_config().limit(64 << 20).read_to_string().unwrap(),
        }
    }

    pub fn get(&self, path: &str) -> Answer {
        self.call("GET", path, &[], "")
    }

    pub fn get_as(&self, path: &str, accept: &str) -> Answer {
        self.call("GET", path, &[("accept", accept)], "")
    }

    pub fn post(&self, path: &str, body: &str) -> Answer {
        self.call("POST", path, &[("content-type", JSON)], body)
    }

    /// Opens a stream; the answer's head has come when this returns.
    pub fn stream(&self, parameters: &str, headers: &[(&str, &str)]) -> Stream {
        self.stream_at(&format!("/v1/stream?{parameters}"), headers)
    }

    /// Opens a stream at any path.
    pub fn stream_at(&self, path: &str, headers: &[(&str, &str)]) -> Stream {
        let url = format!("http://{}{path}", self.address);
        let mut request = self.agent.get(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Stream::new(request.call().unwrap())
    }

    /// Sends bytes on a connection, and reads what comes until the other side closes it.
    pub fn raw(&self, bytes: &[u8]) -> String {
        let mut connection = TcpStream::connect(self.address).unwrap();
        connection.set_read_timeout(Some(PATIENCE)).unwrap();
        connection.write_all(bytes).unwrap();
        let mut answer = Vec::new();
        connection.read_to_end(&mut answer).unwrap();
        String::from_utf8(answer).unwrap()
    }

    /// Shuts the node down, and waits until serving has ended.
    pub fn shut_down(&mut self) {
        self.runtime.block_on(self.node.shutdown()).unwrap();
        let served = self.served.take().unwrap();
        let ended = self.runtime.block_on(async { tokio::time::timeout(PATIENCE, served).await });
        ended.unwrap().unwrap().unwrap();
    }
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Asserts that this is the problem document of a code.
    pub fn is_problem(&self, status: u16, code: &str) {
        assert_eq!(self.status, status, "{}", self.body);
        assert_eq!(self.header("content-type"), "application/problem+json");
        let problem = self.json();
        assert_eq!(problem["status"], json!(status));
        assert_eq!(problem["code"], json!(code), "{problem}");
        assert_eq!(problem["type"], format!("urn:towline:error:{code}"));
        for member in ["title", "detail"] {
            assert!(problem[member].is_string(), "{problem}");
        }
    }
}

/// A stream that is read as it comes.
pub struct Stream {
    pub content_type: String,
    lines: BufReader<Box<dyn Read>>,
}

/// A server-sent event.
#[derive(Debug, Default)]
pub struct Event {
    pub id: String,
    pub name: String,
    pub data: Value,
}

impl Stream {
    fn new(response: Response<Body>) -> Self {
        assert_eq!(response.status().as_u16(), 200);
        let content_type = response.headers()["content-type"].to_str().unwrap();
        Self {
            content_type: content_type.to_owned(),
            lines: BufReader::new(Box::new(response.into_body().into_reader())),
        }
    }

    /// The next line; none at the end.
    pub fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = self.lines.read_line(&mut line).unwrap();
        (read > 0).then(|| line.trim_end_matches('\n').to_owned())
    }

    /// The next event; none at the end.
    pub fn event(&mut self) -> Option<Event> {
        let mut event = Event::default();
        loop {
            let line = self.line()?;
            match line.split_once(": ") {
                Some(("id", id)) => event.id = id.to_owned(),
                Some(("event", name)) => event.name = name.to_owned(),
                Some(("data", data)) => event.data = serde_json::from_str(data).unwrap(),
                _ if event.name.is_empty() => {}
                _ => return Some(event),
            }
        }
    }

    /// All events until the end.
    pub fn events(mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.event()).collect()
    }
}
