//! How long things took, counted in fixed ranges: small enough to be copied, precise enough to alert on.
//!
//! The bounds go up as 1, 2, 5, 10, … from a millisecond to 5,000 s. What took longer is counted beyond the last one.

use std::time::Duration;

/// The upper bounds of the ranges, in ms.
const BOUNDS_MS: [u64; 21] = [
    1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000,
    500_000, 1_000_000, 2_000_000, 5_000_000,
];

/// Durations, counted by range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Histogram {
    counts: [u64; BOUNDS_MS.len() + 1],
    sum: Duration,
}

impl Histogram {
    pub(super) fn record(&mut self, took: Duration) {
        let range = BOUNDS_MS.partition_point(|bound| Duration::from_millis(*bound) < took);
        self.counts[range] += 1;
        self.sum += took;
    }

    /// How many there were.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// All of them together.
    pub fn sum(&self) -> Duration {
        self.sum
    }

    /// For each bound, ascending, how many took that long or less. [`Histogram::count`] has those beyond the last one,
    /// too.
    pub fn cumulative(&self) -> impl Iterator<Item = (Duration, u64)> + '_ {
        BOUNDS_MS.iter().zip(&self.counts).scan(0, |sum, (bound, count)| {
            *sum += count;
            Some((Duration::from_millis(*bound), *sum))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_duration_counts_in_the_first_range_that_takes_it_in() {
        let mut histogram = Histogram::default();
        for ms in [0, 1, 2, 3, 5_000_000, 5_000_001] {
            histogram.record(Duration::from_millis(ms));
        }
        let counts: Vec<u64> = histogram.cumulative().map(|(_, count)| count).collect();
        assert_eq!((counts[0], counts[1], counts[2]), (2, 3, 4));
        assert_eq!((counts[19], counts[20], histogram.count()), (4, 5, 6));
        assert_eq!(histogram.sum(), Duration::from_millis(10_000_007));
    }
}
