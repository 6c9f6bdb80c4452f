//! The decoders with their promises, as the tests have them.

#[path = "../../tests/corpus/decoders/mod.rs"]
mod decoders;

/// Feeds an input to the target of this name.
pub fn feed(name: &str, bytes: &[u8]) {
    let target = decoders::TARGETS.iter().find(|(target, _)| *target == name);
    target.expect("every fuzzer is named for a target").1(bytes);
}
