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
//!
//! While the disk is full the recorder keeps what it has heard, and takes nothing more out of the
//! channel: it holds the newest events until there is room, and what it can't hold is one gap.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use super::config::Delivery;
use super::emitted::EmitCounter;
use super::sync::broadcast::error::{RecvError, TryRecvError};
use super::sync::broadcast::{self, Receiver};
use super::sync::{Mutex, watch};
use super::writer::{AppendError, Recorded, Reserved, Writer};
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
    /// More events were emitted since the last commit than numbers are reserved: the disk hangs, or
    /// is full.
    #[error("the reserved emit numbers are used up: the disk hangs or is full")]
    Exhausted,
    /// The emit counter can't be written.
    #[error("the emit counter can't be written: {0}")]
    Counter(String),
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
    reserved: Reserved,
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
        (first, reserved): (EmitNumber, Reserved),
        deliveries: BTreeMap<Kind, Delivery>,
        counter: Option<EmitCounter>,
    ) -> std::io::Result<(Self, Receiver<Emitted>)> {
        if let Some(counter) = &counter {
            counter.begin(first)?;
        }
        let (channel, recorder) = broadcast::channel(ring);
        let state = Mutex::new(State { next: first, channel: Some(channel) });
        Ok((Self { state, reserved, deliveries, counter }, recorder))
    }

    /// What becomes of events of a kind.
    pub fn delivery(&self, kind: &Kind) -> Delivery {
        self.deliveries.get(kind).copied().unwrap_or_default()
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
        let delivery = |event: &Draft| self.delivery(&event.kind);
        let with_delivery: Vec<_> = events.into_iter().map(|e| (delivery(&e), e)).collect();
        let numbered = with_delivery.iter().filter(|(d, _)| *d != Delivery::BroadcastOnly).count();

        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let first = state.next;
        let end = first.plus(numbered as u64);
        if end > self.reserved.end() {
            return Err(EmitError::Exhausted);
        }
        let Some(channel) = state.channel.clone() else {
            return Err(EmitError::Closed("it is shutting down".into()));
        };
        if let Some(counter) = &self.counter
            && let Err(error) = counter.note(end)
        {
            return Err(EmitError::Counter(error.to_string()));
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

    /// Takes no more events, and returns the number after the last one.
    pub fn close(&self) -> EmitNumber {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.channel = None;
        state.next
    }

    /// Whether no more events are taken.
    fn is_closed(&self) -> bool {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).channel.is_none()
    }

    /// Notes that all numbers given out so far are all that there will be, and that the disk is too
    /// full to say in the log which of them were lost. The next start says it.
    fn end_on_full_disk(&self) {
        if let Some(counter) = &self.counter
            && let Err(error) = counter.end_on_full_disk()
        {
            tracing::warn!(%error, "the emit counter can't be written: the next gap will be inexact");
        }
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
    closing: watch::Receiver<bool>,
    tally: Tally,
}

impl Recorder {
    /// A recorder that has accounted for all numbers below `expected`.
    pub fn new(
        channel: Receiver<Emitted>,
        writer: Writer,
        emitter: Arc<Emitter>,
        closing: watch::Receiver<bool>,
        expected: EmitNumber,
    ) -> Self {
        Self { channel, writer, emitter, closing, tally: Tally::new(expected) }
    }

    /// Writes what the last lifetime lost: the numbers up to `to` that are not accounted for.
    ///
    /// # Errors
    /// As for [`Recorder::run`].
    pub async fn mark_lost(
        &mut self,
        to: EmitNumber,
        reason: GapReason,
    ) -> Result<(), AppendError> {
        self.tally.skip_to(to, reason);
        self.write().await
    }

    /// Records until the emitter is closed and all that it sent is on disk.
    ///
    /// What is still in the ring `grace` after the closing is stated as a gap.
    ///
    /// # Errors
    /// The writer is poisoned or closed; or the node ends while the disk is full, and the next start
    /// states what was lost.
    pub async fn run(mut self, grace: Duration) -> Result<(), AppendError> {
        loop {
            match self.channel.recv().await {
                Ok(emitted) => self.hear(emitted),
                Err(RecvError::Lagged(_)) => continue, // the next number tells how many
                Err(RecvError::Closed) => break,
            }
            if self.emitter.is_closed() {
                break; // what the ring holds is written while there is time
            }
            self.hear_all();
            self.write().await?;
        }
        self.drain(Instant::now() + grace).await
    }

    /// The emitter is closed; what its channel still holds is written while there is time.
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
        // The numbers given out when the ring was found empty, if nothing has come since.
        let mut sent = None;
        while self.tally.len() < RECORDED_AT_ONCE && self.tally.bytes() < CHANGE_BYTES {
            match (self.channel.try_recv(), sent) {
                (Ok(emitted), _) => {
                    sent = None;
                    self.hear(emitted);
                }
                (Err(TryRecvError::Lagged(_)), _) => sent = None,
                (Err(TryRecvError::Empty | TryRecvError::Closed), None) => {
                    sent = Some(self.emitter.emitted());
                }
                (Err(TryRecvError::Empty | TryRecvError::Closed), Some(sent)) => {
                    return self.tally.miss_to(sent);
                }
            }
        }
    }

    fn hear(&mut self, emitted: Emitted) {
        if let Some(number) = emitted.number {
            self.tally.hear(number, emitted.event);
        }
    }

    /// Writes what was heard. While the disk is full, it is kept and tried again.
    async fn write(&mut self) -> Result<(), AppendError> {
        let Some(mut recording) = self.tally.take() else {
            return Ok(());
        };
        while let Recorded::NoRoom(back) = self.writer.record(recording).await? {
            self.wait_for_room().await?;
            recording = back;
            // What the ring has lost by now, it has lost while nothing could be written.
            self.tally.blame_full_disk(self.emitter.emitted());
        }
        Ok(())
    }

    async fn wait_for_room(&mut self) -> Result<(), AppendError> {
        tokio::select! {
            biased;
            room = self.writer.wait_for_room() => room,
            _ = self.closing.wait_for(|closing| *closing) => {
                self.emitter.end_on_full_disk();
                let lost = self.writer.full().unwrap_or_default();
                Err(AppendError::DiskFull(lost.to_string()))
            }
        }
    }
}
