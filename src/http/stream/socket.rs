//! A stream as a WebSocket (RFC 6455): each event is a text message, silence is broken by pings.
//! What the client says is read, so that its pings and its goodbye are answered, and not listened to.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade, close_code};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Uri, header};
use axum::response::Response;

use super::Events;
use crate::http::connection::{Connection, GRACE};
use crate::http::problem::Problem;
use crate::words::Code;

/// The largest message of a client, in bytes: there is nothing for it to say.
const MESSAGE_BYTES: usize = 4 << 10;
/// How many bytes are buffered of what the client says.
const BUFFER_BYTES: usize = 4 << 10;

/// Refuses a socket that a page of another site opens. Browsers let any site open one, unlike other
/// requests, and say only where it comes from.
///
/// # Errors
/// The origin is another host.
pub fn check_origin(headers: &HeaderMap) -> Result<(), Problem> {
    let Some(origin) = headers.get(header::ORIGIN) else {
        return Ok(()); // no browser
    };
    let origin = origin.to_str().ok().and_then(|origin| origin.parse::<Uri>().ok());
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let host: Option<Authority> = host.and_then(|host| host.parse().ok());
    match (origin.as_ref().and_then(Uri::authority), &host) {
        (Some(origin), Some(host)) if origin == host => Ok(()),
        _ => Err(Problem::new(Code::Rights, "the page that asks is of another site")),
    }
}

/// Answers with the switch of protocols, and then sends what follows.
pub fn open(upgrade: WebSocketUpgrade, events: Events, connection: &Connection) -> Response {
    let tracked = connection.tracked();
    upgrade
        .read_buffer_size(BUFFER_BYTES)
        .write_buffer_size(0)
        .max_message_size(MESSAGE_BYTES)
        .max_frame_size(MESSAGE_BYTES)
        .on_upgrade(|socket| async move {
            let _tracked = tracked;
            serve(socket, events).await;
        })
}

async fn serve(mut socket: WebSocket, mut events: Events) {
    let (closing, cut) = (events.closing(), events.connection.is_cut());
    let sent = tokio::select! {
        sent = send(&mut socket, &mut events) => sent,
        () = closing.ended(GRACE) => return,
        () = cut => return tracing::debug!("a WebSocket was cut: it took nothing"),
    };
    let (code, reason) = match sent {
        Ok(Goodbye::Theirs) => return,
        Ok(Goodbye::Ours) => (close_code::AWAY, "the stream is over"),
        Err(error) => {
            tracing::warn!(%error, "a stream was cut");
            (close_code::ERROR, "the log can't be read")
        }
    };
    let frame = CloseFrame { code, reason: Utf8Bytes::from_static(reason) };
    let goodbye = async {
        // Whoever has gone can't hear it.
        if socket.send(Message::Close(Some(frame))).await.is_ok() {
            while let Some(Ok(_)) = socket.recv().await {}
        }
    };
    drop(tokio::time::timeout(Duration::from_secs(1), goodbye).await);
}

/// Who ends a socket.
enum Goodbye {
    Ours,
    Theirs,
}

async fn send(socket: &mut WebSocket, events: &mut Events) -> Result<Goodbye, axum::BoxError> {
    loop {
        let message = tokio::select! {
            heard = socket.recv() => match heard {
                None | Some(Err(_) | Ok(Message::Close(_))) => return Ok(Goodbye::Theirs),
                Some(Ok(_)) => continue,
            },
            next = events.next() => match next? {
                None => return Ok(Goodbye::Ours),
                Some(bytes) if bytes.is_empty() => Message::Ping(Bytes::new()),
                Some(bytes) => Message::Text(Utf8Bytes::try_from(bytes)?),
            },
        };
        if socket.send(message).await.is_err() {
            return Ok(Goodbye::Theirs);
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn only_the_nodes_own_page_opens_a_socket_from_a_browser() {
        let check = |origin: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, HeaderValue::from_static("127.0.0.1:7118"));
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, HeaderValue::from_static(origin));
            }
            check_origin(&headers).is_ok()
        };
        assert!(check(None) && check(Some("http://127.0.0.1:7118")));
        for other in ["http://evil.example", "http://127.0.0.1:1", "null", ""] {
            assert!(!check(Some(other)), "{other}");
        }
    }
}
