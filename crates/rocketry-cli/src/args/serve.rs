//! `serve`.

use std::{net::IpAddr, path::PathBuf};

use clap::{Args, ValueEnum};
use rocketry_server::Advertise;

use super::{ReportFormat, ServeAccess};
use crate::{access::TlsMode, units};

/// Options of `serve`.
#[derive(Debug, Args)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "independent switches of a command line"
)]
pub(crate) struct Serve {
    /// What to run [default: broker with --namesrv, else all]
    #[arg(long, value_enum, value_name = "ROLE")]
    pub(crate) role: Option<Role>,
    /// broker.conf of Apache RocketMQ to take settings from: names, addresses, file sizes, times. The other options go before it
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Data directory, created when missing. Else ROCKETRY_DATA, else $XDG_DATA_HOME/rocketry, else ~/.local/share/rocketry
    #[arg(long, value_name = "DIR", conflicts_with = "temp")]
    pub(crate) data: Option<PathBuf>,
    /// Use a temporary directory and remove it at the end
    #[arg(long)]
    pub(crate) temp: bool,
    /// Address to listen on [default: 127.0.0.1]
    #[arg(long, value_name = "ADDR")]
    pub(crate) host: Option<IpAddr>,
    /// Name or address that clients are told to connect to, with a port where it is not the broker's own. [default: clients of this
    /// process's name server are told the address that they came to; others the one listened on, or where that is every address,
    /// the one that leads out of this machine]
    #[arg(long, value_name = "HOST[:PORT]")]
    pub(crate) advertise: Option<Advertise>,
    /// Port of the name server; 0 = any free port
    #[arg(long, value_name = "PORT", default_value_t = 9876)]
    pub(crate) namesrv_port: u16,
    /// Port of the broker; 0 = any free port [default: 10911; any free port with --namesrv-port 0]
    #[arg(long, value_name = "PORT")]
    pub(crate) broker_port: Option<u16>,
    /// Serve over TLS, with --tls-cert and --tls-key: beside plain connections (default) or instead of them
    #[arg(long, value_enum, value_name = "MODE")]
    pub(crate) tls_mode: Option<TlsMode>,
    /// Serve over TLS with a certificate made up at this start, for development; stderr says what clients trust
    #[arg(long, conflicts_with = "tls_cert")]
    pub(crate) tls_dev: bool,
    /// PEM file of an authority: clients over TLS need a certificate that it has signed
    #[arg(long, value_name = "FILE")]
    pub(crate) tls_client_ca: Option<PathBuf>,
    /// When a message is acknowledged: written to the file (async), or on disk (sync) [default: async]
    #[arg(long, value_enum)]
    pub(crate) flush: Option<Flush>,
    /// Name of the broker; each broker of a cluster needs one of its own [default: broker-a]
    #[arg(long, value_name = "NAME")]
    pub(crate) broker_name: Option<String>,
    /// Id of the broker under its name: 0, a master. There are no replicas here
    #[arg(long, value_name = "ID", default_value_t = 0)]
    pub(crate) broker_id: i64,
    /// Name of the cluster [default: DefaultCluster]
    #[arg(long, value_name = "NAME")]
    pub(crate) cluster: Option<String>,
    /// End every stored record with a check sum of itself, as Apache's brokers do with enabledAppendPropCRC: 20 bytes a message
    /// [default: false]
    #[arg(long, value_name = "BOOL", action = clap::ArgAction::Set)]
    pub(crate) record_crc: Option<bool>,
    /// Create a topic when the first message for it arrives [default: true]
    #[arg(long, value_name = "BOOL", action = clap::ArgAction::Set)]
    pub(crate) auto_create_topics: Option<bool>,
    /// Serve Prometheus metrics at http://127.0.0.1:PORT/metrics; 0 = any free port
    #[arg(long, value_name = "PORT", help_heading = "Metrics")]
    pub(crate) metrics_port: Option<u16>,
    /// Address that metrics are served on; there is no authentication
    #[arg(
        long,
        value_name = "ADDR",
        default_value = "127.0.0.1",
        help_heading = "Metrics"
    )]
    pub(crate) metrics_host: IpAddr,
    /// Most series of one metric; more are left out and counted
    #[arg(
        long,
        value_name = "N",
        default_value_t = 10_000,
        help_heading = "Metrics"
    )]
    pub(crate) metrics_max_series: usize,
    #[command(flatten)]
    pub(crate) limits: ServeLimits,
    /// Format of the ready line
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = ReportFormat::Text)]
    pub(crate) output: ReportFormat,
    #[command(flatten)]
    pub(crate) users: ServeAccess,
}

/// What `serve` takes on at once. Who exceeds a limit is told which one, in answers, the log and metrics.
#[derive(Debug, Args)]
#[expect(clippy::struct_field_names, reason = "the names of the options")]
#[command(next_help_heading = "Limits")]
pub(crate) struct ServeLimits {
    /// Connections to each port
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    pub(crate) max_connections: usize,
    /// Requests without an answer, waiting ones included, of all clients
    #[arg(long, value_name = "N", default_value_t = 200_000)]
    pub(crate) max_in_flight: usize,
    /// The same of one connection
    #[arg(long, value_name = "N", default_value_t = 65_536)]
    pub(crate) max_in_flight_of_connection: usize,
    /// Sends that wait for the log [default: 10000]
    #[arg(long, value_name = "N")]
    pub(crate) max_waiting_sends: Option<usize>,
    /// Bytes of them
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = units::size)]
    pub(crate) max_waiting_send_bytes: usize,
    /// Pulls that wait for a message, and as many pops
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    pub(crate) max_waiting_pulls: usize,
    /// Memory of the pulls, and of the pops, that wait
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = units::size)]
    pub(crate) max_waiting_pull_bytes: usize,
    /// Bytes of answers that wait for clients to read them
    #[arg(long, value_name = "SIZE", default_value = "256MiB", value_parser = units::size)]
    pub(crate) max_response_bytes: usize,
    /// Body of one message [default: 4MiB]
    #[arg(long, value_name = "SIZE", value_parser = units::size)]
    pub(crate) max_message_bytes: Option<usize>,
    /// One request
    #[arg(long, value_name = "SIZE", default_value = "16MiB", value_parser = units::size)]
    pub(crate) max_frame_bytes: usize,
}

/// What `serve` runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Role {
    /// A name server
    Namesrv,
    /// A broker, registered with the name servers of --namesrv
    Broker,
    /// Both
    All,
}

/// When the server acknowledges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Flush {
    /// Written to the file; the operating system brings it to disk
    Async,
    /// On disk
    Sync,
}
