//! What a beginner meets: each text says what was tried, where, for how long, and what to do.

use rocketry::{Client, Error, ErrorKind, Message, TopicRouteData};

use crate::support::*;

fn says(error: &Error, parts: &[&str]) {
    let text = error.to_string();
    for part in parts {
        assert!(text.contains(part), "{part:?} is missing in: {text}");
    }
    assert_eq!(text.lines().count(), 1, "one line: {text}");
    let table = format!("{error:#}");
    assert_eq!(table.lines().count(), 1 + error.attempts().len(), "{table}");
    for attempt in error.attempts() {
        assert!(
            table.contains(&*attempt.address) && table.contains(&attempt.outcome),
            "{table}"
        );
    }
}

#[tokio::test]
async fn name_server_not_running() {
    let addr = dead_addr();
    let producer = Client::connect(&*addr)
        .await
        .unwrap()
        .producer("PG")
        .await
        .unwrap();
    let error = producer.send(message()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NameServerUnreachable);
    assert!(error.is_retryable() && !error.maybe_stored());
    says(
        &error,
        &[
            "send to topic \"T\" failed: the name server does not answer: cannot connect to ",
            &addr,
            "refused",
            &format!("(tried name server at {addr}) after "),
            " of 3.0 s; ",
            "check that a name server runs there",
            "rocketry serve",
            "NAMESRV_ADDR",
        ],
    );
}

#[tokio::test]
async fn several_name_servers_not_running() {
    let (one, two) = (dead_addr(), dead_addr());
    let client = Client::connect(format!("{one};{two}")).await.unwrap();
    let error = client.admin().topics().await.unwrap_err();
    assert_eq!(error.attempts().len(), 2);
    says(
        &error,
        &[
            "list the topics failed: none of 2 name servers answers",
            &one,
            &two,
        ],
    );
}

#[tokio::test]
async fn broker_not_running() {
    let cluster = Cluster::of(&[]);
    let addr = dead_addr();
    let mut route = TopicRouteData::default();
    add_broker(&mut route, "broker-a", &addr, 4, 6);
    cluster.set_route("T", route);
    let error = cluster.producer().await.send(message()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BrokerUnreachable);
    says(
        &error,
        &[
            &format!("send to topic \"T\" failed: cannot connect to {addr}"),
            &format!("tried 3 times: broker-a at {addr}, broker-a at {addr}, broker-a at {addr}"),
            " of 3.0 s; ",
            "check that the broker runs",
            "brokerIP1",
            "--host of `rocketry serve`",
        ],
    );
}

/// The address is there, but nothing answers from it: a private network that this machine is not in.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn route_points_to_an_address_that_cannot_be_reached() {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let deaf = socket.listen(0).unwrap();
    let addr = deaf.local_addr().unwrap().to_string();
    let mut fill = Vec::new();
    while let Ok(stream) =
        tokio::time::timeout(ms(200), tokio::net::TcpStream::connect(&addr)).await
    {
        fill.push(stream);
        assert!(fill.len() < 16, "the accept queue never fills");
    }
    let cluster = Cluster::of(&[]);
    let mut route = TopicRouteData::default();
    add_broker(&mut route, "broker-a", &addr, 4, 6);
    cluster.set_route("T", route);
    let error = cluster
        .producer()
        .await
        .send(message())
        .timeout(ms(200))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(!error.maybe_stored(), "it was never connected");
    says(
        &error,
        &[
            "while connecting to",
            &addr,
            " of 200 ms; ",
            "the address the broker registered",
            "brokerIP1",
        ],
    );
}

#[tokio::test]
async fn topic_missing_and_not_created_automatically() {
    let cluster = Cluster::of(&["a"]);
    let error = cluster
        .producer()
        .await
        .send(Message::new("orders", "x"))
        .await
        .unwrap_err();
    assert_eq!(
        (error.kind(), error.java_code()),
        (ErrorKind::TopicNotFound, 10005)
    );
    assert_eq!(error.topic(), Some("orders"));
    says(
        &error,
        &[
            "send to topic \"orders\" failed: topic \"orders\" does not exist",
            "do not create topics by themselves",
            "create it: rocketry topic create orders",
        ],
    );
}

#[tokio::test]
async fn no_broker_at_all() {
    let cluster = Cluster::of(&[]);
    cluster.forget_topic("T");
    let error = cluster.producer().await.send(message()).await.unwrap_err();
    says(
        &error,
        &[
            "no broker is registered at the name server",
            "start a broker",
        ],
    );
}

#[tokio::test]
async fn invalid_topic() {
    let producer = Client::connect("127.0.0.1:1")
        .await
        .unwrap()
        .producer("PG")
        .await
        .unwrap();
    let error = producer
        .send(Message::new("my topic", "x"))
        .await
        .unwrap_err();
    assert_eq!(
        (error.kind(), error.java_code()),
        (ErrorKind::InvalidMessage, -1)
    );
    says(
        &error,
        &[
            "send to topic \"my topic\" failed: topic name \"my topic\" has the character ' '",
            "allowed are letters, digits and",
        ],
    );
}

#[tokio::test]
async fn empty_and_too_large_bodies() {
    let producer = Client::connect("127.0.0.1:1")
        .await
        .unwrap()
        .producer("PG")
        .await
        .unwrap();
    let error = producer.send(Message::new("T", "")).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.java_code()),
        (ErrorKind::InvalidMessage, 13)
    );
    says(
        &error,
        &[
            "send to topic \"T\" failed: the body is empty",
            "at least one byte",
        ],
    );
    let error = producer
        .send(Message::new("T", vec![0; 4_194_305]))
        .await
        .unwrap_err();
    assert_eq!(
        (error.kind(), error.java_code()),
        (ErrorKind::MessageTooLarge, 13)
    );
    says(
        &error,
        &[
            "the body has 4194305 bytes, the limit is 4194304",
            "max_message_bytes",
            "maxMessageSize",
        ],
    );
}

#[tokio::test]
async fn timeout() {
    let cluster = Cluster::of(&["broker-a"]);
    cluster.script_all(310, || Action::Silent);
    let error = cluster
        .producer()
        .await
        .send(message())
        .timeout(ms(120))
        .await
        .unwrap_err();
    assert_eq!(
        (error.kind(), error.java_code()),
        (ErrorKind::Timeout, 10002)
    );
    let addr = cluster.broker("broker-a").addr();
    says(
        &error,
        &[
            &format!("send to topic \"T\" failed: no response from {addr} within "),
            &format!("(tried broker-a at {addr}) after "),
            " of 120 ms; the message may be stored; ",
            "allow more time",
        ],
    );
}

#[tokio::test]
async fn name_server_silent() {
    let cluster = Cluster::of(&["a"]);
    cluster.name_server.script(|_| Action::Silent);
    let error = cluster
        .producer()
        .await
        .send(message())
        .timeout(ms(120))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NameServerUnreachable);
    assert!(!error.maybe_stored());
    let addr = cluster.name_server.addr();
    says(
        &error,
        &[
            &format!("the name server {addr} did not answer in time"),
            " of 120 ms",
        ],
    );
}

#[tokio::test]
async fn broker_answers_an_error() {
    let cluster = Cluster::of(&["broker-a"]);
    cluster.script_all(310, || Action::Reply(refuse(14, "disk full: 99 %")));
    let error = cluster.producer().await.send(message()).await.unwrap_err();
    says(
        &error,
        &[
            "the broker answered 14 SERVICE_NOT_AVAILABLE: disk full: 99 %",
            "tried 3 times: broker-a at",
            "its disk is full, it is a slave, or it is shutting down",
        ],
    );
}

#[tokio::test]
async fn name_servers_written_wrongly() {
    let error = Client::connect("localhost:98765").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    says(
        &error,
        &[
            "\"localhost:98765\"",
            "the port must be a number from 1 to 65535",
            "host:port;host:port",
        ],
    );
}

#[tokio::test]
async fn options_out_of_bounds_are_all_reported() {
    let client = Client::connect("127.0.0.1:1").await.unwrap();
    let error = client
        .producer("PG")
        .timeout(ms(0))
        .retries(1000)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    says(
        &error,
        &[
            "start the producer failed: timeout is 0ns",
            "; retries is 1000, allowed are 0 to 100",
        ],
    );
}
