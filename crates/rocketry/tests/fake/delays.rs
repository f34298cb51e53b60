//! Messages that are delivered later, and taken back.

use std::time::{Duration, UNIX_EPOCH};

use rocketry::{ErrorKind, Message};

use crate::support::*;

/// `v1 TopicTest broker-a 1700000000001 7F00000100002A139A4C0000000000AB`, as Java writes it.
const HANDLE: &str =
    "djEgVG9waWNUZXN0IGJyb2tlci1hIDE3MDAwMDAwMDAwMDEgN0YwMDAwMDEwMDAwMkExMzlBNEMwMDAwMDAwMDAwQUI=";

/// P-118, P-119, from the producer's side.
#[tokio::test]
async fn delays_travel_as_properties_and_timed_messages_have_a_handle() {
    let cluster = Cluster::of(&["a"]);
    cluster.broker("a").script(on(310, |request| {
        let mut answer = stored(request);
        if request.field("i").unwrap().contains("TIMER_") {
            answer = answer.with_field("recallHandle", HANDLE);
        }
        Action::Reply(answer)
    }));
    let producer = cluster.producer().await;
    let at = UNIX_EPOCH + Duration::from_millis(4_000_000_000_123);
    for (message, property, value) in [
        (message().delay_level(3), "DELAY", "3"),
        (message().delay_level(99), "DELAY", "99"),
        (message().delay(ms(3000)), "TIMER_DELAY_MS", "3000"),
        (
            message().deliver_at(at),
            "TIMER_DELIVER_MS",
            "4000000000123",
        ),
    ] {
        let result = producer.send(message).await.unwrap();
        let sent = cluster.received(310).pop().unwrap().1;
        assert_eq!(sent.property(property).as_deref(), Some(value));
        let handle = (property != "DELAY").then_some(HANDLE);
        assert_eq!(result.recall_handle.as_deref(), handle);
    }
}

/// P-120, from the producer's side: what the broker refuses is not tried again.
#[tokio::test]
async fn a_delay_that_is_too_long_is_refused_once() {
    let cluster = Cluster::of(&["a", "b"]);
    cluster.script_all(310, || {
        Action::Reply(refuse(13, "timer message illegal, the delay time should not be bigger than the max delay 259200000ms; or if set del msg, the delay time should be bigger than the current time"))
    });
    let producer = cluster.producer().await;
    let error = producer
        .send(message().delay(Duration::from_hours(73)))
        .await
        .unwrap_err();
    assert_eq!((error.kind(), error.java_code()), (ErrorKind::Refused, 13));
    assert_eq!(cluster.received(310).len(), 1);
}

/// P-121
#[tokio::test]
async fn what_is_no_handle_is_refused_here() {
    let cluster = Cluster::of(&["broker-a"]);
    cluster.topic("TopicTest", 4);
    let producer = cluster.producer().await;
    for (handle, fault) in [
        ("", "version"),
        ("garbage!", "Base64"),
        // v2, and four parts
        ("djIgVG9waWNUZXN0IGJyb2tlci1hIDE3MDAwMDAwMDAwMDEgQUI=", "v1"),
        (
            "djEgVG9waWNUZXN0IGJyb2tlci1hIDE3MDAwMDAwMDAwMDE=",
            "message id is missing",
        ),
    ] {
        let error = producer.recall("TopicTest", handle).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.java_code()),
            (ErrorKind::InvalidArgument, -1)
        );
        let text = error.to_string();
        assert!(
            text.contains("the recall handle is invalid") && text.contains(fault),
            "{text}"
        );
    }
    for topic in ["%RETRY%g", "%DLQ%g", "SCHEDULE_TOPIC_XXXX", "not a topic"] {
        let error = producer.recall(topic, HANDLE).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.java_code()),
            (ErrorKind::InvalidArgument, -1),
            "{topic}"
        );
    }
    assert!(cluster.name_server.received(105).is_empty());
}

/// P-121, P-122
#[tokio::test]
async fn a_recall_goes_to_the_broker_of_the_handle() {
    let cluster = Cluster::of(&["broker-a", "broker-b"]);
    cluster.topic("TopicTest", 4);
    cluster.script_all(370, || {
        Action::Reply(ok().with_field("msgId", "7F00000100002A139A4C0000000000AB"))
    });
    let producer = cluster.producer().await;
    for _ in 0..4 {
        let id = producer.recall("TopicTest", HANDLE).await.unwrap();
        assert_eq!(id, "7F00000100002A139A4C0000000000AB");
    }
    let asked = cluster.broker("broker-a").received(370);
    assert_eq!(asked.len(), 4);
    for (field, value) in [
        ("producerGroup", "PG"),
        ("topic", "TopicTest"),
        ("recallHandle", HANDLE),
        ("bname", "broker-a"),
    ] {
        assert_eq!(asked[0].field(field), value);
    }
    assert!(cluster.broker("broker-b").received(370).is_empty());
}

/// P-122
#[tokio::test]
async fn a_recall_that_the_broker_refuses_is_an_error_that_says_so() {
    let cluster = Cluster::of(&["broker-a"]);
    cluster.topic("TopicTest", 4);
    cluster.script_all(370, || {
        Action::Reply(refuse(16, "recall failed, operation is forbidden"))
    });
    let producer = cluster.producer().await;
    let error = producer.recall("TopicTest", HANDLE).await.unwrap_err();
    assert_eq!((error.kind(), error.java_code()), (ErrorKind::Refused, 16));
    assert_eq!(error.broker(), Some("broker-a"));
    assert!(error.hint().unwrap().contains("recallMessageEnable"));
    assert_eq!(cluster.received(370).len(), 1, "not tried again");
    // a broker that nobody knows, of a topic that somebody has: whoever answers will say what is wrong
    let other = Cluster::of(&["other"]);
    other.topic("TopicTest", 4);
    other.script_all(370, || {
        Action::Reply(refuse(604, "recall failed, broker service not available"))
    });
    let producer = other.producer().await;
    let error = producer.recall("TopicTest", HANDLE).await.unwrap_err();
    assert_eq!((error.kind(), error.java_code()), (ErrorKind::Refused, 604));
    assert_eq!(other.received(370)[0].1.field("bname"), "broker-a");
    let error = producer.recall("unknown", HANDLE).await.unwrap_err();
    assert_eq!(error.java_code(), 10005);
    other.script_all(370, || Action::Silent);
    let client = other.client().await;
    let hasty = client.producer("PG").timeout(ms(50)).await.unwrap();
    let error = hasty.recall("TopicTest", HANDLE).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
}

/// P-149, for recalls; and none begin after a shutdown, which ends those that wait.
#[tokio::test]
async fn recalls_end_with_their_future_and_with_their_producer() {
    let cluster = Cluster::of(&["broker-a"]);
    cluster.topic("TopicTest", 4);
    cluster.script_all(370, || {
        Action::Reply(ok().with_field("msgId", "7F00000100002A139A4C0000000000AB"))
    });
    let producer = cluster.producer().await;
    let polls = polls_until_done(|| producer.recall("TopicTest", HANDLE)).await;
    assert!(polls >= 2, "{polls}");
    cluster.script_all(370, || Action::Hold);
    let waiting = tokio::spawn({
        let producer = producer.clone();
        async move { producer.recall("TopicTest", HANDLE).await }
    });
    cluster.broker("broker-a").wait_held(1).await;
    let started = now();
    producer.shutdown(ms(50)).await;
    on_time(started.elapsed(), ms(50));
    assert_eq!(
        waiting.await.unwrap().unwrap_err().kind(),
        ErrorKind::Closed
    );
    let error = producer.recall("TopicTest", HANDLE).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
    let delayed = Message::new("T", "x").delay(ms(1));
    assert_eq!(
        producer.send(delayed).await.unwrap_err().kind(),
        ErrorKind::Closed
    );
}
