//! Options of the client and the producer: plain values with defaults, checked once.

use std::{net::IpAddr, time::Duration};

use rocketry_protocol::{Language, ResponseCode, Topic, acl::Credentials, compress::Compression};

use rocketry_remoting::ConnectOptions;

use crate::{
    error::{Error, ErrorKind},
    producer::{AutoBatch, Detector, LatencyPolicy, TraceConfig},
};

/// Options of a [`crate::Client`]: `ClientConfig { heartbeat: Duration::from_secs(10), ..Default::default() }`.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// Last part of the client id. Default: process id and a number that no other client of the process has.
    ///
    /// Java: `ClientConfig.instanceName`, rewritten by `changeInstanceNameToPID`.
    pub instance_name: Option<String>,
    /// First part of the client id and of message ids. Default: the local address from which the first
    /// name server, or the first proxy, is reached; with a dialer the loopback address.
    ///
    /// Java: `ClientConfig.clientIP`, which takes the first suitable interface instead.
    pub client_ip: Option<IpAddr>,
    /// Appended to the client id as `@name`. Java: `ClientConfig.unitName`.
    pub unit_name: Option<String>,
    /// Time between two route refreshes of every known topic. Default 30 s, bounds 10 ms ..= 1 h.
    ///
    /// Java: `ClientConfig.pollNameServerInterval`.
    pub route_refresh: Duration,
    /// Time between two heartbeats to every known master. Default 30 s, bounds 10 ms ..= 1 h; brokers forget a client after 120 s.
    ///
    /// Java: `ClientConfig.heartbeatBrokerInterval`.
    pub heartbeat: Duration,
    /// Time between two lookups of the name servers, where they are looked up. Default 2 min, bounds 10 ms ..= 1 day.
    ///
    /// Java: fixed in `MQClientInstance.startScheduledTask`.
    pub lookup_interval: Duration,
    /// Limit of one route query, heartbeat or unregistration. Default 3 s, bounds 1 ms ..= 1 h.
    ///
    /// Java: `ClientConfig.mqClientApiTimeout`.
    pub api_timeout: Duration,
    /// Limit of one administrative call and of the offset queries. Default 6 s, bounds 1 ms ..= 1 h.
    ///
    /// Java: `MQAdminImpl.timeoutMillis`.
    pub admin_timeout: Duration,
    /// Limit of making one connection. Default 3 s, bounds 1 ms ..= 1 h.
    ///
    /// Java: `com.rocketmq.remoting.client.connect.timeout`.
    pub connect_timeout: Duration,
    /// A connection without a byte in either direction for this long is closed; the next request opens another. Default 2 min, bounds
    /// 10 ms ..= 1 day.
    ///
    /// Java: `com.rocketmq.remoting.client.channel.maxIdleTimeSeconds`.
    pub idle_timeout: Duration,
    /// Whether a connection is closed when a request times out and nothing at all arrived since it was sent: the peer, or the way to it,
    /// is gone. Default true.
    ///
    /// Java: `com.rocketmq.remoting.client.closeSocketIfTimeout`, which also closes connections that are alive.
    pub close_silent_connections: bool,
    /// Requests of one connection that may await their answers at once; further ones wait within their time. Default 65,535, bounds 1
    /// ..= 1,000,000.
    ///
    /// Java: `com.rocketmq.remoting.clientAsyncSemaphoreValue`, there for all connections together.
    pub max_pending_requests: usize,
    /// One-way requests of one connection that may wait to be written at once; further ones wait within their time. Default 65,535,
    /// bounds 1 ..= 1,000,000.
    ///
    /// Java: `com.rocketmq.remoting.clientOnewaySemaphoreValue`, there for all connections together.
    pub max_pending_oneways: usize,
    /// Namespace of the older kind, put in front of topics and groups on the wire: `<namespace>%<name>`. The application's names stay as
    /// they are, in results and received messages as well; errors name what brokers know. Default none.
    ///
    /// Java: `ClientConfig.namespace`.
    pub namespace: Option<String>,
    /// Namespace of the newer kind: sent along with every request, names stay as they are. Default none.
    ///
    /// Java: `ClientConfig.namespaceV2`.
    pub namespace_v2: Option<String>,
    /// Signs every request. Default none.
    ///
    /// Java: `AclClientRPCHook`.
    pub credentials: Option<Credentials>,
    /// Zone that this client runs in, and how zones are to be treated; name servers and proxies use them to pick brokers. Default none.
    ///
    /// Java: `ROCKETMQ_ZONE`, `ROCKETMQ_ZONE_MODE`.
    pub zone_name: Option<String>,
    /// See [`ClientConfig::zone_name`].
    pub zone_mode: Option<String>,
    /// Marks requests and the client id as those of a streaming client. Default false.
    ///
    /// Java: `ClientConfig.enableStreamRequestType`.
    pub stream_requests: bool,
    /// The language that requests name. [`Language::OTHER`] serves brokers before 4.9.4, which do not know `RUST`.
    pub language: Language,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            instance_name: None,
            client_ip: None,
            unit_name: None,
            route_refresh: Duration::from_secs(30),
            heartbeat: Duration::from_secs(30),
            lookup_interval: Duration::from_mins(2),
            api_timeout: Duration::from_secs(3),
            admin_timeout: Duration::from_secs(6),
            connect_timeout: Duration::from_secs(3),
            idle_timeout: Duration::from_mins(2),
            close_silent_connections: true,
            max_pending_requests: 65_535,
            max_pending_oneways: 65_535,
            namespace: None,
            namespace_v2: None,
            credentials: None,
            zone_name: None,
            zone_mode: None,
            stream_requests: false,
            language: Language::RUST,
        }
    }
}

impl ClientConfig {
    /// What concerns connections.
    pub(crate) fn connect_options(&self) -> ConnectOptions {
        let mut options = ConnectOptions::default();
        options.connect_timeout = self.connect_timeout;
        options.connection.idle_timeout = Some(self.idle_timeout);
        options.connection.close_when_silent = self.close_silent_connections;
        options.connection.max_calls = self.max_pending_requests;
        options.connection.max_oneways = self.max_pending_oneways;
        options
    }

    pub(crate) fn check(&self, faults: &mut Faults) {
        let hour = Duration::from_hours(1);
        let ms = Duration::from_millis;
        faults.duration("route_refresh", self.route_refresh, ms(10), hour);
        faults.duration("heartbeat", self.heartbeat, ms(10), hour);
        let day = Duration::from_hours(24);
        faults.duration("lookup_interval", self.lookup_interval, ms(10), day);
        faults.duration("api_timeout", self.api_timeout, ms(1), hour);
        faults.duration("admin_timeout", self.admin_timeout, ms(1), hour);
        faults.duration("connect_timeout", self.connect_timeout, ms(1), hour);
        faults.duration("idle_timeout", self.idle_timeout, ms(10), day);
        for (name, value) in [
            ("max_pending_requests", self.max_pending_requests),
            ("max_pending_oneways", self.max_pending_oneways),
        ] {
            faults.number(name, value, 1, 1_000_000);
        }
        if let Some(name) = &self.instance_name {
            faults.client_id_part("instance_name", name);
        }
        if let Some(name) = &self.unit_name {
            faults.client_id_part("unit_name", name);
        }
        for (name, value) in [
            ("namespace", &self.namespace),
            ("namespace_v2", &self.namespace_v2),
            ("zone_name", &self.zone_name),
            ("zone_mode", &self.zone_mode),
        ] {
            if let Some(value) = value {
                faults.header_value(name, value);
            }
        }
        if let Some(namespace) = &self.namespace
            && (Topic::new(namespace).is_err() || namespace.contains('%'))
        {
            faults.add(format!(
                "namespace is {namespace:?}, it becomes part of topics: letters, digits, '_', '-' and '|' are allowed"
            ));
        }
        if let Some(credentials) = &self.credentials {
            for (name, value) in [
                ("access_key", &credentials.access_key),
                ("secret_key", &credentials.secret_key),
            ] {
                if value.trim().is_empty() {
                    faults.add(format!("{name} of the credentials is blank"));
                }
            }
        }
    }
}

/// How the time of one synchronous send is shared among its attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum AttemptBudget {
    /// An attempt may use the remaining time divided by the attempts left, at least 300 ms, as long as another broker can be
    /// tried: one silent broker does not eat the whole budget. A broker slower than its share is left, and the
    /// message may then be stored twice (both copies carry the same message id).
    #[default]
    Divided,
    /// An attempt may use all that remains, as in Java: one silent broker fails the send.
    JavaExact,
}

/// Options of a [`crate::Producer`]: `ProducerConfig { retries: 5, ..Default::default() }`.
#[derive(Debug, Clone)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent switches, each with Java's name"
)]
pub struct ProducerConfig {
    /// Time budget of one send: route, permits, connections and every attempt. Default 3 s, bounds 1 ms ..= 1 h.
    ///
    /// Java: `DefaultMQProducer.sendMsgTimeout`.
    pub timeout: Duration,
    /// How [`ProducerConfig::timeout`] is shared among attempts.
    pub attempt_budget: AttemptBudget,
    /// Cap of one attempt while another may follow. Default none.
    ///
    /// Java: `DefaultMQProducer.sendMsgMaxTimeoutPerRequest`.
    pub attempt_timeout: Option<Duration>,
    /// Further attempts of a synchronous send. Default 2, at most 100. Sends to a chosen queue are tried once.
    ///
    /// Java: `DefaultMQProducer.retryTimesWhenSendFailed`.
    pub retries: u32,
    /// Further attempts of an asynchronous send after transport failures. Default 2, at most 100.
    ///
    /// Java: `DefaultMQProducer.retryTimesWhenSendAsyncFailed`.
    pub async_retries: u32,
    /// Answers after which a synchronous send tries another broker. Default 1, 2, 14, 16, 17, 204, 205, 1500.
    ///
    /// Java: `DefaultMQProducer.retryResponseCodes`.
    pub retry_codes: Vec<ResponseCode>,
    /// Whether a synchronous send tries another broker when the message was stored without the requested durability. Default false.
    ///
    /// Java: `DefaultMQProducer.retryAnotherBrokerWhenNotStoreOK`.
    pub retry_not_durable: bool,
    /// Whether brokers that did not answer (no connection, a lost one, silence) are avoided while another can take the message; they are
    /// asked in the background until they answer again. Default true. Java has nothing like it.
    pub avoid_silent_brokers: bool,
    /// Largest uncompressed body, and largest encoded batch, in bytes. Default 4 MiB, at most 16 MiB - 64 KiB. Brokers have a limit of their own.
    ///
    /// Java: `DefaultMQProducer.maxMessageSize`.
    pub max_message_bytes: usize,
    /// Type of compression; `None` sends every body plain. Default zlib, which every client reads.
    ///
    /// Java: `DefaultMQProducer.compressType`.
    pub compression: Option<Compression>,
    /// Bodies of at least this many bytes are compressed. Default 4096. A body that does not shrink is sent plain.
    ///
    /// Java: `DefaultMQProducer.compressMsgBodyOverHowmuch`.
    pub compress_from_bytes: usize,
    /// Level of zlib and Zstandard, 1 ..= 9. Default 5.
    ///
    /// Java: `DefaultMQProducer.compressLevel`.
    pub compress_level: i32,
    /// The topic whose settings a broker copies when it creates a topic. Default `TBW102`.
    ///
    /// Java: `DefaultMQProducer.createTopicKey`.
    pub create_topic_key: String,
    /// Largest number of queues of a topic that a broker creates on the first message. Default 4, bounds 1 ..= 65535.
    ///
    /// Java: `DefaultMQProducer.defaultTopicQueueNums`.
    pub topic_queues: i32,
    /// Whether requests use the short header names. Default true; false is for brokers before 3.2.6.
    ///
    /// Java: `org.apache.rocketmq.client.sendSmartMsg`.
    pub short_headers: bool,
    /// Flag of unit deployments, carried in the header. Java: `ClientConfig.unitMode`.
    pub unit_mode: bool,
    /// Whether sends go to the broker's second port, two below the one it registered. Default false. Heartbeats, the end of
    /// transactions and administrative calls use the first port.
    ///
    /// Java: `ClientConfig.vipChannelEnabled`, there for administrative calls as well.
    pub vip_channel: bool,
    /// Most asynchronous sends in flight; further ones wait. Default 1024, bounds 1 ..= 1,000,000.
    ///
    /// Java: `DefaultMQProducer.backPressureForAsyncSendNum`, off by default there.
    pub in_flight_messages: usize,
    /// Most body bytes of asynchronous sends in flight; further ones wait. Default 100 MiB, bounds 1 MiB ..= 512 MiB - 1.
    ///
    /// Java: `DefaultMQProducer.backPressureForAsyncSendSize`, off by default there.
    pub in_flight_bytes: usize,
    /// Most requests that wait for replies; further ones wait for their turn. Default 1024, bounds 1 ..= 1,000,000. Java has no bound.
    pub in_flight_requests: usize,
    /// Whether brokers are avoided for a time after slow or failed attempts. Default false.
    ///
    /// Java: `DefaultMQProducer.sendLatencyFaultEnable`.
    pub latency_fault_tolerance: bool,
    /// For how long, by how slow they were.
    ///
    /// Java: `latencyMax`, `notAvailableDuration`.
    pub latency_policy: LatencyPolicy,
    /// Asks brokers that could not be reached until they answer; needs [`ProducerConfig::latency_fault_tolerance`]. Default none.
    ///
    /// Java: `DefaultMQProducer.startDetectorEnable`.
    pub detector: Option<Detector>,
    /// Checks of transactions that run at a time. Default 1, bounds 1 ..= 1000.
    ///
    /// Java: `TransactionMQProducer.checkThreadPoolMaxSize`.
    pub transaction_checks: usize,
    /// Most checks of transactions that wait; further ones are left to the broker, which asks again. Default 2000, bounds
    /// 1 ..= 1,000,000. The messages that wait have 64 MiB at most.
    ///
    /// Java: `TransactionMQProducer.checkRequestHoldMax`.
    pub transaction_check_queue: usize,
    /// Gathers single sends to batches; costs each of them some time. Default none.
    ///
    /// Java: `DefaultMQProducer.autoBatch`.
    pub auto_batch: Option<AutoBatch>,
    /// Message trace in Java's format. Default none.
    ///
    /// Java: `DefaultMQProducer.enableMsgTrace`.
    pub trace: Option<TraceConfig>,
    /// Topics whose routes are fetched before the producer is handed out. Default none.
    ///
    /// Java: `DefaultMQProducer.topics`.
    pub topics: Vec<String>,
}

impl Default for ProducerConfig {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(3),
            attempt_budget: AttemptBudget::Divided,
            attempt_timeout: None,
            retries: 2,
            async_retries: 2,
            retry_codes: [1, 2, 14, 16, 17, 204, 205, 1500]
                .map(ResponseCode)
                .to_vec(),
            retry_not_durable: false,
            avoid_silent_brokers: true,
            max_message_bytes: 4 * 1024 * 1024,
            compression: Some(Compression::Zlib),
            compress_from_bytes: 4096,
            compress_level: 5,
            create_topic_key: "TBW102".to_owned(),
            topic_queues: 4,
            short_headers: true,
            unit_mode: false,
            vip_channel: false,
            in_flight_messages: 1024,
            in_flight_bytes: 100 * 1024 * 1024,
            in_flight_requests: 1024,
            latency_fault_tolerance: false,
            latency_policy: LatencyPolicy::default(),
            detector: None,
            transaction_checks: 1,
            transaction_check_queue: 2000,
            auto_batch: None,
            trace: None,
            topics: Vec::new(),
        }
    }
}

impl ProducerConfig {
    /// The timing of Java's client: an attempt may use all the time that is left, and a broker that does not answer is tried again as
    /// if nothing had happened.
    pub fn java_exact() -> Self {
        Self {
            attempt_budget: AttemptBudget::JavaExact,
            avoid_silent_brokers: false,
            ..Self::default()
        }
    }

    pub(crate) fn check(&self, faults: &mut Faults) {
        let hour = Duration::from_hours(1);
        let ms = Duration::from_millis(1);
        faults.duration("timeout", self.timeout, ms, hour);
        if let Some(cap) = self.attempt_timeout {
            faults.duration("attempt_timeout", cap, ms, hour);
        }
        faults.number("retries", self.retries, 0, 100);
        faults.number("async_retries", self.async_retries, 0, 100);
        faults.number(
            "max_message_bytes",
            self.max_message_bytes,
            1,
            16 * 1024 * 1024 - 64 * 1024,
        );
        faults.number("compress_level", self.compress_level, 1, 9);
        faults.number("topic_queues", self.topic_queues, 1, 65535);
        faults.number("in_flight_requests", self.in_flight_requests, 1, 1_000_000);
        faults.number("in_flight_messages", self.in_flight_messages, 1, 1_000_000);
        // the semaphore's permits are 32-bit
        faults.number(
            "in_flight_bytes",
            self.in_flight_bytes,
            1024 * 1024,
            u32::MAX as usize >> 3,
        );
        faults.number("transaction_checks", self.transaction_checks, 1, 1000);
        faults.number(
            "transaction_check_queue",
            self.transaction_check_queue,
            1,
            1_000_000,
        );
        if let Err(error) = Topic::new(&self.create_topic_key) {
            faults.add(format!("create_topic_key: {error}"));
        }
        if let Some(auto_batch) = &self.auto_batch {
            faults.duration(
                "auto_batch.max_delay",
                auto_batch.max_delay,
                ms,
                Duration::from_secs(30),
            );
            faults.number(
                "auto_batch.max_bytes",
                auto_batch.max_bytes,
                1,
                2 * 1024 * 1024,
            );
            // the semaphore's permits are 32-bit
            faults.number(
                "auto_batch.held_bytes",
                auto_batch.held_bytes,
                1,
                u32::MAX as usize >> 3,
            );
        }
        if let Some(trace) = &self.trace {
            trace.check(faults);
        }
        if let Some(detector) = &self.detector {
            faults.duration("detector.interval", detector.interval, ms, hour);
            faults.duration("detector.timeout", detector.timeout, ms, hour);
            if !self.latency_fault_tolerance {
                faults.add("detector is set, but latency_fault_tolerance is off".to_owned());
            }
        }
        if let Err(fault) = self.latency_policy.check() {
            faults.add(fault);
        }
    }
}

/// Collects everything that is wrong, so that one run shows all of it.
#[derive(Default)]
pub(crate) struct Faults(Vec<String>);

impl Faults {
    pub(crate) fn add(&mut self, fault: String) {
        self.0.push(fault);
    }
    pub(crate) fn duration(&mut self, name: &str, value: Duration, min: Duration, max: Duration) {
        if value < min || value > max {
            self.add(format!(
                "{name} is {value:?}, allowed are {min:?} to {max:?}"
            ));
        }
    }
    pub(crate) fn number<N: PartialOrd + std::fmt::Display>(
        &mut self,
        name: &str,
        value: N,
        min: N,
        max: N,
    ) {
        if value < min || value > max {
            self.add(format!("{name} is {value}, allowed are {min} to {max}"));
        }
    }
    fn client_id_part(&mut self, name: &str, value: &str) {
        if value.trim().is_empty() || value.contains('@') || value.chars().any(char::is_control) {
            self.add(format!(
                "{name} is {value:?}, it must not be blank nor contain '@' or control characters"
            ));
        }
    }
    /// Signatures and the JSON header cover any text, but a blank one means nothing, and one with control characters is an accident.
    fn header_value(&mut self, name: &str, value: &str) {
        if value.trim().is_empty() || value.chars().any(char::is_control) {
            self.add(format!(
                "{name} is {value:?}, it must not be blank nor contain control characters"
            ));
        }
    }
    pub(crate) fn finish(self, action: &'static str) -> Result<(), Error> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(Error::new(
                ErrorKind::InvalidArgument,
                action,
                self.0.join("; "),
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Java's defaults (`ClientConfig`, `DefaultMQProducer` of 5.5.0), so that a change of one is a decision.
    #[test]
    fn defaults_are_javas() {
        let client = ClientConfig::default();
        assert_eq!(client.route_refresh, Duration::from_secs(30));
        assert_eq!(client.heartbeat, Duration::from_secs(30));
        assert_eq!(client.api_timeout, Duration::from_secs(3));
        assert_eq!(client.connect_timeout, Duration::from_secs(3));
        assert_eq!(client.idle_timeout, Duration::from_mins(2));
        assert_eq!(client.max_pending_requests, 65_535);
        assert_eq!(client.max_pending_oneways, 65_535);
        assert!(client.close_silent_connections);
        let producer = ProducerConfig::default();
        assert_eq!(producer.timeout, Duration::from_secs(3));
        assert_eq!(producer.retries, 2);
        assert_eq!(producer.async_retries, 2);
        assert_eq!(
            producer.retry_codes.iter().map(|c| c.0).collect::<Vec<_>>(),
            [1, 2, 14, 16, 17, 204, 205, 1500]
        );
        assert_eq!(producer.max_message_bytes, 4_194_304);
        assert_eq!(producer.compress_from_bytes, 4096);
        assert_eq!(producer.compress_level, 5);
        assert_eq!(producer.compression, Some(Compression::Zlib));
        assert_eq!(producer.create_topic_key, "TBW102");
        assert_eq!(producer.topic_queues, 4);
        assert_eq!(producer.in_flight_messages, 1024);
        assert_eq!(producer.in_flight_bytes, 104_857_600);
        assert!(!producer.retry_not_durable && !producer.latency_fault_tolerance);
        assert!(producer.short_headers);
        assert_eq!(producer.transaction_checks, 1);
        assert_eq!(producer.transaction_check_queue, 2000);
        let mut faults = Faults::default();
        client.check(&mut faults);
        producer.check(&mut faults);
        assert!(faults.finish("test").is_ok());
    }

    #[test]
    fn every_fault_is_reported_at_once() {
        let producer = ProducerConfig {
            timeout: Duration::ZERO,
            retries: 101,
            topic_queues: 0,
            create_topic_key: "a b".to_owned(),
            ..ProducerConfig::default()
        };
        let mut faults = Faults::default();
        producer.check(&mut faults);
        let text = faults.finish("test").unwrap_err().to_string();
        for name in [
            "timeout is 0ns",
            "retries is 101",
            "topic_queues is 0",
            "create_topic_key",
        ] {
            assert!(text.contains(name), "{name} missing in {text}");
        }
        let client = ClientConfig {
            instance_name: Some("a@b".to_owned()),
            ..ClientConfig::default()
        };
        let mut faults = Faults::default();
        client.check(&mut faults);
        assert_eq!(
            faults.finish("test").unwrap_err().kind(),
            ErrorKind::InvalidArgument
        );
    }
}
