//! `rocketry topic`.

use clap::{Args, Subcommand, ValueEnum};

use super::{Report, Where};
use crate::units;

/// What to do with topics.
#[derive(Debug, Subcommand)]
pub(crate) enum Topic {
    /// List topics
    #[command(
        after_help = "Examples:\n  rocketry topic list\n  rocketry topic list --all --output json"
    )]
    List {
        /// Also topics that the system made for itself, retry and dead-letter topics
        #[arg(long, short)]
        all: bool,
        #[command(flatten)]
        format: Report,
    },
    /// Create a topic, or set all of its settings
    #[command(after_help = "\
What is not given gets its default, also on a topic that exists, which only keeps its number
of queues: `topic update` changes single settings.

Examples:
  rocketry topic create Orders
  rocketry topic create Orders --queues 16 --perm rw
  rocketry topic create Payments --attribute message.type=FIFO --broker broker-a")]
    Create {
        /// The topic
        topic: String,
        /// Queues to read from and to write to, on each broker [new topics: 8]
        #[arg(long, short, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65_535))]
        queues: Option<u32>,
        #[command(flatten)]
        settings: TopicSettings,
        #[command(flatten)]
        place: Where,
        #[command(flatten)]
        format: Report,
    },
    /// Change settings of a topic; those that are not given stay
    #[command(after_help = "\
To shrink a topic without losing messages, lower --write-queues, wait until the queues
that are no longer written to are consumed, then lower --read-queues.

Examples:
  rocketry topic update Orders --perm r
  rocketry topic update Orders --queues 16
  rocketry topic update Orders --attribute message.type=FIFO --broker broker-a")]
    Update {
        /// The topic
        topic: String,
        /// Queues to read from and to write to, on each broker
        #[arg(long, short, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65_535))]
        queues: Option<u32>,
        #[command(flatten)]
        settings: TopicSettings,
        #[command(flatten)]
        place: Where,
        #[command(flatten)]
        format: Report,
    },
    /// Show which brokers hold a topic, with addresses and queues
    #[command(
        after_help = "Examples:\n  rocketry topic route Orders\n  rocketry topic route Orders --output json"
    )]
    Route {
        /// The topic
        topic: String,
        #[command(flatten)]
        format: Report,
    },
    /// Show the offsets of each queue of a topic
    #[command(
        visible_alias = "status",
        after_help = "Examples:\n  rocketry topic stats Orders\n  rocketry topic stats Orders --output json"
    )]
    Stats {
        /// The topic
        topic: String,
        #[command(flatten)]
        format: Report,
    },
    /// List the groups that consume a topic, or have
    #[command(
        after_help = "Examples:\n  rocketry topic groups Orders\n  rocketry topic groups Orders --output json"
    )]
    Groups {
        /// The topic
        topic: String,
        #[command(flatten)]
        format: Report,
    },
    /// Delete a topic on all brokers and name servers
    #[command(after_help = "Examples:\n  rocketry topic delete Orders --yes")]
    Delete {
        /// The topic
        topic: String,
        /// Only in this cluster [default: all]
        #[arg(long, value_name = "NAME")]
        cluster: Option<String>,
        /// Do not ask (it is asked on a terminal only)
        #[arg(long, short)]
        yes: bool,
        #[command(flatten)]
        format: Report,
    },
}

/// Settings that `create` and `update` share.
#[derive(Debug, Clone, Args)]
pub(crate) struct TopicSettings {
    /// Queues to read from, where they are not --queues
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65_535))]
    pub(crate) read_queues: Option<u32>,
    /// Queues to write to, where they are not --queues
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65_535))]
    pub(crate) write_queues: Option<u32>,
    /// What clients may do: r, w or rw [new topics: rw]
    #[arg(long, value_enum)]
    pub(crate) perm: Option<Perm>,
    /// Whether the topic keeps its order when brokers come and go [new topics: false]
    #[arg(long, value_name = "BOOL")]
    pub(crate) order: Option<bool>,
    /// Further setting, for example message.type=FIFO (NORMAL, FIFO, DELAY, TRANSACTION); may be repeated
    #[arg(long = "attribute", value_name = "K=V", value_parser = units::property)]
    pub(crate) attributes: Vec<(String, String)>,
}

/// Permissions of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Perm {
    /// Read only
    R,
    /// Write only
    W,
    /// Read and write
    Rw,
}

impl Perm {
    /// RocketMQ's bits: read 4, write 2.
    pub(crate) const fn bits(self) -> i32 {
        match self {
            Self::R => 4,
            Self::W => 2,
            Self::Rw => 6,
        }
    }
}
