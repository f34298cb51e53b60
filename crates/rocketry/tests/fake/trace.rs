//! Message trace: what leaves a record, what such a record says, and when it is sent.

use std::collections::HashSet;

use rocketry::{Decision, ErrorKind, Message, Producer, ProducerConfig, TraceConfig};
use rocketry_protocol::trace::{TraceMessageType, TraceRecord, decode};

use crate::support::*;

const TOPIC: &str = "RMQ_SYS_TRACE_TOPIC";

fn cluster() -> Cluster {
    let cluster = Cluster::in_memory(&["a"]);
    cluster.topic(TOPIC, 1);
    cluster.topic("U", 1);
    cluster
}

async fn traced(cluster: &Cluster, trace: TraceConfig) -> Producer {
    let builder = cluster.client().await.producer("PG");
    builder.trace(trace).await.unwrap()
}

/// The trace messages so far.
fn messages(cluster: &Cluster) -> Vec<Received> {
    let broker = cluster.broker("a").received(310);
    let ours = |received: &Received| received.field("b") == TOPIC;
    broker.into_iter().filter(ours).collect()
}

fn records(message: &Received) -> Vec<TraceRecord> {
    decode(std::str::from_utf8(&message.command.body).unwrap()).unwrap()
}

fn all_records(cluster: &Cluster) -> Vec<TraceRecord> {
    messages(cluster).iter().flat_map(records).collect()
}

/// P-132
#[tokio::test(start_paused = true)]
async fn a_stored_message_leaves_a_record_as_java_writes_it() {
    let cluster = cluster();
    let producer = traced(&cluster, TraceConfig::default()).await;
    let result = producer
        .send(message().tag("TagA").keys(["k1", "k2"]))
        .await
        .unwrap();
    let delayed = producer.send(message().delay_level(3)).await.unwrap();
    producer.shutdown(PATIENCE).await;
    let messages = messages(&cluster);
    assert_eq!(messages.len(), 1);
    let message = &messages[0];
    let group = message.field("a");
    let number = group
        .strip_prefix("_INNER_TRACE_PRODUCER-PG-PRODUCE-")
        .unwrap();
    assert!(number.parse::<u32>().unwrap() > 0);
    let keys: HashSet<_> = ["k1", "k2", &result.msg_id, &delayed.msg_id].into();
    let sent = message.property("KEYS").unwrap();
    assert_eq!(sent.split(' ').collect::<HashSet<_>>(), keys);

    let body = std::str::from_utf8(&message.command.body).unwrap();
    let parts: Vec<_> = body.split_terminator('\u{2}').collect();
    assert_eq!(parts.len(), 2, "{body:?}");
    let fields: Vec<_> = parts[0].split('\u{1}').collect();
    assert!(fields[1].parse::<i64>().unwrap() > 1_600_000_000_000);
    let broker = cluster.broker("a").addr();
    let expected = [
        "Pub",
        fields[1],
        "DefaultRegion",
        "PG",
        "T",
        &result.msg_id,
        "TagA",
        "k1 k2",
        &broker,
        "5",
        "0",
        "0",
        &result.offset_msg_id,
        "true",
    ];
    assert_eq!(fields, expected);
    let fields: Vec<_> = parts[1].split('\u{1}').collect();
    assert_eq!((fields[6], fields[7]), ("null", "null"), "no tag, no key");
    assert_eq!(fields[11], "3", "a delayed message");
}

/// P-133
#[tokio::test(start_paused = true)]
async fn records_leave_in_tens_or_when_five_seconds_are_over() {
    let cluster = cluster();
    let producer = traced(&cluster, TraceConfig::default()).await;
    for _ in 0..25 {
        producer.send(message()).await.unwrap();
    }
    let started = tokio::time::Instant::now();
    let full = |cluster: &Cluster| -> Vec<_> {
        messages(cluster).iter().map(|m| records(m).len()).collect()
    };
    // 25 messages and their first two groups
    cluster.broker("a").wait_for(310, 27).await;
    assert_eq!(full(&cluster), [10, 10]);
    assert!(started.elapsed() < ms(100));
    cluster.broker("a").wait_for(310, 28).await;
    assert_eq!(full(&cluster), [10, 10, 5]);
    assert!(started.elapsed() <= ms(5100), "{:?}", started.elapsed());
    assert!(started.elapsed() >= ms(4900), "{:?}", started.elapsed());
    // at the end, without waiting
    producer.send(message()).await.unwrap();
    producer.send(Message::new("U", "x")).await.unwrap();
    let started = tokio::time::Instant::now();
    assert!(producer.shutdown(PATIENCE).await.is_clean());
    assert!(started.elapsed() < ms(100));
    assert_eq!(full(&cluster), [10, 10, 5, 1, 1], "one message per topic");
    assert_eq!(producer.metrics().traces_dropped, 0);
}

/// P-133: nor does the client close its connections before.
#[tokio::test(start_paused = true)]
async fn a_client_that_shuts_down_sends_what_is_queued() {
    let cluster = cluster();
    let client = cluster.client().await;
    let traced = client.producer("PG").trace(TraceConfig::default());
    let producer = traced.await.unwrap();
    for _ in 0..3 {
        producer.send(message()).await.unwrap();
    }
    client.shutdown(PATIENCE).await;
    assert_eq!(all_records(&cluster).len(), 3);
}

/// P-133: a producer that is merely dropped has its records sent as well.
#[tokio::test(start_paused = true)]
async fn a_dropped_producer_leaves_its_records() {
    let cluster = cluster();
    let producer = traced(&cluster, TraceConfig::default()).await;
    producer.send(message()).await.unwrap();
    drop(producer);
    cluster.broker("a").wait_for(310, 2).await;
    assert_eq!(all_records(&cluster).len(), 1);
    cluster.broker("a").wait_closed().await;
}

/// P-134
#[tokio::test(start_paused = true)]
async fn failures_untraced_answers_one_way_sends_and_traces_leave_no_record() {
    let cluster = cluster();
    let producer = traced(&cluster, TraceConfig::default()).await;
    producer.send_oneway(message()).await.unwrap();
    producer.send(Message::new(TOPIC, "x")).await.unwrap();
    cluster.topic("RMQ_SYS_TRACE_TOPIC_2", 1);
    producer
        .send(Message::new("RMQ_SYS_TRACE_TOPIC_2", "x"))
        .await
        .unwrap();
    cluster.script_all(310, || Action::Reply(refuse(13, "no")));
    producer.send(message()).await.unwrap_err();
    cluster.broker("a").script(on(310, |request| {
        Action::Reply(stored(request).with_field("TRACE_ON", "false"))
    }));
    producer.send(message()).await.unwrap();
    cluster.broker("a").script(on(310, |request| {
        let mut reply = stored(request);
        // not flushed in time
        reply.code = 10;
        Action::Reply(reply.with_field("MSG_REGION", "far"))
    }));
    let ticket = producer.enqueue(message()).await.unwrap();
    ticket.await.unwrap();
    producer.shutdown(PATIENCE).await;
    let sent = messages(&cluster);
    let ours: Vec<_> = sent.iter().filter(|m| m.field("a") != "PG").collect();
    assert_eq!(ours.len(), 1);
    match &records(ours[0])[..] {
        [
            TraceRecord::Pub {
                success, region, ..
            },
        ] => {
            assert_eq!((*success, &**region), (false, "far"));
        }
        other => panic!("{other:?}"),
    }
}

/// P-134
#[tokio::test(start_paused = true)]
async fn the_end_of_a_transaction_leaves_a_record() {
    let cluster = cluster();
    let client = cluster.client().await;
    let producer = client
        .producer("PG")
        .trace(TraceConfig::default())
        .transaction_checker(|_half| Decision::Unknown)
        .await
        .unwrap();
    let result = producer
        .send_in_transaction(message(), async |_half| Decision::Commit)
        .await
        .unwrap();
    producer.shutdown(PATIENCE).await;
    let records = all_records(&cluster);
    match &records[..] {
        [
            TraceRecord::Pub {
                message_type: TraceMessageType::TransactionHalf,
                ..
            },
            TraceRecord::EndTransaction {
                region,
                group,
                topic,
                msg_id,
                tags,
                keys,
                store_host,
                message_type,
                state,
                from_check,
                ..
            },
        ] => {
            assert_eq!(
                (&**region, &**group, &**topic),
                ("DefaultRegion", "PG", "T")
            );
            assert_eq!(*msg_id, result.sent.msg_id);
            // `null` on the wire
            assert_eq!(
                (tags.as_deref(), keys.as_deref()),
                (Some("null"), Some("null"))
            );
            assert_eq!(*store_host, cluster.broker("a").addr());
            assert_eq!(*message_type, TraceMessageType::TransactionCommit);
            assert_eq!((&**state, *from_check), ("COMMIT_MESSAGE", false));
        }
        other => panic!("{other:?}"),
    }
}

/// P-135
#[tokio::test(start_paused = true)]
async fn a_full_queue_drops_records_and_slows_no_send() {
    let cluster = cluster();
    cluster.broker("a").script(on(310, |request| {
        if request.field("b") == Some(TOPIC) {
            Action::Silent
        } else {
            Action::Reply(stored(request))
        }
    }));
    let producer = traced(&cluster, TraceConfig::default()).await;
    let started = tokio::time::Instant::now();
    for _ in 0..2500 {
        producer.send(message()).await.unwrap();
    }
    assert_eq!(started.elapsed(), ms(0), "no send has waited for anything");
    let dropped = producer.metrics().traces_dropped;
    // 2048 wait, some groups of ten are on their way
    let kept = 2500 - dropped;
    assert!((2048..=2048 + 60).contains(&kept), "{kept}");
    // what cannot be sent by the deadline is dropped and counted too
    producer.shutdown(ms(1000)).await;
    assert!(started.elapsed() < ms(2000), "{:?}", started.elapsed());
    assert_eq!(producer.metrics().traces_dropped, 2500);
}

#[tokio::test(start_paused = true)]
async fn long_records_are_cut_into_several_messages() {
    let cluster = cluster();
    let trace = TraceConfig {
        message_chars: 1000,
        ..TraceConfig::default()
    };
    let producer = traced(&cluster, trace).await;
    for _ in 0..10 {
        producer.send(message().key("k".repeat(400))).await.unwrap();
    }
    producer.shutdown(PATIENCE).await;
    let counts: Vec<_> = messages(&cluster)
        .iter()
        .map(|m| records(m).len())
        .collect();
    assert_eq!(counts, [2, 2, 2, 2, 2]);
}

#[tokio::test]
async fn a_trace_out_of_bounds_is_refused_by_name() {
    let cluster = Cluster::of(&["a"]);
    let config = ProducerConfig {
        trace: Some(TraceConfig {
            topic: "not a topic".to_owned(),
            batch: 21,
            queue: 0,
            flush_interval: ms(1),
            message_chars: 1,
            recalls: false,
        }),
        ..ProducerConfig::default()
    };
    let client = cluster.client().await;
    let error = client.producer("PG").config(config).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    for option in ["topic", "batch", "queue", "flush_interval", "message_chars"] {
        let named = error.to_string().contains(&format!("trace.{option}"));
        assert!(named, "{option}: {error}");
    }
    let long = "g".repeat(240);
    let traced = client.producer(long).trace(TraceConfig::default());
    let error = traced.await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
}

/// P-132: records name what the application knows, and the trace topic is in no namespace.
#[tokio::test(start_paused = true)]
async fn records_are_free_of_the_namespace() {
    let cluster = cluster();
    cluster.topic("NS%T", 1);
    cluster.topic("my_traces", 1);
    let client = cluster.connect().namespace("NS").await.unwrap();
    let trace = TraceConfig {
        topic: "my_traces".to_owned(),
        ..TraceConfig::default()
    };
    let producer = client.producer("PG").trace(trace).await.unwrap();
    producer.send(message()).await.unwrap();
    producer.shutdown(PATIENCE).await;
    let received = cluster.broker("a").received(310);
    let [_, trace] = &received[..] else {
        panic!("{received:?}")
    };
    assert_eq!(trace.field("b"), "my_traces");
    match &records(trace)[..] {
        [TraceRecord::Pub { group, topic, .. }] => assert_eq!((&**group, &**topic), ("PG", "T")),
        other => panic!("{other:?}"),
    }
}
