//! Latencies of many operations, as percentiles.

use std::time::Duration;

use hdrhistogram::Histogram;

/// Latencies in nanoseconds with three significant figures, up to ten minutes.
#[derive(Debug)]
pub(crate) struct Latencies(Histogram<u64>);

impl Latencies {
    /// The largest latency told apart from larger ones.
    const MAX: Duration = Duration::from_mins(10);

    /// No latencies yet.
    #[allow(
        clippy::expect_used,
        reason = "the bounds are constants that the histogram accepts"
    )]
    pub(crate) fn new() -> Self {
        let max = u64::try_from(Self::MAX.as_nanos()).unwrap_or(u64::MAX);
        Self(
            Histogram::new_with_bounds(1, max, 3)
                .expect("bounds 1 to 600 s with 3 digits are valid"),
        )
    }

    /// Adds one.
    pub(crate) fn record(&mut self, latency: Duration) {
        let nanos = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        self.0.saturating_record(nanos.max(1));
    }

    /// The latency that `percent` of the operations did not exceed; zero when there are none.
    pub(crate) fn percentile(&self, percent: f64) -> Duration {
        Duration::from_nanos(self.0.value_at_percentile(percent))
    }

    /// The largest; zero when there are none.
    pub(crate) fn max(&self) -> Duration {
        Duration::from_nanos(self.0.max())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_keep_three_figures() {
        let mut latencies = Latencies::new();
        assert_eq!(latencies.percentile(99.0), Duration::ZERO);
        for us in 1..=1000 {
            latencies.record(Duration::from_micros(us));
        }
        latencies.record(Duration::from_hours(1));
        let p50 = latencies.percentile(50.0).as_nanos();
        assert!((500_000..=502_000).contains(&p50), "{p50}");
        assert!(latencies.max() >= Duration::from_mins(10));
        latencies.record(Duration::ZERO);
    }
}
