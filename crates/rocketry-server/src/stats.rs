//! Counters of what the broker does, sampled every 10 s for the rates that tools show.
//!
//! Java: `StoreStatsService`, `BrokerStats`, `BrokerStatsManager`.

use std::{
    collections::VecDeque,
    fmt::Write as _,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use parking_lot::Mutex;

/// Time between two samples.
pub(crate) const SAMPLE_EVERY: std::time::Duration = std::time::Duration::from_secs(10);
/// Samples of ten minutes, and the one they are compared with.
const SAMPLES: usize = 61;

/// What is counted for the whole broker.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) put_messages: AtomicU64,
    pub(crate) put_failed: AtomicU64,
    pub(crate) put_bytes: AtomicU64,
    /// Messages that pulls returned.
    pub(crate) got_messages: AtomicU64,
    /// Bytes of them as stored.
    pub(crate) got_bytes: AtomicU64,
    /// Pulls that found something, and that found nothing.
    pub(crate) get_found: AtomicU64,
    pub(crate) get_missed: AtomicU64,
}

/// Totals at one moment.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sample {
    at_ms: i64,
    pub(crate) put_messages: u64,
    pub(crate) got_messages: u64,
    pub(crate) get_found: u64,
    pub(crate) get_missed: u64,
}

/// Counters with their history.
#[derive(Debug)]
pub(crate) struct Stats {
    pub(crate) counters: Counters,
    samples: Mutex<VecDeque<Sample>>,
}

impl Stats {
    pub(crate) fn new(now_ms: i64) -> Self {
        let stats = Self {
            counters: Counters::default(),
            samples: Mutex::new(VecDeque::with_capacity(SAMPLES)),
        };
        stats.sample(now_ms);
        stats
    }

    pub(crate) fn count_put(&self, messages: u64, bytes: u64) {
        self.counters.put_messages.fetch_add(messages, Relaxed);
        self.counters.put_bytes.fetch_add(bytes, Relaxed);
    }

    pub(crate) fn count_put_failed(&self) {
        self.counters.put_failed.fetch_add(1, Relaxed);
    }

    pub(crate) fn count_get(&self, messages: u64, bytes: u64) {
        if messages == 0 {
            self.counters.get_missed.fetch_add(1, Relaxed);
        } else {
            self.counters.get_found.fetch_add(1, Relaxed);
            self.counters.got_messages.fetch_add(messages, Relaxed);
            self.counters.got_bytes.fetch_add(bytes, Relaxed);
        }
    }

    /// The totals now.
    pub(crate) fn totals(&self, now_ms: i64) -> Sample {
        Sample {
            at_ms: now_ms,
            put_messages: self.counters.put_messages.load(Relaxed),
            got_messages: self.counters.got_messages.load(Relaxed),
            get_found: self.counters.get_found.load(Relaxed),
            get_missed: self.counters.get_missed.load(Relaxed),
        }
    }

    /// Keeps the totals of now for later rates.
    pub(crate) fn sample(&self, now_ms: i64) {
        let mut samples = self.samples.lock();
        if samples.len() == SAMPLES {
            samples.pop_front();
        }
        samples.push_back(self.totals(now_ms));
    }

    /// Events per second over the last 10 s, minute and ten minutes, as Java writes them: three numbers with blanks between,
    /// empty where the server has not run that long.
    pub(crate) fn rates(&self, of: impl Fn(&Sample) -> u64) -> String {
        let samples = self.samples.lock();
        let mut text = String::new();
        for (index, back) in [1, 6, 60].into_iter().enumerate() {
            if index > 0 {
                text.push(' ');
            }
            let earlier = samples
                .len()
                .checked_sub(1 + back)
                .and_then(|i| samples.get(i));
            if let (Some(latest), Some(earlier)) = (samples.back(), earlier) {
                let _ = write!(text, "{:?}", per_second(&of, earlier, latest));
            }
        }
        text
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a rate for people: 52 bits are enough"
)]
fn per_second(of: impl Fn(&Sample) -> u64, earlier: &Sample, latest: &Sample) -> f64 {
    let ms = (latest.at_ms - earlier.at_ms).max(1);
    of(latest).saturating_sub(of(earlier)) as f64 * 1000.0 / ms as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_appear_as_the_server_gets_older() {
        let stats = Stats::new(0);
        assert_eq!(stats.rates(|s| s.put_messages), "  ");
        stats.count_put(50, 500);
        stats.sample(10_000);
        assert_eq!(stats.rates(|s| s.put_messages), "5.0  ");
        for at in 2..=6 {
            stats.sample(at * 10_000);
        }
        let rates = stats.rates(|s| s.put_messages);
        assert!(
            rates.starts_with("0.0 0.83") && rates.ends_with(' '),
            "{rates:?}"
        );
    }

    #[test]
    fn history_is_bounded() {
        let stats = Stats::new(0);
        for at in 1..1000 {
            stats.sample(at * 10_000);
        }
        assert_eq!(stats.samples.lock().len(), SAMPLES);
    }
}
