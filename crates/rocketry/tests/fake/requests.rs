//! Requests that wait for replies.

use std::sync::Arc;

use rocketry::{Compression, ErrorKind, Message, MessageExt, Producer, ProducerConfig};
use rocketry_protocol::{RemotingCommand, header::PushReplyMessageRequest};
use rocketry_remoting::Deadline;

use crate::support::*;

/// A reply with that correlation id, as a broker pushes it.
fn push(correlation: &str, body: &[u8], sys_flag: i32) -> RemotingCommand {
    let properties = format!("MSG_TYPE\x01reply\x02CORRELATION_ID\x01{correlation}\x02");
    RemotingCommand::request(&PushReplyMessageRequest {
        producer_group: "replier",
        topic: "C_REPLY_TOPIC",
        default_topic: "TBW102",
        default_topic_queue_nums: 4,
        queue_id: 1,
        sys_flag,
        born_timestamp: 1_700_000_000_000,
        flag: 7,
        properties: Some(&properties),
        reconsume_times: Some(0),
        unit_mode: false,
        born_host: "10.0.0.7:1234",
        store_host: "10.0.0.1:10911",
        store_timestamp: 1_700_000_000_001,
    })
    .with_body(body.to_vec())
}

/// Pushes to the client on its only connection and returns the client's answer.
async fn answer_of_client(broker: &FakeServer, pushed: RemotingCommand) -> RemotingCommand {
    let connection = broker.a_connection();
    let answer = connection.call(pushed, Deadline::after(PATIENCE)).await;
    answer.unwrap()
}

fn spawn_request(
    producer: &Producer,
    timeout: std::time::Duration,
) -> tokio::task::JoinHandle<Result<MessageExt, rocketry::Error>> {
    let producer = producer.clone();
    tokio::spawn(async move { producer.request(message()).timeout(timeout).await })
}

/// P-113, from the requester's side.
#[tokio::test]
async fn a_reply_comes_back_to_its_request() {
    let cluster = Cluster::of(&["a"]);
    let client = cluster.client().await;
    let producer = client.producer("PG").await.unwrap();
    let broker = cluster.broker("a");
    let body = "answer ".repeat(100).into_bytes();
    let compressed = Compression::Zlib.compress(&body, 5).unwrap();
    for (round, (pushed, sys_flag)) in [(&body, 0), (&compressed, 769)].into_iter().enumerate() {
        let request = spawn_request(&producer, ms(3000));
        let sent = broker.wait_for(310, round + 1).await;
        let sent = &sent[round];
        let id = sent.property("CORRELATION_ID").unwrap();
        assert_eq!(id.len(), 36);
        assert_eq!(
            sent.property("REPLY_TO_CLIENT").as_deref(),
            Some(client.client_id())
        );
        assert_eq!(sent.property("TTL").as_deref(), Some("3000"));
        assert_eq!(producer.requests_in_flight(), 1);
        let answer = answer_of_client(broker, push(&id, pushed, sys_flag)).await;
        assert_eq!((answer.code, answer.remark), (0, None));
        let reply = request.await.unwrap().unwrap();
        assert_eq!(*reply.body, *body);
        assert_eq!(reply.property("CORRELATION_ID"), Some(&*id));
        let arrived: i64 = reply.property("ARRIVE_TIME").unwrap().parse().unwrap();
        assert!(arrived > 1_700_000_000_000);
        assert_eq!((&*reply.topic, reply.queue_id), ("C_REPLY_TOPIC", 1));
        assert_eq!(reply.born_host.to_string(), "10.0.0.7:1234");
        assert_eq!(producer.requests_in_flight(), 0);
    }
}

/// P-113: every broker that may take the reply knows the client before the request is sent, also one that it never sends to.
#[tokio::test]
async fn brokers_know_the_client_before_it_asks() {
    let cluster = Cluster::of(&["a", "b"]);
    cluster.topic("C_REPLY_TOPIC", 1);
    let mut route = rocketry::TopicRouteData::default();
    add_broker(&mut route, "a", &cluster.broker("a").addr(), 4, 6);
    cluster.set_route("T", route);
    let producer = cluster.producer().await;
    let asking: Vec<_> = (0..10)
        .map(|_| spawn_request(&producer, PATIENCE))
        .collect();
    let sent = cluster.broker("a").wait_for(310, 10).await;
    for (_, broker) in &cluster.brokers {
        let beat = &broker.received(34)[0];
        assert!(sent.iter().all(|sent| beat.at <= sent.at));
        // one round for all ten, one more for each new connection
        assert!(broker.received(34).len() <= 3);
    }
    for sent in &sent {
        let id = sent.property("CORRELATION_ID").unwrap();
        // any broker may bring it
        answer_of_client(cluster.broker("b"), push(&id, b"yes", 0)).await;
    }
    for request in asking {
        assert_eq!(*request.await.unwrap().unwrap().body, *b"yes");
    }
    assert_eq!(cluster.broker("b").received(310).len(), 0);
    // a broker that lost the connection may have forgotten: once the client knows of that, it introduces itself with a request
    let before = cluster.broker("b").received(34).len();
    cluster.broker("b").cut();
    let asking_until_known = async {
        while cluster.broker("b").received(34).len() == before {
            let again = producer.request(message()).timeout(ms(20)).await;
            // on a busy machine the time is up before the request is stored
            let kind = again.unwrap_err().kind();
            assert!(
                matches!(kind, ErrorKind::NoReply | ErrorKind::Timeout),
                "{kind:?}"
            );
        }
    };
    let known = tokio::time::timeout(PATIENCE, asking_until_known).await;
    assert!(known.is_ok());
}

/// P-018, P-113: the topic is in the namespace, the replies of the cluster are not.
#[tokio::test]
async fn a_request_in_a_namespace_is_replied_to() {
    let cluster = Cluster::of(&["a", "b"]);
    cluster.topic("C_REPLY_TOPIC", 1);
    let mut route = rocketry::TopicRouteData::default();
    add_broker(&mut route, "a", &cluster.broker("a").addr(), 4, 6);
    cluster.set_route("ns%T", route);
    let client = cluster.connect().namespace("ns").await.unwrap();
    let producer = client.producer("PG").await.unwrap();
    let request = spawn_request(&producer, PATIENCE);
    let sent = cluster.broker("a").wait_for(310, 1).await.remove(0);
    assert_eq!(sent.field("b"), "ns%T");
    assert!(cluster.broker("b").received(34)[0].at <= sent.at);
    let mut question = {
        let id = sent.property("CORRELATION_ID").unwrap();
        answer_of_client(cluster.broker("b"), push(&id, b"yes", 0)).await;
        request.await.unwrap().unwrap()
    };
    question.properties = rocketry::Properties::parse(sent.field("i"));
    question.properties.set("CLUSTER", "C");
    let reply = Message::reply_to(&question, "answer").unwrap();
    cluster.script_all(325, || Action::Reply(refuse(1, "nobody is here")));
    let error = producer.send(reply).await.unwrap_err();
    assert_eq!(error.java_code(), 1);
    for (_, sent) in cluster.received(325) {
        assert_eq!(sent.field("b"), "C_REPLY_TOPIC");
    }
}

/// P-114
#[tokio::test]
async fn a_request_that_nobody_replies_to_fails_at_its_timeout() {
    let cluster = Cluster::of(&["a"]);
    let producer = cluster.producer().await;
    let started = now();
    let error = producer
        .request(message())
        .timeout(ms(200))
        .await
        .unwrap_err();
    on_time(started.elapsed(), ms(200));
    assert_eq!(
        (error.kind(), error.java_code()),
        (ErrorKind::NoReply, 10006)
    );
    assert!(error.maybe_stored() && error.is_retryable());
    assert_eq!(error.topic(), Some("T"));
    let text = error.to_string();
    assert!(
        text.starts_with("request to topic \"T\" failed: message ") && text.contains("no reply"),
        "{text}"
    );
    assert_eq!(producer.requests_in_flight(), 0);
    // a broker that says nothing at all
    cluster.broker("a").script(on(310, |_| Action::Silent));
    let started = now();
    let error = producer
        .request(message())
        .timeout(ms(200))
        .await
        .unwrap_err();
    on_time(started.elapsed(), ms(200));
    assert_eq!(
        (error.kind(), error.java_code()),
        (ErrorKind::Timeout, 10006)
    );
    assert!(error.maybe_stored());
    assert_eq!(producer.requests_in_flight(), 0);
}

/// P-115
#[tokio::test]
async fn a_request_that_cannot_be_sent_fails_at_once() {
    let cluster = Cluster::of(&["a"]);
    let producer = cluster.producer().await;
    cluster
        .broker("a")
        .script(on(310, |_| Action::Reply(refuse(13, "too large"))));
    let started = now();
    let refused = producer
        .request(message())
        .timeout(PATIENCE)
        .await
        .unwrap_err();
    assert_eq!(
        (refused.kind(), refused.java_code()),
        (ErrorKind::Refused, 13)
    );
    assert_eq!(refused.attempts().len(), 1);
    assert!(!refused.maybe_stored());
    let invalid = producer.request(Message::new("T", "")).await.unwrap_err();
    assert_eq!(invalid.kind(), ErrorKind::InvalidMessage);
    let unknown = producer
        .request(Message::new("unknown", "x"))
        .await
        .unwrap_err();
    assert_eq!(
        (unknown.kind(), unknown.java_code()),
        (ErrorKind::TopicNotFound, 10005)
    );
    on_time(started.elapsed(), ms(0));
    assert_eq!(producer.requests_in_flight(), 0);
    // the reply to what was refused finds nobody
    let id = cluster.received(310)[0].1.property("CORRELATION_ID");
    let late = push(&id.unwrap(), b"late", 0);
    assert_eq!(answer_of_client(cluster.broker("a"), late).await.code, 0);
}

/// Lost connections are tried again, as in asynchronous sends; the request keeps its correlation id.
#[tokio::test]
async fn a_request_is_tried_again() {
    let cluster = Cluster::of(&["a", "b"]);
    // one queue each, so that every second request goes to the first broker
    cluster.topic("T", 1);
    cluster.broker("a").script(on(310, |_| Action::Close));
    let producer = cluster.producer().await;
    for round in 0..4 {
        let request = spawn_request(&producer, PATIENCE);
        let sent = cluster.broker("b").wait_for(310, round + 1).await;
        let id = sent[round].property("CORRELATION_ID").unwrap();
        let answer = answer_of_client(cluster.broker("b"), push(&id, b"yes", 0)).await;
        assert_eq!(answer.code, 0);
        request.await.unwrap().unwrap();
    }
    let ids: std::collections::HashSet<_> = cluster
        .received(310)
        .iter()
        .map(|(_, sent)| sent.property("CORRELATION_ID"))
        .collect();
    assert_eq!(ids.len(), 4);
    assert!(cluster.received(310).len() > 4);
}

/// A reply that overtakes the broker's answer is a reply.
#[tokio::test]
async fn a_reply_may_come_before_the_answer_to_the_send() {
    let cluster = Cluster::of(&["a"]);
    let producer = cluster.producer().await;
    let broker = cluster.broker("a");
    broker.script(on(310, |_| Action::Hold));
    let request = spawn_request(&producer, PATIENCE);
    broker.wait_held(1).await;
    let id = broker.received(310)[0].property("CORRELATION_ID").unwrap();
    answer_of_client(broker, push(&id, b"early", 0)).await;
    assert_eq!(*request.await.unwrap().unwrap().body, *b"early");
    broker.release(stored);
    producer.send(message()).timeout(ms(1)).await.unwrap_err();
}

/// P-116
#[tokio::test]
async fn replies_that_nobody_waits_for_are_no_fault_of_the_broker() {
    let cluster = Cluster::of(&["a"]);
    let producer = cluster.producer().await;
    producer.send(message()).await.unwrap();
    let broker = cluster.broker("a");
    for unknown in [push("unknown", b"x", 0), push("\u{2}", b"x", 769)] {
        let answer = answer_of_client(broker, unknown).await;
        assert_eq!((answer.code, answer.remark), (0, None));
    }
    let mut unreadable = push("x", b"x", 0);
    unreadable.fields = None;
    let answer = answer_of_client(broker, unreadable).await;
    assert_eq!(answer.code, 1);
    assert_eq!(answer.remark.as_deref(), Some("process reply message fail"));
    producer.send(message()).await.unwrap();
    assert_eq!(broker.opened(), 1);
}

/// A body that is not what it says is the requester's error, and bounded.
#[tokio::test]
async fn a_reply_that_does_not_decompress_is_an_error() {
    let cluster = Cluster::of(&["a"]);
    let client = cluster.client().await;
    let config = ProducerConfig {
        max_message_bytes: 1000,
        ..ProducerConfig::default()
    };
    let producer = client.producer("PG").config(config).await.unwrap();
    let bomb = Compression::Zlib.compress(&[0; 5000], 5).unwrap();
    for (round, body) in [b"not zlib".to_vec(), bomb].into_iter().enumerate() {
        let request = spawn_request(&producer, PATIENCE);
        let sent = cluster.broker("a").wait_for(310, round + 1).await;
        let id = sent[round].property("CORRELATION_ID").unwrap();
        answer_of_client(cluster.broker("a"), push(&id, &body, 769)).await;
        let error = request.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol);
        assert!(error.maybe_stored());
    }
}

/// P-116: what is not a request has no reply, and the reply of one that is goes out as one.
#[tokio::test]
async fn replies_are_made_from_requests_only() {
    let cluster = Cluster::of(&["a"]);
    cluster.topic("C_REPLY_TOPIC", 1);
    let broker = cluster.broker("a");
    broker.script(on(325, |request| Action::Reply(stored(request))));
    let producer = cluster.producer().await;
    let request = spawn_request(&producer, PATIENCE);
    let sent = broker.wait_for(310, 1).await.remove(0);
    let id = sent.property("CORRELATION_ID").unwrap();
    answer_of_client(broker, push(&id, b"x", 0)).await;
    // the pushed reply serves as a message that is no request
    let mut received = request.await.unwrap().unwrap();
    let error: rocketry::Error = Message::reply_to(&received, "x").unwrap_err().into();
    assert_eq!(
        (error.kind(), error.java_code()),
        (ErrorKind::InvalidMessage, 10007)
    );
    assert!(error.to_string().contains("CLUSTER"), "{error}");
    received.properties = rocketry::Properties::parse(sent.field("i"));
    received.properties.set("CLUSTER", "C");
    let reply = Message::reply_to(&received, "answer").unwrap();
    producer.send(reply).await.unwrap();
    let sent = broker.wait_for(325, 1).await.remove(0);
    assert_eq!(sent.field("b"), "C_REPLY_TOPIC");
    for (name, value) in [
        ("MSG_TYPE", "reply"),
        ("CORRELATION_ID", &*id),
        ("TTL", "10000"),
    ] {
        assert_eq!(sent.property(name).as_deref(), Some(value));
    }
}

/// No more wait than may; further ones wait for their turn, and give up in time.
#[tokio::test]
async fn requests_that_wait_are_bounded() {
    let cluster = Cluster::of(&["a"]);
    let client = cluster.client().await;
    let config = ProducerConfig {
        in_flight_requests: 2,
        ..ProducerConfig::default()
    };
    let producer = client.producer("PG").config(config).await.unwrap();
    let first = spawn_request(&producer, PATIENCE);
    let second = spawn_request(&producer, PATIENCE);
    let sent = cluster.broker("a").wait_for(310, 2).await;
    let error = producer
        .request(message())
        .timeout(ms(100))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Overloaded);
    assert!(!error.maybe_stored());
    let third = spawn_request(&producer, PATIENCE);
    let id = sent[0].property("CORRELATION_ID").unwrap();
    answer_of_client(cluster.broker("a"), push(&id, b"x", 0)).await;
    cluster.broker("a").wait_for(310, 3).await;
    assert_eq!(producer.requests_in_flight(), 2);
    for request in [first, second, third] {
        request.abort();
        let _ = request.await;
    }
    assert_eq!(producer.requests_in_flight(), 0);
}

/// P-149, for requests: dropped at each poll, nothing is left.
#[tokio::test]
async fn a_request_may_be_dropped_at_any_time() {
    let cluster = Cluster::of(&["a"]);
    let producer = cluster.producer().await;
    producer.send(message()).await.unwrap();
    // with a reply to the one that is polled to its end
    let replying = Arc::new(parking_lot::Mutex::new(None));
    cluster.broker("a").script(on(310, {
        let replying = Arc::clone(&replying);
        move |request| {
            let sent = rocketry::Properties::parse(request.field("i").unwrap());
            let id = sent.get("CORRELATION_ID").map(str::to_owned);
            if let (Some(id), Some(connection)) = (id, replying.lock().clone()) {
                tokio::spawn(async move {
                    let connection: rocketry_remoting::Connection = connection;
                    let deadline = Deadline::after(PATIENCE);
                    let _ = connection.call(push(&id, b"yes", 0), deadline).await;
                });
            }
            Action::Reply(stored(request))
        }
    }));
    // sends on the same connection do not notice
    let others = tokio::spawn({
        let producer = producer.clone();
        async move {
            for _ in 0..200 {
                let other = message();
                producer.send(other).timeout(PATIENCE).await.unwrap();
            }
        }
    });
    let polls = polls_until_done(|| {
        *replying.lock() = Some(cluster.broker("a").a_connection());
        assert_eq!(producer.requests_in_flight(), 0);
        producer.request(message()).timeout(PATIENCE)
    })
    .await;
    assert!(polls >= 3, "{polls}");
    assert_eq!(producer.requests_in_flight(), 0);
    others.await.unwrap();
    let started = now();
    assert!(producer.shutdown(PATIENCE).await.is_clean());
    on_time(started.elapsed(), ms(0));
}

/// P-009: a shutdown waits for replies, and ends requests that take too long.
#[tokio::test]
async fn a_shutdown_ends_requests() {
    let cluster = Cluster::of(&["a"]);
    let producer = cluster.producer().await;
    let request = spawn_request(&producer, PATIENCE);
    cluster.broker("a").wait_for(310, 1).await;
    let started = now();
    producer.shutdown(ms(100)).await;
    on_time(started.elapsed(), ms(100));
    let error = request.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
    assert!(error.maybe_stored());
    assert_eq!(
        producer.request(message()).await.unwrap_err().kind(),
        ErrorKind::Closed
    );
}

/// P-009: a request that waits for a place when the shutdown begins has begun, and is replied to.
#[tokio::test]
async fn a_shutdown_waits_for_requests_that_wait() {
    let cluster = Cluster::of(&["a"]);
    let client = cluster.client().await;
    let config = ProducerConfig {
        in_flight_requests: 1,
        ..ProducerConfig::default()
    };
    let producer = client.producer("PG").config(config).await.unwrap();
    let first = spawn_request(&producer, PATIENCE);
    let broker = cluster.broker("a");
    broker.wait_for(310, 1).await;
    let second = spawn_request(&producer, PATIENCE);
    tokio::task::yield_now().await;
    let ending = {
        let producer = producer.clone();
        tokio::spawn(async move { producer.shutdown(PATIENCE).await })
    };
    tokio::task::yield_now().await;
    let refused = producer.request(message()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Closed);
    for (n, request) in [first, second].into_iter().enumerate() {
        let sent = broker.wait_for(310, n + 1).await;
        let id = sent[n].property("CORRELATION_ID").unwrap();
        answer_of_client(broker, push(&id, b"yes", 0)).await;
        assert_eq!(*request.await.unwrap().unwrap().body, *b"yes");
    }
    assert!(ending.await.unwrap().is_clean());
}
