//! What a wire does to the datagrams on it. A seed fixes every decision.

use std::fmt;
use std::time::Duration;

use fastrand::Rng;

/// How a wire treats what travels on it in one direction. Shares are between 0 and 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Weather {
    /// Nothing passes.
    pub cut: bool,
    /// The share of datagrams that are lost.
    pub loss: f64,
    /// How long a datagram travels at least.
    pub delay: Duration,
    /// How much longer it may travel: datagrams overtake each other.
    pub jitter: Duration,
    /// The share that comes a second time.
    pub duplicated: f64,
    /// The share in which one bit is flipped.
    pub corrupted: f64,
    /// How much passes in a second; none is no bound.
    pub bytes_per_second: Option<u32>,
}

impl Weather {
    /// Everything passes at once.
    pub const FAIR: Self = Self {
        cut: false,
        loss: 0.0,
        delay: Duration::ZERO,
        jitter: Duration::ZERO,
        duplicated: 0.0,
        corrupted: 0.0,
        bytes_per_second: None,
    };

    /// Nothing passes.
    pub const CUT: Self = Self { cut: true, ..Self::FAIR };

    /// 30 % are lost, 200 ms on the way on average, many out of order, some twice, some damaged.
    pub const FOUL: Self = Self {
        loss: 0.3,
        delay: Duration::from_millis(150),
        jitter: Duration::from_millis(100),
        duplicated: 0.1,
        corrupted: 0.02,
        ..Self::FAIR
    };

    /// Some weather between fair and foul.
    pub fn any(random: &mut Rng) -> Self {
        Self {
            cut: false,
            loss: random.f64() * Self::FOUL.loss,
            delay: Self::FOUL.delay.mul_f64(random.f64()),
            jitter: Self::FOUL.jitter.mul_f64(random.f64()),
            duplicated: random.f64() * Self::FOUL.duplicated,
            corrupted: random.f64() * Self::FOUL.corrupted,
            bytes_per_second: random.bool().then(|| random.u32(50_000..1_000_000)),
        }
    }

    /// What becomes of a datagram: when each copy arrives, counted from now, and as what. None is
    /// a loss.
    pub fn copies(&self, datagram: &[u8], random: &mut Rng) -> Vec<(Duration, Vec<u8>)> {
        if self.cut || random.f64() < self.loss {
            return Vec::new();
        }
        let count = if random.f64() < self.duplicated { 2 } else { 1 };
        (0..count).map(|_| (self.time(random), self.damaged(datagram, random))).collect()
    }

    fn time(&self, random: &mut Rng) -> Duration {
        self.delay + self.jitter.mul_f64(random.f64())
    }

    fn damaged(&self, datagram: &[u8], random: &mut Rng) -> Vec<u8> {
        let mut copy = datagram.to_vec();
        if random.f64() < self.corrupted && !copy.is_empty() {
            let bit = random.usize(..copy.len() * 8);
            copy[bit / 8] ^= 1 << (bit % 8);
        }
        copy
    }
}

impl fmt::Display for Weather {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.cut {
            return f.write_str("cut");
        }
        let percent = |share: f64| (share * 100.0).round();
        write!(
            f,
            "{} % lost, {} to {} ms, {} % twice, {} % damaged",
            percent(self.loss),
            self.delay.as_millis(),
            (self.delay + self.jitter).as_millis(),
            percent(self.duplicated),
            percent(self.corrupted),
        )?;
        match self.bytes_per_second {
            Some(bytes) => write!(f, ", {} kB/s", bytes / 1_000),
            None => Ok(()),
        }
    }
}

#[test]
fn a_seed_fixes_what_becomes_of_every_datagram() {
    let fates = |seed| {
        let mut random = Rng::with_seed(seed);
        (0..200).map(|_| Weather::FOUL.copies(&[0; 100], &mut random)).collect::<Vec<_>>()
    };
    assert_eq!(fates(1), fates(1));
    assert_ne!(fates(1), fates(2));
}

#[test]
fn foul_weather_loses_delays_repeats_and_damages() {
    let mut random = Rng::with_seed(7);
    let fates: Vec<_> = (0..10_000).map(|_| Weather::FOUL.copies(&[0], &mut random)).collect();
    let lost = fates.iter().filter(|copies| copies.is_empty()).count();
    let twice = fates.iter().filter(|copies| copies.len() == 2).count();
    let copies: Vec<_> = fates.iter().flatten().collect();
    let damaged = copies.iter().filter(|(_, copy)| *copy != [0]).count();
    assert!((2_800..3_200).contains(&lost), "{lost}");
    assert!((600..800).contains(&twice), "{twice}");
    assert!((100..220).contains(&damaged), "{damaged}");
    assert!(copies.iter().all(|(after, _)| *after >= Weather::FOUL.delay));
    assert!(!copies.is_sorted_by_key(|(after, _)| *after), "none overtakes another");
}

#[test]
fn nothing_passes_a_cut() {
    assert!(Weather::CUT.copies(&[0], &mut Rng::with_seed(1)).is_empty());
}
