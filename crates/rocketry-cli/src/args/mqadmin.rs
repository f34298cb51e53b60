//! `rocketry mqadmin`.

use clap::Args;

/// What `rocketry mqadmin --help` ends with.
pub(super) const HELP: &str = "\
The command and its flags are translated to ours, shown on stderr, and run. Names are found
in any case; flags as in Apache RocketMQ 5.5.0: -n (name servers), -t, -g, -c, -b and so on.

Examples:
  rocketry mqadmin                                      list the names, with ours beside them
  rocketry mqadmin updateTopic -h                       show how its flags are translated
  rocketry mqadmin topicList -n 127.0.0.1:9876
  rocketry mqadmin updateTopic -n 127.0.0.1:9876 -t Orders -c DefaultCluster -r 16 -w 16
  rocketry mqadmin consumerProgress -g billing";

/// Options of `mqadmin`.
#[derive(Debug, Args)]
pub(crate) struct Mqadmin {
    /// Name of the command, as topicList [default: list them]
    #[arg(allow_hyphen_values = true)]
    pub(crate) name: Option<String>,
    /// Its flags
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "FLAGS"
    )]
    pub(crate) flags: Vec<String>,
}
