//! `rocketry bench produce`: how fast messages are sent, how long each takes, and what it costs this process.

use std::time::Duration;

use rocketry::{Message, ProducerConfig};
use serde::Serialize;

use super::{
    payload,
    usage::{Cpu, peak_memory, reset_peak_memory},
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

/// Messages of a run that is limited by neither `--count` nor `--duration`.
const DEFAULT_COUNT: u64 = 100_000;

/// Measures and reports.
///
/// # Errors
/// The cluster could not be reached, or messages failed.
pub(crate) async fn run(args: BenchProduce, global: &Global) -> Result<(), Failure> {
    let client = connect(global).await?;
    let producer = client
        .producer(PRODUCER_GROUP)
        .config(config(&args))
        .await?;
    let kind = args.payload.unwrap_or(if args.compress == Codec::None {
        Payload::Random
    } else {
        Payload::Text
    });
    let message = Message::new(args.topic.as_str(), payload::body(kind, args.size));
    let load = Load {
        producer,
        mode: args.mode,
        concurrency: args.concurrency,
        limit: Limit::Count(args.warmup),
        rate: None,
        message: move |_| message.clone(),
    };
    if args.warmup > 0 {
        let mut progress = Progress::new(Unit::Messages, Some(args.warmup));
        let warm = load
            .clone()
            .run(|done, _| progress.update(done, || "warm-up".to_owned()))
            .await;
        drop(progress);
        if warm.sent == 0
            && let Some(error) = warm.first_error
        {
            return Err(error.into());
        }
    }

    let (limit, mut progress) = match (args.duration, args.count) {
        (Some(duration), _) => (
            Limit::Time(duration),
            Progress::new(Unit::Time, u64::try_from(duration.as_millis()).ok()),
        ),
        (None, count) => {
            let count = count.unwrap_or(DEFAULT_COUNT);
            (
                Limit::Count(count),
                Progress::new(Unit::Messages, Some(count)),
            )
        }
    };
    let measured = Load {
        limit,
        rate: args.rate,
        ..load
    };
    reset_peak_memory();
    let before = Cpu::now();
    let outcome = measured
        .run(|done, elapsed| {
            let position = if args.duration.is_some() {
                u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
            } else {
                done
            };
            progress.update(position, || {
                format!("{:.0} msgs/s", per_second(done, elapsed))
            });
        })
        .await;
    let cpu = Cpu::now()
        .zip(before)
        .map(|(now, before)| now.since(before));
    let report = Report::new(&args, &outcome, cpu, peak_memory());
    drop(progress);

    client.shutdown(CLOSE_WITHIN).await;
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

fn config(args: &BenchProduce) -> ProducerConfig {
    let mut config = ProducerConfig::default();
    config.timeout = args.timeout;
    config.compression = compression(args.compress);
    config.compress_from_bytes = 1;
    config.in_flight_messages = config.in_flight_messages.max(args.concurrency as usize);
    config.topics = vec![args.topic.clone()];
    config
}

#[allow(
    clippy::cast_precision_loss,
    reason = "rates and means for people; 53 bits are plenty"
)]
fn per_second(amount: u64, elapsed: Duration) -> f64 {
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
fn round(value: f64, steps_per_unit: f64) -> f64 {
    (value * steps_per_unit).round() / steps_per_unit
}

/// The figures, all of the measured phase only. The names are a contract.
#[derive(Debug, Serialize)]
struct Report {
    topic: String,
    mode: &'static str,
    concurrency: u32,
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
        }
    }

    fn rows(&self) -> Vec<Vec<String>> {
        let time = |us: f64| readable(Duration::from_secs_f64(us / 1e6));
        let optional = |value: Option<String>| value.unwrap_or_else(|| "n/a".to_owned());
        let rows = [
            ("topic", self.topic.clone()),
            ("mode", self.mode.to_owned()),
            ("in flight", self.concurrency.to_string()),
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
        ];
        rows.into_iter()
            .map(|(name, value)| vec![name.to_owned(), value])
            .collect()
    }
}
