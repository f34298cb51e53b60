//! The command line: every command, option, default and help text, in one place.
//!
//! Names and defaults are a contract that scripts rely on. `--help` of each command ends with examples that work as they stand.

mod broker;
mod group;
mod mqadmin;
mod serve;
mod serve_access;
mod topic;
mod users;

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};
use rocketry::{Brokers, Decision};

pub(crate) use broker::{Broker, Cluster};
pub(crate) use group::{Group, GroupSettings};
pub(crate) use mqadmin::Mqadmin;
pub(crate) use serve::{Flush, Role, Serve, ServeLimits};
pub(crate) use serve_access::ServeAccess;
pub(crate) use topic::{Perm, Topic};
pub(crate) use users::{Acl, Password, RuleArgs, User, UserChange, UserStatus, UserType};

use crate::access::Access;
use crate::load::Limit;
use crate::units::{self, QueueName, StartPoint, Wait, When};

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
    /// Stop when no message came for this long; `0s` = behind what is there now, `forever` = only Ctrl-C stops
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = units::wait)]
    pub(crate) wait: Wait,
    /// Consumer group whose offsets are used and committed
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

/// `--output` of a report.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Report {
    /// text (a table) or json (one object)
    #[arg(long, short, value_enum, default_value_t = ReportFormat::Text)]
    pub(crate) output: ReportFormat,
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
