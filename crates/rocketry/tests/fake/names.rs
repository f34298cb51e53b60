//! Names and addresses that differ on the wire: the older namespaces, and the second port.

use std::{future::IntoFuture, net::SocketAddr};

use rocketry::{
    AutoBatch, Boundary, Client, ClientConfig, Decision, HalfMessage, Message, MessageQueue,
    ProducerConfig, Selection, TopicOptions, property,
};
use rocketry_protocol::body::{self, heartbeat::HeartbeatData};

use crate::support::*;

async fn in_namespace(cluster: &Cluster) -> Client {
    cluster.topic("NS%T", 4);
    cluster.connect().namespace("NS").await.unwrap()
}

/// P-020
#[tokio::test]
async fn a_namespace_is_in_front_of_names_on_the_wire_and_nowhere_else() {
    let cluster = Cluster::of(&["a"]);
    let broker = cluster.broker("a");
    let client = in_namespace(&cluster).await;
    let producer = client.producer("g").await.unwrap();
    assert_eq!(producer.group(), "NS%g");
    let result = producer.send(message()).await.unwrap();
    assert_eq!(result.queue.topic.as_str(), "T");
    let sent = broker.received(310);
    assert_eq!((sent[0].field("a"), sent[0].field("b")), ("NS%g", "NS%T"));
    assert_eq!(
        sent[0].property(property::INSTANCE_ID).as_deref(),
        Some("NS")
    );
    let beat: HeartbeatData = body::decode(&broker.wait_for(34, 1).await[0].command.body).unwrap();
    assert_eq!(beat.producer_data_set[0].group_name, "NS%g");

    // every way to send, and the queue of a result as a target
    producer
        .send(message())
        .queue(result.queue.clone())
        .await
        .unwrap();
    producer.send_oneway(message()).await.unwrap();
    let ticket = producer.enqueue(message()).await.unwrap();
    assert_eq!(ticket.await.unwrap().queue.topic.as_str(), "T");
    let batch = producer.send_batch([message(), message()]).await.unwrap();
    assert_eq!(batch.queue.topic.as_str(), "T");
    for received in broker.wait_for(310, 4).await {
        assert_eq!(received.field("b"), "NS%T");
    }
    assert_eq!(broker.received(320)[0].field("b"), "NS%T");
    // a message that carries the namespace already, as a copy of a received one may
    producer.send(message().with_topic("NS%T")).await.unwrap();
    assert_eq!(broker.wait_for(310, 5).await[4].field("b"), "NS%T");
    assert!(client.shutdown(PATIENCE).await.is_clean());
    assert_eq!(broker.received(35)[0].field("producerGroup"), "NS%g");
}

/// P-020
#[tokio::test]
async fn retry_topics_keep_their_prefix_in_front_and_system_topics_stay() {
    let cluster = Cluster::of(&["a"]);
    let client = in_namespace(&cluster).await;
    let producer = client.producer("g").await.unwrap();
    for (topic, on_the_wire) in [
        ("%RETRY%g", "%RETRY%NS%g"),
        ("RMQ_SYS_TRACE_TOPIC", "RMQ_SYS_TRACE_TOPIC"),
    ] {
        cluster.topic(on_the_wire, 1);
        let result = producer.send(Message::new(topic, "x")).await.unwrap();
        assert_eq!(result.queue.topic.as_str(), topic);
        let sent = cluster.broker("a").received(310);
        assert_eq!(sent.last().unwrap().field("b"), on_the_wire);
    }
}

/// P-020
#[tokio::test]
async fn a_transaction_ends_in_the_namespace_it_began_in() {
    let cluster = Cluster::of(&["a"]);
    let client = in_namespace(&cluster).await;
    let producer = client
        .producer("g")
        .transaction_checker(|_half| Decision::Unknown)
        .await
        .unwrap();
    let local = |half: HalfMessage| async move {
        assert_eq!(half.message.topic(), "T");
        Decision::Commit
    };
    let result = producer
        .send_in_transaction(message(), local)
        .await
        .unwrap();
    assert_eq!(result.sent.queue.topic.as_str(), "T");
    let half = &cluster.broker("a").received(310)[0];
    assert_eq!(half.property("PGROUP").as_deref(), Some("NS%g"));
    let told = &cluster.broker("a").wait_for(37, 1).await[0];
    assert_eq!(
        (told.field("producerGroup"), told.field("topic")),
        ("NS%g", "NS%T")
    );
}

/// P-094
#[tokio::test]
async fn selectors_see_the_names_of_the_application() {
    let cluster = Cluster::of(&["a"]);
    let client = in_namespace(&cluster).await;
    let producer = client.producer("g").await.unwrap();
    let result = producer
        .send(message())
        .selector(|queues, message| {
            assert!(queues.iter().all(|queue| queue.topic.as_str() == "T"));
            assert_eq!(message.topic(), "T");
            Selection::Queue(queues[2].clone())
        })
        .await
        .unwrap();
    assert_eq!(result.queue.queue_id, 2);
    assert_eq!(cluster.broker("a").received(310)[0].field("b"), "NS%T");
}

/// P-020
#[tokio::test]
async fn gathered_messages_are_in_the_namespace_as_well() {
    let cluster = Cluster::of(&["a"]);
    let client = in_namespace(&cluster).await;
    let config = ProducerConfig {
        auto_batch: Some(AutoBatch::default()),
        ..ProducerConfig::default()
    };
    let producer = client.producer("g").config(config).await.unwrap();
    let select = |queues: &[MessageQueue], _: &Message| {
        assert_eq!(queues[1].topic.as_str(), "T");
        Selection::Queue(queues[1].clone())
    };
    let (one, two) = tokio::join!(
        producer.send(message()).selector(select).into_future(),
        producer.send(message()).selector(select).into_future(),
    );
    for result in [one.unwrap(), two.unwrap()] {
        assert_eq!(
            (result.queue.topic.as_str(), result.queue.queue_id),
            ("T", 1)
        );
    }
    let sent = cluster.broker("a").received(320);
    assert_eq!((sent.len(), sent[0].field("b")), (1, "NS%T"));
}

/// P-020
#[tokio::test]
async fn administration_speaks_of_the_names_of_the_application() {
    let cluster = Cluster::of(&["a"]);
    let client = in_namespace(&cluster).await;
    let (admin, broker) = (client.admin(), cluster.broker("a"));
    let queues = admin.publish_queues("T").await.unwrap();
    assert_eq!((queues.len(), queues[0].topic.as_str()), (4, "T"));
    broker.script(|request| {
        Action::Reply(match request.code {
            17 => ok(),
            _ => ok().with_field("offset", "7"),
        })
    });
    let options = TopicOptions::default();
    admin.create_topic("new", &options).await.unwrap();
    assert_eq!(broker.received(17)[0].field("topic"), "NS%new");
    admin
        .search_offset(&queues[0], 1, Boundary::Lower)
        .await
        .unwrap();
    assert_eq!(broker.received(29)[0].field("topic"), "NS%T");
    admin.consumer_offset("g", &queues[0]).await.unwrap();
    let asked = &broker.received(14)[0];
    assert_eq!(
        (asked.field("consumerGroup"), asked.field("topic")),
        ("NS%g", "NS%T")
    );
}

#[tokio::test]
async fn what_is_no_namespace_is_refused() {
    for bad in ["", " ", "a b", "a%b", "ä"] {
        let config = ClientConfig {
            namespace: Some(bad.to_owned()),
            ..ClientConfig::default()
        };
        let error = Client::connect("127.0.0.1:1")
            .config(config)
            .await
            .unwrap_err();
        assert!(
            error.to_string().contains("namespace is"),
            "{bad:?}: {error}"
        );
    }
}

/// P-018
#[tokio::test]
async fn sends_take_the_second_port_and_heartbeats_the_first() {
    // two neighbours of one port, the way a broker has them
    let (first, second) = loop {
        let second = FakeServer::start(storing());
        let mut at: SocketAddr = second.addr().parse().unwrap();
        let Some(port) = at.port().checked_add(2) else {
            continue;
        };
        at.set_port(port);
        if let Some(first) = FakeServer::try_start_at(at, storing()) {
            break (first, second);
        }
    };
    let cluster = Cluster::of(&[]);
    let mut route = cluster.route(4, 6);
    add_broker(&mut route, "a", &first.addr(), 4, 6);
    cluster.set_route("T", route);
    let client = cluster
        .connect()
        .config(ClientConfig {
            heartbeat: ms(20),
            ..ClientConfig::default()
        })
        .await
        .unwrap();
    let config = ProducerConfig {
        vip_channel: true,
        ..ProducerConfig::default()
    };
    let producer = client
        .producer("PG")
        .config(config)
        .transaction_checker(|_half| Decision::Unknown)
        .await
        .unwrap();
    producer.send(message()).await.unwrap();
    producer.send_oneway(message()).await.unwrap();
    let local = |_half| async { Decision::Commit };
    producer
        .send_in_transaction(message(), local)
        .await
        .unwrap();
    assert_eq!(second.wait_for(310, 3).await.len(), 3);
    first.wait_for(37, 1).await;
    first.wait_for(34, 2).await;
    assert!(client.shutdown(PATIENCE).await.is_clean());
    assert_eq!(first.received(35).len(), 1);
    assert!(first.received(310).is_empty());
    for code in [34, 35, 37] {
        assert!(second.received(code).is_empty(), "{code}");
    }
}
