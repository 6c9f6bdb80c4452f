//! Requests whose body nobody read to its end, as where they were refused before it came: the connection
//! can carry no further request, and the answer says so.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use hyper::body::{Frame, SizeHint};

/// A body that notes when its end was read.
struct Noted {
    body: Body,
    ended: Arc<AtomicBool>,
}

impl HttpBody for Noted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if matches!(polled, Poll::Ready(None)) || self.body.is_end_stream() {
            self.ended.store(true, Ordering::Relaxed);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Whether a request's body was read to its end.
pub struct Unread {
    ended: Arc<AtomicBool>,
}

impl Unread {
    /// Notes from now on how far the body is read.
    pub fn watch(request: Request) -> (Request, Self) {
        if request.body().is_end_stream() {
            return (request, Self { ended: Arc::new(AtomicBool::new(true)) });
        }
        let ended = Arc::new(AtomicBool::new(false));
        let noted = ended.clone();
        let request = request.map(|body| Body::new(Noted { body, ended: noted }));
        (request, Self { ended })
    }

    /// Says `Connection: close` where the request was answered before its body was read. The connection
    /// ends then, and a client that kept it for its next request would find it gone in the middle of that.
    pub fn announce(self, response: &mut Response) {
        if !self.ended.load(Ordering::Relaxed) {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(header::CONNECTION, close);
        }
    }
}
