//! `rocketry bench consume`: how fast a topic is read, and what it costs this process.

use std::time::{Duration, Instant};

use rocketry::{Client, StartAt};
use serde::Serialize;

use super::{
    produce::{per_second, round, watched_cpu},
    usage::{Cpu, peak_memory, reset_peak_memory},
};
use crate::{
    args::{BenchConsume, Global, ReportFormat},
    clock,
    commands::{CLOSE_WITHIN, connect},
    failure::Failure,
    output::{Column, Output},
};

/// Nothing for this long after something is the end of the topic.
const END: Duration = Duration::from_millis(200);
/// Nothing for this long from the beginning is an empty topic.
const EMPTY: Duration = Duration::from_secs(3);

/// Measures and reports.
///
/// # Errors
/// The topic could not be read, or holds nothing.
pub(crate) async fn run(args: BenchConsume, global: &Global) -> Result<(), Failure> {
    let client = connect(global).await?;
    let mut reading = Reading {
        client: &client,
        topic: &args.topic,
        reader: None,
        has_read: false,
    };
    reading.until(clock::now() + args.warmup).await?;
    reset_peak_memory();
    let watched = args.watch.map(watched_cpu).transpose()?;
    let (before, started) = (Cpu::now(), clock::now());
    let amount = reading.until(started + args.duration).await?;
    let elapsed = started.elapsed();
    let cpu = Cpu::now()
        .zip(before)
        .map(|(now, before)| now.since(before).total());
    let watched = match (args.watch, watched) {
        (Some(pid), Some(before)) => Some(watched_cpu(pid)?.saturating_sub(before)),
        _ => None,
    };
    let report = Report {
        topic: args.topic.clone(),
        read: amount.messages,
        seconds: round(elapsed.as_secs_f64(), 1e6),
        msgs_per_second: round(per_second(amount.messages, elapsed), 10.0),
        mib_per_second: round(
            per_second(amount.bytes, elapsed) / f64::from(1 << 20),
            1000.0,
        ),
        cpu_us_per_msg: cpu.map(|cpu| us_per(cpu, amount.messages)),
        max_rss_bytes: peak_memory(),
        watched_cpu_seconds: watched.map(|time| round(time.as_secs_f64(), 1e6)),
    };
    drop(reading);
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
    Ok(())
}

#[allow(
    clippy::cast_precision_loss,
    reason = "a mean for people; 53 bits are plenty"
)]
fn us_per(time: Duration, messages: u64) -> f64 {
    round(time.as_secs_f64() * 1e6 / messages.max(1) as f64, 1000.0)
}

#[derive(Debug, Default)]
struct Amount {
    messages: u64,
    /// Of bodies.
    bytes: u64,
}

/// A reader that begins again at the end of the topic.
struct Reading<'a> {
    client: &'a Client,
    topic: &'a str,
    reader: Option<rocketry::Reader>,
    /// Whether `reader` has read anything since it began at the first message.
    has_read: bool,
}

impl Reading<'_> {
    async fn until(&mut self, end: Instant) -> Result<Amount, Failure> {
        let mut amount = Amount::default();
        while clock::now() < end {
            let mut reader = match self.reader.take() {
                Some(reader) => reader,
                None => self.client.reader(self.topic).start(StartAt::First).await?,
            };
            let wait = if self.has_read { END } else { EMPTY };
            let messages = reader.next_batch(wait).await?;
            for message in &messages {
                amount.messages += 1;
                amount.bytes += u64::try_from(message.body.len()).unwrap_or_default();
            }
            if !messages.is_empty() {
                self.has_read = true;
                self.reader = Some(reader);
            } else if !std::mem::take(&mut self.has_read) {
                return Err(Failure::new(format!(
                    "topic {} holds no messages: write some with `rocketry bench produce {}`",
                    self.topic, self.topic
                )));
            }
        }
        Ok(amount)
    }
}

/// The figures, all of the measured phase only. The names are a contract.
#[derive(Debug, Serialize)]
struct Report {
    topic: String,
    read: u64,
    seconds: f64,
    msgs_per_second: f64,
    mib_per_second: f64,
    cpu_us_per_msg: Option<f64>,
    max_rss_bytes: Option<u64>,
    /// Of the process that `--watch` names.
    watched_cpu_seconds: Option<f64>,
}

impl Report {
    fn rows(&self) -> Vec<Vec<String>> {
        let optional = |value: Option<String>| value.unwrap_or_else(|| "n/a".to_owned());
        let rows = [
            ("topic", self.topic.clone()),
            ("read", self.read.to_string()),
            ("seconds", format!("{:.3}", self.seconds)),
            ("msgs/s", format!("{:.0}", self.msgs_per_second)),
            ("MiB/s", format!("{:.1}", self.mib_per_second)),
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
        rows.into_iter()
            .map(|(name, value)| vec![name.to_owned(), value])
            .collect()
    }
}
