//! Hostile name servers.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rocketry::{ErrorKind, Message};
use rocketry_protocol::body;
use tokio::time::Instant;

use crate::{
    memory,
    peers::{Peers, good_broker, good_route, malformed_frames, ok, route},
};

/// A body at the limit of a frame, and what is made of it.
const MEMORY: usize = 64 * 1024 * 1024;

/// Bodies in place of a route.
fn bodies() -> Vec<(&'static str, Vec<u8>)> {
    let good = body::encode_standard(&route()).unwrap();
    let replace = |from: &str, to: &str| {
        let text = String::from_utf8(good.to_vec()).unwrap();
        assert!(text.contains(from), "{from} is not in {text}");
        text.replace(from, to).into_bytes()
    };
    let queue =
        r#"{"brokerName":"bad","perm":6,"readQueueNums":4,"writeQueueNums":4,"topicSysFlag":0},"#;
    let many = format!(
        "{{\"brokerDatas\":[],\"queueDatas\":[{}",
        queue.repeat(150_000)
    );
    let huge = queue.replace("\"writeQueueNums\":4", "\"writeQueueNums\":65536");
    let many_and_huge = replace(
        "\"queueDatas\":[",
        &format!("\"queueDatas\":[{}", huge.repeat(100_000)),
    );
    let long_order = String::from_utf8(good.to_vec()).unwrap().replacen(
        '{',
        &format!("{{\"orderTopicConf\":\"{}\",", "bad:65536;".repeat(100_000)),
        1,
    );
    vec![
        ("nothing", Vec::new()),
        ("noise", vec![0x80; 1000]),
        ("half a route", good[..good.len() / 2].to_vec()),
        ("null", b"null".to_vec()),
        ("an empty object", b"{}".to_vec()),
        ("an array", b"[]".to_vec()),
        ("deep nesting", b"{\"x\":".repeat(100_000)),
        ("deep arrays", b"[".repeat(1_000_000)),
        (
            "nulls inside",
            br#"{"brokerDatas":[null],"queueDatas":[null]}"#.to_vec(),
        ),
        (
            "a text for a list",
            br#"{"brokerDatas":"x","queueDatas":"y"}"#.to_vec(),
        ),
        (
            "billions of queues",
            replace("\"writeQueueNums\":4", "\"writeQueueNums\":2147483647"),
        ),
        (
            "a negative number of queues",
            replace("\"writeQueueNums\":4", "\"writeQueueNums\":-4"),
        ),
        (
            "a number too large",
            replace(
                "\"writeQueueNums\":4",
                "\"writeQueueNums\":99999999999999999999",
            ),
        ),
        ("an empty address", replace("bad:1", "")),
        (
            "an address that is none",
            replace("bad:1", "no address at all"),
        ),
        ("a long list cut short", many.into_bytes()),
        ("a long list of many queues each", many_and_huge),
        ("a long order of many queues each", long_order.into_bytes()),
    ]
}

/// Whatever the only name server says of a route: an error in time, or a send that works; no panic, and memory within bounds.
#[tokio::test(start_paused = true)]
async fn a_hostile_route_is_an_error_or_works() {
    for (name, body) in bodies() {
        let peers = Peers::good().with("names:2", move |peer| {
            let body = body.clone();
            peer.answer_all(move |_| ok().with_body(body.clone()))
        });
        memory::start();
        let client = peers.client("names:2").await;
        let producer = client.producer("PG").await.unwrap();
        let started = Instant::now();
        for _ in 0..3 {
            let sent = producer.send(Message::new("T", "x")).await;
            if let Err(error) = sent {
                let expected = [
                    ErrorKind::Protocol,
                    ErrorKind::TopicNotWritable,
                    ErrorKind::TopicNotFound,
                    ErrorKind::BrokerUnknown,
                    ErrorKind::BrokerUnreachable,
                ];
                assert!(expected.contains(&error.kind()), "{name}: {error:?}");
                assert!(
                    error.to_string().len() < 2_000,
                    "{name}: {}",
                    error.to_string().len()
                );
            }
        }
        assert!(started.elapsed() < Duration::from_secs(9), "{name}");
        client.shutdown(Duration::from_secs(1)).await;
        let most = memory::most();
        assert!(most < MEMORY, "{name}: {most} bytes");
    }
}

/// One of two name servers sends what is no frame, or nothing: the other one's answer is used, within the time of the send.
#[tokio::test(start_paused = true)]
async fn a_name_server_that_breaks_the_protocol_is_passed_over() {
    let mut cases = malformed_frames();
    cases.push(("nothing".to_owned(), Vec::new()));
    cases.push(("noise".to_owned(), vec![0xa5; 5000]));
    for (name, bytes) in cases {
        let peers = Peers::good()
            .with("names:2", move |mut peer| {
                let bytes = bytes.clone();
                async move {
                    peer.request().await?;
                    peer.write(&bytes).await?;
                    peer.silence().await
                }
            })
            .with("bad:1", |peer| peer.answer_all(good_broker));
        let client = peers.client("names:2;names:1").await;
        let producer = client.producer("PG").await.unwrap();
        let started = Instant::now();
        let sent = producer.send(Message::new("T", "x")).await;
        let took = started.elapsed();
        assert!(sent.is_ok(), "{name}: {sent:?}");
        assert!(took < Duration::from_secs(3), "{name}: {took:?}");
        client.shutdown(Duration::from_secs(1)).await;
    }
}

/// A name server that turns bad does not end sends whose route is known.
#[tokio::test(start_paused = true)]
async fn a_known_route_outlives_its_name_server() {
    let bad = Arc::new(AtomicBool::new(false));
    let turned = Arc::clone(&bad);
    let peers = Peers::good()
        .with("bad:1", |peer| peer.answer_all(good_broker))
        .with("names:2", move |peer| {
            let turned = Arc::clone(&turned);
            peer.answer_all(move |request| {
                if turned.load(Ordering::Relaxed) {
                    ok().with_body(b"{\"brokerDatas\":[{".to_vec())
                } else {
                    good_route(request)
                }
            })
        });
    let client = peers.client("names:2").await;
    let producer = client.producer("PG").await.unwrap();
    producer.send(Message::new("T", "x")).await.unwrap();
    bad.store(true, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(100)).await;
    producer.send(Message::new("T", "x")).await.unwrap();
    let error = producer.send(Message::new("U", "x")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol);
    client.shutdown(Duration::from_secs(1)).await;
}
