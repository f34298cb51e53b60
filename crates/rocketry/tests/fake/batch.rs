//! Batches.

use rocketry::{ErrorKind, Message, Properties};
use rocketry_protocol::batch;

use crate::support::*;

/// P-095, P-098
#[tokio::test]
async fn ten_messages_travel_in_one_request() {
    let cluster = Cluster::of(&["a"]);
    let producer = cluster.producer().await;
    let messages = (0..10).map(|n| {
        Message::new("T", format!("body {n}"))
            .key(format!("k{n}"))
            .tag(format!("t{n}"))
    });
    let result = producer.send_batch(messages).await.unwrap();
    let sent = cluster.broker("a").received(320);
    assert_eq!(sent.len(), 1);
    assert_eq!((sent[0].field("m"), sent[0].field("f")), ("true", "0"));
    let ids: Vec<_> = result.msg_id.split(',').collect();
    assert_eq!(ids.len(), 10);
    let items: Vec<_> = batch::items(&sent[0].command.body)
        .map(Result::unwrap)
        .collect();
    for (n, item) in items.iter().enumerate() {
        let properties = Properties::parse_bytes(item.properties);
        assert_eq!(item.body, format!("body {n}").as_bytes());
        assert_eq!(properties.get("KEYS"), Some(&*format!("k{n}")));
        assert_eq!(properties.get("TAGS"), Some(&*format!("t{n}")));
        assert_eq!(properties.get("UNIQ_KEY"), Some(ids[n]));
    }
    assert_eq!(sent[0].property("WAIT").as_deref(), Some("true"));
}

/// P-095: never compressed, in no mode.
#[tokio::test]
async fn batches_go_to_chosen_queues_and_asynchronously_too() {
    let cluster = Cluster::of(&["a"]);
    let producer = cluster.producer().await;
    let messages = || (0..3).map(|_| Message::new("T", vec![b'a'; 5000]));
    let queue = producer.publish_queues("T").await.unwrap().remove(3);
    let result = producer.send_batch(messages()).queue(queue).await.unwrap();
    assert_eq!(result.queue.queue_id, 3);
    producer
        .enqueue_batch(messages())
        .await
        .unwrap()
        .await
        .unwrap();
    let sent = cluster.broker("a").received(320);
    assert_eq!(sent.len(), 2);
    for request in sent {
        assert_eq!(request.field("f"), "0");
        assert!(request.command.body.len() > 15_000);
    }
}

/// P-096
#[tokio::test]
async fn what_cannot_be_in_a_batch_is_refused_without_traffic() {
    let cluster = Cluster::of(&["a"]);
    let producer = cluster.producer().await;
    let delayed = [message(), message().delay_level(3)];
    for messages in [
        vec![],
        delayed.to_vec(),
        vec![message(), Message::new("U", "x")],
    ] {
        let error = producer.send_batch(messages).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.java_code()),
            (ErrorKind::InvalidMessage, -1)
        );
    }
    assert_eq!(
        cluster.name_server.opened() + cluster.broker("a").opened(),
        0
    );
}

/// P-097
#[tokio::test]
async fn a_list_beyond_the_limit_is_split_into_batches_that_pass() {
    let cluster = Cluster::of(&["a"]);
    let producer = cluster.producer().await;
    let messages: Vec<_> = (0..9)
        .map(|_| Message::new("T", vec![b'a'; 1 << 20]))
        .collect();
    let error = producer.send_batch(messages.clone()).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.java_code()),
        (ErrorKind::MessageTooLarge, 13)
    );
    let mut sent = 0;
    for list in rocketry::split_batch(messages, 4 << 20) {
        sent += list.len();
        producer.send_batch(list).await.unwrap();
    }
    assert_eq!((sent, cluster.broker("a").received(320).len()), (9, 3));
}
