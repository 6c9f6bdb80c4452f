//! Streams as WebSockets.

use std::net::TcpStream;

use serde_json::Value;
use tungstenite::client::IntoClientRequest;
use tungstenite::http::HeaderValue;
use tungstenite::{Error, Message, WebSocket};

use crate::server::{PATIENCE, Server};

type Socket = WebSocket<TcpStream>;

fn connect(server: &Server, parameters: &str, origin: Option<String>) -> Result<Socket, u16> {
    let stream = TcpStream::connect(server.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let url = format!("ws://{}/v1/stream?{parameters}", server.address);
    let mut request = url.into_client_request().unwrap();
    if let Some(origin) = origin {
        request.headers_mut().insert("origin", HeaderValue::from_str(&origin).unwrap());
    }
    match tungstenite::client(request, stream) {
        Ok((socket, _)) => Ok(socket),
        Err(tungstenite::HandshakeError::Failure(Error::Http(answer))) => {
            Err(answer.status().as_u16())
        }
        Err(error) => panic!("{error}"),
    }
}

fn event(socket: &mut Socket) -> Value {
    loop {
        match socket.read().unwrap() {
            Message::Text(text) => return serde_json::from_str(&text).unwrap(),
            Message::Ping(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_socket_tells_the_log_and_then_what_comes() {
    let server = Server::start();
    (0..2).for_each(|n| server.append("t", n));
    let mut socket = connect(&server, "", None).unwrap();
    let events = [(); 3].map(|()| event(&mut socket));
    let names: Vec<&str> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert_eq!(names, ["entry", "entry", "caught-up"]);
    assert_eq!(events[1]["data"]["offset"], 1);
    server.append("t", "live");
    let live = event(&mut socket);
    assert_eq!(live["data"]["data"], "live");

    let after = events[1]["cursor"].as_str().unwrap();
    let mut again = connect(&server, &format!("after={after}"), None).unwrap();
    assert_eq!(event(&mut again)["data"]["data"], "live");
}

#[test]
fn a_socket_is_closed_when_its_stream_is_over() {
    let server = Server::start();
    let mut socket = connect(&server, "until_caught_up=true", None).unwrap();
    assert_eq!(event(&mut socket)["event"], "caught-up");
    assert!(matches!(socket.read(), Ok(Message::Close(Some(_)))));
}

#[test]
fn a_socket_ends_with_the_node() {
    let mut server = Server::start();
    let mut socket = connect(&server, "", None).unwrap();
    assert_eq!(event(&mut socket)["event"], "caught-up");
    server.shut_down();
    assert!(matches!(socket.read(), Ok(Message::Close(Some(_)))));
}

#[test]
fn a_socket_that_the_client_closes_gives_its_place_back() {
    let server = Server::start();
    let mut socket = connect(&server, "", None).unwrap();
    assert_eq!(event(&mut socket)["event"], "caught-up");
    assert_eq!(server.node.metrics().http_streams.get(), 1);
    socket.close(None).unwrap();
    while socket.read().is_ok() {}
    while server.node.metrics().http_streams.get() > 0 {
        std::thread::yield_now();
    }
}

#[test]
fn no_other_site_opens_a_socket() {
    let server = Server::start();
    let own = format!("http://{}", server.address);
    assert!(connect(&server, "", Some(own)).is_ok());
    for origin in ["http://evil.example", "null", "http://localhost:1"] {
        assert_eq!(connect(&server, "", Some(origin.to_owned())).err(), Some(403), "{origin}");
    }
}

#[test]
fn parameters_are_refused_before_the_switch() {
    let server = Server::start();
    assert_eq!(connect(&server, "after=o:nonsense", None).err(), Some(400));
    assert_eq!(connect(&server, "gaps=entries", None).err(), Some(400));
}
