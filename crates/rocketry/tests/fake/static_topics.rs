//! Static topics: queues whose numbers stay while brokers take them over.

use std::collections::BTreeMap;

use rocketry::{ErrorKind, TopicRouteData};
use rocketry_protocol::body::static_topic::TopicQueueMappingInfo;

use crate::support::*;

/// A route on which the brokers hold these logical queues of four.
fn mapped(cluster: &Cluster, epoch: i64, held: &[(&str, &[i32])]) -> TopicRouteData {
    let mut route = cluster.route(4, 6);
    let mappings: BTreeMap<_, _> = held
        .iter()
        .map(|(broker, ids)| {
            let info = TopicQueueMappingInfo {
                bname: (*broker).to_owned(),
                topic: "T".to_owned(),
                epoch,
                total_queues: 4,
                curr_id_map: ids.iter().map(|id| (*id, 0)).collect(),
                ..TopicQueueMappingInfo::default()
            };
            ((*broker).to_owned(), info)
        })
        .collect();
    route.topic_queue_mapping_by_broker = Some(mappings);
    route
}

/// P-049
#[tokio::test]
async fn logical_queues_lead_to_the_brokers_that_hold_them() {
    let cluster = Cluster::of(&["a", "b"]);
    cluster.set_route("T", mapped(&cluster, 1, &[("a", &[0, 3]), ("b", &[1, 2])]));
    let config = rocketry::ClientConfig {
        route_refresh: ms(20),
        ..rocketry::ClientConfig::default()
    };
    let client = cluster.connect().config(config).await.unwrap();
    let producer = client.producer("PG").await.unwrap();
    let queues = producer.publish_queues("T").await.unwrap();
    let names: Vec<_> = queues
        .iter()
        .map(|queue| (&*queue.broker_name, queue.queue_id))
        .collect();
    assert_eq!(
        names,
        [0, 1, 2, 3].map(|id| ("__syslo__global__", id)),
        "the application sees the logical queues"
    );
    for _ in 0..4 {
        producer.send(message()).await.unwrap();
    }
    for (broker, request) in cluster.received(310) {
        let holder = match request.field("e") {
            "0" | "3" => "a",
            _ => "b",
        };
        assert_eq!((&*broker, request.field("n")), (holder, holder));
    }
    let result = producer
        .send(message())
        .queue(queues[2].clone())
        .await
        .unwrap();
    assert_eq!(
        (&*result.queue.broker_name, result.queue.queue_id),
        ("b", 2)
    );
    // taken over: the same queue, elsewhere
    cluster.set_route("T", mapped(&cluster, 2, &[("a", &[0, 1, 2, 3])]));
    let moved = async {
        loop {
            let send = producer.send(message()).queue(queues[2].clone());
            if &*send.await.unwrap().queue.broker_name == "a" {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, moved).await.unwrap();
}

/// P-049: a failed attempt goes on at another broker, although all queues show the same name.
#[tokio::test]
async fn a_retry_leaves_the_broker_behind_a_logical_queue() {
    let cluster = Cluster::of(&["a", "b"]);
    cluster.set_route("T", mapped(&cluster, 1, &[("a", &[0, 1, 2]), ("b", &[3])]));
    cluster
        .broker("a")
        .script(on(310, |_| Action::Reply(refuse(1, "no"))));
    let producer = cluster.producer().await;
    for _ in 0..8 {
        let result = producer.send(message()).await.unwrap();
        assert_eq!(
            (&*result.queue.broker_name, result.queue.queue_id),
            ("b", 3)
        );
    }
}

/// P-049
#[tokio::test]
async fn a_logical_queue_that_nobody_holds_is_an_unknown_broker() {
    let cluster = Cluster::of(&["a"]);
    cluster.set_route("T", mapped(&cluster, 1, &[("a", &[0])]));
    let producer = cluster.producer().await;
    let queue = producer.publish_queues("T").await.unwrap().remove(2);
    let error = producer.send(message()).queue(queue).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.java_code()),
        (ErrorKind::BrokerUnknown, 10003)
    );
    assert_eq!(error.broker(), Some("__syslo__none__"));
}
