//! The command line: every command, option, default and help text, here and in the modules below.
//!
//! Names and defaults are a contract that scripts rely on. `--help` of each command ends with examples that work as they stand.

mod bench;
mod broker;
mod group;
mod mqadmin;
mod read;
mod send;
mod serve;
mod serve_access;
mod store;
mod topic;
mod users;

use clap::{Args, Parser, Subcommand, ValueEnum};
use rocketry::Brokers;

pub(crate) use bench::{Bench, BenchConsume, BenchProduce, BenchStartup, Payload};
pub(crate) use broker::{Broker, Cluster};
pub(crate) use group::{Group, GroupSettings};
pub(crate) use mqadmin::Mqadmin;
pub(crate) use read::{Consume, Message, MessageFormat};
pub(crate) use send::{Codec, InputFormat, Mode, Recall, Request, Send, Transaction};
pub(crate) use serve::{Flush, Role, Serve, ServeLimits};
pub(crate) use serve_access::ServeAccess;
pub(crate) use store::{ExportFormat, Store};
pub(crate) use topic::{Perm, Topic, TopicSettings};
pub(crate) use users::{Acl, Password, RuleArgs, User, UserChange, UserStatus, UserType};

use crate::access::Access;
use crate::units;

/// The producer group of every command that does not let the user choose one.
pub(crate) const PRODUCER_GROUP: &str = "rocketry_cli";

/// RocketMQ from the shell: serve, send, consume, measure.
#[derive(Debug, Parser)]
#[command(
    name = "rocketry",
    version,
    about = "RocketMQ from the shell: serve, send, consume, measure",
    after_help = "\
Start here:
  rocketry quickstart                      see it work, without any set-up
  rocketry serve --temp                    a name server and a broker, until Ctrl-C
  rocketry send Greetings hello            send one message
  rocketry consume Greetings --wait 1s     read it back
  rocketry send Greetings hi --explain     what a send does, and where its time goes

Data goes to stdout, messages to stderr. Exit codes: 0 done, 1 failed, 2 wrong usage.",
    disable_help_subcommand = true,
    max_term_width = 110
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every command.
#[derive(Debug, Clone, Args)]
pub(crate) struct Global {
    /// Name servers, `host:port` separated by `;` or `,`; else NAMESRV_ADDR, else 127.0.0.1:9876.
    /// For `serve`: the broker registers with these (NAMESRV_ADDR is not read)
    #[arg(
        long,
        global = true,
        value_name = "ADDRS",
        help_heading = "Global options"
    )]
    pub(crate) namesrv: Option<String>,
    /// Say more on stderr: attempts of a failed send, and log events (-vv, -vvv)
    #[arg(short, long, global = true, action = clap::ArgAction::Count, help_heading = "Global options")]
    pub(crate) verbose: u8,
    #[command(flatten)]
    pub(crate) access: Access,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start a server in this process, send in three modes, read everything back, compare
    #[command(after_help = "\
Examples:
  rocketry quickstart
  rocketry quickstart --count 20000 --size 1KiB

Needs no configuration and no network beyond loopback; leaves nothing behind.
Exit code 0 only if what was read back equals what was sent.")]
    Quickstart(Quickstart),
    /// Run a name server and a broker in one process, or one of them
    #[command(after_help = "\
When ready, exactly one line is printed on stdout:
  ready namesrv=HOST:PORT broker=HOST:PORT data=DIR in=N ms
A name server alone has no broker=. With --output json the line is an object with the keys
namesrv, broker, metrics, data, role, because (of the address that clients are told), ready_ms, pid.

Examples:
  rocketry serve                            data of the user, ports 9876, 10911 and 10909
  rocketry serve --data /srv/mq --flush sync
                                            acknowledged messages are on disk
  rocketry serve --temp --namesrv-port 0 --output json
                                            for a test: free ports, no data left
  rocketry serve --role namesrv             a name server alone, for brokers of ours and Apache's
  rocketry serve --role broker --namesrv '10.0.0.1:9876;10.0.0.2:9876' --broker-name broker-b
                                            join a cluster that runs elsewhere
  rocketry serve --tls-cert cert.pem --tls-key key.pem --tls-mode enforcing
                                            over TLS only
  rocketry serve --auth --host 0.0.0.0 --advertise mq.example.com
                                            for users on other machines; the first one is
                                            made up and named on stderr
  rocketry serve --config broker.conf       in place of Apache's broker, on its directory

SIGINT (Ctrl-C) and SIGTERM stop it gracefully: nothing acknowledged is lost.")]
    Serve(Serve),
    /// Send messages: a body, or the lines of a file or of stdin
    #[command(after_help = "\
Formats of the input:
  lines   one message per line, byte for byte: the line feed is cut, a carriage return
          kept. Empty lines are skipped and counted: RocketMQ has no empty messages
  jsonl   one JSON object per line: body or body_base64, and optionally topic, tag,
          keys (text or list), properties (object), flag, delay (\"10s\"), delay_level.
          What `consume --output jsonl` prints is valid input: ids, offsets and what
          brokers added are left out, and its topic says where it was, so TOPIC wins
  raw     the whole input is one body

Modes:
  sync    one after the other, each waits for its acknowledgement
          (default for a single BODY)
  async   up to --in-flight messages wait for their acknowledgement (default otherwise)
  oneway  nobody waits: fastest, and nobody knows what was stored

Examples:
  rocketry send Greetings hello
  rocketry send Orders '{\"id\":1}' --tag created --key order-1 --property region=eu
  rocketry send Lines --file access.log
  rocketry send Lines --file access.log --mode oneway
  rocketry send Lines --file access.log --batch 100
  rocketry send Reminders 'call back' --delay 10s
  rocketry send Orders '{\"id\":1}' --shard customer-7
  rocketry send Orders '{\"id\":1}' --transaction commit
  rocketry send Orders '{\"id\":1}' --explain      why it went where, and where the time went
  cat e.jsonl | rocketry send Events --stdin --format jsonl --output jsonl > done.jsonl
  rocketry consume A --output jsonl | rocketry send B --stdin --format jsonl")]
    Send(Send),
    /// Send a message and wait for the reply of a consumer
    #[command(after_help = "\
The message is stored like any other. A consumer of the topic replies through the broker, which
passes the reply on to this command alone: `Message::reply_to` in Rust,
`MessageUtil.createReplyMessage` in Java. The body of the reply goes to stdout, byte for byte,
with a line feed behind it.

Examples:
  rocketry request Prices '{\"item\":7}'
  rocketry request Prices '{\"item\":7}' --timeout 20s --output json

Exit code 1 if nobody replied in time; the message may be worked on all the same.")]
    Request(Request),
    /// Take back a message that waits for its time
    #[command(after_help = "\
Sends with --delay or --at print a recall_handle. As long as the message is not delivered,
the broker gives it up for that handle. Messages of delay levels have none.

Examples:
  rocketry send Reminders 'call back' --delay 1h
  rocketry recall Reminders djEgUmVtaW5kZXJzIGJyb2tlci1hIC4uLg==

Apache's brokers refuse unless configured with recallMessageEnable=true.")]
    Recall(Recall),
    /// Read messages of a topic
    #[command(after_help = "\
Without --group all queues are read and nothing is committed: looking changes nothing.
With --group reading goes on where the group stopped, and what was printed is committed.

Examples:
  rocketry consume Greetings                          everything, until 5 s pass without a message
  rocketry consume Greetings --wait 0s                what is there now
  rocketry consume Orders --from last --wait forever  what arrives from now on
  rocketry consume Orders --from time:-1h --output jsonl
  rocketry consume Lines --output raw --count 1000 > lines.txt
  rocketry consume Orders --group billing --count 10")]
    Consume(Consume),
    /// List, create, change, inspect and delete topics
    #[command(subcommand)]
    Topic(Topic),
    /// Look into a data directory, prove it, and repair it: ours or Apache RocketMQ's
    #[command(subcommand)]
    Store(Store),
    /// Find messages by id or by key
    #[command(subcommand)]
    Message(Message),
    /// List, create, inspect, move and delete consumer groups
    #[command(subcommand)]
    Group(Group),
    /// Show the clusters and their brokers
    #[command(subcommand)]
    Cluster(Cluster),
    /// Show and change the state and the settings of brokers
    #[command(subcommand)]
    Broker(Broker),
    /// List, create, change and delete users
    #[command(subcommand)]
    User(User),
    /// List, add and remove the rules on what users may do
    #[command(subcommand)]
    Acl(Acl),
    /// Run a command of Apache's mqadmin by its old name and flags
    #[command(after_help = mqadmin::HELP, disable_help_flag = true)]
    Mqadmin(Mqadmin),
    /// Measure
    #[command(subcommand)]
    Bench(Bench),
    /// Print the completion script of a shell
    #[command(after_help = "\
Examples:
  rocketry completions bash > ~/.local/share/bash-completion/completions/rocketry
  rocketry completions zsh > ~/.zfunc/_rocketry
  rocketry completions fish > ~/.config/fish/completions/rocketry.fish")]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// Options of `quickstart`.
#[derive(Debug, Args)]
pub(crate) struct Quickstart {
    /// Messages per mode
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub(crate) count: u64,
    /// Size of each body in bytes
    #[arg(long, value_name = "BYTES", default_value = "128", value_parser = units::size)]
    pub(crate) size: usize,
}

/// Format of results that may be many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ResultFormat {
    /// For people
    Text,
    /// One JSON document
    Json,
    /// One JSON object per line
    Jsonl,
}

/// Format of a single report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReportFormat {
    /// For people
    Text,
    /// One JSON object
    Json,
}

/// Which brokers a change is for.
#[derive(Debug, Clone, Args)]
pub(crate) struct Where {
    /// Only brokers of this cluster [default: all]
    #[arg(long, value_name = "NAME", conflicts_with = "broker")]
    pub(crate) cluster: Option<String>,
    /// Only this broker, by name or address [default: all]
    #[arg(long, value_name = "BROKER")]
    pub(crate) broker: Option<String>,
}

impl Where {
    /// What the client calls it.
    pub(crate) fn brokers(self) -> Brokers {
        match (self.broker, self.cluster) {
            (Some(broker), _) => Brokers::Broker(broker),
            (None, Some(cluster)) => Brokers::Cluster(cluster),
            (None, None) => Brokers::All,
        }
    }
}

/// `--output` of a report.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Report {
    /// text (a table) or json (one object)
    #[arg(long, short, value_enum, default_value_t = ReportFormat::Text)]
    pub(crate) output: ReportFormat,
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, error::ErrorKind};

    use super::*;

    #[test]
    fn definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_teaches_by_example() {
        fn leaves(command: &clap::Command, found: &mut Vec<clap::Command>) {
            if command.has_subcommands() {
                command.get_subcommands().for_each(|sub| leaves(sub, found));
            } else {
                found.push(command.clone());
            }
        }
        let mut found = Vec::new();
        leaves(&Cli::command(), &mut found);
        assert!(found.len() >= 11, "{found:?}");
        for command in found {
            let help = command
                .get_after_help()
                .map(ToString::to_string)
                .unwrap_or_default();
            assert!(
                help.contains("Examples:\n  rocketry "),
                "{} has no example",
                command.get_name()
            );
        }
    }

    #[test]
    fn wrong_usage_is_refused() {
        let kind = |line: &str| {
            Cli::try_parse_from(line.split(' '))
                .map(|_| ())
                .map_err(|e| e.kind())
        };
        assert_eq!(
            kind("rocketry send T"),
            Err(ErrorKind::MissingRequiredArgument)
        );
        assert_eq!(
            kind("rocketry send T body --stdin"),
            Err(ErrorKind::ArgumentConflict)
        );
        assert_eq!(
            kind("rocketry send T body --count 0"),
            Err(ErrorKind::ValueValidation)
        );
        assert_eq!(
            kind("rocketry serve --temp --data d"),
            Err(ErrorKind::ArgumentConflict)
        );
        assert_eq!(
            kind("rocketry bench produce T --count 1 --duration 1s"),
            Err(ErrorKind::ArgumentConflict)
        );
        assert_eq!(
            kind("rocketry consume T --from offset:x"),
            Err(ErrorKind::ValueValidation)
        );
        assert_eq!(
            kind("rocketry send T body --namesrv 1.2.3.4:9876 -p a=b -k x -k y --queue b:1"),
            Ok(())
        );
    }
}
