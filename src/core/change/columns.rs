//! Writes a change's chunk: the head, the columns of its operations, and the hash.
//!
//! A change of this log has one shape: inserts of `bytes` scalars into one list, each after the one
//! before. So all of its columns but two are constant runs, and writing them takes one pass over the
//! lengths and one copy of the entries: about a tenth of what building the same bytes through
//! Automerge's general encoder takes. The tests hold every byte against that encoder. Layout and
//! column encodings: the Automerge binary format,
//! <https://automerge.org/automerge-binary-format-spec/>.

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::chunk::{BYTES_TYPE, HASHED_FROM, MAGIC, VALUE, VALUE_META};
use super::{FIRST_OP, GENESIS_ACTOR, LIST_OP};
use crate::words::{ChangeHash, SegmentId};

/// The chunk holds a change, uncompressed.
const CHANGE_CHUNK: u8 = 1;
/// The list that is inserted into: the actor and the counter of its operation.
const OBJECT_ACTOR: u64 = 0x01;
const OBJECT_COUNTER: u64 = 0x02;
/// The element that is inserted after: the actor and the counter of its operation.
const KEY_ACTOR: u64 = 0x11;
const KEY_COUNTER: u64 = 0x13;
const INSERT: u64 = 0x34;
const ACTION: u64 = 0x42;
const PREDECESSORS: u64 = 0x70;
/// Which actor an operation's is, by its place among the actors of the change.
const OWN: u64 = 0;
const GENESIS: u64 = 1;
/// The action that sets a value.
const PUT: u64 = 1;

/// What stands before the columns.
pub(super) struct Head<'a> {
    /// What the change hangs on.
    pub dependency: ChangeHash,
    /// The segment.
    pub actor: SegmentId,
    /// How many changes of the segment stand before it.
    pub index: u32,
    /// How many entries of the segment stand before it.
    pub start: u64,
    /// In seconds since 1970.
    pub time: u64,
    /// The opening statement, or nothing.
    pub message: &'a str,
}

/// Writes the chunk, and says what it hashes to.
pub(super) fn write<E: AsRef<[u8]>>(head: &Head<'_>, entries: &[E]) -> (Bytes, ChangeHash) {
    let values: usize = entries.iter().map(|entry| entry.as_ref().len()).sum();
    let meta = value_meta(entries);
    let columns = columns(head.start, entries.len() as u64);
    let mut before = Vec::with_capacity(256 + head.message.len() + meta.len());
    write_head(&mut before, head);
    number(&mut before, columns.len() as u64 + 3);
    for (id, column) in &columns {
        number(&mut before, *id);
        number(&mut before, column.len() as u64);
    }
    let predecessors = run(entries.len() as u64, 0);
    for (id, length) in
        [(VALUE_META, meta.len()), (VALUE, values), (PREDECESSORS, predecessors.len())]
    {
        number(&mut before, id);
        number(&mut before, length as u64);
    }
    columns.iter().for_each(|(_, column)| before.extend_from_slice(column));
    before.extend_from_slice(&meta);

    let length = before.len() + values + predecessors.len();
    let mut chunk = Vec::with_capacity(HASHED_FROM + 11 + length);
    chunk.extend_from_slice(&MAGIC);
    chunk.extend_from_slice(&[0; 4]); // the checksum, once it is known
    chunk.push(CHANGE_CHUNK);
    number(&mut chunk, length as u64);
    chunk.extend_from_slice(&before);
    entries.iter().for_each(|entry| chunk.extend_from_slice(entry.as_ref()));
    chunk.extend_from_slice(&predecessors);
    let hash: [u8; 32] = Sha256::digest(&chunk[HASHED_FROM..]).into();
    chunk[MAGIC.len()..HASHED_FROM].copy_from_slice(&hash[..4]);
    (chunk.into(), ChangeHash(hash))
}

fn write_head(out: &mut Vec<u8>, head: &Head<'_>) {
    number(out, 1); // dependency
    out.extend_from_slice(&head.dependency.0);
    prefixed(out, &head.actor.0);
    number(out, u64::from(head.index) + 1);
    number(out, FIRST_OP + head.start);
    signed(out, head.time as i64);
    prefixed(out, head.message.as_bytes());
    number(out, 1); // other actor
    prefixed(out, &GENESIS_ACTOR);
}

/// The columns before the values: their ids rise.
fn columns(start: u64, count: u64) -> Vec<(u64, Vec<u8>)> {
    let mut columns =
        vec![(OBJECT_ACTOR, run(count, GENESIS)), (OBJECT_COUNTER, run(count, LIST_OP))];
    // Each insert goes after the operation before it; the segment's first one goes to the list's
    // head, which has no actor and the counter 0. Counters are written as differences.
    let mut counters = Vec::with_capacity(8);
    match (start, count) {
        (0, 1) => counters.extend([0x7f, 0]),
        (0, 2) => counters.extend([0x7e, 0, FIRST_OP as u8]),
        (0, 3) => counters.extend([0x7d, 0, FIRST_OP as u8, 1]),
        (0, _) => {
            counters.extend([0x7e, 0, FIRST_OP as u8]);
            counters.extend(run(count - 2, 1));
        }
        _ => {
            let after = FIRST_OP + start - 1;
            signed(&mut counters, if count == 2 { -2 } else { -1 });
            signed(&mut counters, after as i64);
            match count {
                1 => {}
                2 => counters.push(1),
                _ => counters.extend(run(count - 1, 1)),
            }
        }
    }
    match (start, count) {
        (0, 1) => {}
        (0, _) => {
            let mut actors = vec![0, 1]; // a run of one null
            actors.extend(run(count - 1, OWN));
            columns.push((KEY_ACTOR, actors));
        }
        _ => columns.push((KEY_ACTOR, run(count, OWN))),
    }
    let mut inserts = vec![0]; // no false one
    number(&mut inserts, count);
    columns.extend([(KEY_COUNTER, counters), (INSERT, inserts), (ACTION, run(count, PUT))]);
    columns
}

/// The lengths and types of the values, run-length encoded: what comes twice and more in a row is a
/// run, all between two runs is one literal.
fn value_meta<E: AsRef<[u8]>>(entries: &[E]) -> Vec<u8> {
    let meta = |entry: &E| (entry.as_ref().len() as u64) << 4 | BYTES_TYPE;
    let mut out = Vec::with_capacity(2 * entries.len() + 8);
    let mut literal: &[E] = &entries[..0];
    let mut at = 0;
    let flush = |out: &mut Vec<u8>, literal: &[E]| {
        if !literal.is_empty() {
            signed(out, -(literal.len() as i64));
            literal.iter().for_each(|entry| number(out, meta(entry)));
        }
    };
    while at < entries.len() {
        let value = meta(&entries[at]);
        let same = entries[at..].iter().take_while(|entry| meta(entry) == value).count();
        if same == 1 {
            let from = at - literal.len();
            at += 1;
            literal = &entries[from..at];
            continue;
        }
        flush(&mut out, literal);
        out.extend(run(same as u64, value));
        at += same;
        literal = &entries[at..at];
    }
    flush(&mut out, literal);
    out
}

/// A column of one value, so many times.
fn run(count: u64, value: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(12);
    signed(&mut out, if count == 1 { -1 } else { count as i64 });
    number(&mut out, value);
    out
}

fn prefixed(out: &mut Vec<u8>, bytes: &[u8]) {
    number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// An unsigned LEB128 number.
fn number(out: &mut Vec<u8>, mut number: u64) {
    while number > 0x7f {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// A signed LEB128 number.
fn signed(out: &mut Vec<u8>, mut number: i64) {
    loop {
        let (byte, rest) = (number as u8 & 0x7f, number >> 7);
        let last = (rest == 0 && byte & 0x40 == 0) || (rest == -1 && byte & 0x40 != 0);
        out.push(if last { byte } else { byte | 0x80 });
        if last {
            return;
        }
        number = rest;
    }
}
