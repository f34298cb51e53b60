//! Keys and their queues: Java's hash, and an order that nothing moves.

use std::collections::HashMap;

use rocketry::{
    AutoBatch, ClientConfig, ErrorKind, Message, ProducerConfig, TopicRouteData, by_machine_room,
};

use crate::support::*;

/// P-092
#[tokio::test]
async fn a_key_goes_where_java_sends_it() {
    let cluster = Cluster::of(&["a"]);
    cluster.topic("U", 5);
    let producer = cluster.producer().await;
    for (topic, expected) in [("U", 0), ("T", 2)] {
        let send = producer.send(Message::new(topic, "x")).shard("order-1");
        assert_eq!(send.await.unwrap().queue.queue_id, expected);
        let send = producer.enqueue(Message::new(topic, "x")).shard("order-1");
        let result = send.await.unwrap().await.unwrap();
        assert_eq!(result.queue.queue_id, expected);
        let send = producer
            .send(Message::new(topic, "x"))
            .strict_shard("order-1");
        assert_eq!(send.await.unwrap().queue.queue_id, expected);
    }
}

/// P-093
#[tokio::test]
async fn a_machine_room_without_brokers_is_no_choice() {
    let cluster = Cluster::of(&["hz@a", "sh@b"]);
    let producer = cluster.producer().await;
    for _ in 0..8 {
        let send = producer.send(message()).selector(by_machine_room(["sh"]));
        assert_eq!(&*send.await.unwrap().queue.broker_name, "sh@b");
    }
    let send = producer.send(message()).selector(by_machine_room(["bj"]));
    let error = send.await.unwrap_err();
    assert_eq!((error.kind(), error.java_code()), (ErrorKind::Selector, -1));
}

/// The route without one of its brokers.
fn without(cluster: &Cluster, broker: &str) -> TopicRouteData {
    let mut route = cluster.route(4, 6);
    route.broker_datas.retain(|data| data.broker_name != broker);
    route.queue_datas.retain(|data| data.broker_name != broker);
    route
}

#[tokio::test]
async fn a_key_of_strict_order_never_moves() {
    let cluster = Cluster::of(&["a", "b"]);
    let config = ClientConfig {
        route_refresh: ms(10),
        ..ClientConfig::default()
    };
    let client = cluster.connect().config(config).await.unwrap();
    let producer = client.producer("PG").await.unwrap();
    let keys: Vec<_> = (0..20).map(|n| format!("order-{n}")).collect();
    let mut home = HashMap::new();
    for key in &keys {
        let send = producer.send(message()).strict_shard(key);
        home.insert(key, send.await.unwrap().queue);
    }
    let at_b = keys.iter().find(|key| &*home[key].broker_name == "b");
    let at_b = at_b.unwrap();

    // more queues, as after a change of the topic or a new broker: only the hash of shard follows
    cluster.set_route("T", cluster.route(9, 6));
    let moved = async {
        loop {
            for key in &keys {
                let strict = producer.send(message()).strict_shard(key).await.unwrap();
                assert_eq!(strict.queue, home[key]);
                let plain = producer.send(message()).shard(key).await.unwrap();
                if plain.queue != home[key] {
                    return;
                }
            }
        }
    };
    tokio::time::timeout(PATIENCE, moved).await.unwrap();

    // a broker that leaves takes its keys with it
    cluster.set_route("T", without(&cluster, "b"));
    let gone = async {
        loop {
            match producer.send(message()).strict_shard(at_b).await {
                Ok(result) => assert_eq!(result.queue, home[at_b]),
                Err(error) => return error,
            }
        }
    };
    let error = tokio::time::timeout(PATIENCE, gone).await.unwrap();
    assert_eq!(error.kind(), ErrorKind::TopicNotWritable);
    assert!(error.is_retryable() && !error.maybe_stored());
    assert!(
        error.to_string().contains("the key's order is kept there"),
        "{error}"
    );
    for key in &keys {
        match producer.send(message()).strict_shard(key).await {
            Ok(result) => assert_eq!(result.queue, home[key]),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::TopicNotWritable);
                assert_eq!(&*home[key].broker_name, "b");
            }
        }
    }

    // and brings them back
    cluster.set_route("T", cluster.route(4, 6));
    let back = async {
        while producer
            .send(message())
            .strict_shard(at_b)
            .await
            .is_err_and(|error| error.kind() == ErrorKind::TopicNotWritable)
        {}
    };
    tokio::time::timeout(PATIENCE, back).await.unwrap();
    let send = producer.send(message()).strict_shard(at_b);
    assert_eq!(send.await.unwrap().queue, home[at_b]);
}

/// With an order configuration every client has the same queues, whichever brokers it finds.
#[tokio::test]
async fn an_order_configuration_lists_the_queues_of_absent_brokers() {
    let cluster = Cluster::of(&["a", "b"]);
    let mut route = without(&cluster, "b");
    route.order_topic_conf = Some("a:4;b:4".to_owned());
    cluster.set_route("T", route);
    let producer = cluster.producer().await;
    let (mut stored, mut refused) = (0, 0);
    for n in 0..20 {
        let send = producer.send(message()).strict_shard(format!("order-{n}"));
        match send.await {
            Ok(result) => {
                assert_eq!(&*result.queue.broker_name, "a");
                stored += 1;
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::BrokerUnknown);
                assert_eq!(error.broker(), Some("b"));
                refused += 1;
            }
        }
    }
    assert!(stored > 0 && refused > 0, "{stored} {refused}");
}

#[tokio::test]
async fn strict_order_does_not_begin_in_a_topic_that_does_not_exist() {
    let cluster = Cluster::of(&["a"]);
    cluster.auto_create();
    let producer = cluster.producer().await;
    let send = producer.send(Message::new("new", "x")).strict_shard("k");
    let error = send.await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TopicNotFound);
    assert!(error.hint().unwrap().contains("topic create new"));
    assert!(cluster.received(310).is_empty());
    producer
        .send(Message::new("new", "x"))
        .shard("k")
        .await
        .unwrap();
}

/// What is tried again could arrive after what was sent later.
#[tokio::test]
async fn strict_order_is_tried_once_in_every_mode() {
    let cluster = Cluster::of(&["a"]);
    cluster.script_all(310, || Action::Close);
    let producer = cluster.producer().await;
    let error = producer
        .send(message())
        .strict_shard("k")
        .await
        .unwrap_err();
    assert_eq!(error.attempts().len(), 1);
    let enqueued = producer.enqueue(message()).strict_shard("k").await;
    let error = match enqueued {
        Ok(ticket) => ticket.await.unwrap_err(),
        Err(error) => error,
    };
    assert_eq!(error.attempts().len(), 1);
    assert_eq!(cluster.received(310).len(), 2);
    // nor is a broker that goes away asked again behind the back of what follows
    cluster.script_all(310, || Action::Reply(refuse(1500, "go away")));
    let ticket = producer.enqueue(message()).strict_shard("k").await.unwrap();
    let error = ticket.await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionLost);
    assert_eq!(cluster.received(310).len(), 3);
}

/// Keys of one queue share its batches.
#[tokio::test(start_paused = true)]
async fn messages_with_keys_are_gathered_by_queue() {
    let cluster = Cluster::in_memory(&["a", "b"]);
    let client = cluster.client().await;
    let config = ProducerConfig {
        auto_batch: Some(AutoBatch::default()),
        ..ProducerConfig::default()
    };
    let producer = client.producer("PG").config(config).await.unwrap();
    let mut tickets = Vec::new();
    for n in 0..100 {
        let send = producer.enqueue(message());
        let send = if n % 2 == 0 {
            send.shard(format!("{n}"))
        } else {
            send.strict_shard(format!("{n}"))
        };
        tickets.push((n, send.await.unwrap()));
    }
    for (n, ticket) in tickets {
        let result = ticket.await.unwrap();
        let alone = producer.send(message()).timeout(ms(1000));
        let alone = alone.shard(format!("{n}")).await.unwrap();
        assert_eq!(result.queue, alone.queue);
    }
    // 8 queues, each with a batch of keys that are strict and one of those that are not
    assert_eq!(cluster.received(320).len(), 16);
    client.shutdown(PATIENCE).await;
}
