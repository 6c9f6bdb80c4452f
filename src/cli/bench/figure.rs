//! Figures, each beside its limit, and how many samples become one.

use std::time::Duration;

use serde::Serialize;

/// One figure beside its limit.
#[derive(Clone, Debug, Serialize)]
pub struct Figure {
    /// The step that measured it.
    pub step: &'static str,
    /// What was measured.
    pub what: String,
    /// The figure.
    pub value: f64,
    /// In which unit.
    pub unit: &'static str,
    /// What it is held against.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<Limit>,
}

/// What a figure is held against.
#[derive(Clone, Debug, Serialize)]
pub struct Limit {
    /// What it is.
    pub of: String,
    /// The limit, in the figure's unit.
    pub value: f64,
    /// The figure divided by it.
    pub ratio: f64,
}

impl Figure {
    /// A figure that stands alone. The step that asked for it adds its name.
    pub fn new(what: impl Into<String>, value: f64, unit: &'static str) -> Self {
        Self { step: "", what: what.into(), value, unit, limit: None }
    }

    /// The figure beside a limit in its unit.
    pub fn beside(mut self, of: impl Into<String>, value: f64) -> Self {
        self.limit = Some(Limit { of: of.into(), value, ratio: self.value / value });
        self
    }
}

/// Samples of one measurement, of which the middle one counts: a disk has moods.
#[derive(Debug, Default)]
pub struct Samples(Vec<f64>);

impl Samples {
    /// Adds a sample.
    pub fn push(&mut self, sample: f64) {
        self.0.push(sample);
    }

    /// Adds a time, in milliseconds.
    pub fn push_time(&mut self, time: Duration) {
        self.push(time.as_secs_f64() * 1e3);
    }

    /// The sample below which this share of all lies; 0 without samples.
    pub fn at(&self, share: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        let place = (sorted.len() as f64 * share) as usize;
        sorted.get(place.min(sorted.len().saturating_sub(1))).copied().unwrap_or_default()
    }

    /// The middle one.
    pub fn median(&self) -> f64 {
        self.at(0.5)
    }
}

/// How many in a second.
pub fn rate(count: u64, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_sample_counts() {
        let mut samples = Samples::default();
        assert_eq!(samples.median(), 0.0);
        [3.0, 1.0, 100.0].into_iter().for_each(|sample| samples.push(sample));
        assert_eq!((samples.median(), samples.at(0.99)), (3.0, 100.0));
    }
}
