//! Emit, and the recorder: the one entrance to the log that is lossy on purpose.
//!
//! A producer on a hot path must never block, so [`Emitter::emit`] puts the event on a broadcast
//! channel and returns. Live listeners hear it there. The *recorder* is one more subscriber; it
//! appends what it hears. When it lags, the channel overwrites the oldest events, and the recorder
//! writes a gap in their place, in the same commit as the next event and ahead of it.
//!
//! Every event that is to be recorded takes the next emit number under the send lock, so that the
//! channel's order is the order of numbers, and what the recorder missed follows from the numbers
//! alone. At rest: emitted = recorded + Σ gap.count.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use super::config::Delivery;
use super::directory::EmitCounter;
use super::sync::broadcast::error::{RecvError, TryRecvError};
use super::sync::broadcast::{self, Receiver};
use super::sync::{AtomicU64, Mutex};
use super::writer::{AppendError, Writer};
use crate::core::recording::Tally;
use crate::words::limits::{CHANGE_BYTES, EMIT_PAYLOAD_BYTES};
use crate::words::{Draft, DraftError, EmitNumber, GapReason, Kind};

/// How many events the recorder appends at once.
const RECORDED_AT_ONCE: usize = 4_096;

/// Says why an event was not emitted. No listener heard it, and it took no number.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EmitError {
    /// The draft is out of bounds; an emitted payload is at most 64 KiB.
    #[error(transparent)]
    Draft(#[from] DraftError),
    /// More events were emitted since the last commit than numbers are reserved: the disk hangs.
    #[error("the reserved emit numbers are used up: the recorder's commits hang")]
    Exhausted,
    /// The node is shutting down, or can't write any more.
    #[error("the node records no more events: {0}")]
    Closed(String),
}

/// An event on the broadcast channel.
#[derive(Clone, Debug)]
pub struct Emitted {
    /// Its number; none for a kind that is only broadcast.
    pub number: Option<EmitNumber>,
    /// What was emitted.
    pub event: Arc<Draft>,
    delivery: Delivery,
}

/// The sending side.
pub struct Emitter {
    state: Mutex<State>,
    /// No number at or above is reserved on disk.
    reserved: AtomicU64,
    deliveries: BTreeMap<Kind, Delivery>,
    counter: Option<EmitCounter>,
}

struct State {
    next: EmitNumber,
    /// None once the node shuts down.
    channel: Option<broadcast::Sender<Emitted>>,
}

impl Emitter {
    /// An emitter that gives out numbers from `first` on, and the recorder's end of its channel.
    ///
    /// # Errors
    /// The emit counter can't be written.
    pub fn new(
        ring: usize,
        first: EmitNumber,
        deliveries: BTreeMap<Kind, Delivery>,
        counter: Option<EmitCounter>,
    ) -> std::io::Result<(Self, Receiver<Emitted>)> {
        if let Some(counter) = &counter {
            counter.begin(first)?;
        }
        let (channel, recorder) = broadcast::channel(ring);
        let state = Mutex::new(State { next: first, channel: Some(channel) });
        let reserved = AtomicU64::new(first.0);
        Ok((Self { state, reserved, deliveries, counter }, recorder))
    }

    /// Emits an event. Never waits for the disk or for a listener.
    ///
    /// # Errors
    /// See [`EmitError`].
    pub fn emit(&self, event: Draft) -> Result<Option<EmitNumber>, EmitError> {
        self.emit_all(vec![event]).map(|(first, count)| (count > 0).then_some(first))
    }

    /// Emits events with consecutive numbers. Returns the first number, and how many there are.
    ///
    /// # Errors
    /// See [`EmitError`]; none of them was emitted.
    pub fn emit_all(&self, events: Vec<Draft>) -> Result<(EmitNumber, u64), EmitError> {
        for event in &events {
            event.check()?;
            if event.data.len() > EMIT_PAYLOAD_BYTES {
                let (most, found) = (EMIT_PAYLOAD_BYTES, event.data.len());
                return Err(DraftError::PayloadTooLarge { most, found }.into());
            }
        }
        let delivery =
            |event: &Draft| self.deliveries.get(&event.kind).copied().unwrap_or_default();
        let with_delivery: Vec<_> = events.into_iter().map(|e| (delivery(&e), e)).collect();
        let numbered = with_delivery.iter().filter(|(d, _)| *d != Delivery::BroadcastOnly).count();

        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let first = state.next;
        let end = first.plus(numbered as u64);
        if end.0 > self.reserved.load(Ordering::Acquire) {
            return Err(EmitError::Exhausted);
        }
        let Some(channel) = state.channel.clone() else {
            return Err(EmitError::Closed("it is shutting down".into()));
        };
        if let Some(counter) = &self.counter
            && let Err(error) = counter.note(end)
        {
            return Err(EmitError::Closed(format!("the emit counter can't be written: {error}")));
        }
        for (delivery, event) in with_delivery {
            let number = (delivery != Delivery::BroadcastOnly).then_some(state.next);
            if number.is_some() {
                state.next = state.next.plus(1);
            }
            // An error means that nobody listens, which is no loss: the recorder outlives this.
            drop(channel.send(Emitted { number, event: Arc::new(event), delivery }));
        }
        Ok((first, numbered as u64))
    }

    /// How many numbers were given out, in all lifetimes.
    pub fn emitted(&self) -> EmitNumber {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).next
    }

    /// A live listener; none once the node shuts down.
    pub fn listen(&self) -> Option<Listener> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let channel = state.channel.as_ref()?;
        Some(Listener { channel: channel.subscribe() })
    }

    /// More numbers are reserved on disk.
    pub fn reserve_to(&self, reserved: EmitNumber) {
        self.reserved.store(reserved.0, Ordering::Release);
    }

    /// Takes no more events, and returns the number after the last one.
    pub fn close(&self) -> EmitNumber {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.channel = None;
        state.next
    }
}

/// What a live listener hears.
#[derive(Clone, Debug)]
pub enum Heard {
    /// An event, as it was emitted: it may not be in the log yet, or ever.
    Event(Arc<Draft>),
    /// The listener was too slow, and so many events of the channel passed it by.
    Missed(u64),
}

/// A live listener to emitted events.
pub struct Listener {
    channel: Receiver<Emitted>,
}

impl Listener {
    /// What is heard next; none once the node shuts down.
    ///
    /// # Cancel safety
    /// A call that is dropped loses nothing.
    pub async fn next(&mut self) -> Option<Heard> {
        loop {
            match self.channel.recv().await {
                Ok(emitted) if emitted.delivery == Delivery::RecordOnly => {}
                Ok(emitted) => return Some(Heard::Event(emitted.event)),
                Err(RecvError::Lagged(missed)) => return Some(Heard::Missed(missed)),
                Err(RecvError::Closed) => return None,
            }
        }
    }
}

/// The subscriber that appends what is emitted.
pub struct Recorder {
    channel: Receiver<Emitted>,
    writer: Writer,
    emitter: Arc<Emitter>,
    tally: Tally,
}

impl Recorder {
    /// A recorder that has accounted for all numbers below `expected`.
    pub fn new(
        channel: Receiver<Emitted>,
        writer: Writer,
        emitter: Arc<Emitter>,
        expected: EmitNumber,
    ) -> Self {
        Self { channel, writer, emitter, tally: Tally::new(expected) }
    }

    /// Writes what a crash of the last lifetime took: all numbers up to `to` may be lost.
    ///
    /// # Errors
    /// The writer is poisoned or closed.
    pub async fn mark_crash(&mut self, to: EmitNumber) -> Result<(), AppendError> {
        self.tally.skip_to(to, GapReason::Crash);
        self.write().await
    }

    /// Records until the emitter is closed and all that it sent is on disk.
    ///
    /// What is still in the ring `grace` after the closing is stated as a gap.
    ///
    /// # Errors
    /// The writer is poisoned or closed.
    pub async fn run(mut self, grace: Duration) -> Result<(), AppendError> {
        loop {
            match self.channel.recv().await {
                Ok(emitted) => self.hear(emitted),
                Err(RecvError::Lagged(_)) => continue, // the next number tells how many
                Err(RecvError::Closed) => break,
            }
            self.hear_all();
            self.write().await?;
        }
        self.drain(Instant::now() + grace).await
    }

    /// The channel is closed; what it still holds is written while there is time.
    async fn drain(&mut self, deadline: Instant) -> Result<(), AppendError> {
        let end = self.emitter.emitted();
        while self.tally.expected() < end && Instant::now() < deadline {
            self.hear_all();
            if self.tally.is_empty() {
                break;
            }
            self.write().await?;
        }
        self.tally.skip_to(end, GapReason::Shutdown);
        self.write().await
    }

    /// Hears what is in the ring now, as much as is appended at once.
    ///
    /// When the ring is empty, every number that was given out before that was heard, or is lost:
    /// so a loss is stated even if no numbered event follows it.
    fn hear_all(&mut self) {
        let mut sent = None;
        while self.tally.len() < RECORDED_AT_ONCE && self.tally.bytes() < CHANGE_BYTES {
            match self.channel.try_recv() {
                Ok(emitted) => self.hear(emitted),
                Err(TryRecvError::Lagged(_)) => {}
                Err(TryRecvError::Empty | TryRecvError::Closed) => match sent {
                    None => sent = Some(self.emitter.emitted()),
                    Some(sent) => return self.tally.skip_to(sent, GapReason::Lag),
                },
            }
        }
    }

    fn hear(&mut self, emitted: Emitted) {
        if let Some(number) = emitted.number {
            self.tally.hear(number, emitted.event);
        }
    }

    async fn write(&mut self) -> Result<(), AppendError> {
        let Some(recording) = self.tally.take() else {
            return Ok(());
        };
        let mark = self.writer.record(recording).await?;
        self.emitter.reserve_to(mark.reserved);
        Ok(())
    }
}
