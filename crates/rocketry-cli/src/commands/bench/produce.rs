//! `rocketry bench produce`: how fast messages are sent, how long each takes, and what it costs this process.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use rocketry::{AutoBatch, Message, ProducerConfig};
use serde::Serialize;

use super::{
    payload,
    usage::{Cpu, cpu_of, peak_memory, reset_peak_memory},
};
use crate::{
    args::{BenchProduce, Codec, Global, PRODUCER_GROUP, Payload, ReportFormat},
    commands::{CLOSE_WITHIN, connect, send::compression},
    failure::Failure,
    load::{Limit, Load, Outcome},
    output::{Column, Output},
    progress::{Progress, Unit},
    units::readable,
};

/// Between the last message and the start of what counts as idle.
const SETTLE: Duration = Duration::from_secs(1);

/// Messages of a run that is limited by neither `--count` nor `--duration`.
const DEFAULT_COUNT: u64 = 100_000;

/// Measures and reports.
///
/// # Errors
/// The cluster could not be reached, or messages failed.
pub(crate) async fn run(args: BenchProduce, global: &Global) -> Result<(), Failure> {
    let mut clients = Vec::new();
    let mut producers = Vec::new();
    for _ in 0..args.connections {
        let client = connect(global).await?;
        let producer = client.producer(PRODUCER_GROUP).config(config(&args));
        producers.push(producer.await?);
        clients.push(client);
    }
    let kind = args.payload.unwrap_or(if args.compress == Codec::None {
        Payload::Random
    } else {
        Payload::Text
    });
    let body = payload::body(kind, args.size);
    let templates: Vec<_> = topics(&args)
        .map(|topic| Message::new(topic, body.clone()))
        .collect();
    let load = Load {
        producers: producers.into(),
        mode: args.mode,
        concurrency: args.concurrency,
        batch: args.batch,
        limit: args.warmup,
        rate: None,
        message: message_of(templates),
    };
    if args.warmup != Limit::Count(0) {
        let mut progress = progress_to(args.warmup);
        let warm = load
            .clone()
            .run(|done, elapsed| {
                progress.update(position(args.warmup, done, elapsed), || {
                    "warm-up".to_owned()
                });
            })
            .await;
        drop(progress);
        if warm.sent == 0
            && let Some(error) = warm.first_error
        {
            return Err(error.into());
        }
    }

    let limit = match args.duration {
        Some(duration) => Limit::Time(duration),
        None => Limit::Count(args.count.unwrap_or(DEFAULT_COUNT)),
    };
    let mut progress = progress_to(limit);
    let measured = Load {
        limit,
        rate: args.rate,
        ..load
    };
    reset_peak_memory();
    let watched = args.watch.map(watched_cpu).transpose()?;
    let before = Cpu::now();
    let outcome = measured
        .run(|done, elapsed| {
            progress.update(position(limit, done, elapsed), || {
                format!("{:.0} msgs/s", per_second(done, elapsed))
            });
        })
        .await;
    let cpu = Cpu::now()
        .zip(before)
        .map(|(now, before)| now.since(before));
    let watched = match (args.watch, watched) {
        (Some(pid), Some(before)) => Some(watched_cpu(pid)?.saturating_sub(before)),
        _ => None,
    };
    let mut report = Report::new(&args, &outcome, cpu, peak_memory());
    report.watched_cpu_seconds = watched.map(|time| round(time.as_secs_f64(), 1e6));
    drop(progress);
    if let Some(idle) = args.idle {
        report.idle = Some(Idle::measure(idle, args.watch).await?);
    }

    for client in clients {
        client.shutdown(CLOSE_WITHIN).await;
    }
    let mut output = Output::stdout();
    match args.output {
        ReportFormat::Json => output.json(&report)?,
        ReportFormat::Text => output.table(
            &[Column::Text("MEASURE"), Column::Number("VALUE")],
            report.rows(),
        )?,
    }
    output.flush()?;
    match outcome.first_error {
        None => Ok(()),
        Some(error) => {
            let mut failure = Failure::from(error);
            failure = failure.during(format!(
                "{} of {} messages failed, the first",
                outcome.failed,
                outcome.failed + outcome.sent
            ));
            Err(failure)
        }
    }
}

/// The CPU time of another process so far.
pub(super) fn watched_cpu(pid: u32) -> Result<Duration, Failure> {
    cpu_of(pid).ok_or_else(|| {
        Failure::new(format!(
            "--watch {pid}: no such process, or its CPU time cannot be read here"
        ))
    })
}

fn topics(args: &BenchProduce) -> impl Iterator<Item = String> {
    (0..args.topics).map(move |number| {
        if args.topics == 1 {
            args.topic.clone()
        } else {
            format!("{}-{number}", args.topic)
        }
    })
}

/// One message after the other of `templates`, from the first again after the last.
fn message_of(templates: Vec<Message>) -> impl Fn(u64) -> Message + Clone + Send + 'static {
    let templates = Arc::new(templates);
    move |number| {
        let count = u64::try_from(templates.len()).unwrap_or(1).max(1);
        let index = usize::try_from(number % count).unwrap_or_default();
        templates
            .get(index)
            .map_or_else(|| Message::new("", Bytes::new()), Clone::clone)
    }
}

fn progress_to(limit: Limit) -> Progress {
    match limit {
        Limit::Count(count) => Progress::new(Unit::Messages, Some(count)),
        Limit::Time(time) => Progress::new(Unit::Time, u64::try_from(time.as_millis()).ok()),
    }
}

fn position(limit: Limit, done: u64, elapsed: Duration) -> u64 {
    match limit {
        Limit::Count(_) => done,
        Limit::Time(_) => u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
    }
}

fn config(args: &BenchProduce) -> ProducerConfig {
    let mut config = ProducerConfig::default();
    config.timeout = args.timeout;
    config.compression = compression(args.compress);
    config.compress_from_bytes = 1;
    config.in_flight_messages = config.in_flight_messages.max(args.concurrency as usize);
    config.topics = topics(args).take(1).collect();
    config.auto_batch = args.auto_batch.then(AutoBatch::default);
    config
}

#[allow(
    clippy::cast_precision_loss,
    reason = "rates and means for people; 53 bits are plenty"
)]
pub(super) fn per_second(amount: u64, elapsed: Duration) -> f64 {
    if elapsed.is_zero() {
        0.0
    } else {
        amount as f64 / elapsed.as_secs_f64()
    }
}

fn us(duration: Duration) -> f64 {
    round(duration.as_secs_f64() * 1e6, 10.0)
}

/// Figures beyond what was measured only make reports hard to read.
pub(super) fn round(value: f64, steps_per_unit: f64) -> f64 {
    (value * steps_per_unit).round() / steps_per_unit
}

/// The figures, all of the measured phase only. The names are a contract.
#[derive(Debug, Serialize)]
struct Report {
    topic: String,
    mode: &'static str,
    concurrency: u32,
    batch: u32,
    auto_batch: bool,
    topics: u32,
    size_bytes: usize,
    compress: &'static str,
    rate_target: Option<f64>,
    sent: u64,
    failed: u64,
    seconds: f64,
    msgs_per_second: f64,
    mib_per_second: f64,
    p50_us: f64,
    p90_us: f64,
    p99_us: f64,
    p999_us: f64,
    max_us: f64,
    cpu_user_seconds: Option<f64>,
    cpu_system_seconds: Option<f64>,
    cpu_us_per_msg: Option<f64>,
    max_rss_bytes: Option<u64>,
    /// Of the process that `--watch` names.
    watched_cpu_seconds: Option<f64>,
    connections: u32,
    /// What followed, without messages, if `--idle` asked for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    idle: Option<Idle>,
}

/// A time without messages, and what it cost.
#[derive(Debug, Clone, Serialize)]
struct Idle {
    seconds: f64,
    cpu_seconds: Option<f64>,
    /// Of the process that `--watch` names.
    watched_cpu_seconds: Option<f64>,
}

impl Idle {
    async fn measure(time: Duration, watch: Option<u32>) -> Result<Self, Failure> {
        // What the last messages leave behind is not idleness yet.
        tokio::time::sleep(SETTLE).await;
        let (own, watched) = (Cpu::now(), watch.map(watched_cpu).transpose()?);
        tokio::time::sleep(time).await;
        let own = Cpu::now().zip(own).map(|(now, before)| now.since(before));
        let watched = match (watch, watched) {
            (Some(pid), Some(before)) => Some(watched_cpu(pid)?.saturating_sub(before)),
            _ => None,
        };
        let seconds = |time: Duration| round(time.as_secs_f64(), 1e6);
        Ok(Self {
            seconds: seconds(time),
            cpu_seconds: own.map(|cpu| seconds(cpu.total())),
            watched_cpu_seconds: watched.map(seconds),
        })
    }

    fn rows(&self) -> [(&'static str, String); 2] {
        let percent = |cpu: Option<f64>| {
            cpu.filter(|_| self.seconds > 0.0).map_or_else(
                || "n/a".to_owned(),
                |cpu| format!("{:.2} % of a core", cpu / self.seconds * 100.0),
            )
        };
        [
            ("CPU while idle", percent(self.cpu_seconds)),
            (
                "CPU of the watched process then",
                percent(self.watched_cpu_seconds),
            ),
        ]
    }
}

impl Report {
    #[allow(
        clippy::cast_precision_loss,
        reason = "rates and means for people; 53 bits are plenty"
    )]
    fn new(
        args: &BenchProduce,
        outcome: &Outcome,
        cpu: Option<Cpu>,
        peak_memory: Option<u64>,
    ) -> Self {
        let percentile = |percent| us(outcome.latencies.percentile(percent));
        let rate = outcome.rate();
        Self {
            topic: args.topic.clone(),
            mode: args.mode.name(),
            concurrency: args.concurrency,
            batch: args.batch,
            auto_batch: args.auto_batch,
            topics: args.topics,
            size_bytes: args.size,
            compress: match args.compress {
                Codec::None => "none",
                Codec::Zlib => "zlib",
                Codec::Lz4 => "lz4",
                Codec::Zstd => "zstd",
            },
            rate_target: args.rate,
            sent: outcome.sent,
            failed: outcome.failed,
            seconds: round(outcome.elapsed.as_secs_f64(), 1e6),
            msgs_per_second: round(rate, 10.0),
            mib_per_second: round(rate * args.size as f64 / f64::from(1 << 20), 1000.0),
            p50_us: percentile(50.0),
            p90_us: percentile(90.0),
            p99_us: percentile(99.0),
            p999_us: percentile(99.9),
            max_us: us(outcome.latencies.max()),
            cpu_user_seconds: cpu.map(|cpu| round(cpu.user.as_secs_f64(), 1e6)),
            cpu_system_seconds: cpu.map(|cpu| round(cpu.system.as_secs_f64(), 1e6)),
            cpu_us_per_msg: cpu.filter(|_| outcome.sent > 0).map(|cpu| {
                round(
                    cpu.total().as_secs_f64() * 1e6 / outcome.sent as f64,
                    1000.0,
                )
            }),
            max_rss_bytes: peak_memory,
            watched_cpu_seconds: None,
            connections: args.connections,
            idle: None,
        }
    }

    fn rows(&self) -> Vec<Vec<String>> {
        let time = |us: f64| readable(Duration::from_secs_f64(us / 1e6));
        let optional = |value: Option<String>| value.unwrap_or_else(|| "n/a".to_owned());
        let rows = [
            ("topic", self.topic.clone()),
            ("mode", self.mode.to_owned()),
            ("in flight", self.concurrency.to_string()),
            (
                "batch",
                if self.auto_batch {
                    "automatic".to_owned()
                } else {
                    self.batch.to_string()
                },
            ),
            ("topics", self.topics.to_string()),
            ("connections", self.connections.to_string()),
            ("size", format!("{} B", self.size_bytes)),
            ("compression", self.compress.to_owned()),
            (
                "loop",
                self.rate_target.map_or_else(
                    || "closed".to_owned(),
                    |rate| format!("open, {rate} msgs/s"),
                ),
            ),
            ("sent", self.sent.to_string()),
            ("failed", self.failed.to_string()),
            ("seconds", format!("{:.3}", self.seconds)),
            ("msgs/s", format!("{:.0}", self.msgs_per_second)),
            ("MiB/s", format!("{:.1}", self.mib_per_second)),
            ("p50", time(self.p50_us)),
            ("p90", time(self.p90_us)),
            ("p99", time(self.p99_us)),
            ("p99.9", time(self.p999_us)),
            ("max", time(self.max_us)),
            (
                "CPU user",
                optional(
                    self.cpu_user_seconds
                        .map(|seconds| format!("{seconds:.3} s")),
                ),
            ),
            (
                "CPU system",
                optional(
                    self.cpu_system_seconds
                        .map(|seconds| format!("{seconds:.3} s")),
                ),
            ),
            (
                "CPU/message",
                optional(self.cpu_us_per_msg.map(|us| format!("{us:.2} us"))),
            ),
            (
                "largest memory",
                optional(
                    self.max_rss_bytes
                        .map(|bytes| format!("{} KiB", bytes / 1024)),
                ),
            ),
            (
                "CPU of the watched process",
                optional(
                    self.watched_cpu_seconds
                        .map(|seconds| format!("{seconds:.3} s")),
                ),
            ),
        ];
        let idle = self.idle.as_ref().map(Idle::rows);
        rows.into_iter()
            .chain(idle.into_iter().flatten())
            .map(|(name, value)| vec![name.to_owned(), value])
            .collect()
    }
}
