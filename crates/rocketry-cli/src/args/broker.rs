//! `rocketry cluster` and `rocketry broker`.

use clap::Subcommand;

use super::{Report, Where};
use crate::units;

/// What to do with clusters.
#[derive(Debug, Subcommand)]
pub(crate) enum Cluster {
    /// List all brokers with version, rates and totals
    #[command(
        after_help = "Examples:\n  rocketry cluster list\n  rocketry cluster list --output json"
    )]
    List {
        #[command(flatten)]
        format: Report,
    },
}

/// What to do with brokers.
#[derive(Debug, Subcommand)]
pub(crate) enum Broker {
    /// Show what brokers say of themselves: rates, totals, offsets, disk use
    #[command(after_help = "\
Examples:
  rocketry broker status
  rocketry broker status broker-a
  rocketry broker status 10.0.0.5:10911 --output json")]
    Status {
        /// Name or address of the broker [default: all]
        broker: Option<String>,
        /// Only what has this in its name; may be repeated
        #[arg(long = "key", short, value_name = "TEXT")]
        keys: Vec<String>,
        #[command(flatten)]
        format: Report,
    },
    /// Show the settings of brokers
    #[command(after_help = "\
Examples:
  rocketry broker config
  rocketry broker config broker-a --key flush
  rocketry broker config broker-a --output json")]
    Config {
        /// Name or address of the broker [default: all]
        broker: Option<String>,
        /// Only settings with this in their name; may be repeated
        #[arg(long = "key", short, value_name = "TEXT")]
        keys: Vec<String>,
        #[command(flatten)]
        format: Report,
    },
    /// Change settings of brokers while they run
    #[command(after_help = "\
Apache's brokers write the change to their configuration file and ignore names that they do
not know; `rocketry serve` keeps it until it stops. What was set is read back: a name that a
broker does not have, and a value that it does not take while it runs, are errors.

Examples:
  rocketry broker set autoCreateTopicEnable=false
  rocketry broker set brokerPermission=4 --broker broker-a      no more sends to broker-a")]
    Set {
        /// What to set
        #[arg(required = true, value_name = "K=V", value_parser = units::property)]
        settings: Vec<(String, String)>,
        #[command(flatten)]
        place: Where,
        #[command(flatten)]
        format: Report,
    },
}
