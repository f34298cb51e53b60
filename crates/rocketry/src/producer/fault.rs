//! The fault table: which brokers to avoid, and until when. Java: `LatencyFaultToleranceImpl`, `MQFaultStrategy`.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::time::Instant;

/// For how long a broker is avoided after an attempt that took a certain time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LatencyPolicy {
    steps: Vec<(Duration, Duration)>,
    isolation: Duration,
    lifted_by_success: bool,
}

impl LatencyPolicy {
    /// `steps` are pairs of (attempt took at least this long, avoid the broker for this long), by rising first member; `isolation`
    /// is the attempt time that a failure counts as.
    pub fn new(steps: Vec<(Duration, Duration)>, isolation: Duration) -> Self {
        Self {
            steps,
            isolation,
            lifted_by_success: false,
        }
    }

    /// The values of Java 4.x: isolation up to ten minutes, lifted by one fast success.
    pub fn java_4() -> Self {
        Self {
            lifted_by_success: true,
            ..Self::from_ms(
                [50, 100, 550, 1000, 2000, 3000, 15000],
                [0, 0, 30_000, 60_000, 120_000, 180_000, 600_000],
                30_000,
            )
        }
    }

    fn from_ms(latency: [u64; 7], unavailable: [u64; 7], isolation: u64) -> Self {
        let ms = Duration::from_millis;
        Self::new(
            latency
                .into_iter()
                .zip(unavailable)
                .map(|(l, u)| (ms(l), ms(u)))
                .collect(),
            ms(isolation),
        )
    }

    /// Java: `MQFaultStrategy.computeNotAvailableDuration`.
    pub(crate) fn unavailable_for(&self, latency: Duration) -> Duration {
        self.steps
            .iter()
            .rev()
            .find(|(threshold, _)| latency >= *threshold)
            .map_or(Duration::ZERO, |(_, unavailable)| *unavailable)
    }

    pub(crate) fn check(&self) -> Result<(), String> {
        let rising = self.steps.is_sorted_by(|a, b| a.0 < b.0);
        if !rising || self.steps.len() > 64 {
            return Err("latency_policy: steps must rise strictly, at most 64 of them".to_owned());
        }
        let day = Duration::from_hours(24);
        if let Some((_, avoided)) = self.steps.iter().find(|(_, avoided)| *avoided > day) {
            return Err(format!(
                "latency_policy avoids a broker for {avoided:?}, allowed are up to {day:?}"
            ));
        }
        Ok(())
    }
}

/// The values of Java 5.5.0.
impl Default for LatencyPolicy {
    fn default() -> Self {
        Self::from_ms(
            [50, 100, 550, 1800, 3000, 5000, 15000],
            [0, 0, 2000, 5000, 6000, 10_000, 30_000],
            10_000,
        )
    }
}

/// What an attempt told about a broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Observation {
    /// How long the attempt took.
    pub(crate) latency: Duration,
    /// Whether to count it as the policy's isolation time instead.
    pub(crate) isolate: bool,
    /// Whether the broker can be talked to.
    pub(crate) reachable: bool,
}

/// Brokers by name. Empty for ever while the switch is off.
#[derive(Debug)]
pub(crate) struct FaultTable {
    enabled: bool,
    /// A detector asks unreachable brokers: an attempt that got no answer makes a broker one.
    detects: bool,
    policy: LatencyPolicy,
    items: Mutex<BTreeMap<Arc<str>, FaultItem>>,
}

#[derive(Debug, Clone, Copy)]
struct FaultItem {
    available_from: Instant,
    reachable: bool,
    /// When the detector may ask again.
    ask_from: Instant,
}

impl FaultTable {
    pub(crate) fn new(enabled: bool, policy: LatencyPolicy) -> Self {
        Self {
            enabled,
            detects: false,
            policy,
            items: Mutex::new(BTreeMap::new()),
        }
    }

    /// With a detector.
    pub(crate) fn detecting(self, detects: bool) -> Self {
        Self { detects, ..self }
    }

    pub(crate) fn is_enabled(&self) -> bool {
        self.enabled
    }

    /// Java: `LatencyFaultToleranceImpl.updateFaultItem`: an isolation is only ever extended (4.x: replaced).
    pub(crate) fn record(&self, broker: &Arc<str>, seen: Observation, now: Instant) {
        if !self.enabled {
            return;
        }
        let latency = if seen.isolate {
            self.policy.isolation
        } else {
            seen.latency
        };
        let until = now + self.policy.unavailable_for(latency);
        let reachable = seen.reachable && !(seen.isolate && self.detects);
        let mut items = self.items.lock();
        let item = items.entry(Arc::clone(broker)).or_insert(FaultItem {
            available_from: now,
            reachable,
            ask_from: now,
        });
        item.reachable = reachable;
        if until > item.available_from || self.policy.lifted_by_success {
            item.available_from = until;
        }
    }

    /// No fault item, or its isolation is over.
    pub(crate) fn is_available(&self, broker: &str, now: Instant) -> bool {
        !self.enabled
            || self
                .items
                .lock()
                .get(broker)
                .is_none_or(|item| now >= item.available_from)
    }

    /// No fault item, or the last attempt reached it.
    pub(crate) fn is_reachable(&self, broker: &str) -> bool {
        !self.enabled
            || self
                .items
                .lock()
                .get(broker)
                .is_none_or(|item| item.reachable)
    }

    /// A reachable broker of the table, at random. Java: `LatencyFaultTolerance.pickOneAtLeast`.
    pub(crate) fn pick_one_at_least(&self) -> Option<Arc<str>> {
        let items = self.items.lock();
        let reachable = items.iter().filter(|(_, item)| item.reachable);
        let names: Vec<_> = reachable.map(|(broker, _)| Arc::clone(broker)).collect();
        fastrand::choice(names)
    }

    /// Unreachable brokers that were not asked for `interval`; they count as asked now.
    pub(crate) fn due(&self, now: Instant, interval: Duration) -> Vec<Arc<str>> {
        let mut items = self.items.lock();
        let due = items
            .iter_mut()
            .filter(|(_, item)| !item.reachable && item.ask_from <= now);
        due.map(|(broker, item)| {
            item.ask_from = now + interval;
            Arc::clone(broker)
        })
        .collect()
    }

    /// The broker answers; what is left of its isolation stays.
    pub(crate) fn reachable_again(&self, broker: &str) {
        if let Some(item) = self.items.lock().get_mut(broker) {
            item.reachable = true;
        }
    }

    /// Nothing is known of the broker any more.
    pub(crate) fn forget(&self, broker: &str) {
        self.items.lock().remove(broker);
    }

    /// Brokers that are isolated at `now`, and for how long yet.
    pub(crate) fn isolated(&self, now: Instant) -> Vec<(Arc<str>, Duration)> {
        if !self.enabled {
            return Vec::new();
        }
        let items = self.items.lock();
        items
            .iter()
            .map(|(broker, item)| {
                let left = item.available_from.saturating_duration_since(now);
                (Arc::clone(broker), left)
            })
            .filter(|(_, left)| !left.is_zero())
            .collect()
    }

    /// Forgets brokers that no route names any more, so that the table stays as small as the cluster.
    pub(crate) fn retain(&self, known: impl Fn(&str) -> bool) {
        self.items.lock().retain(|broker, _| known(broker));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    fn seen(latency: u64, isolate: bool, reachable: bool) -> Observation {
        Observation {
            latency: MS(latency),
            isolate,
            reachable,
        }
    }

    /// P-056
    #[test]
    fn isolation_grows_with_latency() {
        let policy = LatencyPolicy::default();
        for (latency, unavailable) in [
            (40, 0),
            (200, 0),
            (600, 2000),
            (2000, 5000),
            (3500, 6000),
            (6000, 10_000),
            (20_000, 30_000),
        ] {
            assert_eq!(
                policy.unavailable_for(MS(latency)),
                MS(unavailable),
                "{latency} ms"
            );
        }
    }

    /// P-053
    #[test]
    fn table_stays_empty_while_off() {
        let table = FaultTable::new(false, LatencyPolicy::default());
        let now = Instant::from_std(std::time::Instant::from(crate::clock::now()));
        table.record(&"b".into(), seen(20_000, true, false), now);
        assert!(table.items.lock().is_empty());
        assert!(table.is_available("b", now) && table.is_reachable("b"));
    }

    /// P-054, P-055
    #[test]
    fn an_isolated_broker_stays_isolated_until_its_time_is_over() {
        let table = FaultTable::new(true, LatencyPolicy::default());
        let broker: Arc<str> = "b".into();
        let t0 = crate::clock::now();
        table.record(&broker, seen(5, true, false), t0);
        assert!(!table.is_available("b", t0 + MS(9_999)));
        assert!(!table.is_reachable("b"));
        // a fast success does not lift the isolation, but shows that the broker is there
        table.record(&broker, seen(5, false, true), t0 + MS(100));
        assert!(table.is_reachable("b"));
        assert!(!table.is_available("b", t0 + MS(9_999)));
        assert!(table.is_available("b", t0 + MS(10_000)));
        table.retain(|known| known == "other");
        assert!(table.items.lock().is_empty());
    }

    /// P-058, the table's part
    #[test]
    fn a_detector_asks_unreachable_brokers_in_turn() {
        let table = FaultTable::new(true, LatencyPolicy::default()).detecting(true);
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        let t0 = crate::clock::now();
        table.record(&a, seen(5, true, true), t0);
        table.record(&b, seen(5, false, true), t0);
        assert!(!table.is_reachable("a") && table.is_reachable("b"));
        assert_eq!(table.due(t0, MS(2000)), [Arc::clone(&a)]);
        assert!(table.due(t0 + MS(1999), MS(2000)).is_empty());
        assert_eq!(table.due(t0 + MS(2000), MS(2000)), [a]);
        table.reachable_again("a");
        assert!(table.is_reachable("a") && !table.is_available("a", t0 + MS(9_999)));
        assert!(table.due(t0 + MS(9_000), MS(2000)).is_empty());
        table.forget("a");
        assert!(table.is_available("a", t0));
        table.reachable_again("a");
        assert!(table.items.lock().get("a").is_none());
    }

    /// P-060
    #[test]
    fn picking_one_at_least_finds_what_is_reachable() {
        let table = FaultTable::new(true, LatencyPolicy::default());
        assert_eq!(table.pick_one_at_least(), None);
        let t0 = crate::clock::now();
        for (broker, reachable) in [("a", false), ("b", true), ("c", false), ("d", true)] {
            table.record(&broker.into(), seen(5, true, reachable), t0);
        }
        let picked: std::collections::BTreeSet<_> = (0..200)
            .map(|_| table.pick_one_at_least().unwrap().to_string())
            .collect();
        assert_eq!(picked, ["b".to_owned(), "d".to_owned()].into());
        for broker in ["b", "d"] {
            table.record(&broker.into(), seen(5, true, false), t0);
        }
        assert_eq!(table.pick_one_at_least(), None);
    }

    /// P-059
    #[test]
    fn the_4x_preset_lifts_an_isolation_with_one_fast_success() {
        let table = FaultTable::new(true, LatencyPolicy::java_4());
        let broker: Arc<str> = "b".into();
        let t0 = crate::clock::now();
        table.record(&broker, seen(5, true, true), t0);
        assert!(!table.is_available("b", t0 + MS(599_999)));
        assert!(table.is_available("b", t0 + MS(600_000)));
        table.record(&broker, seen(5, false, true), t0 + MS(100));
        assert!(table.is_available("b", t0 + MS(100)));
    }

    #[test]
    fn steps_must_rise() {
        assert!(
            LatencyPolicy::new(vec![(MS(2), MS(1)), (MS(1), MS(1))], MS(1))
                .check()
                .is_err()
        );
        assert!(LatencyPolicy::new(Vec::new(), MS(1)).check().is_ok());
    }
}
