//! A link: frames over the one stream of a connection.
//!
//! ```text
//! length (4, big-endian) | form (1): 0 plain, 1 zstd | payload (length)
//! ```
//!
//! A payload is at most 4 MiB as it travels, and at most 16 MiB unpacked; both are checked before
//! memory is taken.

use std::io::Read;
use std::time::Duration;

use bytes::Bytes;
use quinn::{ReadExactError, RecvStream, SendStream, VarInt};

use crate::words::limits::{FRAME_BYTES, FRAME_BYTES_UNPACKED};

/// A frame is given time by the piece: a bad link is slow and moves on, a dead one stands still.
const PIECE_BYTES: usize = 16 << 10;
/// How long the next piece of a frame that was begun may take to come.
const PIECE_TIME: Duration = Duration::from_secs(30);
/// How long the other side may leave a piece unread before it is given up. It says what it has read
/// by an eighth of the window at a time, 256 KiB, for which 30 s are too short on a bad link.
const UNREAD_TIME: Duration = Duration::from_secs(120);
/// Smaller payloads are sent as they are.
const COMPRESSED_FROM: usize = 1 << 10;
/// Larger payloads are packed and unpacked on a thread that may block.
const BLOCKING_FROM: usize = 64 << 10;
/// The level of compression: speed before size.
const ZSTD_LEVEL: i32 = 1;
/// The largest window that a compressed payload may ask for, as a power of two: 16 MiB.
const ZSTD_WINDOW: u32 = 24;

/// How many bytes stand before a payload.
const HEAD_BYTES: usize = 5;
const PLAIN: u8 = 0;
const ZSTD: u8 = 1;

/// Says why a link carries no more frames. The connection must be closed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// The connection is gone, or was closed by the other side.
    #[error("the connection is gone: {0}")]
    Gone(String),
    /// The other side doesn't read.
    #[error("the peer reads nothing for {} s", UNREAD_TIME.as_secs())]
    Stalled,
    /// A frame was begun and doesn't come.
    #[error("a frame stands still for {} s", PIECE_TIME.as_secs())]
    Slow,
    /// A frame breaks the rules of this layer.
    #[error("a bad frame: {0}")]
    Bad(&'static str),
    /// A frame of our own is over the bound.
    #[error("a frame of {0} bytes is over the bound")]
    TooLarge(usize),
}

/// How long the other side may take for the next piece of a frame.
#[derive(Clone, Copy, Debug)]
struct Patience {
    /// To send it, once the frame was begun.
    piece: Duration,
    /// To read it.
    unread: Duration,
}

/// A connection with the stream on which both sides send frames.
pub struct Link {
    connection: quinn::Connection,
    send: SendStream,
    receive: RecvStream,
    patience: Patience,
}

impl Link {
    pub(super) fn new(
        connection: quinn::Connection,
        send: SendStream,
        receive: RecvStream,
    ) -> Self {
        let patience = Patience { piece: PIECE_TIME, unread: UNREAD_TIME };
        Self { connection, send, receive, patience }
    }

    /// Takes the link apart, to send and receive at the same time.
    pub fn split(self) -> (Sender, Receiver, Closer) {
        let Self { connection, send, receive, patience } = self;
        let sender = Sender { stream: send, patience };
        let receiver = Receiver { stream: receive, patience };
        (sender, receiver, Closer { connection })
    }
}

/// Ends a connection. Cloning it shares it.
#[derive(Clone, Debug)]
pub struct Closer {
    connection: quinn::Connection,
}

impl Closer {
    /// Closes the connection and tells why.
    pub fn close(&self, why: &str) {
        self.connection.close(VarInt::from_u32(1), why.as_bytes());
    }

    /// Waits until the connection is closed, by whomever, and says why.
    pub async fn closed(&self) -> String {
        self.connection.closed().await.to_string()
    }
}

/// The sending side of a link.
pub struct Sender {
    stream: SendStream,
    patience: Patience,
}

impl Sender {
    /// Sends a frame, and returns how many bytes travel for it.
    ///
    /// # Errors
    /// See [`LinkError`].
    pub async fn send(&mut self, frame: Vec<u8>) -> Result<usize, LinkError> {
        let packed = blocking_if(frame.len() >= BLOCKING_FROM, move || pack(frame)).await?;
        self.write(&packed).await
    }

    /// Sends a frame as it is, and returns how many bytes travel for it.
    ///
    /// # Errors
    /// See [`LinkError`].
    pub async fn send_plain(&mut self, frame: Vec<u8>) -> Result<usize, LinkError> {
        let framed = framed(PLAIN, &frame)?;
        self.write(&framed).await
    }

    async fn write(&mut self, packed: &[u8]) -> Result<usize, LinkError> {
        for piece in packed.chunks(PIECE_BYTES) {
            let writing = self.stream.write_all(piece);
            let sent = tokio::time::timeout(self.patience.unread, writing).await;
            sent.map_err(|_| LinkError::Stalled)?.map_err(|e| LinkError::Gone(e.to_string()))?;
        }
        Ok(packed.len())
    }
}

/// The receiving side of a link.
pub struct Receiver {
    stream: RecvStream,
    patience: Patience,
}

impl Receiver {
    /// Receives a frame, unpacked, and says how many bytes travelled for it.
    ///
    /// # Errors
    /// See [`LinkError`].
    ///
    /// # Cancel safety
    /// None: a call that is dropped may lose part of a frame.
    pub async fn receive(&mut self) -> Result<(Bytes, usize), LinkError> {
        // A peer may be silent between frames, never within one.
        let first = self.first().await?;
        let mut rest = [0; HEAD_BYTES - 1];
        self.piece(&mut rest).await?;
        let [b, c, d, form] = rest;
        let Head { length, form } = Head::read([first, b, c, d, form])?;
        let mut payload = vec![0; length];
        for piece in payload.chunks_mut(PIECE_BYTES) {
            self.piece(piece).await?;
        }
        let much = form == Form::Zstd && length >= BLOCKING_FROM;
        let unpacked = blocking_if(much, move || unpack(form, payload)).await?;
        Ok((unpacked.into(), length + HEAD_BYTES))
    }

    /// Waits for a frame, and reads its first byte.
    async fn first(&mut self) -> Result<u8, LinkError> {
        let mut first = [0];
        match self.stream.read(&mut first).await {
            Ok(Some(_)) => Ok(first[0]),
            Ok(None) => Err(LinkError::Gone("the peer closed the stream".into())),
            Err(error) => Err(LinkError::Gone(error.to_string())),
        }
    }

    /// Reads a piece of a frame that was begun.
    async fn piece(&mut self, piece: &mut [u8]) -> Result<(), LinkError> {
        let read = tokio::time::timeout(self.patience.piece, self.stream.read_exact(piece)).await;
        read.map_err(|_| LinkError::Slow)?.map_err(|error| match error {
            ReadExactError::FinishedEarly(_) => LinkError::Bad("it ends early"),
            ReadExactError::ReadError(error) => LinkError::Gone(error.to_string()),
        })
    }
}

/// What stands before every payload. It and what reads a payload are public for the fuzzers only.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// How many bytes the payload has as it travels.
    pub length: usize,
    /// How it travels.
    pub form: Form,
}

/// How a payload travels.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As it is.
    Plain,
    /// As one zstd frame.
    Zstd,
}

impl Head {
    /// Reads a head, and checks its bounds.
    ///
    /// # Errors
    /// A length or a form that no frame has.
    pub fn read([a, b, c, d, form]: [u8; HEAD_BYTES]) -> Result<Self, LinkError> {
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        if length == 0 {
            return Err(LinkError::Bad("it is empty"));
        }
        if length > FRAME_BYTES {
            return Err(LinkError::Bad("it is over 4 MiB"));
        }
        let form = match form {
            PLAIN => Form::Plain,
            ZSTD => Form::Zstd,
            _ => return Err(LinkError::Bad("its form is unknown")),
        };
        Ok(Self { length, form })
    }
}

/// Runs work here, or on a thread that may block when there is much of it.
async fn blocking_if(
    much: bool,
    work: impl FnOnce() -> Result<Vec<u8>, LinkError> + Send + 'static,
) -> Result<Vec<u8>, LinkError> {
    if !much {
        return work();
    }
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(LinkError::Gone(format!("a task ended: {error}"))))
}

/// Puts the head before a frame, and compresses it where that pays.
///
/// # Errors
/// The frame is over the bound.
#[doc(hidden)]
pub fn pack(frame: Vec<u8>) -> Result<Vec<u8>, LinkError> {
    let packed = match frame.len() >= COMPRESSED_FROM {
        true => zstd::bulk::compress(&frame, ZSTD_LEVEL).ok().filter(|p| p.len() < frame.len()),
        false => None,
    };
    if frame.len() > FRAME_BYTES_UNPACKED {
        return Err(LinkError::TooLarge(frame.len()));
    }
    match packed {
        Some(packed) => framed(ZSTD, &packed),
        None => framed(PLAIN, &frame),
    }
}

/// A payload behind its head.
fn framed(form: u8, payload: &[u8]) -> Result<Vec<u8>, LinkError> {
    if payload.len() > FRAME_BYTES {
        return Err(LinkError::TooLarge(payload.len()));
    }
    let mut out = Vec::with_capacity(payload.len() + HEAD_BYTES);
    out.extend_from_slice(&(payload.len() as u32).to_be_bytes());
    out.push(form);
    out.extend_from_slice(payload);
    Ok(out)
}

/// The frame in a payload, decompressed as far as the bound allows.
///
/// # Errors
/// A payload that isn't one whole zstd frame, or is more than the bound when it is decompressed.
#[doc(hidden)]
pub fn unpack(form: Form, payload: Vec<u8>) -> Result<Vec<u8>, LinkError> {
    match form {
        Form::Plain => Ok(payload),
        Form::Zstd => decompress(&payload),
    }
}

fn decompress(payload: &[u8]) -> Result<Vec<u8>, LinkError> {
    let wrong = |_| LinkError::Bad("it doesn't decompress");
    let decoder = zstd::stream::read::Decoder::with_buffer(payload).map_err(wrong)?;
    let mut decoder = decoder.single_frame();
    decoder.window_log_max(ZSTD_WINDOW).map_err(wrong)?;
    let mut out = Vec::new();
    let most = FRAME_BYTES_UNPACKED as u64 + 1;
    decoder.by_ref().take(most).read_to_end(&mut out).map_err(wrong)?;
    if out.len() > FRAME_BYTES_UNPACKED {
        return Err(LinkError::Bad("it is over 16 MiB unpacked"));
    }
    match decoder.finish() {
        [] => Ok(out),
        _ => Err(LinkError::Bad("something follows what decompresses")),
    }
}

#[cfg(test)]
mod tests;
