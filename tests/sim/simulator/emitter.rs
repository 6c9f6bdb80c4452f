//! Emitted events on their way to the recorder: the numbers, and the ring that overwrites its oldest
//! event when it is full, as tokio's broadcast channel does.

use std::collections::VecDeque;
use std::sync::Arc;

use towline::core::recording::Tally;
use towline::words::{Draft, EmitNumber, GapReason};

/// How many events the recorder appends at once.
const RECORDED_AT_ONCE: usize = 16;

/// An event in the ring; it has no number when its kind is only broadcast.
struct Emitted {
    number: Option<EmitNumber>,
    event: Arc<Draft>,
}

/// The sending side and the ring.
pub struct Emitter {
    next: EmitNumber,
    /// No number at or above is reserved on disk.
    pub reserved: EmitNumber,
    capacity: usize,
    ring: VecDeque<Emitted>,
    closed: bool,
}

impl Emitter {
    /// An emitter that gives out numbers from `first` on.
    pub fn new(first: EmitNumber, capacity: usize) -> Self {
        let ring = VecDeque::with_capacity(capacity);
        Self { next: first, reserved: first, capacity, ring, closed: false }
    }

    /// The number that the next event takes, if it may take one.
    pub fn next_number(&self) -> Option<EmitNumber> {
        (!self.closed && self.next < self.reserved).then_some(self.next)
    }

    /// Puts an event with the next number into the ring.
    pub fn emit(&mut self, event: Draft) {
        let number = Some(self.next);
        self.next = self.next.plus(1);
        self.push(Emitted { number, event: Arc::new(event) });
    }

    /// Puts an event without a number into the ring.
    pub fn broadcast(&mut self, event: Draft) {
        self.push(Emitted { number: None, event: Arc::new(event) });
    }

    fn push(&mut self, emitted: Emitted) {
        if self.ring.len() == self.capacity {
            self.ring.pop_front();
        }
        self.ring.push_back(emitted);
    }

    /// How many numbers were given out, in all lifetimes.
    pub fn emitted(&self) -> EmitNumber {
        self.next
    }

    /// Whether nothing is in the ring.
    pub fn is_empty(&self) -> bool {
        self.ring.is_empty()
    }

    /// Takes no more events.
    pub fn close(&mut self) {
        self.closed = true;
    }

    /// Lets the recorder hear what is in the ring now, as much as it appends at once. When the ring
    /// is empty, every number that was given out was heard, or is lost.
    pub fn hear_all(&mut self, tally: &mut Tally) {
        while tally.len() < RECORDED_AT_ONCE {
            let Some(Emitted { number, event }) = self.ring.pop_front() else {
                return tally.skip_to(self.next, GapReason::Lag);
            };
            if let Some(number) = number {
                tally.hear(number, event);
            }
        }
    }
}
