//! Routes: look-up, cache, refresh, failover of name servers.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use rocketry::{Client, ClientConfig, ErrorKind, Message, TopicRouteData};
use rocketry_protocol::{RemotingCommand, body};

use crate::support::*;

fn asked(cluster: &Cluster) -> Vec<String> {
    let asked = cluster.name_server.received(105);
    asked.iter().map(|r| r.field("topic").to_owned()).collect()
}

/// P-038, P-044
#[tokio::test]
async fn a_route_is_asked_for_once() {
    let cluster = Cluster::of(&["b", "a"]);
    let producer = cluster.producer().await;
    for _ in 0..20 {
        producer.send(message()).await.unwrap();
    }
    assert_eq!(asked(&cluster), ["T"]);
    let names: Vec<_> = producer
        .publish_queues("T")
        .await
        .unwrap()
        .iter()
        .map(|queue| format!("{}{}", queue.broker_name, queue.queue_id))
        .collect();
    assert_eq!(names, ["a0", "a1", "a2", "a3", "b0", "b1", "b2", "b3"]);
}

/// P-041
#[tokio::test]
async fn a_new_topic_is_sent_where_brokers_create_it() {
    let cluster = Cluster::of(&["a"]);
    cluster.auto_create();
    let producer = cluster.producer().await;
    let mut seen = std::collections::HashSet::new();
    for _ in 0..8 {
        let result = producer.send(Message::new("fresh", "x")).await.unwrap();
        seen.insert(result.queue.queue_id);
    }
    assert_eq!(seen.len(), 4, "four queues, though TBW102 has eight");
    assert_eq!(asked(&cluster), ["fresh", "TBW102"]);
    assert_eq!(cluster.broker("a").received(310)[0].field("d"), "4");
}

/// P-042
#[tokio::test]
async fn a_topic_that_nobody_creates_is_not_found() {
    let cluster = Cluster::of(&["a"]);
    let producer = cluster.producer().await;
    let error = producer.send(Message::new("fresh", "x")).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.java_code()),
        (ErrorKind::TopicNotFound, 10005)
    );
    assert_eq!(asked(&cluster), ["fresh", "TBW102"]);
}

/// P-042
#[tokio::test]
async fn a_topic_that_is_read_only_is_not_writable() {
    let cluster = Cluster::of(&["a"]);
    cluster.auto_create();
    cluster.set_route("archive", cluster.route(4, 4));
    let producer = cluster.producer().await;
    let error = producer
        .send(Message::new("archive", "x"))
        .await
        .unwrap_err();
    assert_eq!(
        (error.kind(), error.java_code()),
        (ErrorKind::TopicNotWritable, 10005)
    );
    assert_eq!(asked(&cluster), ["archive"]);
}

/// P-043
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_first_sends_ask_once() {
    let cluster = Cluster::of(&["a"]);
    let producer = cluster.producer().await;
    let mut sends = tokio::task::JoinSet::new();
    for _ in 0..1000 {
        let producer = producer.clone();
        sends.spawn(async move { producer.send(message()).timeout(PATIENCE).await });
    }
    for sent in sends.join_all().await {
        sent.unwrap();
    }
    assert_eq!(asked(&cluster).len(), 1);
}

/// P-044, P-045
#[tokio::test]
async fn a_refresh_finds_new_queues() {
    let cluster = Cluster::of(&["a"]);
    let config = ClientConfig {
        route_refresh: ms(30),
        ..ClientConfig::default()
    };
    let client = cluster.connect().config(config).await.unwrap();
    let producer = client.producer("PG").await.unwrap();
    producer.send(message()).await.unwrap();
    cluster.topic("T", 12);
    let seen = cluster.name_server.received(105).len();
    // the second request from now on was made after the change
    cluster.name_server.wait_for(105, seen + 2).await;
    let mut queues = std::collections::HashSet::new();
    for _ in 0..24 {
        queues.insert(producer.send(message()).await.unwrap().queue.queue_id);
    }
    assert_eq!(queues.len(), 12);
}

/// P-046
#[tokio::test]
async fn sends_go_on_without_name_servers_as_long_as_the_route_is_known() {
    let mut cluster = Cluster::of(&["a"]);
    let config = ClientConfig {
        route_refresh: ms(20),
        ..ClientConfig::default()
    };
    let client = cluster.connect().config(config).await.unwrap();
    let producer = client.producer("PG").await.unwrap();
    producer.send(message()).await.unwrap();
    let gone = std::mem::replace(
        &mut cluster.name_server,
        FakeServer::start(|_| Action::Silent),
    );
    gone.stop().await;
    for _ in 0..20 {
        producer.send(message()).await.unwrap();
    }
    let started = now();
    let error = producer
        .send(Message::new("other", "x"))
        .timeout(ms(500))
        .await
        .unwrap_err();
    on_time(started.elapsed(), ms(0));
    assert_eq!(error.kind(), ErrorKind::NameServerUnreachable);
    assert_eq!(error.java_code(), -1);
}

/// P-047
#[tokio::test]
async fn routes_with_bare_numbers_as_keys_are_read() {
    let cluster = Cluster::of(&["a"]);
    let route = cluster.route(4, 6);
    cluster
        .name_server
        .script(move |_| Action::Reply(ok().with_body(body::encode(&route).unwrap())));
    let lax = body::encode(&cluster.route(4, 6)).unwrap();
    assert!(
        String::from_utf8_lossy(&lax).contains("{0:"),
        "not the dialect meant here"
    );
    cluster.producer().await.send(message()).await.unwrap();
}

/// P-048
#[tokio::test]
async fn a_moved_broker_is_found_again() {
    let mut cluster = Cluster::of(&["a"]);
    let producer = cluster.producer().await;
    producer.send(message()).await.unwrap();
    let old = std::mem::replace(&mut cluster.brokers[0].1, FakeServer::start(storing()));
    cluster.topic("T", 4);
    old.stop().await;
    // the first send may find out the hard way, and has the route refreshed; see what `suspect` allows per topic
    let sent = async {
        while producer.send(message()).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, sent).await.unwrap();
    assert_eq!(cluster.broker("a").received(310).len(), 1);
}

/// P-068
#[tokio::test]
async fn an_unknown_address_is_asked_for_once_more() {
    let cluster = Cluster::of(&["a"]);
    let producer = cluster.producer().await;
    producer.send(message()).await.unwrap();
    let mut queue = producer.publish_queues("T").await.unwrap().remove(0);
    queue.broker_name = "nobody".into();
    let before = asked(&cluster).len();
    let error = producer.send(message()).queue(queue).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.java_code()),
        (ErrorKind::BrokerUnknown, 10003)
    );
    assert!(error.to_string().contains("\"nobody\""), "{error}");
    assert_eq!(asked(&cluster).len(), before + 1);
}

/// P-068: what the refresh finds is used.
#[tokio::test]
async fn a_broker_that_registered_since_is_used() {
    let cluster = Cluster::of(&["a", "late"]);
    let mut partial = cluster.route(4, 6);
    partial
        .broker_datas
        .retain(|broker| broker.broker_name == "a");
    partial
        .queue_datas
        .retain(|queues| queues.broker_name == "a");
    cluster.set_route("T", partial);
    let producer = cluster.producer().await;
    producer.send(message()).await.unwrap();
    cluster.topic("T", 4);
    let queues = producer.publish_queues("T").await.unwrap();
    let late = queues
        .into_iter()
        .find(|queue| &*queue.broker_name == "late")
        .unwrap();
    let result = producer.send(message()).queue(late).await.unwrap();
    assert_eq!(&*result.queue.broker_name, "late");
}

/// P-012
#[tokio::test]
async fn a_dead_name_server_in_the_list_does_not_matter() {
    let cluster = Cluster::of(&["a"]);
    for _ in 0..8 {
        let list = format!("{};{}", dead_addr(), cluster.name_server.addr());
        let client = Client::connect(list).await.unwrap();
        client
            .producer("PG")
            .await
            .unwrap()
            .send(message())
            .await
            .unwrap();
    }
}

/// P-145
#[tokio::test]
async fn the_name_server_that_answers_is_kept() {
    let cluster = Cluster::of(&["a"]);
    let counts: Vec<_> = (0..3).map(|_| Arc::new(AtomicUsize::new(0))).collect();
    let mut servers: Vec<_> = counts
        .iter()
        .map(|count| {
            let (count, route) = (Arc::clone(count), cluster.route(4, 6));
            Some(FakeServer::start(move |_| {
                count.fetch_add(1, Ordering::SeqCst);
                Action::Reply(ok().with_body(body::encode(&route).unwrap()))
            }))
        })
        .collect();
    let list: Vec<_> = servers.iter().flatten().map(FakeServer::addr).collect();
    let client = Client::connect(list.join(";")).await.unwrap();
    let producer = client.producer("PG").await.unwrap();
    let ask = async |n: usize| {
        producer
            .send(Message::new(format!("topic-{n}"), "x"))
            .await
            .unwrap();
    };
    let now = || {
        counts
            .iter()
            .map(|count| count.load(Ordering::SeqCst))
            .collect::<Vec<_>>()
    };
    for n in 0..5 {
        ask(n).await;
    }
    let chosen = now()
        .iter()
        .position(|count| *count == 5)
        .expect("one server got all");
    servers[chosen].take().unwrap().stop().await;
    for n in 5..10 {
        ask(n).await;
    }
    let after = now();
    assert!(
        (0..3).any(|other| other != chosen && after[other] == 5),
        "one other server got all the rest: {after:?}"
    );
}

/// P-014
#[tokio::test]
async fn no_address_at_all_fails_at_once() {
    let producer = Client::connect("")
        .await
        .unwrap()
        .producer("PG")
        .await
        .unwrap();
    let started = now();
    let error = producer.send(message()).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.java_code()),
        (ErrorKind::NoNameServer, 10004)
    );
    on_time(started.elapsed(), ms(0));
}

/// A topic that the name server has forgotten, for instance because it has restarted, keeps its last route.
#[tokio::test]
async fn a_forgetful_name_server_does_not_stop_sends() {
    let cluster = Cluster::of(&["a"]);
    let config = ClientConfig {
        route_refresh: ms(20),
        ..ClientConfig::default()
    };
    let client = cluster.connect().config(config).await.unwrap();
    let producer = client.producer("PG").await.unwrap();
    producer.send(message()).await.unwrap();
    cluster.forget_topic("T");
    let seen = cluster.name_server.received(105).len();
    cluster.name_server.wait_for(105, seen + 3).await;
    producer.send(message()).await.unwrap();
}

#[tokio::test]
async fn a_route_that_cannot_be_read_is_an_error() {
    let cluster = Cluster::of(&["a"]);
    cluster
        .name_server
        .script(|_| Action::Reply(ok().with_body("{\"queueDatas\":[{")));
    let error = cluster.producer().await.send(message()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol);
    cluster
        .name_server
        .script(|_| Action::Reply(refuse(1, "broken")));
    let error = cluster.producer().await.send(message()).await.unwrap_err();
    assert_eq!((error.kind(), error.java_code()), (ErrorKind::Refused, 1));
    cluster.name_server.script(|_| {
        Action::Reply(ok().with_body(body::encode(&TopicRouteData::default()).unwrap()))
    });
    let error = cluster.producer().await.send(message()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TopicNotWritable);
}

/// P-144: what stops in order answers everything with 1500, until it is gone.
#[tokio::test(start_paused = true)]
async fn a_name_server_that_goes_away_is_left_for_the_next_one() {
    let cluster = Cluster::in_memory(&["a"]);
    let route = cluster.route(4, 6);
    let healthy = move |_: &RemotingCommand| {
        Action::Reply(ok().with_body(body::encode_standard(&route).unwrap()))
    };
    let leaving = |_: &RemotingCommand| Action::Reply(refuse(1500, "go away"));
    let other = FakeServer::start_in(cluster.network(), healthy.clone());
    cluster.name_server.script(healthy);
    let list = format!("{};{}", cluster.name_server.addr(), other.addr());
    let client = cluster.connect_to(&list).await.unwrap();
    let producer = client.producer("PG").await.unwrap();
    producer.send(message()).await.unwrap();
    let (first, second) = match other.received(105).len() {
        0 => (&cluster.name_server, &other),
        _ => (&other, &cluster.name_server),
    };
    assert_eq!(
        (first.received(105).len(), second.received(105).len()),
        (1, 0)
    );

    first.script(leaving);
    producer.send(Message::new("U", "x")).await.unwrap();
    let asked = first.received(105);
    assert_eq!((asked.len(), second.received(105).len()), (3, 1));
    assert_ne!(asked[1].connection, asked[2].connection);
    // and stays with that one
    producer.send(Message::new("V", "x")).await.unwrap();
    assert_eq!(
        (first.received(105).len(), second.received(105).len()),
        (3, 2)
    );

    second.script(leaving);
    let error = producer.send(Message::new("W", "x")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NameServerUnreachable);
    assert_eq!(error.attempts().len(), 2);
    assert!(error.to_string().contains("it is going away"), "{error}");
    client.shutdown(PATIENCE).await;
}
