//! The limit of what is written: plain SQLite, one table, the same bytes in the same groups.

use std::path::Path;
use std::time::Duration;

use super::figure::{Samples, rate};
use super::trouble::BenchError;
use crate::node::measure::{OneTable, Payloads};

/// Tables that all get the same rows, one after the other: as many as there are nodes.
pub struct Tables {
    tables: Vec<OneTable>,
    payloads: Payloads,
    group: u64,
    next: u64,
    samples: Samples,
}

impl Tables {
    /// Empty tables in a directory, for groups of so many rows.
    ///
    /// # Errors
    /// SQLite fails; so for every call here.
    pub fn make(
        directory: &Path,
        payloads: &Payloads,
        count: usize,
        group: u64,
    ) -> Result<Self, BenchError> {
        let open = |n| OneTable::open(&directory.join(format!("limit-{group}-{n}.sqlite")));
        let tables = (0..count).map(open).collect::<Result<_, _>>()?;
        let (payloads, samples) = (payloads.clone(), Samples::default());
        Ok(Self { tables, payloads, group, next: 0, samples })
    }

    /// Commits so many groups, and takes their rate as one sample.
    ///
    /// # Errors
    /// SQLite fails.
    pub fn sample(&mut self, groups: u64) -> Result<(), BenchError> {
        let mut took = Duration::ZERO;
        for _ in 0..groups {
            let rows = self.payloads.group(self.next, self.group);
            self.next += self.group;
            for table in &mut self.tables {
                took += table.commit(&rows)?;
            }
        }
        self.samples.push(rate(groups * self.group, took));
        Ok(())
    }

    /// Samples of a tenth each of so many rows.
    ///
    /// # Errors
    /// SQLite fails.
    pub fn sample_half(&mut self, rows: u64) -> Result<(), BenchError> {
        let groups = (rows / self.group / 10).max(1);
        (0..5).try_for_each(|_| self.sample(groups))
    }

    /// Rows a second: the middle of the samples.
    pub fn rate(&self) -> f64 {
        self.samples.median()
    }
}
