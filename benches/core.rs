//! What the parts on an entry's path cost: encoding, rebuilding, reading back, signing.
//!
//! `cargo bench` prints them; `towline bench` measures whole nodes beside their limits.

use std::hint::black_box;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use towline::core::change::{Change, Link, Place, SignedRun, encode};
use towline::core::segment::Opening;
use towline::node::measure::Payloads;
use towline::words::entry::View;
use towline::words::{ChangeHash, ClusterId, Identity, Seq, Time};

const CLUSTER: ClusterId = ClusterId([9; 32]);
const COUNTS: [usize; 3] = [1, 128, 1_000];

fn identity() -> Identity {
    Identity::from_secret(&[1; 32])
}

fn place() -> Place {
    let opening = Opening {
        cluster: CLUSTER,
        author: identity().node_id(),
        first_seq: Seq(0),
        parents: Vec::new(),
        nonce: [7; 16],
    };
    Place {
        author: opening.author,
        segment: opening.segment(),
        segment_seq: Seq(0),
        index: 0,
        first_seq: Seq(0),
        link: Link::Opening(opening),
    }
}

fn entries(count: usize) -> Vec<Bytes> {
    let time = |n: u64| Time::from_millis(1_000 + n);
    (0..count as u64).map(|n| Payloads::Sample.draft(n, 1).unwrap().encode(time(n))).collect()
}

fn change(count: usize) -> Change {
    encode(&place(), &entries(count)).unwrap()
}

fn changes(c: &mut Criterion) {
    let mut group = c.benchmark_group("change");
    for count in COUNTS {
        group.throughput(Throughput::Elements(count as u64));
        let (entries, change) = (entries(count), change(count));
        group.bench_with_input(BenchmarkId::new("encode", count), &entries, |b, entries| {
            b.iter(|| encode(&place(), black_box(entries)));
        });
        group.bench_with_input(BenchmarkId::new("open and view", count), &change, |b, change| {
            b.iter(|| {
                let chunk = change.open().unwrap();
                chunk.entries().map(|entry| View::read(entry).unwrap().data.len()).sum::<usize>()
            });
        });
        let signature = identity().sign(CLUSTER, change.hash);
        let run = SignedRun { place: place(), changes: vec![entries.clone()], signature };
        group.bench_with_input(BenchmarkId::new("verify a run", count), &run, |b, run| {
            b.iter(|| black_box(run.clone()).verify(CLUSTER).unwrap());
        });
    }
    group.finish();
}

/// One entry: what its author does to it, what readers do, and what receivers of it must.
fn entry(c: &mut Criterion) {
    let draft = Payloads::Sample.draft(7, 1).unwrap();
    let bytes = draft.encode(Time::from_millis(1_000));
    let mut group = c.benchmark_group("entry");
    group.throughput(Throughput::Elements(1));
    group.bench_function("encode", |b| {
        b.iter(|| black_box(&draft).encode(Time::from_millis(1_000)));
    });
    group.bench_function("view", |b| b.iter(|| View::read(black_box(&bytes)).unwrap().data.len()));
    group.bench_function("decode into a draft", |b| {
        b.iter(|| View::read(black_box(&bytes)).unwrap().to_draft().unwrap());
    });
    group.bench_function("check as a stranger's", |b| {
        b.iter(|| View::check(black_box(&bytes)).unwrap().data.len());
    });
    group.finish();
}

fn signatures(c: &mut Criterion) {
    let (identity, hash) = (identity(), ChangeHash([3; 32]));
    let signature = identity.sign(CLUSTER, hash);
    c.bench_function("sign a change", |b| b.iter(|| identity.sign(CLUSTER, black_box(hash))));
    c.bench_function("verify a signature", |b| {
        b.iter(|| identity.node_id().verify(CLUSTER, black_box(hash), &signature));
    });
}

criterion_group!(benches, entry, changes, signatures);
criterion_main!(benches);
