//! Configuration of a server: plain structs with defaults, checked once, all faults reported together.

use std::{
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use rocketry_protocol::{acl::Credentials, frame::MAX_FRAME_BYTES};
use rocketry_remoting::{ConnectOptions, ListenerOptions, Load};
#[cfg(feature = "tls")]
use rocketry_remoting::{TlsConfig, TlsServerConfig};
use rocketry_store::{Retention, StoreOptions, TimerOptions};

use crate::{AccessOptions, Advertise, FileSizes, ServerError, names};

/// What a process serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Role {
    /// A name server and a broker that needs no registration with it.
    #[default]
    All,
    /// A name server alone, for brokers of other processes: ours and Apache's. Its data directory holds key-value configuration only.
    NameServer,
    /// A broker alone, registered with [`ServerConfig::name_servers`]: ours and Apache's.
    Broker,
}

impl Role {
    pub(crate) fn is_broker(self) -> bool {
        self != Self::NameServer
    }

    pub(crate) fn is_name_server(self) -> bool {
        self != Self::Broker
    }
}

/// Where a server keeps its data.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum DataDir {
    /// This directory, created if it does not exist. It keeps its content when the server stops.
    Path(PathBuf),
    /// A fresh temporary directory, removed when the [`Server`](crate::Server) is dropped.
    Temp,
}

/// When an acknowledged message is on disk. Java: `flushDiskType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FlushMode {
    /// Acknowledged once it is written to the file; the file is synced every [`ServerConfig::flush_interval`].
    /// A crash of the process loses nothing, a crash of the machine the last interval. Java: `ASYNC_FLUSH`.
    #[default]
    Async,
    /// Acknowledged once it is synced to disk; all sends that wait at one moment share one sync. Java: `SYNC_FLUSH`.
    Sync,
}

/// Configuration of a [`Server`](crate::Server).
///
/// ```
/// use rocketry_server::{DataDir, FlushMode, ServerConfig};
///
/// let mut config = ServerConfig::default();
/// config.data_dir = DataDir::Path("/var/lib/rocketry".into());
/// config.flush = FlushMode::Sync;
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent switches, each named after Java's"
)]
pub struct ServerConfig {
    /// Default: [`Role::All`].
    pub role: Role,
    /// Default: [`DataDir::Temp`].
    pub data_dir: DataDir,
    /// Address to listen on. Default: `127.0.0.1`. Java: `bindAddress`, `0.0.0.0`.
    pub host: IpAddr,
    /// Port of the name server; 0 = any free port. Default: 9876. Not used by [`Role::Broker`].
    pub namesrv_port: u16,
    /// Port of the broker; 0 = any free port. Default: 10911. Not used by [`Role::NameServer`].
    pub broker_port: u16,
    /// Whether the port below [`ServerConfig::broker_port`] by two serves the broker as well, but for pulls and pops: producers with
    /// `vipChannelEnabled` send to it. Default: true. Without effect when the broker's port is any free one, whose neighbour may not be
    /// free; when the port is taken, that is logged and the server goes without. Java: always, 10909.
    pub fast_port: bool,
    /// Address that clients are told to connect to. Default (`None`): clients of this process's name server are told the address that
    /// their own connection came to; everybody else, and the ids of messages, have the address that is listened on, or where that is
    /// every address (`0.0.0.0`), the one that leads out of this machine. Java: `brokerIP1`.
    pub advertise: Option<Advertise>,
    /// Name servers that run elsewhere, `host:port` each, with which the broker registers. Default: none. [`Role::Broker`] needs at
    /// least one. Java: `namesrvAddr`.
    pub name_servers: Vec<String>,
    /// Default: `DefaultCluster`. Java: `brokerClusterName`.
    pub cluster_name: String,
    /// Default: `broker-a`. Java: `brokerName`, the host name.
    pub broker_name: String,
    /// Default: [`FlushMode::Async`].
    pub flush: FlushMode,
    /// Largest time between two syncs of the commit log in [`FlushMode::Async`]. Default: 500 ms. Java: `flushIntervalCommitLog`.
    pub flush_interval: Duration,
    /// When old messages are removed, and below which free space no new ones are taken. Default: after 72 h, at 4 o'clock, or when the
    /// disk is nearly full. Java: `fileReservedTime` and others, each named at its field.
    pub retention: Retention,
    /// Whether messages are indexed, to be found by key. Default: true. Java: `messageIndexEnable`.
    pub index_messages: bool,
    /// Whether every stored record ends with a check sum of itself, the property `__CRC32#`, beside that of its body. Costs 20 bytes of
    /// each message's properties. Default: false. Java: `enabledAppendPropCRC`.
    pub record_crc: bool,
    /// Longest wait of a send for its sync in [`FlushMode::Sync`]; it is then answered `FLUSH_DISK_TIMEOUT`, which means that the
    /// message is stored. Default: 5 s. Java: `syncFlushTimeout`.
    pub sync_flush_timeout: Duration,
    /// Whether a send creates its topic. Default: true. Java: `autoCreateTopicEnable`.
    pub auto_create_topics: bool,
    /// Whether a consumer creates its group. Default: true. Java: `autoCreateSubscriptionGroup`.
    pub auto_create_groups: bool,
    /// Whether consumers may filter by SQL92 conditions on properties. Default: true. Java: `enablePropertyFilter`, false.
    pub enable_property_filter: bool,
    /// Queues of `TBW102`, the upper bound for a topic that a send creates. Default: 8. Java: `defaultTopicQueueNums`.
    pub default_topic_queues: i32,
    /// Lengths of the files of a new directory.
    pub files: FileSizes,
    /// Largest message body in bytes. Default: 4 MiB. Bounds: 1 to 16 MiB less 64 KiB. Java: `maxMessageSize`.
    pub max_message_bytes: usize,
    /// Age at which the producer of an undecided half message is asked. Default: 6 s. Java: `transactionTimeOut`.
    pub transaction_timeout: Duration,
    /// Time between two looks for undecided half messages. Default: 30 s. Java: `transactionCheckInterval`.
    pub transaction_check_interval: Duration,
    /// How often a producer is asked before a half message is moved to `TRANS_CHECK_MAX_TIME_TOPIC`. Default: 15.
    /// Java: `transactionCheckMax`.
    pub transaction_check_max: i32,
    /// Width of a slot of the timer: a timed message is delivered at the end of the slot that its time lies in. Default: 1 s. One of
    /// 100, 200, 500 and 1000 ms; must stay the same for a data directory. Java: `timerPrecisionMs`.
    pub timer_precision: Duration,
    /// Slots that a timed message waits at most before it is stored anew, so that its log file can go. Default: 172,800.
    /// Bounds: 6 to 604,800. Java: `timerRollWindowSlot`.
    pub timer_roll_window: u32,
    /// Longest time that a message may ask for. Default: 3 days. Java: `timerMaxDelaySec`.
    pub timer_max_delay: Duration,
    /// Whether timed messages can be taken back before their time. Default: true. Java: `recallMessageEnable`, false.
    pub recall_messages: bool,
    /// Most messages that may wait for the log at once; more are answered `SYSTEM_BUSY`. Default: 10,000.
    /// Java: `sendThreadPoolQueueCapacity`.
    pub max_waiting_sends: usize,
    /// Most body and property bytes that may wait for the log at once. Default: 64 MiB.
    pub max_waiting_send_bytes: usize,
    /// Most pulls that may wait for a message at once, and as many pops; more are answered at once. Default: 100,000.
    pub max_waiting_pulls: usize,
    /// Most bytes of requests that may wait for a message at once, pulls and pops each; more are answered at once. Default: 64 MiB.
    pub max_waiting_pull_bytes: usize,
    /// Most connections per listener; one more is answered `SYSTEM_BUSY` and closed. Default: 10,000.
    pub max_connections: usize,
    /// Most requests that may be unanswered at once, waiting ones included; more are answered `SYSTEM_BUSY`. Default: 200,000.
    pub max_in_flight: usize,
    /// The same for one connection. Default: 65,536. Twice as many stop the reading of the connection.
    pub max_in_flight_of_connection: usize,
    /// Most bytes of answers that may wait for clients to read them. Beyond it, requests with long answers are answered
    /// `SYSTEM_BUSY`, to clients that have not read theirs; beyond twice as many, to all. A client that reads nothing at all loses
    /// its connection after 30 s. Default: 256 MiB.
    pub max_response_bytes: usize,
    /// Largest frame that a client may send, in bytes; a larger one ends its connection. Default: 16 MiB, which is also the most.
    /// Java: `com.rocketmq.remoting.frameMaxLength`.
    pub max_frame_bytes: usize,
    /// Port of the Prometheus endpoint, `GET /metrics`; 0 = any free port. Default: none, nothing is served.
    /// Java: `metricsPromExporterPort`.
    pub metrics_port: Option<u16>,
    /// Address that the endpoint listens on. Default: `127.0.0.1`: it has no authentication. Java: `metricsPromExporterHost`.
    pub metrics_host: IpAddr,
    /// Most series of one metric: by topic, group or queue. More are left out, and counted in `rocketry_metrics_series_omitted`.
    /// Default: 10,000.
    pub metrics_max_series: usize,
    /// Secures the connections of clients, to the name server and to the broker; its mode says whether plain ones are served beside
    /// them. Default: none is secured. Java: `tls.server.mode`, permissive with a certificate made up at start.
    #[cfg(feature = "tls")]
    pub tls: Option<TlsServerConfig>,
    /// The user that registers with name servers that ask for users. Default: none. Java: `innerClientAuthenticationCredentials`.
    pub name_server_credentials: Option<Credentials>,
    /// Secures the connections to name servers that run elsewhere. Default: plain connections. Java: `tls.enable` of the broker.
    #[cfg(feature = "tls")]
    pub name_server_tls: Option<TlsConfig>,
    /// Lets users in only, each to what it may do, on both ports. Default: everybody may do everything.
    /// Java: `authenticationEnabled`, `authorizationEnabled`.
    pub access: Option<AccessOptions>,
    /// Whether a server without [`ServerConfig::access`] may listen elsewhere than on loopback, where everybody who reaches the machine
    /// can read, write and delete. Default: false. Java has no such check.
    pub allow_anonymous: bool,
    /// Whether routes carry the order configuration of their topic. Default: false. Java: `orderMessageEnable` of the name server.
    pub order_message_enable: bool,
}

impl Default for ServerConfig {
    fn default() -> Self {
        let store = StoreOptions::default();
        Self {
            role: Role::All,
            data_dir: DataDir::Temp,
            host: IpAddr::V4(Ipv4Addr::LOCALHOST),
            namesrv_port: 9876,
            broker_port: 10911,
            fast_port: true,
            advertise: None,
            name_servers: Vec::new(),
            cluster_name: "DefaultCluster".to_owned(),
            broker_name: "broker-a".to_owned(),
            flush: FlushMode::Async,
            flush_interval: Duration::from_millis(500),
            retention: Retention::default(),
            index_messages: store.index,
            record_crc: store.record_crc,
            sync_flush_timeout: Duration::from_secs(5),
            auto_create_topics: true,
            auto_create_groups: true,
            enable_property_filter: true,
            default_topic_queues: 8,
            files: FileSizes::default(),
            max_message_bytes: 4 * 1024 * 1024,
            transaction_timeout: Duration::from_secs(6),
            transaction_check_interval: Duration::from_secs(30),
            transaction_check_max: 15,
            timer_precision: Duration::from_secs(1),
            timer_roll_window: 172_800,
            timer_max_delay: Duration::from_hours(72),
            recall_messages: true,
            max_waiting_sends: 10_000,
            max_waiting_send_bytes: 64 * 1024 * 1024,
            max_waiting_pulls: 100_000,
            max_waiting_pull_bytes: 64 * 1024 * 1024,
            max_connections: 10_000,
            max_in_flight: 200_000,
            max_in_flight_of_connection: 65_536,
            max_response_bytes: 256 * 1024 * 1024,
            max_frame_bytes: MAX_FRAME_BYTES,
            metrics_port: None,
            metrics_host: IpAddr::V4(Ipv4Addr::LOCALHOST),
            metrics_max_series: 10_000,
            #[cfg(feature = "tls")]
            tls: None,
            name_server_credentials: None,
            #[cfg(feature = "tls")]
            name_server_tls: None,
            access: None,
            allow_anonymous: false,
            order_message_enable: false,
        }
    }
}

impl ServerConfig {
    /// A server for tests: free ports on loopback, a temporary directory.
    pub fn temp() -> Self {
        Self {
            namesrv_port: 0,
            broker_port: 0,
            ..Self::default()
        }
    }

    /// Checks all values, and reads the certificates and keys that they name.
    ///
    /// # Errors
    /// [`ServerError::Config`] with every fault found.
    pub fn check(&self) -> Result<(), ServerError> {
        self.listener_options().map(|_| ())
    }

    /// How name servers that run elsewhere are connected to.
    pub(crate) fn connect_options(&self) -> Result<ConnectOptions, ServerError> {
        #[cfg_attr(
            not(feature = "tls"),
            expect(unused_mut, reason = "only TLS changes something")
        )]
        let mut options = ConnectOptions::default();
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.name_server_tls {
            options.tls = Some(tls.build().map_err(|error| ServerError::Config {
                faults: tls_faults("name server tls", &error),
            })?);
        }
        Ok(options)
    }

    /// As [`ServerConfig::check`]; how the ports are served.
    pub(crate) fn listener_options(&self) -> Result<ListenerOptions, ServerError> {
        #[cfg_attr(
            not(feature = "tls"),
            expect(unused_mut, reason = "only TLS adds faults")
        )]
        let mut faults = self.faults();
        let mut options = ListenerOptions::default();
        options.max_connections = self.max_connections;
        options.full_hint = " (--max-connections)";
        let connection = &mut options.connection;
        connection.max_frame_bytes = self.max_frame_bytes;
        connection.max_unanswered = self.max_in_flight_of_connection.saturating_mul(2);
        connection.load = Some(Arc::new(Load::default()));
        #[cfg(feature = "tls")]
        match self.tls.as_ref().map(TlsServerConfig::build).transpose() {
            Ok(acceptor) => options.tls = acceptor,
            Err(error) => faults.extend(tls_faults("tls", &error)),
        }
        if let Err(ServerError::Config { faults: more }) = self.connect_options() {
            faults.extend(more);
        }
        if faults.is_empty() {
            Ok(options)
        } else {
            Err(ServerError::Config { faults })
        }
    }

    pub(crate) fn store_options(&self) -> StoreOptions {
        StoreOptions {
            log_file_bytes: self.files.log_bytes,
            queue_file_bytes: self.files.queue_bytes,
            batch_queue_file_bytes: self.files.batch_queue_bytes,
            index: self.index_messages,
            index_slots: self.files.index_slots,
            index_units: self.files.index_units,
            record_crc: self.record_crc,
            flush: match self.flush {
                FlushMode::Async => rocketry_store::FlushMode::Async,
                FlushMode::Sync => rocketry_store::FlushMode::Sync,
            },
            max_message_bytes: self.max_message_bytes,
            ..StoreOptions::default()
        }
    }

    pub(crate) fn timer_options(&self) -> TimerOptions {
        let defaults = TimerOptions::default();
        TimerOptions {
            precision_ms: i64::try_from(self.timer_precision.as_millis())
                .unwrap_or(defaults.precision_ms),
            roll_window_slots: self.timer_roll_window.into(),
            log_file_bytes: self.files.timer_log_bytes,
        }
    }

    /// Whether a stranger is turned away, or was let in on purpose.
    fn asks_who_it_is(&self) -> bool {
        #[cfg(feature = "tls")]
        let by_certificate = self
            .tls
            .as_ref()
            .is_some_and(TlsServerConfig::requires_client_certificates);
        #[cfg(not(feature = "tls"))]
        let by_certificate = false;
        self.allow_anonymous || self.access.is_some() || by_certificate
    }

    fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for (field, name) in [
            ("broker_name", &self.broker_name),
            ("cluster_name", &self.cluster_name),
        ] {
            if let Err(reason) = names::check_topic(name) {
                faults.push(format!("{field} {name:?}: {reason}"));
            }
        }
        if self.name_servers.iter().any(|a| !has_port(a)) {
            faults.push(format!(
                "name_servers {:?}: each address must be host:port",
                self.name_servers
            ));
        }
        if self.role == Role::Broker && self.name_servers.is_empty() {
            faults.push(
                "name_servers: a broker alone needs one to register with, or clients do not find it"
                    .to_owned(),
            );
        }
        if self.role == Role::NameServer && !self.name_servers.is_empty() {
            faults.push(format!(
                "name_servers {:?}: a name server alone registers with nobody; leave them to the brokers",
                self.name_servers
            ));
        }
        if !self.host.is_loopback() && !self.asks_who_it_is() {
            faults.push(format!(
                "host {}: everybody who reaches this address could read, write and delete. Ask for users with `access` \
                 (`rocketry serve --auth`), or say that this is meant with `allow_anonymous` (`--allow-anonymous`)",
                self.host
            ));
        }
        faults.extend(self.access.iter().flat_map(AccessOptions::faults));
        if !(1..=1024).contains(&self.default_topic_queues) {
            faults.push(format!(
                "default_topic_queues {}: must be 1 to 1024",
                self.default_topic_queues
            ));
        }
        if self.max_message_bytes == 0 || self.max_message_bytes > MAX_MESSAGE_BYTES {
            faults.push(format!(
                "max_message_bytes {}: must be 1 to {MAX_MESSAGE_BYTES}",
                self.max_message_bytes
            ));
        }
        // the body's bounds are the server's own, above
        let store = StoreOptions {
            max_message_bytes: StoreOptions::default().max_message_bytes,
            ..self.store_options()
        };
        let files = store.faults().into_iter();
        faults.extend(files.map(|fault| format!("files: {fault}")));
        let retention = self.retention.faults().into_iter();
        faults.extend(retention.map(|fault| format!("retention: {fault}")));
        if self.flush_interval.is_zero() {
            faults.push("flush_interval: must not be zero; use FlushMode::Sync".to_owned());
        }
        if self.transaction_check_interval.is_zero() || self.transaction_check_max < 1 {
            faults.push(
                "transaction_check_interval must not be zero, transaction_check_max must be at least 1"
                    .to_owned(),
            );
        }
        if ![100, 200, 500, 1000].contains(&self.timer_precision.as_millis()) {
            faults.push(format!(
                "timer_precision {:?}: must be 100, 200, 500 or 1000 ms",
                self.timer_precision
            ));
        }
        if !(6..=MAX_ROLL_WINDOW).contains(&self.timer_roll_window) {
            faults.push(format!(
                "timer_roll_window {}: must be 6 to {MAX_ROLL_WINDOW} slots",
                self.timer_roll_window
            ));
        }
        if !(self.max_message_bytes + FRAME_HEADROOM..=MAX_FRAME_BYTES)
            .contains(&self.max_frame_bytes)
        {
            faults.push(format!(
                "max_frame_bytes {}: must be at least max_message_bytes and {FRAME_HEADROOM} more, and at most {MAX_FRAME_BYTES}",
                self.max_frame_bytes
            ));
        }
        if self.max_in_flight == 0
            || self.max_in_flight_of_connection == 0
            || self.max_response_bytes == 0
        {
            faults.push(
                "max_in_flight, max_in_flight_of_connection and max_response_bytes must leave room for one request"
                    .to_owned(),
            );
        }
        if self.max_waiting_sends == 0
            || self.max_waiting_send_bytes < self.max_message_bytes
            || self.max_connections == 0
        {
            faults.push(
                "max_waiting_sends, max_waiting_send_bytes and max_connections must leave room for one message"
                    .to_owned(),
            );
        }
        faults
    }
}

#[cfg(feature = "tls")]
fn tls_faults(of: &str, error: &rocketry_remoting::TlsConfigError) -> Vec<String> {
    let faults = error.faults().iter();
    faults.map(|fault| format!("{of}: {fault}")).collect()
}

/// A frame is at most 16 MiB, and a header needs room beside the body.
const MAX_MESSAGE_BYTES: usize = MAX_FRAME_BYTES - FRAME_HEADROOM;
const FRAME_HEADROOM: usize = 64 * 1024;

/// Half of the wheel, so that slots of two rounds do not meet.
const MAX_ROLL_WINDOW: u32 = 604_800;

fn has_port(address: &str) -> bool {
    address
        .rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok_and(|p| p != 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_hold_their_own_rules() {
        ServerConfig::default().check().unwrap();
        ServerConfig::temp().check().unwrap();
    }

    #[test]
    fn every_fault_is_reported_at_once() {
        let config = ServerConfig {
            broker_name: "a b".to_owned(),
            name_servers: vec!["localhost".to_owned()],
            role: Role::NameServer,
            default_topic_queues: 0,
            max_message_bytes: 0,
            host: [192, 0, 2, 1].into(),
            flush_interval: Duration::ZERO,
            timer_precision: Duration::from_millis(300),
            timer_roll_window: 0,
            max_connections: 0,
            files: FileSizes {
                log_bytes: 1,
                ..FileSizes::default()
            },
            retention: Retention {
                max_files: 0,
                hours: vec![4, 24],
                ..Retention::default()
            },
            ..ServerConfig::default()
        };
        let ServerError::Config { faults } = config.check().unwrap_err() else {
            panic!("not a configuration error");
        };
        assert_eq!(faults.len(), 13, "{faults:#?}");
        for fault in [
            "files: log_file_bytes 1 is not within",
            "retention: max_files 0:",
            "retention: hours [4, 24]: 24 is no hour",
        ] {
            assert!(
                faults.iter().any(|found| found.starts_with(fault)),
                "{fault} is not among {faults:#?}"
            );
        }
    }
}
