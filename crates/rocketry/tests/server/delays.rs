//! Messages that are delivered later, and taken back.

use std::time::{Duration, Instant, SystemTime};

use rocketry::{Client, ErrorKind, Message, MessageExt, TopicOptions};
use rocketry_protocol::id::RecallHandle;
use rocketry_server::{Server, ServerConfig};

use crate::{PATIENCE, read};

/// A server whose timer is exact to a tenth of a second, and a topic with one queue.
async fn precise(recalls: bool) -> (Server, Client) {
    let mut config = ServerConfig::temp();
    config.timer_precision = Duration::from_millis(100);
    config.recall_messages = recalls;
    let server = Server::start(config).await.unwrap();
    let client = Client::connect(server.namesrv_addr()).await.unwrap();
    let one = TopicOptions {
        read_queues: 1,
        write_queues: 1,
        ..TopicOptions::default()
    };
    client.admin().create_topic("later", &one).await.unwrap();
    (server, client)
}

#[expect(clippy::disallowed_methods, reason = "tests measure real time")]
fn now() -> (Instant, SystemTime) {
    (Instant::now(), SystemTime::now())
}

fn body(message: &MessageExt) -> &str {
    std::str::from_utf8(&message.body).unwrap()
}

/// P-118
#[tokio::test]
async fn a_delay_level_is_a_delay_and_the_highest_counts_for_higher_ones() {
    let (_server, client) = precise(true).await;
    let producer = client.producer("PG").await.unwrap();
    let (started, _) = now();
    let slow = Message::new("later", "slow").delay_level(99);
    let slow = producer.send(slow).await.unwrap();
    let result = producer
        .send(Message::new("later", "one second").delay_level(1))
        .await
        .unwrap();
    assert_eq!(result.recall_handle, None);
    producer.send(Message::new("later", "now")).await.unwrap();
    let mut reader = client.reader("later").await.unwrap();
    assert_eq!(body(&read(&mut reader, 1).await[0]), "now");
    let delayed = read(&mut reader, 1).await.remove(0);
    assert_eq!(body(&delayed), "one second");
    assert!(started.elapsed() >= Duration::from_secs(1));
    assert_eq!(delayed.msg_id(), result.msg_id);
    // what is to wait for two hours waits with the messages of level 18
    let waiting = client
        .admin()
        .view_message("SCHEDULE_TOPIC_XXXX", &slow.offset_msg_id)
        .await
        .unwrap();
    assert_eq!((body(&waiting), waiting.queue_id), ("slow", 17));
}

/// P-119
#[tokio::test]
async fn a_message_is_delivered_at_its_time() {
    let (_server, client) = precise(true).await;
    let producer = client.producer("PG").await.unwrap();
    let (started, wall) = now();
    let after = |ms| Duration::from_millis(ms);
    for message in [
        Message::new("later", "third").deliver_at(wall + after(900)),
        Message::new("later", "second").delay(after(500)),
        Message::new("later", "first").deliver_at(wall - after(5000)),
    ] {
        let result = producer.send(message).await.unwrap();
        if let Some(handle) = result.recall_handle {
            let handle = RecallHandle::decode(&handle).unwrap();
            assert_eq!(handle.message_id, result.msg_id);
            assert_eq!(handle.broker_name, *result.queue.broker_name);
        }
    }
    let mut reader = client.reader("later").await.unwrap();
    for (expected, at_least) in [("first", 0), ("second", 400), ("third", 800)] {
        assert_eq!(body(&read(&mut reader, 1).await[0]), expected);
        assert!(started.elapsed() >= after(at_least), "{expected}");
    }
}

/// P-120
#[tokio::test]
async fn a_time_that_is_too_far_away_is_refused() {
    let (_server, client) = precise(true).await;
    let producer = client.producer("PG").await.unwrap();
    let (_, wall) = now();
    let late = Message::new("later", "x").deliver_at(wall + Duration::from_hours(73));
    let error = producer.send(late).await.unwrap_err();
    assert_eq!((error.kind(), error.java_code()), (ErrorKind::Refused, 13));
    assert_eq!(error.attempts().len(), 1);
}

/// P-122
#[tokio::test]
async fn a_recalled_message_is_never_delivered() {
    let (_server, client) = precise(true).await;
    let producer = client.producer("PG").await.unwrap();
    let delayed = |body: &'static str, ms| {
        producer.send(Message::new("later", body).delay(Duration::from_millis(ms)))
    };
    let recalled = delayed("recalled", 1500).await.unwrap();
    let kept = delayed("kept", 1500).await.unwrap();
    delayed("after", 2000).await.unwrap();
    let handle = recalled.recall_handle.unwrap();
    assert_eq!(
        producer.recall("later", &handle).await.unwrap(),
        recalled.msg_id
    );
    let mut reader = client.reader("later").await.unwrap();
    let delivered = read(&mut reader, 2).await;
    assert_eq!(delivered[0].msg_id(), kept.msg_id);
    assert_eq!(body(&delivered[1]), "after");
    // it is too late for that one
    let error = producer
        .recall("later", &kept.recall_handle.unwrap())
        .await
        .unwrap_err();
    assert_eq!((error.kind(), error.java_code()), (ErrorKind::Refused, 604));
    client.shutdown(PATIENCE).await;
}

/// P-122
#[tokio::test]
async fn a_server_may_forbid_recalls() {
    let (_server, client) = precise(false).await;
    let producer = client.producer("PG").await.unwrap();
    let message = Message::new("later", "x").delay(Duration::from_mins(1));
    let handle = producer.send(message).await.unwrap().recall_handle.unwrap();
    let error = producer.recall("later", &handle).await.unwrap_err();
    assert_eq!((error.kind(), error.java_code()), (ErrorKind::Refused, 16));
    assert!(error.hint().is_some());
}
