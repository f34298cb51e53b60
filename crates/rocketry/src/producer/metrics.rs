//! What a producer counts. Plain numbers: which system they end up in is the application's business, see [`MetricsExporter`].

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::Instant;

use super::{
    Outgoing, SendResult, SendStatus,
    histogram::{Histogram, Recorder},
};
use crate::{
    clock,
    error::{Error, ErrorKind},
};

/// What a producer has done so far: the values at one moment. Taking it does not disturb sends.
///
/// A batch is one send with several messages.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ProducerMetrics {
    /// Sends begun.
    pub sends: u64,
    /// Messages in them.
    pub messages: u64,
    /// Bytes of their bodies, before compression.
    pub body_bytes: u64,
    /// Sends that a broker stored as it is configured to.
    pub stored: u64,
    /// Sends that a broker stored less durably than asked for.
    pub not_durable: u64,
    /// One-way sends that a connection took.
    pub handed: u64,
    /// Sends that failed, by kind; kinds that have not happened are left out.
    pub failed: Vec<(ErrorKind, u64)>,
    /// Sends that were dropped before they were over.
    pub dropped: u64,
    /// Sends that have begun and are not over yet, in all modes.
    pub in_flight: u64,
    /// Asynchronous ones that count towards [`crate::ProducerConfig::in_flight_messages`].
    pub in_flight_messages: u64,
    /// Their body bytes, which count towards [`crate::ProducerConfig::in_flight_bytes`].
    pub in_flight_bytes: u64,
    /// Attempts beyond the first of their sends.
    pub retries: u64,
    /// How long sends took that were stored, from the call to the answer, waits and retries included.
    pub latency: Histogram,
    /// Age of the oldest route that the client sends by; `None` before the first one.
    pub route_age: Option<Duration>,
    /// Responses that came to the client after their requests had timed out or been dropped, or that answer no request at all.
    pub late_responses: u64,
    /// Trace records that no broker got: the trace queue was full, or their message could not be sent.
    pub traces_dropped: u64,
}

/// Takes metrics into a monitoring system. Called by [`ProducerMetrics::export`], once per value.
///
/// Names are like Prometheus's: counters end in `_total`, durations are in seconds. The text form that Prometheus scrapes:
///
/// ```
/// use std::{fmt::Write, time::Duration};
/// use rocketry::{Histogram, MetricsExporter};
///
/// /// The application's answer to `GET /metrics`.
/// #[derive(Default)]
/// struct Prometheus(String);
///
/// fn text(labels: &[(&str, &str)]) -> String {
///     let labels: Vec<_> = labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
///     labels.join(",")
/// }
///
/// impl MetricsExporter for Prometheus {
///     fn counter(&mut self, name: &str, labels: &[(&str, &str)], value: u64) {
///         writeln!(self.0, "{name}{{{}}} {value}", text(labels)).unwrap();
///     }
///     fn gauge(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
///         writeln!(self.0, "{name}{{{}}} {value}", text(labels)).unwrap();
///     }
///     fn histogram(&mut self, name: &str, labels: &[(&str, &str)], value: &Histogram) {
///         let labels = text(labels);
///         for (end, up_to) in value.buckets() {
///             writeln!(self.0, "{name}_bucket{{{labels},le=\"{}\"}} {up_to}", end.as_secs_f64()).unwrap();
///         }
///         let count = value.count();
///         writeln!(self.0, "{name}_bucket{{{labels},le=\"+Inf\"}} {count}").unwrap();
///         writeln!(self.0, "{name}_sum{{{labels}}} {}", value.sum().as_secs_f64()).unwrap();
///         writeln!(self.0, "{name}_count{{{labels}}} {count}").unwrap();
///     }
/// }
///
/// let metrics = rocketry::ProducerMetrics::default(); // producer.metrics()
/// let mut page = Prometheus::default();
/// metrics.export(&[("group", "orders")], &mut page);
/// assert!(page.0.contains("rocketry_producer_sends_total{group=\"orders\",outcome=\"stored\"} 0\n"));
/// ```
pub trait MetricsExporter {
    /// A number that only grows.
    fn counter(&mut self, name: &str, labels: &[(&str, &str)], value: u64);
    /// A number that comes and goes.
    fn gauge(&mut self, name: &str, labels: &[(&str, &str)], value: f64);
    /// Durations.
    fn histogram(&mut self, name: &str, labels: &[(&str, &str)], value: &Histogram);
}

impl ProducerMetrics {
    /// Sends that failed, whatever the kind.
    pub fn failures(&self) -> u64 {
        self.failed.iter().map(|(_, count)| count).sum()
    }

    /// Hands every value to `exporter`, with `labels` and where it applies an `outcome` besides.
    pub fn export(&self, labels: &[(&str, &str)], exporter: &mut dyn MetricsExporter) {
        let mut outcome = |name: &str, value| {
            let mut labels = labels.to_vec();
            labels.push(("outcome", name));
            exporter.counter("rocketry_producer_sends_total", &labels, value);
        };
        outcome("stored", self.stored);
        outcome("not_durable", self.not_durable);
        outcome("handed", self.handed);
        outcome("dropped", self.dropped);
        for (kind, count) in &self.failed {
            outcome(&format!("{kind:?}"), *count);
        }
        for (name, value) in [
            ("rocketry_producer_messages_total", self.messages),
            ("rocketry_producer_body_bytes_total", self.body_bytes),
            ("rocketry_producer_retries_total", self.retries),
            (
                "rocketry_producer_late_responses_total",
                self.late_responses,
            ),
            (
                "rocketry_producer_traces_dropped_total",
                self.traces_dropped,
            ),
        ] {
            exporter.counter(name, labels, value);
        }
        for (name, value) in [
            ("rocketry_producer_in_flight", self.in_flight),
            (
                "rocketry_producer_in_flight_messages",
                self.in_flight_messages,
            ),
            ("rocketry_producer_in_flight_bytes", self.in_flight_bytes),
        ] {
            #[expect(
                clippy::cast_precision_loss,
                reason = "what is in flight is bounded far below 2^53"
            )]
            exporter.gauge(name, labels, value as f64);
        }
        if let Some(age) = self.route_age {
            let age = age.as_secs_f64();
            exporter.gauge("rocketry_producer_route_age_seconds", labels, age);
        }
        let latency = "rocketry_producer_send_duration_seconds";
        exporter.histogram(latency, labels, &self.latency);
    }
}

/// Counts the sends of one producer.
#[derive(Debug)]
pub(crate) struct Counters {
    sends: AtomicU64,
    messages: AtomicU64,
    body_bytes: AtomicU64,
    not_durable: AtomicU64,
    handed: AtomicU64,
    dropped: AtomicU64,
    retries: AtomicU64,
    /// Failures are rare and their kinds few.
    failed: Mutex<Vec<(ErrorKind, u64)>>,
    /// Of sends that were stored, however durably: their number is counted here and nowhere else.
    latency: Recorder,
}

impl Counters {
    pub(crate) fn new() -> Self {
        let zero = || AtomicU64::new(0);
        Self {
            sends: zero(),
            messages: zero(),
            body_bytes: zero(),
            not_durable: zero(),
            handed: zero(),
            dropped: zero(),
            retries: zero(),
            failed: Mutex::default(),
            latency: Recorder::new(),
        }
    }

    /// A send begins.
    pub(crate) fn begin(&self, outgoing: &Outgoing, started: Instant) -> Running<'_> {
        let add = |counter: &AtomicU64, n: usize| counter.fetch_add(n as u64, Ordering::Relaxed);
        add(&self.messages, outgoing.count());
        add(&self.body_bytes, outgoing.body_bytes());
        Running {
            counters: self,
            number: add(&self.sends, 1) + 1,
            started,
            over: false,
        }
    }

    /// The rest of a send that [`Running::pause`] has handed on.
    pub(crate) fn resume(&self, number: u64, started: Instant) -> Running<'_> {
        Running {
            counters: self,
            number,
            started,
            over: false,
        }
    }

    /// An attempt that is not the first of its send begins.
    pub(crate) fn retry(&self) {
        self.retries.fetch_add(1, Ordering::Relaxed);
    }

    /// A send failed before it began.
    pub(crate) fn refused(&self, error: &Error) {
        self.sends.fetch_add(1, Ordering::Relaxed);
        self.fail(error.kind());
    }

    fn fail(&self, kind: ErrorKind) {
        let mut failed = self.failed.lock();
        match failed.iter_mut().find(|(known, _)| *known == kind) {
            Some((_, count)) => *count += 1,
            None => failed.push((kind, 1)),
        }
    }

    /// The numbers that are counted here; the others are left at zero.
    pub(crate) fn snapshot(&self) -> ProducerMetrics {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (latency, failed) = (self.latency.snapshot(), self.failed.lock().clone());
        let (not_durable, handed) = (load(&self.not_durable), load(&self.handed));
        let dropped = load(&self.dropped);
        let stored = latency.count();
        let failures: u64 = failed.iter().map(|(_, count)| count).sum();
        // read last: what is over has begun before
        let sends = load(&self.sends);
        ProducerMetrics {
            sends,
            messages: load(&self.messages),
            body_bytes: load(&self.body_bytes),
            stored: stored.saturating_sub(not_durable),
            not_durable,
            handed,
            in_flight: sends.saturating_sub(stored + handed + failures + dropped),
            failed,
            dropped,
            retries: load(&self.retries),
            latency,
            ..ProducerMetrics::default()
        }
    }
}

/// A send that is not over; one that is dropped counts as dropped.
pub(crate) struct Running<'a> {
    counters: &'a Counters,
    number: u64,
    started: Instant,
    over: bool,
}

impl Running<'_> {
    /// Number of the send within its producer, from 1.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Leaves the send to somebody else: it counts as running.
    pub(crate) fn pause(mut self) {
        self.over = true;
    }

    /// The send came to `over`; `ended` is when its last attempt was over, if that is known.
    pub(crate) fn end(mut self, over: Result<Option<&SendResult>, &Error>, ended: Option<Instant>) {
        self.over = true;
        let add = |counter: &AtomicU64| counter.fetch_add(1, Ordering::Relaxed);
        match over {
            Ok(Some(result)) => {
                if result.status != SendStatus::Ok {
                    add(&self.counters.not_durable);
                }
                let ended = ended.unwrap_or_else(clock::now);
                let took = ended.saturating_duration_since(self.started);
                self.counters.latency.record(took);
            }
            Ok(None) => {
                add(&self.counters.handed);
            }
            Err(error) => self.counters.fail(error.kind()),
        }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if !self.over {
            self.counters.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}
