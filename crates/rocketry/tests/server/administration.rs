//! Administration of the embedded server.

use rocketry::{Boundary, ErrorKind, Message, QueryOptions, TopicOptions};

use crate::{PATIENCE, read, start, start_without_auto_creation};

/// P-123, P-124, P-125
#[tokio::test]
async fn topics_are_created_listed_described_and_deleted() {
    let (server, client) = start().await;
    let admin = client.admin();
    let options = TopicOptions {
        write_queues: 3,
        ..TopicOptions::default()
    };
    let addresses = admin.create_topic("orders", &options).await.unwrap();
    assert_eq!(addresses, [server.broker_addr()]);
    assert!(admin.topics().await.unwrap().contains(&"orders".to_owned()));
    let queues = admin.publish_queues("orders").await.unwrap();
    assert_eq!(queues.len(), 3);
    assert_eq!(admin.subscribe_queues("orders").await.unwrap().len(), 8);
    let route = admin.topic_route("orders").await.unwrap();
    assert_eq!(route.broker_datas[0].broker_addrs[&0], server.broker_addr());
    assert_eq!(
        (
            route.queue_datas[0].perm,
            route.queue_datas[0].write_queue_nums
        ),
        (6, 3)
    );

    let producer = client.producer("PG").await.unwrap();
    let queue = queues[2].clone();
    let mut sent = Vec::new();
    for n in 0..10 {
        let message = Message::new("orders", n.to_string());
        sent.push(producer.send(message).queue(queue.clone()).await.unwrap());
    }
    assert_eq!(admin.min_offset(&queue).await.unwrap(), 0);
    assert_eq!(admin.max_offset(&queue).await.unwrap(), 10);
    assert_eq!(
        admin
            .search_offset(&queue, 0, Boundary::Lower)
            .await
            .unwrap(),
        0
    );
    let messages = read(&mut client.reader("orders").await.unwrap(), 10).await;
    assert_eq!(
        admin.earliest_store_time(&queue).await.unwrap(),
        messages[0].store_ms
    );
    let stats = admin.topic_stats("orders").await.unwrap();
    let of_queue = stats.iter().find(|stats| stats.queue == queue).unwrap();
    assert_eq!((of_queue.min_offset, of_queue.max_offset), (0, 10));
    assert_eq!(of_queue.last_update_ms, messages[9].store_ms);
    assert_eq!(stats.iter().map(|stats| stats.max_offset).sum::<i64>(), 10);

    let viewed = admin
        .view_message("orders", &sent[4].offset_msg_id)
        .await
        .unwrap();
    assert_eq!(
        (&*viewed.body, viewed.msg_id()),
        (&b"4"[..], sent[4].msg_id.clone())
    );
    let error = admin.view_message("orders", "nonsense").await.unwrap_err();
    assert_eq!(
        (error.kind(), error.java_code()),
        (ErrorKind::NotFound, 208)
    );

    assert_eq!(
        admin
            .consumer_offset("TOOLS_CONSUMER", &queue)
            .await
            .unwrap(),
        None
    );
    admin
        .update_consumer_offset("TOOLS_CONSUMER", &queue, 7)
        .await
        .unwrap();
    assert_eq!(
        admin
            .consumer_offset("TOOLS_CONSUMER", &queue)
            .await
            .unwrap(),
        Some(7)
    );

    admin.delete_topic("orders").await.unwrap();
    assert!(!admin.topics().await.unwrap().contains(&"orders".to_owned()));
    assert_eq!(
        admin.topic_route("orders").await.unwrap_err().kind(),
        ErrorKind::TopicNotFound
    );
}

#[tokio::test]
async fn the_cluster_is_described() {
    let (server, client) = start().await;
    let admin = client.admin();
    let cluster = admin.cluster_info().await.unwrap();
    assert_eq!(cluster.cluster_addr_table["DefaultCluster"], ["broker-a"]);
    let addr = &cluster.broker_addr_table["broker-a"].broker_addrs[&0];
    assert_eq!(addr, server.broker_addr());
    assert!(!admin.broker_stats(addr).await.unwrap().is_empty());
}

#[tokio::test]
async fn without_auto_creation_a_missing_topic_is_an_error_until_it_is_created() {
    let (_server, client) = start_without_auto_creation().await;
    let producer = client.producer("PG").await.unwrap();
    let error = producer.send(Message::new("fresh", "x")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TopicNotFound);
    assert!(
        error.to_string().contains("rocketry topic create fresh"),
        "{error}"
    );
    client
        .admin()
        .create_topic("fresh", &TopicOptions::default())
        .await
        .unwrap();
    producer.send(Message::new("fresh", "x")).await.unwrap();
}

/// The first error of a beginner: the server has stopped.
#[tokio::test]
async fn a_server_that_stops_is_reported_and_one_that_returns_is_used() {
    let (server, client) = start().await;
    let producer = client.producer("PG").await.unwrap();
    producer.send(Message::new("T", "x")).await.unwrap();
    server.shutdown(PATIENCE).await.unwrap();
    let error = producer.send(Message::new("T", "x")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BrokerUnreachable, "{error:#}");
    assert!(error.to_string().contains("refused"), "{error}");
}

/// P-029, P-126, P-127
#[tokio::test]
async fn messages_are_found_by_each_of_their_keys_and_ids() {
    let (server, client) = start().await;
    let producer = client.producer("PG").await.unwrap();
    let message = Message::new("orders", "x").keys(["o-1", "customer-7", "paid"]);
    let sent = producer.send(message).await.unwrap();
    let other = Message::new("orders", "y").key("o-2").key("paid");
    producer.send(other).await.unwrap();
    let admin = client.admin();
    let options = QueryOptions::default();
    for (key, count) in [("o-1", 1), ("customer-7", 1), ("paid", 2)] {
        let found = admin.query_messages("orders", key, options).await.unwrap();
        assert_eq!(found.messages.len(), count, "{key}");
        assert_eq!(found.messages[0].msg_id(), sent.msg_id);
    }
    let error = admin
        .query_messages("orders", "o-3", options)
        .await
        .unwrap_err();
    assert_eq!(error.java_code(), 208);
    for id in [&sent.msg_id, &sent.offset_msg_id] {
        let viewed = admin.view_message("orders", id).await.unwrap();
        assert_eq!(&*viewed.body, b"x");
    }
    drop(server);
}
