//! Sent in every way, read back.

use std::collections::{BTreeMap, HashSet};

use rocketry::{
    AutoBatch, Compression, Message, MessageExt, ProducerConfig, SendStatus, StartAt, TopicOptions,
};

use crate::{PATIENCE, read, start};

fn body_of(message: &MessageExt) -> String {
    String::from_utf8_lossy(&message.body).into_owned()
}

/// P-025, P-041, P-061, P-089, P-095: sync, async, one-way and batch, to a topic that the first message creates.
#[tokio::test]
async fn the_three_modes_and_batches_store_what_was_sent() {
    let (server, client) = start().await;
    let producer = client.producer("PG").await.unwrap();
    let mut results = Vec::new();
    for n in 0..50 {
        let message = Message::new("modes", format!("sync {n}"))
            .tag("TagA")
            .key(format!("k{n}"));
        results.push(producer.send(message).await.unwrap());
    }
    let mut tickets = Vec::new();
    for n in 0..50 {
        tickets.push(
            producer
                .enqueue(Message::new("modes", format!("async {n}")))
                .await
                .unwrap(),
        );
    }
    for ticket in tickets {
        results.push(ticket.await.unwrap());
    }
    for n in 0..50 {
        producer
            .send_oneway(Message::new("modes", format!("oneway {n}")))
            .await
            .unwrap();
    }
    let batch = (0..50).map(|n| Message::new("modes", format!("batch {n}")).key(format!("b{n}")));
    let batch = producer.send_batch(batch).await.unwrap();
    assert!(results.iter().all(|result| result.status == SendStatus::Ok));

    let mut reader = client.reader("modes").await.unwrap();
    let messages = read(&mut reader, 200).await;
    let mut expected: Vec<_> = ["sync", "async", "oneway", "batch"]
        .iter()
        .flat_map(|mode| (0..50).map(move |n| format!("{mode} {n}")))
        .collect();
    let mut bodies: Vec<_> = messages.iter().map(body_of).collect();
    expected.sort();
    bodies.sort();
    assert_eq!(bodies, expected);

    // each result names the place where its message is
    let by_place: BTreeMap<_, _> = messages
        .iter()
        .map(|message| ((message.queue_id, message.queue_offset), message))
        .collect();
    for result in &results {
        let message = by_place[&(result.queue.queue_id, result.queue_offset)];
        assert_eq!(message.msg_id(), result.msg_id);
        assert_eq!(message.offset_msg_id(), result.offset_msg_id);
        assert_eq!(message.broker_name, result.queue.broker_name);
    }
    let ids: Vec<_> = batch.msg_id.split(',').collect();
    for (n, id) in ids.iter().enumerate() {
        let offset = batch.queue_offset + i64::try_from(n).unwrap();
        let message = by_place[&(batch.queue.queue_id, offset)];
        assert_eq!(
            (message.msg_id(), body_of(message)),
            ((*id).to_owned(), format!("batch {n}"))
        );
        assert_eq!(message.keys().collect::<Vec<_>>(), [format!("b{n}")]);
    }
    let first = messages
        .iter()
        .find(|message| body_of(message) == "sync 0")
        .unwrap();
    assert_eq!(first.tags(), Some("TagA"));
    assert_eq!(first.born_host.ip().to_string(), "127.0.0.1");
    client.shutdown(PATIENCE).await;
    server.shutdown(PATIENCE).await.unwrap();
}

/// P-074, P-075
#[tokio::test]
async fn compressed_bodies_are_read_back_as_sent() {
    let (_server, client) = start().await;
    let mut random = fastrand::Rng::with_seed(3);
    let noise: Vec<u8> = std::iter::repeat_with(|| random.u8(..))
        .take(100_000)
        .collect();
    let text = "the quick brown fox ".repeat(30_000).into_bytes();
    for compression in [Compression::Zlib, Compression::Lz4, Compression::Zstd] {
        let group = format!("{compression:?}");
        let producer = client
            .producer(&*group)
            .compression(compression)
            .await
            .unwrap();
        for body in [&noise, &text] {
            producer
                .send(Message::new("bodies", body.clone()))
                .await
                .unwrap();
        }
    }
    let mut reader = client.reader("bodies").await.unwrap();
    let messages = read(&mut reader, 6).await;
    assert_eq!(
        messages
            .iter()
            .filter(|message| *message.body == *noise)
            .count(),
        3
    );
    let texts: Vec<_> = messages
        .iter()
        .filter(|message| *message.body == *text)
        .collect();
    assert_eq!(texts.len(), 3);
    assert!(texts.iter().all(|message| message.store_size < 100_000));
}

/// P-028, P-071
#[tokio::test]
async fn a_message_may_be_sent_twice_under_one_id() {
    let (_server, client) = start().await;
    let producer = client.producer("PG").await.unwrap();
    let mut message = Message::new("twice", "x");
    message.properties_mut().set(
        rocketry::property::UNIQ_KEY,
        "0A000001000100000002000003E80003",
    );
    let one = producer.send(message.clone()).await.unwrap();
    let two = producer.send(message).await.unwrap();
    assert_eq!(one.msg_id, two.msg_id);
    assert_ne!(one.offset_msg_id, two.offset_msg_id);
}

/// P-088
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_task_keeps_its_order_within_a_queue() {
    let (_server, client) = start().await;
    client
        .admin()
        .create_topic("ordered", &TopicOptions::default())
        .await
        .unwrap();
    let producer = client.producer("PG").await.unwrap();
    let queue = producer.publish_queues("ordered").await.unwrap().remove(3);
    let mut tickets = Vec::new();
    for n in 0..2000 {
        let message = Message::new("ordered", n.to_string());
        tickets.push(
            producer
                .enqueue(message)
                .queue(queue.clone())
                .await
                .unwrap(),
        );
    }
    for ticket in tickets {
        ticket.await.unwrap();
    }
    let mut reader = client.reader("ordered").queues([queue]).await.unwrap();
    let bodies: Vec<_> = read(&mut reader, 2000).await.iter().map(body_of).collect();
    assert_eq!(bodies, (0..2000).map(|n| n.to_string()).collect::<Vec<_>>());
}

#[tokio::test]
async fn readers_start_where_they_are_told_to() {
    let (_server, client) = start().await;
    let producer = client.producer("PG").await.unwrap();
    let queue = producer
        .send(Message::new("starts", "0").tag("even"))
        .await
        .unwrap()
        .queue;
    for n in 1..100 {
        let tag = if n % 2 == 0 { "even" } else { "odd" };
        let message = Message::new("starts", n.to_string()).tag(tag);
        producer.send(message).queue(queue.clone()).await.unwrap();
    }
    let only = || client.reader("starts").queues([queue.clone()]);
    assert_eq!(
        body_of(&read(&mut only().await.unwrap(), 100).await[99]),
        "99"
    );
    let mut from_middle = only().start(StartAt::Offset(40)).await.unwrap();
    let messages = read(&mut from_middle, 60).await;
    assert_eq!(body_of(&messages[0]), "40");
    assert_eq!(from_middle.positions()[0].1, 100);
    let born = messages[10].store_ms;
    let mut by_time = only().start(StartAt::Time(born)).await.unwrap();
    let first = by_time.next_batch(PATIENCE).await.unwrap().remove(0);
    assert!(first.store_ms >= born && first.queue_offset <= 50);
    let mut even = only().filter("even").await.unwrap();
    assert!(
        read(&mut even, 50)
            .await
            .iter()
            .all(|message| message.tags() == Some("even"))
    );

    let mut last = only().start(StartAt::Last).await.unwrap();
    assert!(
        last.next_batch(std::time::Duration::from_millis(50))
            .await
            .unwrap()
            .is_empty()
    );
    producer
        .send(Message::new("starts", "new"))
        .queue(queue.clone())
        .await
        .unwrap();
    assert_eq!(body_of(&read(&mut last, 1).await[0]), "new");

    let mut grouped = only().group("readers").await.unwrap();
    read(&mut grouped, 101).await;
    grouped.commit().await.unwrap();
    assert_eq!(
        client
            .admin()
            .consumer_offset("readers", &queue)
            .await
            .unwrap(),
        Some(101)
    );
    producer
        .send(Message::new("starts", "after"))
        .queue(queue.clone())
        .await
        .unwrap();
    let mut again = only().group("readers").await.unwrap();
    assert_eq!(body_of(&read(&mut again, 1).await[0]), "after");
}

/// P-138, with a server that really stores.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_concurrent_senders_lose_and_repeat_nothing() {
    let (_server, client) = start().await;
    let producer = client.producer("PG").await.unwrap();
    let mut senders = tokio::task::JoinSet::new();
    for sender in 0..64 {
        let producer = producer.clone();
        senders.spawn(async move {
            for n in 0..30 {
                let body = format!("{sender}-{n}");
                producer
                    .send(Message::new("many", body))
                    .timeout(PATIENCE)
                    .await
                    .unwrap();
            }
        });
    }
    senders.join_all().await;
    let mut reader = client.reader("many").await.unwrap();
    let messages = read(&mut reader, 64 * 30).await;
    let bodies: HashSet<_> = messages.iter().map(body_of).collect();
    assert_eq!(bodies.len(), 64 * 30);
}

/// P-066
#[tokio::test]
async fn a_message_that_the_server_refuses_is_an_error() {
    let (_server, client) = start().await;
    let producer = client.producer("PG").await.unwrap();
    let queue = producer
        .send(Message::new("refused", "x"))
        .await
        .unwrap()
        .queue;
    let mut beyond = queue.clone();
    beyond.queue_id = 4711;
    let error = producer
        .send(Message::new("refused", "x"))
        .queue(beyond)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), rocketry::ErrorKind::Refused);
    assert!(
        error.response_code().is_some() && !error.maybe_stored(),
        "{error:#}"
    );
}

/// P-099, P-101: every caller's result is where a reader finds its message.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gathered_messages_are_where_their_results_say() {
    let (_server, client) = start().await;
    let config = ProducerConfig {
        auto_batch: Some(AutoBatch::default()),
        ..ProducerConfig::default()
    };
    let producer = client.producer("PG").config(config).await.unwrap();
    let mut sends = tokio::task::JoinSet::new();
    for n in 0..200 {
        let producer = producer.clone();
        sends.spawn(async move {
            let message = Message::new("gathered", format!("{n}")).key(format!("k{n}"));
            let message = if n % 2 == 0 {
                message.tag("even")
            } else {
                message
            };
            let result = if n % 3 == 0 {
                producer.enqueue(message).await.unwrap().await
            } else {
                producer.send(message).await
            };
            (n, result.unwrap())
        });
    }
    let results: BTreeMap<_, _> = sends.join_all().await.into_iter().collect();
    let mut reader = client.reader("gathered").await.unwrap();
    for message in read(&mut reader, 200).await {
        let n: i32 = body_of(&message).parse().unwrap();
        let result = &results[&n];
        assert_eq!(message.msg_id(), result.msg_id);
        assert_eq!(message.offset_msg_id(), result.offset_msg_id);
        assert_eq!(
            (message.queue_id, message.queue_offset),
            (result.queue.queue_id, result.queue_offset)
        );
        assert_eq!(message.tags(), (n % 2 == 0).then_some("even"));
        assert!(message.keys().eq([format!("k{n}")]));
    }
}

/// P-088, for batches that gather themselves: messages of one key arrive in the order in which they were enqueued.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gathered_messages_of_a_key_keep_their_order() {
    let (_server, client) = start().await;
    let admin = client.admin();
    let options = TopicOptions::default();
    admin.create_topic("in-order", &options).await.unwrap();
    let config = ProducerConfig {
        auto_batch: Some(AutoBatch {
            max_bytes: 100,
            ..AutoBatch::default()
        }),
        ..ProducerConfig::default()
    };
    let producer = client.producer("PG").config(config).await.unwrap();
    let mut tickets = Vec::new();
    for n in 0..2000 {
        let message = Message::new("in-order", format!("{n}"));
        let key = format!("key-{}", n % 5);
        tickets.push(producer.enqueue(message).strict_shard(key).await.unwrap());
    }
    for ticket in tickets {
        ticket.await.unwrap();
    }
    let mut last = BTreeMap::new();
    let mut reader = client.reader("in-order").await.unwrap();
    let mut messages = read(&mut reader, 2000).await;
    messages.sort_by_key(|message| (message.queue_id, message.queue_offset));
    for message in messages {
        let n: i32 = body_of(&message).parse().unwrap();
        let before = last.insert(n % 5, n);
        assert_eq!(before.unwrap_or(n % 5 - 5), n - 5);
    }
}
