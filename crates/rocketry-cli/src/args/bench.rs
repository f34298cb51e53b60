//! `bench`.

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use crate::{
    args::{Codec, Mode, ReportFormat},
    load::Limit,
    units,
};

/// What to measure.
#[derive(Debug, Subcommand)]
pub(crate) enum Bench {
    /// Throughput, latency and CPU of sending to a topic
    #[command(after_help = "\
Without --rate the loop is closed: each of N senders waits for its result before it
sends again. With --rate messages start at fixed times whatever the server does, and
latency counts from the intended time, so that a stall shows in the percentiles.
Figures cover the measured phase only, not the warm-up.

Examples:
  rocketry bench produce Bench
  rocketry bench produce Bench --mode async --concurrency 256 --size 1KiB --duration 30s
  rocketry bench produce Bench --rate 20000 --duration 1m --output json")]
    Produce(BenchProduce),
    /// Throughput of reading a topic from its first message, again and again, and CPU time of this process
    #[command(
        after_help = "Examples:\n  rocketry bench consume Bench\n  rocketry bench consume Bench --duration 30s --output json"
    )]
    Consume(BenchConsume),
    /// Time from process start to the ready line and to the first acknowledged send, and idle memory, of `serve`
    #[command(
        after_help = "Examples:\n  rocketry bench startup\n  rocketry bench startup --rounds 20 --output json"
    )]
    Startup(BenchStartup),
}

/// Options of `bench produce`.
#[derive(Debug, Args)]
pub(crate) struct BenchProduce {
    /// Topic to send to
    pub(crate) topic: String,
    /// How to send
    #[arg(long, short, value_enum, default_value_t = Mode::Sync)]
    pub(crate) mode: Mode,
    /// Sends in flight
    #[arg(long, short, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=50_000))]
    pub(crate) concurrency: u32,
    /// Messages of each send, which goes out as one batch if there are several; sync mode
    #[arg(long, value_name = "N", default_value_t = 1, conflicts_with = "rate", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) batch: u32,
    /// Let the client gather single sends to batches; sync mode
    #[arg(long, conflicts_with = "batch")]
    pub(crate) auto_batch: bool,
    /// Spread the messages over this many topics: TOPIC-0, TOPIC-1, ... instead of TOPIC
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) topics: u32,
    /// Size of each body, for example 128, 1KiB, 1MiB
    #[arg(long, short, value_name = "BYTES", default_value = "1KiB", value_parser = units::size)]
    pub(crate) size: usize,
    /// Messages to send [default: 100000, unless --duration]
    #[arg(long, short = 'n', value_name = "N", conflicts_with = "duration", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,
    /// Time to send for
    #[arg(long, short, value_name = "TIME", value_parser = units::duration)]
    pub(crate) duration: Option<Duration>,
    /// Messages sent, or time spent sending, before measuring starts: 10000, 500ms
    #[arg(long, value_name = "N|TIME", default_value = "10000", value_parser = units::amount)]
    pub(crate) warmup: Limit,
    /// Open loop: start this many messages per second
    #[arg(long, value_name = "R", value_parser = units::rate)]
    pub(crate) rate: Option<f64>,
    /// Compress bodies
    #[arg(long, value_enum, value_name = "C", default_value_t = Codec::None)]
    pub(crate) compress: Codec,
    /// What bodies are made of: random bytes, which do not compress, or text, which does [default: random; text with --compress]
    #[arg(long, value_enum)]
    pub(crate) payload: Option<Payload>,
    /// Time each message has to be acknowledged
    #[arg(long, value_name = "TIME", default_value = "3s", value_parser = units::duration)]
    pub(crate) timeout: Duration,
    /// Worker threads of the client
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) threads: u16,
    /// Connections to each broker: so many clients send in turn
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) connections: u32,
    /// Stay connected for this long after the last message, and measure what doing nothing costs
    #[arg(long, value_name = "TIME", value_parser = units::duration)]
    pub(crate) idle: Option<Duration>,
    /// Also measure the CPU time of this process of the same machine, the broker for example
    #[arg(long, value_name = "PID")]
    pub(crate) watch: Option<u32>,
    /// text or json
    #[arg(long, short, value_enum, default_value_t = ReportFormat::Text)]
    pub(crate) output: ReportFormat,
}

/// Options of `bench consume`.
#[derive(Debug, Args)]
pub(crate) struct BenchConsume {
    /// Topic to read, which has to hold messages
    pub(crate) topic: String,
    /// Time to read for
    #[arg(long, short, value_name = "TIME", default_value = "10s", value_parser = units::duration)]
    pub(crate) duration: Duration,
    /// Time spent reading before measuring starts
    #[arg(long, value_name = "TIME", default_value = "500ms", value_parser = units::duration)]
    pub(crate) warmup: Duration,
    /// Also measure the CPU time of this process of the same machine, the broker for example
    #[arg(long, value_name = "PID")]
    pub(crate) watch: Option<u32>,
    /// text or json
    #[arg(long, short, value_enum, default_value_t = ReportFormat::Text)]
    pub(crate) output: ReportFormat,
}

/// What bodies are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Payload {
    /// Random bytes
    Random,
    /// Words
    Text,
}

/// Options of `bench startup`.
#[derive(Debug, Args)]
pub(crate) struct BenchStartup {
    /// Servers to start, one after the other
    #[arg(long, short = 'n', value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) rounds: u32,
    /// How long a server stays idle before its memory is read
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = units::duration)]
    pub(crate) idle: Duration,
    /// text or json
    #[arg(long, short, value_enum, default_value_t = ReportFormat::Text)]
    pub(crate) output: ReportFormat,
}
