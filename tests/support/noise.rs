//! Text that no compressor shortens much.

/// So many letters and digits, the same for the same seed.
pub fn noise(seed: usize, bytes: usize) -> String {
    let mut rng = fastrand::Rng::with_seed(seed as u64);
    std::iter::repeat_with(|| rng.alphanumeric()).take(bytes).collect()
}
