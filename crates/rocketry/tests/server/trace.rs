//! Message trace, read back from the trace topic.

use std::time::Duration;

use rocketry::{Decision, Message, TraceConfig};
use rocketry_protocol::trace::{TraceRecord, decode};

use crate::{PATIENCE, read, start};

/// P-132, P-133, P-134
#[tokio::test]
async fn traces_of_messages_and_transactions_are_stored_and_found_by_key() {
    let (server, client) = start().await;
    let producer = client
        .producer("PG")
        .trace(TraceConfig::default())
        .transaction_checker(|_half| Decision::Unknown)
        .await
        .unwrap();
    let message = Message::new("orders", "x").tag("TagA").key("order-1");
    let sent = producer.send(message).await.unwrap();
    let batch = [Message::new("orders", "y"), Message::new("orders", "z")];
    let batch = producer.send_batch(batch).await.unwrap();
    producer
        .send_oneway(Message::new("orders", "nobody knows"))
        .await
        .unwrap();
    let half = Message::new("orders", "half");
    let transaction = producer
        .send_in_transaction(half, async |_half| Decision::Rollback)
        .await
        .unwrap();
    assert!(producer.shutdown(PATIENCE).await.is_clean());

    let mut reader = client.reader("RMQ_SYS_TRACE_TOPIC").await.unwrap();
    let traces = read(&mut reader, 1).await;
    let keys: Vec<_> = traces[0].keys().collect();
    for key in ["order-1", &sent.msg_id, &transaction.sent.msg_id] {
        assert!(keys.contains(&key), "{keys:?}");
    }
    let body = std::str::from_utf8(&traces[0].body).unwrap();
    let seen: Vec<_> = decode(body)
        .unwrap()
        .into_iter()
        .map(|record| match record {
            TraceRecord::Pub { topic, msg_id, .. } => ("sent", topic, msg_id),
            TraceRecord::EndTransaction {
                topic,
                msg_id,
                state,
                ..
            } => {
                assert_eq!(state, "ROLLBACK_MESSAGE");
                ("ended", topic, msg_id)
            }
            other => panic!("{other:?}"),
        })
        .collect();
    let orders = || "orders".to_owned();
    let expected = [
        ("sent", orders(), sent.msg_id),
        ("sent", orders(), batch.msg_id),
        ("sent", orders(), transaction.sent.msg_id.clone()),
        ("ended", orders(), transaction.sent.msg_id),
    ];
    assert_eq!(seen, expected);
    client.shutdown(PATIENCE).await;
    server.shutdown(PATIENCE).await.unwrap();
}

/// P-132: recalls leave records where that is switched on.
#[tokio::test]
async fn recalls_are_traced_if_asked_for() {
    let (server, client) = start().await;
    for (group, recalls, records) in [("silent", false, 1), ("talking", true, 2)] {
        let trace = TraceConfig {
            topic: format!("traces-of-{group}"),
            recalls,
            ..TraceConfig::default()
        };
        let producer = client.producer(group).trace(trace).await.unwrap();
        let late = Message::new("orders", "x").delay(Duration::from_mins(10));
        let sent = producer.send(late).await.unwrap();
        let handle = sent.recall_handle.unwrap();
        producer.recall("orders", &handle).await.unwrap();
        producer.shutdown(PATIENCE).await;
        let reader = client.reader(format!("traces-of-{group}"));
        let traces = read(&mut reader.await.unwrap(), 1).await;
        let body = std::str::from_utf8(&traces[0].body).unwrap();
        let seen = decode(body).unwrap();
        assert_eq!(seen.len(), records);
        match seen.get(1) {
            Some(TraceRecord::Recall {
                group,
                topic,
                msg_id,
                success,
                ..
            }) => {
                assert_eq!((&**group, &**topic, *success), ("talking", "orders", true));
                assert_eq!(*msg_id, sent.msg_id);
            }
            None if !recalls => {}
            other => panic!("{other:?}"),
        }
    }
    client.shutdown(PATIENCE).await;
    server.shutdown(PATIENCE).await.unwrap();
}
