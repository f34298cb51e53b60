//! `rocketry group`.

use clap::{Args, Subcommand};

use super::{Report, Where};
use crate::units::{self, ResetPoint};

/// What to do with consumer groups.
#[derive(Debug, Subcommand)]
pub(crate) enum Group {
    /// List consumer groups and their settings
    #[command(
        after_help = "Examples:\n  rocketry group list\n  rocketry group list --all --output json"
    )]
    List {
        /// Also groups of the system's own tools
        #[arg(long, short)]
        all: bool,
        #[command(flatten)]
        format: Report,
    },
    /// Show how far groups are: offsets, lag and clients
    #[command(after_help = "\
Without GROUP there is one line per group; with it, one per queue.

Examples:
  rocketry group progress
  rocketry group progress billing
  rocketry group progress billing --topic Orders --output json")]
    Progress {
        /// The group [default: all]
        group: Option<String>,
        /// Only this topic [default: all that the group has offsets of]
        #[arg(long, short, value_name = "TOPIC", requires = "group")]
        topic: Option<String>,
        #[command(flatten)]
        format: Report,
    },
    /// Show the connected clients of a group, and what they subscribe to
    #[command(after_help = "\
Examples:
  rocketry group clients billing
  rocketry group clients shop --producers")]
    Clients {
        /// The group
        group: String,
        /// A group of producers
        #[arg(long)]
        producers: bool,
        #[command(flatten)]
        format: Report,
    },
    /// Create a consumer group, or change settings of one; those that are not given stay
    #[command(after_help = "\
Examples:
  rocketry group create billing
  rocketry group create billing --retries 3
  rocketry group create billing --consume false     stop its consumers on all brokers")]
    Create {
        /// The group
        group: String,
        #[command(flatten)]
        settings: GroupSettings,
        #[command(flatten)]
        place: Where,
        #[command(flatten)]
        format: Report,
    },
    /// Let a group go on elsewhere in a topic
    #[command(after_help = "\
Clients that run go on at the new offsets within seconds. Messages in between are consumed
again, or never.

Examples:
  rocketry group reset billing --topic Orders --to first
  rocketry group reset billing --topic Orders --to last --yes       skip what waits
  rocketry group reset billing --topic Orders --to time:-1h
  rocketry group reset billing --topic Orders --to time:2026-01-31T10:00:00Z")]
    Reset {
        /// The group
        group: String,
        /// The topic
        #[arg(long, short, value_name = "TOPIC")]
        topic: String,
        /// Where to go on: first, last, or time:T with T as 2026-01-31T10:00:00Z, '2026-01-31 10:00' (local), ms since 1970, or -1h
        #[arg(long, value_name = "WHERE", value_parser = units::reset_point)]
        to: ResetPoint,
        /// Do not ask (it is asked on a terminal only)
        #[arg(long, short)]
        yes: bool,
        #[command(flatten)]
        format: Report,
    },
    /// Delete a group on all brokers, with its offsets, retry and dead-letter topics
    #[command(after_help = "\
Examples:
  rocketry group delete billing --yes
  rocketry group delete billing --keep-offsets --yes")]
    Delete {
        /// The group
        group: String,
        /// Only in this cluster [default: all]
        #[arg(long, value_name = "NAME")]
        cluster: Option<String>,
        /// Leave its offsets: a group of this name goes on where it was
        #[arg(long)]
        keep_offsets: bool,
        /// Do not ask (it is asked on a terminal only)
        #[arg(long, short)]
        yes: bool,
        #[command(flatten)]
        format: Report,
    },
}

/// Settings of a group.
#[derive(Debug, Clone, Args)]
pub(crate) struct GroupSettings {
    /// How often a message is consumed again before it becomes a dead letter [new groups: 16]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(-1..=10_000))]
    pub(crate) retries: Option<i32>,
    /// Queues of the retry topic [new groups: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(0..=1024))]
    pub(crate) retry_queues: Option<i32>,
    /// Whether the group may consume [new groups: true]
    #[arg(long, value_name = "BOOL")]
    pub(crate) consume: Option<bool>,
    /// Whether its clients may broadcast: each gets every message [new groups: true]
    #[arg(long, value_name = "BOOL")]
    pub(crate) broadcast: Option<bool>,
    /// Whether POP consumers get the messages of a queue in order [new groups: false]
    #[arg(long, value_name = "BOOL")]
    pub(crate) order: Option<bool>,
    /// Further setting; may be repeated
    #[arg(long = "attribute", value_name = "K=V", value_parser = units::property)]
    pub(crate) attributes: Vec<(String, String)>,
}
