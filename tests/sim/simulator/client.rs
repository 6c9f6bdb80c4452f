//! Clients of a node: those who append, those who emit, those who read.

use towline::words::Draft;

use super::agenda::Event;
use super::clock::MILLI;
use super::coverage::Mark;
use super::group::{Command, Request};
use super::node::Node;
use super::promise::Outcome;
use super::scenario::Writing;
use super::stage::Stage;
use super::tiling;

impl Node {
    /// A client appends, and comes again later.
    pub fn serve_append(&mut self, stage: &mut Stage) {
        if !stage.is_chaos() {
            return;
        }
        let wait = stage.dice.between(MILLI, stage.scenario.append_every);
        stage.put(wait, Event::Append(self.host));
        let (count, size) = match stage.scenario.writing {
            Writing::Many if stage.dice.percent(4) => {
                (stage.dice.between(3_000, 9_000) as usize, 4)
            }
            Writing::Large if stage.dice.percent(20) => {
                stage.count(Mark::LargeAppends);
                (1 + stage.dice.below(3), stage.dice.between(1_000, 200_000) as usize)
            }
            _ if stage.dice.percent(5) => (stage.dice.between(50, 200) as usize, 8),
            _ => (1 + stage.dice.below(4), 16),
        };
        self.append(count, size, stage);
    }

    /// Appends so many drafts in one request.
    pub fn append(&mut self, count: usize, size: usize, stage: &mut Stage) {
        let host = self.host;
        let draft = |_| {
            let text =
                format!("{host} {:016x}{}", stage.dice.between(0, u64::MAX), "·".repeat(size / 2));
            Draft::text("notes", "note", text).expect("constant names parse")
        };
        let drafts = (0..count).map(draft).collect();
        let request = Request { drafts };
        let Some(life) = &mut self.life else { return };
        life.unanswered += 1;
        if life.rejoin.joined {
            self.enqueue(Command::Append(request), stage);
        } else {
            life.waiting.push(request);
        }
    }

    /// A producer emits a burst, and comes again later.
    pub fn serve_emit(&mut self, stage: &mut Stage) {
        let Some(every) = stage.scenario.emit_every.filter(|_| stage.is_chaos()) else {
            return;
        };
        let wait = stage.dice.between(MILLI, every);
        stage.put(wait, Event::Emit(self.host));
        let burst =
            1 + if stage.dice.percent(20) { stage.dice.below(40) } else { stage.dice.below(4) };
        self.emit(burst, stage);
    }

    /// Emits so many events at once; some of them are only broadcast.
    pub fn emit(&mut self, burst: usize, stage: &mut Stage) {
        let (host, number) = self.this_life();
        let Some(life) = &mut self.life else { return };
        for _ in 0..burst {
            if stage.dice.percent(10) {
                let hint = Draft::text("events", "hint", "…").expect("constant names parse");
                life.emitter.broadcast(hint);
                continue;
            }
            let Some(next) = life.emitter.next_number() else {
                stage.count(Mark::EmitsExhausted);
                break;
            };
            self.disk.counter = Some(next.plus(1));
            life.emitter.emit(tiling::event(host, number, next));
        }
        self.listen(stage);
    }

    /// A reader reads on, and comes again later.
    ///
    /// # Errors
    /// What it reads breaks a promise.
    pub fn serve_read(&mut self, stage: &mut Stage) -> Outcome {
        if stage.is_chaos() {
            let wait = stage.dice.between(MILLI, 800 * MILLI);
            stage.put(wait, Event::Read(self.host));
        }
        match &mut self.life {
            Some(life) => self.readings.read_on(&mut life.store, &self.disk.ledger),
            None => Ok(()),
        }
    }
}
