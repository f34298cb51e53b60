//! `store`.

use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};

use crate::args::Report;

/// Commands on a data directory. None of them changes it but `repair`.
#[derive(Debug, Subcommand)]
pub(crate) enum Store {
    /// Prove log, queues, index and configuration against each other
    #[command(after_help = "\
Reads everything. Of a directory in use it judges what is on disk at that moment.
Exit code 1 when messages are lost or unreachable, or a server would not start.

Examples:
  rocketry store check /srv/mq
  rocketry store check ~/store --output json       a store of Apache RocketMQ
  rocketry store check ~/store --broker-name broker-b --cluster C
                                                   before a broker of these names takes it over")]
    Check {
        /// The data directory
        dir: PathBuf,
        /// Name of the broker that is to serve it: warn of what carries another name
        #[arg(long, value_name = "NAME")]
        broker_name: Option<String>,
        /// Name of its cluster: likewise
        #[arg(long, value_name = "NAME")]
        cluster: Option<String>,
        #[command(flatten)]
        format: Report,
    },
    /// List the files, their sizes apparent and real, their times, and why each is kept
    #[command(
        after_help = "Examples:\n  rocketry store ls /srv/mq\n  rocketry store ls /srv/mq --output json"
    )]
    Ls {
        /// The data directory
        dir: PathBuf,
        #[command(flatten)]
        format: Report,
    },
    /// Print one message, as JSON
    #[command(after_help = "\
ID is a commit-log offset, an offset message id, a unique id, or TOPIC/QUEUE/OFFSET.

Examples:
  rocketry store cat /srv/mq 1048576
  rocketry store cat /srv/mq Orders/0/17
  rocketry store cat /srv/mq 7F00000100002A9F0000000000000000")]
    Cat {
        /// The data directory
        dir: PathBuf,
        /// Which message
        id: String,
    },
    /// Print every stored message in the order of the log, one JSON object per line
    #[command(after_help = "\
What `consume --output jsonl` prints, and version, sys_flag, prepared_transaction_offset
and body_crc. Bodies are decompressed; of an inner batch each message is printed. `send
--format jsonl` reads it.

Examples:
  rocketry store export /srv/mq > all.jsonl
  rocketry store export /srv/mq --topic Orders | rocketry send Orders --stdin --format jsonl")]
    Export {
        /// The data directory
        dir: PathBuf,
        /// Only messages stored under this topic
        #[arg(long, value_name = "TOPIC")]
        topic: Option<String>,
        /// jsonl: one JSON object per line
        #[arg(long, short, value_enum, default_value_t = ExportFormat::Jsonl)]
        output: ExportFormat,
    },
    /// Recover a directory and derive what is damaged from its log again
    #[command(after_help = "\
Says what it will do and asks, on a terminal; elsewhere it needs --yes. Never changes a
message, and never a directory in use.

Examples:
  rocketry store repair /srv/mq
  rocketry store repair /srv/mq --yes")]
    Repair {
        /// The data directory
        dir: PathBuf,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
        #[command(flatten)]
        format: Report,
    },
}

/// `--output` of `store export`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExportFormat {
    /// One JSON object per line
    Jsonl,
}
