//! `consume` and `message`: what reads messages.

use clap::{Args, Subcommand, ValueEnum};

use crate::{
    args::Report,
    units::{self, StartPoint, Wait, When},
};

/// Options of `consume`.
#[derive(Debug, Args)]
pub(crate) struct Consume {
    /// Topic to read
    pub(crate) topic: String,
    /// Where to start: first, last (what arrives from now on), offset:N (in every queue), or time:T, where T is
    /// 2026-01-31T10:00:00Z, '2026-01-31 10:00' (local), milliseconds since 1970, or -1h (an hour ago)
    /// [default: first; with --group where the group stopped, else first]
    #[arg(long, value_name = "WHERE", value_parser = units::start_point)]
    pub(crate) from: Option<StartPoint>,
    /// Stop after N messages
    #[arg(long, short = 'n', value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,
    /// Stop when no message came for this long; `0s` = behind what is there now, `forever` = only Ctrl-C and SIGTERM stop, and
    /// a broker that is away is waited for
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = units::wait)]
    pub(crate) wait: Wait,
    /// Consumer group whose offsets are used, and committed within 5 s of what was written
    #[arg(long, short, value_name = "G")]
    pub(crate) group: Option<String>,
    /// text (one readable line per message), jsonl (everything), raw (bodies, one per line)
    #[arg(long, short, value_enum, default_value_t = MessageFormat::Text)]
    pub(crate) output: MessageFormat,
}

/// How received messages are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum MessageFormat {
    /// One readable line per message
    Text,
    /// One JSON object per line, valid input of `send --format jsonl`
    Jsonl,
    /// Bodies, one per line, byte for byte
    Raw,
}

/// What to do with messages that are stored.
#[derive(Debug, Subcommand)]
pub(crate) enum Message {
    /// Show one message: where it lies, when it was stored, its properties and its body
    #[command(after_help = "\
A message has two ids, and either does: the offset_msg_id names the place in a broker's log;
the msg_id, made by the client, is looked for among the messages of the last three days.

Examples:
  rocketry message view Orders 7F00000144A8251F6B9C7ED0F8C50000
  rocketry message view Orders 7F00000100002A9F0000000000000000 --output json")]
    View {
        /// The topic
        topic: String,
        /// The message id, either kind
        id: String,
        #[command(flatten)]
        format: Report,
    },
    /// Find the messages of a topic that carry a key, oldest first
    #[command(after_help = "\
Keys are what `send --key` sets, compared exactly. Every broker of the topic is asked; one that does
not answer is named on stderr, and the others' messages are shown all the same.

Examples:
  rocketry message query Orders order-1
  rocketry message query Orders customer-7 --from -1h --max 100 --output json")]
    Query {
        /// The topic
        topic: String,
        /// The key
        key: String,
        /// Most messages of each broker; brokers have a limit of their own, 64 unless set
        #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(i32).range(1..))]
        max: i32,
        /// Stored at this time or later: 2026-01-31T10:00:00Z, '2026-01-31 10:00' (local), ms since 1970, or -1h
        #[arg(long, value_name = "TIME", value_parser = units::when, allow_hyphen_values = true)]
        from: Option<When>,
        /// Stored at this time or earlier
        #[arg(long, value_name = "TIME", value_parser = units::when, allow_hyphen_values = true)]
        until: Option<When>,
        #[command(flatten)]
        format: Report,
    },
}
