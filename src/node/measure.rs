//! What measurements of nodes share: payloads that are made as they are needed, and the limits
//! beside which figures stand.
//!
//! `towline bench` measures whole nodes, `cargo bench` their parts.

use std::sync::Arc;

use bytes::Bytes;

pub use crate::store::baseline::{OneTable, PlainFile, TopicTable};
use crate::words::entry::{JSON, TEXT};
use crate::words::{Draft, DraftError};

/// How many entries of one topic follow each other.
const BURST: u64 = 8;

/// The payloads of a measurement: as many as are wanted, none of which is kept.
#[derive(Clone, Debug)]
pub enum Payloads {
    /// Lines of JSON of about 200 bytes, as an agent host might write them.
    Sample,
    /// These, again and again. There is at least one.
    Lines(Arc<[Bytes]>),
}

impl Payloads {
    /// The payload of a number.
    pub fn payload(&self, number: u64) -> Bytes {
        match self {
            Self::Sample => sample(number).into(),
            Self::Lines(lines) => {
                lines.get(number as usize % lines.len().max(1)).cloned().unwrap_or_default()
            }
        }
    }

    /// The payloads of consecutive numbers.
    pub fn group(&self, first: u64, count: u64) -> Vec<Bytes> {
        (first..first + count).map(|number| self.payload(number)).collect()
    }

    /// The draft of a number, in one of so many topics.
    ///
    /// # Errors
    /// The payload is over its bound.
    pub fn draft(&self, number: u64, topics: u64) -> Result<Draft, DraftError> {
        let content_type = if matches!(self, Self::Sample) { JSON } else { TEXT };
        let topic = topic_name(topic_of(number, topics));
        Draft::bytes(&topic, "bench.entry", content_type, self.payload(number))
    }

    /// The drafts of consecutive numbers.
    ///
    /// # Errors
    /// A payload is over its bound.
    pub fn drafts(&self, first: u64, count: u64, topics: u64) -> Result<Vec<Draft>, DraftError> {
        (first..first + count).map(|number| self.draft(number, topics)).collect()
    }
}

/// Which of so many topics an entry is of: they come in bursts of eight entries, in no order.
pub fn topic_of(number: u64, topics: u64) -> u64 {
    scatter(number / BURST) % topics.max(1)
}

/// What a topic is called.
pub fn topic_name(topic: u64) -> String {
    format!("bench/{topic:05}")
}

/// A number that looks like no other, the same in every run (the last step of SplitMix64).
fn scatter(number: u64) -> u64 {
    let mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

fn sample(number: u64) -> Vec<u8> {
    const TOOLS: [&str; 5] = ["read_file", "run_tests", "search", "apply_patch", "open_page"];
    const STATES: [&str; 4] = ["queued", "running", "done", "failed"];
    let state = STATES[(number / 7 % 4) as usize];
    let digest = scatter(number);
    let text = format!(
        r#"{{"session":"s-{:04}","step":{number},"tool":"{}","state":"{state}","took_ms":{},"digest":"{digest:016x}","host":"edge-{:02}","message":"step {number} of the plan is {state} after the tool answered"}}"#,
        number % 997,
        TOOLS[(number % 5) as usize],
        digest % 4_000,
        number % 16,
    );
    text.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_json_of_about_200_bytes() {
        for number in [0, 1, 12_345, 9_999_999] {
            let payload = Payloads::Sample.payload(number);
            assert!((180..=240).contains(&payload.len()), "{}", payload.len());
            serde_json::from_slice::<serde_json::Value>(&payload).unwrap();
        }
    }

    #[test]
    fn lines_come_again_and_again() {
        let lines = Payloads::Lines([Bytes::from("a"), Bytes::from("b")].into());
        assert_eq!(lines.group(1, 3), ["b", "a", "b"]);
    }

    #[test]
    fn every_topic_has_its_turn() {
        let topics: std::collections::BTreeSet<u64> =
            (0..10_000).map(|number| topic_of(number, 50)).collect();
        assert_eq!(topics.len(), 50);
    }
}
