//! Options out of their bounds and addresses that are none: refused before anything is sent, and all of them at once.

use std::time::Duration;

use rocketry::{
    AutoBatch, Client, ClientConfig, Credentials, Detector, Error, ErrorKind, LatencyPolicy,
    NameServers, ProducerConfig, TraceConfig,
};

use crate::support::*;

type Wrong<C> = (&'static str, fn(&mut C));

const TOO_LONG: Duration = Duration::from_hours(10_000);
const NOTHING: Duration = Duration::ZERO;

fn text(of: &str) -> String {
    of.to_owned()
}

/// A name that the fault holds, and a value just outside of the bounds.
const CLIENT: &[Wrong<ClientConfig>] = &[
    ("instance_name", |c| c.instance_name = Some(text(""))),
    ("instance_name", |c| c.instance_name = Some(text("a@b"))),
    ("unit_name", |c| c.unit_name = Some(text("\n"))),
    ("route_refresh", |c| c.route_refresh = ms(9)),
    ("route_refresh", |c| c.route_refresh = TOO_LONG),
    ("heartbeat", |c| c.heartbeat = ms(9)),
    ("heartbeat", |c| c.heartbeat = TOO_LONG),
    ("lookup_interval", |c| c.lookup_interval = ms(9)),
    ("lookup_interval", |c| c.lookup_interval = TOO_LONG),
    ("api_timeout", |c| c.api_timeout = NOTHING),
    ("api_timeout", |c| c.api_timeout = TOO_LONG),
    ("admin_timeout", |c| c.admin_timeout = NOTHING),
    ("admin_timeout", |c| c.admin_timeout = TOO_LONG),
    ("connect_timeout", |c| c.connect_timeout = NOTHING),
    ("connect_timeout", |c| c.connect_timeout = TOO_LONG),
    ("idle_timeout", |c| c.idle_timeout = ms(9)),
    ("idle_timeout", |c| c.idle_timeout = TOO_LONG),
    ("max_pending_requests", |c| c.max_pending_requests = 0),
    ("max_pending_requests", |c| {
        c.max_pending_requests = 1_000_001;
    }),
    ("max_pending_oneways", |c| c.max_pending_oneways = 0),
    ("max_pending_oneways", |c| c.max_pending_oneways = 1_000_001),
    ("namespace is", |c| c.namespace = Some(text("a%b"))),
    ("namespace_v2", |c| c.namespace_v2 = Some(text(" "))),
    ("zone_name", |c| c.zone_name = Some(text(""))),
    ("zone_mode", |c| c.zone_mode = Some(text("a\tb"))),
    ("access_key", |c| {
        c.credentials = Some(credentials(" ", "x"));
    }),
    ("secret_key", |c| c.credentials = Some(credentials("x", ""))),
];

fn credentials(access_key: &str, secret_key: &str) -> Credentials {
    Credentials {
        access_key: access_key.to_owned(),
        secret_key: secret_key.to_owned(),
        security_token: None,
    }
}

const PRODUCER: &[Wrong<ProducerConfig>] = &[
    ("timeout", |c| c.timeout = NOTHING),
    ("timeout", |c| c.timeout = TOO_LONG),
    ("attempt_timeout", |c| c.attempt_timeout = Some(NOTHING)),
    ("attempt_timeout", |c| c.attempt_timeout = Some(TOO_LONG)),
    ("retries", |c| c.retries = 101),
    ("async_retries", |c| c.async_retries = 101),
    ("max_message_bytes", |c| c.max_message_bytes = 0),
    ("max_message_bytes", |c| c.max_message_bytes = 16 << 20),
    ("compress_level", |c| c.compress_level = 0),
    ("compress_level", |c| c.compress_level = 10),
    ("create_topic_key", |c| c.create_topic_key = String::new()),
    ("topic_queues", |c| c.topic_queues = 0),
    ("topic_queues", |c| c.topic_queues = 65_536),
    ("in_flight_messages", |c| c.in_flight_messages = 0),
    ("in_flight_messages", |c| c.in_flight_messages = 1_000_001),
    ("in_flight_bytes", |c| c.in_flight_bytes = (1 << 20) - 1),
    ("in_flight_bytes", |c| c.in_flight_bytes = usize::MAX),
    ("in_flight_requests", |c| c.in_flight_requests = 0),
    ("in_flight_requests", |c| c.in_flight_requests = 1_000_001),
    ("transaction_checks", |c| c.transaction_checks = 0),
    ("transaction_checks", |c| c.transaction_checks = 1001),
    ("transaction_check_queue", |c| c.transaction_check_queue = 0),
    ("transaction_check_queue", |c| {
        c.transaction_check_queue = 1_000_001;
    }),
    ("detector.interval", |c| detector(c).interval = NOTHING),
    ("detector.timeout", |c| detector(c).timeout = TOO_LONG),
    ("auto_batch.max_delay", |c| {
        auto_batch(c).max_delay = NOTHING;
    }),
    ("auto_batch.max_bytes", |c| {
        auto_batch(c).max_bytes = 2_097_153;
    }),
    ("auto_batch.held_bytes", |c| auto_batch(c).held_bytes = 0),
    ("trace.topic", |c| "a b".clone_into(&mut trace(c).topic)),
    ("trace.batch", |c| trace(c).batch = 0),
    ("trace.batch", |c| trace(c).batch = 21),
    ("trace.queue", |c| trace(c).queue = 0),
    ("trace.message_chars", |c| trace(c).message_chars = 999),
    ("trace.flush_interval", |c| {
        trace(c).flush_interval = NOTHING;
    }),
    ("latency_policy", |c| {
        let falling = vec![(TOO_LONG, NOTHING), (NOTHING, NOTHING)];
        c.latency_policy = LatencyPolicy::new(falling, NOTHING);
    }),
    ("latency_policy", |c| {
        c.latency_policy = LatencyPolicy::new(vec![(NOTHING, Duration::MAX)], NOTHING);
    }),
    ("topics", |c| c.topics = vec!["a b".to_owned()]),
    ("latency_fault_tolerance is off", |c| {
        c.detector = Some(Detector::default());
    }),
];

fn detector(config: &mut ProducerConfig) -> &mut Detector {
    config.latency_fault_tolerance = true;
    config.detector.get_or_insert_default()
}

fn trace(config: &mut ProducerConfig) -> &mut TraceConfig {
    config.trace.get_or_insert_default()
}

fn auto_batch(config: &mut ProducerConfig) -> &mut AutoBatch {
    config.auto_batch.get_or_insert_default()
}

fn is_refused(error: &Error, fault: &str) {
    assert_eq!(
        (error.kind(), error.java_code()),
        (ErrorKind::InvalidArgument, -1),
        "{error}"
    );
    assert!(
        error.to_string().contains(fault),
        "{fault} is missing in {error}"
    );
    assert!(!error.is_retryable() && !error.maybe_stored());
}

/// A configuration with that many of the faults.
fn spoil<C: Default>(faults: &[Wrong<C>]) -> C {
    let mut config = C::default();
    for (_, spoil) in faults {
        spoil(&mut config);
    }
    config
}

#[tokio::test]
async fn every_option_of_the_client_out_of_bounds_is_refused() {
    let cluster = Cluster::of(&["a"]);
    for wrong in CLIENT.chunks(1) {
        let connect = cluster.connect().config(spoil(wrong));
        is_refused(&connect.await.unwrap_err(), wrong[0].0);
    }
    assert_eq!(cluster.name_server.opened(), 0);
}

#[tokio::test]
async fn every_option_of_the_producer_out_of_bounds_is_refused() {
    let cluster = Cluster::of(&["a"]);
    let client = cluster.client().await;
    for wrong in PRODUCER.chunks(1) {
        let producer = client.producer("PG").config(spoil(wrong));
        is_refused(&producer.await.unwrap_err(), wrong[0].0);
    }
    // none of them has taken the group
    client.producer("PG").await.unwrap();
    assert_eq!(cluster.name_server.opened(), 0);
}

/// Seven at a time: an error shows no more than a screenful.
#[tokio::test]
async fn all_faults_are_told_at_once() {
    for wrong in CLIENT.chunks(7) {
        let connect = Client::connect("a:x;b:0").config(spoil(wrong));
        let error = connect.security_token("token").await.unwrap_err();
        is_refused(&error, "address 1");
        is_refused(&error, "address 2");
        // the later one of two credentials counts
        for (fault, _) in wrong.iter().filter(|(fault, _)| *fault != "access_key") {
            is_refused(&error, fault);
        }
    }
    let client = Client::connect("127.0.0.1:1").await.unwrap();
    for wrong in PRODUCER.chunks(7) {
        let producer = client.producer("a b").config(spoil(wrong));
        let error = producer.await.unwrap_err();
        is_refused(&error, "producer group");
        for (fault, _) in wrong {
            is_refused(&error, fault);
        }
    }
}

#[tokio::test]
async fn every_bad_address_is_refused_with_its_place() {
    for bad in [
        "host:",
        "host:0",
        "host:65536",
        "host:-1",
        "host:1x",
        ":9876",
        "::1",
        "::1:9876",
        "[::1",
        "[::1]9876",
        "[zz]:1",
        "[]:1",
        "ftp://host:1",
        "user@host:1",
        "host/path:1",
        "http://",
        "tcp:1:2",
    ] {
        let list = format!("good:9876;{bad}");
        let error = Client::connect(list.as_str()).await.unwrap_err();
        is_refused(&error, &format!("name server address 2 ({bad:?})"));
        assert!(error.hint().unwrap().contains("host:port"));
    }
    for bad in [
        "",
        "host",
        "https://host/",
        "http://host:0/",
        "http://host/ a",
    ] {
        let error = Client::connect(NameServers::lookup(bad)).await.unwrap_err();
        is_refused(&error, "name server lookup");
    }
}

/// Durations beyond what the clock can tell mean a very long time.
#[tokio::test]
async fn the_longest_durations_do_no_harm() {
    let cluster = Cluster::of(&["a"]);
    let client = cluster.client().await;
    let producer = client.producer("PG").await.unwrap();
    producer
        .send(message())
        .timeout(Duration::MAX)
        .await
        .unwrap();
    assert!(producer.shutdown(Duration::MAX).await.is_clean());
    client.producer("PG").await.unwrap();
    assert!(client.shutdown(Duration::MAX).await.is_clean());
}
