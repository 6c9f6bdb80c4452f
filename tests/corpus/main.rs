//! Feeds the fuzzers' corpus to the decoders: what a fuzzer found once, every test run tries again.
//!
//! ```text
//! fuzz/corpus/TARGET        inputs that together reach all of a decoder that fuzzing has reached
//! fuzz/regressions/TARGET   inputs that broke a promise once, named for what they broke
//! ```
//!
//! `scripts/fuzz --seeds` writes the seeds among them: the files that begin with `seed-`.

mod decoders;
mod seeds;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use decoders::{TARGETS, Target, Verdict};

fn folder(kind: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(kind)
}

fn target(name: &str) -> Target {
    let found = TARGETS.into_iter().find(|(target, _)| *target == name);
    found.unwrap_or_else(|| panic!("no target is called {name}")).1
}

/// The files of each target under `kind`.
fn inputs(kind: &str) -> Vec<(String, PathBuf)> {
    let mut inputs = Vec::new();
    for targets in fs::read_dir(folder(kind)).unwrap() {
        let targets = targets.unwrap();
        for input in fs::read_dir(targets.path()).unwrap() {
            let name = targets.file_name().into_string().unwrap();
            inputs.push((name, input.unwrap().path()));
        }
    }
    inputs.sort();
    inputs
}

fn replay(kind: &str) -> usize {
    let inputs = inputs(kind);
    for (name, path) in &inputs {
        let bytes = fs::read(path).unwrap();
        let decode = target(name);
        if std::panic::catch_unwind(|| decode(&bytes)).is_err() {
            panic!("{name} broke a promise over {}", path.display());
        }
    }
    inputs.len()
}

#[test]
fn every_input_of_the_corpus_keeps_the_promises() {
    assert!(replay("corpus") >= TARGETS.len());
}

#[test]
fn what_broke_a_promise_once_breaks_none_any_more() {
    replay("regressions");
}

#[test]
fn every_target_has_a_fuzzer_and_a_corpus() {
    let names: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let fuzzers = fs::read_dir(folder("fuzz_targets")).unwrap();
    let stem = |file: fs::DirEntry| file.path().file_stem().unwrap().to_str().unwrap().to_owned();
    assert_eq!(fuzzers.map(|file| stem(file.unwrap())).collect::<BTreeSet<_>>(), names);
    let corpus: BTreeSet<String> = inputs("corpus").into_iter().map(|(name, _)| name).collect();
    assert_eq!(corpus, names);
}

#[test]
fn every_seed_is_taken() {
    for (name, what, bytes) in seeds::all() {
        assert_eq!(target(name)(&bytes), Verdict::Taken, "{name}: {what}");
    }
}

#[test]
fn the_corpus_holds_the_seeds() {
    for (path, bytes) in seed_files() {
        let kept = fs::read(&path).unwrap_or_default();
        assert_eq!(kept, bytes, "{} is not what is written today", path.display());
    }
}

/// `scripts/fuzz --seeds` runs it.
#[test]
#[ignore = "writes into the corpus"]
fn seeds_are_written() {
    for (path, bytes) in seed_files() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
}

fn seed_files() -> impl Iterator<Item = (PathBuf, Vec<u8>)> {
    let path = |name: &str, what: &str| folder("corpus").join(name).join(format!("seed-{what}"));
    seeds::all().into_iter().map(move |(name, what, bytes)| (path(name, what), bytes))
}
