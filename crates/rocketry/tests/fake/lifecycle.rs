//! Clients and producers from start to shutdown: identity, heartbeats, what brokers ask, leaving.

use std::{fmt::Debug, future::IntoFuture};

use rocketry::{
    Client, ClientConfig, Credentials, Decision, Error, ErrorKind, Producer, ProducerConfig,
    SendContext, SendHook, ShutdownReport, Unsent,
};
use rocketry_protocol::{RemotingCommand, RequestCode, body, body::heartbeat::HeartbeatData};
use rocketry_remoting::Deadline;

use crate::support::*;

fn beats(server: &FakeServer) -> Vec<HeartbeatData> {
    let received = server.received(34);
    received
        .iter()
        .map(|beat| body::decode(&beat.command.body).unwrap())
        .collect()
}

/// P-003
#[tokio::test]
async fn group_names_are_checked() {
    let client = Client::connect("127.0.0.1:1").await.unwrap();
    for bad in ["DEFAULT_PRODUCER", "", " ", "a b", &"x".repeat(121)] {
        let error = client.producer(bad).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.java_code()),
            (ErrorKind::InvalidArgument, -1),
            "{bad}"
        );
    }
    client.producer("x".repeat(120)).await.unwrap();
}

/// P-004
#[tokio::test]
async fn a_group_has_one_producer_per_client() {
    let client = Client::connect("127.0.0.1:1")
        .instance_name("me")
        .await
        .unwrap();
    let first = client.producer("PG").await.unwrap();
    let error = client.producer("PG").await.unwrap_err();
    assert!(error.to_string().contains("created before"), "{error}");
    client.producer("other").await.unwrap();
    drop(first);
    client.producer("PG").await.unwrap();
}

/// P-005, P-007
#[tokio::test]
async fn client_ids_differ_unless_named() {
    let (a, b) = (
        Client::connect("127.0.0.1:1").await.unwrap(),
        Client::connect("127.0.0.1:1").await.unwrap(),
    );
    assert_ne!(a.client_id(), b.client_id());
    let prefix = format!("127.0.0.1@{}#", std::process::id());
    assert!(a.client_id().starts_with(&prefix), "{}", a.client_id());
    let config = ClientConfig {
        client_ip: Some("::1".parse().unwrap()),
        instance_name: Some("me".to_owned()),
        unit_name: Some("unit".to_owned()),
        ..ClientConfig::default()
    };
    let named = Client::connect("127.0.0.1:1").config(config).await.unwrap();
    assert_eq!(named.client_id(), "[::1]@me@unit");
}

/// P-006
#[tokio::test]
async fn producers_of_one_client_share_connections_and_heartbeats() {
    let cluster = Cluster::of(&["a"]);
    let client = cluster.client().await;
    let (one, two) = (
        client.producer("one").await.unwrap(),
        client.producer("two").await.unwrap(),
    );
    one.send(message()).await.unwrap();
    two.send(message()).await.unwrap();
    let broker = cluster.broker("a");
    broker.wait_for(34, 1).await;
    assert_eq!(broker.opened(), 1);
    let mut groups: Vec<_> = beats(broker)[0]
        .producer_data_set
        .iter()
        .map(|group| group.group_name.clone())
        .collect();
    groups.sort();
    assert_eq!(groups, ["one", "two"]);
}

/// P-015, P-016
#[tokio::test]
async fn a_broker_hears_of_the_producer_as_soon_as_it_is_connected() {
    let cluster = Cluster::of(&["a", "b"]);
    let client = cluster.client().await;
    let producer = client.producer("PG").await.unwrap();
    let started = now();
    producer.send(message()).await.unwrap();
    producer.send(message()).await.unwrap();
    for (_, broker) in &cluster.brokers {
        if !broker.received(310).is_empty() {
            broker.wait_for(34, 1).await;
            let beat = &beats(broker)[0];
            assert_eq!(beat.client_id, client.client_id());
            assert_eq!(beat.producer_data_set[0].group_name, "PG");
            assert!(beat.consumer_data_set.is_empty());
            assert_eq!(
                broker.received(34)[0].connection,
                broker.received(310)[0].connection
            );
        }
    }
    on_time(started.elapsed(), ms(0));
}

/// P-017
#[tokio::test]
async fn masters_hear_from_an_idle_producer_and_slaves_do_not() {
    let cluster = Cluster::of(&["a"]);
    let slave = FakeServer::start(storing());
    let mut route = cluster.route(4, 6);
    route.broker_datas[0].broker_addrs.insert(1, slave.addr());
    cluster.set_route("T", route);
    let config = ClientConfig {
        heartbeat: ms(20),
        route_refresh: ms(20),
        ..ClientConfig::default()
    };
    let client = cluster.connect().config(config).await.unwrap();
    let producer = client.producer("PG").await.unwrap();
    producer.send(message()).await.unwrap();
    cluster.broker("a").wait_for(34, 4).await;
    assert!(slave.received(34).is_empty());
    // a broker that left every route is left alone
    let other = FakeServer::start(storing());
    let mut moved = rocketry::TopicRouteData::default();
    add_broker(&mut moved, "b", &other.addr(), 4, 6);
    cluster.set_route("T", moved);
    other.wait_for(34, 2).await;
    let so_far = cluster.broker("a").received(34).len();
    other.wait_for(34, 6).await;
    assert!(cluster.broker("a").received(34).len() <= so_far + 1);
}

/// P-008
#[tokio::test]
async fn shutdown_takes_the_group_out_of_every_broker() {
    let cluster = Cluster::of(&["a", "b"]);
    let slave = FakeServer::start(storing());
    let mut route = cluster.route(4, 6);
    route.broker_datas[0].broker_addrs.insert(1, slave.addr());
    cluster.set_route("T", route);
    let client = cluster.client().await;
    let producer = client.producer("PG").await.unwrap();
    producer.send(message()).await.unwrap();
    assert!(producer.shutdown(PATIENCE).await.is_clean());
    for server in [&slave, cluster.broker("a"), cluster.broker("b")] {
        let left = server.received(35);
        assert_eq!(left.len(), 1);
        assert_eq!(left[0].field("clientID"), client.client_id());
        assert_eq!(left[0].field("producerGroup"), "PG");
    }
    for error in [
        producer.send(message()).await.unwrap_err(),
        producer.enqueue(message()).await.unwrap_err(),
        producer.send_oneway(message()).await.unwrap_err(),
    ] {
        assert_eq!((error.kind(), error.java_code()), (ErrorKind::Closed, -1));
        assert!(error.to_string().contains("SHUTDOWN_ALREADY"), "{error}");
    }
    assert!(producer.shutdown(PATIENCE).await.is_clean());
    assert_eq!(slave.received(35).len(), 1);
    // the client goes on
    client
        .producer("PG")
        .await
        .unwrap()
        .send(message())
        .await
        .unwrap();
}

/// P-009
#[tokio::test]
async fn shutdown_waits_for_what_is_in_flight() {
    let cluster = Cluster::of(&["a"]);
    cluster
        .broker("a")
        .script(on(310, |request| Action::Later(ms(100), stored(request))));
    let producer = cluster.producer().await;
    let mut tickets = Vec::new();
    for _ in 0..20 {
        tickets.push(producer.enqueue(message()).await.unwrap());
    }
    let report = producer.shutdown(PATIENCE).await;
    assert!(report.is_clean());
    for ticket in tickets {
        ticket.await.unwrap();
    }
}

/// P-009
#[tokio::test]
async fn shutdown_fails_what_is_not_done_in_time_and_says_what() {
    let cluster = Cluster::of(&["a"]);
    cluster.broker("a").script(on(310, |_| Action::Hold));
    let producer = cluster.producer().await;
    let mut tickets = Vec::new();
    for _ in 0..5 {
        tickets.push(producer.enqueue(message()).timeout(PATIENCE).await.unwrap());
    }
    let waiting = {
        let producer = producer.clone();
        tokio::spawn(async move { producer.send(message()).timeout(PATIENCE).await })
    };
    cluster.broker("a").wait_held(6).await;
    let started = now();
    let report = producer.shutdown(ms(100)).await;
    on_time(started.elapsed(), ms(100));
    assert_eq!(report.unsent.len(), 6);
    assert!(
        report
            .unsent
            .iter()
            .all(|unsent| &*unsent.topic == "T" && unsent.maybe_stored)
    );
    let sent = cluster.broker("a").received(310);
    for unsent in &report.unsent {
        assert!(
            sent.iter()
                .any(|sent| sent.property("UNIQ_KEY").as_ref() == Some(&unsent.msg_id))
        );
    }
    for ticket in tickets {
        let error = ticket.await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Closed);
        assert!(error.maybe_stored());
    }
    assert_eq!(
        waiting.await.unwrap().unwrap_err().kind(),
        ErrorKind::Closed
    );
}

/// P-009: also what waits for a place, and producers side by side.
#[tokio::test(start_paused = true)]
async fn shutdown_ends_what_waits_and_all_producers_have_the_same_time() {
    let cluster = Cluster::in_memory(&["a"]);
    cluster.broker("a").script(on(310, |_| Action::Silent));
    let client = cluster.client().await;
    let mut sends = tokio::task::JoinSet::new();
    for group in ["one", "two"] {
        let config = ProducerConfig {
            in_flight_messages: 1,
            timeout: PATIENCE,
            ..ProducerConfig::default()
        };
        let producer = client.producer(group).config(config).await.unwrap();
        for _ in 0..2 {
            let producer = producer.clone();
            sends.spawn(async move { producer.enqueue(message()).await?.await });
        }
    }
    cluster.broker("a").wait_for(310, 2).await;
    let started = now();
    let report = client.shutdown(ms(100)).await;
    assert!(started.elapsed() < ms(400), "{:?}", started.elapsed());
    let maybe_stored = report.unsent.iter().filter(|unsent| unsent.maybe_stored);
    assert_eq!((report.unsent.len(), maybe_stored.count()), (4, 2));
    for unsent in report.unsent {
        assert_eq!(unsent.msg_id.is_empty(), !unsent.maybe_stored);
    }
    for sent in sends.join_all().await {
        assert_eq!(sent.unwrap_err().kind(), ErrorKind::Closed);
    }
}

struct Looks;

impl SendHook for Looks {
    fn before(&self, _: &SendContext<'_>) {}
}

/// Who is shut down.
#[derive(Debug, Clone, Copy)]
enum End {
    Producer,
    Client,
}

/// Shuts down while `kept` is begun and not polled any more; returns what it comes to when it is polled at last.
async fn unpolled<T: Debug>(
    (client, producer): &(Client, Producer),
    end: End,
    kept: impl IntoFuture<Output = Result<T, Error>>,
    begun: impl Future,
) -> (Result<T, Error>, Vec<Unsent>) {
    let mut kept = Box::pin(kept.into_future());
    tokio::select! {
        biased;
        done = &mut kept => panic!("{done:?}"),
        _ = begun => {}
    }
    let started = now();
    let shutdown = async {
        match end {
            End::Producer => producer.shutdown(ms(5000)).await,
            End::Client => client.shutdown(ms(5000)).await,
        }
    };
    let report: Result<ShutdownReport, _> = tokio::time::timeout(PATIENCE, shutdown).await;
    let report = report.unwrap_or_else(|_| panic!("the shutdown of the {end:?} hangs"));
    let took = started.elapsed();
    assert!((ms(5000)..ms(6000)).contains(&took), "{end:?} {took:?}");
    (kept.await, report.unsent)
}

/// A broker that does not answer these any more, a client, and a producer that has all the time.
async fn waiting(code: i32, config: ProducerConfig) -> (Cluster, (Client, Producer)) {
    let cluster = Cluster::in_memory(&["broker-a"]);
    cluster.topic("TopicTest", 1);
    let client = cluster.client().await;
    let config = ProducerConfig {
        timeout: ms(60_000),
        ..config
    };
    let producer = client.producer("PG").config(config);
    let producer = producer.transaction_checker(|_half| Decision::Unknown);
    let producer = producer.await.unwrap();
    // the route and the connection are there
    producer.send(message()).await.unwrap();
    cluster.script_all(code, || Action::Hold);
    (cluster, (client, producer))
}

fn is_closed<T: Debug>(over: Result<T, Error>, maybe_stored: bool) {
    let error = over.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
    assert_eq!(error.maybe_stored(), maybe_stored, "{error}");
}

/// P-009: a future that its owner keeps, as `select!` by reference does, and never polls.
#[tokio::test(start_paused = true)]
async fn a_shutdown_is_not_held_up_by_a_send_that_nobody_polls() {
    for end in [End::Producer, End::Client] {
        let (cluster, ends) = waiting(310, ProducerConfig::default()).await;
        let begun = cluster.broker("broker-a").wait_held(1);
        let (over, unsent) = unpolled(&ends, end, ends.1.send(message()), begun).await;
        is_closed(over, true);
        assert!(unsent.len() == 1 && unsent[0].maybe_stored);

        // one that is looked at lives in its future
        let (cluster, (client, _)) = waiting(310, ProducerConfig::default()).await;
        let producer = client.producer("looks").timeout(ms(60_000)).hook(Looks);
        let ends = (client, producer.await.unwrap());
        let begun = cluster.broker("broker-a").wait_held(1);
        let (over, _) = unpolled(&ends, end, ends.1.send(message()), begun).await;
        is_closed(over, true);
        assert_eq!(cluster.received(310).len(), 2, "it is not tried again");

        // for a place
        let config = ProducerConfig {
            in_flight_messages: 1,
            ..ProducerConfig::default()
        };
        let (cluster, ends) = waiting(310, config).await;
        let first = ends.1.enqueue(message()).await.unwrap();
        let begun = tokio::time::sleep(ms(10));
        let (over, unsent) = unpolled(&ends, end, ends.1.enqueue(message()), begun).await;
        is_closed(over, false);
        is_closed(first.await, true);
        assert_eq!((unsent.len(), cluster.received(310).len()), (1, 2));
    }
}

#[tokio::test(start_paused = true)]
async fn nor_by_a_request_a_recall_or_a_transaction() {
    /// As Java writes it, for `TopicTest` at `broker-a`.
    const HANDLE: &str = "djEgVG9waWNUZXN0IGJyb2tlci1hIDE3MDAwMDAwMDAwMDEgN0YwMDAwMDEwMDAwMkExMzlBNEMwMDAwMDAwMDAwQUI=";
    for end in [End::Producer, End::Client] {
        let (cluster, ends) = waiting(310, ProducerConfig::default()).await;
        let begun = cluster.broker("broker-a").wait_held(1);
        let (over, unsent) = unpolled(&ends, end, ends.1.request(message()), begun).await;
        is_closed(over, true);
        assert_eq!((unsent.len(), ends.1.requests_in_flight()), (1, 0));

        let (cluster, ends) = waiting(370, ProducerConfig::default()).await;
        let begun = cluster.broker("broker-a").wait_held(1);
        let recall = ends.1.recall("TopicTest", HANDLE);
        is_closed(unpolled(&ends, end, recall, begun).await.0, false);

        let (cluster, ends) = waiting(37, ProducerConfig::default()).await;
        let local = |_half| std::future::pending::<Decision>();
        let transaction = ends.1.send_in_transaction(message(), local);
        let begun = async {
            cluster.broker("broker-a").wait_for(310, 2).await;
            tokio::time::sleep(ms(10)).await;
        };
        let (over, _) = unpolled(&ends, end, transaction, begun).await;
        let over = over.unwrap();
        assert_eq!(over.decision, Decision::Unknown);
        assert!(over.failure.unwrap().contains("shut down"));
    }
}

/// P-010
#[tokio::test]
async fn nothing_of_a_client_is_left_after_its_end() {
    let cluster = Cluster::of(&["a", "b"]);
    let alive = tokio::runtime::Handle::current().metrics();
    // what the fake servers run themselves
    let before = alive.num_alive_tasks();
    for round in 0..20 {
        let client = cluster.client().await;
        let producer = client.producer("PG").await.unwrap();
        producer.send(message()).await.unwrap();
        let ticket = producer.enqueue(message()).await.unwrap();
        if round % 2 == 0 {
            client.shutdown(PATIENCE).await;
            client.shutdown(PATIENCE).await;
            assert_eq!(ticket.await.unwrap().status, rocketry::SendStatus::Ok);
        } else {
            // dropped without a word
            drop((client, producer, ticket));
        }
        cluster.name_server.wait_closed().await;
        cluster.broker("a").wait_closed().await;
        cluster.broker("b").wait_closed().await;
    }
    let gone = async {
        while alive.num_alive_tasks() > before {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, gone)
        .await
        .expect("tasks are left");
}

#[tokio::test]
async fn a_client_that_is_shut_down_refuses_everything() {
    let cluster = Cluster::of(&["a"]);
    let client = cluster.client().await;
    let producer = client.producer("PG").await.unwrap();
    client.shutdown(ms(100)).await;
    assert_eq!(
        producer.send(message()).await.unwrap_err().kind(),
        ErrorKind::Closed
    );
    assert_eq!(
        client.producer("other").await.unwrap_err().kind(),
        ErrorKind::Closed
    );
    assert!(client.admin().topics().await.is_err());
}

/// P-021
#[tokio::test]
async fn requests_name_their_language() {
    for (language, number) in [
        (rocketry::Language::RUST, 12),
        (rocketry::Language::OTHER, 7),
    ] {
        let cluster = Cluster::of(&["a"]);
        let config = ClientConfig {
            language,
            ..ClientConfig::default()
        };
        let client = cluster.connect().config(config).await.unwrap();
        let producer = client.producer("PG").await.unwrap();
        producer.send(message()).await.unwrap();
        cluster.broker("a").wait_for(34, 1).await;
        client.shutdown(PATIENCE).await;
        let mut all = cluster.name_server.received(105);
        for code in [310, 34, 35] {
            let received = cluster.broker("a").received(code);
            assert!(!received.is_empty(), "{code}");
            all.extend(received);
        }
        for received in all {
            assert_eq!(
                received.command.language.map(|language| language.0),
                Some(number)
            );
        }
    }
}

/// P-007, P-019, P-137
#[tokio::test]
async fn every_request_carries_namespace_stream_mark_and_signature() {
    let cluster = Cluster::of(&["a"]);
    let credentials = Credentials {
        access_key: "AK".to_owned(),
        secret_key: "SK".to_owned(),
        security_token: None,
    };
    let config = ClientConfig {
        namespace_v2: Some("ns1".to_owned()),
        stream_requests: true,
        credentials: Some(credentials),
        instance_name: Some("me".to_owned()),
        unit_name: Some("unit".to_owned()),
        ..ClientConfig::default()
    };
    let client = cluster.connect().config(config).await.unwrap();
    assert_eq!(client.client_id(), "127.0.0.1@me@unit@STREAM");
    let producer = client.producer("PG").await.unwrap();
    producer.send(message()).await.unwrap();
    producer.send_oneway(message()).await.unwrap();
    cluster.broker("a").wait_for(34, 1).await;
    client.shutdown(PATIENCE).await;
    let mut all = cluster.name_server.received(105);
    assert_eq!(all[0].field("topic"), "T", "names stay as they are");
    for (code, count) in [(310, 2), (34, 1), (35, 1)] {
        let received = cluster.broker("a").received(code);
        assert_eq!(received.len(), count, "{code}");
        all.extend(received);
    }
    for received in all {
        assert_eq!(
            (received.field("nsd"), received.field("ns")),
            ("true", "ns1")
        );
        assert_eq!(
            (received.field("ReqT"), received.field("AccessKey")),
            ("0", "AK")
        );
        let signature = received.field("Signature").to_owned();
        let mut again = received.command.clone();
        rocketry_protocol::acl::sign(
            &mut again,
            &Credentials {
                access_key: "AK".to_owned(),
                secret_key: "SK".to_owned(),
                security_token: None,
            },
        );
        assert_eq!(again.field("Signature"), Some(&*signature));
    }
}

/// P-146
#[tokio::test]
async fn requests_that_no_producer_knows_are_answered_so() {
    let cluster = Cluster::of(&["a"]);
    let producer = cluster.producer().await;
    producer.send(message()).await.unwrap();
    let connection = cluster.broker("a").a_connection();
    let request = RemotingCommand::bare_request(RequestCode(4711));
    let reply = connection
        .call(request, Deadline::after(PATIENCE))
        .await
        .unwrap();
    assert_eq!(reply.code, 3);
    assert!(reply.remark.unwrap().contains("4711"));
    // 40 is for consumers; a producer has nothing to do
    let notice = RemotingCommand::bare_request(RequestCode::NOTIFY_CONSUMER_IDS_CHANGED);
    connection
        .oneway(notice, Deadline::after(PATIENCE))
        .await
        .unwrap();
    producer.send(message()).await.unwrap();
}

/// P-011: an explicit address wins over the environment, which is covered by the list's own tests.
#[tokio::test]
async fn an_http_prefix_does_not_matter() {
    let cluster = Cluster::of(&["a"]);
    let client = Client::connect(format!("http://{}", cluster.name_server.addr()))
        .await
        .unwrap();
    client
        .producer("PG")
        .await
        .unwrap()
        .send(message())
        .await
        .unwrap();
}

/// Topics named to the builder have their routes before the first send.
#[tokio::test]
async fn a_producer_can_be_warmed() {
    let cluster = Cluster::of(&["a"]);
    let client = cluster.client().await;
    let producer = client
        .producer("PG")
        .topics(["T", "unknown"])
        .await
        .unwrap();
    let asked = cluster.name_server.received(105).len();
    assert!(asked >= 2);
    producer.send(message()).await.unwrap();
    assert_eq!(cluster.name_server.received(105).len(), asked);
    let nowhere = Client::connect(dead_addr()).await.unwrap();
    let error = nowhere.producer("PG").topics(["T"]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NameServerUnreachable);
}
