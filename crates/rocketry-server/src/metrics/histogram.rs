//! Latencies by fixed buckets, counted without a lock.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// Upper bounds of the buckets, us; one more takes the rest.
const BOUNDS_US: [u64; 15] = [
    50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 5_000_000,
];

/// How long things took.
#[derive(Debug, Default)]
pub(crate) struct Histogram {
    buckets: [AtomicU64; BOUNDS_US.len() + 1],
    sum_us: AtomicU64,
}

impl Histogram {
    /// Counts `times` events that took this long.
    pub(crate) fn observe(&self, took: Duration, times: u64) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let index = BOUNDS_US.partition_point(|bound| *bound < us);
        if let Some(bucket) = self.buckets.get(index) {
            bucket.fetch_add(times, Relaxed);
        }
        self.sum_us.fetch_add(us.saturating_mul(times), Relaxed);
    }

    /// Counts up to each bound in seconds (the last is infinite), and the sum of all in seconds.
    pub(crate) fn totals(&self) -> (Vec<(Option<f64>, u64)>, f64) {
        let mut count = 0;
        let bounds = BOUNDS_US.iter().map(|us| Some(seconds(*us))).chain([None]);
        let totals = bounds.zip(&self.buckets).map(|(bound, bucket)| {
            count += bucket.load(Relaxed);
            (bound, count)
        });
        (totals.collect(), seconds(self.sum_us.load(Relaxed)))
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a time for people: 52 bits are enough"
)]
fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}

/// The times that are measured.
#[derive(Debug, Default)]
pub(crate) struct Latencies {
    /// Of a message, from the log's queue until it is written (in sync mode: on disk) and answered.
    pub(crate) put: Histogram,
    /// Of one sync of the log.
    pub(crate) flush: Histogram,
    /// Of reading for a pull, without the time that it waits for a message.
    pub(crate) pull: Histogram,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_counted_up_to_their_bound() {
        let histogram = Histogram::default();
        histogram.observe(Duration::from_micros(50), 2);
        histogram.observe(Duration::from_micros(51), 1);
        histogram.observe(Duration::from_mins(1), 1);
        let (totals, sum) = histogram.totals();
        assert_eq!(totals[0], (Some(0.000_05), 2));
        assert_eq!(totals[1], (Some(0.0001), 3));
        assert_eq!(totals[14], (Some(5.0), 3));
        assert_eq!(totals[15], (None, 4));
        assert!((sum - 60.000_151).abs() < 1e-9, "{sum}");
    }
}
