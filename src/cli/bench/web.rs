//! Appending over HTTP: NDJSON in groups, and many connections of one entry each.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use serde_json::value::RawValue;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::{JoinHandle, JoinSet};

use super::append::CROWD;
use super::figure::{Figure, rate};
use super::ground::{APPENDERS, CALLERS, GROUP, Ground, all_of, cluster};
use super::limit::Tables;
use super::trouble::BenchError;
use crate::http;
use crate::node::measure::{topic_name, topic_of};
use crate::node::{Config, Node};
use crate::words::json::DraftJson;

/// How many requests are made ahead, and sent again and again.
const REQUESTS: u64 = 64;
/// How much of an answer is read at once.
const READ: usize = 64 << 10;

/// Both ways of appending over HTTP.
///
/// # Errors
/// See [`BenchError`].
pub async fn http(ground: &Ground) -> Result<Vec<Figure>, BenchError> {
    let room = ground.room("http")?;
    let server = Server::start(&room.path().join("node")).await?;
    let count = ground.scale.entries;
    let crowd = count.min(CROWD);

    let mut bulk_limit = Tables::make(room.path(), &ground.payloads, 1, GROUP)?;
    bulk_limit.sample_half(crowd)?;
    let requests = (0..REQUESTS).map(|n| request(ground, n * GROUP, GROUP));
    let requests = requests.collect::<Result<_, _>>()?;
    let groups = (count / GROUP).max(1);
    let bulk = server.send(requests, groups, CALLERS).await? * GROUP as f64;
    bulk_limit.sample_half(crowd)?;

    let mut crowd_limit = Tables::make(room.path(), &ground.payloads, 1, APPENDERS)?;
    crowd_limit.sample_half(crowd / 2)?;
    let requests = (0..REQUESTS * APPENDERS).map(|n| request(ground, n, 1));
    let requests = requests.collect::<Result<_, _>>()?;
    let crowded = server.send(requests, crowd, APPENDERS).await?;
    crowd_limit.sample_half(crowd / 2)?;

    server.end().await?;
    Ok(vec![
        Figure::new("HTTP, NDJSON of 1,000, 4 connections", bulk, "entries/s")
            .beside("one-table SQLite", bulk_limit.rate()),
        Figure::new("HTTP, 64 connections of one entry each", crowded, "entries/s")
            .beside("SQLite, 64 rows a commit", crowd_limit.rate()),
    ])
}

/// A request that appends entries with consecutive numbers, as bytes.
fn request(ground: &Ground, first: u64, count: u64) -> Result<Vec<u8>, BenchError> {
    let mut body = Vec::new();
    for number in first..first + count {
        let json = serde_json::to_writer(&mut body, &draft(ground, number)?);
        json.map_err(|error| BenchError::Wrong(error.to_string()))?;
        body.push(b'\n');
    }
    let media = if count == 1 { "application/json" } else { "application/x-ndjson" };
    let length = body.len();
    let head = format!(
        "POST /v1/entries HTTP/1.1\r\nhost: localhost\r\ncontent-type: {media}\r\n\
         content-length: {length}\r\n\r\n"
    );
    Ok([head.into_bytes(), body].concat())
}

fn draft(ground: &Ground, number: u64) -> Result<DraftJson, BenchError> {
    let payload = ground.payloads.payload(number);
    let text = String::from_utf8_lossy(&payload);
    let topic = topic_name(topic_of(number, ground.few_topics()));
    let mut draft = DraftJson::text(&topic, "bench.entry", &text)?;
    if let Ok(json) = serde_json::from_str::<Box<RawValue>>(&text) {
        (draft.content_type, draft.data) = (None, Some(json));
    }
    Ok(draft)
}

/// A node with its HTTP server.
struct Server {
    node: Node,
    address: SocketAddr,
    task: JoinHandle<std::io::Result<()>>,
}

impl Server {
    async fn start(data: &std::path::Path) -> Result<Self, BenchError> {
        let node = Node::open(Config::new(data).cluster(cluster())).await?;
        let listener = http::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await?;
        let address = listener.local_addr()?;
        let task = tokio::spawn(http::serve(node.clone(), listener, http::Serving::open()));
        Ok(Self { node, address, task })
    }

    /// Sends so many requests over so many connections, and returns how many a second are answered.
    async fn send(
        &self,
        requests: Vec<Vec<u8>>,
        count: u64,
        connections: u64,
    ) -> Result<f64, BenchError> {
        let requests = Arc::new(requests);
        let started = Instant::now();
        let mut tasks = JoinSet::new();
        for connection in 0..connections {
            let (address, requests) = (self.address, requests.clone());
            tasks.spawn(async move {
                let mut wire = Wire::open(address).await?;
                for number in (connection..count).step_by(connections as usize) {
                    wire.send(&requests[number as usize % requests.len()]).await?;
                }
                Ok(())
            });
        }
        all_of(tasks).await?;
        Ok(rate(count, started.elapsed()))
    }

    async fn end(self) -> Result<(), BenchError> {
        self.node.shutdown().await?;
        self.task.await??;
        Ok(())
    }
}

/// A connection on which one request follows the other. It takes as little time as a client can, for
/// it runs on the same cores as the node.
struct Wire {
    stream: TcpStream,
    answer: Vec<u8>,
}

impl Wire {
    async fn open(address: SocketAddr) -> Result<Self, BenchError> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, answer: Vec::with_capacity(READ) })
    }

    /// Sends a request, and reads the answer to its end.
    async fn send(&mut self, request: &[u8]) -> Result<(), BenchError> {
        self.stream.write_all(request).await?;
        self.answer.clear();
        loop {
            if self.stream.read_buf(&mut self.answer).await? == 0 {
                return Err(BenchError::Wrong("the node hung up".into()));
            }
            if let Some(whole) = whole_length(&self.answer)?
                && self.answer.len() >= whole
            {
                return Ok(());
            }
        }
    }
}

/// How long an answer is with its head, once the head is there.
fn whole_length(answer: &[u8]) -> Result<Option<usize>, BenchError> {
    let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Ok(None);
    };
    let head = String::from_utf8_lossy(&answer[..end]);
    if !head.starts_with("HTTP/1.1 201 ") {
        return Err(BenchError::Wrong(format!("the node answers {:?}", head.lines().next())));
    }
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    });
    let length: usize =
        length.ok_or_else(|| BenchError::Wrong("an answer without its length".into()))?;
    Ok(Some(end + 4 + length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_whole_when_its_length_says_so() {
        let head = "HTTP/1.1 201 Created\r\nContent-Length: 5\r\n\r\n";
        assert_eq!(whole_length(b"HTTP/1.1 201 Created\r\n").unwrap(), None);
        assert_eq!(whole_length(head.as_bytes()).unwrap(), Some(head.len() + 5));
        assert!(whole_length(b"HTTP/1.1 503 Busy\r\n\r\n").is_err());
    }
}
