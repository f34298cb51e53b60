//! `send`, `request` and `recall`.

use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};
use rocketry::Decision;

use crate::{
    args::{PRODUCER_GROUP, Report, ReportFormat, ResultFormat},
    units::{self, QueueName},
};

/// Options of `send`.
#[derive(Debug, Args)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "independent switches of a command line"
)]
#[command(group = clap::ArgGroup::new("input").required(true).args(["body", "file", "stdin"]))]
pub(crate) struct Send {
    /// Topic to send to
    pub(crate) topic: String,
    /// The body of one message (with --format jsonl: a JSON object)
    pub(crate) body: Option<String>,
    /// Read messages from a file; `-` is stdin
    #[arg(long, short = 'f', value_name = "F")]
    pub(crate) file: Option<PathBuf>,
    /// Read messages from stdin
    #[arg(long)]
    pub(crate) stdin: bool,
    /// How the input is cut into messages [default: lines; BODY is one message]
    #[arg(long, value_enum)]
    pub(crate) format: Option<InputFormat>,
    /// How to send [default: sync for one BODY, else async]
    #[arg(long, short, value_enum)]
    pub(crate) mode: Option<Mode>,
    /// Send BODY this many times; of an input, only the first N messages
    #[arg(long, short = 'n', value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,
    /// Tag of every message that has none of its own
    #[arg(long, short, value_name = "T")]
    pub(crate) tag: Option<String>,
    /// Index key of every message that has none of its own; may be repeated
    #[arg(long = "key", short, value_name = "K")]
    pub(crate) keys: Vec<String>,
    /// Property of every message that does not set it itself; may be repeated
    #[arg(long = "property", short, value_name = "K=V", value_parser = units::property)]
    pub(crate) properties: Vec<(String, String)>,
    /// Send to this queue instead of choosing one, for example broker-a:0
    #[arg(long, value_name = "BROKER:ID", value_parser = units::queue_name)]
    pub(crate) queue: Option<QueueName>,
    /// Time each message has to be acknowledged, all attempts together
    #[arg(long, value_name = "TIME", default_value = "3s", value_parser = units::duration)]
    pub(crate) timeout: Duration,
    /// Send to the queue that the hash of this key chooses, as Java's hash selector does: messages of one key keep their order
    #[arg(long, value_name = "KEY", conflicts_with = "queue")]
    pub(crate) shard: Option<String>,
    /// As --shard, but fail rather than let the key move to another queue when brokers come or go; the topic must exist
    #[arg(long, value_name = "KEY", conflicts_with_all = ["queue", "shard"])]
    pub(crate) strict_shard: Option<String>,
    /// Deliver each message this long after it is sent, for example 10s; needs a broker of 5.0 or later (older ones deliver at once)
    #[arg(long, value_name = "TIME", value_parser = units::duration, group = "when")]
    pub(crate) delay: Option<Duration>,
    /// Deliver after the broker's delay level 1 to 18 (1s 5s 10s 30s 1m .. 10m 20m 30m 1h 2h); every broker knows levels
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..=18), group = "when")]
    pub(crate) delay_level: Option<i32>,
    /// Deliver at this time: 2026-01-31T10:00:00Z, '2026-01-31 10:00' (local), ms since 1970; needs a broker of 5.0 or later
    #[arg(long, value_name = "TIME", value_parser = units::time_ms, group = "when")]
    pub(crate) at: Option<i64>,
    /// Send N messages in each request: cheaper for brokers and faster for many small messages
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(2..=10_000), conflicts_with_all = ["when", "auto_batch"])]
    pub(crate) batch: Option<u32>,
    /// Let the client gather what is in flight into batches, at most 10 ms and 32 KiB each (mode async)
    #[arg(long)]
    pub(crate) auto_batch: bool,
    /// Send each message in a transaction that ends so: consumers get only what was committed
    #[arg(long, value_enum, value_name = "END", conflicts_with_all = ["when", "queue", "shard", "strict_shard", "batch", "auto_batch"])]
    pub(crate) transaction: Option<Transaction>,
    /// Compress every body that gets smaller by it [default: zlib from 4 KiB on]
    #[arg(long, value_enum, value_name = "CODEC")]
    pub(crate) compress: Option<Codec>,
    /// Leave a trace record of each message that is stored, which `mqadmin QueryMsgTraceById` and the dashboard show
    #[arg(long)]
    pub(crate) trace: bool,
    /// Print what each message goes through, with times: route, queue, body, attempts, answers. Sends one message after the other
    #[arg(long)]
    pub(crate) explain: bool,
    /// Messages that may wait for their acknowledgement at a time (mode async)
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=50_000))]
    pub(crate) in_flight: u32,
    /// Go on after many failures in a row, instead of giving the rest up
    #[arg(long)]
    pub(crate) keep_going: bool,
    /// Producer group
    #[arg(long, short, value_name = "G", default_value = PRODUCER_GROUP)]
    pub(crate) group: String,
    /// What goes to stdout: text (the result of a single BODY), json (one array), jsonl (one result per line, as each is known)
    #[arg(long, short, value_enum, default_value_t = ResultFormat::Text)]
    pub(crate) output: ResultFormat,
}

/// Options of `request`.
#[derive(Debug, Args)]
pub(crate) struct Request {
    /// Topic that the repliers consume
    pub(crate) topic: String,
    /// The body of the request
    pub(crate) body: String,
    /// Time for everything: sending, and the replier's work
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = units::duration)]
    pub(crate) timeout: Duration,
    /// Tag of the request
    #[arg(long, short, value_name = "T")]
    pub(crate) tag: Option<String>,
    /// Index key of the request; may be repeated
    #[arg(long = "key", short, value_name = "K")]
    pub(crate) keys: Vec<String>,
    /// Property of the request; may be repeated
    #[arg(long = "property", short, value_name = "K=V", value_parser = units::property)]
    pub(crate) properties: Vec<(String, String)>,
    /// Producer group
    #[arg(long, short, value_name = "G", default_value = PRODUCER_GROUP)]
    pub(crate) group: String,
    /// What goes to stdout: text (the body of the reply), json (all of it)
    #[arg(long, short, value_enum, default_value_t = ReportFormat::Text)]
    pub(crate) output: ReportFormat,
}

/// Options of `recall`.
#[derive(Debug, Args)]
pub(crate) struct Recall {
    /// Topic that the message was sent to
    pub(crate) topic: String,
    /// What its send printed as recall_handle
    pub(crate) handle: String,
    /// Producer group
    #[arg(long, short, value_name = "G", default_value = PRODUCER_GROUP)]
    pub(crate) group: String,
    #[command(flatten)]
    pub(crate) format: Report,
}

/// How a transaction ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Transaction {
    /// Consumers get the message
    Commit,
    /// Nobody gets it
    Rollback,
    /// Left open: the broker asks the producers of the group, after some seconds and again
    Unknown,
}

impl Transaction {
    /// What the client calls it.
    pub(crate) const fn decision(self) -> Decision {
        match self {
            Self::Commit => Decision::Commit,
            Self::Rollback => Decision::Rollback,
            Self::Unknown => Decision::Unknown,
        }
    }
}

/// How an input is cut into messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum InputFormat {
    /// One message per line
    Lines,
    /// One JSON object per line
    Jsonl,
    /// The whole input is one body
    Raw,
}

/// How messages are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// Wait for each acknowledgement before the next message
    Sync,
    /// Keep several messages in flight
    Async,
    /// No acknowledgement
    Oneway,
}

impl Mode {
    /// The name on the command line and in results.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Sync => "sync",
            Self::Async => "async",
            Self::Oneway => "oneway",
        }
    }
}

/// Compression of bodies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Codec {
    /// Read by every client
    Zlib,
    /// Fast; needs clients of 5.0 or later
    Lz4,
    /// Small; needs clients of 5.0 or later
    Zstd,
    /// Send bodies as they are
    None,
}
