//! The recorder of a node: hears the ring, and hands what it heard and lost to the writer, as
//! `src/node/recorder.rs` does.

use towline::core::recording::Tally;
use towline::words::{EmitNumber, GapReason};

use super::agenda::Timer;
use super::clock::MILLI;
use super::group::Command;
use super::node::{KillPoint, Node};
use super::promise::Outcome;
use super::stage::Stage;

/// How many emit numbers are reserved at a time: few, so that they run out now and then.
pub const EMIT_BLOCK: u64 = 64;
/// What the recorder is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It waits for the rejoin.
    Gated,
    /// It listens to the ring.
    Listening,
    /// What it heard is being written.
    Writing,
}

/// The subscriber that appends what is emitted.
pub struct Recorder {
    tally: Tally,
    state: State,
    /// Whether the process is told to end, and whether it waits no longer.
    closing: Closing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Closing {
    No,
    WithGrace,
    AtOnce,
    Closed,
}

impl Recorder {
    /// A recorder that has accounted for all numbers below `expected`.
    pub fn new(expected: EmitNumber) -> Self {
        Self { tally: Tally::new(expected), state: State::Gated, closing: Closing::No }
    }

    /// Whether nothing is heard or written at the moment.
    pub fn is_idle(&self) -> bool {
        self.state == State::Listening && self.tally.is_empty()
    }
}

impl Node {
    /// All numbers up to `to` that are not on the disk were lost with the last process.
    pub fn mark_crash(&mut self, to: EmitNumber) {
        if let Some(life) = &mut self.life {
            life.recorder.tally.skip_to(to, GapReason::Crash);
        }
    }

    /// The rejoin is over: what the last process lost is written first.
    ///
    /// # Errors
    /// What follows breaks a promise.
    pub fn begin_recording(&mut self, stage: &mut Stage) -> Outcome {
        if let Some(life) = &mut self.life {
            life.recorder.state = State::Listening;
        }
        self.record(stage)?;
        self.listen(stage);
        Ok(())
    }

    /// Something may be in the ring: the recorder looks soon.
    pub fn listen(&mut self, stage: &mut Stage) {
        let delay = stage.dice.between(1, MILLI);
        stage.due(delay, self.this_life(), Timer::Hear);
    }

    /// Hears what is in the ring, unless the recorder is asleep.
    ///
    /// # Errors
    /// What follows breaks a promise.
    pub fn hear(&mut self, stage: &mut Stage) -> Outcome {
        let name = self.this_life();
        let Some(life) = self.life.as_mut().filter(|l| l.recorder.state == State::Listening) else {
            return Ok(());
        };
        if life.recorder.closing != Closing::No {
            return self.drain(stage);
        }
        if self.nap > stage.now {
            stage.due(self.nap.since(stage.now), name, Timer::Hear);
            return Ok(());
        }
        if !life.emitter.is_empty() {
            life.emitter.hear_all(&mut life.recorder.tally);
        }
        self.record(stage)
    }

    /// Hands what was heard to the writer.
    fn record(&mut self, stage: &mut Stage) -> Outcome {
        let Some(life) = &mut self.life else {
            return Ok(());
        };
        let Some(recording) = life.recorder.tally.take() else {
            return Ok(());
        };
        life.recorder.state = State::Writing;
        let gaps = recording.gaps;
        self.enqueue(Command::Record(recording), stage);
        if gaps > 0 {
            self.reach(KillPoint::BeforeGap, stage)?;
        }
        Ok(())
    }

    /// What was heard is durable; the recorder listens again.
    ///
    /// # Errors
    /// What follows breaks a promise.
    pub fn recorded(&mut self, stage: &mut Stage) -> Outcome {
        let Some(life) = &mut self.life else {
            return Ok(());
        };
        life.emitter.reserved = life.mark.reserved;
        life.recorder.state = State::Listening;
        if life.recorder.closing != Closing::No {
            return self.drain(stage);
        }
        if !life.emitter.is_empty() {
            self.listen(stage);
        }
        Ok(())
    }

    /// Tells the process to end: no more events, and so long for those in the ring.
    ///
    /// # Errors
    /// What follows breaks a promise.
    pub fn shut_down(&mut self, grace: u64, stage: &mut Stage) -> Outcome {
        let name = self.this_life();
        let Some(life) = self.life.as_mut().filter(|l| l.recorder.closing == Closing::No) else {
            return Ok(());
        };
        life.emitter.close();
        life.recorder.closing = Closing::WithGrace;
        stage.due(grace, name, Timer::GraceEnds);
        self.join(stage)?; // a shutdown ends the waiting for peers, too
        self.hear(stage)
    }

    /// The shutdown waits for the recorder no longer.
    ///
    /// # Errors
    /// What follows breaks a promise.
    pub fn end_grace(&mut self, stage: &mut Stage) -> Outcome {
        let Some(life) = &mut self.life else {
            return Ok(());
        };
        if life.recorder.closing == Closing::WithGrace {
            life.recorder.closing = Closing::AtOnce;
        }
        self.hear(stage)
    }

    /// Writes what is in the ring while there is time, states the rest, and ends the writer.
    fn drain(&mut self, stage: &mut Stage) -> Outcome {
        let asleep = self.nap > stage.now;
        let Some(life) = &mut self.life else {
            return Ok(());
        };
        let (recorder, emitter) = (&mut life.recorder, &mut life.emitter);
        if recorder.closing == Closing::WithGrace && asleep {
            return Ok(()); // the end of the grace comes
        }
        if recorder.closing == Closing::WithGrace {
            emitter.hear_all(&mut recorder.tally);
        }
        if recorder.tally.is_empty() {
            recorder.tally.skip_to(emitter.emitted(), GapReason::Shutdown);
        }
        if !recorder.tally.is_empty() {
            return self.record(stage);
        }
        if recorder.closing != Closing::Closed {
            recorder.closing = Closing::Closed;
            self.enqueue(Command::Close, stage);
        }
        Ok(())
    }
}
