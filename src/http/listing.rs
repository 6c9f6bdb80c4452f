//! Entries as JSON, piece by piece: a large answer is never in memory as a whole.

use std::vec;

use bytes::Bytes;
use serde::Serialize;

use crate::words::Entry;
use crate::words::cloudevents::CloudEvent;
use crate::words::json::{EntryJson, Lateness};

/// About how long a piece is.
const PIECE_BYTES: usize = 64 << 10;

/// How entries are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// One JSON document, in which they have this name, and `next` says where the next ones begin.
    Document(&'static str),
    /// One entry a line.
    Lines,
    /// A JSON array of CloudEvents.
    CloudEvents,
    /// One CloudEvent, and nothing around it.
    CloudEvent,
}

/// What is left of a listing.
pub struct Listing {
    entries: vec::IntoIter<Entry>,
    form: Form,
    next: Option<String>,
    at: Place,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Start,
    Inside,
    End,
}

impl Listing {
    /// The listing of these entries.
    pub fn new(entries: Vec<Entry>, next: Option<String>, form: Form) -> Self {
        Self { entries: entries.into_iter(), form, next, at: Place::Start }
    }

    /// Whether all of it was given out.
    pub fn is_over(&self) -> bool {
        self.at == Place::End
    }

    /// How many bytes the entries that are left take.
    pub fn bytes(&self) -> usize {
        self.entries.as_slice().iter().map(|entry| entry.body.size()).sum()
    }

    fn write(&mut self, piece: &mut Vec<u8>) {
        while piece.len() < PIECE_BYTES {
            let Some(entry) = self.entries.next() else {
                return self.write_end(piece);
            };
            self.write_before(piece);
            let entry = EntryJson::new(&entry, Lateness::InOrder);
            match self.form {
                Form::Document(_) | Form::Lines => write_json(piece, &entry),
                Form::CloudEvents | Form::CloudEvent => write_json(piece, &CloudEvent::of(&entry)),
            }
            if self.form == Form::Lines {
                piece.push(b'\n');
            }
        }
    }

    /// Writes what stands before an entry, or before the end.
    fn write_before(&mut self, piece: &mut Vec<u8>) {
        match (self.form, self.at) {
            (Form::Document(name), Place::Start) => {
                piece.extend_from_slice(format!("{{\"{name}\":[").as_bytes());
            }
            (Form::CloudEvents, Place::Start) => piece.push(b'['),
            (Form::Document(_) | Form::CloudEvents, _) => piece.push(b','),
            (Form::Lines | Form::CloudEvent, _) => {}
        }
        self.at = Place::Inside;
    }

    fn write_end(&mut self, piece: &mut Vec<u8>) {
        if self.at == Place::Start {
            self.write_before(piece);
        }
        if self.form == Form::CloudEvents {
            piece.push(b']');
        }
        if let Form::Document(_) = self.form {
            piece.extend_from_slice(b"],\"next\":");
            write_json(piece, &self.next);
            piece.push(b'}');
        }
        self.at = Place::End;
    }
}

impl Iterator for Listing {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        if self.is_over() {
            return None;
        }
        let mut piece = Vec::new();
        self.write(&mut piece);
        Some(piece.into())
    }
}

fn write_json(piece: &mut Vec<u8>, value: &impl Serialize) {
    // Writing to a Vec can't fail, and every key is a text.
    let written = serde_json::to_writer(piece, value);
    debug_assert!(written.is_ok());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::{ChangeHash, Draft, NodeId, Offset, SegmentId, Seq, Time};

    fn entries(count: u64, bytes: usize) -> Vec<Entry> {
        let entry = |seq| Entry {
            author: NodeId([1; 32]),
            seq: Seq(seq),
            time: Time::from_millis(seq),
            offset: Offset(seq),
            change: ChangeHash([2; 32]),
            segment: SegmentId([3; 16]),
            skew: false,
            forked: false,
            body: Draft::text("t", "k", "x".repeat(bytes)).unwrap(),
        };
        (0..count).map(entry).collect()
    }

    fn joined(listing: Listing) -> (usize, String) {
        let pieces: Vec<Bytes> = listing.collect();
        (pieces.len(), String::from_utf8(pieces.concat()).unwrap())
    }

    #[test]
    fn the_pieces_are_one_document() {
        for (count, bytes, least) in [(0, 0, 1), (1, 10, 1), (3, 10, 1), (40, 10_000, 5)] {
            let next = Some("o:\"1".to_owned());
            let listing = Listing::new(entries(count, bytes), next, Form::Document("gaps"));
            let (pieces, text) = joined(listing);
            assert!(pieces >= least);
            let document: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert_eq!(document["gaps"].as_array().unwrap().len(), count as usize);
            assert_eq!(document["next"], "o:\"1");
        }
    }

    #[test]
    fn the_pieces_are_a_batch() {
        for count in [0, 1, 3] {
            let listing = Listing::new(entries(count, 10), None, Form::CloudEvents);
            let batch: serde_json::Value = serde_json::from_str(&joined(listing).1).unwrap();
            assert_eq!(batch.as_array().unwrap().len(), count as usize);
        }
    }

    #[test]
    fn the_pieces_are_lines() {
        let (_, text) = joined(Listing::new(entries(40, 10_000), None, Form::Lines));
        for (seq, line) in text.lines().enumerate() {
            assert_eq!(serde_json::from_str::<EntryJson>(line).unwrap().seq, Seq(seq as u64));
        }
        assert_eq!(joined(Listing::new(Vec::new(), None, Form::Lines)).1, "");
    }
}
