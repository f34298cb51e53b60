//! Synchronous sends.

use std::collections::HashSet;

use rocketry::{
    Compression, Detector, ErrorKind, Message, Phase, ProducerConfig, SendStatus, by_hash,
};

use rocketry_protocol::header::OffsetReply;

use crate::support::*;

/// P-061, P-062
#[tokio::test]
async fn a_message_is_stored_and_the_result_says_where() {
    let cluster = Cluster::of(&["a"]);
    let producer = cluster.producer().await;
    let result = producer
        .send(message().tag("TagA").key("k1"))
        .await
        .unwrap();
    let sent = &cluster.broker("a").received(310)[0];
    assert_eq!(result.status, SendStatus::Ok);
    assert_eq!(Some(&*result.msg_id), sent.property("UNIQ_KEY").as_deref());
    assert_eq!(result.msg_id.len(), 32);
    assert_eq!(result.queue.topic.as_str(), "T");
    assert_eq!(&*result.queue.broker_name, "a");
    assert_eq!(result.queue.queue_id.to_string(), sent.field("e"));
    assert_eq!(
        (sent.field("a"), sent.field("b"), sent.field("c")),
        ("PG", "T", "TBW102")
    );
    assert_eq!(
        (sent.field("d"), sent.field("f"), sent.field("h")),
        ("4", "0", "0")
    );
    assert_eq!(
        (sent.field("j"), sent.field("k"), sent.field("m")),
        ("0", "false", "false")
    );
    assert_eq!((sent.field("l"), sent.field("n")), ("<absent>", "a"));
    assert_eq!(sent.property("TAGS").as_deref(), Some("TagA"));
    assert_eq!(&*sent.command.body, b"hello");
    assert_eq!(sent.command.flag & 2, 0);
}

/// P-050
#[tokio::test]
async fn queues_take_turns() {
    let cluster = Cluster::of(&["a", "b"]);
    let producer = cluster.producer().await;
    let mut seen = Vec::new();
    for _ in 0..16 {
        let queue = producer.send(message()).await.unwrap().queue;
        seen.push((queue.broker_name.to_string(), queue.queue_id));
    }
    assert_eq!(seen[..8], seen[8..], "the same round twice");
    assert_eq!(
        seen[..8].iter().collect::<HashSet<_>>().len(),
        8,
        "each queue once a round"
    );
}

/// P-065, P-071
#[tokio::test]
async fn a_retryable_answer_is_tried_three_times_with_one_message_id() {
    let cluster = Cluster::of(&["a", "b", "c"]);
    cluster.script_all(310, || Action::Reply(refuse(2, "[PCBUSY] busy")));
    let producer = cluster.producer().await;
    let error = producer.send(message()).await.unwrap_err();
    assert_eq!((error.kind(), error.java_code()), (ErrorKind::Refused, 2));
    assert_eq!(error.remark(), Some("[PCBUSY] busy"));
    let sent = cluster.received(310);
    assert_eq!(sent.len(), 3);
    let brokers: Vec<_> = sent.iter().map(|(name, _)| &**name).collect();
    assert!(
        brokers[0] != brokers[1] && brokers[1] != brokers[2],
        "{brokers:?}"
    );
    let named: Vec<_> = error
        .attempts()
        .iter()
        .map(|attempt| &*attempt.peer)
        .collect();
    assert_eq!(named, brokers);
    let text = error.to_string();
    assert!(text.contains("tried 3 times: "), "{text}");
    let ids: HashSet<_> = sent
        .iter()
        .map(|(_, r)| r.property("UNIQ_KEY").unwrap())
        .collect();
    assert_eq!(ids.len(), 1);
    let opaques: HashSet<_> = sent
        .iter()
        .map(|(_, r)| (r.connection, r.command.opaque))
        .collect();
    assert_eq!(opaques.len(), 3);
    let born: Vec<i64> = sent
        .iter()
        .map(|(_, r)| r.field("g").parse().unwrap())
        .collect();
    assert!(born.is_sorted());
    for (_, received) in &sent {
        let name = cluster
            .brokers
            .iter()
            .find(|(name, _)| name == received.field("n"));
        assert!(name.is_some(), "each attempt names its own broker");
    }
}

/// P-066
#[tokio::test]
async fn other_answers_are_final() {
    for code in [13, 26, 29, 215] {
        let cluster = Cluster::of(&["a", "b"]);
        cluster.script_all(310, move || Action::Reply(refuse(code, "no")));
        let producer = cluster.producer().await;
        let error = producer.send(message()).await.unwrap_err();
        assert_eq!(error.java_code(), code);
        assert_eq!(cluster.received(310).len(), 1);
        let tried = cluster.broker(error.broker().unwrap());
        assert_eq!(error.address(), Some(&*tried.addr()));
    }
}

/// P-051
#[tokio::test]
async fn a_failed_attempt_is_repeated_at_another_broker() {
    let cluster = Cluster::of(&["a", "b"]);
    cluster
        .broker("a")
        .script(on(310, |_| Action::Reply(refuse(14, "disk full"))));
    let producer = cluster.producer().await;
    for _ in 0..16 {
        let result = producer.send(message()).await.unwrap();
        assert_eq!(&*result.queue.broker_name, "b");
    }
    let at_a = cluster.broker("a").received(310).len();
    assert!((1..=16).contains(&at_a), "{at_a}");
}

/// P-052
#[tokio::test]
async fn a_single_broker_is_tried_again_with_its_next_queue() {
    let cluster = Cluster::of(&["a"]);
    cluster.script_all(310, || Action::Reply(refuse(1, "no")));
    let producer = cluster.producer().await;
    producer.send(message()).await.unwrap_err();
    let queues: Vec<i32> = cluster
        .received(310)
        .iter()
        .map(|(_, r)| r.field("e").parse().unwrap())
        .collect();
    assert_eq!(queues.len(), 3);
    assert_ne!(queues[0], queues[1]);
    assert_ne!(queues[1], queues[2]);
}

/// P-063
#[tokio::test]
async fn a_result_without_durability_is_a_result() {
    for (code, status) in [
        (10, SendStatus::FlushDiskTimeout),
        (11, SendStatus::SlaveNotAvailable),
        (12, SendStatus::FlushSlaveTimeout),
    ] {
        let cluster = Cluster::of(&["a", "b"]);
        for (_, broker) in &cluster.brokers {
            broker.script(on(310, move |request| {
                let mut reply = stored(request);
                reply.code = code;
                Action::Reply(reply)
            }));
        }
        let result = cluster.producer().await.send(message()).await.unwrap();
        assert_eq!(result.status, status);
        assert_eq!(cluster.received(310).len(), 1);
    }
}

/// P-067
#[tokio::test(start_paused = true)]
async fn brokers_that_refuse_connections_are_tried_three_times() {
    let cluster = Cluster::in_memory(&[]);
    let mut route = rocketry::TopicRouteData::default();
    for name in ["a", "b", "c"] {
        let dead = cluster.network().dead();
        add_broker(&mut route, name, &dead, 4, 6);
    }
    cluster.set_route("T", route);
    let started = now();
    let error = cluster.producer().await.send(message()).await.unwrap_err();
    punctually(started, ms(0));
    assert_eq!(
        (error.kind(), error.java_code()),
        (ErrorKind::BrokerUnreachable, 10001)
    );
    assert_eq!(error.attempts().len(), 3);
    assert!(!error.maybe_stored());
    assert!(
        error
            .attempts()
            .iter()
            .all(|attempt| attempt.phase == Phase::Connect)
    );
}

/// P-067
#[tokio::test(start_paused = true)]
async fn a_silent_broker_is_a_timeout_within_the_budget() {
    let cluster = Cluster::in_memory(&["a"]);
    cluster.script_all(310, || Action::Silent);
    let producer = cluster.producer().await;
    let started = now();
    let error = producer.send(message()).await.unwrap_err();
    punctually(started, ms(3000));
    assert_eq!(
        (error.kind(), error.java_code()),
        (ErrorKind::Timeout, 10002)
    );
    assert!(error.maybe_stored());
    assert_eq!(error.budget(), Some(ms(3000)));
}

/// One silent broker does not eat the budget while another is there; in Java's way it does.
#[tokio::test]
async fn a_silent_broker_leaves_time_for_another() {
    let cluster = Cluster::of(&["a", "b"]);
    cluster.broker("a").script(on(310, |_| Action::Silent));
    let client = cluster.client().await;
    let producer = client.producer("PG").timeout(ms(1500)).await.unwrap();
    for _ in 0..8 {
        let result = producer.send(message()).await.unwrap();
        assert_eq!(&*result.queue.broker_name, "b");
    }
    assert!(!cluster.broker("a").received(310).is_empty());

    let exact = ProducerConfig {
        timeout: ms(400),
        ..ProducerConfig::java_exact()
    };
    let producer = client.producer("exact").config(exact).await.unwrap();
    let mut failed = 0;
    for _ in 0..8 {
        if let Err(error) = producer.send(message()).await {
            assert_eq!(error.kind(), ErrorKind::Timeout);
            assert_eq!(error.attempts().len(), 1);
            failed += 1;
        }
    }
    assert_eq!(failed, 4, "every second queue is a's");
}

/// P-069
#[tokio::test(start_paused = true)]
async fn the_cap_per_attempt_leaves_the_rest_to_the_last_one() {
    let cluster = Cluster::in_memory(&["a"]);
    cluster.script_all(310, || Action::Silent);
    let config = ProducerConfig {
        attempt_timeout: Some(ms(800)),
        ..ProducerConfig::default()
    };
    let client = cluster.client().await;
    let producer = client.producer("PG").config(config).await.unwrap();
    let started = now();
    let error = producer.send(message()).await.unwrap_err();
    punctually(started, ms(3000));
    let sent = cluster.received(310);
    assert_eq!((sent.len(), error.attempts().len()), (3, 3));
    for (n, begin) in [(0, 0), (1, 800), (2, 1600)] {
        let at = sent[n].1.at.saturating_duration_since(started);
        assert!(
            ms(begin) <= at && at <= ms(begin + 3),
            "attempt {n} at {at:?}"
        );
    }
}

/// P-070
#[tokio::test(start_paused = true)]
async fn a_connect_that_hangs_is_bounded_by_the_budget() {
    let cluster = Cluster::in_memory(&[]);
    let mut route = rocketry::TopicRouteData::default();
    add_broker(&mut route, "a", &cluster.network().deaf(), 4, 6);
    cluster.set_route("T", route);
    let producer = cluster.producer().await;
    let started = now();
    let error = producer.send(message()).timeout(ms(300)).await.unwrap_err();
    punctually(started, ms(300));
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert_eq!(error.attempts()[0].phase, Phase::Connect);
    assert!(!error.maybe_stored());
}

/// P-070 with the operating system: a full accept queue drops the packets of further connects.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_connect_that_the_peer_ignores_is_bounded_by_the_budget() {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let deaf = socket.listen(0).unwrap();
    let addr = deaf.local_addr().unwrap();
    let mut fill = Vec::new();
    while let Ok(stream) = tokio::time::timeout(ms(200), tokio::net::TcpStream::connect(addr)).await
    {
        fill.push(stream);
        assert!(fill.len() < 16, "the accept queue never fills");
    }
    let cluster = Cluster::of(&[]);
    let mut route = rocketry::TopicRouteData::default();
    add_broker(&mut route, "a", &addr.to_string(), 4, 6);
    cluster.set_route("T", route);
    let producer = cluster.producer().await;
    let started = now();
    let error = producer.send(message()).timeout(ms(300)).await.unwrap_err();
    let took = started.elapsed();
    on_time(took, ms(300));
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert_eq!(error.attempts()[0].phase, Phase::Connect);
    assert!(!error.maybe_stored());
}

/// P-072
#[tokio::test]
async fn a_chosen_queue_is_tried_once() {
    let cluster = Cluster::of(&["a", "b"]);
    cluster.script_all(310, || Action::Reply(refuse(1, "no")));
    let producer = cluster.producer().await;
    let queue = producer.publish_queues("T").await.unwrap().remove(5);
    let error = producer
        .send(message())
        .queue(queue.clone())
        .await
        .unwrap_err();
    assert_eq!((error.java_code(), error.attempts().len()), (1, 1));
    assert_eq!(error.queue_id(), Some(queue.queue_id));
    let (broker, sent) = cluster.received(310).remove(0);
    assert_eq!((&*broker, sent.field("e")), ("b", "1"));

    let error = producer
        .send(message())
        .selector(|_, _| 0)
        .await
        .unwrap_err();
    assert_eq!((error.java_code(), error.attempts().len()), (1, 1));
    assert_eq!(cluster.received(310).len(), 2);
}

/// P-037
#[tokio::test]
async fn a_queue_of_another_topic_is_refused_in_every_mode() {
    let cluster = Cluster::of(&["a"]);
    cluster.topic("U", 4);
    let producer = cluster.producer().await;
    let queue = producer.publish_queues("U").await.unwrap().remove(0);
    let of_u = || queue.clone();
    for error in [
        producer.send(message()).queue(of_u()).await.unwrap_err(),
        producer.enqueue(message()).queue(of_u()).await.unwrap_err(),
        producer
            .send_oneway(message())
            .queue(of_u())
            .await
            .unwrap_err(),
        producer
            .send(message())
            .selector({
                let queue = of_u();
                move |_, _| queue
            })
            .await
            .unwrap_err(),
    ] {
        assert_eq!(
            (error.kind(), error.java_code()),
            (ErrorKind::InvalidArgument, -1)
        );
        assert!(
            error.to_string().contains("belongs to topic \"U\""),
            "{error}"
        );
    }
    assert!(cluster.received(310).is_empty());
}

/// P-092, P-093, P-094
#[tokio::test]
async fn selectors_choose_once_and_see_the_message() {
    let cluster = Cluster::of(&["a"]);
    cluster.topic("T", 5);
    let producer = cluster.producer().await;
    for _ in 0..5 {
        let result = producer
            .send(message())
            .selector(by_hash("order-1"))
            .await
            .unwrap();
        assert_eq!(result.queue.queue_id, 0);
    }
    let result = producer
        .send(message().tag("three"))
        .selector(|queues, message| {
            assert_eq!((queues.len(), message.topic()), (5, "T"));
            queues
                .iter()
                .position(|queue| queue.queue_id == 3 && message.tags() == Some("three"))
        })
        .await
        .unwrap();
    assert_eq!(result.queue.queue_id, 3);
    let error = producer
        .send(message())
        .selector(|_, _| None::<usize>)
        .await
        .unwrap_err();
    assert_eq!((error.kind(), error.java_code()), (ErrorKind::Selector, -1));
}

/// P-074, P-075
#[tokio::test]
async fn large_bodies_travel_compressed() {
    let cluster = Cluster::of(&["a"]);
    let client = cluster.client().await;
    for (group, compression, flag) in [
        ("zlib", Compression::Zlib, "769"),
        ("lz4", Compression::Lz4, "257"),
        ("zstd", Compression::Zstd, "513"),
    ] {
        let producer = client
            .producer(group)
            .compression(compression)
            .await
            .unwrap();
        // the second one is large enough to leave the runtime's threads
        for size in [4096, 300_000] {
            let body = vec![b'a'; size];
            producer
                .send(Message::new("T", body.clone()))
                .await
                .unwrap();
            let (_, sent) = cluster.received(310).pop().unwrap();
            assert_eq!(sent.field("f"), flag);
            assert!(sent.command.body.len() < size / 10);
            assert_eq!(
                compression.decompress(&sent.command.body, size).unwrap(),
                body
            );
        }
    }
    let plain = client.producer("plain").compression(None).await.unwrap();
    plain
        .send(Message::new("T", vec![b'a'; 5000]))
        .await
        .unwrap();
    let (_, sent) = cluster.received(310).pop().unwrap();
    assert_eq!((sent.field("f"), sent.command.body.len()), ("0", 5000));
}

/// P-031
#[tokio::test]
async fn a_message_sent_as_a_clone_is_unchanged() {
    let cluster = Cluster::of(&["a"]);
    let producer = cluster.producer().await;
    let message = Message::new("T", vec![b'a'; 5000]).tag("TagA");
    producer.send(message.clone()).await.unwrap();
    assert_eq!(message.body().len(), 5000);
    assert_eq!(
        message.properties().iter().collect::<Vec<_>>(),
        [("TAGS", "TagA")]
    );
}

/// P-138
#[tokio::test]
async fn concurrent_sends_share_one_connection() {
    let cluster = Cluster::of(&["a"]);
    let producer = cluster.producer().await;
    let mut sends = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let producer = producer.clone();
        sends.spawn(async move { producer.send(message()).await });
    }
    let results: Vec<_> = sends.join_all().await;
    assert!(results.iter().all(Result::is_ok));
    assert_eq!(cluster.broker("a").opened(), 1);
    let ids: HashSet<_> = results
        .iter()
        .map(|r| r.as_ref().unwrap().msg_id.clone())
        .collect();
    assert_eq!(ids.len(), 100);
}

/// P-139
#[tokio::test]
async fn a_lost_connection_fails_its_sends_at_once_and_they_are_repeated() {
    let cluster = Cluster::of(&["a"]);
    cluster.broker("a").script(on(310, |_| Action::Hold));
    let producer = cluster.producer().await;
    let mut sends = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let producer = producer.clone();
        sends.spawn(async move { producer.send(message()).timeout(PATIENCE).await });
    }
    cluster.broker("a").wait_held(50).await;
    cluster.broker("a").script(storing());
    let cut = now();
    cluster.broker("a").cut();
    let results = sends.join_all().await;
    assert!(results.iter().all(Result::is_ok));
    assert!(
        cut.elapsed() < ms(2000),
        "not by timeout: {:?}",
        cut.elapsed()
    );
    assert_eq!(cluster.broker("a").received(310).len(), 100);
}

/// P-140
#[tokio::test]
async fn a_late_answer_is_ignored_and_the_connection_stays() {
    let cluster = Cluster::of(&["a"]);
    let mut first = true;
    cluster.broker("a").script(on(310, move |request| {
        if std::mem::take(&mut first) {
            Action::Hold
        } else {
            Action::Reply(stored(request))
        }
    }));
    let producer = cluster.producer().await;
    // the heartbeat's answer arrives behind the request: the peer is alive, only slow
    let config = ProducerConfig {
        retries: 0,
        timeout: ms(80),
        ..ProducerConfig::default()
    };
    let hasty = cluster
        .client()
        .await
        .producer("hasty")
        .config(config)
        .await
        .unwrap();
    assert_eq!(
        hasty.send(message()).await.unwrap_err().kind(),
        ErrorKind::Timeout
    );
    cluster.broker("a").release(stored);
    for _ in 0..5 {
        producer.send(message()).await.unwrap();
        hasty.send(message()).await.unwrap();
    }
    assert_eq!(cluster.broker("a").opened(), 2, "one connection per client");
}

/// A broker that does not answer costs one send its first attempt, and is used again when it answers.
#[tokio::test]
async fn a_broker_that_does_not_answer_is_avoided_until_it_does() {
    for silent in [false, true] {
        let cluster = Cluster::of(&["a", "b"]);
        let dead = move |_: &_| {
            if silent {
                Action::Silent
            } else {
                Action::Close
            }
        };
        cluster.broker("a").script(dead);
        let client = cluster.client().await;
        let producer = client.producer("PG").timeout(ms(1200)).await.unwrap();
        for _ in 0..200 {
            let result = producer.send(message()).await.unwrap();
            assert_eq!(&*result.queue.broker_name, "b");
        }
        // one send at most reached it; a connection that closes at once may not even take that one
        let tried = cluster.broker("a").received(310).len();
        assert!(tried <= 1, "silent: {silent}, tried {tried} times");
        // it is asked in the background, and one answer of any kind is enough
        cluster.broker("a").wait_for(30, 1).await;
        cluster.broker("a").script(storing());
        let back =
            async { while &*producer.send(message()).await.unwrap().queue.broker_name != "a" {} };
        tokio::time::timeout(PATIENCE, back).await.unwrap();
        client.shutdown(PATIENCE).await;
    }
}

/// With one broker there is nothing to avoid.
#[tokio::test]
async fn the_only_broker_is_never_avoided() {
    let cluster = Cluster::of(&["a"]);
    cluster.broker("a").script(on(310, |_| Action::Close));
    let producer = cluster.producer().await;
    let error = producer.send(message()).await.unwrap_err();
    assert_eq!(error.attempts().len(), 3);
    cluster.broker("a").script(storing());
    producer.send(message()).await.unwrap();
}

/// P-058, P-060
#[tokio::test(start_paused = true)]
async fn the_detector_finds_a_broker_that_is_back() {
    let cluster = Cluster::in_memory(&["a", "b"]);
    let down = |_: &_| Action::Silent;
    cluster.broker("a").script(down);
    cluster.broker("b").script(down);
    let config = ProducerConfig {
        latency_fault_tolerance: true,
        detector: Some(Detector::default()),
        timeout: ms(100),
        retries: 0,
        ..ProducerConfig::java_exact()
    };
    let client = cluster.client().await;
    let producer = client.producer("PG").config(config).await.unwrap();
    let started = now();
    let fail_eight = async || {
        for _ in 0..8 {
            producer.send(message()).await.unwrap_err();
        }
    };
    fail_eight().await;
    assert_eq!(producer.pick_one_at_least(), None);
    // both unreachable: they take turns
    assert_eq!(cluster.broker("a").received(310).len(), 4);
    cluster.broker("a").wait_for(30, 2).await;
    for (n, probe) in cluster.broker("a").received(30).iter().enumerate() {
        let at = probe.at.saturating_duration_since(started);
        let expected = ms(3000) * u32::try_from(n + 1).unwrap();
        assert!(expected <= at && at < expected + ms(300), "{at:?}");
    }
    fail_eight().await;
    cluster.broker("a").script(on(30, |_| {
        Action::Reply(ok().with_header(&OffsetReply { offset: 7 }))
    }));
    tokio::time::sleep(ms(3500)).await;
    assert_eq!(producer.pick_one_at_least().as_deref(), Some("a"));
    let at_b = cluster.broker("b").received(310).len();
    for _ in 0..8 {
        let result = producer.send(message()).await.unwrap();
        assert_eq!(&*result.queue.broker_name, "a");
    }
    assert_eq!(cluster.broker("b").received(310).len(), at_b);
    // one that is back in time, but answers with an error, is not asked for messages
    let asked = cluster.broker("b").received(30).len();
    cluster
        .broker("b")
        .script(|_| Action::Reply(refuse(1, "not yet")));
    cluster.broker("b").wait_for(30, asked + 1).await;
    assert_eq!(producer.pick_one_at_least().as_deref(), Some("a"));
    producer.shutdown(PATIENCE).await;
    let asked = cluster.broker("b").received(30).len();
    tokio::time::sleep(ms(10_000)).await;
    assert_eq!(
        cluster.broker("b").received(30).len(),
        asked,
        "the detector ends with its producer"
    );
    client.shutdown(PATIENCE).await;
}

/// P-144
#[tokio::test]
async fn a_broker_that_goes_away_is_asked_again_on_a_new_connection() {
    let cluster = Cluster::of(&["a"]);
    let mut left = 1;
    cluster.broker("a").script(on(310, move |request| {
        if left > 0 {
            left -= 1;
            Action::Reply(refuse(1500, "go away"))
        } else {
            Action::Reply(stored(request))
        }
    }));
    let producer = cluster.producer().await;
    producer.send(message()).await.unwrap();
    let sent = cluster.broker("a").received(310);
    assert_eq!(sent.len(), 2);
    assert_ne!(sent[0].connection, sent[1].connection);
    assert_eq!(sent[0].property("UNIQ_KEY"), sent[1].property("UNIQ_KEY"));
    // the connection that was told to go is closed once nothing is under way on it
    cluster.broker("a").wait_open(1).await;
}

/// P-144
#[tokio::test]
async fn a_broker_that_goes_away_twice_costs_an_attempt() {
    let cluster = Cluster::of(&["a", "b"]);
    cluster
        .broker("a")
        .script(on(310, |_| Action::Reply(refuse(1500, "go away"))));
    let producer = cluster.producer().await;
    for _ in 0..8 {
        let result = producer.send(message()).await.unwrap();
        assert_eq!(&*result.queue.broker_name, "b");
    }
    let queue = producer.publish_queues("T").await.unwrap().remove(0);
    let error = producer.send(message()).queue(queue).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionLost);
    assert!(
        error.to_string().contains("the broker is going away"),
        "{error}"
    );
    assert!(!error.maybe_stored());
}

/// P-149
#[tokio::test]
async fn a_dropped_send_gives_back_what_it_held() {
    let cluster = Cluster::of(&["a"]);
    cluster.broker("a").script(on(310, |_| Action::Hold));
    let producer = cluster.producer().await;
    for n in 1..=20 {
        tokio::select! {
            sent = producer.send(message()).into_future() => panic!("{sent:?}"),
            () = cluster.broker("a").wait_held(n) => {}
        }
    }
    cluster.broker("a").script(storing());
    cluster.broker("a").release(stored);
    producer.send(message()).await.unwrap();
    let report = producer.shutdown(PATIENCE).await;
    assert!(report.is_clean());
}
