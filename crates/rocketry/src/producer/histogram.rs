//! How long sends took: counts in buckets whose width grows with the time they stand for.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Buckets per doubling of the time: a bucket is at most a quarter as wide as the times in it.
const PER_DOUBLING: usize = 4;
/// From 1 us to 2^32 us, 71 minutes; no send may take longer.
const BUCKETS: usize = 31 * PER_DOUBLING;

/// Counted by many at once, without a lock.
#[derive(Debug)]
pub(crate) struct Recorder {
    counts: [AtomicU64; BUCKETS],
    sum_us: AtomicU64,
}

impl Recorder {
    pub(crate) fn new() -> Self {
        Self {
            counts: std::array::from_fn(|_| AtomicU64::new(0)),
            sum_us: AtomicU64::new(0),
        }
    }

    pub(crate) fn record(&self, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        if let Some(count) = self.counts.get(bucket_of(us)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.sum_us.fetch_add(us, Ordering::Relaxed);
    }

    pub(crate) fn snapshot(&self) -> Histogram {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Histogram {
            counts: self.counts.iter().map(load).collect(),
            sum: Duration::from_micros(load(&self.sum_us)),
        }
    }
}

fn bucket_of(us: u64) -> usize {
    if us < PER_DOUBLING as u64 {
        return usize::try_from(us).unwrap_or(0);
    }
    let doubling = us.ilog2() as usize;
    let within = usize::try_from(us >> (doubling - 2)).unwrap_or(0) % PER_DOUBLING;
    ((doubling - 1) * PER_DOUBLING + within).min(BUCKETS - 1)
}

/// The first time, in us, that belongs to the next bucket.
fn end_of(bucket: usize) -> u64 {
    let next = bucket + 1;
    if next < PER_DOUBLING {
        return next as u64;
    }
    let (doubling, within) = (next / PER_DOUBLING + 1, next % PER_DOUBLING);
    ((PER_DOUBLING + within) as u64) << (doubling - 2)
}

/// How often which duration was met: a snapshot. A bucket is at most a quarter as wide as the durations in it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Histogram {
    counts: Vec<u64>,
    sum: Duration,
}

impl Histogram {
    /// Durations counted.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
    /// All of them added up.
    pub fn sum(&self) -> Duration {
        self.sum
    }
    /// Their mean; zero when there are none.
    pub fn mean(&self) -> Duration {
        let nanos = self.sum.as_nanos().checked_div(u128::from(self.count()));
        Duration::from_nanos(
            nanos
                .and_then(|nanos| u64::try_from(nanos).ok())
                .unwrap_or(0),
        )
    }
    /// The duration that a part of `share` (0.0 ..= 1.0) did not exceed, up to a quarter too long: `quantile(0.99)`. Zero when there
    /// are none.
    pub fn quantile(&self, share: f64) -> Duration {
        let count = self.count();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a rank is not negative; counts beyond 2^53 take centuries"
        )]
        let rank = ((count as f64 * share.clamp(0.0, 1.0)).ceil() as u64).max(1);
        self.buckets()
            .find(|(_, up_to)| *up_to >= rank)
            .map_or(Duration::ZERO, |(end, _)| end)
    }
    /// Upper ends of the buckets with the number of durations up to there, as Prometheus counts. Runs of empty buckets are left out.
    pub fn buckets(&self) -> impl Iterator<Item = (Duration, u64)> {
        let counts = self.counts.iter().enumerate();
        counts
            .scan(0, |up_to, (bucket, count)| {
                *up_to += count;
                Some((bucket, *count, *up_to))
            })
            .filter(|(_, count, _)| *count > 0)
            .map(|(bucket, _, up_to)| (Duration::from_micros(end_of(bucket)), up_to))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const US: fn(u64) -> Duration = Duration::from_micros;

    #[test]
    fn buckets_follow_each_other_without_a_gap() {
        for bucket in 0..BUCKETS - 1 {
            let end = end_of(bucket);
            assert_eq!(bucket_of(end - 1), bucket, "{end}");
            assert_eq!(bucket_of(end), bucket + 1, "{end}");
        }
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
        assert_eq!(end_of(BUCKETS - 1), 1 << 32);
    }

    #[test]
    fn quantiles_are_at_most_a_quarter_too_long() {
        let recorder = Recorder::new();
        let mut random = fastrand::Rng::with_seed(4);
        let mut exact: Vec<u64> = (0..10_000).map(|_| random.u64(1..5_000_000)).collect();
        for us in &exact {
            recorder.record(US(*us));
        }
        exact.sort_unstable();
        let histogram = recorder.snapshot();
        assert_eq!(histogram.count(), 10_000);
        assert_eq!(histogram.sum(), US(exact.iter().sum()));
        assert_eq!(histogram.mean(), histogram.sum() / 10_000);
        for (share, index) in [(0.5, 4999), (0.99, 9899), (0.999, 9989), (1.0, 9999)] {
            let (is, really) = (histogram.quantile(share), US(exact[index]));
            assert!(
                is >= really && is <= really * 5 / 4 + US(1),
                "{is:?} {really:?}"
            );
        }
        assert_eq!(histogram.buckets().last().unwrap().1, 10_000);
        assert_eq!(Recorder::new().snapshot().quantile(0.5), Duration::ZERO);
        assert_eq!(Recorder::new().snapshot().mean(), Duration::ZERO);
    }
}
